package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The clocks of a token.
const (
	renewAhead = 5 * time.Minute  // before the end, or up to a minute later: renewal begins, and calls go on
	waitAhead  = 1 * time.Minute  // before the end: calls wait for the renewal
	renewAgain = 15 * time.Second // after a renewal that brought nothing new
)

// ownTokens gets tokens from WeChat, and shares them through a store if there is one.
//
// The token at hand goes through these states:
//
//	fresh     until renewAt    calls take it, without a lock
//	ageing    until waitAt     calls take it, and the first of them starts a renewal
//	ending    until its end    calls wait for the renewal, and take the old token where that fails
//	none                       calls wait for the renewal, and fail with it
//
// A token that the platform refused is dropped at once, unless another one is at hand by then.
//
// One renewal runs at a time, in a goroutine of its own, for all who need it. All its steps have timeouts, and no
// caller's context ends it, since the next one needs what it brings; each waits no longer than its own context allows.
type ownTokens struct {
	fetch    func(ctx context.Context, way endpointID, spend func() error) (Token, error)
	way      endpointID   // accessToken or stableToken
	shared   *sharedStore // nil for none
	noForced bool
	log      *slog.Logger
	key      string

	current atomic.Pointer[cachedToken]

	mu       sync.Mutex // guards what follows, and changes of current
	running  *renewal   // nil for none
	lastErr  error      // of the last renewal, nil after a success
	failure  tokenFailure
	refusals pauses // while new tokens are refused too
	budget   tokenBudget

	forced forcedBudget // only the renewal that is running uses it
}

// cachedToken is a token with its plan.
type cachedToken struct {
	Token
	renewAt, waitAt time.Time
	proven          atomic.Bool // the platform took it
}

// demand is what a caller wants. The zero value is for any token that is good.
type demand struct {
	refused string // a token other than this one
	force   bool   // a new token, even if the old one is good
}

// renewal is the way to one token, for all who demand it. Once done is closed the rest does not change.
type renewal struct {
	demand
	done    chan struct{}
	token   Token
	err     error
	fetched bool // WeChat was asked
}

func newOwnTokens(cfg *config, fetch func(context.Context, endpointID, func() error) (Token, error)) *ownTokens {
	m := &ownTokens{fetch: fetch, way: stableToken, noForced: cfg.noForced, log: cfg.logger}
	family := "stable"
	if cfg.legacyToken {
		m.way, family = accessToken, "legacy"
	}
	// The two kinds of token live side by side and must not mix. The secret is in no key.
	m.key = "wechatuser:token:" + family + ":" + cfg.appID
	if cfg.tokenStore != nil {
		m.shared = &sharedStore{store: cfg.tokenStore, key: m.key, required: cfg.legacyToken, log: cfg.logger}
	}
	return m
}

// plan says when to renew a token: late in its life, and in a life shorter than usual in proportion. Chance keeps
// processes that got it together from renewing it together.
func plan(t Token, now time.Time) *cachedToken {
	life := max(t.ExpiresAt.Sub(now), 0)
	ahead, wait := min(renewAhead, life/2), min(waitAhead, life/10)
	jitter := rand.N(ahead/5 + 1)
	return &cachedToken{Token: t, renewAt: t.ExpiresAt.Add(jitter - ahead), waitAt: t.ExpiresAt.Add(-wait)}
}

// confirmed is the plan of a token that was handed out again.
func (t *cachedToken) confirmed(again Token) *cachedToken {
	shift := again.ExpiresAt.Sub(t.ExpiresAt)
	c := &cachedToken{Token: again, renewAt: t.renewAt.Add(shift), waitAt: t.waitAt.Add(shift)}
	c.proven.Store(t.proven.Load())
	return c
}

