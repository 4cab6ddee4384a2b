package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hibiken/asynq"

	"github.com/wechatuser/wechatuser"
)

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
