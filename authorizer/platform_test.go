package authorizer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	platformAppID  = "wxPLATFORM00000001"
	platformSecret = "SENTINEL-5ec7e7-0f-it"

	pathComponentToken = "/cgi-bin/component/api_component_token"
	pathToken          = "/cgi-bin/component/api_authorizer_token"
	pathList           = "/cgi-bin/component/api_get_authorizer_list"
	pathQueryAuth      = "/cgi-bin/component/api_query_auth"
)

// world is a simulated platform with accounts, and a store.
type world struct {
	t        *testing.T
	wechat   *wechatusertest.Platform
	accounts []*wechatusertest.Server
	codes    []string
	store    *faultyStore
	log      *seq.Buffer
}

// newWorld returns a platform that is as strict as it can be: each use of a refresh token replaces it, and old access
// tokens end at once.
func newWorld(t *testing.T, accounts int, opts ...wechatusertest.Option) *world {
	w := &world{t: t, store: &faultyStore{Store: authorizer.NewMemoryStore()}, log: new(seq.Buffer)}
	t.Cleanup(func() {
		assertClean(t, w.log.String())
		assertClean(t, strings.Join(w.store.keys(), " "))
	})
	w.wechat = wechatusertest.NewPlatform(append([]wechatusertest.Option{
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(platformAppID, platformSecret),
		wechatusertest.WithRotatingRefreshTokens(), wechatusertest.WithQuirks(wechatusertest.Quirks{NoTokenOverlap: true}),
	}, opts...)...)
	for i := range accounts {
		account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3),
			wechatusertest.WithAccount(fmt.Sprintf("wxACCOUNT%09d", i), "unused"))
		w.accounts = append(w.accounts, account)
		w.codes = append(w.codes, w.wechat.Authorize(account))
	}
	return w
}

// process returns a Platform as another process would have it, with the same store.
func (w *world) process(opts ...wechatuser.Option) *authorizer.Platform {
	p, err := authorizer.New(platformAppID, platformSecret, w.store,
		authorizer.WithClientOptions(append([]wechatuser.Option{wechatuser.WithTransport(w.wechat.Transport())}, opts...)...),
		authorizer.WithLogger(slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	require.NoError(w.t, err)
	return p
}

// ready returns a Platform with a ticket and with all accounts.
func (w *world) ready() *authorizer.Platform {
	p := w.process()
	require.NoError(w.t, p.SaveTicket(w.t.Context(), w.wechat.Ticket()))
	for i, code := range w.codes {
		a, err := p.ExchangeCode(w.t.Context(), code)
		require.NoError(w.t, err)
		require.Equal(w.t, w.accounts[i].AppID, a.AppID)
	}
	return p
}

func (w *world) client(p *authorizer.Platform, account int) *wechatuser.Client {
	appID := w.accounts[account].AppID
	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(p.Source(appID)),
		wechatuser.WithTransport(w.wechat.Transport()))
	require.NoError(w.t, err)
	return c
}

func (w *world) refreshKey(account int) string {
	return "wechatuser:refresh:" + platformAppID + ":" + w.accounts[account].AppID
}

// faultyStore is a store that can fail, and that records its keys.
type faultyStore struct {
	authorizer.Store

	mu      sync.Mutex
	err     error // of SaveSecret
	loadErr error // of LoadSecret
	seen    []string
	saves   int
	onSave  func()
}

func (s *faultyStore) fail(save, load error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.loadErr = save, load
}

func (s *faultyStore) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *faultyStore) LoadSecret(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	err := s.loadErr
	s.seen = append(s.seen, key)
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	return s.Store.LoadSecret(ctx, key)
}

func (s *faultyStore) SaveSecret(ctx context.Context, key, secret string, life time.Duration) error {
	s.mu.Lock()
	err := s.err
	s.seen = append(s.seen, key)
	if err == nil {
		s.saves++
	} else {
		err = fmt.Errorf("%w: SET %s", err, secret) // as some clients of databases do
	}
	onSave := s.onSave
	s.mu.Unlock()
	if onSave != nil {
		onSave()
	}
	if err != nil {
		return err
	}
	return s.Store.SaveSecret(ctx, key, secret, life)
}

