package authorizer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// A refresh whose response is late must not displace the tokens of an authorization that came after its request.
func TestExchangeCodeDuringARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		p, received, release := w.late()
		w.wechat.ExpireAuthorizerTokens()
		done := make(chan error)
		go func() {
			_, err := w.client(p, 0).GetFans(t.Context(), "")
			done <- err
		}()
		<-received
		code := w.wechat.Authorize(w.accounts[0])
		go func() {
			_, err := p.ExchangeCode(t.Context(), code)
			done <- err
		}()
		synctest.Wait()
		close(release)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		_, err := w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Zero(t, w.wechat.Calls(pathList), "no refresh token was lost")
	})
}

// A response has a new refresh token, and no access token.
func TestResponseWithOnlyARefreshToken(t *testing.T) {
	for _, path := range []string{pathToken, pathQueryAuth} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				p := w.ready()
				w.wechat.ReplaceRefreshToken(w.accounts[0].AppID)
				body := fmt.Sprintf(`{"authorizer_refresh_token":%q,"authorizer_appid":%q}`,
					w.wechat.RefreshToken(w.accounts[0].AppID), w.accounts[0].AppID)
				if path == pathQueryAuth {
					body = `{"authorization_info":` + body + `}`
				}
				w.wechat.Fault(wechatusertest.Fault{Kind: wechatusertest.FaultGarbage, Path: path, Body: body, Times: 1})
				w.wechat.ExpireAuthorizerTokens()
				var err error
				if path == pathQueryAuth {
					_, err = p.ExchangeCode(t.Context(), "a-code")
				} else {
					_, err = w.client(p, 0).GetFans(t.Context(), "")
				}
				if path == pathQueryAuth {
					require.NoError(t, err, "it was refreshed")
				} else {
					require.ErrorContains(t, err, "no authorizer_access_token")
					assertCleanError(t, err)
				}
				time.Sleep(time.Minute)
				_, err = w.client(p, 0).GetFans(t.Context(), "")
				require.NoError(t, err)
				assert.Zero(t, w.wechat.Calls(pathList), "the refresh token was not lost")
			})
		})
	}
}

// Saving an authorization takes no token request, so that the limit of these does not matter.
func TestExchangeCodeWhenRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		c := w.client(p, 0)
		w.wechat.ExpireAuthorizerTokens()
		w.wechat.FailNextHTTP(pathToken, 403, "blocked", 1000)
		var err error
		for range 30 {
			_, err = c.GetFans(t.Context(), "")
		}
		require.ErrorIs(t, err, wechatuser.ErrRateLimited)
		_, err = p.ExchangeCode(t.Context(), w.wechat.Authorize(w.accounts[0]))
		require.NoError(t, err)
		time.Sleep(time.Second) // calls look into the store so often
		_, err = c.GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.LessOrEqual(t, w.wechat.Calls(pathToken), 10)
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Equal(t, w.wechat.RefreshToken(w.accounts[0].AppID), stored)
	})
}

// The caller of ExchangeCode gives up when WeChat has accepted the code: what came with it is saved.
func TestExchangeCodeOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		ctx, cancel := context.WithCancel(t.Context())
		store := &hookStore{faultyStore: w.store}
		q := w.processWith(store)
		store.onLoad = func(ctx context.Context, key string) error {
			if key == w.refreshKey(0) {
				cancel()
			}
			return ctx.Err()
		}
		_, err := q.ExchangeCode(ctx, w.wechat.Authorize(w.accounts[0]))
		require.NoError(t, err)
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Equal(t, w.wechat.RefreshToken(w.accounts[0].AppID), stored)
	})
}

// processWith returns a Platform with another store.
func (w *world) processWith(store authorizer.Store) *authorizer.Platform {
	p, err := authorizer.New(platformAppID, platformSecret, store,
		authorizer.WithClientOptions(wechatuser.WithTransport(w.wechat.Transport())))
	require.NoError(w.t, err)
	return p
}

// late returns a Platform that receives the first response to a refresh only after release is closed.
func (w *world) late() (p *authorizer.Platform, received, release chan struct{}) {
	received, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return w.process(wechatuser.WithTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := w.wechat.Transport().RoundTrip(r)
		if r.URL.Path == pathToken {
			once.Do(func() {
				close(received)
				<-release
			})
		}
		return resp, err
	}))), received, release
}

// hookStore calls functions before it does something.
type hookStore struct {
	*faultyStore
	onLoad func(ctx context.Context, key string) error
	onSave func(ctx context.Context, key string) error
	onLock error
}

func (s *hookStore) LoadSecret(ctx context.Context, key string) (string, error) {
	if s.onLoad != nil {
		if err := s.onLoad(ctx, key); err != nil {
			return "", err
		}
	}
	return s.faultyStore.LoadSecret(ctx, key)
}

func (s *hookStore) SaveSecret(ctx context.Context, key, secret string, life time.Duration) error {
	err := s.faultyStore.SaveSecret(ctx, key, secret, life)
	if err == nil && s.onSave != nil {
		return s.onSave(ctx, key)
	}
	return err
}

func (s *hookStore) Lock(ctx context.Context, key string) (func(), error) {
	if s.onLock != nil {
		return nil, s.onLock
	}
	return s.faultyStore.Lock(ctx, key)
}

// The store saved a refresh token, and reported an error, such as after a timeout.
func TestSavedInSpiteOfAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		store := &hookStore{faultyStore: w.store}
		q := w.processWith(store)
		store.onSave = func(context.Context, string) error { return errors.New("i/o timeout") }
		w.wechat.ExpireAuthorizerTokens()
		_, err := w.client(q, 0).GetFans(t.Context(), "")
		require.ErrorContains(t, err, "i/o timeout")
		store.onSave = nil
		_, err = w.client(q, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, 1, w.wechat.Calls(pathToken))
	})
}

