package wechatuser

import (
	"errors"
	"fmt"
	"time"
)

// tokenBudget bounds the token requests of a client whatever happens. The first ten of a minute may come at once; after
// those, each waits a while for the one before it. So there are never more than twenty in a minute, and a platform
// that was down is found again within seconds.
type tokenBudget struct {
	sent []time.Time // within the last minute
}

const (
	budgetWindow = time.Minute
	budgetBurst  = 10
	budgetGap    = 6 * time.Second
	budgetMost   = budgetBurst + int(budgetWindow/budgetGap)
)

// wait is how long there is no request to be had.
func (b *tokenBudget) wait(now time.Time) time.Duration {
	for len(b.sent) > 0 && now.Sub(b.sent[0]) >= budgetWindow {
		b.sent = b.sent[1:]
	}
	n := len(b.sent)
	if n < budgetBurst {
		return 0
	}
	return max(b.sent[n-1].Add(budgetGap).Sub(now), 0)
}

// spend takes one request, if there is none to wait for.
func (b *tokenBudget) spend(now time.Time) (wait time.Duration) {
	if wait = b.wait(now); wait == 0 {
		b.sent = append(b.sent, now)
	}
	return wait
}

// budgetError says that the client has sent its share of token requests.
type budgetError struct {
	wait time.Duration
	last error // why the requests before were of no use, nil if they were
}

func (e *budgetError) Error() string {
	text := fmt.Sprintf("wechatuser: no more token requests for now (%d a minute at most), the next one in %v", budgetMost, e.wait.Round(time.Millisecond))
	if e.last != nil {
		text += ": " + e.last.Error()
	}
	return text
}

func (e *budgetError) Unwrap() error { return e.last }

func (e *budgetError) Is(target error) bool { return (classTemporary | classRateLimited).has(target) }

// forcedBudget bounds forced renewals: WeChat allows so many a day, and ignores those that follow too closely.
type forcedBudget struct {
	sent []time.Time // the last ones
}

const (
	forcedPause  = 30 * time.Second
	forcedPerDay = 20
)

func (b *forcedBudget) allow(now time.Time) bool {
	n := len(b.sent)
	return n == 0 || now.Sub(b.sent[n-1]) >= forcedPause && (n < forcedPerDay || now.Sub(b.sent[0]) >= 24*time.Hour)
}

func (b *forcedBudget) spend(now time.Time) {
	if len(b.sent) == forcedPerDay {
		b.sent = b.sent[1:]
	}
	b.sent = append(b.sent, now)
}

// pauses are the times for which something that fails is left alone, each twice as long as the one before.
type pauses struct {
	last time.Duration
	end  time.Time
}

const (
	pauseMin = time.Second
	pauseMax = time.Minute
)

// begin begins the next pause.
func (p *pauses) begin(now time.Time) {
	p.last = min(max(2*p.last, pauseMin), pauseMax)
	p.end = now.Add(p.last)
}

// on reports whether a pause goes on.
func (p *pauses) on(now time.Time) bool { return now.Before(p.end) }

// tokenFailure remembers that asking for a token is of no use until a person has acted or the day is over, so that a
// wrong secret under a thousand calls a second does not make a thousand token requests.
type tokenFailure struct {
	pauses
	err error
}

// remember notes a failure if it is a lasting one.
func (f *tokenFailure) remember(err error, now time.Time) {
	var refusal *Error
	if errors.As(err, &refusal) && (refusal.Code.permanentTokenFailure() || refusal.Code == CodeDailyQuotaExceeded) {
		f.begin(now)
		f.err = err
	}
}
