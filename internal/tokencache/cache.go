package tokencache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
)

// ErrNoOtherToken reports that a token was rejected and no other one is available for now.
var ErrNoOtherToken = errors.New("wechatuser: there is no other access token")

// Cache holds one access token, and fetches it when it is needed. It is safe for concurrent use.
//
// The cached token goes through these states:
//
//	fresh       until staleAt       calls use it, without a lock
//	stale       until expiringAt    calls use it, and the first one starts a refresh
//	expiring    until it expires    calls wait for the refresh, and use the old token if that fails
//	none                            calls wait for the refresh, and fail with it
//
// A rejected token is dropped at once.
//
// A refresh is called a flight. One runs at a time, in its own goroutine, for all callers that need it. No caller's
// context ends it; each caller waits only as long as its own context allows. A flight that makes no progress is
// abandoned: its callers fail, but its goroutine may still deliver a token.
type Cache struct {
	cfg   Config
	hooks Hooks
	store *sharedStore // nil for none

	current atomic.Pointer[cachedToken]

	mu         sync.Mutex       // guards the fields below, and changes of current
	running    *flight          // nil for none
	lastErr    error            // of the last flight, nil after a success
	failure    lastingFailure   // returned in place of another fetch
	rejections backoff.Cooldown // active while new tokens are rejected too
	requests   requestLimit
	forced     ForcedLimit
	lookedAt   time.Time // when the last flight that only looks at the store began
	dropped    string    // the last rejected token
}

const (
	defaultLimit = 2 * time.Minute // of a flight
	lookGap      = time.Second     // between flights that only look at the store
)

// New returns an empty Cache.
func New(cfg Config) *Cache {
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	c := &Cache{cfg: cfg, hooks: Hooks{cfg.Hooks, cfg.Logger}}
	if cfg.Store != nil {
		c.store = &sharedStore{Store: cfg.Store, required: cfg.Kind == Legacy}
	}
	return c
}

// Fresh returns the cached token if Get would return it at once, and do nothing else.
func (c *Cache) Fresh() (Token, bool) {
	if t := c.current.Load(); t != nil && time.Now().Before(t.staleAt) {
		return t.Token, true
	}
	return Token{}, false
}

// Get returns a valid token. It waits for a fetch only if the cached token is expiring or there is none.
//
// Its error is that of the fetch or of the store, a [*LimitError], a [*RememberedError] or an [*AbandonedError], or
// wraps the error of ctx if that ended during the wait. If the fetch or the store panics, so do all callers that wait,
// with a [*guard.Panic].
func (c *Cache) Get(ctx context.Context) (Token, error) {
	if t := c.current.Load(); t != nil {
		now := time.Now()
		if now.Before(t.staleAt) {
			return t.Token, nil
		}
		if now.Before(t.expiringAt) {
			_, _ = c.join(ctx, requirement{}) // its error does not matter here: the token is good
			return t.Token, nil
		}
	}
	return c.token(ctx, requirement{})
}

// Refresh replaces the cached token if it is the rejected one. If fetched is false, the other token already existed and
// may be rejected too. Refresh returns [ErrNoOtherToken] if no other token is available for now; its other errors are
// those of Get.
func (c *Cache) Refresh(ctx context.Context, rejected string) (fetched bool, err error) {
	f, err := c.wait(ctx, requirement{rejected: rejected})
	if err != nil {
		return false, err
	}
	return f.fetched, nil
}

// ForceRefresh replaces the cached token even if it is good. Its errors are those of Get. After an error the cached
// token is unchanged.
func (c *Cache) ForceRefresh(ctx context.Context) (Token, error) {
	return c.token(ctx, requirement{force: true})
}

// Forget makes the cache forget a lasting failure, so that the next caller starts a fetch.
func (c *Cache) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = lastingFailure{}
}

