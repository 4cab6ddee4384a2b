package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// compareAndSwapScript replaces a value if it is the expected one; the empty string stands for no value. All writes of
// tokens and locks go through it. A go-redis client retries a command whose response was lost, so the script succeeds
// as well if it finds the new value.
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

// compareAndSwap replaces the value under name if it is the expected one, and reports whether it was. The new value
// expires after ttl.
func (s *Store) compareAndSwap(ctx context.Context, name, expected, value string, ttl time.Duration) (bool, error) {
	return do(ctx, s.breaker, func(ctx context.Context) (bool, error) {
		return s.runCompareAndSwap(ctx, name, expected, value, ttl)
	})
}

// runCompareAndSwap is compareAndSwap without the breaker.
func (s *Store) runCompareAndSwap(
	ctx context.Context, name, expected, value string, ttl time.Duration,
) (bool, error) {
	return compareAndSwapScript.Run(ctx, s.rdb, []string{name}, expected, value, max(ttl.Milliseconds(), 1)).Bool()
}

// get returns the value under name, the empty string if there is none.
func (s *Store) get(ctx context.Context, name string) (string, error) {
	return do(ctx, s.breaker, func(ctx context.Context) (string, error) {
		value, err := s.rdb.Get(ctx, name).Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		return value, err
	})
}
