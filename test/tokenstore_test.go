package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// Any number of clients that share a store send one token request.
func TestClientsShareAStore(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{
					TokenDelay: 30 * time.Millisecond, CallDelay: 10 * time.Millisecond, NoOverlap: true,
				}
				store := wechatuser.NewMemoryTokenStore()
				clients := make([]*wechatuser.Client, 20)
				for i := range clients {
					clients[i] = testutil.NewTokenClient(t, acc,
						append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)
				}
				all := func(want int) {
					t.Helper()
					for _, err := range seq.RunConcurrently(400, func(i int) error {
						return testutil.GetTags(t.Context(), clients[i%len(clients)])
					}) {
						require.NoError(t, err)
					}
					require.Len(t, acc.TokenRequests(), want)
				}
				all(1) // cold
				acc.Revoke()
				all(2) // rejected
				acc.Revoke()
				require.NoError(t, testutil.GetTags(t.Context(), clients[0]))
				all(3) // replaced by another client
				time.Sleep(2*time.Hour - 4*time.Minute)
				all(4) // early refresh
				synctest.Wait()
				time.Sleep(time.Minute)
				all(4)
			})
		})
	}
}

func TestOrderOfStoreOperations(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
				c := testutil.NewTokenClient(t, acc, append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)
				key, other := testutil.StableKey, testutil.LegacyKey
				if name == "legacy" {
					key, other = other, key
				}

				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.Ops())
				saved, err := store.TokenStore.Load(t.Context(), key)
				require.NoError(t, err)
				used, err := c.Token(t.Context())
				require.NoError(t, err)
				assert.Equal(t, used, saved)
				nothing, err := store.TokenStore.Load(t.Context(), other)
				require.NoError(t, err)
				assert.Zero(t, nothing)

				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Empty(t, store.Ops(), "a token at hand needs no store")

				acc.Revoke()
				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Equal(t, []string{"delete T1", "load", "lock", "load", "save", "unlock"}, store.Ops())

				require.NoError(t,
					testutil.GetTags(t.Context(),
						testutil.NewTokenClient(t, acc,
							append(slices.Clone(opts), wechatuser.WithTokenStore(store))...)))
				assert.Equal(t, []string{"load"}, store.Ops(), "another client finds the token")

				_, err = c.RefreshToken(t.Context())
				require.NoError(t, err)
				assert.Equal(t, []string{"lock", "save", "unlock"}, store.Ops())
				assert.Len(t, acc.TokenRequests(), 3)
				assert.Equal(t, map[string]bool{key: true}, store.Keys)
			})
		})
	}
}

// A store needs no lock.
func TestStoreWithoutALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
		plain := struct{ wechatuser.TokenStore }{store}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenStore(plain))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"load", "save"}, store.Ops())
	})
}

// The token that another process has saved may be rejected too. Then one is fetched.
func TestRejectedTokenInTheStore(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &testutil.TokenServer{TokenDelay: time.Millisecond, CallDelay: time.Millisecond},
					wechatuser.NewMemoryTokenStore()
				opts := append(slices.Clone(opts), wechatuser.WithTokenStore(store))
				c, other := testutil.NewTokenClient(t, acc, opts...), testutil.NewTokenClient(t, acc, opts...)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				_, err := other.RefreshToken(t.Context())
				require.NoError(t, err)
				acc.Revoke() // the token of c, and the one in the store
				for _, err := range seq.RunConcurrently(500, func(int) error {
					return testutil.GetTags(t.Context(), c)
				}) {
					require.NoError(t, err)
				}
				assert.Len(t, acc.TokenRequests(), 3)
			})
		})
	}
}

// Stable tokens need no store: while it is down, in any way, calls continue without it.
func TestStableTokenWhileTheStoreIsDown(t *testing.T) {
	for _, op := range []string{"load", "save", "lock", "delete T1", "all"} {
		for _, hangs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hanging %v", op, hangs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log strings.Builder
					acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
					store.Before = storeDown(op, hangs)
					c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenStore(store),
						wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
					start := time.Now()
					require.NoError(t, testutil.GetTags(t.Context(), c))
					acc.Revoke()
					require.NoError(t, testutil.GetTags(t.Context(), c))
					assert.Len(t, acc.TokenRequests(), 2)
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
					assert.NotContains(t, log.String(), testutil.Sentinel)
					assert.NotContains(t, log.String(), "level=ERROR")
				})
			})
		}
	}
}

