package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// rerun resumes all tasks that have failed or are waiting, and recreates those that are lost.
func (j *job) rerun(ctx context.Context, out io.Writer) error {
	if err := j.rdb.Del(ctx, j.key("shut"), j.key("paused")).Err(); err != nil {
		return err
	}
	lost, err := j.restore(ctx)
	if err != nil {
		return err
	}
	if lost > 0 {
		fmt.Fprintf(out, "%d lost tasks were recreated.\n", lost)
	}
	info, err := j.inspect.GetQueueInfo(j.queue)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return nil // there is no task
	}
	if err != nil {
		return err
	}
	if info.Paused {
		err = j.inspect.UnpauseQueue(j.queue)
	}
	_, archived := j.inspect.RunAllArchivedTasks(j.queue)
	_, waiting := j.inspect.RunAllRetryTasks(j.queue)
	return errors.Join(err, archived, waiting)
}

// restore recreates the tasks of open chunks that are missing from the queue, because Redis has evicted them or
// somebody has deleted them. It returns their number.
func (j *job) restore(ctx context.Context) (lost int, err error) {
	ids, err := j.rdb.HKeys(ctx, j.key("openids")).Result()
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if task, err := j.inspect.GetTaskInfo(j.queue, id); err == nil && task.ID == id { // otherwise its data is lost
			continue
		}
		if err := j.forget(ctx, id); err != nil {
			return lost, err
		}
		if err := j.enqueue(ctx, id); err != nil {
			return lost, err
		}
		lost++
	}
	return lost, nil
}

// forget removes what is left of a task whose data is lost: its ID is still in one of the lists of asynq.
func (j *job) forget(ctx context.Context, id string) error {
	prefix := "asynq:{" + j.queue + "}:"
	_, err := j.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.Del(ctx, prefix+"t:"+id)
		for _, list := range []string{"pending", "active"} {
			tx.LRem(ctx, prefix+list, 0, id)
		}
		for _, set := range []string{"lease", "scheduled", "retry", "archived"} {
			tx.ZRem(ctx, prefix+set, id)
		}
		return nil
	})
	return err
}
