package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

const stableKey, legacyKey = "wechatuser:token:stable:" + testAppID, "wechatuser:token:legacy:" + testAppID

// tokenFor is a token that ends after d.
func tokenFor(name string, d time.Duration) wechatuser.Token {
	return wechatuser.Token{AccessToken: sentinel + "-" + name, ExpiresAt: time.Now().Add(d).Round(0)}
}

func TestMemoryTokenStore(t *testing.T) {
	ctx := t.Context()
	s := wechatuser.NewMemoryTokenStore()
	load := func(key string) wechatuser.Token {
		t.Helper()
		got, err := s.Load(ctx, key)
		require.NoError(t, err)
		return got
	}
	assert.Zero(t, load("a"))

	older, newer := tokenFor("older", time.Hour), tokenFor("newer", 2*time.Hour)
	require.NoError(t, s.Save(ctx, "a", older))
	assert.Equal(t, older, load("a"))
	assert.Zero(t, load("b"), "keys are apart")

	require.NoError(t, s.Save(ctx, "a", newer))
	require.NoError(t, s.Save(ctx, "a", older))
	assert.Equal(t, newer, load("a"), "an older token does not overwrite a newer one")

	require.NoError(t, s.Delete(ctx, "a", older))
	assert.Equal(t, newer, load("a"), "only the stale token is deleted")
	require.NoError(t, s.Delete(ctx, "b", newer))
	require.NoError(t, s.Delete(ctx, "a", wechatuser.Token{AccessToken: newer.AccessToken}))
	assert.Zero(t, load("a"), "the text of the token decides")
}

func TestMemoryTokenStoreLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ok := wechatuser.NewMemoryTokenStore().(wechatuser.TokenLocker)
		require.True(t, ok)
		holders := atomic.Int32{}
		for _, err := range together(50, func(i int) error {
			unlock, err := s.Lock(t.Context(), fmt.Sprint(i%2))
			if err != nil {
				return err
			}
			assert.LessOrEqual(t, holders.Add(1), int32(2), "one for each of the two keys")
			time.Sleep(time.Second)
			holders.Add(-1)
			unlock()
			unlock() // once more does no harm
			return nil
		}) {
			require.NoError(t, err)
		}

		unlock, err := s.Lock(t.Context(), "a")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err = s.Lock(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		unlock()
		unlock, err = s.Lock(t.Context(), "a")
		require.NoError(t, err)
		unlock()
	})
}

// However many clients share a store: one token request.
func TestClientsThatShareAStore(t *testing.T) {
	for name, opts := range families {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &account{delay: 30 * time.Millisecond, callDelay: 10 * time.Millisecond, noOverlap: true}
				store := wechatuser.NewMemoryTokenStore()
				clients := make([]*wechatuser.Client, 20)
				for i := range clients {
					clients[i] = tokenClient(t, acc, append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)
				}
				all := func(want int) {
					t.Helper()
					for _, err := range together(400, func(i int) error { return getTags(t.Context(), clients[i%len(clients)]) }) {
						require.NoError(t, err)
					}
					require.Len(t, acc.asked(), want)
				}
				all(1) // cold
				acc.kill()
				all(2) // dead
				acc.kill()
				require.NoError(t, getTags(t.Context(), clients[0]))
				all(3) // renewed by another one
				time.Sleep(2*time.Hour - 4*time.Minute)
				all(4) // ageing
				synctest.Wait()
				time.Sleep(time.Minute)
				all(4)
			})
		})
	}
}

// spyStore is a memory store that notes what is done with it, and lets a test interfere.
type spyStore struct {
	wechatuser.TokenStore
	before func(ctx context.Context, op string) error

	mu   sync.Mutex
	ops  []string // such as "load stable"
	keys map[string]bool
}

func newSpyStore() *spyStore {
	return &spyStore{TokenStore: wechatuser.NewMemoryTokenStore(), keys: map[string]bool{}}
}

func (s *spyStore) note(ctx context.Context, op, key string) error {
	s.mu.Lock()
	s.ops = append(s.ops, op)
	s.keys[key] = true
	s.mu.Unlock()
	if s.before != nil {
		return s.before(ctx, op)
	}
	return nil
}

func (s *spyStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	if err := s.note(ctx, "load", key); err != nil {
		return wechatuser.Token{}, err
	}
	return s.TokenStore.Load(ctx, key)
}

