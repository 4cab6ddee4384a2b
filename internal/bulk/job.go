// Package bulk makes an API call that takes a limited number of IDs for any number of them: in chunks, several at a
// time, with the outcome of each ID in input order. It knows nothing of the platform: what a call does and what its
// errors mean is given to it.
package bulk

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// Job takes IDs from an input, cuts them into chunks, works on several chunks at a time, and delivers each ID with its
// outcome in input order. It runs once. All exported fields but Progress are required.
//
// The input, Validate, Deliver and Progress run in the goroutine that called Run. Send and Classify run concurrently in
// up to Concurrency others, none of which is left when Run returns. At most 2*Concurrency chunks are in memory, and the
// one that is being filled.
//
// R is what a call returns for an item.
type Job[R any] struct {
	Gate        *Gate
	ChunkSize   int // at least 1
	Concurrency int // at least 1
	// Validate returns why an ID must not be sent, nil if it may.
	Validate func(id string) error
	// Send makes one call. If it succeeds, each item is Done, and Send has set its Result. It must not keep items.
	Send func(ctx context.Context, items []*Item[R]) error
	// Deliver takes an item in input order. After a stop it gets the Pending ones too. If it returns false, the job
	// ends at once: calls under way are canceled. It must not keep the item, which would keep its chunk in memory.
	Deliver func(*Item[R]) bool
	// Classify returns what an error of Send means. ctx ends when no new call may be made.
	Classify func(ctx context.Context, err error) Verdict
	// Progress, if not nil, is called after each chunk with the number of items that have an outcome, and with Cursor.
	Progress func(done int, cursor string)

	stopped context.Context // ends when no new call may be made; those under way go on
	cancel  context.CancelFunc
	mu      sync.Mutex
	reason  error // the first reason to stop, other than the end of the caller's context

	filling  *chunk[R]           // takes what the input yields
	queue    []*chunk[R]         // filled and not delivered yet, in input order
	inFlight map[string]*Item[R] // of filling and queue
	todo     chan *chunk[R]      // the part of queue that nobody works on yet
	workers  int
	working  sync.WaitGroup

	done        int    // items that were delivered with an outcome
	gaps        bool   // some item has no outcome, or no final one
	cursor      string // the last ID before which there is no gap
	cursorFixed bool   // a gap was delivered
}

// Cursor returns the last ID of the input up to which every outcome is final, or "" if there is none: another job can
// continue after it. Pending and Unknown are not final. An Invalid ID is never the cursor.
func (j *Job[R]) Cursor() string { return j.cursor }

// Run runs the job. It returns why the job ended before its input did, or without a final outcome for each item: the
// first error that stopped it, or that of the caller's context; the error of the input; or both. It is no error that
// Deliver returned false.
//
// After a stop no new call is made, and Run waits for those under way. After an error of the input, the items before it
// are still processed.
func (j *Job[R]) Run(caller context.Context, ids iter.Seq2[string, error]) error {
	ctx, cancel := context.WithCancel(caller)
	j.stopped, j.cancel = context.WithCancel(ctx)
	j.inFlight = make(map[string]*Item[R])
	// Twice as many chunks as workers, so that a slow one does not keep the others waiting.
	j.todo = make(chan *chunk[R], 2*j.Concurrency)
	defer j.working.Wait()
	defer close(j.todo)
	defer cancel()
	j.filling = newChunk[R](j.ChunkSize)

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
	case !j.gaps:
		return inputErr
	case inputErr == nil || backoff.IsContextErr(inputErr) && caller.Err() != nil: // the same reason twice
		return reason
	default:
		return fmt.Errorf("%w; and the input: %w", reason, inputErr)
	}
}

// stop lets no new call begin, and returns the reason that the job ends with: the first one given. Errors that follow
// from the end of ctx are not the reason, even if they come before stopped has ended with it.
func (j *Job[R]) stop(ctx context.Context, reason error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() == nil && j.stopped.Err() == nil {
		j.reason = reason
	}
	j.cancel()
	return cmp.Or(j.reason, reason)
}

// stopReason returns why the job was stopped, nil if it was not.
func (j *Job[R]) stopReason(caller context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cmp.Or(j.reason, backoff.ContextErr(caller))
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
	}
	j.filling.items = append(j.filling.items, item)
}

// start hands the chunk that was filled to the workers.
func (j *Job[R]) start(ctx context.Context) {
	c := j.filling
	if len(c.items) == 0 {
		return
	}
	j.filling = newChunk[R](j.ChunkSize)
	j.queue = append(j.queue, c)
	if len(c.toSend) == 0 {
		close(c.done)
		return
	}
	j.todo <- c
	if j.workers == j.Concurrency {
		return
	}
	j.workers++
	j.working.Go(func() {
		for c := range j.todo {
			j.work(ctx, c)
			close(c.done)
		}
	})
}

// deliverFirst waits for the oldest chunk and delivers its items. It returns false if Deliver did.
func (j *Job[R]) deliverFirst() bool {
	c := j.queue[0]
	<-c.done
	j.queue[0] = nil
	j.queue = j.queue[1:]
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
		if !j.cursorFixed && item.Status != Invalid { // no other job could continue after that
			j.cursor = item.ID
		}
		if !j.Deliver(item) {
			return false
		}
	}
	if j.Progress != nil && j.done > before {
		j.Progress(j.done, j.cursor)
	}
	return true
}
