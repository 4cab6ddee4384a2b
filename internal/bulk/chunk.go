package bulk

import "context"

// chunk is a part of the input.
type chunk[R any] struct {
	// items are in input order. An ID that is already in flight shares the Item there, so that it is sent once.
	items []*Item[R]
	// toSend never grows beyond its capacity, since items point into it.
	toSend []Item[R]
	done   chan struct{} // closed when no item of toSend will change any more
}

// spareItems limits the items of a chunk, in chunk sizes, where the input has equal or invalid IDs.
const spareItems = 16

func newChunk[R any](size int) *chunk[R] {
	return &chunk[R]{toSend: make([]Item[R], 0, size), done: make(chan struct{})}
}

func (c *chunk[R]) full() bool {
	return len(c.toSend) == cap(c.toSend) || len(c.items) >= spareItems*cap(c.toSend)
}

func (c *chunk[R]) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// work finds the outcome of each item of a chunk, or else stops the job.
func (j *Job[R]) work(ctx context.Context, c *chunk[R]) {
	items := make([]*Item[R], len(c.toSend))
	for i := range items {
		items[i] = &c.toSend[i]
	}
	retries := j.Gate.MaxRetries
	_, err := j.resolve(ctx, items, false, &retries)
	if err == nil {
		return
	}
	reason := j.stop(ctx, err)
	for _, item := range items {
		if item.Status == Pending && item.MayBeApplied {
			item.Status, item.Err = Unknown, reason
		}
	}
}

// resolve finds the outcome of each item by bisection. With k of n items to blame it makes at most 1+2k*ceil(log2(n))
// calls, and never more than 2n-1, retries not counted.
//
// blamed says that one of the items is known to be to blame, so that a call with all of them would be wasted. accepted
// reports that none of them is to blame. After an error, which stops the job, some items may be Pending.
func (j *Job[R]) resolve(ctx context.Context, items []*Item[R], blamed bool, retries *int) (accepted bool, err error) {
	if !blamed || len(items) == 1 {
		var action Action
		items, action, err = j.call(ctx, items, retries)
		switch {
		case err == nil:
			return true, nil
		case action != Split:
			return false, err
		case len(items) == 1:
			setStatus(items, Rejected, err)
			return false, nil
		}
	}
	half := len(items) / 2
	accepted, err = j.resolve(ctx, items[:half], false, retries)
	if err == nil {
		_, err = j.resolve(ctx, items[half:], accepted, retries)
	}
	return false, err
}

// call makes one call and its retries. Without an error, each item has its outcome. With an error, call returns the
// items of the last retry, and whether to Split them or to Stop.
func (j *Job[R]) call(ctx context.Context, items []*Item[R], retries *int) ([]*Item[R], Action, error) {
	v, err := j.Gate.Do(j.stopped, retries, func() (Verdict, error) {
		err := j.Send(ctx, items)
		if err == nil {
			return Verdict{}, nil
		}
		v := j.Classify(j.stopped, err)
		if v.MayBeApplied {
			for _, item := range items {
				item.MayBeApplied = true
			}
		}
		if v.Action == Retry && len(v.Failed) > 0 {
			sent := len(items)
			switch items = remaining(items, v.Failed); len(items) {
			case 0:
				return Verdict{}, nil
			case sent:
				v.Action = v.Exhausted
			}
		}
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
	return items, v.Action, err
}
