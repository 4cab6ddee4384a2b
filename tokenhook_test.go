package wechatuser_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// refreshes returns an option that notes all refreshes.
func refreshes(to *[]wechatuser.TokenRefresh) wechatuser.Option {
	return wechatuser.WithTokenHook(wechatuser.TokenHook{
		Refreshed: func(_ context.Context, r wechatuser.TokenRefresh) { *to = append(*to, r) },
	})
}

func TestTokenHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var (
			refreshed []wechatuser.TokenRefresh
			waits     []wechatuser.TokenWait
			failures  []wechatuser.TokenStoreFailure
			inRequest any
		)
		acc := &testutil.TokenServer{ReissueRevoked: true}
		c := testutil.NewTokenClient(t, acc,
			refreshes(&refreshed),
			wechatuser.WithTokenStore(unlockedStore{wechatuser.NewMemoryTokenStore()}),
			wechatuser.WithInterceptor(func(ctx context.Context, call wechatuser.Call, next testutil.Next,
			) (wechatuser.Result, error) {
				if call.API == "getStableAccessToken" {
					inRequest = ctx.Value(key{})
				}
				return next(ctx)
			}),
			wechatuser.WithTokenHook(wechatuser.TokenHook{
				Refreshing: func(ctx context.Context, r wechatuser.TokenRefresh) context.Context {
					return context.WithValue(ctx, key{}, "refresh, "+r.Reason)
				},
				StoreFailed: func(_ context.Context, f wechatuser.TokenStoreFailure) { failures = append(failures, f) },
				Waited:      func(_ context.Context, w wechatuser.TokenWait) { waits = append(waits, w) },
			}))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, "refresh, cold", inRequest)
		acc.Revoke()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, "refresh, rejected", inRequest)
		_, err := c.RefreshToken(t.Context())
		require.NoError(t, err)

		require.Len(t, refreshed, 3)
		for i, reason := range []string{
			wechatuser.RefreshCold, wechatuser.RefreshRejected, wechatuser.RefreshForced,
		} {
			got := refreshed[i]
			assert.Equal(t, reason, got.Reason)
			assert.Equal(t, wechatuser.TokenFromWeChat, got.From)
			assert.Equal(t, i > 0, got.Forced, "the platform returned the revoked token again")
			assert.False(t, got.ExpiresAt.IsZero())
			require.NoError(t, got.Err)
		}
		require.Len(t, waits, 3)
		assert.Equal(t, "refresh, cold", waits[0].Refresh.Value(key{}))
		require.Len(t, failures, 3)
		assert.Equal(t, "lock", failures[0].Operation)
		assert.True(t, failures[0].Tolerated)
		assert.ErrorIs(t, failures[0].Err, errNoLock)
	})
}

var errNoLock = errors.New("no lock")

// unlockedStore is a store whose lock fails.
type unlockedStore struct{ wechatuser.TokenStore }

func (unlockedStore) Lock(context.Context, string) (func(), error) { return nil, errNoLock }

// A hook is told why no token can be had, with the class of the error.
func TestTokenHookIsToldOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []wechatuser.TokenRefresh
		c := testutil.NewTokenClient(t, testutil.ByPath{
			testutil.PathStableToken: testutil.Play(testutil.RespondCode(wechatuser.CodeIPNotAllowed)),
		}, refreshes(&got))
		require.Error(t, testutil.GetTags(t.Context(), c))
		require.Len(t, got, 1)
		require.ErrorIs(t, got[0].Err, wechatuser.ErrCredential)
		require.ErrorIs(t, got[0].Err, wechatuser.CodeIPNotAllowed)
		assert.Zero(t, got[0].ExpiresAt)
	})
}

// With a TokenSource, a hook is told of each other token and each failure.
func TestTokenHookOfASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			got []wechatuser.TokenRefresh
			err error
		)
		end := time.Now().Add(time.Hour)
		source := &growingSource{token: wechatuser.Token{AccessToken: "A", ExpiresAt: end}, err: &err}
		responses := testutil.Play(testutil.RespondJSON(`{"tags":[]}`), testutil.RespondJSON(`{"tags":[]}`),
			testutil.RespondCode(40001), testutil.RespondJSON(`{"tags":[]}`))
		c := testutil.NewTokenClient(t, responses, wechatuser.WithTokenSource(source), refreshes(&got))
		for range 3 {
			require.NoError(t, testutil.GetTags(t.Context(), c))
		}
		err = wechatuser.CodeInvalidSecret
		require.Error(t, testutil.GetTags(t.Context(), c))
		err = nil
		_, forceErr := c.RefreshToken(t.Context())
		require.NoError(t, forceErr)

		var reasons []string
		for _, r := range got {
			reasons = append(reasons, r.Reason)
			assert.Equal(t, wechatuser.TokenFromSource, r.From)
			assert.False(t, r.Forced)
		}
		assert.Equal(t, []string{"asked", "rejected", "asked", "forced"}, reasons)
		assert.Equal(t, end, got[0].ExpiresAt)
		assert.ErrorIs(t, got[2].Err, wechatuser.ErrCredential)
	})
}

// growingSource is a source that returns the next token once one is invalidated.
type growingSource struct {
	token wechatuser.Token
	err   *error
}

func (s *growingSource) Token(context.Context) (wechatuser.Token, error) { return s.token, *s.err }

func (s *growingSource) Invalidate(context.Context, wechatuser.Token) error {
	s.token.AccessToken += "A"
	return nil
}

// A source that panics is no refresh that has succeeded.
func TestTokenHookOfASourceThatPanics(t *testing.T) {
	var got []wechatuser.TokenRefresh
	c := testutil.NewTokenClient(t, testutil.Play(testutil.RespondCode(40001)), refreshes(&got),
		wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			panic("source")
		})))
	assert.Panics(t, func() { _ = testutil.GetTags(t.Context(), c) })
	assert.Empty(t, got)
}
