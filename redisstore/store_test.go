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

// newStore makes a store that has patience with a busy machine.
func newStore(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(rdb, append([]redisstore.Option{redisstore.WithTimeout(5 * time.Second)}, opts...)...)
	require.NoError(t, err)
	return s
}

// tokenFor is a token that lives so long, as a store gives it back.
func tokenFor(name string, d time.Duration) wechatuser.Token {
	return wechatuser.Token{AccessToken: name, ExpiresAt: time.Now().Add(d).UTC().Truncate(time.Millisecond)}
}

func loaded(t *testing.T, s *redisstore.Store) wechatuser.Token {
	t.Helper()
	got, err := s.Load(t.Context(), key)
	require.NoError(t, err)
	return got
}

// same checks a token without showing it.
func same(t *testing.T, want, got wechatuser.Token) {
	t.Helper()
	assert.True(t, want.AccessToken == got.AccessToken, "it is another token")
	assert.True(t, want.ExpiresAt.Equal(got.ExpiresAt), "%v is not %v", got, want)
}

func TestSaveAndLoad(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithKeyPrefix("app:"))
	same(t, wechatuser.Token{}, loaded(t, s))

	want := wechatuser.Token{AccessToken: token, ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, s.Save(t.Context(), key, want))
	want.ExpiresAt = want.ExpiresAt.Truncate(time.Millisecond)
	same(t, want, loaded(t, s))

	value, err := rdb.Get(t.Context(), "app:"+key).Result()
	require.NoError(t, err)
	const form = `{"access_token":%q,"expires_at":%q}`
	assert.Equal(t, fmt.Sprintf(form, token, want.ExpiresAt.UTC().Format("2006-01-02T15:04:05.999Z")), value)
	ttl, err := rdb.PTTL(t.Context(), "app:"+key).Result()
	require.NoError(t, err)
	assert.InDelta(t, time.Hour, ttl, float64(10*time.Second))
}

func TestOlderTokenNeverReplacesANewerOne(t *testing.T) {
	s := newStore(t, startRedis(t).client(t))
	newer := tokenFor("newer", time.Hour)
	require.NoError(t, s.Save(t.Context(), key, newer))
	require.NoError(t, s.Save(t.Context(), key, tokenFor("older", time.Minute)))
	same(t, newer, loaded(t, s))

	twin := wechatuser.Token{AccessToken: "twin", ExpiresAt: newer.ExpiresAt}
	require.NoError(t, s.Save(t.Context(), key, twin))
	same(t, twin, loaded(t, s))
	newest := tokenFor("newest", 2*time.Hour)
	require.NoError(t, s.Save(t.Context(), key, newest))
	same(t, newest, loaded(t, s))

	require.NoError(t, s.Save(t.Context(), "other", tokenFor("dead", -time.Second)))
	got, err := s.Load(t.Context(), "other")
	require.NoError(t, err)
	same(t, wechatuser.Token{}, got)
	require.Error(t, s.Save(t.Context(), key, wechatuser.Token{AccessToken: token}), "without an end")
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
		same(t, newest, got)
	}
}

func TestDeadTokenGoesAway(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	require.NoError(t, s.Save(t.Context(), key, tokenFor(token, time.Second)))
	eventually(t, often, func() bool { return rdb.Exists(t.Context(), key).Val() == 0 })
	same(t, wechatuser.Token{}, loaded(t, s))
}

func TestDeleteDropsThatTokenAndNoOther(t *testing.T) {
	s := newStore(t, startRedis(t).client(t))
	current := tokenFor("current", time.Hour)
	require.NoError(t, s.Delete(t.Context(), key, current), "where there is none")
	require.NoError(t, s.Save(t.Context(), key, current))
	require.NoError(t, s.Delete(t.Context(), key, wechatuser.Token{AccessToken: "stale"}))
	same(t, current, loaded(t, s))
	require.NoError(t, s.Delete(t.Context(), key, wechatuser.Token{AccessToken: "current"}))
	same(t, wechatuser.Token{}, loaded(t, s))
}

// after is a hook that runs f after each command of a name.
type after struct {
	name string
	f    func()
}

func (h *after) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *after) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *after) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == h.name {
			h.f()
		}
		return err
	}
}

func TestNewerTokenThatComesInBetween(t *testing.T) {
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
			rdb.AddHook(&after{"get", sync.OnceFunc(func() { assert.NoError(t, other.Save(context.Background(), key, newer)) })})
			require.NoError(t, op(s))
			same(t, newer, loaded(t, s))
		})
	}
}