func (s *faultyStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	return s.Store.(wechatuser.TokenStore).Load(ctx, key)
}

func (s *faultyStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	return s.Store.(wechatuser.TokenStore).Save(ctx, key, t)
}

func (s *faultyStore) Delete(ctx context.Context, key string, t wechatuser.Token) error {
	return s.Store.(wechatuser.TokenStore).Delete(ctx, key, t)
}

func (s *faultyStore) Lock(ctx context.Context, key string) (func(), error) {
	return s.Store.(wechatuser.TokenLocker).Lock(ctx, key)
}

func (s *faultyStore) AllowForced(ctx context.Context, key string) (bool, error) {
	return s.Store.(wechatuser.TokenBudget).AllowForced(ctx, key)
}

// assertClean checks that a text has no secret: those of the simulator begin like this.
func assertClean(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"SENTINEL", "ticket@@@", "refreshtoken@@@", "authcode@@@", "103_", "104_"} {
		assert.NotContains(t, text, secret)
	}
}

func assertCleanError(t *testing.T, err error) {
	t.Helper()
	assertClean(t, fmt.Sprintf("%v %+v %#v", err, err, err))
}

func TestCallsOfAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		p := w.ready()
		for i := range w.accounts {
			fans, err := w.client(p, i).GetFans(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, 3, fans.Total)
			assert.Equal(t, 1, w.wechat.Fetched(w.accounts[i].AppID), "the token of the authorization is used")
		}
		assert.Equal(t, 1, w.wechat.Calls(pathComponentToken))
		assert.Zero(t, w.wechat.Calls(pathToken))
		assert.Zero(t, w.accounts[0].Calls("getStableAccessToken"))
	})
}

// One refresh for all callers and processes, whether the token expires by the clock of the process or is rejected.
func TestOneRefreshForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		appID := w.accounts[0].AppID
		w.wechat.Delay(pathToken, time.Second)
		var clients []*wechatuser.Client
		for range 8 {
			clients = append(clients, w.client(w.process(), 0))
		}
		w.ready()
		call := func() {
			t.Helper()
			var wg sync.WaitGroup
			for _, c := range clients {
				for range 20 {
					wg.Go(func() {
						_, err := c.GetFans(t.Context(), "")
						assert.NoError(t, err)
					})
				}
			}
			wg.Wait()
		}
		call()
		require.Equal(t, 1, w.wechat.Fetched(appID))

		time.Sleep(2*time.Hour - 30*time.Second)
		require.NoError(t, clients[0].Do(t.Context(), wechatuser.Request{Path: "/cgi-bin/tags/get"}, nil))
		call()
		assert.Equal(t, 2, w.wechat.Fetched(appID), "by the clock of the processes")

		time.Sleep(time.Hour)
		w.wechat.ExpireAuthorizerTokens()
		call()
		assert.Equal(t, 3, w.wechat.Fetched(appID), "a rejected token")
		assert.Zero(t, w.wechat.Calls(pathList))
	})
}

// The refresh token is saved before its access token is used.
func TestRefreshTokenIsSavedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		w.wechat.ExpireAuthorizerTokens()
		calls := -1
		w.store.onSave = func() { calls = w.accounts[0].Calls("getFans") }
		_, err := w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, 1, calls, "the rejected call only")
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Equal(t, w.wechat.RefreshToken(w.accounts[0].AppID), stored)
	})
}

func TestRefreshContinuesAfterCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		w.wechat.ExpireAuthorizerTokens()
		w.wechat.Delay(pathToken, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := w.client(p, 0).GetFans(ctx, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, 1, w.wechat.Calls(pathToken))
	})
}

