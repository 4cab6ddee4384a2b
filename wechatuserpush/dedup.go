package wechatuserpush

import (
	"context"
	"sync"
	"time"
)

// Deduplicator recognizes repeats of a push for many processes. The store of module redisstore is one. A handler gives
// it hashes as keys, never an openid, and an owner, which is a random text.
//
// All methods must be safe for concurrent use. They should fail within some hundred milliseconds if the store cannot be
// used: the handler then goes on without it, since an event that is handled twice is better than one that is lost.
type Deduplicator interface {
	// Claim claims a push for an owner until Done, Release or the end of the lease, and returns [Claimed]. If another
	// owner has claimed it, it returns [Running]; after Done it returns [Finished]. For the owner who has the claim, it
	// starts the lease anew.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (State, error)

	// Done records that the push is handled, and remembers that for as long as keep says, whoever has claimed it.
	Done(ctx context.Context, key string, keep time.Duration) error

	// Release gives up a claim of the owner, so that the next repeat is handled. It keeps any other claim.
	Release(ctx context.Context, key, owner string) error
}

// State is what a [Deduplicator] knows about a push.
type State int

// The states of a push.
const (
	Claimed  State = iota + 1 // the caller handles it
	Running                   // somebody else handles it at the moment
	Finished                  // it has been handled
)

// windowSize is the number of pushes that a window remembers.
const windowSize = 1 << 16

// window remembers the keys of handled pushes for a while. If there are more than it has room for, it forgets the
// oldest ones.
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

// has reports whether a push was handled.
func (w *window) has(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(time.Now())
	_, found := w.until[key]
	return found
}

// add remembers a push that was handled.
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

// forget forgets the oldest key. append moves the rest to a new array now and then, so that the old one is freed.
func (w *window) forget() {
	delete(w.until, w.order[0])
	w.order[0] = ""
	w.order = w.order[1:]
}
