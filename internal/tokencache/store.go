package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/redact"
)

// Store shares one token among processes. Its methods must return when their context ends.
type Store interface {
	// Load returns the stored token, or the zero Token if there is none. Its error matches [ErrUnreadable] if the value
	// is not a token.
	Load(ctx context.Context) (Token, error)
	// Save stores t, unless the stored token expires later. It replaces a value that is not a token.
	Save(ctx context.Context, t Token) error
	// Delete deletes the stored token if it is the rejected one.
	Delete(ctx context.Context, rejected Token) error
	// Lock waits until nobody else holds the lock. It returns a nil unlock and a nil error if the store has no lock.
	Lock(ctx context.Context) (unlock func(), err error)
	// AllowForced counts a forced fetch and returns true, or returns false if all processes together have reached the
	// limit. A store that does not count returns true.
	AllowForced(ctx context.Context) (bool, error)
}

// ErrUnreadable is matched by the error of a store whose value is not a token. The next fetched token replaces the
// value.
var ErrUnreadable = errors.New("the stored value is not a token")

// sharedStore is the store of a cache, with the state of its log lines.
type sharedStore struct {
	Store
	required bool // a refresh fails if the store fails

	mu       sync.Mutex // guards the fields below
	warnedAt time.Time
	failures int // since warnedAt
}

const (
	storeTimeout = 2 * time.Second        // for one operation, which should take a few milliseconds
	requiredTime = 5 * time.Second        // the same if a refresh fails without the store
	lockTimeout  = 15 * time.Second       // for the lock: its holder may be fetching a token
	lockGrace    = 2 * time.Second        // for Lock to return after that
	lockTrusted  = 5 * time.Second        // how long the lock is assumed to be held: a process can be suspended
	pollMin      = 50 * time.Millisecond  // between looks at the store, doubled each time
	pollMax      = 500 * time.Millisecond // the longest of these
	othersTime   = 2 * time.Second        // for another process to store a token, if this one can't fetch one
	minStored    = 5 * time.Second        // remaining life of a stored token that is used
	warnGap      = time.Minute            // between log lines about the store
)

// find deletes the rejected token and looks for a wanted one, first without and then with the lock. If it finds none,
// it returns the zero Token, and w holds the lock, unless the store has none or a failure is tolerated.
//
// wanted is nil if no stored token is wanted.
func (w *worker) find(wanted func(Token) bool) (Token, error) {
	if w.f.rejected != "" {
		if err := w.delete(w.f.rejected); err != nil {
			return Token{}, w.tolerate("delete", err)
		}
	}
	t, err := w.loadStored(wanted)
	if err != nil || t.AccessToken != "" || w.f.instead != nil {
		return t, w.tolerate("load", err)
	}
	return w.findWithLock(wanted)
}

// findWithLock takes the lock, then looks for a wanted token. It also looks while it waits for the lock: once the
// holder has stored a token, waiting processes can use it without taking the lock.
func (w *worker) findWithLock(wanted func(Token) bool) (Token, error) {
	t, unlock, err := w.waitForLock(wanted)
	if err != nil || t.AccessToken != "" {
		return t, w.tolerate("lock", err)
	}
	w.lookedAt = time.Now()
	if unlock == nil {
		return Token{}, nil
	}
	w.locked(unlock)
	t, err = w.loadStored(wanted)
	return t, w.tolerate("load", err)
}

// waitForLock returns a wanted token, or the unlock function of the lock.
func (w *worker) waitForLock(wanted func(Token) bool) (Token, func(), error) {
	const step = "waiting for the lock of the token store"
	w.step(step)
	ctx, cancel := context.WithTimeout(w.ctx, lockTimeout)
	defer cancel()
	type lock struct {
		unlock     func()
		err, ended error
	}
	got := make(chan lock, 1)
	go func() {
		l := lock{err: errInterrupted} // remains if Lock calls runtime.Goexit, or panics
		guard.Run(func() { l.unlock, l.err = w.c.store.Lock(ctx) }, func(ended error) {
			l.ended = ended
			got <- l
		})
	}()
	leave := func() {
		cancel()
		switch l := <-got; {
		case l.ended != nil:
			w.warn("lock", errInterrupted)
		case l.err == nil && l.unlock != nil:
			l.unlock() // Lock has succeeded meanwhile
		}
	}
	start := time.Now()
	for pause := pollMin; ; pause = min(2*pause, pollMax) {
		select {
		case l := <-got:
			if guard.Rethrow(l.ended); l.err != nil {
				return Token{}, nil, l.err
			}
			return Token{}, l.unlock, nil
		case <-time.After(jitter(pause)):
		}
		if time.Since(start) >= lockTimeout+lockGrace {
			go leave()
			return Token{}, nil, backoff.ContextErr(ctx)
		}
		if t, err := w.loadStored(wanted); err == nil && t.AccessToken != "" {
			go leave()
			return t, nil, nil
		}
		w.step(step)
	}
}

