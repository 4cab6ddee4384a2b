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

// produce makes tasks of all openids. Killed and started again, it goes on where it was.
func produce(ctx context.Context, j *job, cfg config, stdout io.Writer) error {
	at, err := j.place(ctx)
	if err != nil {
		return err
	}
	if at.complete {
		fmt.Fprintf(stdout, "All tasks of this job are made: %d openids. For another job, give another -job.\n", at.openIDs)
		return nil
	}
	tag, err := j.account.EnsureTag(ctx, cfg.tag)
	if err != nil {
		return err
	}
	openIDs := j.account.AllFans(ctx, wechatuser.StartAfter(at.after))
	if cfg.file != "" {
		openIDs = lines(cfg.file, at.openIDs)
	}
	p := &producer{job: j, client: asynq.NewClientFromRedisClient(j.rdb), at: at}
	if err := p.enqueueAll(ctx, tag.ID, cfg.chunk, openIDs); err != nil {
		return fmt.Errorf("stopped after %d openids: %w\nStart it again with the same arguments to go on", p.at.openIDs, err)
	}
	fmt.Fprintf(stdout, "%d openids are in the queue, for tag %d.\n", p.at.openIDs, tag.ID)
	return nil
}

// lines are the openids of a file behind the first so many.
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

// place is how far the producer has come.
type place struct {
	after    string // the last openid
	openIDs  int
	complete bool
}

func (j *job) place(ctx context.Context) (p place, err error) {
	fields, err := j.rdb.HGetAll(ctx, j.key("place")).Result()
	if err != nil || len(fields) == 0 {
		return p, err
	}
	p.after, p.complete = fields["after"], fields["complete"] == "1"
	p.openIDs, err = strconv.Atoi(fields["openids"])
	return p, err
}

type producer struct {
	*job
	client *asynq.Client
	at     place
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
	p.at.complete = true
	return p.rdb.HSet(ctx, p.key("place"), "openids", p.at.openIDs, "complete", 1).Err()
}

// enqueue makes the task first and notes it then. A producer that dies in between makes the task again: it has the same
// id, or is known to be done.
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
	p.at.after = c.OpenIDs[len(c.OpenIDs)-1]
	p.at.openIDs += len(c.OpenIDs)
	_, err = p.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSetNX(ctx, p.key("chunks"), c.id(), encode(result{OpenIDs: len(c.OpenIDs)})) // unless its result is there
		tx.HSet(ctx, p.key("place"), "after", p.at.after, "openids", p.at.openIDs)
		return nil
	})
	return err
}
