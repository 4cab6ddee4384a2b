package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// RetryPolicy says how often and how fast a failed call is repeated. A zero field takes its default.
//
// What is repeated is not a matter of policy: see "Retries" in the package documentation.
type RetryPolicy struct {
	// MaxAttempts is how many requests a call may send; 1 for no repeats. Defaults to 3.
	// Repeats after a renewal of the token do not count.
	MaxAttempts int
	// MinDelay is the upper bound of the first pause, which doubles with each attempt. The pause itself is random.
	// Defaults to 200 ms.
	MinDelay time.Duration
	// MaxDelay is the upper bound of all pauses. Defaults to 5 s.
	MaxDelay time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 3
	}
	if p.MinDelay == 0 {
		p.MinDelay = min(200*time.Millisecond, orMax(p.MaxDelay))
	}
	if p.MaxDelay == 0 {
		p.MaxDelay = max(5*time.Second, p.MinDelay)
	}
	return p
}

// orMax lets a MaxDelay that is not given limit nothing.
func orMax(d time.Duration) time.Duration {
	if d == 0 {
		return 1<<63 - 1
	}
	return d
}

// delay is the pause after the given attempt, counted from 1: full jitter, so that clients that failed together do not
// come back together.
func (p RetryPolicy) delay(attempt int) time.Duration {
	bound := p.MaxDelay
	if shift := attempt - 1; shift < 32 && p.MinDelay<<shift>>shift == p.MinDelay {
		bound = min(bound, p.MinDelay<<shift)
	}
	return rand.N(bound)
}

// maxRetryAfter is the longest Retry-After that a call waits for; asked to wait longer, it fails.
const maxRetryAfter = time.Minute

// verdict is what an attempt means for the next one.
type verdict int

const (
	settled      verdict = iota // a success, or an error that a repeat would not change
	notSent                     // the request never left: DNS, dial, TLS handshake
	unclear                     // sent, and no answer that tells whether it was applied
	later                       // refused for now, and not applied
	tokenRefused                // not applied; another token may do
	partial                     // some openids were not processed
)

// judgeCode is the verdict on an answer with an errcode other than 0.
func judgeCode(code Code) verdict {
	switch code {
	case CodeInvalidCredential, CodeInvalidAccessToken, CodeAccessTokenExpired:
		return tokenRefused
	case CodeSystemBusy, CodeSystemBusy1, CodeSystemBusy2:
		return unclear
	case CodeConcurrentTagging:
		return later
	case CodeSomeOpenIDsFailed:
		return partial
	}
	return settled
}

// repeatableStatus reports whether an answer that is not the platform's may be another one next time. A redirect and
// most of the 4xx are what somebody has set up, and stay.
func repeatableStatus(status int) bool {
	switch {
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return true
	default:
		return status >= 200 && status < 300
	}
}

// pause waits for d, or less where the context ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ended(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// ended is nil, or why the context is no more: its error, and its cause where that is another one.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// isEnd reports whether err is that of a context that is no more.
func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
