package tokenserver

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/tokenclient"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	server := New(account.Client(wechatuser.WithLogger(log)), key, log)
	c := &company{account, server, log, []string{account.AccessToken()}}
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
	for _, bearer := range []string{"", "Bearer ", "Bearer wrong", key, "Bearer " + key + "x", "Basic " + key, "Bearer" + key} {
		for _, request := range []string{"GET /token", "POST /token/refused", "GET /elsewhere"} {
			method, path, _ := strings.Cut(request, " ")
			status, out := c.do(t, method, path, bearer, "")
			assert.Equal(t, http.StatusUnauthorized, status, request)
			assert.Equal(t, map[string]any{"error": "wrong key"}, out)
		}
	}
	assert.Zero(t, c.account.Calls(stableToken))

	for _, scheme := range []string{"bearer ", "BEARER ", "Bearer  "} { // RFC 9110
		status, _ := c.do(t, "GET", "/token", scheme+key, "")
		assert.Equal(t, http.StatusOK, status, scheme)
	}
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