// A refresh token that cannot be saved is kept and saved later, and its access token is not used before.
func TestStoreIsDown(t *testing.T) {
	for name, down := range map[string]time.Duration{"for minutes": 3 * time.Minute, "for hours": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				p := w.ready()
				c, appID := w.client(p, 0), w.accounts[0].AppID
				w.wechat.ExpireAuthorizerTokens()
				w.store.fail(errors.New("disk full"), nil)
				for start := time.Now(); time.Since(start) < down; time.Sleep(down / 3) {
					_, err := c.GetFans(t.Context(), "")
					require.ErrorContains(t, err, "saving the refresh token of "+appID)
					assertCleanError(t, err)
				}
				assert.Equal(t, 1, w.wechat.Calls(pathToken))
				w.store.fail(nil, nil)
				time.Sleep(time.Minute)
				require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))

				_, err := c.GetFans(t.Context(), "")

				require.NoError(t, err)
				want := 1
				if down > 2*time.Hour {
					want = 2 // the access token expired meanwhile
				}
				assert.Equal(t, want, w.wechat.Calls(pathToken))
				assert.Zero(t, w.wechat.Calls(pathList))
			})
		})
	}
}

// What was kept is dropped if another process has gone on.
func TestKeptRefreshTokenIsOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p, other := w.ready(), w.process()
		w.wechat.ExpireAuthorizerTokens()
		w.store.fail(errors.New("disk full"), nil)
		_, err := w.client(p, 0).GetFans(t.Context(), "")
		require.Error(t, err)
		w.store.fail(nil, nil)
		_, err = w.client(other, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, 1, w.wechat.Calls(pathList), "the other process has only the old one")
		time.Sleep(time.Minute)
		w.wechat.ExpireAuthorizerTokens()
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, 1, w.wechat.Calls(pathList))
	})
}

// WeChat has replaced the refresh token, and nobody saved it: a process was killed, or the account authorized again.
func TestRefreshTokenIsReadAgain(t *testing.T) {
	for name, lose := range map[string]func(w *world){
		"killed before saving": func(w *world) { w.wechat.ReplaceRefreshToken(w.accounts[0].AppID) },
		"authorized again":     func(w *world) { w.wechat.Authorize(w.accounts[0]) },
		"lost store": func(w *world) {
			require.NoError(w.t, w.store.DeleteSecret(w.t.Context(), w.refreshKey(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				w.ready()
				w.wechat.ExpireAuthorizerTokens()
				lose(w)
				for range 3 {
					_, err := w.client(w.process(), 0).GetFans(t.Context(), "")
					require.NoError(t, err)
				}
				assert.Equal(t, 1, w.wechat.Calls(pathList))
				assert.Equal(t, 2, w.wechat.Fetched(w.accounts[0].AppID))
			})
		})
	}
}

// getAuthorizerList is called at most once in 30 seconds and 20 times a day, by all processes together.
func TestListIsBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		w.wechat.ExpireAuthorizerTokens()
		w.wechat.FailNext(pathToken, wechatuser.CodeInvalidRefreshToken, 1_000_000)
		a, b := w.client(w.process(), 0), w.client(w.process(), 0)
		var err error
		for range 12 * 60 {
			_, err = a.GetFans(t.Context(), "")
			require.ErrorIs(t, err, wechatuser.CodeInvalidRefreshToken)
			_, err = b.GetFans(t.Context(), "")
			require.ErrorIs(t, err, wechatuser.CodeInvalidRefreshToken)
			time.Sleep(time.Minute)
			require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		}
		assert.Equal(t, 20, w.wechat.Calls(pathList))
		assert.ErrorContains(t, err, "getAuthorizerList is called for an account at most every 30 s")
		assertCleanError(t, err)
	})
}

