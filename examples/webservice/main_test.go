package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv("WECHAT_APPID")
	_ = os.Unsetenv("WECHAT_SECRET")
	goleak.VerifyTestMain(m)
}

var openID = wechatusertest.OpenID(0)

const secret = "SENTINEL0SECRET0SENTINEL0SECRET0"

// fixture is a service, its account and its log.
type fixture struct {
	*service
	account *wechatusertest.Server
	log     *bytes.Buffer
}

func newFixture(t *testing.T, opts ...wechatuser.Option) *fixture {
	t.Helper()
	account := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithFans(3), wechatusertest.WithAccount("wxTEST", secret))
	var log bytes.Buffer
	svc := newService(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	opts = append(opts, wechatuser.WithLogger(svc.log), wechatuser.WithInterceptor(svc.recordOutcome),
		wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
	svc.wechat = account.Client(opts...)
	t.Cleanup(func() {
		for _, hidden := range []string{secret, account.AccessToken(), openID} {
			assert.NotContains(t, log.String(), hidden)
		}
	})
	return &fixture{svc, account, &log}
}

type response struct {
	status int
	header http.Header
	body   map[string]any
}

func (f *fixture) do(t *testing.T, method, path string) response {
	t.Helper()
	rec := httptest.NewRecorder()
	f.routes().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	for _, hidden := range []string{secret, f.account.AccessToken()} {
		assert.NotContains(t, rec.Body.String(), hidden)
	}
	res := response{status: rec.Code, header: rec.Header()}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &res.body), rec.Body.String())
	return res
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-addr", "127.0.0.1:0"}, w, io.Discard) }()
	lines, in := make([]string, 6), bufio.NewReader(r)
	for i := range lines {
		var err error
		lines[i], err = in.ReadString('\n')
		require.NoError(t, err)
	}
	assert.Contains(t, lines[0],
		"Using an in-memory account with 10 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.")
	assert.Contains(t, lines[1], openID)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+ serves the account wx\w+\. Press Ctrl-C to stop\.\n$`, lines[2])
	assert.Equal(t, "  PUT /followers/{openid}/tags/{name}\n", lines[4])
	base, _, _ := strings.Cut(lines[2], " ")

	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, request := range []string{"GET /followers/" + openID, "PUT /followers/" + openID + "/tags/vip"} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		require.NoError(t, err)
		resp, err := hc.Do(req)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, resp.StatusCode, request)
		require.NoError(t, resp.Body.Close())
	}

	cancel()
	assert.NoError(t, <-done)
	assert.Error(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard))
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Webservice (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}
