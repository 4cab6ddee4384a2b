package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnavailable is matched by errors that report that Redis could not be reached, did not respond in time, or failed
// so recently that it is not used yet.
var ErrUnavailable = errors.New("redisstore: Redis is unavailable")

// breaker is a circuit breaker for Redis. It limits the time of each round trip. After a failure it is open for a
// cooldown, during which round trips fail at once.
type breaker struct {
	timeout  time.Duration // of a round trip on an existing connection
	connect  time.Duration // added to it if a connection has to be opened
	connects func() uint32 // how many connections had to be opened so far; nil for a client without a pool
	onOutage func()        // called after each failure; may be nil

	mu        sync.Mutex
	cause     error // why the breaker is open, nil while it is closed
	cooldown  time.Duration
	openUntil time.Time
}

const (
	cooldownMin = time.Second
	cooldownMax = 10 * time.Second

	requiredPauseMin = 50 * time.Millisecond // between the attempts of doRequired, doubled each time
	requiredPauseMax = time.Second
)

func newBreaker(cfg *config, rdb redis.UniversalClient) *breaker {
	b := &breaker{
		timeout: cfg.timeout, connect: cfg.connectTimeout,
		connects: func() uint32 { return rdb.PoolStats().Misses },
	}
	// A Cluster client learns of a failover from the other nodes, which it queries once a minute by default.
	if cluster, ok := rdb.(interface{ ReloadState(context.Context) }); ok {
		b.onOutage = func() { cluster.ReloadState(context.Background()) }
	}
	return b
}

// tripFunc makes a round trip, as do and doRequired do.
type tripFunc[T any] func(context.Context, *breaker, func(context.Context) (T, error)) (T, error)

// do runs f, which makes a round trip. It returns after the breaker's timeout or when ctx ends, whichever is first.
//
// A go-redis client ignores contexts while it reads from a socket, unless ContextTimeoutEnabled is set. So f runs in
// its own goroutine, which may outlive do and ends with the client's timeout. The end of ctx does not stop f, since its
// result tells the next caller whether Redis is available. For the same reason f has time to open a connection even if
// do has returned.
func do[T any](ctx context.Context, b *breaker, f func(context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	probe, err := b.allow(time.Now())
	if err != nil {
		var zero T
		return zero, err
	}
	t := startTrip(ctx, b, probe, f)
	go t.watch()
	if probe {
		return t.wait(ctx, t.slow) // Redis was down a moment ago: the caller need not wait for a connection
	}
	return t.wait(ctx, t.expired)
}

// doOnce is do for a caller who needs Redis. It ignores an open breaker and waits for a slow response. It returns when
// f returns, when the time for a connection and a response has passed, or when ctx ends.
func doOnce[T any](ctx context.Context, b *breaker, f func(context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	t := startTrip(ctx, b, false, f)
	return t.wait(ctx, t.ctx.Done())
}

// doRequired retries doOnce until Redis responds or ctx ends.
func doRequired[T any](ctx context.Context, b *breaker, f func(context.Context) (T, error)) (T, error) {
	var outage error
	for pause := requiredPauseMin; ; pause = min(2*pause, requiredPauseMax) {
		value, err := doOnce(ctx, b, f)
		switch {
		case errors.Is(err, ErrUnavailable):
			outage = err
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		case err != nil && outage != nil && ctx.Err() != nil:
			return value, fmt.Errorf("%w: %w", outage, ctx.Err())
		default:
			return value, err
		}
	}
}

// roundTrip is a round trip in progress.
type roundTrip[T any] struct {
	breaker *breaker
	probe   bool
	ctx     context.Context // of f, ended when f has returned
	before  uint32          // connections made so far

	done    chan result[T]
	slow    chan struct{} // closed when the time for a response is over
	expired chan struct{} // closed when the time for a connection and a response is over
	cause   error         // set before expired is closed
	once    sync.Once     // records the outcome
}

type result[T any] struct {
	value T
	err   error
}

func startTrip[T any](ctx context.Context, b *breaker, probe bool, f func(context.Context) (T, error)) *roundTrip[T] {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout+b.connect)
	t := &roundTrip[T]{
		breaker: b, probe: probe, ctx: limited, before: b.connections(),
		done: make(chan result[T], 1), slow: make(chan struct{}), expired: make(chan struct{}),
	}
	go func() {
		value, err := f(limited)
		if err = classify(err); err != nil && limited.Err() != nil {
			err = t.timeoutError(b.timeout + b.connect)
		}
		t.record(err)
		t.done <- result[T]{value, err}
		cancel()
	}()
	return t
}

// wait returns the result of f, or an error if leave is closed or ctx ends first.
func (t *roundTrip[T]) wait(ctx context.Context, leave <-chan struct{}) (value T, err error) {
	select {
	case r := <-t.done:
		return r.value, r.err
	case <-ctx.Done():
		return value, ctx.Err()
	case <-leave:
	}
	select {
	case r := <-t.done: // t.ctx ends after the result
		return r.value, r.err
	case <-t.expired:
		return value, t.cause
	default:
	}
	err = t.timeoutError(t.breaker.timeout)
	if t.ctx.Err() != nil { // f ignores its context
		err = t.timeoutError(t.breaker.timeout + t.breaker.connect)
		t.record(err)
	}
	return value, err
}

// watch records a failure if f does not return in time, even if do has returned.
func (t *roundTrip[T]) watch() {
	limit := t.breaker.timeout
	if !runFor(limit, t.ctx.Done()) {
		return
	}
	close(t.slow)
	if t.breaker.connections() != t.before {
		limit += t.breaker.connect
		if !runFor(t.breaker.connect, t.ctx.Done()) {
			return
		}
	}
	t.cause = t.timeoutError(limit)
	t.record(t.cause)
	close(t.expired)
}

func (t *roundTrip[T]) timeoutError(limit time.Duration) error {
	return &unavailableError{cause: fmt.Errorf("no response within %v", limit)}
}

func (t *roundTrip[T]) record(err error) {
	t.once.Do(func() { t.breaker.record(t.probe, err, time.Now()) })
}

// runFor waits until d is over and reports true, or until done is closed and reports false.
//
// It counts ticks. A late tick counts as one, however late it is: while the machine was busy or this process was
// suspended, Redis may have responded without the response being read.
func runFor(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d / ticks)
	defer timer.Stop()
	return countTicks(timer.C, func() { timer.Reset(d / ticks) }, done)
}

