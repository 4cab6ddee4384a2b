package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// compareAndSwapScript replaces a value if it is the expected one. The empty string stands for no value. All writes of
// tokens and locks go through it. A go-redis client retries a command whose response was lost, so the script also
// succeeds if it finds the new value.
//
// Each script uses a single key, as Redis Cluster requires.
var compareAndSwapScript = redis.NewScript(`
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] and found ~= ARGV[2] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
`)

// runScript sends the hash of a script, and the script itself if Redis does not know it yet, each in its own round
// trip. parse is called in the goroutine of the round trip, even if runScript has returned.
func runScript[T any](
	ctx context.Context, b *breaker, trip tripFunc[T], script *redis.Script, rdb redis.UniversalClient, key string,
	args []any, parse func(*redis.Cmd) (T, error),
) (T, error) {
	value, err := trip(ctx, b, func(ctx context.Context) (T, error) {
		return parse(script.EvalSha(ctx, rdb, []string{key}, args...))
	})
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return value, err
	}
	return trip(ctx, b, func(ctx context.Context) (T, error) {
		return parse(script.Eval(ctx, rdb, []string{key}, args...))
	})
}

// isRequired reports whether a client can't continue without the value under a key. That holds for legacy tokens and
// those of third-party platforms: a process that fetches one on its own can invalidate those of all others.
func isRequired(key string) bool {
	kind, _, _ := strings.Cut(strings.TrimPrefix(key, "wechatuser:token:"), ":")
	return kind == "legacy" || kind == "component" || kind == "authorizer"
}

// tripFor returns the function that makes round trips for a key: doRequired if the key is required, otherwise do.
func tripFor[T any](key string) tripFunc[T] {
	if isRequired(key) {
		return doRequired[T]
	}
	return do[T]
}

// compareAndSwap replaces the value under name if it is the expected one, and reports whether it was. The new value
// expires after ttl.
func (s *Store) compareAndSwap(
	ctx context.Context, trip tripFunc[bool], name, expected, value string, ttl time.Duration,
) (bool, error) {
	return runScript(ctx, s.breaker, trip, compareAndSwapScript, s.rdb, name,
		[]any{expected, value, max(ttl.Milliseconds(), 1)}, (*redis.Cmd).Bool)
}

// get returns the value under name, the empty string if there is none.
func (s *Store) get(ctx context.Context, trip tripFunc[string], name string) (string, error) {
	return trip(ctx, s.breaker, func(ctx context.Context) (string, error) {
		value, err := s.rdb.Get(ctx, name).Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		return value, err
	})
}
