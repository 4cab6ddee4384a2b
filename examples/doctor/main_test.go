package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
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

const secret = "SENTINEL0SECRET0SENTINEL0SECRET0"

func newAccount(t *testing.T, opts ...wechatusertest.Option) *wechatusertest.Server {
	t.Helper()
	srv := wechatusertest.NewServer(append(opts,
		wechatusertest.WithAccount("wxTEST", secret), wechatusertest.WithFans(3))...)
	t.Cleanup(srv.Close)
	return srv
}

func targetOf(srv *wechatusertest.Server) target {
	return target{
		appID: srv.AppID, secret: srv.Secret, base: srv.URL, timeout: 10 * time.Second,
		store: wechatuser.NewMemoryTokenStore(), transport: &http.Transport{},
	}
}

// diagnosisOf returns the report, and asserts that it contains no secret.
func diagnosisOf(t *testing.T, p target, tokens ...string) string {
	t.Helper()
	d, err := diagnose(t.Context(), p)
	require.NoError(t, err)
	var out bytes.Buffer
	d.print(&out)
	text := out.String()
	for _, hidden := range append(tokens, p.secret) {
		assert.NotContains(t, text+fmt.Sprintf("%+v", d), hidden)
	}
	return text
}

// assertCheck asserts the status of a check, and that its lines contain all of the texts.
func assertCheck(t *testing.T, report string, s status, name string, texts ...string) {
	t.Helper()
	head := fmt.Sprintf("%-7s  %-33s ", s, name)
	_, rest, found := strings.Cut("\n"+report, "\n"+head)
	if !assert.True(t, found, "no %q in\n%s", head, report) {
		return
	}
	text, after, _ := strings.Cut(rest, "\n")
	if remedy, _, _ := strings.Cut(after, "\n"); strings.Contains(remedy, "-> ") {
		text += "\n" + remedy
	}
	for _, want := range texts {
		assert.Contains(t, text, want)
	}
}

func TestNoProblems(t *testing.T) {
	srv := newAccount(t)
	before := srv.Users()

	report := diagnosisOf(t, targetOf(srv), srv.AccessToken())

	assert.Contains(t, report, "ok 19, warn 0, FAIL 0, skipped 1. "+
		"Requests sent: API calls 12, token requests 1. Nothing was changed.")
	assertCheck(t, report, skipped, "TLS", "plain http")
	assert.NotContains(t, report, "->")
	assert.Equal(t, 12, srv.Calls("*"), "the number in the report")
	assert.Equal(t, 1, srv.Calls("/cgi-bin/stable_token"), "the number in the report")
	assert.Equal(t, before, srv.Users())
}

// The token of other programs stays valid.
func TestTokenStaysValid(t *testing.T) {
	srv := newAccount(t)
	token := srv.AccessToken()
	srv.FailNext("/cgi-bin/tags/get", wechatuser.CodeInvalidCredential, 2) // as if the token stayed invalid

	report := diagnosisOf(t, targetOf(srv), token)

	assertCheck(t, report, fail, "right getTags", "40001")
	assert.Equal(t, token, srv.AccessToken())
}

func TestDNSFailure(t *testing.T) {
	p := target{
		appID: "wxTEST", secret: secret, base: "https://api.example.com", timeout: 10 * time.Second,
		lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
	}

	report := diagnosisOf(t, p)

	assertCheck(t, report, fail, "DNS", "api.example.com has no address: no such host", "-> check the DNS resolver")
	for _, name := range []string{
		"TCP", "TLS", clockCheck, credentialCheck, whitelistCheck, "quotas", "rights", "store", "lock",
	} {
		assertCheck(t, report, skipped, name)
	}
	assert.Contains(t, report, "API calls 0, token requests 0")
}

func TestConnectionRefused(t *testing.T) {
	srv := newAccount(t)
	srv.Close()

	report := diagnosisOf(t, targetOf(srv))

	assertCheck(t, report, ok, "DNS")
	assertCheck(t, report, fail, "TCP", "connection refused", "allow this machine to connect to 127.0.0.1:")
	assertCheck(t, report, skipped, whitelistCheck, "WeChat cannot be reached")
}

