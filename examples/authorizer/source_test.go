package authorizer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/authorizer"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// platform is the one endpoint of the open platform. Each exchange ends the refresh token that it was made with, which
// is the strictest that the platform may do.
type platform struct {
	account *wechatusertest.Server // whose tokens it gives

	mu        sync.Mutex
	component string // the component_access_token that it takes
	refresh   int    // number of the refresh token that it takes
	exchanges int    // requests
	expiresIn int    // seconds
	down      bool
	delay     time.Duration
}

func newPlatform() *platform {
	return &platform{component: "SENTINEL-COMPONENT-1", expiresIn: 7200, account: wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3))}
}

func refreshToken(n int) string { return fmt.Sprintf("SENTINEL-REFRESH-%d", n) }

func (p *platform) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	rec := httptest.NewRecorder()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges++
	if p.down {
		return nil, errors.New("connection refused")
	}
	var in struct {
		ComponentAppID string `json:"component_appid"`
		AppID          string `json:"authorizer_appid"`
		RefreshToken   string `json:"authorizer_refresh_token"`
	}
	refuse := func(code int, text string) {
		fmt.Fprintf(rec, `{"errcode":%d,"errmsg":"%s rid: 5f0000aa-11223344-55667788"}`, code, text)
	}
	switch {
	case json.NewDecoder(r.Body).Decode(&in) != nil || r.Method != "POST" || r.URL.Path != "/cgi-bin/component/api_authorizer_token":
		refuse(47001, "data format error")
	case r.URL.Query().Get("component_access_token") != p.component:
		refuse(40001, "invalid credential, access_token is invalid or not latest: "+r.URL.Query().Get("component_access_token"))
	case in.ComponentAppID != "wxPLATFORM" || in.AppID != p.account.AppID:
		refuse(40013, "invalid appid")
	case in.RefreshToken != refreshToken(p.refresh):
		refuse(61023, "refresh_token is invalid: "+in.RefreshToken)
	default:
		p.refresh++
		fmt.Fprintf(rec, `{"authorizer_access_token":"%s","expires_in":%d,"authorizer_refresh_token":"%s"}`,
			p.account.AccessToken(), p.expiresIn, refreshToken(p.refresh))
	}
	return rec.Result(), nil
}

func (p *platform) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exchanges
}

func (p *platform) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// store keeps one refresh token.
type store struct {
	mu    sync.Mutex
	token string
	err   error // of saving
}

func (s *store) RefreshToken(context.Context, string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, nil
}

func (s *store) SaveRefreshToken(_ context.Context, _, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.token = token
	}
	return s.err
}

func (s *store) held() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func newSource(p *platform, s *store) *authorizer.Source {
	return authorizer.NewSource(p.account.AppID, authorizer.HTTP{
		ComponentAppID: "wxPLATFORM", Component: wechatuser.StaticTokenSource("SENTINEL-COMPONENT-1"), Transport: p,
	}, s)
}

func client(t *testing.T, p *platform, src wechatuser.TokenSource) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(p.account.AppID, "", wechatuser.WithTokenSource(src), wechatuser.WithTransport(p.account.Transport()))
	require.NoError(t, err)
	return c
}

func assertNoSecret(t *testing.T, what any) {
	t.Helper()
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", what, what, what), "SENTINEL")
}

func TestOneExchangeForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		p.delay = time.Second
		c := client(t, p, newSource(p, s))
		call := func() {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					_, err := c.GetFans(t.Context(), "")
					assert.NoError(t, err)
				})
			}
			wg.Wait()
		}
		call()
		assert.Equal(t, 1, p.count())
		assert.Equal(t, refreshToken(1), s.held())

		time.Sleep(time.Hour)
		p.account.ExpireTokens()
		call()
		assert.Equal(t, 2, p.count(), "a token that was refused is replaced once")
		assert.Equal(t, refreshToken(2), s.held())
		assert.Zero(t, p.account.Calls("/cgi-bin/stable_token"), "the account's secret is not needed")
	})
}

func TestRestart(t *testing.T) {
	p, s := newPlatform(), &store{token: refreshToken(0)}
	for range 3 {
		_, err := newSource(p, s).Token(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, refreshToken(3), s.held())
}

func TestCallerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		p.delay = time.Second
		src := newSource(p, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()

		_, err := src.Token(ctx)

		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		assert.Equal(t, refreshToken(1), s.held(), "the exchange that was under way is not lost")
		_, err = src.Token(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, p.count())
	})
}

func TestStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0), err: errors.New("disk full")}
		src := newSource(p, s)
		for range 3 {
			_, err := src.Token(t.Context())
			assert.ErrorContains(t, err, "saving the refresh token")
			time.Sleep(time.Minute)
		}
		assert.Equal(t, 1, p.count(), "the first exchange is kept until it is saved")
		s.fail(nil)

		token, err := src.Token(t.Context())

		require.NoError(t, err)
		assert.Equal(t, p.account.AccessToken(), token.AccessToken)
		assert.Equal(t, refreshToken(1), s.held())
		assert.Equal(t, 1, p.count())
	})
}

