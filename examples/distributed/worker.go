package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/wechatuser/wechatuser"
)

// work works on tasks until ctx ends. Then it takes no more of them, and gives back those that the grace is too short
// for.
func work(ctx context.Context, j *job, cfg config, stderr io.Writer) error {
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	srv := asynq.NewServerFromRedisClient(j.rdb, asynq.Config{
		Concurrency:              cfg.tasks,
		Queues:                   map[string]int{j.queue: 1},
		RetryDelayFunc:           retryDelay,
		IsFailure:                isFailure,
		ShutdownTimeout:          cfg.grace,
		DelayedTaskCheckInterval: time.Second,
		LogLevel:                 asynq.WarnLevel,
		ErrorHandler: asynq.ErrorHandlerFunc(func(ctx context.Context, _ *asynq.Task, err error) {
			id, _ := asynq.GetTaskID(ctx)
			logger.Warn("task not done", "id", id, "error", err)
		}),
	})
	var running sync.WaitGroup
	if err := srv.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		running.Add(1)
		defer running.Done()
		return j.tag(ctx, task)
	})); err != nil {
		return err
	}
	<-ctx.Done()
	srv.Shutdown()
	running.Wait() // of a task that was given back, the calls under way
	return nil
}

// tag is the work on one task. It may be done twice: a follower who has the tag keeps it, and the second result replaces
// the first.
func (j *job) tag(ctx context.Context, task *asynq.Task) error {
	var c chunk
	if err := json.Unmarshal(task.Payload(), &c); err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	until, err := j.shutUntil(ctx)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		return &quotaError{until}
	}
	report, err := j.account.BulkTagging(ctx, c.TagID, wechatuser.OpenIDs(c.OpenIDs...))
	var bulk *wechatuser.BulkError
	switch {
	case errors.As(err, &bulk) && bulk.Err != nil:
		return j.stopped(ctx, bulk.Err)
	case err != nil && bulk == nil:
		return j.stopped(ctx, err)
	}
	// Each openid has its outcome; those that were refused would be refused again.
	runs, _ := asynq.GetRetryCount(ctx)
	return j.record(ctx, c.id(), newResult(report, runs+1))
}

// stopped decides what becomes of a task that is not done.
func (j *job) stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, wechatuser.CodeDailyQuotaExceeded):
		until := tomorrow(time.Now())
		return errors.Join(&quotaError{until}, j.shut(ctx, until))
	case isFatal(err):
		// No other task would fare better. This one keeps the reason in the archive, the others stay in the queue.
		return errors.Join(err, asynq.SkipRetry, j.pause(ctx, err))
	}
	return err
}

// isFatal reports whether somebody has to do something about it.
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

// quotaError is a task that waits for the next day's quota.
type quotaError struct{ until time.Time }

func (e *quotaError) Error() string {
	return "the day's quota is used up, waiting until " + e.until.Format(time.RFC3339)
}

var beijing = time.FixedZone("Beijing", 8*60*60)

// tomorrow is the next midnight in Beijing and a little more. The platform does not say when its day begins; if it is
// later, the first call finds out and all wait for one more day, which rerun shortens.
func tomorrow(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 5, 0, 0, beijing)
}

// retryDelay is how long a task waits until it is tried again.
func retryDelay(failures int, err error, _ *asynq.Task) time.Duration {
	if quota := (*quotaError)(nil); errors.As(err, &quota) {
		return max(0, time.Until(quota.until)) + rand.N(time.Minute)
	}
	if errors.Is(err, asynq.ErrLeaseExpired) {
		return 0 // its worker died; nothing is wrong with the task
	}
	longest := time.Second << min(failures, 9) // 8.5 minutes; with 25 retries that is 2 hours
	return longest/2 + rand.N(longest/2)
}

// isFailure reports whether an attempt counts as one of the task's retries. A worker that died counts, so that a task
// that kills its workers comes to an end.
func isFailure(err error) bool {
	quota := (*quotaError)(nil)
	return !errors.As(err, &quota) && !errors.Is(err, context.Canceled)
}