// newTLSAccount returns an account behind TLS, whose certificate is not trusted until trust is called.
func newTLSAccount(t *testing.T) (p target, trust func()) {
	t.Helper()
	account := newAccount(t)
	front := httptest.NewUnstartedServer(account)
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	t.Cleanup(front.Close)
	p = targetOf(account)
	p.base = front.URL
	return p, func() {
		roots := x509.NewCertPool()
		roots.AddCert(front.Certificate())
		p.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
}

func TestTLS(t *testing.T) {
	p, trust := newTLSAccount(t)

	report := diagnosisOf(t, p)
	assertCheck(t, report, fail, "TLS", "certificate signed by unknown authority", "-> install the root certificates")
	assertCheck(t, report, skipped, credentialCheck)

	trust()
	report = diagnosisOf(t, p)
	assertCheck(t, report, ok, "TLS", "the certificate is valid until 2084-01-29, issued by O=Acme Co")
	assertCheck(t, report, ok, credentialCheck)

	p.now = func() time.Time { return time.Date(2084, 1, 27, 0, 0, 0, 0, time.UTC) }
	report = diagnosisOf(t, p)
	assertCheck(t, report, warn, "TLS", "until 2084-01-29", "-> if this is a gateway of your own")

	p.now = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	report = diagnosisOf(t, p)
	assertCheck(t, report, fail, "TLS", "expired", "-> check this machine's clock first")

	p.now, p.base = nil, strings.Replace(p.base, "127.0.0.1", "localhost", 1)
	report = diagnosisOf(t, p)
	assertCheck(t, report, fail, "TLS", "not localhost", "-> this is another server")
}

func TestProxy(t *testing.T) {
	srv := newAccount(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = ""
		srv.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	p := targetOf(srv)
	at, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	at.User = url.UserPassword("user", "SENTINEL-PASSWORD")
	p.transport.Proxy = http.ProxyURL(at)

	report := diagnosisOf(t, p, "SENTINEL-PASSWORD")

	assertCheck(t, report, ok, "TCP", "the proxy accepts connections at "+at.Host)
	assertCheck(t, report, skipped, "TLS", "the proxy connects to WeChat")
	assertCheck(t, report, ok, credentialCheck)
}

func TestClockSkew(t *testing.T) {
	srv := newAccount(t)
	for _, c := range []struct {
		off    time.Duration
		status status
		text   string
	}{
		{10 * time.Minute, fail, "ahead of WeChat's"},
		{-10 * time.Minute, fail, "behind WeChat's"},
		{2 * time.Minute, warn, "ahead of WeChat's"},
	} {
		p := targetOf(srv)
		p.now = func() time.Time { return time.Now().Add(c.off) }
		assertCheck(t, diagnosisOf(t, p), c.status, clockCheck, c.text, "-> synchronize the clock by NTP")
	}
}

func TestCredential(t *testing.T) {
	srv := newAccount(t)
	p := targetOf(srv)
	p.secret = strings.Repeat("WRONG0SENTINEL00", 2)
	report := diagnosisOf(t, p, secret)
	assertCheck(t, report, fail, credentialCheck,
		"getStableAccessToken failed with errcode 40125", "不合法的 AppSecret", "rid ", "-> check the app secret")
	assert.Contains(t, report, "explains a rid for seven days: https://developers.weixin.qq.com/console/devtools/debug?tab=")
	assertCheck(t, report, skipped, whitelistCheck, "unknown without a token")
	assertCheck(t, report, skipped, "rights")
	assertCheck(t, report, ok, clockCheck)
	assertCheck(t, report, ok, "store")

	p = targetOf(srv)
	p.appID = "wxOTHER"
	assertCheck(t, diagnosisOf(t, p), fail, credentialCheck, "40013", "-> check the app ID")

	srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeDailyQuotaExceeded, 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), fail, credentialCheck, "45009", "call ClearQuotaByAppSecret")

	srv.FailNextHTTP("/cgi-bin/stable_token", http.StatusForbidden, "<html><title>blocked by proxy</title></html>", 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), fail, credentialCheck,
		"HTTP status 403", "blocked by proxy", "-> check what is between")

	srv.FailNextHTTP("/cgi-bin/stable_token", http.StatusBadGateway, "", 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), warn, credentialCheck,
		"HTTP status 502", "-> this may be temporary: try again")
}

