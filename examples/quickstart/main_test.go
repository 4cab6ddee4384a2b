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

func TestInMemoryAccount(t *testing.T) {
	var out bytes.Buffer

	require.NoError(t, start(t.Context(), &out, "", "", false))

	for _, line := range []string{
		"Using an in-memory account with 1200 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.",
		"1200 in total",
		`tags [100], remark "金牌客户"`,
		"tagged 3 followers (API calls: 1)",
		`after:  "来自 quickstart" (now restored)`,
		wechatusertest.OpenID(0) + " is blocked",
		"code     40003, matches CodeInvalidOpenID: true",
		"3 of 4 tagged",
		"rejected: openid \"" + wechatusertest.ForeignOpenID(1) + `": wechatuser: batchTagging: 49003`,
	} {
		assert.Contains(t, out.String(), line)
	}
}

// Without -write, no call that writes is sent.
func TestReadOnlyWithoutWriteFlag(t *testing.T) {
	srv := newAccount()
	defer srv.Close()

	require.NoError(t, tour{c: srv.Client(), out: io.Discard, invalidOpenID: "oThisIsNobodysOpenID"}.run(t.Context()))

	for _, write := range []string{
		"/cgi-bin/tags/create", "/cgi-bin/tags/update", "/cgi-bin/tags/delete", "/cgi-bin/user/info/updateremark",
		"/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging",
		"/cgi-bin/tags/members/batchblacklist", "/cgi-bin/tags/members/batchunblacklist",
	} {
		assert.Zero(t, srv.Calls(write), write)
	}
	assert.NotZero(t, srv.Calls("/cgi-bin/user/get"))
}

// With -write, the account ends up unchanged.
func TestWritesAreUndone(t *testing.T) {
	srv := newAccount()
	defer srv.Close()
	before := state(srv)

	tr := tour{c: srv.Client(), out: io.Discard, write: true, invalidOpenID: wechatusertest.ForeignOpenID(1)}
	require.NoError(t, tr.run(t.Context()))

	assert.Equal(t, before, state(srv))
	assert.Zero(t, srv.Calls("/cgi-bin/tags/members/batchblacklist"), "no one is blocked")
}

func TestEmptyAccount(t *testing.T) {
	srv := wechatusertest.NewServer()
	defer srv.Close()

	tr := tour{c: srv.Client(), out: io.Discard, write: true, invalidOpenID: wechatusertest.ForeignOpenID(1)}
	require.NoError(t, tr.run(t.Context()))
}

func TestIncompleteCredential(t *testing.T) {
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
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestUnexpectedArgument(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard), "unexpected argument")
}