// postponed is the same plan, in which the next renewal is a little later, but not after the end.
func (t *cachedToken) postponed(now time.Time) *cachedToken {
	again := now.Round(0).Add(renewAgain)
	if again.After(t.ExpiresAt) {
		again = t.ExpiresAt
	}
	p := t.confirmed(t.Token)
	p.renewAt, p.waitAt = latest(p.renewAt, again), latest(p.waitAt, again)
	return p
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (m *ownTokens) get(ctx context.Context) (Token, error) {
	if t := m.current.Load(); t != nil {
		now := time.Now()
		if now.Before(t.renewAt) {
			return t.Token, nil
		}
		if now.Before(t.waitAt) {
			_, _ = m.join(ctx, demand{}) // an error here is no error of this call, whose token is good
			return t.Token, nil
		}
	}
	r, err := m.await(ctx, demand{})
	if err != nil {
		return Token{}, err
	}
	return r.token, nil
}

func (m *ownTokens) renew(ctx context.Context, refused Token) (fetched bool, err error) {
	r, err := m.await(ctx, demand{refused: refused.AccessToken})
	if err != nil {
		return false, err
	}
	return r.fetched, nil
}

func (m *ownTokens) force(ctx context.Context) (Token, error) {
	r, err := m.await(ctx, demand{force: true})
	if err != nil {
		return Token{}, err
	}
	return r.token, nil
}

// worked ends a row of refusals. It takes a lock once in a token's life.
func (m *ownTokens) worked(used Token) {
	t := m.current.Load()
	if t == nil || t.proven.Load() || t.AccessToken != used.AccessToken {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.proven.Store(true)
	m.refusals = pauses{}
}

// await joins a renewal that brings what is wanted, and waits for it.
func (m *ownTokens) await(ctx context.Context, want demand) (*renewal, error) {
	for ctx.Err() == nil {
		r, err := m.join(ctx, want)
		if err != nil {
			return nil, err
		}
		select {
		case <-r.done:
			if r.answers(want) {
				return r, r.err
			}
			// It was under way before this caller knew what it wants. Once more.
		case <-ctx.Done():
		}
	}
	return nil, fmt.Errorf("waiting for an access token: %w", ended(ctx))
}

// answers reports whether what became of r is an answer to want.
func (r *renewal) answers(want demand) bool {
	switch {
	case want.force, r.force && r.err != nil:
		return r.force == want.force
	case errors.Is(r.err, errNoOtherToken):
		return r.refused == want.refused
	}
	return r.err != nil || r.token.AccessToken != want.refused
}

// join gives the renewal that is under way, or starts one. Where none is needed it gives one that is done.
func (m *ownTokens) join(ctx context.Context, want demand) (*renewal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, t := time.Now(), m.current.Load()
	isRefused := t != nil && t.AccessToken == want.refused
	good := t != nil && !isRefused && !want.force
	if good && now.Before(t.renewAt) {
		return done(t.Token), nil // another caller was faster
	}
	if m.running != nil {
		return m.running, nil
	}
	if err := m.holdBack(want, isRefused, now); err != nil {
		if good && now.Before(t.ExpiresAt) {
			return done(t.Token), nil
		}
		return nil, err
	}
	if isRefused {
		m.current.Store(nil)
	}
	m.running = &renewal{demand: want, done: make(chan struct{})}
	go m.run(context.WithoutCancel(ctx), m.running)
	return m.running, nil
}

func done(t Token) *renewal {
	r := &renewal{token: t, done: make(chan struct{})}
	close(r.done)
	return r
}

// holdBack says why there should be no renewal now.
func (m *ownTokens) holdBack(want demand, isRefused bool, now time.Time) error {
	switch wait := m.budget.wait(now); {
	case isRefused && m.refusals.on(now):
		return errNoOtherToken
	case !want.force && m.failure.on(now):
		return m.failure.err
	case wait > 0:
		return &budgetError{wait: wait, last: m.lastErr}
	}
	return nil
}

// run carries out a renewal, for all who wait for it. It takes the values of its first caller's context, such as a trace.
func (m *ownTokens) run(ctx context.Context, r *renewal) {
	start := time.Now()
	r.err = errors.New("wechatuser: the renewal of the access token was broken off") // by a runtime.Goexit in a transport or store
	defer func() {
		defer close(r.done)
		failure := m.settle(r)
		m.logRenewal(ctx, r, failure, time.Since(start)) // without the lock: the log's handler may need a token itself
	}()
	r.token, r.err = m.obtain(ctx, r)
}

// settle draws the conclusions from a renewal. It returns why the renewal failed, which those who wait for it may not
// need to know.
func (m *ownTokens) settle(r *renewal) (failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, old := time.Now(), m.current.Load()
	failed = r.err
	switch {
	case r.err == nil:
		m.failure = tokenFailure{}
		if old != nil && old.AccessToken == r.token.AccessToken {
			// WeChat was asked too early: it hands out the same token until 5 minutes before its end.
			m.current.Store(old.confirmed(r.token).postponed(now))
		} else {
			m.current.Store(plan(r.token, now))
		}
		if r.refused != "" && r.fetched {
			m.refusals.begin(now)
		}
	case errors.Is(r.err, errNoOtherToken):
		// WeChat holds on to the token that it refuses. Keep it, and leave WeChat in peace for a while.
		next := plan(r.token, now)
		next.proven.Store(true) // a call that it lets through is no news of another token
		m.current.Store(next)
		m.refusals.begin(now)
	default:
		if !r.force { // which has limits of its own
			m.failure.remember(r.err, now)
		}
		if old != nil && !r.force && now.Before(old.ExpiresAt) {
			m.current.Store(old.postponed(now))
			r.token, r.err = old.Token, nil // it is good for a little longer
		}
	}
	if be := (*budgetError)(nil); !errors.As(failed, &be) {
		m.lastErr = failed
	}
	m.running = nil
	return failed
}

// obtain finds a token in the store, or else asks WeChat for one, alone among all who share the store.
func (m *ownTokens) obtain(ctx context.Context, r *renewal) (Token, error) {
	if m.shared == nil {
		return m.ask(ctx, r)
	}
	var wanted func(Token) bool
	if old := m.current.Load(); !r.force {
		wanted = func(t Token) bool {
			return t.AccessToken != r.refused && time.Now().Before(t.ExpiresAt.Add(-waitAhead)) &&
				(old == nil || t.AccessToken != old.AccessToken && t.ExpiresAt.After(old.ExpiresAt))
		}
	}
	t, unlock, err := m.shared.find(ctx, r.refused, wanted)
	defer unlock()
	if err != nil || t.AccessToken != "" {
		return t, err
	}
	if t, err = m.ask(ctx, r); err == nil {
		m.shared.save(ctx, t)
	}
	return t, err
}

// ask gets a token from WeChat. With errNoOtherToken it is the refused one.
func (m *ownTokens) ask(ctx context.Context, r *renewal) (Token, error) {
	r.fetched = true
	way := m.way
	if r.force && way == stableToken {
		way = forcedToken
		m.forced.spend(time.Now())
	}
	t, err := m.fetch(ctx, way, m.spend)
	if err != nil || t.AccessToken != r.refused {
		return t, err
	}
	if m.way != stableToken || m.noForced || !m.forced.allow(time.Now()) {
		return t, errNoOtherToken
	}
	m.forced.spend(time.Now())
	forced, err := m.fetch(ctx, forcedToken, m.spend)
	switch {
	case err != nil:
		return t, fmt.Errorf("%w: %w", errNoOtherToken, err)
	case forced.AccessToken == r.refused:
		return t, errNoOtherToken
	}
	return forced, nil
}

// spend takes one token request from the budget.
func (m *ownTokens) spend() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if wait := m.budget.spend(time.Now()); wait > 0 {
		return &budgetError{wait: wait, last: m.lastErr}
	}
	return nil
}

// logRenewal tells of a renewal, which comes once in two hours, or more often where something is wrong.
func (m *ownTokens) logRenewal(ctx context.Context, r *renewal, err error, d time.Duration) {
	reason := "due"
	switch {
	case r.force:
		reason = "forced"
	case r.refused != "":
		reason = "refused"
	}
	from := "store"
	if r.fetched {
		from = "wechat"
	}
	attrs := []slog.Attr{
		slog.String("key", m.key), slog.String("reason", reason), slog.String("from", from), slog.Duration("duration", d),
	}
	level, msg := slog.LevelInfo, "wechatuser: token renewed"
	if err != nil {
		level, msg = slog.LevelWarn, "wechatuser: token renewal failed"
		attrs = append(attrs, slog.String("error", err.Error()))
	} else {
		attrs = append(attrs, slog.Time("expires", r.token.ExpiresAt))
	}
	m.log.LogAttrs(ctx, level, msg, attrs...)
}