// Accepted tells the cache that the platform accepted this token. That ends the growing pauses between refreshes, which
// begin when new tokens are rejected too. It takes a lock only once per token.
func (c *Cache) Accepted(accessToken string) {
	t := c.current.Load()
	if t == nil || t.accepted.Load() || t.AccessToken != accessToken {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.accepted.Store(true)
	c.rejections = backoff.Cooldown{}
}

// Current returns the cached token in any state, or the zero Token if there is none.
func (c *Cache) Current() Token {
	if t := c.current.Load(); t != nil {
		return t.Token
	}
	return Token{}
}

func (c *Cache) token(ctx context.Context, want requirement) (Token, error) {
	f, err := c.wait(ctx, want)
	if err != nil {
		return Token{}, err
	}
	return f.token, nil
}

// wait waits for a flight whose result satisfies the requirement.
func (c *Cache) wait(ctx context.Context, want requirement) (*flight, error) {
	if c.isInside(ctx) {
		return nil, errInside
	}
	for ctx.Err() == nil {
		f, err := c.join(ctx, want)
		if err != nil {
			return nil, err
		}
		if c.await(ctx, f) && f.satisfies(want) {
			guard.Rethrow(f.panicked)
			return f, f.err
		}
		// It was started for another requirement. Join the next one.
	}
	return nil, errWaiting(ctx)
}

func errWaiting(ctx context.Context) error {
	return fmt.Errorf("waiting for an access token: %w", backoff.ContextErr(ctx))
}

// await waits for a flight, reports the wait, and returns false if ctx ends first.
func (c *Cache) await(ctx context.Context, f *flight) bool {
	if f.reason == "" { // it was completed before it began: the token was cached
		return true
	}
	start := time.Now()
	done, err := true, error(nil)
	select {
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		done, err = false, errWaiting(ctx)
	}
	if len(c.hooks.Each) > 0 {
		c.mu.Lock()
		refresh := f.ctx
		c.mu.Unlock()
		c.hooks.waited(ctx, Wait{refresh, time.Since(start), err})
	}
	return done
}

// join returns the running flight, or starts one. If the cached token satisfies the requirement, or no flight may start
// and the token is still valid, join returns a completed flight.
func (c *Cache) join(ctx context.Context, want requirement) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, t := time.Now(), c.current.Load()
	isRejected := t != nil && t.AccessToken == want.rejected
	good := t != nil && !isRejected && !want.force
	if good && now.Before(t.staleAt) {
		return completed(t.Token), nil // another caller was faster
	}
	if c.running != nil {
		return c.running, nil
	}
	if err := c.throttle(want, isRejected, now); err != nil {
		look := c.look(ctx, want, err, now)
		switch {
		case good && now.Before(t.ExpiresAt):
			return completed(t.Token), nil
		case look != nil:
			return look, nil
		}
		return nil, err
	}
	if isRejected {
		c.current.Store(nil)
		c.dropped = want.rejected
	}
	return c.start(ctx, newFlight(want)), nil
}

// look starts a flight that only looks at the store: another process may have stored a token. err is why this process
// must not fetch one. look returns nil if the store can't help, or within lookGap of the last look.
func (c *Cache) look(ctx context.Context, want requirement, err error, now time.Time) *flight {
	if c.store == nil || want.force || now.Sub(c.lookedAt) < lookGap {
		return nil
	}
	c.lookedAt = now
	f := newFlight(want)
	f.instead = err
	return c.start(ctx, f)
}

func (c *Cache) start(ctx context.Context, f *flight) *flight {
	c.running = f
	ctx = context.WithoutCancel(ctx)
	f.ctx, f.reason = ctx, c.reason(f)
	// The flight outlives its callers. If it ended with one of them, calls with deadlines shorter than a fetch would
	// discard token after token, and each discarded legacy token has invalidated the one before it.
	go c.run(ctx, f)
	return f
}

func (c *Cache) reason(f *flight) string {
	switch t := c.current.Load(); {
	case f.force:
		return Forced
	case f.rejected != "":
		return Rejected
	case t != nil && time.Now().Before(t.ExpiresAt):
		return Expiring
	}
	return Cold
}

