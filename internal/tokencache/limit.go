package tokencache

import (
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// requestLimit limits the token requests of a cache. The first ten in a minute may be sent at once; each further one at
// least six seconds after the one before it. So there are at most twenty in any minute, and after an outage a token is
// available within seconds.
type requestLimit struct {
	sent []time.Time // within the last minute
}

const (
	limitWindow = time.Minute
	limitBurst  = 10
	limitGap    = 6 * time.Second
	limitMax    = limitBurst + int(limitWindow/limitGap)
)

// wait returns how long to wait for the next request, 0 if it may be sent now.
func (l *requestLimit) wait(now time.Time) time.Duration {
	for len(l.sent) > 0 && now.Sub(l.sent[0]) >= limitWindow {
		l.sent = l.sent[1:]
	}
	n := len(l.sent)
	if n < limitBurst {
		return 0
	}
	return max(l.sent[n-1].Add(limitGap).Sub(now), 0)
}

// take counts a request if it may be sent now. Otherwise it returns how long to wait.
func (l *requestLimit) take(now time.Time) (wait time.Duration) {
	if wait = l.wait(now); wait == 0 {
		l.sent = append(l.sent, now)
	}
	return wait
}

// LimitError reports that a cache has reached its limit of token requests.
type LimitError struct {
	Wait time.Duration // until the next request
	Last error         // of the last refresh, nil if it succeeded
}

func (e *LimitError) Error() string {
	text := fmt.Sprintf("wechatuser: no more token requests for now (%d a minute at most), the next one in %v",
		limitMax, e.Wait.Round(time.Millisecond))
	if e.Last != nil {
		text += ": " + e.Last.Error()
	}
	return text
}

// Unwrap returns Last.
func (e *LimitError) Unwrap() error { return e.Last }

// ForcedLimit limits forced fetches: WeChat allows 20 a day, and ignores one within 30 seconds of the last. The zero
// value is ready to use. It is not safe for concurrent use.
type ForcedLimit struct {
	sent []time.Time // the last ones, at most forcedPerDay
}

const (
	forcedGap    = 30 * time.Second
	forcedPerDay = 20
)

// Allowed reports whether a forced fetch is within the limits.
func (l *ForcedLimit) Allowed(now time.Time) bool {
	n := len(l.sent)
	return n == 0 ||
		now.Sub(l.sent[n-1]) >= forcedGap && (n < forcedPerDay || now.Sub(l.sent[0]) >= 24*time.Hour)
}

// Count counts a forced fetch, allowed or not.
func (l *ForcedLimit) Count(now time.Time) {
	if len(l.sent) == forcedPerDay {
		l.sent = l.sent[1:]
	}
	l.sent = append(l.sent, now)
}

// lastingFailure remembers a lasting failure and returns it in place of another fetch while its cool-down is active. So
// with a wrong secret, a thousand calls a second do not cause a thousand token requests.
type lastingFailure struct {
	backoff.Cooldown
	err error
}

func (f *lastingFailure) remember(err error, now time.Time) {
	f.Begin(now)
	f.err = err
}

// RememberedError is a lasting failure that is returned in place of another fetch.
type RememberedError struct {
	Wait time.Duration // until the next fetch
	Err  error         // of the last fetch
}

func (e *RememberedError) Error() string {
	wait := (e.Wait + time.Second - 1).Truncate(time.Second)
	return fmt.Sprintf("%v (remembered; next try in %v)", e.Err, wait)
}

// Unwrap returns Err.
func (e *RememberedError) Unwrap() error { return e.Err }
