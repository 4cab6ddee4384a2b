package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
