package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// swap replaces a value if it is the expected one; the empty string stands for no value. It is the only thing that
// writes tokens and locks. A client repeats a command whose answer was lost, so finding the new value is a success too.
//
// Each script has one key, so that Redis Cluster runs it.
var swap = redis.NewScript(`
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

// swap replaces a value; the new one lives for ttl.
func (s *Store) swap(ctx context.Context, name, expected, value string, ttl time.Duration) (bool, error) {
	return over(ctx, s.link, func(ctx context.Context) (bool, error) {
		return s.runSwap(ctx, name, expected, value, ttl)
	})
}

func (s *Store) runSwap(ctx context.Context, name, expected, value string, ttl time.Duration) (bool, error) {
	return swap.Run(ctx, s.rdb, []string{name}, expected, value, max(ttl.Milliseconds(), 1)).Bool()
}

// get reads a value, the empty string where there is none.
func (s *Store) get(ctx context.Context, name string) (string, error) {
	return over(ctx, s.link, func(ctx context.Context) (string, error) {
		value, err := s.rdb.Get(ctx, name).Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		return value, err
	})
}
