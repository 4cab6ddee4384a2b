package tokencache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/guard"
)

// requirement is what a caller requires of a token. The zero value accepts any good token.
type requirement struct {
	rejected string // a token other than this one
	force    bool   // a new token, even if the old one is good
}

// result is the result of a flight.
type result struct {
	token   Token
	err     error
	fetched bool // Fetch was called, and the token is not from the store
	forced  bool // Fetch was called with StableForced
	// panicked is a *guard.Panic of Fetch or the store, which is passed on to the callers that wait.
	panicked error
}

// flight is one refresh, for all callers that wait for it. Its result does not change once done is closed.
type flight struct {
	requirement       // of the caller that started it
	instead     error // if not nil, the flight only looks at the store, and fails with this error if there is no token
	reason      string
	done        chan struct{}
	release     func() // closes done

	result                 // guarded by the cache's lock until done is closed
	final  bool            // there is a result; guarded by the cache's lock
	ctx    context.Context //nolint:containedctx // for hooks, which link a wait to it; guarded by the cache's lock
}

func newFlight(want requirement) *flight {
	f := &flight{requirement: want, done: make(chan struct{})}
	f.release = sync.OnceFunc(func() { close(f.done) })
	return f
}

// completed returns a completed flight with a token that is already cached.
func completed(t Token) *flight {
	f := newFlight(requirement{})
	f.token = t
	f.release()
	return f
}

// satisfies reports whether the result of f is a result for a caller with this requirement.
func (f *flight) satisfies(want requirement) bool {
	switch {
	case want.force, f.force && f.err != nil: // the failure of a forced refresh concerns only callers that forced it
		return f.force == want.force
	case errors.Is(f.err, ErrNoOtherToken):
		return f.rejected == want.rejected
	}
	return f.err != nil || f.token.AccessToken != want.rejected
}

var (
	errInterrupted = errors.New("wechatuser: the refresh of the access token ended without a result")
	errInside      = errors.New("wechatuser: a call from inside a token request, such as an interceptor's, " +
		"cannot wait for the token of that request")
	errStored = errors.New("wechatuser: another process has stored an access token meanwhile")
)

// AbandonedError reports that a refresh made no progress for too long: a function that it called has not returned.
type AbandonedError struct {
	After time.Duration
	Step  string // what the refresh was doing
}

func (e *AbandonedError) Error() string {
	return fmt.Sprintf("wechatuser: the refresh of the access token was abandoned after %v of %s: "+
		"an interceptor, the transport, the secret source or the token store does not return", e.After, e.Step)
}

// Timeout returns true, as a net.Error.
func (e *AbandonedError) Timeout() bool { return true }

// Temporary returns true, as a net.Error.
func (e *AbandonedError) Temporary() bool { return true }

// worker carries out a flight, in a goroutine of its own. The goroutine can outlive an abandoned flight.
type worker struct {
	c        *Cache
	f        *flight
	ctx      context.Context //nolint:containedctx // has the worker as a value, for what the flight calls
	limit    *time.Timer     // ends when the flight is abandoned
	fetched  atomic.Bool
	forced   atomic.Bool
	wanted   func(Token) bool
	lookedAt time.Time // at the store, with the lock if it has one; zero if the flight goes on without the store

	allowing sync.Mutex // held during allow, which an interceptor can run twice at once
	found    Token      // by allow

	mu      sync.Mutex // guards the fields below
	doing   string
	release func()   // of the store's lock, nil if it is not held
	queue   []func() // functions to call once the flight is complete
	landed  bool     // the flight is complete
}

// logPatience is how long the callers of a completed flight wait for its log handlers and hooks.
const logPatience = time.Second

// run carries out a flight. ctx has the values of the context of the caller that started it, such as a trace.
func (c *Cache) run(ctx context.Context, f *flight) {
	start := time.Now()
	w := &worker{c: c, f: f}
	if f.instead == nil && len(c.hooks.Each) > 0 {
		ctx = c.hooks.refreshing(context.WithValue(ctx, workerKey{}, w), Refresh{Reason: f.reason})
		c.mu.Lock()
		f.ctx = ctx
		c.mu.Unlock()
	}
	work, cancel := context.WithCancelCause(ctx)
	w.ctx = context.WithValue(work, workerKey{}, w)
	w.limit = time.AfterFunc(c.cfg.Limit, func() {
		res := result{err: &AbandonedError{After: c.cfg.Limit, Step: w.currentStep()}}
		c.land(ctx, w, res, start, func() {
			cancel(res.err)
			w.unlock()
		})
	})
	res := result{err: errInterrupted} // remains if Fetch or the store calls runtime.Goexit, or panics
	guard.Run(func() { res.token, res.err = w.load() }, func(ended error) {
		if ended != guard.ErrGoexit { //nolint:errorlint // as guard.Run returned it
			res.panicked = ended
		}
		w.limit.Stop()
		c.land(ctx, w, res, start, func() { cancel(nil) })
	})
}

// land puts the result of w into the cache, and then calls cleanUp, the log handlers and the hooks. These run last,
// since a log handler can need a token itself.
func (c *Cache) land(ctx context.Context, w *worker, res result, start time.Time, cleanUp func()) {
	res.fetched, res.forced = w.fetched.Load(), w.forced.Load()
	notable, failure := c.complete(w.f, res)
	patience := time.AfterFunc(logPatience, w.f.release)
	defer patience.Stop()
	defer w.f.release()
	cleanUp()
	for _, f := range w.land() {
		f()
	}
	if notable {
		c.reportRefresh(ctx, w.f, res, failure, time.Since(start))
	}
}