// A store that hangs until its context ends. The caller's context has not ended.
func TestStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		store := &hookStore{faultyStore: w.store}
		p := w.processWith(store)
		store.onLoad = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		time.Sleep(3 * time.Hour)
		start := time.Now()
		_, err := w.client(p, 0).GetFans(t.Context(), "")
		require.ErrorIs(t, err, wechatuser.ErrTemporary)
		require.ErrorContains(t, err, "reading the refresh token of "+w.accounts[0].AppID)
		assert.Equal(t, 5*time.Second, time.Since(start))
		store.onLoad = nil
		require.NoError(t, p.SaveTicket(t.Context(), w.wechat.Ticket()))
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
	})
}

// A store that panics.
func TestStorePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		store := &hookStore{faultyStore: w.store}
		q := w.processWith(store)
		store.onSave = func(context.Context, string) error { panic("store") }
		w.wechat.ExpireAuthorizerTokens()
		require.Panics(t, func() { _, _ = w.client(q, 0).GetFans(t.Context(), "") })
		store.onSave = nil
		_, err := w.client(q, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		store.onLoad = func(context.Context, string) error { panic("store") }
		w.wechat.ExpireAuthorizerTokens()
		w.wechat.ExpireTokens()
		require.Panics(t, func() { _, _ = w.client(q, 0).GetFans(t.Context(), "") })
		require.Panics(t, func() { _, _ = q.ExchangeCode(t.Context(), w.wechat.Authorize(w.accounts[0])) })
		require.Panics(t, func() { _, _ = q.Restore(t.Context()) })
		store.onLoad = nil
		_, err = w.client(p, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
		_, err = w.client(q, 0).GetFans(t.Context(), "")
		require.NoError(t, err)
	})
}

// A store whose errors show how it was opened.
func TestStoreErrorWithSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		store := &hookStore{faultyStore: w.store, onLock: errors.New("AUTH " + platformSecret)}
		q := w.processWith(store)
		w.wechat.ExpireAuthorizerTokens()
		_, err := w.client(q, 0).GetFans(t.Context(), "")
		require.Error(t, err)
		assertCleanError(t, err)
		require.NoError(t, store.DeleteSecret(t.Context(), w.refreshKey(0)))
		_, err = q.Restore(t.Context())
		require.Error(t, err)
		assertCleanError(t, err)
	})
}

// Formatting does not call the methods of unexported fields.
func TestAuthorizerInAStruct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := w.ready()
		for a, err := range p.Authorizers(t.Context()) {
			require.NoError(t, err)
			hidden := struct {
				a    authorizer.Authorizer
				p    *authorizer.Platform
				list []authorizer.Authorizer
				m    map[string]authorizer.Authorizer
			}{a, p, []authorizer.Authorizer{a}, map[string]authorizer.Authorizer{"x": a}}
			assertClean(t, fmt.Sprintf("%v %+v %#v", hidden, hidden, hidden))
			b, err := json.Marshal(a)
			require.NoError(t, err)
			assertClean(t, string(b))
		}
	})
}

// A refresh whose response is late must not save the tokens of an account that was removed.
func TestRemoveDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.ready()
		p, received, release := w.late()
		w.wechat.ExpireAuthorizerTokens()
		done := make(chan error)
		go func() {
			_, err := w.client(p, 0).GetFans(t.Context(), "")
			done <- err
		}()
		<-received
		w.wechat.Revoke(w.accounts[0].AppID)
		go func() { done <- p.Remove(t.Context(), w.accounts[0].AppID) }()
		synctest.Wait()
		close(release)
		_, _ = <-done, <-done // the call may fail
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Empty(t, stored, "a removed account has no refresh token")
		tok, err := w.store.Load(t.Context(), "wechatuser:token:authorizer:"+platformAppID+":"+w.accounts[0].AppID)
		require.NoError(t, err)
		assert.Empty(t, tok.AccessToken)
	})
}

// Whatever two processes do at the same time while the store fails now and then, both can make calls afterwards.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			processes := []*authorizer.Platform{w.ready(), w.process()}
			var wg sync.WaitGroup
			for i := range uint64(8) {
				rng := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 30 {
						n := rng.IntN(2)
						p, account := processes[rng.IntN(2)], w.accounts[n]
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(60))*time.Second)
						var err error
						switch rng.IntN(10) {
						case 0:
							_, err = p.ExchangeCode(ctx, w.wechat.Authorize(account))
						case 1:
							err = p.Remove(ctx, account.AppID)
						case 2:
							_, err = p.Restore(ctx)
						case 3:
							w.wechat.ReplaceRefreshToken(account.AppID)
						case 4:
							w.wechat.ExpireAuthorizerTokens()
						case 5:
							w.wechat.ExpireTokens()
						case 6:
							w.store.fail(errors.New("disk full"), nil)
							time.Sleep(time.Second)
							w.store.fail(nil, nil)
						default:
							_, err = w.client(p, n).GetFans(ctx, "")
						}
						cancel()
						if err != nil {
							assertCleanError(t, err)
						}
						time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
					}
				})
			}
			wg.Wait()
			time.Sleep(25 * time.Hour) // the budget of getAuthorizerList
			require.NoError(t, processes[0].SaveTicket(t.Context(), w.wechat.Ticket()))
			for n, account := range w.accounts {
				for _, p := range processes {
					_, err := w.client(p, n).GetFans(t.Context(), "")
					require.NoError(t, err, "seed %d", seed)
				}
				stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(n))
				require.NoError(t, err)
				assert.Equal(t, w.wechat.RefreshToken(account.AppID), stored)
			}
		})
	}
}