func TestManyAuthorizers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1001)
		p := w.process()
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		n := 0
		for a, err := range p.Authorizers(t.Context()) {
			require.NoError(t, err)
			assert.Equal(t, w.accounts[n].AppID, a.AppID)
			assert.Equal(t, time.Now().Unix(), a.AuthorizedAt.Unix())
			assertClean(t, fmt.Sprintf("%v %+v %#v", a, a, a))
			n++
		}
		assert.Equal(t, 1001, n)
		assert.Equal(t, 3, w.wechat.Calls(pathList))

		w.wechat.FailNext(pathList, wechatuser.CodeSystemBusy, 100)
		for _, err := range p.Authorizers(t.Context()) {
			assert.ErrorIs(t, err, wechatuser.CodeSystemBusy)
		}
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4)
		last := w.codes[3]
		w.codes = w.codes[:3]
		p := w.ready()
		for i := range 2 {
			require.NoError(t, w.store.DeleteSecret(t.Context(), w.refreshKey(i)))
		}
		n, err := p.Restore(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		w.wechat.ExpireAuthorizerTokens()
		for i := range 3 {
			_, err := w.client(p, i).GetFans(t.Context(), "")
			require.NoError(t, err)
		}
		assert.Equal(t, 1, w.wechat.Calls(pathList))

		require.NoError(t, w.store.DeleteSecret(t.Context(), w.refreshKey(0)))
		w.store.fail(errors.New("disk full"), nil)
		_, err = p.Restore(t.Context())
		require.ErrorContains(t, err, "saving the refresh token")
		assertCleanError(t, err)
		w.store.fail(nil, errors.New("unreachable"))
		_, err = p.Restore(t.Context())
		require.ErrorContains(t, err, "reading the refresh token")
		w.store.fail(nil, nil)
		w.wechat.FailNext(pathList, wechatuser.CodeDailyQuotaExceeded, 1)
		_, err = p.Restore(t.Context())
		require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)

		// An account whose code was not exchanged has no refresh token yet.
		_, err = w.client(p, 3).GetFans(t.Context(), "")
		require.ErrorContains(t, err, "pass the authorization_code of the latest push to ExchangeCode")
		_, err = p.ExchangeCode(t.Context(), last)
		require.NoError(t, err)
	})
}

// What an operator has to do is in the error, and nothing is asked again and again meanwhile.
func TestAuthorizationEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(w *world, appID string)
		code wechatuser.Code
		text string
	}{
		"withdrawn": {
			func(w *world, appID string) { w.wechat.Revoke(appID) },
			wechatuser.CodeComponentUnauthorized, "ask the account's administrator to authorize the third-party platform",
		},
		"password changed": {
			func(w *world, appID string) { w.wechat.ChangePassword(appID) },
			wechatuser.CodeAuthorizationVoided, "ask the account's administrator to authorize the third-party platform again",
		},
		"API not granted": {
			func(w *world, _ string) {
				code := w.wechat.Authorize(w.accounts[0], 1, 3)
				a, err := w.process().ExchangeCode(w.t.Context(), code)
				require.NoError(w.t, err)
				assert.Equal(w.t, []int{1, 3}, a.Permissions)
			},
			wechatuser.CodeAPINotGranted, "grant permission set 2 or 100",
		},
		"category not confirmed": {
			func(w *world, appID string) { w.wechat.SetCategoryConfirmed(appID, false) },
			wechatuser.CodeAPICategoryUnconfirmed, "confirm the permission set",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				p := w.ready()
				_, err := w.client(p, 0).GetFans(t.Context(), "")
				require.NoError(t, err)
				tt.end(w, w.accounts[0].AppID)
				for range 100 {
					_, err := w.client(p, 0).GetFans(t.Context(), "")
					require.ErrorIs(t, err, tt.code)
					assert.ErrorContains(t, err, tt.text)
					assertCleanError(t, err)
					time.Sleep(time.Second)
				}
				assert.LessOrEqual(t, w.wechat.Calls(pathToken), 10)

				code := w.wechat.Authorize(w.accounts[0])
				w.wechat.SetCategoryConfirmed(w.accounts[0].AppID, true)
				_, err = p.ExchangeCode(t.Context(), code)
				require.NoError(t, err)
				_, err = w.client(p, 0).GetFans(t.Context(), "")
				require.NoError(t, err, "after authorizing again")
			})
		})
	}
}

// Processes that did not exchange the code go on with the tokens of the one that did.
func TestAuthorizedAgainElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		c := w.client(p, 0)
		_, err := c.GetFans(t.Context(), "")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		code := w.wechat.Authorize(w.accounts[0])
		_, err = w.process().ExchangeCode(t.Context(), code)
		require.NoError(t, err)
		_, err = c.GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Zero(t, w.wechat.Calls(pathToken))
		assert.Zero(t, w.wechat.Calls(pathList))
	})
}

func TestExchangeCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.process()
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))

		w.store.fail(errors.New("disk full"), nil)
		a, err := p.ExchangeCode(t.Context(), w.codes[0])
		require.ErrorContains(t, err, "saving the refresh token")
		assertCleanError(t, err)
		assert.Equal(t, w.accounts[0].AppID, a.AppID, "it is known which account")
		w.store.fail(nil, nil)
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, 1, w.wechat.Fetched(a.AppID), "the tokens of the code were kept")

		_, err = p.ExchangeCode(t.Context(), w.codes[0])
		require.ErrorIs(t, err, wechatuser.CodeAuthCodeExpired)
		assertCleanError(t, err)
		_, err = p.ExchangeCode(t.Context(), " ")
		require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)

		code := w.wechat.Authorize(w.accounts[0])
		w.wechat.DropAnswers(pathQueryAuth, 1)
		_, err = p.ExchangeCode(t.Context(), code)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
		assertCleanError(t, err)
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err, "the refresh token was read with getAuthorizerList")
		assert.Equal(t, 1, w.wechat.Calls(pathList))
	})
}

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		w.wechat.Revoke(w.accounts[0].AppID)
		require.NoError(t, p.Remove(t.Context(), w.accounts[0].AppID))
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Empty(t, stored)
		_, err = w.client(w.process(), 0).GetFans(t.Context(), "")
		require.ErrorIs(t, err, authorizer.ErrNotAuthorized)
	})
}

func TestTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.process()
		_, err := p.AuthorizationURL(t.Context(), "https://example.com/")
		require.ErrorIs(t, err, authorizer.ErrNoTicket)
		assert.Zero(t, w.wechat.Calls(pathComponentToken))
		require.ErrorIs(t, p.SaveTicket(t.Context(), ""), wechatuser.ErrInvalidArgument)

		require.NoError(t, w.process().SaveTicket(t.Context(), w.wechat.Ticket()))
		time.Sleep(time.Minute)
		u, err := p.AuthorizationURL(t.Context(), "https://example.com/?a=b")
		require.NoError(t, err)
		assert.Contains(t, u, "https://mp.weixin.qq.com/cgi-bin/componentloginpage?auth_type=1&component_appid="+platformAppID)
		assert.Contains(t, u, "redirect_uri=https%3A%2F%2Fexample.com%2F%3Fa%3Db")
		_, err = p.AuthorizationURL(t.Context(), "example.com")
		require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
		require.NoError(t, p.StartTicketPush(t.Context()))

		time.Sleep(13 * time.Hour)
		_, err = p.AuthorizationURL(t.Context(), "https://example.com/")
		require.ErrorIs(t, err, wechatuser.CodeTicketExpired)
		assert.ErrorContains(t, err, "check that the pushes to the event URL")
		assertCleanError(t, err)
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		_, err = p.AuthorizationURL(t.Context(), "https://example.com/")
		require.NoError(t, err, "with a new ticket at once")
	})
}

// The token of the platform is replaced once when WeChat rejects it, for all accounts.
func TestComponentTokenIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 20)
		p := w.ready()
		w.wechat.ExpireTokens()
		w.wechat.ExpireAuthorizerTokens()
		var wg sync.WaitGroup
		for i := range w.accounts {
			wg.Go(func() {
				_, err := w.client(p, i).GetFans(t.Context(), "")
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 2, w.wechat.Calls(pathComponentToken))
	})
}

func TestSecretSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		secrets, calls := []string{"SENTINEL-old-secret", platformSecret}, 0
		var failure error
		source := func(context.Context) (string, error) {
			if failure != nil {
				return platformSecret, failure
			}
			calls++
			return secrets[min(calls-1, 1)], nil
		}
		p, err := authorizer.New(platformAppID, "", w.store, authorizer.WithSecretSource(source), authorizer.WithClientOptions(wechatuser.WithTransport(w.wechat.Transport())))
		require.NoError(t, err)
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		_, err = p.ExchangeCode(t.Context(), w.codes[0])
		require.NoError(t, err)
		assert.Equal(t, 2, w.wechat.Calls(pathComponentToken), "the secret was changed")

		failure = errors.New("the vault is sealed: " + platformSecret)
		err = p.StartTicketPush(t.Context())
		require.ErrorContains(t, err, "secret source")
		assertCleanError(t, err)
	})
}