// twice is a hook that repeats each script, as a client does that lost the first answer.
type twice struct{ after }

func (*twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
			_ = next(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}

func TestCommandsThatAreRepeated(t *testing.T) {
	rdb := startRedis(t).client(t)
	rdb.AddHook(&twice{})
	s := newStore(t, rdb)
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	same(t, want, loaded(t, s))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	unlock, err := s.Lock(ctx, key)
	require.NoError(t, err, "the first answer was lost, and the lock is its own")
	unlock()
	assert.Zero(t, rdb.Exists(t.Context(), key+":lock").Val())
	require.NoError(t, s.Delete(t.Context(), key, want))
	same(t, wechatuser.Token{}, loaded(t, s))
}

func TestValuesThatAreNoToken(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	for _, value := range []string{
		token, `"` + token + `"`, `{"access_token":"` + token + `"}`, `{"access_token":7}`, `{}`, `[]`, `null`,
		`{"access_token":"t","expires_at":"` + token + `"}`,
	} {
		require.NoError(t, rdb.Set(t.Context(), key, value, 0).Err())
		_, err := s.Load(t.Context(), key)
		for _, err := range []error{err, s.Save(t.Context(), key, tokenFor("t", time.Hour)), s.Delete(t.Context(), key, tokenFor("t", time.Hour))} {
			require.Error(t, err)
			assert.Contains(t, err.Error(), key, "it names the key")
			assert.False(t, strings.Contains(err.Error(), token), "it shows the value")
			assert.NotErrorIs(t, err, redisstore.ErrUnavailable)
		}
		assert.True(t, value == rdb.Get(t.Context(), key).Val(), "it is left alone")
	}
	require.NoError(t, rdb.Del(t.Context(), key).Err())
	require.NoError(t, rdb.LPush(t.Context(), key, "a list").Err())
	_, err := s.Load(t.Context(), key)
	assert.ErrorContains(t, err, "WRONGTYPE")
}

func TestErrorsOfAServerWithoutScripts(t *testing.T) {
	s := newStore(t, startRedis(t, "--rename-command", "EVALSHA", "").client(t))
	err := s.Save(t.Context(), key, tokenFor(token, time.Hour))
	require.ErrorContains(t, err, "unknown command 'evalsha'")
	assert.False(t, strings.Contains(err.Error(), "SENTINEL"))
}

// The rights that the README asks for are enough.
func TestRedisUserWithFewRights(t *testing.T) {
	rs := startRedis(t)
	admin := rs.client(t)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "ACL SETUSER wechat on >password ")
	require.True(t, found)
	line, _, _ := strings.Cut(rest, "\n")
	rights := []any{"ACL", "SETUSER", "wechat", "on", ">password"}
	for _, right := range strings.Fields(line) {
		rights = append(rights, right)
	}
	require.NoError(t, admin.Do(t.Context(), rights...).Err())

	rdb := rs.client(t, func(o *redis.Options) { o.Username, o.Password = "wechat", "password" })
	s := newStore(t, rdb)
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	same(t, want, loaded(t, s))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	unlock()
	assert.Zero(t, admin.Exists(t.Context(), lockKey).Val())
	require.NoError(t, s.Delete(t.Context(), key, want))
	l, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600), redisstore.WithFailClosed(), redisstore.WithTimeout(5*time.Second))
	require.NoError(t, err)
	require.NoError(t, l.Wait(t.Context()))

	_, err = s.Load(t.Context(), "elsewhere")
	assert.ErrorContains(t, err, "NOPERM")
}

var (
	encryptionKey = []byte("0123456789abcdef0123456789abcdef")
	otherKey      = []byte("fedcba9876543210")
)

