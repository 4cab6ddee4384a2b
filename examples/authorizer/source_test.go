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

// platform is the one endpoint of the open platform. Each exchange invalidates the refresh token that it used: the
// strictest behavior that the real platform may have.
type platform struct {
	account *wechatusertest.Server // whose tokens it returns

	mu        sync.Mutex
	component string // the valid component_access_token
	refresh   int    // number of the valid refresh token
	exchanges int    // requests
	expiresIn int    // seconds
	down      bool
	delay     time.Duration
}

func newPlatform() *platform {
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3))
	return &platform{component: "SENTINEL-COMPONENT-1", expiresIn: 7200, account: account}
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
	reject := func(code int, text string) {
		fmt.Fprintf(rec, `{"errcode":%d,"errmsg":"%s rid: 5f0000aa-11223344-55667788"}`, code, text)
	}
	switch {
	case json.NewDecoder(r.Body).Decode(&in) != nil || r.Method != "POST",
		r.URL.Path != "/cgi-bin/component/api_authorizer_token":
		reject(47001, "data format error")
	case r.URL.Query().Get("component_access_token") != p.component:
		reject(40001, "invalid credential, access_token is invalid or not latest: "+
			r.URL.Query().Get("component_access_token"))
	case in.ComponentAppID != "wxPLATFORM" || in.AppID != p.account.AppID:
		reject(40013, "invalid appid")
	case in.RefreshToken != refreshToken(p.refresh):
		reject(61023, "refresh_token is invalid: "+in.RefreshToken)
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

// store holds one refresh token.
type store struct {
	mu    sync.Mutex
	token string
	err   error // returned by SaveRefreshToken
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

func (s *store) saved() string {
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
	c, err := wechatuser.New(p.account.AppID, "",
		wechatuser.WithTokenSource(src), wechatuser.WithTransport(p.account.Transport()))
	require.NoError(t, err)
	return c
}

func assertNoSecret(t *testing.T, what any) {
	t.Helper()
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", what, what, what), "SENTINEL")
}

func TestConcurrentCallsShareOneExchange(t *testing.T) {
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
		assert.Equal(t, refreshToken(1), s.saved())

		time.Sleep(time.Hour)
		p.account.ExpireTokens()
		call()
		assert.Equal(t, 2, p.count(), "a rejected token is refreshed once")
		assert.Equal(t, refreshToken(2), s.saved())
		assert.Zero(t, p.account.Calls("/cgi-bin/stable_token"), "the app secret is not used")
	})
}

func TestRefreshTokenSurvivesRestart(t *testing.T) {
	p, s := newPlatform(), &store{token: refreshToken(0)}
	for range 3 {
		_, err := newSource(p, s).Token(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, refreshToken(3), s.saved())
}

func TestExchangeContinuesAfterCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		p.delay = time.Second
		src := newSource(p, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()

		_, err := src.Token(ctx)

		assert.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		assert.Equal(t, refreshToken(1), s.saved(), "the exchange in flight is not lost")
		_, err = src.Token(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, p.count())
	})
}

func TestGrantIsKeptUntilSaved(t *testing.T) {
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
		assert.Equal(t, refreshToken(1), s.saved())
		assert.Equal(t, 1, p.count())
	})
}

// The access token expires before its refresh token can be saved.
func TestGrantExpiresBeforeItIsSaved(t *testing.T) {
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
		assert.Equal(t, refreshToken(2), s.saved())
		assert.Equal(t, 2, p.count())
	})
}

// A token that expires within minInterval is still refreshed.
func TestShortLivedToken(t *testing.T) {
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

func TestRefreshBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPlatform(), &store{token: refreshToken(0)}
		src := newSource(p, s)
		_, err := src.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(111 * time.Minute)
		p.set(func() { p.down = true })
		for range 100 {
			_, err := src.Token(t.Context())
			assert.NoError(t, err, "the token is valid for another 9 minutes")
			synctest.Wait()
		}
		assert.Equal(t, 2, p.count(), "not every call contacts an unavailable platform")

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

// An account that rejects every token does not use up the daily exchanges.
func TestTokenIsAlwaysRejected(t *testing.T) {
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

// components is a source of component_access_tokens that replaces a rejected one.
type components struct {
	n           int
	invalidated []string
}

func (c *components) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: fmt.Sprintf("SENTINEL-COMPONENT-%d", c.n)}, nil
}

func (c *components) Invalidate(_ context.Context, rejected wechatuser.Token) error {
	c.invalidated = append(c.invalidated, rejected.AccessToken)
	c.n++
	return nil
}

func TestComponentTokenIsRejected(t *testing.T) {
	p, s, c := newPlatform(), &store{token: refreshToken(0)}, new(components)
	src := authorizer.NewSource(p.account.AppID,
		authorizer.HTTP{ComponentAppID: "wxPLATFORM", Component: c, Transport: p}, s)

	_, err := src.Token(t.Context())

	require.NoError(t, err)
	assert.Equal(t, []string{"SENTINEL-COMPONENT-0"}, c.invalidated)
	assert.Equal(t, 2, p.count())
}

func TestErrorsContainNoToken(t *testing.T) {
	p := newPlatform()
	_, err := newSource(p, &store{token: refreshToken(7)}).Token(t.Context())
	assert.ErrorIs(t, err, wechatuser.Code(61023))
	assertNoSecret(t, err)

	p.component = "another"
	_, err = newSource(p, &store{token: refreshToken(0)}).Token(t.Context())
	assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
	assertNoSecret(t, err)

	for _, body := range []string{
		"", "<html>", `{"authorizer_access_token":"SENTINEL"}`, `{"authorizer_access_token":"SENTINEL","expires_`,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, body)
		}))
		tr := &http.Transport{DisableKeepAlives: true}
		platform := authorizer.HTTP{
			Component: wechatuser.StaticTokenSource("SENTINEL"), BaseURL: srv.URL, Transport: tr,
		}
		src := authorizer.NewSource("wxTEST", platform, new(store))
		_, err := src.Token(t.Context())
		assert.ErrorContains(t, err, "status 200, no token in the response")
		assertNoSecret(t, err)
		srv.Close()
		_, err = platform.Exchange(t.Context(), "wxTEST", "SENTINEL")
		assert.ErrorContains(t, err, "no response")
		assertNoSecret(t, err)
	}
	src := authorizer.NewSource("wxTEST", nil, nil)
	assert.Equal(t, "authorizer.Source(wxTEST)", strings.TrimSpace(fmt.Sprintf("%+v", src)))
}
