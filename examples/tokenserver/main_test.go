package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/tokenserver/tokenclient"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv("WECHAT_APPID")
	_ = os.Unsetenv("WECHAT_SECRET")
	goleak.VerifyTestMain(m)
}

const (
	secret = "SENTINEL0SECRET0SENTINEL0SECRET0"
	key    = "SENTINEL-KEY-SENTINEL-KEY-SENTINEL"
)

const (
	stableToken = "/cgi-bin/stable_token"
	domainIP    = "/cgi-bin/get_api_domain_ip"
)

// local is a transport that calls a handler, without a socket.
type local struct{ http.Handler }

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	l.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// company is an account, its token server, and the log of all programs.
type company struct {
	account *wechatusertest.Server
	server  http.Handler
	log     *slog.Logger
	tokens  []string // must not be in the log
}

func newCompany(t *testing.T) *company {
	t.Helper()
	account := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithAccount("wxTEST", secret), wechatusertest.WithFans(3))
	var buf bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := newServer(account.Client(wechatuser.WithLogger(log)), key, log)
	c := &company{account, server.routes(), log, []string{account.AccessToken()}}
	t.Cleanup(func() {
		require.NotEmpty(t, buf.String())
		for _, hidden := range append(c.tokens, account.AccessToken(), secret, key) {
			assert.NotContains(t, buf.String(), hidden)
		}
	})
	return c
}

// process returns the client of a program that fetches its tokens from the server, without the app secret.
func (c *company) process(t *testing.T) *wechatuser.Client {
	t.Helper()
	src, err := tokenclient.New("http://127.0.0.1", key, local{c.server})
	require.NoError(t, err)
	p, err := wechatuser.New("wxTEST", "", wechatuser.WithTokenSource(src),
		wechatuser.WithTransport(c.account.Transport()), wechatuser.WithLogger(c.log))
	require.NoError(t, err)
	return p
}

func TestProcessesShareOneToken(t *testing.T) {
	c := newCompany(t)
	a, b := c.process(t), c.process(t)

	for _, p := range []*wechatuser.Client{a, b, a, b} {
		_, err := p.GetFans(t.Context(), "")
		require.NoError(t, err)
	}

	assert.Equal(t, 1, c.account.Calls(stableToken))
	ta, err := a.Token(t.Context())
	require.NoError(t, err)
	tb, err := b.Token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, ta.AccessToken, tb.AccessToken)
}

func TestRevokedTokenIsRefreshedOnce(t *testing.T) {
	c := newCompany(t)
	processes := []*wechatuser.Client{c.process(t), c.process(t)}
	for _, p := range processes {
		_, err := p.GetTags(t.Context())
		require.NoError(t, err)
	}
	c.account.ExpireTokens()

	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := processes[i%2].GetTags(t.Context())
			assert.NoError(t, err)
		})
	}
	wg.Wait()

	assert.Equal(t, 2, c.account.Calls(stableToken), "the first token, and one more for 40 calls")
}

// A program reports a valid token as rejected.
func TestFalseReport(t *testing.T) {
	c := newCompany(t)
	p := c.process(t)
	before, err := p.Token(t.Context())
	require.NoError(t, err)
	src, err := tokenclient.New("http://127.0.0.1", key, local{c.server})
	require.NoError(t, err)

	for range 5 {
		require.NoError(t, src.Invalidate(t.Context(), before))
	}

	after, err := src.Token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.AccessToken, after.AccessToken)
	assert.Equal(t, 1, c.account.Calls(stableToken))
	assert.Equal(t, 1, c.account.Calls(domainIP), "it is checked once")

	c.account.ExpireTokens()
	status, _ := c.do(t, "POST", "/token/refused", "Bearer "+key, `{"access_token":"an older one"}`)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 1, c.account.Calls(domainIP), "an older token is not checked")
}

func (c *company) do(t *testing.T, method, path, bearer, body string) (int, map[string]any) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Authorization", bearer)
	rec := httptest.NewRecorder()
	c.server.ServeHTTP(rec, req)
	var out map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out))
	assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	return rec.Code, out
}

func TestKeyIsRequired(t *testing.T) {
	c := newCompany(t)
	for _, bearer := range []string{"", "Bearer ", "Bearer wrong", key, "Bearer " + key + "x"} {
		for _, request := range []string{"GET /token", "POST /token/refused", "GET /elsewhere"} {
			method, path, _ := strings.Cut(request, " ")
			status, out := c.do(t, method, path, bearer, "")
			assert.Equal(t, http.StatusUnauthorized, status, request)
			assert.Equal(t, map[string]any{"error": "wrong key"}, out)
		}
	}
	assert.Zero(t, c.account.Calls(stableToken))

	status, out := c.do(t, "GET", "/token", "Bearer "+key, "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, c.account.AccessToken(), out["access_token"])
	assert.InDelta(t, 7200, out["expires_in"], 60)

	status, _ = c.do(t, "POST", "/token/refused", "Bearer "+key, "{}")
	assert.Equal(t, http.StatusBadRequest, status)
}

func TestTokenIsUnavailable(t *testing.T) {
	c := newCompany(t)
	c.account.FailNext(stableToken, wechatuser.CodeIPNotAllowed, 1)

	_, err := c.process(t).GetTags(t.Context())

	assert.ErrorContains(t, err, "tokenclient: status 502: wechatuser: getStableAccessToken: 40164",
		"the error of the server's request")
}

func TestRun(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "set TOKENSERVER_KEY")
	assert.ErrorContains(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard), "unexpected argument")
	t.Setenv("TOKENSERVER_KEY", key)
	err := run(t.Context(), []string{"-addr", "0.0.0.0:0"}, io.Discard, io.Discard)
	assert.ErrorContains(t, err, "the token must not be sent in plain text")

	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-addr", "127.0.0.1:0"}, w, io.Discard) }()
	in := bufio.NewReader(r)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "Set WECHAT_APPID and WECHAT_SECRET to use your own.")
	line, err = in.ReadString('\n')
	require.NoError(t, err)
	assert.Regexp(t, `serves the token of the account wx\w+\.`, line)
	addr, _, _ := strings.Cut(line, " ")
	tr := &http.Transport{DisableKeepAlives: true}
	src, err := tokenclient.New("http://"+addr, key, tr)
	require.NoError(t, err)

	token, err := src.Token(t.Context())

	require.NoError(t, err)
	assert.NotEmpty(t, token.AccessToken)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", src, src, src, src), key)
	cancel()
	assert.NoError(t, <-done)
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Tokenserver (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`,
		help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("TOKENSERVER_KEY", key)
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}
