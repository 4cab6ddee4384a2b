package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
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

func targetOf(srv *wechatusertest.Server) Target {
	return Target{
		AppID: srv.AppID, Secret: constant(srv.Secret), BaseURL: srv.URL, Timeout: 10 * time.Second,
		Store: wechatuser.NewMemoryTokenStore(), transport: &http.Transport{},
	}
}

// constant is the source of one secret.
func constant(secret string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return secret, nil }
}

// diagnosisOf returns the diagnosis, and asserts that it contains no secret.
func diagnosisOf(t *testing.T, p Target, tokens ...string) *Diagnosis {
	t.Helper()
	d, err := Diagnose(t.Context(), p)
	require.NoError(t, err)
	hidden, err := p.Secret(t.Context())
	require.NoError(t, err)
	text := fmt.Sprintf("%+v", d)
	for _, hidden := range append(tokens, hidden) {
		assert.NotContains(t, text, hidden)
	}
	return d
}

// assertCheck asserts the status of a check, and that its text or remedy, after "->", contain all of the texts.
func assertCheck(t *testing.T, d *Diagnosis, s Status, name string, texts ...string) {
	t.Helper()
	i := slices.IndexFunc(d.Findings, func(f Finding) bool { return f.Check == name && f.Status == s })
	if !assert.GreaterOrEqual(t, i, 0, "no %s %q in %+v", s, name, d.Findings) {
		return
	}
	text := d.Findings[i].Text
	if remedy := d.Findings[i].Remedy; remedy != "" {
		text += "\n-> " + remedy
	}
	for _, want := range texts {
		assert.Contains(t, text, want)
	}
}

func TestNoProblems(t *testing.T) {
	srv := newAccount(t)
	before := srv.Users()

	report := diagnosisOf(t, targetOf(srv), srv.AccessToken())

	counts := []int{report.Count(OK), report.Count(Warn), report.Count(Fail), report.Count(Skipped)}
	assert.Equal(t, []int{19, 0, 0, 1}, counts)
	assert.Equal(t, []int{12, 1}, []int{report.Calls, report.TokenRequests})
	assertCheck(t, report, Skipped, "TLS", "plain http")
	for _, f := range report.Findings {
		assert.Empty(t, f.Remedy)
	}
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

	assertCheck(t, report, Fail, "right getTags", "40001")
	assert.Equal(t, token, srv.AccessToken())
}

func TestDNSFailure(t *testing.T) {
	p := Target{
		AppID: "wxTEST", Secret: constant(secret), BaseURL: "https://api.example.com", Timeout: 10 * time.Second,
		lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
	}

	report := diagnosisOf(t, p)

	assertCheck(t, report, Fail, "DNS", "api.example.com has no address: no such host", "-> check the DNS resolver")
	for _, name := range []string{
		"TCP", "TLS", clockCheck, credentialCheck, whitelistCheck, "quotas", "rights", "store", "lock",
	} {
		assertCheck(t, report, Skipped, name)
	}
	assert.Zero(t, report.Calls+report.TokenRequests)
}

func TestConnectionRefused(t *testing.T) {
	srv := newAccount(t)
	srv.Close()

	report := diagnosisOf(t, targetOf(srv))

	assertCheck(t, report, OK, "DNS")
	assertCheck(t, report, Fail, "TCP", "connection refused", "allow this machine to connect to 127.0.0.1:")
	assertCheck(t, report, Skipped, whitelistCheck, "WeChat cannot be reached")
}

