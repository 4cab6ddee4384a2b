// Package bulk applies an API call that takes a limited number of IDs to any number of IDs: in chunks, several at a
// time, with the outcome of each ID in input order. It knows nothing of the platform: the caller provides the call and
// the meaning of its errors.
package bulk

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
)

// Job takes IDs from an input, cuts them into chunks, works on several chunks at a time, and delivers each ID with its
// outcome in input order. It runs once. All exported fields but Progress are required.
//
// The input, Validate, Deliver and Progress run in the goroutine that called Run. Send and Classify run in up to
// Concurrency other goroutines, all of which have ended when Run returns. At most 2*Concurrency chunks and the one
// being filled are in memory.
//
// If Send or Classify panics, Run panics with a [*guard.Panic] once all its goroutines have ended. If one of them ends
// its goroutine with runtime.Goexit, as a mock may do, the job stops with [guard.ErrGoexit].
//
// R is what a call returns for an item.
type Job[R any] struct {
	Gate        *Gate
	ChunkSize   int // at least 1
	Concurrency int // at least 1
	// Validate returns why an ID must not be sent, or nil if it may be sent.
	Validate func(id string) error
	// Send makes one call. If it succeeds, each item is Done, and Send has set its Result. It must not keep items. When
	// ctx ends, the call must end. When stopped ends, which may be earlier, the call may complete the request that it
	// has begun, but must not begin another one.
	Send func(ctx, stopped context.Context, items []*Item[R]) error
	// Deliver takes an item in input order. After a stop it also takes the Pending ones. If it returns false, the job
	// ends at once, and calls in progress are canceled. It must not keep the item, which would keep its chunk in
	// memory.
	Deliver func(*Item[R]) bool
	// Classify returns what an error of Send, or guard.ErrGoexit, means. ctx ends when no new call may be made.
	Classify func(ctx context.Context, err error) Verdict
	// Progress, if not nil, is called after each chunk with the number of items that have an outcome, and with Cursor.
	Progress func(done int, cursor string)

	stopped context.Context // ends when no new call may be made; those in progress continue
	cancel  context.CancelFunc
	mu      sync.Mutex
	reason  error // the first reason to stop, other than the end of the caller's context
	// panicked is the first panic of a worker, a *guard.Panic.
	panicked error
	size     int // the largest number of items that a call may have

	filling  *chunk[R]           // takes what the input yields
	spare    []*chunk[R]         // delivered, and empty again
	queue    []*chunk[R]         // filled and not delivered yet, in input order
	inFlight map[string]*Item[R] // of filling and queue
	todo     chan *chunk[R]      // the part of queue that no worker has taken yet
	workers  int
	working  sync.WaitGroup

	done        int    // items that were delivered with an outcome
	gaps        bool   // some item has no outcome, or no final one
	cursor      string // the last ID before which there is no gap
	cursorFixed bool   // a gap was delivered
}

// Cursor returns the last ID of the input up to which every outcome is final, or "" if there is none: another job can
// continue after it. Pending and Unknown are not final. An Invalid ID is never the cursor.
func (j *Job[R]) Cursor() string {
	return strings.Clone(j.cursor) // so that a stored cursor does not keep its page in memory
}

// Run runs the job. If the job ended before its input, or left items without a final outcome, Run returns why: the
// first error that stopped it or that of the caller's context, the error of the input, or both. Deliver returning false
// is not an error.
//
// After a stop no new call is made, and Run waits for those in progress. After an error of the input, the items before
// it are still processed.
func (j *Job[R]) Run(caller context.Context, ids iter.Seq2[string, error]) error {
	ctx, cancel := context.WithCancel(caller)
	j.stopped, j.cancel = context.WithCancel(ctx)
	j.inFlight = make(map[string]*Item[R])
	// Twice as many chunks as workers, so that a slow one does not keep the others waiting.
	j.todo = make(chan *chunk[R], 2*j.Concurrency)
	defer func() {
		cancel()
		close(j.todo)
		j.working.Wait()
		guard.Rethrow(j.panicked)
	}()
	j.size = j.ChunkSize
	j.filling = newChunk[R](j.size)

	var inputErr error
	for id, err := range ids {
		if err != nil {
			inputErr = err
			break
		}
		if j.stopped.Err() != nil {
			j.gaps = true
			break
		}
		if j.add(id); j.filling.full() {
			j.start(ctx)
		}
		for len(j.queue) > 0 && (len(j.queue) == cap(j.todo) || j.queue[0].isDone()) {
			if !j.deliverFirst() {
				return j.stopReason(caller)
			}
		}
	}
	j.start(ctx)
	for len(j.queue) > 0 {
		if !j.deliverFirst() {
			break
		}
	}
	switch reason := j.stopReason(caller); {
	case !j.gaps || reason == nil: // an Unknown item is a gap, and stops nothing
		return inputErr
	case inputErr == nil || backoff.IsContextErr(inputErr) && caller.Err() != nil: // the same reason twice
		return reason
	default:
		return fmt.Errorf("%w; and the input: %w", reason, inputErr)
	}
}