func TestPlatformWhitelist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, wechatusertest.WithIPWhitelist("203.0.113.7"))
		p := w.process()
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		_, err := p.ExchangeCode(t.Context(), w.codes[0])
		require.ErrorIs(t, err, wechatuser.CodeClientIPNotRegistered)
		assert.ErrorContains(t, err, "whitelist of the third-party platform")
	})
}

func TestNewChecksItsArguments(t *testing.T) {
	_, err := authorizer.New("", "", nil, nil, authorizer.WithTokenStore(nil), authorizer.WithSecretSource(nil),
		authorizer.WithLogger(nil))
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	for _, field := range []string{
		"appID", "secret", "store", "opts", "WithTokenStore", "WithSecretSource", "WithLogger",
	} {
		assert.ErrorContains(t, err, field)
	}
	_, err = authorizer.New("wx1", "s", secretsOnly{})
	require.ErrorContains(t, err, "WithTokenStore")
	_, err = authorizer.New("wx1", "s", secretsOnly{}, authorizer.WithTokenStore(wechatuser.NewMemoryTokenStore()))
	require.NoError(t, err)
	_, err = authorizer.New("wx1", "s", authorizer.NewMemoryStore(),
		authorizer.WithClientOptions(wechatuser.WithLegacyToken(), wechatuser.WithTransport(nil)))
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
}

type secretsOnly struct{ authorizer.Store }

func TestPrintingShowsNoSecret(t *testing.T) {
	w := newWorld(t, 1)
	p := w.ready()
	_, err := w.client(p, 0).GetFans(t.Context(), "")
	require.NoError(t, err)
	for _, v := range []any{
		p, p.Source(w.accounts[0].AppID), authorizer.NewMemoryStore(), p.Client(), w.store.Store, w.wechat,
		(*authorizer.Platform)(nil), (*authorizer.Source)(nil),
	} {
		assertClean(t, fmt.Sprintf("%v %+v %#v %s %q %d %x", v, v, v, v, v, v, v))
	}
	assert.Equal(t, "authorizer.Platform("+platformAppID+")", fmt.Sprint(p))
	assert.Same(t, p.Source("wx1"), p.Source("wx1"))
	assert.Equal(t, "wx1", p.Source("wx1").AppID())
	assert.Equal(t, platformAppID, p.AppID())
}

