package wechatuser

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// job takes openids from an input, cuts them into chunks, works on some chunks at a time, and delivers each openid in
// the order of the input. The input, deliver and the progress function run in the goroutine of the caller. Up to
// cfg.concurrency others work on a chunk each, and none is left when run returns.
//
// R is what a call gives for an openid.
type job[R any] struct {
	*pace
	ep  *endpoint
	cfg bulkConfig
	// send makes one call and, where it succeeds, fills in the result of each slot.
	send func(context.Context, []*slot[R]) error
	// deliver takes a slot whose outcome is known, if it ever will be; false ends the job at once.
	deliver func(*slot[R]) bool

	filling  *chunk[R]           // takes what the input gives
	queue    []*chunk[R]         // filled and not delivered yet, in the order of the input
	inFlight map[string]*slot[R] // of filling and queue, by openid
	todo     chan *chunk[R]      // the part of queue that nobody works on yet
	workers  int
	working  sync.WaitGroup
	done     int    // openids that were delivered with an outcome
	gaps     bool   // some openid has no outcome, or none that is final
	place    string // the last openid before which there is no gap
	passed   bool   // a gap was delivered, and place stays
}

// slot is one openid on its way.
type slot[R any] struct {
	openID string
	fate   fate
	err    error // why it failed
	// maybe says that a call with it may have been applied, and no answer came back that tells.
	maybe  bool
	result R
}

type fate uint8

const (
	undecided fate = iota // nothing was done, as far as is known
	decided               // applied, or answered
	refused               // by the platform, for a reason of its own
	malformed             // not an openid, and never sent
	lost                  // the platform was not reached, or perhaps it was: no answer tells
)

func (s *slot[R]) end(f fate, err error) {
	s.fate, s.err = f, ambiguously(err, s.maybe)
}

// chunk is a piece of the input. An openid that is in flight already is one more item with the same slot, so that it is
// sent once.
type chunk[R any] struct {
	items []*slot[R]    // in the order of the input
	slots []slot[R]     // to be sent; never grows beyond its capacity, since items point into it
	done  chan struct{} // closed when no slot will change any more
}

// spareItems bounds the items of a chunk, in chunks, where the input repeats itself or holds what is no openid.
const spareItems = 16

func (c *chunk[R]) full() bool {
	return len(c.slots) == cap(c.slots) || len(c.items) >= spareItems*cap(c.slots)
}

func (c *chunk[R]) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// run is the whole job. Its error is why the job ended before its input did, or without an outcome for each openid.
func (j *job[R]) run(caller context.Context, openIDs iter.Seq2[string, error]) error {
	ctx, cancel := context.WithCancel(caller)
	j.begin(ctx)
	j.inFlight = make(map[string]*slot[R])
	// Twice as many chunks as workers, so that a slow one does not keep the others waiting.
	j.todo = make(chan *chunk[R], 2*j.cfg.concurrency)
	defer j.working.Wait()
	defer close(j.todo)
	defer cancel()
	j.renew()

	var inputErr error
	for id, err := range openIDs {
		if err != nil {
			inputErr = err
			break
		}
		if j.halted() {
			j.gaps = true
			break
		}
		if j.take(id); j.filling.full() {
			j.start(ctx)
		}
		for len(j.queue) > 0 && (len(j.queue) == cap(j.todo) || j.queue[0].isDone()) {
			if !j.deliverFirst() {
				return j.reason(caller)
			}
		}
	}
	j.start(ctx)
	for len(j.queue) > 0 {
		if !j.deliverFirst() {
			break
		}
	}
	switch why := j.reason(caller); {
	case !j.gaps:
		return inputErr
	case inputErr == nil || isEnd(inputErr) && caller.Err() != nil: // the same story twice
		return why
	default:
		return fmt.Errorf("%w; and the input: %w", why, inputErr)
	}
}

func (j *job[R]) renew() {
	j.filling = &chunk[R]{slots: make([]slot[R], 0, j.ep.max), done: make(chan struct{})}
}

// take adds an openid to the chunk that is being filled.
func (j *job[R]) take(openID string) {
	s := j.inFlight[openID]
	if s == nil {
		if err := j.ep.checkOpenID("openid", openID); err != nil {
			s = &slot[R]{openID: openID, fate: malformed, err: err}
		} else {
			j.filling.slots = append(j.filling.slots, slot[R]{openID: openID})
			s = &j.filling.slots[len(j.filling.slots)-1]
			j.inFlight[openID] = s
		}
	}
	j.filling.items = append(j.filling.items, s)
}

// start hands the chunk that was filled to the workers.
func (j *job[R]) start(ctx context.Context) {
	ch := j.filling
	if len(ch.items) == 0 {
		return
	}
	j.renew()
	j.queue = append(j.queue, ch)
	if len(ch.slots) == 0 {
		close(ch.done)
		return
	}
	j.todo <- ch
	if j.workers == j.cfg.concurrency {
		return
	}
	j.workers++
	j.working.Go(func() {
		for ch := range j.todo {
			j.work(ctx, ch)
			close(ch.done)
		}
	})
}

// deliverFirst waits for the oldest chunk and delivers its items.
func (j *job[R]) deliverFirst() bool {
	ch := j.queue[0]
	<-ch.done
	j.queue[0] = nil
	j.queue = j.queue[1:]
	for i := range ch.slots {
		delete(j.inFlight, ch.slots[i].openID)
	}
	before := j.done
	for _, s := range ch.items {
		switch s.fate {
		case undecided:
			j.gaps, j.passed = true, true
		case lost:
			j.gaps, j.passed = true, true
			j.done++
		default:
			j.done++
		}
		if !j.passed && s.fate != malformed { // which is no place to go on from
			j.place = s.openID
		}
		if !j.deliver(s) {
			return false
		}
	}
	if j.cfg.progress != nil && j.done > before {
		j.cfg.progress(Progress{Done: j.cfg.doneBefore + j.done, Total: j.cfg.total, ResumeAfter: j.place})
	}
	return true
}