func TestEncryption(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	s := newStore(t, rdb, redisstore.WithEncryption(encryptionKey))
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	same(t, want, loaded(t, s))
	require.NoError(t, s.Save(t.Context(), key, tokenFor("older", time.Minute)))
	same(t, want, loaded(t, s))

	value := rdb.Get(t.Context(), key).Val()
	assert.Regexp(t, `^\{"sealed":"[A-Za-z0-9+/=]+"\}$`, value)
	rotated := newStore(t, rdb, redisstore.WithEncryption(otherKey, encryptionKey))
	same(t, want, loaded(t, rotated))

	for name, wrong := range map[string]struct {
		store *redisstore.Store
		value string
		text  string
	}{
		"wrong key":  {newStore(t, rdb, redisstore.WithEncryption(otherKey)), value, "another key"},
		"no key":     {newStore(t, rdb), value, "WithEncryption"},
		"not sealed": {s, `{"access_token":"` + token + `","expires_at":"2100-01-01T00:00:00Z"}`, "not encrypted"},
		"changed":    {s, strings.Replace(value, value[20:24], "AAAA", 1), "changed"},
		"too short":  {s, `{"sealed":"AAAA"}`, "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rdb.Set(t.Context(), key, wrong.value, 0).Err())
			_, err := wrong.store.Load(t.Context(), key)
			for _, err := range []error{err, wrong.store.Save(t.Context(), key, want), wrong.store.Delete(t.Context(), key, want)} {
				require.ErrorContains(t, err, wrong.text)
				assert.False(t, strings.Contains(err.Error(), token))
			}
			assert.Equal(t, wrong.value, rdb.Get(t.Context(), key).Val(), "it is left alone")
		})
	}

	const elsewhere = key + "2"
	require.NoError(t, rdb.Set(t.Context(), elsewhere, value, 0).Err())
	_, err := s.Load(t.Context(), elsewhere)
	assert.ErrorContains(t, err, "for another name", "values can't be exchanged")

	require.NoError(t, rdb.Set(t.Context(), key, value, 0).Err())
	require.NoError(t, s.Delete(t.Context(), key, want))
	same(t, wechatuser.Token{}, loaded(t, s))
}

func TestEncryptedTokenIsNeverSent(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t), redisstore.WithEncryption(encryptionKey))
	require.NoError(t, s.Save(t.Context(), key, tokenFor(token, time.Hour)))
	require.NoError(t, s.Delete(t.Context(), key, tokenFor(token, time.Hour)))
	eventually(t, often, func() bool { return rs.saw("sealed") })
	assert.False(t, rs.saw(token))
}

func TestOptionsAreChecked(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	_, err := redisstore.New((*redis.Client)(nil),
		redisstore.WithTimeout(0), redisstore.WithLease(time.Millisecond), redisstore.WithEncryption([]byte("SENTINEL")),
		redisstore.WithReadFrom(nil), redisstore.WithFailClosed(), redisstore.Option{})
	for _, text := range []string{"nil client", "WithTimeout", "WithLease", "8 bytes", "nil layout", "WithFailClosed", "option 6"} {
		assert.ErrorContains(t, err, text)
	}
	assert.NotContains(t, err.Error(), "SENTINEL")
	var argument *wechatuser.ArgumentError
	require.ErrorAs(t, err, &argument)
	assert.Equal(t, "redisstore.New", argument.API)
	_, err = redisstore.New(nil)
	require.Error(t, err)

	_, err = redisstore.NewLimiter(nil, "", redisstore.Limit{Burst: -1}, redisstore.WithLease(time.Minute), redisstore.WithLogger(nil))
	for _, text := range []string{"nil client", "key", "limit", "WithLease", "nil logger"} {
		assert.ErrorContains(t, err, text)
	}
}

func TestPrintingShowsNothingSecret(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: secret})
	defer rdb.Close()
	s := newStore(t, rdb, redisstore.WithEncryption([]byte("SENTINELSENTINEL")))
	l, err := redisstore.NewLimiter(rdb, "limit:"+appID, redisstore.PerMinute(600))
	require.NoError(t, err)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range []any{s, l, *s, *l, redisstore.WithEncryption([]byte("SENTINELSENTINEL"))} {
		logger.Info("it", "value", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			fmt.Fprintf(&log, verb, v)
		}
	}
	assert.NotContains(t, log.String(), "SENTINEL")
	assert.NotContains(t, log.String(), fmt.Sprintf("%x", "SENTINEL"))
	assert.Equal(t, `redisstore.Store("")`, fmt.Sprintf("%+v", s))
	assert.Equal(t, `redisstore.Limiter("limit:`+appID+`", 600 in 1m0s)`, fmt.Sprintf("%#v", l))
	assert.Equal(t, "redisstore.Store(nil)", (*redisstore.Store)(nil).String())
	assert.Equal(t, "redisstore.Limiter(nil)", (*redisstore.Limiter)(nil).String())
}