// newTLSAccount returns an account behind TLS, whose certificate is not trusted until trust is called.
func newTLSAccount(t *testing.T) (p Target, trust func()) {
	t.Helper()
	account := newAccount(t)
	front := httptest.NewUnstartedServer(account)
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	t.Cleanup(front.Close)
	p = targetOf(account)
	p.BaseURL = front.URL
	return p, func() {
		roots := x509.NewCertPool()
		roots.AddCert(front.Certificate())
		p.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
}

func TestTLS(t *testing.T) {
	p, trust := newTLSAccount(t)

	report := diagnosisOf(t, p)
	assertCheck(t, report, Fail, "TLS", "certificate signed by unknown authority", "-> install the root certificates")
	assertCheck(t, report, Skipped, credentialCheck)

	trust()
	report = diagnosisOf(t, p)
	assertCheck(t, report, OK, "TLS", "the certificate is valid until 2084-01-29, issued by O=Acme Co")
	assertCheck(t, report, OK, credentialCheck)

	p.now = func() time.Time { return time.Date(2084, 1, 27, 0, 0, 0, 0, time.UTC) }
	report = diagnosisOf(t, p)
	assertCheck(t, report, Warn, "TLS", "until 2084-01-29", "-> if this is a gateway of your own")

	p.now = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	report = diagnosisOf(t, p)
	assertCheck(t, report, Fail, "TLS", "expired", "-> check this machine's clock first")

	p.now, p.BaseURL = nil, strings.Replace(p.BaseURL, "127.0.0.1", "localhost", 1)
	report = diagnosisOf(t, p)
	assertCheck(t, report, Fail, "TLS", "not localhost", "-> this is another server")
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

	assertCheck(t, report, OK, "TCP", "the proxy accepts connections at "+at.Host)
	assertCheck(t, report, Skipped, "TLS", "the proxy connects to WeChat")
	assertCheck(t, report, OK, credentialCheck)
}

func TestClockSkew(t *testing.T) {
	srv := newAccount(t)
	for _, c := range []struct {
		off    time.Duration
		status Status
		text   string
	}{
		{10 * time.Minute, Fail, "ahead of WeChat's"},
		{-10 * time.Minute, Fail, "behind WeChat's"},
		{2 * time.Minute, Warn, "ahead of WeChat's"},
	} {
		p := targetOf(srv)
		p.now = func() time.Time { return time.Now().Add(c.off) }
		assertCheck(t, diagnosisOf(t, p), c.status, clockCheck, c.text, "-> synchronize the clock by NTP")
	}
}

func TestCredential(t *testing.T) {
	srv := newAccount(t)
	p := targetOf(srv)
	p.Secret = constant(strings.Repeat("WRONG0SENTINEL00", 2))
	report := diagnosisOf(t, p, secret)
	assertCheck(t, report, Fail, credentialCheck,
		"getStableAccessToken failed with errcode 40125", "不合法的 AppSecret", "rid ", "-> check the app secret")
	assert.True(t, slices.ContainsFunc(report.Findings, func(f Finding) bool {
		return f.RID != "" && strings.HasSuffix(f.Text, "rid "+f.RID)
	}))
	assertCheck(t, report, Skipped, whitelistCheck, "unknown without a token")
	assertCheck(t, report, Skipped, "rights")
	assertCheck(t, report, OK, clockCheck)
	assertCheck(t, report, OK, "store")

	p = targetOf(srv)
	p.AppID = "wxOTHER"
	assertCheck(t, diagnosisOf(t, p), Fail, credentialCheck, "40013", "-> check the app ID")

	srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeDailyQuotaExceeded, 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), Fail, credentialCheck, "45009", "call ClearQuotaByAppSecret")

	srv.FailNextHTTP("/cgi-bin/stable_token", http.StatusForbidden, "<html><title>blocked by proxy</title></html>", 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), Fail, credentialCheck,
		"HTTP status 403", "blocked by proxy", "-> check what is between")

	srv.FailNextHTTP("/cgi-bin/stable_token", http.StatusBadGateway, "", 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), Warn, credentialCheck,
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

			assertCheck(t, report, Fail, whitelistCheck,
				"WeChat sees this machine as 203.0.113.9. ", "40164", "调用接口的 IP 地址不在白名单中",
				"rid 5f0000aa-11223344-55667788",
				"-> add 203.0.113.9 to the IP whitelist (IP白名单)")
			assertCheck(t, report, Skipped, credentialCheck)
		})
	}
}

func TestRights(t *testing.T) {
	srv := newAccount(t)
	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeAPIUnauthorized, 1)

	report := diagnosisOf(t, targetOf(srv))

	assertCheck(t, report, Fail, "right getFans",
		"getFans failed with errcode 48001", "API 功能未授权", "-> get the account verified")
	assertCheck(t, report, Skipped, "right userInfo", "no follower to check with")
	assertCheck(t, report, OK, "right getTags")

	srv.FailNext("/cgi-bin/tags/get", 99999, 1)
	assertCheck(t, diagnosisOf(t, targetOf(srv)), Fail, "right getTags", "getTags failed with errcode 99999")
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

	assertCheck(t, report, Fail, "quota user/get",
		"0 of 1 calls left today", "-> wait for the next day (Beijing time), or call ClearQuota")
	assertCheck(t, report, Skipped, "right getFans", "its quota is exhausted")
	assertCheck(t, report, Warn, "quota user/info", "1 of 20 calls left today", "-> less than a tenth")
	assert.Equal(t, before, srv.Calls("/cgi-bin/user/get"), "no call is wasted")

	srv = newAccount(t)
	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeDailyQuotaExceeded, 1) // the counter lags
	assertCheck(t, diagnosisOf(t, targetOf(srv)), Fail, "right getFans", "45009", "接口调用超过每日限制")
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
	p.Store = brokenStore{errors.New("connection refused")}
	report := diagnosisOf(t, p)
	assertCheck(t, report, Fail, "store", "save: connection refused", "-> check the store's address")
	assertCheck(t, report, Warn, "lock", "the store has no lock")
	assertCheck(t, report, OK, credentialCheck)

	p.Store = brokenStore{}
	assertCheck(t, diagnosisOf(t, p), Fail, "store", "load returned another token than the one saved")
}

// checkedStore is a store that can check itself.
type checkedStore struct {
	wechatuser.TokenStore
	err error
}

func (s checkedStore) Check(context.Context) error { return s.err }

