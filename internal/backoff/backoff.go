// Package backoff provides the waits of the SDK: growing random delays, doubling cool-downs, and a sleep that ends with
// its context.
package backoff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Delay returns a random delay before the given retry, counted from 1: up to base for the first one, twice as much for
// each further one, and never more than limit. So clients that failed together do not retry together ("full jitter").
func Delay(base, limit time.Duration, retry int) time.Duration {
	bound := limit
	if shift := retry - 1; shift >= 0 && shift < 32 && base<<shift>>shift == base {
		bound = min(bound, base<<shift)
	}
	return rand.N(bound)
}

// Sleep waits for d. It returns early, with the error of [ContextErr], when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ContextErr(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ContextErr(ctx)
	}
}

// ContextErr returns nil until ctx ends. Then it returns the error of ctx, and wraps its cause too if that is another
// error.
func ContextErr(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// IsContextErr reports whether err comes from a context that ended.
func IsContextErr(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Cooldown is a time during which something that failed is not tried: a second at first, then twice as long each time,
// up to a minute. The zero value is not active.
type Cooldown struct {
	last time.Duration
	end  time.Time
}

const (
	minCooldown = time.Second
	maxCooldown = time.Minute
)

// Begin starts the next cool-down.
func (c *Cooldown) Begin(now time.Time) {
	c.last = min(max(2*c.last, minCooldown), maxCooldown)
	c.end = now.Add(c.last)
}

// Active reports whether the cool-down still lasts.
func (c *Cooldown) Active(now time.Time) bool { return now.Before(c.end) }

// Left returns how long the cool-down still lasts; it is 0 or negative if the cool-down is not active.
func (c *Cooldown) Left(now time.Time) time.Duration { return c.end.Sub(now) }