func (s *spyStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	if err := s.note(ctx, "save", key); err != nil {
		return fmt.Errorf("%w: %s", err, t.AccessToken) // a store that tells too much
	}
	return s.TokenStore.Save(ctx, key, t)
}

func (s *spyStore) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	if err := s.note(ctx, "delete "+strings.TrimPrefix(stale.AccessToken, sentinel+"-"), key); err != nil {
		return fmt.Errorf("%w: %s", err, stale.AccessToken)
	}
	return s.TokenStore.Delete(ctx, key, stale)
}

func (s *spyStore) Lock(ctx context.Context, key string) (func(), error) {
	if err := s.note(ctx, "lock", key); err != nil {
		return nil, err
	}
	unlock, err := s.TokenStore.(wechatuser.TokenLocker).Lock(ctx, key)
	return func() {
		s.mu.Lock()
		s.ops = append(s.ops, "unlock")
		s.mu.Unlock()
		unlock()
	}, err
}

// did are the operations since the last time.
func (s *spyStore) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

func TestOrderOfStoreOperations(t *testing.T) {
	for name, opts := range families {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &account{}, newSpyStore()
				c := tokenClient(t, acc, append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)
				key, other := stableKey, legacyKey
				if name == "legacy" {
					key, other = other, key
				}

				require.NoError(t, getTags(t.Context(), c))
				assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.did())
				saved, err := store.TokenStore.Load(t.Context(), key)
				require.NoError(t, err)
				used, err := c.Token(t.Context())
				require.NoError(t, err)
				assert.Equal(t, used, saved)
				nothing, err := store.TokenStore.Load(t.Context(), other)
				require.NoError(t, err)
				assert.Zero(t, nothing)

				require.NoError(t, getTags(t.Context(), c))
				assert.Empty(t, store.did(), "a token at hand needs no store")

				acc.kill()
				require.NoError(t, getTags(t.Context(), c))
				assert.Equal(t, []string{"delete T1", "load", "lock", "load", "save", "unlock"}, store.did())

				require.NoError(t, getTags(t.Context(), tokenClient(t, acc, append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)))
				assert.Equal(t, []string{"load"}, store.did(), "another client finds the token")

				_, err = c.RefreshToken(t.Context())
				require.NoError(t, err)
				assert.Equal(t, []string{"lock", "save", "unlock"}, store.did())
				assert.Len(t, acc.asked(), 3)
				assert.Equal(t, map[string]bool{key: true}, store.keys)
			})
		})
	}
}

// The store is read again under the lock: its last holder may have brought the token.
func TestStoreIsReadAgainUnderTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc, store := &account{}, newSpyStore()
		other := tokenClient(t, acc, wechatuser.WithTokenStore(store.TokenStore))
		store.before = func(ctx context.Context, op string) error {
			if op == "lock" {
				return getTags(ctx, other)
			}
			return nil
		}
		require.NoError(t, getTags(t.Context(), tokenClient(t, acc, wechatuser.WithTokenStore(store))))
		assert.Len(t, acc.asked(), 1)
		assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.did())
	})
}

// A token in the store that is worth nothing is not taken.
func TestUselessTokensInTheStore(t *testing.T) {
	for name, life := range map[string]time.Duration{
		"ended": -time.Hour, "ends this minute": 59 * time.Second, "end not known": 0,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &account{}, wechatuser.NewMemoryTokenStore()
				tok := tokenFor("old", life)
				if life == 0 {
					tok.ExpiresAt = time.Time{}
				}
				require.NoError(t, store.Save(t.Context(), stableKey, tok))
				require.NoError(t, getTags(t.Context(), tokenClient(t, acc, wechatuser.WithTokenStore(store))))
				assert.Len(t, acc.asked(), 1)
				assert.Equal(t, 1, acc.called())
			})
		})
	}
}

// plainStore keeps whatever was saved last, which is less than a TokenStore promises, and has no lock.
type plainStore struct {
	mu  sync.Mutex
	tok wechatuser.Token
}

func (s *plainStore) Load(context.Context, string) (wechatuser.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tok, nil
}

func (s *plainStore) Save(_ context.Context, _ string, t wechatuser.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tok = t
	return nil
}

func (s *plainStore) Delete(_ context.Context, _ string, stale wechatuser.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tok.AccessToken == stale.AccessToken {
		s.tok = wechatuser.Token{}
	}
	return nil
}