func TestStoreThatChecksItself(t *testing.T) {
	p := targetOf(newAccount(t))
	p.Store = checkedStore{p.Store, errors.New("wrong user name or password of Redis")}
	report := diagnosisOf(t, p)
	assertCheck(t, report, Fail, "store", "wrong user name or password of Redis", "-> check the store's address")
	assertCheck(t, report, Skipped, "lock", "the store cannot be used")

	p.Store = checkedStore{wechatuser.NewMemoryTokenStore(), nil}
	assertCheck(t, diagnosisOf(t, p), OK, "store")
}

// The real token in the store stays as it is, and its lock is released.
func TestStoreIsUnchanged(t *testing.T) {
	const key = "wechatuser:token:stable:wxTEST"
	p := targetOf(newAccount(t))
	real := wechatuser.Token{AccessToken: "SENTINEL-TOKEN", ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, p.Store.Save(t.Context(), key, real))

	diagnosisOf(t, p, real.AccessToken)

	got, err := p.Store.Load(t.Context(), key)
	require.NoError(t, err)
	assert.Equal(t, real.AccessToken, got.AccessToken)
	assert.Equal(t, real.ExpiresAt, got.ExpiresAt)
	unlock, err := p.Store.(wechatuser.TokenLocker).Lock(t.Context(), key)
	require.NoError(t, err, "the lock was released")
	unlock()
}

func TestLockIsHeld(t *testing.T) {
	p := targetOf(newAccount(t))
	unlock, err := p.Store.(wechatuser.TokenLocker).Lock(t.Context(), "wechatuser:token:stable:"+p.AppID)
	require.NoError(t, err)
	defer unlock()
	p.now, p.Timeout = time.Now, time.Millisecond
	var d Diagnosis

	d.tokenStore(t.Context(), p)

	assertCheck(t, &d, Fail, "lock", "another process has held it for 1ms", "-> try again in half a minute")
}

// A base URL of plain http that is not loopback needs PlainHTTP.
func TestPlainHTTP(t *testing.T) {
	p := Target{
		AppID: "wxTEST", Secret: constant(secret), BaseURL: "http://sandbox:8080", Timeout: time.Second,
		lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") },
	}
	_, err := Diagnose(t.Context(), p)
	require.ErrorContains(t, err, "WithPlainHTTP")
	p.PlainHTTP = true
	assertCheck(t, diagnosisOf(t, p), Fail, "DNS", "sandbox has no address")
}

// A secret that cannot be read is the finding, not the network.
func TestSecretSource(t *testing.T) {
	for text, source := range map[string]func(context.Context) (string, error){
		"cannot be read: exit status 1": func(context.Context) (string, error) { return "", errors.New("exit status 1") },
		"is empty":                      constant(""),
	} {
		srv := newAccount(t)
		p := targetOf(srv)
		p.Secret = source

		d, err := Diagnose(t.Context(), p)

		require.NoError(t, err)
		assertCheck(t, d, Fail, credentialCheck, "the app secret "+text, "-> check the command or the file")
		assertCheck(t, d, Skipped, clockCheck)
		assertCheck(t, d, Skipped, whitelistCheck)
		assertCheck(t, d, Skipped, "rights")
		assert.Zero(t, d.TokenRequests)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Diagnose(ctx, targetOf(newAccount(t)))
	assert.ErrorIs(t, err, context.Canceled)
}

// In Chinese, all findings and remedies are, and the names of the checks do not change.
func TestChinese(t *testing.T) {
	healthy, failing := newAccount(t), newAccount(t)
	for _, code := range []wechatuser.Code{wechatuser.CodeIPNotAllowed, wechatuser.CodeInvalidSecret} {
		failing.FailNext("/cgi-bin/stable_token", code, 2)
	}
	low := newAccount(t,
		wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0), wechatusertest.WithQuota("/cgi-bin/user/info", 20, 0))
	chinese := func(r rune) bool { return unicode.Is(unicode.Han, r) }
	seen := map[string]string{}
	for _, srv := range []*wechatusertest.Server{healthy, failing, failing, low, low} {
		p := targetOf(srv)
		inEnglish := diagnosisOf(t, p)
		p.Chinese = true
		d := diagnosisOf(t, p)
		for _, f := range d.Findings {
			assert.True(t, strings.ContainsFunc(f.Text, chinese), "%s: %s", f.Check, f.Text)
			assert.True(t, f.Remedy == "" || strings.ContainsFunc(f.Remedy, chinese), "%s: %s", f.Check, f.Remedy)
			seen[f.Check] = d.Label(f.Check)
		}
		for _, f := range inEnglish.Findings {
			assert.Equal(t, f.Check, inEnglish.Label(f.Check))
		}
	}
	assert.Equal(t, "时钟", seen[clockCheck])
	assert.Equal(t, "额度 user/get", seen["quota user/get"])
	assert.Equal(t, "权限 getFans", seen["right getFans"])
	assert.Equal(t, "DNS", seen["DNS"])
}
