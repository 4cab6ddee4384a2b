package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Limit is the number of calls allowed in a period.
type Limit struct {
	Calls int           // at least 1
	Per   time.Duration // at least 1 millisecond
	// Burst is the number of calls that may be made at once after a pause. With 0 or 1, calls are evenly spaced, and
	// there are at most Calls of them in any period Per. If calls are made late, there may be one more, or as many more
	// as a tenth of a second allows. A larger Burst allows up to Burst-1 more.
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

// keep is how long after its time a reserved place may be used. Late use adds at most the calls of that time to a
// period Per.
func (l Limit) keep() time.Duration { return max(l.interval(), 100*time.Millisecond) }

// maxAhead is the longest plausible time until a place. A longer one is a fault, such as a key written by another
// program, and must not stall the callers.
func (l Limit) maxAhead() time.Duration { return max(3*l.Per, 100*l.interval()) }

// Limiter is a [wechatuser.Limiter] shared by all processes. Pass it to each client with [wechatuser.WithLimiter].
//
// A place is a time at which one call may be made. A process reserves places in Redis for its callers, which use them
// in order. It holds one place at a time, and more only if round trips take longer than the interval between places. So
// processes take turns, however many callers each of them has. A place that is too late for its caller is used by the
// next one. A Limiter is safe for concurrent use and needs no Close.
type Limiter struct {
	*limiter // a pointer, so that printing a copy of a Limiter shows no secret
}

type limiter struct {
	*config
	rdb     redis.UniversalClient
	breaker *breaker
	key     string
	limit   Limit

	turn    chan struct{} // a mutex, held by the caller who is the next to get a place
	callers atomic.Int32  // in Wait

	mu        sync.Mutex    // guards the fields below
	places    []time.Time   // reserved and not used yet, ascending
	pending   *reservation  // in progress, nil for none
	roundTrip time.Duration // how long a reservation takes, smoothed
	localNext time.Time     // the next evenly spaced call of this process, if there is no Redis
	down      bool          // the last reservation was made without Redis, or failed

	outage outage
}

// reservation is a reservation in progress. It serves all callers, not only the one that started it.
type reservation struct {
	done chan struct{}
	err  error // set before done is closed
}

// maxPlaces is the largest number of places that a process holds.
const maxPlaces = 100

var _ wechatuser.Limiter = (*Limiter)(nil)

// NewLimiter returns a limiter that keeps its state in Redis under key, the full name of the Redis key. Use one key for
// each account and quota. It sends no request and starts no goroutine. All processes should use the same limit. The
// limiter uses the clock of Redis and needs Redis 5 or later; setting that clock back or forward does not stall it.
//
// While Redis is down each process keeps to the limit on its own, or to a share of it with [WithFallbackShare], or
// calls fail with [WithFailClosed]. [Limiter.Check] reports whether the limiter can be used.
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
		config: cfg, rdb: rdb, breaker: newBreaker(cfg, rdb), key: key, limit: limit, turn: make(chan struct{}, 1),
		outage: outage{logger: cfg.logger, key: key, callsFail: cfg.failClosed},
	}}, nil
}

// reserveScript reserves places and returns the time until the first of them in microseconds. It is the generic cell
// rate algorithm: the key holds the time of the next evenly spaced place, and the time when the key was written. If the
// latter is in the future, the clock was set back, and the place is moved back by the same amount.
var reserveScript = redis.NewScript(`
local interval, count, max_ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place, written = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
place, written = tonumber(place) or now, tonumber(written) or now
place = place - math.max(written - now, 0)
if place < now or place > now + max_ahead then
  place = now
end
local next = place + interval * count
redis.call('SET', KEYS[1], string.format('%.0f %.0f', next, now), 'PX', math.max(math.ceil((next - now) / 1000), 1))
return place - now
`)