// Whatever goes wrong with a request of the platform, it is retried like any other, no refresh token is lost, and no
// error has a secret.
func TestFaults(t *testing.T) {
	quote := func(format string) func(*world) string {
		return func(w *world) string {
			return fmt.Sprintf(format, w.wechat.RefreshToken(w.accounts[0].AppID))
		}
	}
	errcode := func(code wechatuser.Code, times int) wechatusertest.Fault {
		return wechatusertest.Fault{Kind: wechatusertest.FaultErrcode, Code: code, Times: times}
	}
	fault := func(kind wechatusertest.FaultKind, times int) wechatusertest.Fault {
		return wechatusertest.Fault{Kind: kind, Times: times}
	}
	status := func(status int) wechatusertest.Fault {
		return wechatusertest.Fault{Kind: wechatusertest.FaultHTTP, Status: status, Times: 1}
	}
	garbage := fault(wechatusertest.FaultGarbage, 1)
	for name, tt := range map[string]struct {
		fault wechatusertest.Fault
		body  func(*world) string
		fails bool
	}{
		"busy":             {errcode(wechatuser.CodeSystemBusy, 1), nil, false},
		"busy for long":    {errcode(wechatuser.CodeSystemBusy, 3), nil, true},
		"quota":            {errcode(wechatuser.CodeDailyQuotaExceeded, 1), nil, true},
		"502":              {status(502), nil, false},
		"lost request":     {fault(wechatusertest.FaultDropRequest, 1), nil, false},
		"lost response":    {fault(wechatusertest.FaultDropAnswer, 1), nil, false},
		"lost for long":    {fault(wechatusertest.FaultDropAnswer, 3), nil, true},
		"cut response":     {fault(wechatusertest.FaultCutBody, 1), nil, false},
		"garbage":          {garbage, nil, false},
		"HTML with tokens": {status(403), quote("<p>%s"), true},
		"no access token":  {garbage, quote(`{"authorizer_refresh_token":%q,"expires_in":7200}`), true},
		"no expiry":        {garbage, quote(`{"authorizer_access_token":%q}`), true},
		"another form":     {garbage, quote(`{"expires_in":%q}`), true},
	} {
		for _, path := range []string{pathComponentToken, pathToken} {
			t.Run(name+path[strings.LastIndex(path, "/"):], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					p := w.ready()
					w.wechat.ExpireTokens()
					w.wechat.ExpireAuthorizerTokens()
					f := tt.fault
					f.Path = path
					if tt.body != nil {
						f.Body = tt.body(w)
					}
					w.wechat.Fault(f)
					_, err := w.client(p, 0).GetFans(t.Context(), "")
					if tt.fails {
						require.Error(t, err)
						assertCleanError(t, err)
					} else {
						require.NoError(t, err)
					}
					w.wechat.ClearFaults()
					time.Sleep(time.Minute)
					_, err = w.client(p, 0).GetFans(t.Context(), "")
					require.NoError(t, err)
					stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
					require.NoError(t, err)
					assert.Equal(t, w.wechat.RefreshToken(w.accounts[0].AppID), stored)
				})
			})
		}
	}
}

// A job with patience persists while no token can be fetched, as it does if it fetches its tokens itself.
func TestJobOutlastsATokenOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, path := range []string{pathComponentToken, pathToken} {
			w := newWorld(t, 1)
			p := w.ready()
			tag := w.accounts[0].AddTag("vip")
			c := w.client(p, 0)
			w.wechat.ExpireTokens()
			w.wechat.ExpireAuthorizerTokens()
			w.wechat.FailNext(path, wechatuser.CodeSystemBusy, 5)
			patience := wechatuser.WithPatience(time.Hour)
			report, err := c.BulkTagging(t.Context(), tag, c.AllFans(t.Context(), patience), patience)
			require.NoError(t, err, path)
			assert.Equal(t, 3, report.Applied)
			assert.Len(t, w.accounts[0].TagFans(tag), 3)
		}
	})
}

// So many token requests in a minute are an error that says when to go on, which a job waits for.
func TestTokenRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		c := w.client(w.ready(), 0)
		w.wechat.ExpireAuthorizerTokens()
		w.wechat.FailNextHTTP(pathToken, 403, "blocked", 1000)
		var err error
		for range 30 {
			_, err = c.GetFans(t.Context(), "")
			require.Error(t, err)
		}
		require.ErrorIs(t, err, wechatuser.ErrRateLimited)
		require.ErrorIs(t, err, wechatuser.ErrTemporary)
		assert.ErrorContains(t, err, "no more token requests for now")
		assertCleanError(t, err)
		assert.LessOrEqual(t, w.wechat.Calls(pathToken), 10)
	})
}

// A transport that does not return, and ignores its context, stops nobody for good.
func TestStuckTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		w.wechat.ExpireAuthorizerTokens()
		release := make(chan struct{})
		defer close(release)
		stuck := true
		var mu sync.Mutex
		q := w.process(wechatuser.WithTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			wait := stuck && r.URL.Path == pathToken
			mu.Unlock()
			if wait {
				<-release
				return nil, errors.New("released")
			}
			return w.wechat.Transport().RoundTrip(r)
		})))
		_, err := w.client(q, 0).GetFans(t.Context(), "")
		require.ErrorIs(t, err, wechatuser.ErrTemporary)
		mu.Lock()
		stuck = false
		mu.Unlock()
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err, "the lock was released")
		_, err = w.client(q, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
