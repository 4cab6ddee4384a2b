package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

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
		lost, err := j.dropLostChunks(ctx)
		if err != nil {
			return err
		}
		if lost == 0 {
			fmt.Fprintf(stdout, "All tasks of this job exist: %d openids. For another job, use another -job.\n", cur.openIDs)
			return nil
		}
		fmt.Fprintf(stdout, "The openids of %d chunks are lost. Starting again with those that are not done.\n", lost)
		cur = cursor{}
	}
	tag, err := j.account.EnsureTag(ctx, cfg.tag)
	if err != nil {
		return err
	}
	openIDs := j.account.AllFans(ctx, wechatuser.StartAfter(cur.after))
	if cfg.file != "" {
		openIDs = lines(cfg.file, cur.openIDs)
	}
	p := &producer{job: j, cur: cur}
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

type producer struct {
	*job
	cur cursor
}

func (p *producer) enqueueAll(ctx context.Context, tagID, size int, openIDs iter.Seq2[string, error]) error {
	c := chunk{TagID: tagID}
	for id, err := range openIDs {
		if err != nil {
			return err
		}
		if c.OpenIDs = append(c.OpenIDs, id); len(c.OpenIDs) == size {
			if err := p.add(ctx, c); err != nil {
				return err
			}
			c.OpenIDs = c.OpenIDs[:0]
		}
	}
	if len(c.OpenIDs) > 0 {
		if err := p.add(ctx, c); err != nil {
			return err
		}
	}
	p.cur.complete = true
	return p.rdb.HSet(ctx, p.key("place"), "openids", p.cur.openIDs, "complete", 1).Err()
}

// add records a chunk, adds its task to the queue, and records the progress. If the producer dies in between, it does
// so again later: the task has the same ID, or the chunk is known to be done.
func (p *producer) add(ctx context.Context, c chunk) error {
	id := c.id()
	done, err := p.isDone(ctx, id)
	if err != nil {
		return err
	}
	if !done {
		data, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := p.rdb.HSet(ctx, p.key("openids"), id, data).Err(); err != nil {
			return err
		}
		if err := p.enqueue(ctx, id); err != nil {
			return err
		}
	}
	p.cur.after = c.OpenIDs[len(c.OpenIDs)-1]
	p.cur.openIDs += len(c.OpenIDs)
	_, err = p.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSetNX(ctx, p.key("chunks"), id, encode(result{OpenIDs: len(c.OpenIDs)})) // unless there is a result
		tx.HSet(ctx, p.key("place"), "after", p.cur.after, "openids", p.cur.openIDs)
		return nil
	})
	return err
}