// Wait blocks until the next call may be made. It returns an error when the context ends. It fails at once if the next
// place is too late for the context's deadline: see [WithMargin].
//
// While Redis is down it keeps to the limit in this process alone, or fails with [ErrUnavailable]: see
// [WithFailClosed].
func (l *Limiter) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	end := l.end(ctx)
	l.callers.Add(1)
	defer l.callers.Add(-1)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	place, err := l.first(ctx)
	if err != nil {
		return err
	}
	// If this caller leaves after this point, the next one uses its place.
	wait := max(time.Until(place), 0)
	if !end.IsZero() && time.Now().Add(wait).After(end) {
		return fmt.Errorf("redisstore: the limit allows the next call in %v, too late before the deadline: %w",
			wait.Round(time.Millisecond), context.DeadlineExceeded)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		l.use(ctx)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Degraded reports whether the limiter works without Redis: the last place was reserved in this process alone, so the
// limit is not shared, or could not be reserved with [WithFailClosed]. It makes no request. A metric of it shows an
// outage, as otelwechatuser.Limiter records one.
func (l *Limiter) Degraded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// end returns the latest usable time of a place, or the zero time if ctx has no deadline.
func (l *limiter) end(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return deadline.Add(-min(l.margin, max(time.Until(deadline), 0)/2))
}

// first returns the first place. It reserves one if there is none.
func (l *limiter) first(ctx context.Context) (time.Time, error) {
	for {
		place, r := l.firstOrReservation(ctx)
		if r == nil {
			return place, nil
		}
		select {
		case <-r.done:
			if r.err != nil {
				return time.Time{}, r.err
			}
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// firstOrReservation returns the first place, or a reservation in progress if there is none.
func (l *limiter) firstOrReservation(ctx context.Context) (time.Time, *reservation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for oldest := time.Now().Add(-l.limit.keep()); len(l.places) > 0 && l.places[0].Before(oldest); {
		l.places = l.places[1:] // nobody used it
	}
	if len(l.places) > 0 {
		return l.places[0], nil
	}
	if l.pending == nil {
		l.reserve(ctx, l.wanted())
	}
	return time.Time{}, l.pending
}

// use removes the first place, and reserves the places that the next callers need soon.
func (l *limiter) use(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = l.places[1:]
	others := int(l.callers.Load()) - 1
	if n := min(l.wanted(), others) - len(l.places); n > 0 && l.pending == nil && !l.down {
		l.reserve(ctx, n)
	}
}

// wanted returns how many places the callers need while a reservation is in progress, at least one.
func (l *limiter) wanted() int {
	n := 1 + int(2*l.roundTrip/l.limit.interval())
	return max(min(n, int(l.callers.Load()), maxPlaces), 1)
}

// reserve starts a reservation of n places. The caller holds l.mu. The end of ctx does not cancel the reservation,
// since places that are reserved and not used are lost to all processes.
func (l *limiter) reserve(ctx context.Context, n int) {
	r := &reservation{done: make(chan struct{})}
	l.pending = r
	ctx = context.WithoutCancel(ctx)
	go func() {
		start := time.Now()
		wait, err := l.runScript(ctx, do[time.Duration], n)
		l.complete(r, n, wait, err, time.Since(start))
		l.outage.note(ctx, err, time.Now()) // a log handler may wait for the limiter itself
	}()
}

// complete adds the places of a reservation. Without Redis it adds one for this process alone, or none.
func (l *limiter) complete(r *reservation, n int, wait time.Duration, err error, roundTrip time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.down = err != nil
	switch {
	case !l.down:
		l.roundTrip += (roundTrip - l.roundTrip) / 4
		l.add(now, now.Add(wait), l.limit, n)
	case l.failClosed:
		r.err = err
	default:
		share := Limit{l.limit.Calls, l.limit.Per * time.Duration(l.processes), l.limit.Burst / l.processes}
		l.add(now, latest(now, l.localNext), share, 1)
	}
	l.pending = nil
	close(r.done)
}

// add adds n places. first is the time of the first one if calls are evenly spaced.
func (l *limiter) add(now, first time.Time, limit Limit, n int) {
	for range n {
		l.places = append(l.places, latest(now, first.Add(-limit.tolerance())))
		first = first.Add(limit.interval())
	}
	l.localNext = first
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// runScript reserves n places and returns the time until the first of them.
func (l *limiter) runScript(ctx context.Context, trip tripFunc[time.Duration], n int) (time.Duration, error) {
	interval := l.limit.interval().Microseconds()
	return runScript(ctx, l.breaker, trip, reserveScript, l.rdb, l.key,
		[]any{interval, n, l.limit.maxAhead().Microseconds()}, func(cmd *redis.Cmd) (time.Duration, error) {
			us, err := cmd.Int64()
			return time.Duration(us) * time.Microsecond, err
		})
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