// throttle returns why no flight may start now, or nil if one may.
func (c *Cache) throttle(want requirement, isRejected bool, now time.Time) error {
	switch wait := c.requests.wait(now); {
	case isRejected && c.rejections.Active(now):
		return ErrNoOtherToken
	case !want.force && c.failure.Active(now):
		return &RememberedError{Wait: c.failure.Left(now), Err: c.failure.err}
	case wait > 0:
		return &LimitError{Wait: wait, Last: c.lastErr}
	}
	return nil
}

// allow counts a token request, or returns a *LimitError if it must not be sent.
func (c *Cache) allow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.requests.take(time.Now()); wait > 0 {
		return &LimitError{Wait: wait, Last: c.lastErr}
	}
	return nil
}

// mayForce reports whether this process may force another fetch.
func (c *Cache) mayForce() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.forced.Allowed(time.Now())
}

func (c *Cache) countForced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forced.Count(time.Now())
}

// complete puts the result of a flight into the cache, unless the flight has a result already. notable is false if
// there is nothing to log. failure is why the refresh failed, even if the callers receive the old token and no error.
func (c *Cache) complete(f *flight, res result) (notable bool, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if f.final {
		if res.panicked != nil {
			return true, res.err
		}
		return c.takeLate(res, now), nil
	}
	f.result, f.final = res, true
	failure = f.err
	isLook := f.instead != nil
	switch {
	case failure == nil:
		c.put(f, now)
	case isLook:
		f.err = f.instead
	case errors.Is(failure, ErrNoOtherToken):
		c.keepRejected(f.token, now)
	default:
		c.fallBack(f, now)
	}
	if failure == nil || !isLook && !errors.As(failure, new(*LimitError)) { // it wraps an earlier error
		c.lastErr = failure
	}
	c.running = nil
	return failure == nil || !isLook, failure
}

// takeLate caches the token of an abandoned flight if it is better than the cached one, and reports whether it is.
func (c *Cache) takeLate(res result, now time.Time) bool {
	t, old := res.token, c.current.Load()
	if res.err != nil || t.AccessToken == c.dropped || old != nil && !t.ExpiresAt.After(old.ExpiresAt) {
		return false
	}
	if old != nil && old.AccessToken == t.AccessToken {
		c.current.Store(old.extended(t))
	} else {
		c.current.Store(schedule(t, now))
	}
	c.failure = lastingFailure{}
	return true
}

// put caches the token of a flight that succeeded.
func (c *Cache) put(f *flight, now time.Time) {
	c.failure = lastingFailure{}
	if old := c.current.Load(); old != nil && old.AccessToken == f.token.AccessToken {
		// It is too early for a new token: a stable token stays the same until five minutes before it expires.
		c.current.Store(old.extended(f.token).deferred(now))
	} else {
		c.current.Store(schedule(f.token, now))
	}
	if f.rejected != "" && f.fetched {
		c.rejections.Begin(now) // until the new token is accepted
	}
}

// keepRejected caches a token that was rejected and then returned by the platform again. For a while calls use it
// without a refresh for each of them.
func (c *Cache) keepRejected(t Token, now time.Time) {
	kept := schedule(t, now)
	kept.accepted.Store(true) // one success must not end the pause: other calls may still be rejected
	c.current.Store(kept)
	c.rejections.Begin(now)
}

// fallBack makes the cached token the result of a failed flight, if it has not expired.
func (c *Cache) fallBack(f *flight, now time.Time) {
	if f.force {
		return // its caller wants only a new token, and forced fetches have their own causes of failure
	}
	if c.cfg.Lasting(f.err) {
		c.failure.remember(f.err, now)
	}
	if old := c.current.Load(); old != nil && now.Before(old.ExpiresAt) {
		c.current.Store(old.deferred(now))
		f.token, f.err = old.Token, nil
	}
}
