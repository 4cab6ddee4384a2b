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

// ErrUnavailable matches errors that report that Redis could not be reached, did not respond in time, or is not used
// for a few seconds after such a failure.
var ErrUnavailable = errors.New("redisstore: Redis is unavailable")

// breaker is a circuit breaker for Redis. It limits the time of each round trip. After a failed one it is open: for a
// cooldown, round trips fail at once.
type breaker struct {
	timeout time.Duration

	mu        sync.Mutex
	cause     error // why the breaker is open, nil while it is closed
	cooldown  time.Duration
	openUntil time.Time
}

const (
	cooldownMin = time.Second
	cooldownMax = 10 * time.Second
)

// do runs f, which makes a round trip. It returns after the breaker's timeout or when ctx ends, whichever is first.
//
// A go-redis client ignores contexts while it reads from a socket, unless it is configured otherwise. So f runs in its
// own goroutine, which may outlive do and ends with the client's timeout. The end of ctx does not stop f, since its
// result says whether Redis is available and so is of use to the next caller.
func do[T any](ctx context.Context, b *breaker, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	probe, err := b.allow(time.Now())
	if err != nil {
		return zero, err
	}
	var once sync.Once
	record := func(err error) { once.Do(func() { b.record(probe, err, time.Now()) }) }

	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
	timeoutErr := &unavailableError{cause: fmt.Errorf("no response within %v", b.timeout)}
	// The timeout is recorded even if the caller has left and f is stuck.
	stop := context.AfterFunc(limited, func() { record(timeoutErr) })
	go func() {
		defer cancel()
		value, err := f(limited)
		if err = classify(err); err != nil && limited.Err() != nil {
			err = timeoutErr
		}
		stop()
		record(err)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-limited.Done():
	}
	select {
	case r := <-done: // the goroutine cancels limited after its result
		return r.value, r.err
	default:
		record(timeoutErr)
		return zero, timeoutErr
	}
}

// allow reports whether a round trip may start, with an error if not. After the cooldown it lets one caller through to
// probe Redis; the others keep failing until the result of the probe is recorded.
func (b *breaker) allow(now time.Time) (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return false, nil
	}
	if now.Before(b.openUntil) {
		return false, &unavailableError{cause: b.cause, wait: b.openUntil.Sub(now)}
	}
	b.openUntil = now.Add(b.timeout + time.Second)
	return true, nil
}

// record opens or closes the breaker after a round trip that ended with err.
func (b *breaker) record(probe bool, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var unavailable *unavailableError
	switch {
	case !errors.As(err, &unavailable): // Redis responded, if only with an error
		b.cause, b.cooldown = nil, 0
	case b.cause == nil || probe: // other failures are of round trips that began before the breaker opened
		b.cooldown = min(max(2*b.cooldown, cooldownMin), cooldownMax)
		b.cause, b.openUntil = unavailable.cause, now.Add(b.cooldown)
	}
}

// classify tells an outage from a command that Redis rejected. It removes the arguments of commands from error texts.
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
		if redis.HasErrorPrefix(redisErr, state) {
			return &unavailableError{cause: err}
		}
	}
	return fmt.Errorf("redisstore: Redis rejected a command: %w", err)
}

// unavailableError says why Redis can't be used.
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
