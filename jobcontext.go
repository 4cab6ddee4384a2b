package wechatuser

import (
	"context"
	"errors"
	"sync/atomic"
)

// jobState is what a job shares with the calls that it makes, through their context. The pipeline takes it out, so that
// calls that an interceptor, a limiter or a token source makes of its own, and token requests, have none. Its methods
// can be called on nil.
type jobState struct {
	count   *callCount
	stopped context.Context // once it ends, no attempt begins; nil for never
}

// callCount is what calls have made.
type callCount struct {
	attempts, sent atomic.Int64 // requests that were tried, and those that left
	outer          *callCount   // of the context around it
}

type jobKey struct{}

func jobStateOf(ctx context.Context) jobState {
	if j, _ := ctx.Value(jobKey{}).(*jobState); j != nil {
		return *j
	}
	return jobState{}
}

// CountCalls returns a context that counts the requests of all calls, lists and jobs that use it, and a function that
// returns how many were sent so far. Retries count; requests for tokens do not. A context inside another one counts for
// both. The lists and [Client.BulkUserInfo] have no report, so this tells what they cost:
//
//	ctx, calls := wechatuser.CountCalls(ctx)
//	for user, err := range c.BulkUserInfo(ctx, openIDs) {
//		// ...
//	}
//	log.Print(calls(), " calls")
func CountCalls(ctx context.Context) (counted context.Context, calls func() int) {
	ctx, n := countCalls(ctx)
	return ctx, func() int { return int(n.sent.Load()) }
}

// countCalls returns a context whose requests are counted.
func countCalls(ctx context.Context) (context.Context, *callCount) {
	j := jobStateOf(ctx)
	j.count = &callCount{outer: j.count}
	return context.WithValue(ctx, jobKey{}, &j), j.count
}

// withStop returns the context for a call of a job: once stopped ends, it makes no further attempt. One that is under
// way goes on.
func withStop(ctx, stopped context.Context) context.Context {
	j := jobStateOf(ctx)
	j.stopped = stopped
	return context.WithValue(ctx, jobKey{}, &j)
}

// startCall returns the context for a call of a job, as countCalls and withStop do together.
func startCall(ctx, stopped context.Context) (context.Context, *callCount) {
	c := &jobCall{Context: ctx, jobState: jobStateOf(ctx)}
	c.own.outer = c.count
	c.count, c.stopped = &c.own, stopped
	return c, &c.own
}

// jobCall is the context of a call of a job. It has the state that it holds in one piece of memory.
type jobCall struct {
	context.Context
	jobState
	own callCount
}

func (c *jobCall) Value(key any) any {
	if key == (jobKey{}) {
		return &c.jobState
	}
	return c.Context.Value(key)
}

// takeJob returns the state of the job that makes a call, nil if there is none, and a context without it.
func takeJob(ctx context.Context) (context.Context, *jobState) {
	j, _ := ctx.Value(jobKey{}).(*jobState)
	if j == nil {
		return ctx, nil
	}
	if c, ok := ctx.(*jobCall); ok && c.Context.Value(jobKey{}) == nil {
		return c.Context, j
	}
	return context.WithValue(ctx, jobKey{}, (*jobState)(nil)), j
}

// add counts something in all counts around a call.
func (j *jobState) add(counter func(*callCount) *atomic.Int64) {
	if j == nil {
		return
	}
	for n := j.count; n != nil; n = n.outer {
		counter(n).Add(1)
	}
}

func (j *jobState) addAttempt() { j.add(func(n *callCount) *atomic.Int64 { return &n.attempts }) }
func (j *jobState) addSent()    { j.add(func(n *callCount) *atomic.Int64 { return &n.sent }) }

var errStopped = errors.New("the job was stopped")

// waiting is the context for the waits of a call, which ends with that of the call and when its job stops. It is made
// when it is needed first: most calls do not wait for anything.
type waiting struct {
	call   context.Context
	job    *jobState
	ctx    context.Context // nil before it is needed
	cancel context.CancelCauseFunc
	stop   func() bool
}

func (j *jobState) waiting(ctx context.Context) waiting {
	if j == nil || j.stopped == nil {
		return waiting{call: ctx, ctx: ctx}
	}
	return waiting{call: ctx, job: j}
}

// context returns the context, until end.
func (w *waiting) context() context.Context {
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancelCause(w.call)
		cancel := w.cancel
		w.stop = context.AfterFunc(w.job.stopped, func() { cancel(errStopped) })
	}
	return w.ctx
}

func (w *waiting) end() {
	if w.cancel != nil {
		w.stop()
		w.cancel(nil)
	}
}

// isStopped reports whether the job was stopped, though the context of the call has not ended.
func (j *jobState) isStopped(ctx context.Context) bool {
	return j != nil && j.stopped != nil && j.stopped.Err() != nil && ctx.Err() == nil
}
