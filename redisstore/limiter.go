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

// Limit is the number of calls allowed in a period.
type Limit struct {
	Calls int           // at least 1
	Per   time.Duration // at least 1 millisecond
	// Burst is the number of calls that may be made at once after a pause. With 0 or 1, calls are evenly spaced and any
	// period Per has at most Calls of them. A larger Burst allows up to Burst-1 more.
	Burst int
}

// PerMinute returns a limit of the given number of calls a minute, evenly spaced.
func PerMinute(calls int) Limit { return Limit{Calls: calls, Per: time.Minute} }

// interval is the time between two evenly spaced calls, rounded up to microseconds so that rounding never adds a call.
func (l Limit) interval() time.Duration {
	calls := time.Duration(l.Calls)
	return (l.Per + calls*time.Microsecond - 1) / calls / time.Microsecond * time.Microsecond
}

// tolerance is how much earlier than evenly spaced a call may be made.
func (l Limit) tolerance() time.Duration { return time.Duration(max(l.Burst, 1)-1) * l.interval() }

// Limiter is a [wechatuser.Limiter] shared by all processes. Pass it to each client with [wechatuser.WithLimiter].
//
// A caller reserves a time slot in Redis and waits for it. In each process one caller at a time does so. Therefore a
// call takes one request to Redis, and processes take turns however many callers each of them has. A Limiter is safe
// for concurrent use and needs no Close.
type Limiter struct {
	*limiter // a pointer, so that printing a copy of a Limiter shows no secret
}

type limiter struct {
	*config
	rdb     redis.UniversalClient
	breaker *breaker
	key     string
	limit   Limit

	turn      chan struct{} // a mutex for the fields below, held by the caller who reserves or waits
	slot      time.Time     // reserved and not used yet, zero for none
	localNext time.Time     // the next evenly spaced call, for calls without Redis
	down      bool          // the last reservation was made without Redis, or failed
}

var _ wechatuser.Limiter = (*Limiter)(nil)

// NewLimiter returns a limiter that keeps its state in Redis under key, which is the full name: use one key for each
// account and quota. It sends no request and starts no goroutine. All processes should use the same limit. The limiter
// uses the clock of Redis and needs Redis 5 or later.
//
// While Redis is down each process keeps to the limit on its own, unless [WithFailClosed] is given.
func NewLimiter(rdb redis.UniversalClient, key string, limit Limit, opts ...Option) (*Limiter, error) {
	cfg, errs := configure(apiNewLimiter, rdb, opts)
	addErr := func(field, reason string) {
		errs = append(errs, &wechatuser.ArgumentError{API: apiNewLimiter, Field: field, Reason: reason})
	}
	if key == "" {
		addErr("key", "empty")
	}
	if limit.Calls < 1 || limit.Per < time.Millisecond || limit.Burst < 0 {
		addErr("limit", fmt.Sprintf("invalid limit of %d calls in %v with a burst of %d: "+
			"Calls must be at least 1, Per at least 1ms, Burst at least 0", limit.Calls, limit.Per, limit.Burst))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Limiter{&limiter{
		config: cfg, rdb: rdb, breaker: &breaker{timeout: cfg.timeout}, key: key, limit: limit,
		turn: make(chan struct{}, 1),
	}}, nil
}

// reserveScript reserves the next time slot and returns the time until then in microseconds. It is the generic cell
// rate algorithm: the key holds the time of the next call if all calls were evenly spaced.
var reserveScript = redis.NewScript(`
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local slot = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local next = slot + interval
redis.call('SET', KEYS[1], next, 'PX', math.ceil((next - now) / 1000))
return math.max(slot - tolerance - now, 0)
`)

// Wait blocks until the next call may be made. It returns an error when the context ends, and at once if the slot is
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
	// If this caller gives up from here on, the next one uses its slot.
	wait := time.Until(l.slot)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(l.slot) {
		return fmt.Errorf("redisstore: the limit allows the next call in %v: %w",
			wait.Round(time.Millisecond), context.DeadlineExceeded)
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

// reserve reserves a slot and returns the time until then. Without Redis it does so for this process alone, or fails.
func (l *limiter) reserve(ctx context.Context) (time.Duration, error) {
	wait, err := do(ctx, l.breaker, func(ctx context.Context) (time.Duration, error) {
		us, err := reserveScript.Run(ctx, l.rdb, []string{l.key},
			l.limit.interval().Microseconds(), l.limit.tolerance().Microseconds()).Int64()
		return time.Duration(us) * time.Microsecond, err
	})
	switch {
	case err == nil:
		l.setDown(ctx, nil)
		return wait, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	}
	l.setDown(ctx, err)
	if l.failClosed {
		return 0, err
	}
	now := time.Now()
	if l.localNext.Before(now) {
		l.localNext = now
	}
	wait = max(l.localNext.Sub(now)-l.limit.tolerance(), 0)
	l.localNext = l.localNext.Add(l.limit.interval())
	return wait, nil
}

// setDown notes whether a reservation in Redis failed, and logs a change.
func (l *limiter) setDown(ctx context.Context, err error) {
	down := err != nil
	if l.down == down {
		return
	}
	l.down = down
	key := slog.String("key", l.key)
	if down {
		l.logger.LogAttrs(ctx, slog.LevelWarn, "redisstore: limiter lost Redis",
			key, slog.Bool("calls_fail", l.failClosed), slog.String("error", err.Error()))
	} else {
		l.logger.LogAttrs(ctx, slog.LevelInfo, "redisstore: limiter uses Redis again", key)
	}
}

// String returns the key and the limit.
func (l *Limiter) String() string {
	if l == nil || l.limiter == nil {
		return "redisstore.Limiter(nil)"
	}
	return fmt.Sprintf("redisstore.Limiter(%q, %d in %v)", l.key, l.limit.Calls, l.limit.Per)
}

// Format prints the result of String for every verb.
func (l *Limiter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// LogValue returns the result of String.
func (l *Limiter) LogValue() slog.Value { return slog.StringValue(l.String()) }
