package main

import (
	"bytes"
	"flag"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInMemory(t *testing.T) {
	var out bytes.Buffer

	require.NoError(t, start(t.Context(), &out, "", "", false))

	for _, line := range []string{
		"An account in memory with 1200 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.",
		"1200 in all",
		`tags [100], remark "金牌客户"`,
		"put on 3 followers in 1 call",
		`after:  "来自 quickstart", and back again`,
		wechatusertest.OpenID(0) + " is blocked",
		"code     40003, as a constant: true",
		"3 of 4 tagged",
		"refused: openid \"" + wechatusertest.ForeignOpenID(1) + `": wechatuser: batchTagging: 49003`,
	} {
		assert.Contains(t, out.String(), line)
	}
}

// TestReadsOnly: without -write a real account stays as it is.
func TestReadsOnly(t *testing.T) {
	srv := newAccount()
	defer srv.Close()

	require.NoError(t, tour{c: srv.Client(), out: io.Discard, badOpenID: "oThisIsNobodysOpenID"}.run(t.Context()))

	for _, write := range []string{
		"/cgi-bin/tags/create", "/cgi-bin/tags/update", "/cgi-bin/tags/delete", "/cgi-bin/user/info/updateremark",
		"/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging",
		"/cgi-bin/tags/members/batchblacklist", "/cgi-bin/tags/members/batchunblacklist",
	} {
		assert.Zero(t, srv.Calls(write), write)
	}
	assert.NotZero(t, srv.Calls("/cgi-bin/user/get"))
}

// TestUndoesWhatItWrites: with -write a real account is as before in the end.
func TestUndoesWhatItWrites(t *testing.T) {
	srv := newAccount()
	defer srv.Close()
	before := state(srv)

	require.NoError(t, tour{c: srv.Client(), out: io.Discard, write: true, badOpenID: wechatusertest.ForeignOpenID(1)}.run(t.Context()))

	assert.Equal(t, before, state(srv))
	assert.Zero(t, srv.Calls("/cgi-bin/tags/members/batchblacklist"), "nobody is blocked")
}

// TestEmptyAccount: an account without followers is no special case for a person.
func TestEmptyAccount(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()

	require.NoError(t, tour{c: srv.Client(), out: io.Discard, write: true, badOpenID: wechatusertest.ForeignOpenID(1)}.run(t.Context()))
}

func TestHalfACredential(t *testing.T) {
	assert.ErrorContains(t, start(t.Context(), io.Discard, "wxTEST", "", false), "WECHAT_SECRET is not")
	assert.ErrorContains(t, start(t.Context(), io.Discard, "", "SENTINEL", false), "WECHAT_APPID is not")
}

func state(srv *wechatusertest.Server) any {
	user, _ := srv.User(wechatusertest.OpenID(0))
	return []any{user, srv.Tags(), srv.Blacklist()}
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Quickstart (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "the error is for main to print")
}

func TestArguments(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard), "there are flags only")
}
