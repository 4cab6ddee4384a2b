package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/wechatuser/wechatuser"
)

// classify decides what happens to a task that failed, and returns the error for the queue.
func (j *job) classify(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, wechatuser.CodeDailyQuotaExceeded):
		until := tomorrow(time.Now())
		return errors.Join(&quotaError{until}, j.blockUntil(ctx, until))
	case isFatal(err):
		// All other tasks would fail too. This one is archived with the reason, the others stay in the queue.
		return errors.Join(err, asynq.SkipRetry, j.pause(ctx, err))
	}
	return err
}

// isFatal reports whether an operator has to fix the cause.
func isFatal(err error) bool {
	if errors.Is(err, wechatuser.ErrTemporary) {
		return false
	}
	for _, class := range []error{
		wechatuser.ErrCredential, wechatuser.ErrPermission, wechatuser.ErrInvalidArgument, wechatuser.CodeInvalidTagID,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// quotaError is the error of a task that waits for the next day's quota.
type quotaError struct{ until time.Time }

func (e *quotaError) Error() string {
	return "the daily quota is exhausted, waiting until " + e.until.Format(time.RFC3339)
}

var beijing = time.FixedZone("Beijing", 8*60*60)

// tomorrow returns shortly after the next midnight in Beijing. The platform does not document when quotas are reset; if
// it is later, the next call fails and all tasks wait for another day, unless rerun is used.
func tomorrow(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 5, 0, 0, beijing)
}

// retryDelay returns the delay before a task is retried.
func retryDelay(failures int, err error, _ *asynq.Task) time.Duration {
	if quota := (*quotaError)(nil); errors.As(err, &quota) {
		return max(0, time.Until(quota.until)) + rand.N(time.Minute)
	}
	if errors.Is(err, asynq.ErrLeaseExpired) {
		return 0 // the worker died, the task is not at fault
	}
	longest := time.Second << min(failures, 9) // up to 8.5 minutes; 25 retries take 2 hours
	return longest/2 + rand.N(longest/2)
}

// isFailure reports whether a failed task uses up a retry. The death of a worker does, so that a task that crashes its
// workers is not retried forever.
func isFailure(err error) bool {
	quota := (*quotaError)(nil)
	return !errors.As(err, &quota) && !errors.Is(err, context.Canceled)
}
