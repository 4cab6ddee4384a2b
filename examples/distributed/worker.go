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
	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// work processes tasks until ctx is done. Then it takes no more tasks, and those that do not complete within the grace
// period return to the queue.
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
			logger.Warn("task failed", "id", id, "error", err)
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
	running.Wait() // for calls in flight of tasks that were returned
	return nil
}

// tag processes one task. It may run twice: a follower who has the tag keeps it, and the second result replaces the
// first.
func (j *job) tag(ctx context.Context, task *asynq.Task) error {
	id := string(task.Payload())
	data, err := j.rdb.HGet(ctx, j.key("openids"), id).Bytes()
	if errors.Is(err, redis.Nil) {
		return j.withoutOpenIDs(ctx, id)
	}
	if err != nil {
		return err
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	until, err := j.blockedUntil(ctx)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		return &quotaError{until}
	}
	report, err := j.account.BulkTagging(ctx, c.TagID, wechatuser.OpenIDs(c.OpenIDs...))
	var bulk *wechatuser.BulkError
	switch {
	case errors.As(err, &bulk) && bulk.Stopped():
		return j.classify(ctx, bulk.Err)
	case err != nil && bulk == nil:
		return j.classify(ctx, err)
	}
	// Each openid has its outcome; there is no point in retrying the rejected ones.
	runs, _ := asynq.GetRetryCount(ctx)
	return j.record(ctx, id, newResult(report, runs+1))
}

// withoutOpenIDs returns the error of a task whose openids are not stored: nil if it is done.
func (j *job) withoutOpenIDs(ctx context.Context, id string) error {
	done, err := j.isDone(ctx, id)
	if err == nil && !done {
		err = fmt.Errorf("the openids of chunk %s are lost, run the producer again: %w", id, asynq.SkipRetry)
	}
	return err
}

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
