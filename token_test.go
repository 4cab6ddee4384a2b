package wechatuser_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// The monotonic clock stops while a machine sleeps; the lifetime of a token does not.
func TestTokenTimesUseTheWallClock(t *testing.T) {
	require.Contains(t, time.Now().String(), "m=")
	tok, err := testutil.NewTokenClient(t, &testutil.TokenServer{}).Token(t.Context())
	require.NoError(t, err)
	assert.NotContains(t, tok.ExpiresAt.String(), "m=")
}

// The lifetime of a token starts when the request is sent.
func TestTokenTimes(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{TokenDelay: 3 * time.Second}
				flaky := false
				acc.TokenReply = func(testutil.TokenRequest) testutil.Reply {
					if flaky = !flaky; flaky {
						return testutil.Delay(time.Second, testutil.Fail(testutil.ErrReset))
					}
					return nil
				}
				c := testutil.NewTokenClient(t, acc, opts...)
				tok, err := c.Token(t.Context())
				require.NoError(t, err)
				require.Len(t, acc.TokenRequests(), 2)
				assert.True(t, acc.TokenRequests()[1].At.Add(2*time.Hour).Equal(tok.ExpiresAt))
			})
		})
	}
}

// No way of printing any value shows a token or a secret.
func TestPrintedValuesHaveNoSecret(t *testing.T) {
	type holder struct {
		Token   wechatuser.Token
		Pointer *wechatuser.Token
		List    []wechatuser.Token
		Map     map[string]wechatuser.Token
		Any     any
		Client  *wechatuser.Client
		Store   wechatuser.TokenStore
		private *wechatuser.Client
	}
	tok := wechatuser.Token{
		AccessToken: testutil.Sentinel + "-secret-token", ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	store := wechatuser.NewMemoryTokenStore()
	require.NoError(t, store.Save(t.Context(), "key", tok))
	c := testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithTokenStore(store))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	h := holder{tok, &tok, []wechatuser.Token{tok}, map[string]wechatuser.Token{"a": tok}, tok, c, store, c}

	values := map[string]any{
		"token": tok, "pointer": &tok, "client": c, "store": store, "no token": wechatuser.Token{},
		"token without end": wechatuser.Token{AccessToken: testutil.Sentinel},
		"struct":            h, "pointer to struct": &h, "list": []any{h, tok, &tok},
		"map":   map[wechatuser.Token]any{tok: h},
		"error": fmt.Errorf("%v: %w", tok, testutil.ErrReset),
	}
	for name, v := range values {
		for _, verb := range []string{
			"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "% x", "%t", "%c", "%U", "%e", "%10.3v", "%-40s",
			"%[2]*[1]v",
		} {
			assert.NotContains(t, strings.ToUpper(fmt.Sprintf(verb, v, 5)), testutil.Sentinel, "%s with %s", name, verb)
			assert.NotContains(t, strings.ToUpper(fmt.Sprintf(verb, v, 5)), fmt.Sprintf("%X", testutil.Sentinel),
				"%s with %s", name, verb)
		}
		assert.NotContains(t, fmt.Sprintln(v), testutil.Sentinel)
		assert.NotContains(t, fmt.Errorf("wrong: %v", v).Error(), testutil.Sentinel)

		var log strings.Builder
		text := slog.New(slog.NewTextHandler(&log, nil))
		text.With("with", v).WithGroup("group").Info("line", "value", v, slog.Group("inner", "value", v))
		assert.NotContains(t, log.String(), testutil.Sentinel, name)
	}
	for name, v := range map[string]any{"token": tok, "pointer": &tok, "client": c, "store": store} {
		var log strings.Builder
		json := slog.New(slog.NewJSONHandler(&log, nil))
		json.With("with", v).WithGroup("group").Info("line", "value", v, slog.Group("inner", "value", v))
		assert.NotContains(t, log.String(), testutil.Sentinel, name)
	}

	assert.Equal(t, "Token(***, expires 2026-01-02T03:04:05Z)", tok.String())
	assert.Equal(t, "Token(none)", fmt.Sprint(wechatuser.Token{}))
	assert.Equal(t, "Token(***)", fmt.Sprint(wechatuser.Token{AccessToken: testutil.Sentinel}))
	assert.Equal(t, tok.String(), fmt.Sprintf("%#v", tok))
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

	older, newer := testutil.TokenFor("older", time.Hour), testutil.TokenFor("newer", 2*time.Hour)
	require.NoError(t, s.Save(ctx, "a", older))
	assert.Equal(t, older, load("a"))
	assert.Zero(t, load("b"), "keys are apart")

	require.NoError(t, s.Save(ctx, "a", newer))
	require.NoError(t, s.Save(ctx, "a", older))
	assert.Equal(t, newer, load("a"), "an older token does not overwrite a newer one")
	other := newer
	other.AccessToken += "-other"
	require.NoError(t, s.Save(ctx, "a", other))
	assert.Equal(t, other, load("a"), "one that expires at the same time does")
	require.NoError(t, s.Save(ctx, "a", newer))

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
		for _, err := range seq.RunConcurrently(50, func(i int) error {
			unlock, err := s.Lock(t.Context(), fmt.Sprint(i%2))
			if err != nil {
				return err
			}
			assert.LessOrEqual(t, holders.Add(1), int32(2), "one for each of the two keys")
			time.Sleep(time.Second)
			holders.Add(-1)
			unlock()
			unlock() // a second unlock has no effect
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

func TestMemoryTokenStoreCountsForcedRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ok := wechatuser.NewMemoryTokenStore().(wechatuser.TokenBudget)
		require.True(t, ok)
		allowed := func(key string) bool {
			t.Helper()
			ok, err := s.AllowForced(t.Context(), key)
			require.NoError(t, err)
			return ok
		}
		for range 20 {
			require.True(t, allowed("a"))
			require.False(t, allowed("a"), "30 seconds apart")
			time.Sleep(30*time.Second - 1)
			require.False(t, allowed("a"))
			time.Sleep(time.Nanosecond)
		}
		require.False(t, allowed("a"), "20 a day")
		require.True(t, allowed("b"), "keys are apart")
		time.Sleep(24*time.Hour - 20*30*time.Second - 1)
		require.False(t, allowed("a"))
		time.Sleep(time.Nanosecond)
		require.True(t, allowed("a"))
		require.False(t, allowed("a"))
	})
}
