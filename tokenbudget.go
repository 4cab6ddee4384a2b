package wechatuser

import (
	"errors"
	"fmt"
	"time"
)

// tokenBudget bounds the token requests of a client whatever happens. The first ten of a minute may come at once;
// the other ten are kept apart, so that a platform that was down for a while is found again within seconds.
type tokenBudget struct {
	sent []time.Time // within the last minute
}

const (
	budgetWindow = time.Minute
	budgetBurst  = 10
	budgetMost   = 20
	budgetGap    = budgetWindow / budgetBurst
)

// spend takes one request and gives 0, or says how long to wait for one.
func (b *tokenBudget) spend(now time.Time) time.Duration {
	for len(b.sent) > 0 && now.Sub(b.sent[0]) >= budgetWindow {
		b.sent = b.sent[1:]
	}
	n := len(b.sent)
	var next time.Time
	switch {
	case n >= budgetMost:
		next = b.sent[0].Add(budgetWindow)
	case n >= budgetBurst:
		next = b.sent[n-1].Add(budgetGap)
	}
	if now.Before(next) {
		return next.Sub(now)
	}
	b.sent = append(b.sent, now)
	return 0
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

// tokenFailure remembers that asking for a token is of no use until a person has acted, so that a wrong secret under
// a thousand calls a second does not make a thousand token requests.
type tokenFailure struct {
	err   error
	pause time.Duration
	until time.Time
}

const (
	failurePauseMin = time.Second
	failurePauseMax = time.Minute
)

// remember notes a failure if it is a lasting one. Each in a row is remembered for twice as long.
func (f *tokenFailure) remember(err error, now time.Time) {
	var refusal *Error
	if !errors.As(err, &refusal) || !refusal.Code.permanentTokenFailure() {
		return
	}
	f.pause = min(max(2*f.pause, failurePauseMin), failurePauseMax)
	f.err, f.until = err, now.Add(f.pause)
}

// remembered is the failure as long as it is remembered.
func (f *tokenFailure) remembered(now time.Time) error {
	if f.err == nil || !now.Before(f.until) {
		return nil
	}
	return f.err
}