// stop lets no new call begin. It returns why the job stops: the first reason given. Errors caused by the end of ctx
// are not the reason, even if they arrive before stopped has ended.
func (j *Job[R]) stop(ctx context.Context, reason error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() == nil && j.stopped.Err() == nil {
		j.reason = reason
	}
	j.cancel()
	return cmp.Or(j.reason, reason)
}

// stopReason returns why the job was stopped, or nil if it was not.
func (j *Job[R]) stopReason(caller context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cmp.Or(j.reason, backoff.ContextErr(caller))
}

// hasPanicked reports whether Run must panic.
func (j *Job[R]) hasPanicked() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.panicked != nil
}

// chunkSize returns how many items a call may have.
func (j *Job[R]) chunkSize() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// shrink lets no further call have more than size items.
func (j *Job[R]) shrink(size int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.size = min(j.size, size)
}

// add puts an ID into the chunk that is being filled.
func (j *Job[R]) add(id string) {
	item := j.inFlight[id]
	if item == nil {
		if err := j.Validate(id); err != nil {
			item = &Item[R]{ID: id, Status: Invalid, Err: err}
		} else {
			j.filling.toSend = append(j.filling.toSend, Item[R]{ID: id})
			item = &j.filling.toSend[len(j.filling.toSend)-1]
			j.inFlight[id] = item
		}
	} else {
		item.Shared = true
	}
	j.filling.items = append(j.filling.items, item)
}

// start passes the filled chunk to the workers.
func (j *Job[R]) start(ctx context.Context) {
	c := j.filling
	if len(c.items) == 0 {
		return
	}
	j.filling = j.emptyChunk()
	j.queue = append(j.queue, c)
	if len(c.toSend) == 0 {
		c.done <- struct{}{}
		return
	}
	j.todo <- c
	if j.workers == j.Concurrency {
		return
	}
	j.workers++
	j.working.Go(func() { j.worker(ctx) })
}

// emptyChunk returns a chunk to be filled.
func (j *Job[R]) emptyChunk() *chunk[R] {
	size := j.chunkSize()
	for n := len(j.spare); n > 0; n-- {
		c := j.spare[n-1]
		j.spare = j.spare[:n-1]
		if cap(c.toSend) == size {
			return c
		}
	}
	return newChunk[R](size)
}

// worker works on chunks until there are no more.
func (j *Job[R]) worker(ctx context.Context) {
	for c := range j.todo {
		guard.Run(func() { j.work(ctx, c) }, func(err error) {
			if err != nil {
				j.brokeOff(ctx, c, err)
			}
			c.done <- struct{}{}
			if err == guard.ErrGoexit { //nolint:errorlint // as guard.Run returned it
				j.working.Go(func() { j.worker(ctx) }) // in place of this goroutine, which ends
			}
		})
	}
}

// deliverFirst waits for the oldest chunk and delivers its items. It returns false if Deliver returned false, or after
// a panic.
func (j *Job[R]) deliverFirst() bool {
	c := j.queue[0]
	<-c.done
	if j.hasPanicked() {
		return false
	}
	j.queue = slices.Delete(j.queue, 0, 1)
	for i := range c.toSend {
		delete(j.inFlight, c.toSend[i].ID)
	}
	before := j.done
	for _, item := range c.items {
		if item.Status != Pending {
			j.done++
		}
		if item.Status == Pending || item.Status == Unknown {
			j.gaps, j.cursorFixed = true, true
		}
		if !j.cursorFixed && item.Status != Invalid { // no other job can continue after an Invalid ID
			j.cursor = item.ID
		}
		if !j.Deliver(item) {
			return false
		}
		item.Delivered = true
	}
	if c.reset() {
		j.spare = append(j.spare, c)
	}
	if j.Progress != nil && j.done > before {
		j.Progress(j.done, j.Cursor())
	}
	return true
}