func TestWhitelist(t *testing.T) {
	for name, message := range map[string]string{
		"IPv4": "invalid ip 203.0.113.9, not in whitelist rid: 5f0000aa-11223344-55667788",
		"IPv4 and IPv6": "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: " +
			"5f0000aa-11223344-55667788",
	} {
		t.Run(name, func(t *testing.T) {
			srv := newAccount(t)
			srv.FailNextHTTP("/cgi-bin/stable_token", http.StatusOK, `{"errcode":40164,"errmsg":"`+message+`"}`, 1)

			report := diagnosisOf(t, targetOf(srv))

			assertCheck(t, report, fail, whitelistCheck,
				"WeChat sees this machine as 203.0.113.9. ", "40164", "调用接口的 IP 地址不在白名单中",
				"rid 5f0000aa-11223344-55667788",
				"-> add 203.0.113.9 to the IP whitelist (IP白名单)")
			assertCheck(t, report, skipped, credentialCheck)
		})
	}
}

func TestRights(t *testing.T) {
	srv := newAccount(t)
	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeAPIUnauthorized, 1)

	report := diagnosisOf(t, targetOf(srv))

	assertCheck(t, report, fail, "right getFans",
		"getFans failed with errcode 48001", "API 功能未授权", "-> get the account verified")
	assertCheck(t, report, skipped, "right userInfo", "no follower to check with")
	assertCheck(t, report, ok, "right getTags")

	srv.FailNext("/cgi-bin/tags/get", 99999, 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), fail, "right getTags", "getTags failed with errcode 99999")
}

func TestQuota(t *testing.T) {
	srv := newAccount(t,
		wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0), wechatusertest.WithQuota("/cgi-bin/user/info", 20, 0))
	c := srv.Client(wechatuser.WithTransport(srv.Transport()))
	_, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	for i := range 20 - 1 { // leaves one call for the doctor
		_, err := c.GetUserInfo(t.Context(), wechatusertest.OpenID(i%3))
		require.NoError(t, err)
	}
	before := srv.Calls("/cgi-bin/user/get")

	report := diagnosisOf(t, targetOf(srv))

	assertCheck(t, report, fail, "quota user/get",
		"0 of 1 calls left today", "-> wait for the next day (Beijing time), or call ClearQuota")
	assertCheck(t, report, skipped, "right getFans", "its quota is exhausted")
	assertCheck(t, report, warn, "quota user/info", "1 of 20 calls left today", "-> less than a tenth")
	assert.Equal(t, before, srv.Calls("/cgi-bin/user/get"), "no call is wasted")

	srv = newAccount(t)
	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeDailyQuotaExceeded, 1) // the counter lags
	assertCheck(t, diagnosisOf(t, targetOf(srv)), fail, "right getFans", "45009", "接口调用超过每日限制")
}

// brokenStore returns err from each call, and stores nothing.
type brokenStore struct{ err error }

func (s brokenStore) Load(context.Context, string) (wechatuser.Token, error) {
	return wechatuser.Token{}, s.err
}
func (s brokenStore) Save(context.Context, string, wechatuser.Token) error   { return s.err }
func (s brokenStore) Delete(context.Context, string, wechatuser.Token) error { return s.err }

func TestStore(t *testing.T) {
	srv := newAccount(t)
	p := targetOf(srv)
	p.store = brokenStore{errors.New("connection refused")}
	report := diagnosisOf(t, p)
	assertCheck(t, report, fail, "store", "save: connection refused", "-> check the store's address")
	assertCheck(t, report, warn, "lock", "the store has no lock")
	assertCheck(t, report, ok, credentialCheck)

	p.store = brokenStore{}
	assertCheck(t, diagnosisOf(t, p), fail, "store", "load returned another token than the one saved")
}

// checkedStore is a store that can check itself.
type checkedStore struct {
	wechatuser.TokenStore
	err error
}

