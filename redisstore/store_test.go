package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

const (
	key   = "wechatuser:token:stable:" + appID
	token = "SENTINEL-token-SENTINEL"
)

// patientTimeout is a timeout for Redis that a busy machine does not exceed.
const patientTimeout = 30 * time.Second

// newStore returns a store with patientTimeout.
func newStore(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(rdb, append([]redisstore.Option{redisstore.WithTimeout(patientTimeout)}, opts...)...)
	require.NoError(t, err)
	return s
}

// tokenFor returns a token that expires after d, as precise as a store returns it.
func tokenFor(name string, d time.Duration) wechatuser.Token {
	return wechatuser.Token{AccessToken: name, ExpiresAt: time.Now().Add(d).UTC().Truncate(time.Millisecond)}
}

// mustLoad returns the token under key.
func mustLoad(t *testing.T, s *redisstore.Store) wechatuser.Token {
	t.Helper()
	got, err := s.Load(t.Context(), key)
	require.NoError(t, err)
	return got
}

// assertSame compares tokens without printing them.
func assertSame(t *testing.T, want, got wechatuser.Token) {
	t.Helper()
	assert.True(t, want.AccessToken == got.AccessToken, "another token")
	assert.True(t, want.ExpiresAt.Equal(got.ExpiresAt), "got %v, want %v", got, want)
}

func TestSaveAndLoad(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithKeyPrefix("app:"))
	assertSame(t, wechatuser.Token{}, mustLoad(t, s))

	want := wechatuser.Token{AccessToken: token, ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, s.Save(t.Context(), key, want))
	want.ExpiresAt = want.ExpiresAt.Truncate(time.Millisecond)
	assertSame(t, want, mustLoad(t, s))

	value, err := rdb.Get(t.Context(), "app:"+key).Result()
	require.NoError(t, err)
	const form = `{"access_token":%q,"expires_at":%q}`
	assert.Equal(t, fmt.Sprintf(form, token, want.ExpiresAt.UTC().Format("2006-01-02T15:04:05.999Z")), value)
	ttl, err := rdb.PTTL(t.Context(), "app:"+key).Result()
	require.NoError(t, err)
	assert.LessOrEqual(t, ttl, time.Hour)
	assert.Greater(t, ttl, 50*time.Minute)
}

func TestOlderTokenNeverReplacesNewerOne(t *testing.T) {
	s := newStore(t, startRedis(t).client(t))
	newer := tokenFor("newer", time.Hour)
	require.NoError(t, s.Save(t.Context(), key, newer))
	require.NoError(t, s.Save(t.Context(), key, tokenFor("older", time.Minute)))
	assertSame(t, newer, mustLoad(t, s))

	twin := wechatuser.Token{AccessToken: "twin", ExpiresAt: newer.ExpiresAt}
	require.NoError(t, s.Save(t.Context(), key, twin))
	assertSame(t, twin, mustLoad(t, s))
	newest := tokenFor("newest", 2*time.Hour)
	require.NoError(t, s.Save(t.Context(), key, newest))
	assertSame(t, newest, mustLoad(t, s))

	require.NoError(t, s.Save(t.Context(), "other", tokenFor("expired", -time.Second)))
	got, err := s.Load(t.Context(), "other")
	require.NoError(t, err)
	assertSame(t, wechatuser.Token{}, got)
	require.Error(t, s.Save(t.Context(), key, wechatuser.Token{AccessToken: token}), "without an expiry")
	require.Error(t, s.Save(t.Context(), key, wechatuser.Token{ExpiresAt: time.Now().Add(time.Hour)}), "without a text")
}

func TestConcurrentSaves(t *testing.T) {
	s := newStore(t, startRedis(t).client(t))
	newest := tokenFor("newest", 2*time.Hour)
	tokens := []wechatuser.Token{newest}
	for i := range 4 {
		tokens = append(tokens, tokenFor("older", time.Duration(i+1)*time.Minute))
	}
	for range 20 {
		k := fmt.Sprint(key, rand.Int())
		var wg sync.WaitGroup
		for _, i := range rand.Perm(len(tokens)) {
			wg.Go(func() { assert.NoError(t, s.Save(t.Context(), k, tokens[i])) })
		}
		wg.Wait()
		got, err := s.Load(t.Context(), k)
		require.NoError(t, err)
		assertSame(t, newest, got)
	}
}

func TestKeyExpiresWithToken(t *testing.T) {
	t.Parallel()
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	require.NoError(t, s.Save(t.Context(), key, tokenFor(token, 200*time.Millisecond)))
	eventually(t, pollInterval, func() bool { return rdb.Exists(t.Context(), key).Val() == 0 })
	assertSame(t, wechatuser.Token{}, mustLoad(t, s))
}

func TestDeleteRemovesOnlyTheStaleToken(t *testing.T) {
	s := newStore(t, startRedis(t).client(t))
	current := tokenFor("current", time.Hour)
	require.NoError(t, s.Delete(t.Context(), key, current), "no token is stored")
	require.NoError(t, s.Save(t.Context(), key, current))
	require.NoError(t, s.Delete(t.Context(), key, wechatuser.Token{AccessToken: "stale"}))
	assertSame(t, current, mustLoad(t, s))
	require.NoError(t, s.Delete(t.Context(), key, wechatuser.Token{AccessToken: "current"}))
	assertSame(t, wechatuser.Token{}, mustLoad(t, s))
}

