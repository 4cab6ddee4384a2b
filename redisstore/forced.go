package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// WeChat allows 20 forced refreshes a day, and ignores one within 30 seconds of the last.
const (
	forcedPerDay = 20
	forcedGap    = 30 * time.Second
	forcedWindow = 24 * time.Hour
)

// forcedScript counts a forced refresh and returns 1, or returns 0 if it is not allowed. The key holds the times of the
// last ones in milliseconds, by the clock of Redis. Times in the future are ignored; they occur if the clock was set
// back.
//
// It uses only commands that the limiter uses too.
var forcedScript = redis.NewScript(`
local most, gap, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sent = {}
for at in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
  at = tonumber(at)
  if at <= now and now - at < window then
    table.insert(sent, at)
  end
end
if #sent >= most or (#sent > 0 and now - sent[#sent] < gap) then
  return 0
end
table.insert(sent, now)
redis.call('SET', KEYS[1], table.concat(sent, ' '), 'PX', window)
return 1
`)

// AllowForced counts a forced refresh of the token under key for all processes, and reports whether it is allowed: at
// most 20 within 24 hours, at least 30 seconds apart. If a response is lost and the Redis client retries, the retry is
// not allowed: a refresh is counted that is not made.
func (s *Store) AllowForced(ctx context.Context, key string) (bool, error) {
	return runScript(ctx, s.breaker, do[bool], forcedScript, s.rdb, s.prefix+key+":forced",
		[]any{forcedPerDay, forcedGap.Milliseconds(), forcedWindow.Milliseconds()}, (*redis.Cmd).Bool)
}