func (s checkedStore) Check(context.Context) error { return s.err }

func TestStoreThatChecksItself(t *testing.T) {
	p := targetOf(newAccount(t))
	p.store = checkedStore{p.store, errors.New("wrong user name or password of Redis")}
	report := diagnosisOf(t, p)
	assertCheck(t, report, fail, "store", "wrong user name or password of Redis", "-> check the store's address")
	assertCheck(t, report, skipped, "lock", "the store cannot be used")

	p.store = checkedStore{wechatuser.NewMemoryTokenStore(), nil}
	assertCheck(t, diagnosisOf(t, p), ok, "store")
}

// The real token in the store stays as it is, and its lock is released.
func TestStoreIsUnchanged(t *testing.T) {
	const key = "wechatuser:token:stable:wxTEST"
	p := targetOf(newAccount(t))
	real := wechatuser.Token{AccessToken: "SENTINEL-TOKEN", ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, p.store.Save(t.Context(), key, real))

	diagnosisOf(t, p, real.AccessToken)

	got, err := p.store.Load(t.Context(), key)
	require.NoError(t, err)
	assert.Equal(t, real.AccessToken, got.AccessToken)
	assert.Equal(t, real.ExpiresAt, got.ExpiresAt)
	unlock, err := p.store.(wechatuser.TokenLocker).Lock(t.Context(), key)
	require.NoError(t, err, "the lock was released")
	unlock()
}

func TestLockIsHeld(t *testing.T) {
	p := targetOf(newAccount(t))
	unlock, err := p.store.(wechatuser.TokenLocker).Lock(t.Context(), "wechatuser:token:stable:"+p.appID)
	require.NoError(t, err)
	defer unlock()
	p.now, p.timeout = time.Now, time.Millisecond
	var d diagnosis

	d.tokenStore(t.Context(), p)

	var out bytes.Buffer
	d.print(&out)
	assertCheck(t, out.String(), fail, "lock", "another process has held it for 1ms", "-> try again in half a minute")
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out, io.Discard))
	assert.Contains(t, out.String(),
		"Using an in-memory account with 3 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.")
	assert.Contains(t, out.String(), "FAIL 0")

	srv := newAccount(t)
	assert.ErrorContains(t, run(t.Context(), []string{"-base", srv.URL}, io.Discard, io.Discard),
		"set WECHAT_APPID and WECHAT_SECRET")
	t.Setenv("WECHAT_APPID", "wxTEST")
	t.Setenv("WECHAT_SECRET", strings.Repeat("0", 32))
	out.Reset()
	assert.ErrorIs(t, run(t.Context(), []string{"-base", srv.URL}, &out, io.Discard), errFailed)
	assert.Contains(t, out.String(), "40125")

	assert.Error(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard))
	assert.ErrorIs(t, run(t.Context(), []string{"-base", "http://192.0.2.1"}, io.Discard, io.Discard),
		wechatuser.ErrInvalidArgument)
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Doctor (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}

// A base URL of plain http that is not loopback needs -plain-http.
func TestPlainHTTP(t *testing.T) {
	p := target{
		appID: "wxTEST", secret: secret, base: "http://sandbox:8080", timeout: time.Second,
		lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
	}
	_, err := diagnose(t.Context(), p)
	require.ErrorContains(t, err, "WithPlainHTTP")
	p.plainHTTP = true
	assertCheck(t, diagnosisOf(t, p), fail, "DNS", "sandbox has no address")
}

// The flags in the compose file of the sandbox are flags of this program.
func TestComposeFile(t *testing.T) {
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "")
	text, err := os.ReadFile("../sandbox/compose.yaml")
	require.NoError(t, err)
	_, command, found := strings.Cut(string(text), "command: go run ./examples/doctor ")
	require.True(t, found)
	command, _, _ = strings.Cut(command, "\n")
	err = run(t.Context(), strings.Fields(command), io.Discard, io.Discard)
	require.EqualError(t, err, "-base requires an account of your own: set WECHAT_APPID and WECHAT_SECRET")
	assert.Contains(t, command, "-plain-http")
}
