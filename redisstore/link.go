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

// ErrUnavailable is what errors match that say that Redis could not be reached, did not answer in time, or is being
// left alone because of that.
var ErrUnavailable = errors.New("redisstore: Redis is unavailable")

// link is the way to Redis. It bounds each round trip, and after a failed one it spares the next callers the wait.
type link struct {
	timeout time.Duration

	mu    sync.Mutex
	err   error // of the last round trip, nil while all is well
	pause time.Duration
	until time.Time // Redis is left alone until then
}

const (
	pauseMin = time.Second
	pauseMax = 10 * time.Second
)

// over makes a round trip. Its caller waits no longer than the link's timeout and the own context.
//
// A go-redis client ignores contexts while it reads from a socket, unless it was told otherwise. Therefore f runs in a
// goroutine of its own, which is left behind if need be and ends with the client's timeout. The caller's context does
// not end f, since what f finds out about Redis is of use to the next caller.
func over[T any](ctx context.Context, l *link, f func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	probe, err := l.enter(time.Now())
	if err != nil {
		return none, err
	}
	var once sync.Once
	settle := func(err error) { once.Do(func() { l.settle(probe, err, time.Now()) }) }

	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	late := &unavailableError{cause: fmt.Errorf("no answer within %v", l.timeout)}
	stop := context.AfterFunc(limited, func() { settle(late) }) // also when the caller has left and f is stuck
	go func() {
		defer cancel()
		value, err := f(limited)
		if err = judge(err); err != nil && limited.Err() != nil {
			err = late
		}
		stop()
		settle(err)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-limited.Done():
	}
	select {
	case o := <-done: // which ends limited too
		return o.value, o.err
	default:
		settle(late)
		return none, late
	}
}

// enter says whether Redis may be asked. After a pause one caller asks, and the others go on as before until it knows.
func (l *link) enter(now time.Time) (probe bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return false, nil
	}
	if now.Before(l.until) {
		return false, &unavailableError{cause: l.err, wait: l.until.Sub(now)}
	}
	l.until = now.Add(l.timeout + time.Second)
	return true, nil
}

// settle notes what came of a round trip.
func (l *link) settle(probe bool, err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var down *unavailableError
	switch {
	case !errors.As(err, &down): // an answer, if not the one that was hoped for
		l.err, l.pause = nil, 0
	case l.err == nil || probe: // the others began before this one failed, and add nothing
		l.pause = min(max(2*l.pause, pauseMin), pauseMax)
		l.err, l.until = down.cause, now.Add(l.pause)
	}
}

// judge tells an outage from an answer that is an error, and takes what an error could show of a command out of it.
func judge(err error) error {
	var answer redis.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &answer):
		return &unavailableError{cause: err}
	}
	// "ERR unknown command 'evalsha', with args beginning with: ..." shows keys and values.
	if text, _, long := strings.Cut(err.Error(), ", with args"); long {
		err = errors.New(text)
	}
	for _, state := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"} {
		if redis.HasErrorPrefix(answer, state) {
			return &unavailableError{cause: err}
		}
	}
	return fmt.Errorf("redisstore: Redis refused a command: %w", err)
}

// unavailableError says why Redis can't be used.
type unavailableError struct {
	cause error
	wait  time.Duration // how long Redis is left alone, 0 if it was asked
}

func (e *unavailableError) Error() string {
	text := ErrUnavailable.Error()
	if e.wait > 0 {
		text += fmt.Sprintf(" and left alone for another %v", e.wait.Round(time.Millisecond))
	}
	return text + ": " + e.cause.Error()
}

func (e *unavailableError) Unwrap() error { return e.cause }

func (e *unavailableError) Is(target error) bool { return target == ErrUnavailable }
