package wechatuser

import (
	"math"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// RetryPolicy is how often and how fast failed calls are retried. A zero field takes its default.
//
// Which failures are retried is not part of the policy: see "Retries" in the package documentation.
type RetryPolicy struct {
	// MaxAttempts is how many attempts a call may make; 1 means no retries. Defaults to 3.
	// A retry with a new token, after the platform rejected the old one, does not count.
	MaxAttempts int
	// MinDelay is the upper bound of the first pause. The bound doubles with each retry, and the pause itself is
	// random. Defaults to 200 ms.
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

// orMax returns d, or no limit if d is 0.
func orMax(d time.Duration) time.Duration {
	if d == 0 {
		return math.MaxInt64
	}
	return d
}

// delay returns the pause before the given retry, counted from 1.
func (p RetryPolicy) delay(retry int) time.Duration {
	return backoff.Delay(p.MinDelay, p.MaxDelay, retry)
}

// maxRetryAfter is the longest Retry-After that a call waits for. Asked to wait longer, it fails.
const maxRetryAfter = time.Minute

// retryableStatus reports whether a retry may help after a response that is not the platform's. Redirects and most 4xx
// come from the configuration, and remain.
func retryableStatus(status int) bool {
	switch {
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return true
	default:
		return status >= 200 && status < 300
	}
}
