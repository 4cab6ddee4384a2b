package redisstore

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage logs when a limiter loses Redis, at most one warning a minute with the number of failures since the last one,
// and when it uses Redis again.
type outage struct {
	logger    *slog.Logger
	key       string
	callsFail bool

	mu       sync.Mutex
	failures int       // not logged yet
	warned   time.Time // zero if never
	logged   bool      // a warning of this outage was logged
}

const warnInterval = time.Minute

// note records and logs the outcome of a reservation.
func (o *outage) note(ctx context.Context, err error, now time.Time) {
	key := slog.String("key", o.key)
	if err == nil {
		if o.end() {
			o.logger.LogAttrs(ctx, slog.LevelInfo, "redisstore: limiter uses Redis again", key)
		}
		return
	}
	if failures := o.count(now); failures > 0 {
		o.logger.LogAttrs(ctx, slog.LevelWarn, "redisstore: limiter lost Redis", key,
			slog.Bool("calls_fail", o.callsFail), slog.Int("failures", failures), slog.String("error", err.Error()))
	}
}

// count counts a failure. It returns how many failures to log now: 0 within a minute of the last warning.
func (o *outage) count(now time.Time) (failures int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures++
	if !o.warned.IsZero() && now.Sub(o.warned) < warnInterval {
		return 0
	}
	failures, o.failures, o.warned, o.logged = o.failures, 0, now, true
	return failures
}

// end ends an outage. It reports whether a warning of it was logged.
func (o *outage) end() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	logged := o.logged
	o.logged = false
	return logged
}
