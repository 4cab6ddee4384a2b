package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Limit is how many calls may be made in a time.
type Limit struct {
	Calls int           // at least 1
	Per   time.Duration // at least 1 millisecond
	// Burst is how many calls may go at once after a pause. 0 is 1: calls are spread evenly, and there are never more
	// than Calls in any time Per. A larger Burst adds up to Burst-1 to that.
	Burst int
}

// PerMinute is the limit of so many calls a minute, spread evenly.
func PerMinute(calls int) Limit { return Limit{Calls: calls, Per: time.Minute} }

// gap is the time between two calls, in whole microseconds so that rounding never adds a call.
func (l Limit) gap() time.Duration {
	return (l.Per + time.Duration(l.Calls)*time.Microsecond - 1) / time.Duration(l.Calls) / time.Microsecond * time.Microsecond
}

// ahead is how much earlier than evenly spread a call may go.
func (l Limit) ahead() time.Duration { return time.Duration(max(l.Burst, 1)-1) * l.gap() }

// Limiter is a [wechatuser.Limiter] that all processes share. Give it to each client with [wechatuser.WithLimiter].
//
// A caller reserves its place in Redis and waits for it, one at a time in each process. So Redis is asked once for a
// call, and processes take turns however many callers each has. It is safe for concurrent use and has nothing to close.
type Limiter struct {
	*limiter // a pointer, so that printing a copy of a Limiter shows nothing either
}

type limiter struct {
	*config
	rdb   redis.UniversalClient
	link  *link
	key   string
	limit Limit

	// turn is held by the caller who is next, and guards what is below.
	turn chan struct{}
	slot time.Time // a place that was got and left unused, zero for none
	next time.Time // as the script's value, for calls without Redis
	down bool      // the last call had to do without Redis
}

var _ wechatuser.Limiter = (*Limiter)(nil)

// NewLimiter makes a limiter whose state is under key, the whole name of the key in Redis: one for each account and
// quota. It makes no request and starts no goroutine. All processes should have the same limit. The clock is that of
// Redis, which needs version 5 or later.
//
// See [WithFailClosed] for what happens while Redis is down.
func NewLimiter(rdb redis.UniversalClient, key string, limit Limit, opts ...Option) (*Limiter, error) {
	cfg, errs := configure(forLimiter, rdb, opts)
	wrong := func(field, reason string) {
		errs = append(errs, &wechatuser.ArgumentError{API: forLimiter, Field: field, Reason: reason})
	}
	if key == "" {
		wrong("key", "empty")
	}
	if limit.Calls < 1 || limit.Per < time.Millisecond || limit.Burst < 0 {
		wrong("limit", fmt.Sprintf("%d calls in %v with a burst of %d is no limit that can be kept", limit.Calls, limit.Per, limit.Burst))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Limiter{&limiter{
		config: cfg, rdb: rdb, link: &link{timeout: cfg.timeout}, key: key, limit: limit, turn: make(chan struct{}, 1),
	}}, nil
}

// reserve takes the next place and gives the time until then in microseconds. The value is when the place after it
// would be, were calls spread evenly.
var reserve = redis.NewScript(`
local gap, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
redis.call('SET', KEYS[1], place + gap, 'PX', math.ceil((place + gap - now) / 1000))
return math.max(place - ahead - now, 0)
`)

// Wait returns when the next call may be made, or with an error when the context ends. It fails at once if its place is
// after the context's deadline.
func (l *Limiter) Wait(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Now().After(l.slot) {
		wait, err := l.reserve(ctx)
		if err != nil {
			return err
		}
		l.slot = time.Now().Add(wait)
	}
	// Whoever leaves now leaves the place to the next caller.
	wait := time.Until(l.slot)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(l.slot) {
		return fmt.Errorf("redisstore: the limit allows the next call in %v: %w", wait.Round(time.Millisecond), context.DeadlineExceeded)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		l.slot = time.Time{}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes a place, from Redis if that works.
func (l *limiter) reserve(ctx context.Context) (time.Duration, error) {
	wait, err := over(ctx, l.link, func(ctx context.Context) (time.Duration, error) {
		us, err := reserve.Run(ctx, l.rdb, []string{l.key}, l.limit.gap().Microseconds(), l.limit.ahead().Microseconds()).Int64()
		return time.Duration(us) * time.Microsecond, err
	})
	switch {
	case err == nil:
		l.became(ctx, slog.LevelInfo, false, nil)
		return wait, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case l.failClosed:
		l.became(ctx, slog.LevelWarn, true, err)
		return 0, err
	}
	l.became(ctx, slog.LevelWarn, true, err)
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	wait = max(l.next.Sub(now)-l.limit.ahead(), 0)
	l.next = l.next.Add(l.limit.gap())
	return wait, nil
}

// became logs that Redis was lost or found.
func (l *limiter) became(ctx context.Context, level slog.Level, down bool, err error) {
	if l.down == down {
		return
	}
	l.down = down
	text := "redisstore: limiter shared again"
	attrs := []slog.Attr{slog.String("key", l.key)}
	if down {
		text = "redisstore: limiter without Redis"
		attrs = append(attrs, slog.Bool("calls_fail", l.failClosed), slog.String("error", err.Error()))
	}
	l.logger.LogAttrs(ctx, level, text, attrs...)
}

// String names the key and the limit.
func (l *Limiter) String() string {
	if l == nil || l.limiter == nil {
		return "redisstore.Limiter(nil)"
	}
	return fmt.Sprintf("redisstore.Limiter(%q, %d in %v)", l.key, l.limit.Calls, l.limit.Per)
}

// GoString is String.
func (l *Limiter) GoString() string { return l.String() }

// Format prints String for each verb.
func (l *Limiter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// LogValue is String.
func (l *Limiter) LogValue() slog.Value { return slog.StringValue(l.String()) }