type workerKey struct{}

// Later calls f when the flight that ctx belongs to is complete, or at once if there is none. Log handlers are called
// this way.
func Later(ctx context.Context, f func()) {
	if w, ok := ctx.Value(workerKey{}).(*worker); ok {
		w.later(f)
	} else {
		f()
	}
}

func (w *worker) later(f func()) {
	w.mu.Lock()
	queued := !w.landed
	if queued {
		w.queue = append(w.queue, f)
	}
	w.mu.Unlock()
	if !queued {
		f()
	}
}

// land marks the flight as complete. It returns the queued functions, which the caller must call.
func (w *worker) land() (queue []func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue, w.queue, w.landed = w.queue, nil, true
	return queue
}

// isInside reports whether ctx belongs to a flight of c that is not complete.
func (c *Cache) isInside(ctx context.Context) bool {
	w, ok := ctx.Value(workerKey{}).(*worker)
	if !ok || w.c != c {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.landed
}

// step records what w does next, and restarts the time limit.
func (w *worker) step(doing string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing = doing
	if !w.landed {
		w.limit.Reset(w.c.cfg.Limit)
	}
}

func (w *worker) currentStep() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doing
}

func (w *worker) locked(unlock func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.release = unlock
}

// unlock releases the lock of the store, if it is held.
func (w *worker) unlock() {
	w.mu.Lock()
	release := w.release
	w.release = nil
	w.mu.Unlock()
	if release != nil {
		release()
	}
}

// load takes a token from the store, or fetches one while it holds the lock of the store.
func (w *worker) load() (Token, error) {
	if w.c.store == nil {
		return w.fetch()
	}
	defer w.unlock()
	w.wanted = w.c.wanted(w.f)
	t, err := w.find(w.wanted)
	switch {
	case err != nil || t.AccessToken != "":
		return t, err
	case w.f.instead != nil:
		return Token{}, w.f.instead
	}
	t, err = w.fetch()
	switch {
	case err == nil && w.fetched.Load():
		w.save(t)
	case err != nil && w.wanted != nil && !errors.Is(err, ErrNoOtherToken) && w.c.cfg.Lasting(err):
		// Another process may be able to fetch: the failure may concern only this one, such as its IP address.
		w.unlock()
		if other := w.awaitOthers(w.wanted); other.AccessToken != "" {
			w.fetched.Store(false)
			return other, nil
		}
	}
	return t, err
}

// wanted returns a function that reports whether f can take this token from the store; nil if it can take none. It
// takes only a token that is not about to expire and that expires later than the cached one.
func (c *Cache) wanted(f *flight) func(Token) bool {
	if f.force {
		return nil
	}
	old := c.current.Load()
	if old != nil && old.AccessToken == f.rejected {
		old = nil
	}
	return func(t Token) bool {
		return t.AccessToken != f.rejected && time.Now().Before(t.ExpiresAt.Add(-minStored)) &&
			(old == nil || t.AccessToken != old.AccessToken && t.ExpiresAt.After(old.ExpiresAt))
	}
}

// fetch fetches a token. If it is the rejected one again, fetch forces a new one, if that is allowed. With
// ErrNoOtherToken it returns the rejected token.
func (w *worker) fetch() (Token, error) {
	kind := w.c.cfg.Kind
	if w.f.force && kind == Stable {
		kind = StableForced
		w.c.countForced()
		w.allowForced() // only to count it: an explicit request is never denied
	}
	t, err := w.request(kind)
	if err != nil || t.AccessToken != w.f.rejected {
		return t, err
	}
	if w.c.cfg.Kind != Stable || w.c.cfg.WithoutForced || !w.c.mayForce() || !w.allowForced() {
		return t, ErrNoOtherToken
	}
	w.c.countForced()
	forced, err := w.request(StableForced)
	switch {
	case err != nil:
		return t, fmt.Errorf("%w: %w", ErrNoOtherToken, err)
	case forced.AccessToken == w.f.rejected:
		return t, ErrNoOtherToken
	}
	return forced, nil
}

// request calls Fetch. If allow has found a token in the store, request returns that.
func (w *worker) request(kind Kind) (Token, error) {
	w.fetched.Store(true)
	if kind == StableForced {
		w.forced.Store(true)
	}
	w.step("requesting a token")
	t, err := w.c.cfg.Fetch(w.ctx, kind, w.allow)
	w.allowing.Lock()
	defer w.allowing.Unlock()
	if w.found.AccessToken != "" {
		w.fetched.Store(false)
		return w.found, nil
	}
	return t, err
}

// allow counts a token request, or returns why it must not be sent.
//
// If the lock was taken long ago, allow takes it again and looks at the store: a process that was suspended, or whose
// request timed out, may have lost the lock, and another process may have stored a token. Fetching another legacy token
// would invalidate that one.
func (w *worker) allow() error {
	w.allowing.Lock()
	defer w.allowing.Unlock()
	switch {
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case w.found.AccessToken != "":
		return errStored
	case w.c.store != nil && longAgo(w.lookedAt):
		w.unlock()
		t, err := w.findWithLock(w.wanted)
		if err != nil {
			return err
		}
		if w.found = t; t.AccessToken != "" {
			return errStored
		}
	}
	if err := w.c.allow(); err != nil {
		return err
	}
	w.step("requesting a token")
	return nil
}

// longAgo reports whether a lock taken at that time may be lost, by either clock: the monotonic clock stops while a
// machine sleeps.
func longAgo(then time.Time) bool {
	return !then.IsZero() && max(time.Since(then), time.Now().Round(0).Sub(then.Round(0))) > lockTrusted
}