const ticks = 10

// countTicks waits for all ticks, or reports false if done is closed before the last one. It calls next after each.
func countTicks(tick <-chan time.Time, next func(), done <-chan struct{}) bool {
	for range ticks {
		select {
		case <-tick:
			next()
		case <-done:
			return false
		}
	}
	return true
}

func (b *breaker) connections() uint32 {
	if b.connects == nil {
		return 0
	}
	return b.connects()
}

// allow returns an error if no round trip may start. After the cooldown it lets one caller through to probe Redis; the
// others keep failing until the result of the probe is recorded.
func (b *breaker) allow(now time.Time) (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return false, nil
	}
	if now.Before(b.openUntil) {
		return false, &unavailableError{cause: b.cause, wait: b.openUntil.Sub(now)}
	}
	b.openUntil = now.Add(b.timeout + b.connect + time.Second)
	return true, nil
}

// record opens or closes the breaker after a round trip that ended with err.
func (b *breaker) record(probe bool, err error, now time.Time) {
	var unavailable *unavailableError
	failed := errors.As(err, &unavailable)
	if failed && b.onOutage != nil {
		b.onOutage()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !failed: // Redis responded, if only with an error
		b.cause, b.cooldown = nil, 0
	case b.cause == nil || probe: // other failures belong to round trips that began before the breaker opened
		b.cooldown = min(max(2*b.cooldown, cooldownMin), cooldownMax)
		b.cause, b.openUntil = unavailable.cause, now.Add(b.cooldown)
	}
}

// classify distinguishes an outage from a command that Redis rejected. It removes the arguments of commands from error
// texts.
func classify(err error) error {
	var redisErr redis.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &redisErr):
		return &unavailableError{cause: err}
	}
	// "ERR unknown command 'evalsha', with args beginning with: ..." quotes keys and values.
	if text, _, found := strings.Cut(err.Error(), ", with args"); found {
		err = errors.New(text)
	}
	for _, state := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"} {
		if hasCode(redisErr, state) {
			return &unavailableError{cause: err}
		}
	}
	return fmt.Errorf("redisstore: Redis rejected a command: %w", err)
}

// hasCode reports whether an error of Redis has that code. If a command fails in a script, Redis before version 7 puts
// its code into the text of another error.
func hasCode(err error, code string) bool {
	return redis.HasErrorPrefix(err, code) || strings.Contains(err.Error(), ": -"+code+" ")
}

// unavailableError reports why Redis can't be used.
type unavailableError struct {
	cause error
	wait  time.Duration // until the next probe, 0 if this is the error of a round trip
}

func (e *unavailableError) Error() string {
	text := ErrUnavailable.Error()
	if e.wait > 0 {
		text += fmt.Sprintf(", next attempt in %v", e.wait.Round(time.Millisecond))
	}
	return text + ": " + e.cause.Error()
}

func (e *unavailableError) Unwrap() error { return e.cause }

func (e *unavailableError) Is(target error) bool { return target == ErrUnavailable }