// A renewal takes no token out of the store that is older than the one at hand, or the same.
func TestStoreThatLagsBehind(t *testing.T) {
	for name, stored := range map[string]func(at wechatuser.Token) wechatuser.Token{
		"older": func(at wechatuser.Token) wechatuser.Token {
			return tokenFor("older", time.Until(at.ExpiresAt)-time.Second)
		},
		"same":        func(at wechatuser.Token) wechatuser.Token { return at },
		"same, later": func(at wechatuser.Token) wechatuser.Token { at.ExpiresAt = at.ExpiresAt.Add(time.Second); return at },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &account{}, &plainStore{}
				c := tokenClient(t, acc, wechatuser.WithTokenStore(store))
				first, err := c.Token(t.Context())
				require.NoError(t, err)
				store.tok = stored(first)
				time.Sleep(time.Until(first.ExpiresAt.Add(-4 * time.Minute)))
				require.NoError(t, getTags(t.Context(), c))
				synctest.Wait()
				require.Len(t, acc.asked(), 2, "the renewal is not put off")
				second, err := c.Token(t.Context())
				require.NoError(t, err)
				assert.True(t, second.ExpiresAt.After(first.ExpiresAt))
				assert.Equal(t, second, store.tok)
			})
		})
	}
}

// A store that is slow to forget a dead token gives it out in vain.
func TestStoreThatKeepsADeadToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc, store := &account{}, &forgetless{}
		c := tokenClient(t, acc, wechatuser.WithTokenStore(store))
		require.NoError(t, getTags(t.Context(), c))
		acc.kill()
		require.NoError(t, getTags(t.Context(), c))
		assert.Len(t, acc.asked(), 2)
		assert.Equal(t, 3, acc.called(), "the dead token is not tried again")
	})
}

type forgetless struct{ plainStore }

func (*forgetless) Delete(context.Context, string, wechatuser.Token) error { return nil }

// What another process put into the store may be dead as well. Then the platform is asked.
func TestDeadTokenInTheStore(t *testing.T) {
	for name, opts := range families {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &account{delay: time.Millisecond, callDelay: time.Millisecond}, wechatuser.NewMemoryTokenStore()
				opts := append(slices.Clone(opts), wechatuser.WithTokenStore(store))
				c, other := tokenClient(t, acc, opts...), tokenClient(t, acc, opts...)
				require.NoError(t, getTags(t.Context(), c))
				_, err := other.RefreshToken(t.Context())
				require.NoError(t, err)
				acc.kill() // the token of c, and the one in the store
				for _, err := range together(500, func(int) error { return getTags(t.Context(), c) }) {
					require.NoError(t, err)
				}
				assert.Len(t, acc.asked(), 3)
			})
		})
	}
}

// Stable tokens need no agreement: while the store is down, in whichever way, calls go on without it.
func TestStableTokenWithoutItsStore(t *testing.T) {
	for _, op := range []string{"load", "save", "lock", "delete T1", "all"} {
		for _, hangs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hanging %v", op, hangs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log strings.Builder
					acc, store := &account{}, newSpyStore()
					store.before = storeDown(op, hangs)
					c := tokenClient(t, acc, wechatuser.WithTokenStore(store), wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
					start := time.Now()
					require.NoError(t, getTags(t.Context(), c))
					acc.kill()
					require.NoError(t, getTags(t.Context(), c))
					assert.Len(t, acc.asked(), 2)
					if hangs {
						assert.Less(t, time.Since(start), 40*time.Second)
						if op != "lock" {
							assert.LessOrEqual(t, time.Since(start), 8*time.Second)
						}
					} else {
						assert.Zero(t, time.Since(start))
					}
					assert.Contains(t, log.String(), "level=WARN")
					assert.Contains(t, log.String(), "going on without it")
					assert.NotContains(t, log.String(), sentinel)
					assert.NotContains(t, log.String(), "level=ERROR")
				})
			})
		}
	}
}

var errStoreDown = errors.New("the store is down")

// storeDown makes an operation fail, or hang until its context ends.
func storeDown(which string, hangs bool) func(context.Context, string) error {
	return func(ctx context.Context, op string) error {
		switch {
		case op != which && which != "all":
			return nil
		case hangs:
			<-ctx.Done()
			return ctx.Err()
		default:
			return errStoreDown
		}
	}
}