func TestTokenSavedMeanwhileIsKept(t *testing.T) {
	rs := startRedis(t)
	other := newStore(t, rs.client(t))
	stale, newer := tokenFor("stale", time.Hour), tokenFor("newer", 2*time.Hour)
	for name, op := range map[string]func(*redisstore.Store) error{
		"Delete": func(s *redisstore.Store) error { return s.Delete(t.Context(), key, stale) },
		"Save":   func(s *redisstore.Store) error { return s.Save(t.Context(), key, tokenFor("late", time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			rdb := rs.client(t)
			s := newStore(t, rdb)
			require.NoError(t, rdb.Del(t.Context(), key).Err())
			require.NoError(t, s.Save(t.Context(), key, stale))
			rdb.AddHook(&callAfter{name: "get", f: sync.OnceFunc(func() {
				assert.NoError(t, other.Save(context.Background(), key, newer))
			})})
			require.NoError(t, op(s))
			assertSame(t, newer, mustLoad(t, s))
		})
	}
}

// A value that no store has written is an error for Load and no obstacle to Save.
func TestUnreadableValuesAreReplaced(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	for _, value := range []string{
		token, `"` + token + `"`, `{"access_token":"` + token + `"}`, `{"access_token":7}`, `{}`, `[]`, `null`,
		`{"access_token":"t","expires_at":"` + token + `"}`,
	} {
		require.NoError(t, rdb.Set(t.Context(), key, value, 0).Err())
		_, err := s.Load(t.Context(), key)
		require.ErrorIs(t, err, wechatuser.ErrUnreadableToken)
		assert.Contains(t, err.Error(), key)
		assert.False(t, strings.Contains(err.Error(), token), "the error contains the value")
		assert.NotErrorIs(t, err, redisstore.ErrUnavailable)

		require.NoError(t, s.Delete(t.Context(), key, tokenFor("t", time.Hour)))
		assert.True(t, value == rdb.Get(t.Context(), key).Val(), "it is not the token to delete")
		want := tokenFor("t", time.Hour)
		require.NoError(t, s.Save(t.Context(), key, want))
		assertSame(t, want, mustLoad(t, s))
	}
	require.NoError(t, rdb.Del(t.Context(), key).Err())
	require.NoError(t, rdb.LPush(t.Context(), key, "a list").Err())
	_, err := s.Load(t.Context(), key)
	assert.ErrorContains(t, err, "WRONGTYPE")
}

// permissionsOfREADME returns the permissions of Redis users that follow a text.
func permissionsOfREADME(t *testing.T, text string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), text)
	require.True(t, found)
	end := strings.IndexAny(rest, "`\n")
	return strings.Fields(rest[:end])
}

func TestPermissionsOfREADMEAreSufficient(t *testing.T) {
	rs := startRedis(t)
	admin := rs.client(t)
	permissions := []any{"ACL", "SETUSER", "wechat", "on", ">password"}
	for _, permission := range permissionsOfREADME(t, "ACL SETUSER wechat on >password ") {
		permissions = append(permissions, permission)
	}
	require.NoError(t, admin.Do(t.Context(), permissions...).Err())

	rdb := rs.client(t, func(o *redis.Options) { o.Username, o.Password = "wechat", "password" })
	s := newStore(t, rdb)
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	assertSame(t, want, mustLoad(t, s))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	unlock()
	assert.Zero(t, admin.Exists(t.Context(), lockKey).Val())
	require.NoError(t, s.Delete(t.Context(), key, want))
	l, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600),
		redisstore.WithFailClosed(), redisstore.WithTimeout(patientTimeout))
	require.NoError(t, err)
	require.NoError(t, l.Wait(t.Context()))
	d := newDeduplicator(t, rdb)
	require.NoError(t, d.Check(t.Context()))
	require.NoError(t, d.Done(t.Context(), pushKey, time.Hour))

	_, err = s.Load(t.Context(), "elsewhere")
	assert.ErrorContains(t, err, "NOPERM")
}

func TestPrintingShowsNoSecret(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: secret})
	defer rdb.Close()
	s := newStore(t, rdb, redisstore.WithEncryption([]byte("SENTINELSENTINEL")))
	l, err := redisstore.NewLimiter(rdb, "limit:"+appID, redisstore.PerMinute(600))
	require.NoError(t, err)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	d := newDeduplicator(t, rdb)
	for _, v := range []any{s, l, d, *s, *l, *d, redisstore.WithEncryption([]byte("SENTINELSENTINEL"))} {
		logger.Info("printed", "value", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			fmt.Fprintf(&log, verb, v)
		}
	}
	assert.NotContains(t, log.String(), "SENTINEL")
	assert.NotContains(t, log.String(), fmt.Sprintf("%x", "SENTINEL"))
	assert.Equal(t, `redisstore.Store("")`, fmt.Sprintf("%+v", s))
	assert.Equal(t, `redisstore.Limiter("limit:`+appID+`", 600 in 1m0s)`, fmt.Sprintf("%#v", l))
	assert.Equal(t, "redisstore.Store(nil)", (*redisstore.Store)(nil).String())
	assert.Equal(t, `redisstore.Deduplicator("")`, fmt.Sprintf("%d", d))
	assert.Equal(t, "redisstore.Deduplicator(nil)", (*redisstore.Deduplicator)(nil).String())
	assert.Equal(t, "redisstore.Limiter(nil)", (*redisstore.Limiter)(nil).String())
}
