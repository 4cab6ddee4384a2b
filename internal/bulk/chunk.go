package bulk

import (
	"cmp"
	"context"

	"github.com/wechatuser/wechatuser/internal/guard"
)

// chunk is a part of the input.
type chunk[R any] struct {
	// items are in input order. An ID that is already in flight shares the Item there, so that it is sent once.
	items []*Item[R]
	// toSend never grows beyond its capacity, since items point into it.
	toSend  []Item[R]
	pending []*Item[R]    // pointers to the items of toSend, for the calls
	done    chan struct{} // gets one element when no item of toSend will change any more
	retries int           // left
	sending []*Item[R]    // the items of the call in progress
}

// spareItems limits the items of a chunk, as a multiple of the chunk size, if the input has equal or invalid IDs.
const spareItems = 16

func newChunk[R any](size int) *chunk[R] {
	return &chunk[R]{
		items: make([]*Item[R], 0, size), toSend: make([]Item[R], 0, size), pending: make([]*Item[R], 0, size),
		done: make(chan struct{}, 1),
	}
}

// reset empties a chunk that was delivered, so that its memory can be used again. It reports false if it cannot be,
// since a later chunk may have one of its items.
func (c *chunk[R]) reset() bool {
	for i := range c.toSend {
		if c.toSend[i].Shared {
			return false
		}
	}
	clear(c.items)
	clear(c.toSend)
	clear(c.pending)
	c.items, c.toSend, c.pending = c.items[:0], c.toSend[:0], c.pending[:0]
	return true
}

func (c *chunk[R]) full() bool {
	return len(c.toSend) == cap(c.toSend) || len(c.items) >= spareItems*cap(c.toSend)
}

func (c *chunk[R]) isDone() bool { return len(c.done) > 0 }

// lose sets each Pending item that may be applied to Unknown, since no further call will decide it.
func (c *chunk[R]) lose(reason error) {
	for i := range c.toSend {
		if item := &c.toSend[i]; item.Status == Pending && item.MayBeApplied {
			item.Status, item.Err = Unknown, reason
		}
	}
}

// work finds the outcome of each item of a chunk, or stops the job.
func (j *Job[R]) work(ctx context.Context, c *chunk[R]) {
	for i := range c.toSend {
		c.pending = append(c.pending, &c.toSend[i])
	}
	c.retries = j.Gate.MaxRetries
	if _, err := j.resolve(ctx, c, c.pending, false); err != nil {
		c.lose(j.stop(ctx, err))
	}
}

// brokeOff stops the job after a panic in work, or after a call that ended the goroutine of work.
func (j *Job[R]) brokeOff(ctx context.Context, c *chunk[R], err error) {
	if err == guard.ErrGoexit { //nolint:errorlint // as guard.Run returned it
		v := j.Classify(j.stopped, err)
		for _, item := range c.sending {
			item.MayBeApplied = item.MayBeApplied || v.MayBeApplied
		}
		if v.Unknown {
			setStatus(c.sending, Unknown, err)
		}
	} else {
		j.mu.Lock()
		j.panicked = cmp.Or(j.panicked, err)
		j.mu.Unlock()
	}
	c.lose(j.stop(ctx, err))
}

// resolve finds the outcome of each item by bisection. With k of n items to blame it makes at most 1+2k*ceil(log2(n))
// calls and never more than 2n-1, not counting retries.
//
// blamed means that one of the items is known to be to blame, so that a call with all of them would be wasted. accepted
// reports whether none of them is to blame. An error stops the job; some items may still be Pending then.
func (j *Job[R]) resolve(ctx context.Context, c *chunk[R], items []*Item[R], blamed bool) (accepted bool, err error) {
	if len(items) == 1 || !blamed && len(items) <= j.chunkSize() {
		var v Verdict
		items, v, err = j.call(ctx, c, items)
		switch {
		case err == nil:
			return true, nil
		case v.Action == Shrink && len(items) > 1:
			j.shrink((len(items) + 1) / 2)
		case v.Action != Split:
			return false, err
		case len(items) == 1:
			status := Rejected
			if v.Unknown {
				status = Unknown
			}
			setStatus(items, status, err)
			return false, nil
		default:
			blamed = true
		}
	}
	half := len(items) / 2
	first, err := j.resolve(ctx, c, items[:half], false)
	if err != nil {
		return false, err
	}
	second, err := j.resolve(ctx, c, items[half:], blamed && first)
	return first && second && !blamed, err
}

// call makes one call and its retries. Without an error, each item has its outcome. With an error, call returns the
// items of the last retry, and the verdict on them.
func (j *Job[R]) call(ctx context.Context, c *chunk[R], items []*Item[R]) ([]*Item[R], Verdict, error) {
	v, err := j.Gate.Do(j.stopped, &c.retries, func() (v Verdict, err error) {
		c.sending = items
		items, v, err = j.attempt(ctx, items)
		c.sending = nil
		return v, err
	})
	switch {
	case err == nil:
		setStatus(items, Done, nil)
	case v.Action == Reject:
		setStatus(items, Rejected, err)
		err = nil
	case v.Action == Stop && v.Unknown:
		setStatus(items, Unknown, err)
	}
	return items, v, err
}

// attempt makes one call. It returns the items to continue with: fewer if the call has processed the others.
func (j *Job[R]) attempt(ctx context.Context, items []*Item[R]) ([]*Item[R], Verdict, error) {
	err := j.Send(ctx, j.stopped, items)
	if err == nil {
		return items, Verdict{}, nil
	}
	v := j.Classify(j.stopped, err)
	rest := items
	if v.Action == Retry && len(v.Failed) > 0 {
		failed, others := named(items, v.Failed)
		switch {
		case len(failed) == 0: // it is not known which ones failed
			v.MayBeApplied = true
		case len(others) == 0:
			v.Action = v.Exhausted
		default:
			setStatus(others, Done, nil)
			rest = failed
		}
	}
	if v.MayBeApplied {
		for _, item := range items {
			item.MayBeApplied = true
		}
	}
	return rest, v, err
}