// TestStoreDownForHours is about an access token that has ended before its refresh token could be saved.
func TestStoreDownForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0), err: errors.New("disk full")}
		src := newSource(p, s)
		_, err := src.Token(t.Context())
		require.ErrorContains(t, err, "saving the refresh token")
		time.Sleep(3 * time.Hour)
		s.fail(nil)

		token, err := src.Token(t.Context())

		require.NoError(t, err)
		assert.Equal(t, 2*time.Hour, time.Until(token.ExpiresAt))
		assert.Equal(t, refreshToken(2), s.held())
		assert.Equal(t, 2, p.count())
	})
}

// TestShortToken is about a token that ends within the pause between two renewals: no call goes without a token.
func TestShortToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		p.expiresIn = 5
		src := newSource(p, s)
		for range 2 {
			token, err := src.Token(t.Context())
			require.NoError(t, err)
			assert.NotEmpty(t, token.AccessToken)
			time.Sleep(5 * time.Second)
		}
		assert.Equal(t, 2, p.count())
	})
}

func TestEarlyRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		src := newSource(p, s)
		_, err := src.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(111 * time.Minute)
		p.set(func() { p.down = true })
		for range 100 {
			_, err := src.Token(t.Context())
			assert.NoError(t, err, "it is good for 9 minutes more")
			synctest.Wait()
		}
		assert.Equal(t, 2, p.count(), "a platform that is down is not asked by each call")

		time.Sleep(10 * time.Minute)
		_, err = src.Token(t.Context())
		assert.ErrorContains(t, err, "connection refused")
		assertNoSecret(t, err)
		_, err = src.Token(t.Context())
		assert.ErrorContains(t, err, "connection refused")
		assert.Equal(t, 3, p.count())

		time.Sleep(time.Minute)
		p.set(func() { p.down = false })
		_, err = src.Token(t.Context())
		assert.NoError(t, err)
	})
}

// TestRefusedForEver is about an account that refuses each token.
func TestRefusedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		c := client(t, p, newSource(p, s))
		p.account.FailNext("*", wechatuser.CodeInvalidCredential, 1000)
		for range 100 {
			_, err := c.GetFans(t.Context(), "")
			assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
		}
		assert.Equal(t, 1, p.count())
	})
}

// components is a source of component_access_tokens that can renew.
type components struct {
	n           int
	invalidated []string
}

func (c *components) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: fmt.Sprintf("SENTINEL-COMPONENT-%d", c.n)}, nil
}

func (c *components) Invalidate(_ context.Context, refused wechatuser.Token) error {
	c.invalidated = append(c.invalidated, refused.AccessToken)
	c.n++
	return nil
}

func TestComponentTokenRefused(t *testing.T) {
	p, s, c := newPlatform(), &store{token: refreshToken(0)}, new(components)
	src := authorizer.NewSource(p.account.AppID, authorizer.HTTP{ComponentAppID: "wxPLATFORM", Component: c, Transport: p}, s)

	_, err := src.Token(t.Context())

	require.NoError(t, err)
	assert.Equal(t, []string{"SENTINEL-COMPONENT-0"}, c.invalidated)
	assert.Equal(t, 2, p.count())
}

func TestErrors(t *testing.T) {
	p := newPlatform()
	_, err := newSource(p, &store{token: refreshToken(7)}).Token(t.Context())
	assert.ErrorIs(t, err, wechatuser.Code(61023))
	assertNoSecret(t, err)

	p.component = "another"
	_, err = newSource(p, &store{token: refreshToken(0)}).Token(t.Context())
	assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
	assertNoSecret(t, err)

	for _, body := range []string{"", "<html>", `{"authorizer_access_token":"SENTINEL"}`, `{"authorizer_access_token":"SENTINEL","expires_`} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		tr := &http.Transport{DisableKeepAlives: true}
		src := authorizer.NewSource("wxTEST", authorizer.HTTP{Component: wechatuser.StaticTokenSource("SENTINEL"), BaseURL: srv.URL, Transport: tr}, new(store))
		_, err := src.Token(t.Context())
		assert.ErrorContains(t, err, "status 200, and the answer is no token")
		assertNoSecret(t, err)
		srv.Close()
		_, err = authorizer.HTTP{Component: wechatuser.StaticTokenSource("SENTINEL"), BaseURL: srv.URL, Transport: tr}.Exchange(t.Context(), "wxTEST", "SENTINEL")
		assert.ErrorContains(t, err, "no answer")
		assertNoSecret(t, err)
	}
	assert.Equal(t, "authorizer.Source(wxTEST)", strings.TrimSpace(fmt.Sprintf("%+v", authorizer.NewSource("wxTEST", nil, nil))))
}
