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

	"github.com/wechatuser/wechatuser"
)

// result is what became of a chunk. It is one field of one hash, written at once, so that a task that is done twice
// counts once.
type result struct {
	OpenIDs int       `json:"openids"`
	Runs    int       `json:"runs,omitempty"` // 0 as long as the chunk is not done
	Refused []refusal `json:"refused,omitempty"`
}

// refusal is an openid that did not get the tag.
type refusal struct {
	OpenID string          `json:"openid"`
	Code   wechatuser.Code `json:"errcode"`         // 0 where it was never sent
	Reason string          `json:"error,omitempty"` // of those
}

func newResult(report *wechatuser.BulkReport, runs int) result {
	r := result{OpenIDs: report.Total, Runs: runs}
	for _, failed := range report.Failed {
		one := refusal{OpenID: failed.OpenID}
		if e := (*wechatuser.Error)(nil); errors.As(failed.Err, &e) {
			one.Code = e.Code
		} else {
			one.Reason = failed.Err.Error()
		}
		r.Refused = append(r.Refused, one)
	}
	return r
}

// encode cannot fail: there are strings and numbers only.
func encode(r result) []byte {
	text, _ := json.Marshal(r)
	return text
}

func (j *job) record(ctx context.Context, chunkID string, r result) error {
	return j.rdb.HSet(ctx, j.key("chunks"), chunkID, encode(r)).Err()
}

// summary is how far a job has come.
type summary struct {
	produced bool // all tasks are made
	chunks   int
	repeated int // chunks that were begun more than once
	open     int // chunks without a result
	openIDs  int
	done     int                // openids with an outcome
	refused  map[string]refusal // by openid
	paused   string             // why the queue stands still, empty if it does not
	tasks    *asynq.QueueInfo   // nil before the first task
	archived []*asynq.TaskInfo  // some of the tasks that nobody tries again
}

func (s *summary) complete() bool { return s.produced && s.open == 0 }

func (j *job) summary(ctx context.Context) (*summary, error) {
	at, err := j.place(ctx)
	if err != nil {
		return nil, err
	}
	s := &summary{produced: at.complete, refused: make(map[string]refusal)}
	// A scan may give a field twice, and with another value the second time.
	chunks := make(map[string]result)
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
	if err := scan.Err(); err != nil {
		return nil, err
	}
	for _, r := range chunks {
		s.add(r)
	}
	return s, nil
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
		s.repeated++
	}
	for _, one := range r.Refused {
		s.refused[one.OpenID] = one
	}
}

// diagnose adds what the queue says.
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

// report prints how far a job is, or the refused openids. Its error says that the job is not complete.
func report(ctx context.Context, j *job, refused bool, out io.Writer) error {
	s, err := j.summary(ctx)
	if err == nil {
		err = j.diagnose(ctx, s)
	}
	if err != nil {
		return err
	}
	if refused {
		for _, id := range slices.Sorted(maps.Keys(s.refused)) {
			one := s.refused[id]
			fmt.Fprintf(out, "%s\t%d\t%s\n", id, one.Code, cmp.Or(one.Reason, one.Code.Text()))
		}
	} else {
		s.print(out)
	}
	if !s.complete() {
		return fmt.Errorf("not complete: %d of %d chunks are open, all tasks made: %t", s.open, s.chunks, s.produced)
	}
	return nil
}

func (s *summary) print(out io.Writer) {
	fmt.Fprintf(out, "openids    %d in %d chunks, %d of them begun more than once\n", s.openIDs, s.chunks, s.repeated)
	fmt.Fprintf(out, "done       %d\n", s.done)
	fmt.Fprintf(out, "refused    %d\n", len(s.refused))
	codes := make(map[wechatuser.Code]int)
	for _, one := range s.refused {
		codes[one.Code]++
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		fmt.Fprintf(out, "           %d with errcode %d: %s\n", codes[code], code, code.Text())
	}
	if s.tasks != nil {
		fmt.Fprintf(out, "queue      %d pending, %d active, %d waiting to be tried again, %d archived\n",
			s.tasks.Pending, s.tasks.Active, s.tasks.Retry, s.tasks.Archived)
	}
	if s.paused != "" {
		fmt.Fprintf(out, "paused     %s\n", s.paused)
	}
	for _, task := range s.archived {
		fmt.Fprintf(out, "archived   %s: %s\n", task.ID, task.LastErr)
	}
}