// A legacy token that is fetched without agreement ends the token of all others. So nothing is fetched.
func TestLegacyTokenWithoutItsStore(t *testing.T) {
	for _, op := range []string{"load", "lock", "delete T1", "all"} {
		for _, hangs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hanging %v", op, hangs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					acc, store := &account{}, newSpyStore()
					c := tokenClient(t, acc, wechatuser.WithLegacyToken(), wechatuser.WithTokenStore(store))
					require.NoError(t, getTags(t.Context(), c))
					tok, err := c.Token(t.Context())
					require.NoError(t, err)

					store.before = storeDown(op, hangs)
					for time.Until(tok.ExpiresAt) > 10*time.Minute {
						require.NoError(t, getTags(t.Context(), c))
						time.Sleep(10 * time.Second)
					}
					for op != "delete T1" && time.Until(tok.ExpiresAt) > 20*time.Second {
						require.NoError(t, getTags(t.Context(), c), "the token at hand serves to its end")
						time.Sleep(time.Second)
					}
					acc.kill()
					check := func(c *wechatuser.Client) {
						t.Helper()
						start := time.Now()
						err := getTags(t.Context(), c)
						require.Error(t, err)
						if hangs {
							require.ErrorIs(t, err, context.DeadlineExceeded)
							assert.LessOrEqual(t, time.Since(start), 40*time.Second)
						} else {
							require.ErrorIs(t, err, errStoreDown)
							assert.Contains(t, err.Error(), "token store")
						}
						assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), sentinel)
					}
					check(c)
					if op != "delete T1" {
						check(tokenClient(t, acc, wechatuser.WithLegacyToken(), wechatuser.WithTokenStore(store)))
					}
					assert.Len(t, acc.asked(), 1)

					store.before = nil
					require.NoError(t, getTags(t.Context(), c))
					assert.Len(t, acc.asked(), 2)
				})
			})
		}
	}
}

func TestLegacyTokenThatCannotBeSavedIsUsed(t *testing.T) {
	acc, store := &account{}, newSpyStore()
	store.before = storeDown("save", false)
	c := tokenClient(t, acc, wechatuser.WithLegacyToken(), wechatuser.WithTokenStore(store))
	require.NoError(t, getTags(t.Context(), c))
	require.NoError(t, getTags(t.Context(), c))
	assert.Len(t, acc.asked(), 1)
	assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.did())
}

// A waiter leaves the wait for a lock when its own context ends.
func TestWaitForALockEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc, store := &account{}, newSpyStore()
		unlock, err := store.TokenStore.(wechatuser.TokenLocker).Lock(t.Context(), stableKey)
		require.NoError(t, err)
		defer unlock()
		c := tokenClient(t, acc, wechatuser.WithTokenStore(store))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, getTags(ctx, c), context.DeadlineExceeded)
		assert.Equal(t, 200*time.Millisecond, time.Since(start))

		require.NoError(t, getTags(t.Context(), c), "a dead holder of the lock stops nobody for ever")
		assert.LessOrEqual(t, time.Since(start), 20*time.Second)
		assert.Len(t, acc.asked(), 1)
	})
}

// The lock is given back whatever comes of the fetch.
func TestLockIsGivenBack(t *testing.T) {
	for name, mishap := range map[string]reply{
		"refusal": refuses(wechatuser.CodeInvalidSecret), "no answer": fails(errReset), "garbage": says("garbage"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &account{tokenReply: func(ask) reply { return mishap }}, newSpyStore()
				require.Error(t, getTags(t.Context(), tokenClient(t, acc, wechatuser.WithTokenStore(store))))
				assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.did())
			})
		})
	}
}

// Clients of both kinds of token, and of several accounts, share a store and not their tokens.
func TestKeysOfAStore(t *testing.T) {
	acc, store := &account{}, newSpyStore()
	for _, appID := range []string{"wxFAKE1", "wxFAKE2"} {
		for _, opts := range families {
			c, err := wechatuser.New(appID, testSecret, append(slices.Clone(opts),
				wechatuser.WithTransport(acc), wechatuser.WithTokenStore(store))...)
			require.NoError(t, err)
			require.NoError(t, getTags(t.Context(), c))
		}
	}
	assert.Equal(t, map[string]bool{
		"wechatuser:token:stable:wxFAKE1": true, "wechatuser:token:legacy:wxFAKE1": true,
		"wechatuser:token:stable:wxFAKE2": true, "wechatuser:token:legacy:wxFAKE2": true,
	}, store.keys)
}
