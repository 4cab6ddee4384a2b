package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

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

func TestFollower(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/followers/"+openID)

	assert.Equal(t, http.StatusOK, res.status)
	assert.Equal(t, openID, res.body["openid"])
	assert.EqualValues(t, 1, res.body["subscribe"])
}

func TestTag(t *testing.T) {
	f := newFixture(t)
	vip := f.account.AddTag("会员")
	path := "/followers/" + openID + "/tags/" + url.PathEscape("会员")

	for range 3 {
		assert.Equal(t, http.StatusOK, f.do(t, "PUT", path).status)
	}

	assert.Equal(t, []string{openID}, f.account.TagFans(vip))
	assert.Equal(t, 1, f.account.Calls("/cgi-bin/tags/get"), "tag IDs are cached")

	require.NoError(t, f.wechat.DeleteTag(t.Context(), vip))
	assert.Equal(t, http.StatusNotFound, f.do(t, "PUT", path).status)
	recreated := f.account.AddTag("会员")
	assert.Equal(t, http.StatusOK, f.do(t, "PUT", path).status, "a wrong ID is dropped from the cache")
	assert.Equal(t, []string{openID}, f.account.TagFans(recreated))
}

func TestNotFound(t *testing.T) {
	f := newFixture(t)
	f.account.AddTag("vip")
	f.account.Unfollow(wechatusertest.OpenID(1))
	for _, request := range []string{
		"GET /followers/" + wechatusertest.OpenID(1),               // former follower
		"GET /followers/oFAKEnobody",                               // 40003
		"PUT /followers/" + wechatusertest.OpenID(1) + "/tags/vip", // 50005
		"PUT /followers/" + wechatusertest.ForeignOpenID(0) + "/tags/vip",
		"PUT /followers/" + openID + "/tags/nothing",
	} {
		method, path, _ := strings.Cut(request, " ")
		assert.Equal(t, http.StatusNotFound, f.do(t, method, path).status, request)
	}
	assert.Empty(t, grep(f.log, "request failed"), "these are the caller's errors")
	assert.Equal(t, "ok", f.do(t, "GET", "/healthz").body["wechat"])
}

func grep(log *bytes.Buffer, what string) string {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// failNext makes the next call fail with an errcode.
func failNext(code wechatuser.Code) func(*wechatusertest.Server) {
	return func(s *wechatusertest.Server) { s.FailNext("*", code, 1) }
}

func TestErrorResponses(t *testing.T) {
	for name, c := range map[string]struct {
		setup      func(*wechatusertest.Server)
		status     int
		retryAfter string
		errcode    wechatuser.Code
		health     string
	}{
		"minute quota": {failNext(wechatuser.CodeMinuteQuotaExceeded), 429, "61", 45011, "quota"},
		"daily quota":  {failNext(wechatuser.CodeDailyQuotaExceeded), 503, "3601", 45009, "quota"},
		"busy":         {failNext(wechatuser.CodeSystemBusy), 502, "", -1, "unreachable"},
		"no right":     {failNext(wechatuser.CodeAPIUnauthorized), 502, "", 48001, "refused"},
		"unknown code": {failNext(99999), 502, "", 99999, "refused"},
		"whitelist": {func(s *wechatusertest.Server) {
			s.FailNext("/cgi-bin/stable_token", wechatuser.CodeIPNotAllowed, 1)
		}, 502, "", 40164, "refused"},
		"gateway": {func(s *wechatusertest.Server) {
			s.FailNextHTTP("*", 502, "<html>"+secret, 1)
		}, 502, "", 0, "unreachable"},
		"no response": {func(s *wechatusertest.Server) { s.DropAnswers("*", 1) }, 502, "", 0, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.now = func() time.Time { return time.Date(2026, 1, 1, 15, 0, 0, 0, time.UTC) } // 23:00 in Beijing
			c.setup(f.account)

			res := f.do(t, "GET", "/followers/"+openID)

			assert.Equal(t, c.status, res.status)
			assert.Equal(t, c.retryAfter, res.header.Get("Retry-After"))
			assert.NotEmpty(t, res.body["error"])
			if c.errcode != 0 {
				assert.EqualValues(t, c.errcode, res.body["errcode"])
				assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, res.body["rid"])
			}
			assert.Equal(t, c.status >= 500, grep(f.log, "request failed") != "")
			assert.Equal(t, c.health, f.do(t, "GET", "/healthz").body["wechat"])
		})
	}
}

func TestHealthMakesNoCalls(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/healthz")

	assert.Equal(t, http.StatusOK, res.status)
	assert.Equal(t, "not called yet", res.body["wechat"])
	assert.Zero(t, f.account.Calls("*"))
	assert.Zero(t, f.account.Calls("/cgi-bin/stable_token"))
}

// gate is an interceptor that blocks calls until it is opened, and signals that a call has reached it.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 1), make(chan struct{})} }

func (g *gate) intercept(
	ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	if call.API == "userInfo" {
		g.reached <- struct{}{}
		select {
		case <-g.open:
		case <-ctx.Done():
		}
	}
	return next(ctx)
}

// start serves the fixture on a port, and sends one request to it.
func (f *fixture) start(
	t *testing.T, grace time.Duration,
) (addr string, stop func(), served, sent chan error, status chan int) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	addr = listener.Addr().String()
	served, sent, status = make(chan error, 1), make(chan error, 1), make(chan int, 1)
	go func() { served <- serve(ctx, listener, f.routes(), grace) }()
	go func() {
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequest("GET", "http://"+addr+"/followers/"+openID, nil)
		if err != nil {
			sent <- err
			return
		}
		resp, err := hc.Do(req)
		if err == nil {
			status <- resp.StatusCode
			err = resp.Body.Close()
		}
		sent <- err
	}()
	return addr, stop, served, sent, status
}

func TestShutdownWaitsForRequests(t *testing.T) {
	g := newGate()
	f := newFixture(t, wechatuser.WithInterceptor(g.intercept))
	addr, stop, served, sent, status := f.start(t, time.Minute)
	<-g.reached

	stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "no new connections are accepted")
	close(g.open)

	assert.NoError(t, <-served)
	assert.NoError(t, <-sent)
	assert.Equal(t, http.StatusOK, <-status)
}

func TestShutdownCancelsSlowRequests(t *testing.T) {
	g := newGate()
	f := newFixture(t, wechatuser.WithInterceptor(g.intercept))
	_, stop, served, sent, status := f.start(t, time.Millisecond)
	<-g.reached

	stop() // the gate stays closed

	assert.ErrorContains(t, <-served, "requests in flight were canceled after 1ms")
	assert.NoError(t, <-sent)
	assert.Equal(t, http.StatusServiceUnavailable, <-status, "the client gets a response")
	assert.Zero(t, f.account.Calls("/cgi-bin/user/info"))
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

func TestPaths(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/")

	assert.Equal(t, http.StatusOK, res.status)
	want := []any{"GET /followers/{openid}", "PUT /followers/{openid}/tags/{name}", "GET /healthz"}
	assert.Equal(t, want, res.body["paths"])
}
