package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// result is the result of a chunk. It is one field of one hash, written atomically, so that a task that is done twice
// is counted once.
type result struct {
	OpenIDs  int         `json:"openids"`
	Runs     int         `json:"runs,omitempty"` // 0 until the chunk is done
	Rejected []rejection `json:"refused,omitempty"`
}

// rejection is an openid that was not tagged.
type rejection struct {
	OpenID string          `json:"openid"`
	Code   wechatuser.Code `json:"errcode"`         // 0 if it was not sent
	Reason string          `json:"error,omitempty"` // if it was not sent
}

func newResult(report *wechatuser.BulkReport, runs int) result {
	r := result{OpenIDs: report.Total, Runs: runs}
	for _, failed := range report.Failed {
		one := rejection{OpenID: failed.OpenID}
		if e := (*wechatuser.Error)(nil); errors.As(failed.Err, &e) {
			one.Code = e.Code
		} else {
			one.Reason = failed.Err.Error()
		}
		r.Rejected = append(r.Rejected, one)
	}
	return r
}

// encode cannot fail: result has strings and numbers only.
func encode(r result) []byte {
	text, _ := json.Marshal(r)
	return text
}

// record records the result of a chunk, whose openids are no longer needed then.
func (j *job) record(ctx context.Context, chunkID string, r result) error {
	_, err := j.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.HSet(ctx, j.key("chunks"), chunkID, encode(r))
		tx.HDel(ctx, j.key("openids"), chunkID)
		return nil
	})
	return err
}

// isDone reports whether a chunk has a result.
func (j *job) isDone(ctx context.Context, chunkID string) (bool, error) {
	var r result
	text, err := j.rdb.HGet(ctx, j.key("chunks"), chunkID).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r.Runs > 0, err
}

// summary is the progress of a job.
type summary struct {
	produced bool // all tasks exist
	chunks   int
	retried  int // chunks that were started more than once
	open     int // chunks without a result
	openIDs  int
	done     int                  // openids with an outcome
	rejected map[string]rejection // by openid
	paused   string               // why the queue is paused, empty if it is not
	tasks    *asynq.QueueInfo     // nil before the first task
	archived []*asynq.TaskInfo    // some of the tasks that are not retried
}

func (s *summary) complete() bool { return s.produced && s.open == 0 }

func (j *job) summary(ctx context.Context) (*summary, error) {
	cur, err := j.cursor(ctx)
	if err != nil {
		return nil, err
	}
	chunks, err := j.results(ctx)
	if err != nil {
		return nil, err
	}
	s := &summary{produced: cur.complete, rejected: make(map[string]rejection)}
	for _, r := range chunks {
		s.add(r)
	}
	return s, nil
}

// results returns the results of all chunks by ID.
func (j *job) results(ctx context.Context) (map[string]result, error) {
	chunks := make(map[string]result)
	// HSCAN may return a field twice, with different values.
	scan := j.rdb.HScan(ctx, j.key("chunks"), 0, "", 1000).Iterator()
	for scan.Next(ctx) {
		id := scan.Val()
		var r result
		if !scan.Next(ctx) {
			break
		}
		if err := json.Unmarshal([]byte(scan.Val()), &r); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", id, err)
		}
		chunks[id] = r
	}
	return chunks, scan.Err()
}

func (s *summary) add(r result) {
	s.chunks++
	s.openIDs += r.OpenIDs
	if r.Runs == 0 {
		s.open++
		return
	}
	s.done += r.OpenIDs
	if r.Runs > 1 {
		s.retried++
	}
	for _, one := range r.Rejected {
		s.rejected[one.OpenID] = one
	}
}

// diagnose adds the state of the queue.
func (j *job) diagnose(ctx context.Context, s *summary) (err error) {
	queues, err := j.inspect.Queues()
	if err != nil || !slices.Contains(queues, j.queue) {
		return err
	}
	if s.tasks, err = j.inspect.GetQueueInfo(j.queue); err != nil {
		return err
	}
	if s.tasks.Paused {
		s.paused = cmp.Or(j.rdb.Get(ctx, j.key("paused")).Val(), "by hand")
	}
	s.archived, err = j.inspect.ListArchivedTasks(j.queue, asynq.PageSize(10))
	return err
}

// report prints the progress of a job, or the rejected openids. It returns an error if the job is not complete.
func report(ctx context.Context, j *job, rejected bool, out io.Writer) error {
	s, err := j.summary(ctx)
	if err == nil {
		err = j.diagnose(ctx, s)
	}
	if err != nil {
		return err
	}
	if rejected {
		for _, id := range slices.Sorted(maps.Keys(s.rejected)) {
			one := s.rejected[id]
			fmt.Fprintf(out, "%s\t%d\t%s\n", id, one.Code, cmp.Or(one.Reason, one.Code.Text()))
		}
	} else {
		s.print(out)
	}
	if !s.complete() {
		return fmt.Errorf("not complete: %d of %d chunks open, all tasks created: %t", s.open, s.chunks, s.produced)
	}
	return nil
}

func (s *summary) print(out io.Writer) {
	fmt.Fprintf(out, "openids    %d in %d chunks, %d of them started more than once\n", s.openIDs, s.chunks, s.retried)
	fmt.Fprintf(out, "done       %d\n", s.done)
	fmt.Fprintf(out, "rejected   %d\n", len(s.rejected))
	codes := make(map[wechatuser.Code]int)
	for _, one := range s.rejected {
		codes[one.Code]++
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		fmt.Fprintf(out, "           %d with errcode %d: %s\n", codes[code], code, code.Text())
	}
	if s.tasks != nil {
		fmt.Fprintf(out, "queue      %d pending, %d active, %d waiting for a retry, %d archived\n",
			s.tasks.Pending, s.tasks.Active, s.tasks.Retry, s.tasks.Archived)
	}
	if s.paused != "" {
		fmt.Fprintf(out, "paused     %s\n", s.paused)
	}
	for _, task := range s.archived {
		fmt.Fprintf(out, "archived   %s: %s\n", task.ID, task.LastErr)
	}
}
