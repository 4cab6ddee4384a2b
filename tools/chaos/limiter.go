package main

import (
	"context"
	"errors"
)

// limiter lets all calls through at once, but sometimes fails, as one does whose server is away.
type limiter struct{ *gateway }

var errLimiter = errors.New("no answer from the server of the limiter")

func (l limiter) Wait(ctx context.Context) error {
	if !l.active.Load() || !l.happens(l.limiterRate) {
		return ctx.Err()
	}
	open := ctx.Value(callKey{}).(*openCall)
	l.monitor.faultInjected(open.id, limiterError, false)
	return errLimiter
}