var errStoreDown = errors.New("the store is down")

// storeDown returns functions that make store operations fail, or hang until their context ends.
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

// Fetching a legacy token without the store invalidates the token of all other clients. So none is fetched.
func TestLegacyTokenWhileTheStoreIsDown(t *testing.T) {
	for _, op := range []string{"load", "lock", "delete T1", "all"} {
		for _, hangs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hanging %v", op, hangs), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
					c := testutil.NewTokenClient(t, acc, wechatuser.WithLegacyToken(), wechatuser.WithTokenStore(store))
					require.NoError(t, testutil.GetTags(t.Context(), c))
					tok, err := c.Token(t.Context())
					require.NoError(t, err)

					store.Before = storeDown(op, hangs)
					for time.Until(tok.ExpiresAt) > 10*time.Minute {
						require.NoError(t, testutil.GetTags(t.Context(), c))
						time.Sleep(10 * time.Second)
					}
					for op != "delete T1" && time.Until(tok.ExpiresAt) > 20*time.Second {
						require.NoError(t, testutil.GetTags(t.Context(), c), "the token at hand serves to its end")
						time.Sleep(time.Second)
					}
					acc.Revoke()
					check := func(c *wechatuser.Client) {
						t.Helper()
						start := time.Now()
						err := testutil.GetTags(t.Context(), c)
						require.Error(t, err)
						if hangs {
							require.ErrorIs(t, err, context.DeadlineExceeded)
							assert.LessOrEqual(t, time.Since(start), 40*time.Second)
						} else {
							require.ErrorIs(t, err, errStoreDown)
							assert.Contains(t, err.Error(), "token store")
						}
						assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), testutil.Sentinel)
					}
					check(c)
					if op != "delete T1" {
						check(testutil.NewTokenClient(t, acc, wechatuser.WithLegacyToken(),
							wechatuser.WithTokenStore(store)))
					}
					assert.Len(t, acc.TokenRequests(), 1)

					store.Before = nil
					require.NoError(t, testutil.GetTags(t.Context(), c))
					assert.Len(t, acc.TokenRequests(), 2)
				})
			})
		}
	}
}

func TestLegacyTokenThatCannotBeSavedIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
		store.Before = storeDown("save", false)
		c := testutil.NewTokenClient(t, acc, wechatuser.WithLegacyToken(), wechatuser.WithTokenStore(store))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Len(t, acc.TokenRequests(), 1)
		assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.Ops())
	})
}

// The lock is released whether or not the fetch succeeds.
func TestLockIsReleased(t *testing.T) {
	for name, mishap := range map[string]testutil.Reply{
		"errcode": testutil.RespondCode(wechatuser.CodeInvalidSecret), "no response": testutil.Fail(testutil.ErrReset),
		"garbage": testutil.RespondJSON("garbage"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, store := &testutil.TokenServer{
					TokenReply: func(testutil.TokenRequest) testutil.Reply { return mishap },
				}, testutil.NewSpyStore()
				require.Error(t,
					testutil.GetTags(t.Context(), testutil.NewTokenClient(t, acc, wechatuser.WithTokenStore(store))))
				assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.Ops()[:4])
			})
		})
	}
}

// Both kinds of token, and several accounts, can share a store without sharing tokens.
func TestStoreKeys(t *testing.T) {
	acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
	for _, appID := range []string{"wxFAKE1", "wxFAKE2"} {
		for _, opts := range testutil.TokenModes {
			c, err := wechatuser.New(appID, testutil.Secret, append(slices.Clone(opts),
				wechatuser.WithTransport(acc), wechatuser.WithTokenStore(store))...)
			require.NoError(t, err)
			require.NoError(t, testutil.GetTags(t.Context(), c))
		}
	}
	assert.Equal(t, map[string]bool{
		"wechatuser:token:stable:wxFAKE1": true, "wechatuser:token:legacy:wxFAKE1": true,
		"wechatuser:token:stable:wxFAKE2": true, "wechatuser:token:legacy:wxFAKE2": true,
	}, store.Keys)
}
