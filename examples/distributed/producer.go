package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// produce creates tasks for all openids. If it is killed, the next run resumes.
func produce(ctx context.Context, j *job, cfg config, stdout io.Writer) error {
	cur, err := j.cursor(ctx)
	if err != nil {
		return err
	}
	if cur.complete {
		fmt.Fprintf(stdout, "All tasks of this job exist: %d openids. For another job, use another -job.\n", cur.openIDs)
		return nil
	}
	tag, err := j.account.EnsureTag(ctx, cfg.tag)
	if err != nil {
		return err
	}
	openIDs := j.account.AllFans(ctx, wechatuser.StartAfter(cur.after))
	if cfg.file != "" {
		openIDs = lines(cfg.file, cur.openIDs)
	}
	p := &producer{job: j, client: asynq.NewClientFromRedisClient(j.rdb), cur: cur}
	if err := p.enqueueAll(ctx, tag.ID, cfg.chunk, openIDs); err != nil {
		return fmt.Errorf("stopped after %d openids: %w\nTo resume, run it again with the same arguments", p.cur.openIDs, err)
	}
	fmt.Fprintf(stdout, "Queued %d openids for tag %d.\n", p.cur.openIDs, tag.ID)
	return nil
}

// lines returns the openids of a file after the first skip ones.
func lines(name string, skip int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, err := os.Open(name)
		if err != nil {
			yield("", err)
			return
		}
		defer f.Close()
		in := bufio.NewScanner(f)
		for n := 0; in.Scan(); {
			id := strings.TrimSpace(in.Text())
			if id == "" {
				continue
			}
			if n++; n > skip && !yield(id, nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield("", err)
		}
	}
}

// cursor is the progress of the producer.
type cursor struct {
	after    string // the last openid
	openIDs  int
	complete bool
}

func (j *job) cursor(ctx context.Context) (c cursor, err error) {
	fields, err := j.rdb.HGetAll(ctx, j.key("place")).Result()
	if err != nil || len(fields) == 0 {
		return c, err
	}
	c.after, c.complete = fields["after"], fields["complete"] == "1"
	c.openIDs, err = strconv.Atoi(fields["openids"])
	return c, err
}

type producer struct {
	*job
	client *asynq.Client
	cur    cursor
}

func (p *producer) enqueueAll(ctx context.Context, tagID, size int, openIDs iter.Seq2[string, error]) error {
	c := chunk{TagID: tagID}
	for id, err := range openIDs {
		if err != nil {
			return err
		}
		if c.OpenIDs = append(c.OpenIDs, id); len(c.OpenIDs) == size {
			if err := p.enqueue(ctx, c); err != nil {
				return err
			}
			c.OpenIDs = c.OpenIDs[:0]
		}
	}
	if len(c.OpenIDs) > 0 {
		if err := p.enqueue(ctx, c); err != nil {
			return err
		}
	}
	p.cur.complete = true
	return p.rdb.HSet(ctx, p.key("place"), "openids", p.cur.openIDs, "complete", 1).Err()
}

// enqueue adds the task to the queue and then records it. If the producer dies in between, it enqueues the task again
// later: the task has the same ID, or is known to be done.
func (p *producer) enqueue(ctx context.Context, c chunk) error {
	known, err := p.rdb.HExists(ctx, p.key("chunks"), c.id()).Result()
	if err != nil {
		return err
	}
	if !known {
		task, err := c.task(p.queue)
		if err != nil {
			return err
		}
		if _, err := p.client.EnqueueContext(ctx, task); err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
			return err
		}
	}
	p.cur.after = c.OpenIDs[len(c.OpenIDs)-1]
	p.cur.openIDs += len(c.OpenIDs)
	_, err = p.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSetNX(ctx, p.key("chunks"), c.id(), encode(result{OpenIDs: len(c.OpenIDs)})) // unless there is a result
		tx.HSet(ctx, p.key("place"), "after", p.cur.after, "openids", p.cur.openIDs)
		return nil
	})
	return err
}
