package wechatuserpush

import (
	"context"
	"sync"
	"time"
)

// Deduplicator recognizes repeats of pushes across processes. Module redisstore has one. The key of a push is a hash
// and contains no openid; an owner is a random string that identifies one request for the push.
//
// The methods must be safe for concurrent use. They should return an error within a few hundred milliseconds if the
// storage is not available. The handler then continues without it, because an event that is handled twice is better
// than one that is lost.
type Deduplicator interface {
	// Claim claims a push for an owner and returns [Claimed]. The claim lasts until Done, until Release, or until the
	// lease has passed; if the owner has the claim already, the lease starts over. Claim returns [Running] if another
	// owner has the claim, and [Finished] after Done.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (State, error)

	// Done records that the push has been handled, no matter who has the claim. The record is kept for the duration
	// keep.
	Done(ctx context.Context, key string, keep time.Duration) error

	// Release ends the claim if this owner has it, so that the next repeat is handled. Otherwise it does nothing.
	Release(ctx context.Context, key, owner string) error
}

// State is the state of a push in a [Deduplicator].
type State int

// The states of a push.
const (
	Claimed  State = iota + 1 // the caller has the claim and handles the push
	Running                   // another owner has the claim and handles the push
	Finished                  // the push has been handled
)

// windowSize is the number of pushes that the window of a process remembers.
const windowSize = 1 << 16

// window remembers the keys of handled pushes for the duration keep. Beyond size keys it forgets the oldest.
type window struct {
	keep time.Duration
	size int

	mu    sync.Mutex
	until map[string]time.Time
	order []string // the keys of until, in the order in which they expire
}

func newWindow(keep time.Duration, size int) *window {
	return &window{keep: keep, size: size, until: map[string]time.Time{}}
}

// has reports whether a push has been handled.
func (w *window) has(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(time.Now())
	_, found := w.until[key]
	return found
}

// add remembers a push that has been handled.
func (w *window) add(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.expire(now)
	if _, found := w.until[key]; found {
		return
	}
	if len(w.order) >= w.size {
		w.forget()
	}
	w.until[key] = now.Add(w.keep)
	w.order = append(w.order, key)
}

func (w *window) expire(now time.Time) {
	for len(w.order) > 0 && !now.Before(w.until[w.order[0]]) {
		w.forget()
	}
}

// forget forgets the oldest key. The array does not grow forever, because append copies the rest to a new one now and
// then.
func (w *window) forget() {
	delete(w.until, w.order[0])
	w.order[0] = ""
	w.order = w.order[1:]
}