// awaitOthers waits for a wanted token from another process, for a short time. It returns the zero Token if there is
// none, or if the store fails.
func (w *worker) awaitOthers(wanted func(Token) bool) Token {
	end := time.Now().Add(othersTime)
	for pause := pollMin; time.Now().Before(end); pause = min(2*pause, pollMax) {
		if backoff.Sleep(w.ctx, jitter(pause)) != nil {
			break
		}
		if t, err := w.loadStored(wanted); err != nil || t.AccessToken != "" {
			return t
		}
	}
	return Token{}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// loadStored returns the stored token if it is wanted, and the zero Token otherwise.
func (w *worker) loadStored(wanted func(Token) bool) (Token, error) {
	if wanted == nil {
		return Token{}, nil
	}
	w.step("reading from the token store")
	ctx, cancel := context.WithTimeout(w.ctx, w.c.store.timeout())
	defer cancel()
	t, err := w.c.store.Load(ctx)
	if err == nil && t.AccessToken != "" && !IsTokenText(t.AccessToken) {
		err = fmt.Errorf("%w: it has a space or a control character", ErrUnreadable)
		_ = w.delete(t.AccessToken) // otherwise Save keeps it if it expires later than the next token
	}
	if errors.Is(err, ErrUnreadable) {
		w.warn("load", err)
		return Token{}, nil
	}
	if err != nil || !wanted(t) {
		return Token{}, err
	}
	return t, nil
}

func (w *worker) delete(rejected string) error {
	w.step("deleting a token from the token store")
	ctx, cancel := context.WithTimeout(w.ctx, w.c.store.timeout())
	defer cancel()
	err := w.c.store.Delete(ctx, Token{AccessToken: rejected})
	if errors.Is(err, ErrUnreadable) {
		return nil // the value is not the rejected token
	}
	return err
}

// save stores a token. A failure is only logged: the token is valid whether or not it is stored.
func (w *worker) save(t Token) {
	w.step("writing to the token store")
	ctx, cancel := context.WithTimeout(w.ctx, w.c.store.timeout())
	defer cancel()
	if err := w.c.store.Save(ctx, t); err != nil {
		w.warn("save", redact.New(t.AccessToken).Error(err))
	}
}

// allowForced asks the store whether all processes together may force another fetch. If the store fails, only the limit
// of this process applies.
func (w *worker) allowForced() bool {
	if w.c.store == nil {
		return true
	}
	w.step("counting a forced refresh in the token store")
	ctx, cancel := context.WithTimeout(w.ctx, w.c.store.timeout())
	defer cancel()
	allowed, err := w.c.store.AllowForced(ctx)
	if err != nil {
		w.warn("allow forced", redact.New(w.f.rejected).Error(err))
		return true
	}
	return allowed
}

// timeout returns the timeout of an operation other than Lock.
func (s *sharedStore) timeout() time.Duration {
	if s.required {
		return requiredTime
	}
	return storeTimeout
}

// storeError is a failure of the store that a refresh can't go on without.
type storeError struct {
	op  string
	err error
}

func (e *storeError) Error() string {
	return fmt.Sprintf("wechatuser: token store: %s: %v", e.op, e.err)
}
func (e *storeError) Unwrap() error { return e.err }

// tolerate reports err and returns nil if a refresh can continue without the store, as with stable tokens, which are the
// same for all processes. A legacy token fetched without the store would invalidate that of all other processes.
func (w *worker) tolerate(op string, err error) error {
	if err == nil {
		return nil
	}
	err = redact.New(w.f.rejected).Error(err)
	if w.c.store.required && w.f.instead == nil {
		w.reportStore(op, err, false)
		return &storeError{op, err}
	}
	w.warn(op, err)
	return nil
}

// warn reports a tolerated failure of the store.
func (w *worker) warn(op string, err error) { w.reportStore(op, err, true) }

// count counts a failure. It reports whether to log it: at most one a minute, with the failures since the last line.
func (s *sharedStore) count() (failures int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	now := time.Now()
	if !s.warnedAt.IsZero() && now.Sub(s.warnedAt) < warnGap {
		return 0, false
	}
	failures, s.failures, s.warnedAt = s.failures, 0, now
	return failures, true
}
