package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// Token is an access token. Printing it in any way shows when it ends, and not what it is.
//
// encoding/json writes it whole, for a [TokenStore].
type Token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"` // zero where it is not known
}

// String tells when the token ends.
func (t Token) String() string {
	switch {
	case t.AccessToken == "":
		return "Token(none)"
	case t.ExpiresAt.IsZero():
		return "Token(***)"
	default:
		return "Token(***, expires " + t.ExpiresAt.UTC().Format(time.RFC3339) + ")"
	}
}

// GoString is String.
func (t Token) GoString() string { return t.String() }

// Format prints String for each verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// TokenSource is where access tokens come from if not from WeChat itself; see [WithTokenSource].
//
// Token is called for each attempt of each call, so it should answer from memory when it can. It must be safe for
// concurrent use, and return when the context ends.
type TokenSource interface {
	Token(context.Context) (Token, error)
}

// TokenInvalidator is a [TokenSource] that can be told that the platform refused a token. The call that was refused is
// then repeated with the token that the source gives next, if it is another one.
type TokenInvalidator interface {
	// Invalidate drops that token and no other: by the time it is called, a newer one may be there.
	Invalidate(ctx context.Context, refused Token) error
}

// TokenSourceFunc is a function as a [TokenSource].
type TokenSourceFunc func(context.Context) (Token, error)

// Token calls f.
func (f TokenSourceFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// StaticTokenSource always gives the same token, for tests and short programs.
func StaticTokenSource(token string) TokenSource {
	return TokenSourceFunc(func(context.Context) (Token, error) { return Token{AccessToken: token}, nil })
}

// tokens is where a client's calls get their tokens. All its methods return when the context ends.
type tokens interface {
	// get gives a token to try.
	get(context.Context) (Token, error)
	// renew makes sure that get gives another token than the refused one, or fails with errNoOtherToken.
	renew(ctx context.Context, refused Token) error
	// force replaces the token even if it is good.
	force(context.Context) (Token, error)
}

// errNoOtherToken: the platform refuses a token and keeps handing it out.
var errNoOtherToken = errors.New("wechatuser: there is no other access token")

// Token gives the access token that the next call would use, for calls that this package does not make. Treat it as
// the secret it is.
//
// It asks WeChat only when there is none that is good: getStableAccessToken,
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) Token(ctx context.Context) (Token, error) { return c.tokens.get(ctx) }

// RefreshToken replaces the access token even if it is good, and ends it at once for everybody. No call needs it: a
// token that ends or is refused is renewed without. It is for a token that has become known to others.
//
// WeChat allows 20 of them a day and account. Within 30 seconds of the last one it gives the current token again.
// With [WithTokenSource] the source must be a [TokenInvalidator].
//
// getStableAccessToken with force_refresh,
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) RefreshToken(ctx context.Context) (Token, error) { return c.tokens.force(ctx) }

// foreignTokens are tokens of a TokenSource.
type foreignTokens struct{ src TokenSource }

func (f foreignTokens) get(ctx context.Context) (Token, error) {
	t, err := f.src.Token(ctx)
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("wechatuser: token source: %w", err)
	case t.AccessToken == "":
		return Token{}, errors.New("wechatuser: token source: it gave an empty token and no error")
	}
	return t, nil
}

func (f foreignTokens) renew(ctx context.Context, refused Token) error {
	if inv, ok := f.src.(TokenInvalidator); ok {
		if err := inv.Invalidate(ctx, refused); err != nil {
			return fmt.Errorf("wechatuser: token source: dropping a refused token: %w", err)
		}
	}
	t, err := f.get(ctx)
	if err == nil && t.AccessToken == refused.AccessToken {
		err = errNoOtherToken
	}
	return err
}

func (f foreignTokens) force(ctx context.Context) (Token, error) {
	if _, ok := f.src.(TokenInvalidator); !ok {
		return Token{}, &ArgumentError{API: "RefreshToken", Field: "TokenSource", Reason: "it can't renew a token: implement TokenInvalidator, or renew it where it comes from"}
	}
	t, err := f.get(ctx)
	if err != nil {
		return Token{}, err
	}
	if err := f.renew(ctx, t); err != nil {
		return Token{}, err
	}
	return f.get(ctx)
}

// tokenResponse is the answer of both token endpoints.
type tokenResponse struct {
	wire.Envelope
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

func (r *tokenResponse) missing() string {
	switch {
	case r.AccessToken == "":
		return "access_token"
	case r.ExpiresIn <= 0:
		return "expires_in above zero"
	}
	return ""
}

// fetchToken asks WeChat for a token, in one of its three ways.
func (c *Client) fetchToken(ctx context.Context, way endpointID, before func() error) (Token, error) {
	req := request{ep: &endpoints[way], before: before}
	var in any
	if way == accessToken {
		req.query = url.Values{"grant_type": {"client_credential"}, "appid": {c.appID}, "secret": {c.secret}}
	} else {
		in = struct {
			GrantType    string `json:"grant_type"`
			AppID        string `json:"appid"`
			Secret       string `json:"secret"`
			ForceRefresh bool   `json:"force_refresh"`
		}{"client_credential", c.appID, c.secret, way == forcedToken}
	}
	asked := time.Now() // the token's time runs from then, not from when the answer was read
	res, err := call[tokenResponse](ctx, c, req, in)
	if err != nil {
		return Token{}, err
	}
	// Round takes off the monotonic clock, which stands still while a machine sleeps.
	end := asked.Add(time.Duration(min(res.ExpiresIn, 1<<31)) * time.Second).Round(0)
	return Token{AccessToken: res.AccessToken, ExpiresAt: end}, nil
}

// The clocks of a token.
const (
	renewAhead   = 5 * time.Minute  // before the end: renewal begins, while calls go on with the token
	renewJitter  = 1 * time.Minute  // by up to so much later, so that processes do not all renew at once
	waitAhead    = 1 * time.Minute  // before the end: calls wait for the renewal
	renewAgain   = 15 * time.Second // after a renewal that brought nothing new
	forcedPause  = 30 * time.Second // between forced renewals; WeChat ignores those in between
	forcedPerDay = 20
	storeTimeout = 3 * time.Second  // for one operation of a store, which should need a few milliseconds
	lockTimeout  = 30 * time.Second // for a lock, whose holder may be fetching
)

// ownTokens gets tokens from WeChat, and shares them through a store if there is one.
//
// Reading a token that is good takes no lock. Callers that find none share one renewal, which runs in a goroutine of
// its own. All its steps have timeouts, and no caller's context ends it, since the next one needs what it brings.
// Each caller waits for it no longer than its own context allows.
type ownTokens struct {
	fetch    func(ctx context.Context, way endpointID, before func() error) (Token, error)
	store    TokenStore // nil for none
	key      string
	way      endpointID // accessToken or stableToken
	noForced bool
	log      *slog.Logger

	current atomic.Pointer[cachedToken]

	mu      sync.Mutex
	running *renewal // nil for none
	budget  tokenBudget
	failure tokenFailure
	lastErr error       // of the last renewal, nil after a success
	forced  []time.Time // forced renewals of the last day
	stuck   cachedToken // a token that was refused, and that the platform keeps handing out, until waitAt
}

// cachedToken is a token with its plan.
type cachedToken struct {
	Token
	renewAt time.Time // from then on it is renewed in the background
	waitAt  time.Time // from then on calls wait for the renewal
}

// renewal is one shared fetch of a token.
type renewal struct {
	refused string        // the token that must not come back, empty for none
	force   bool          // replace it even if it is good
	old     *cachedToken  // the refused token, taken out of the cache meanwhile
	done    chan struct{} // closed when token and err are set
	token   Token
	err     error
}

func newOwnTokens(cfg *config, fetch func(context.Context, endpointID, func() error) (Token, error)) *ownTokens {
	m := &ownTokens{fetch: fetch, store: cfg.tokenStore, way: stableToken, noForced: cfg.noForced, log: cfg.logger}
	family := "stable"
	if cfg.legacyToken {
		m.way, family = accessToken, "legacy"
	}
	// The two kinds of token live side by side and must not mix. The secret is in no key.
	m.key = "wechatuser:token:" + family + ":" + cfg.appID
	return m
}

// plan says when to renew a token: late in its life, and in a life shorter than usual in proportion.
func plan(t Token, now time.Time) *cachedToken {
	life := t.ExpiresAt.Sub(now)
	ahead, wait := min(renewAhead, life/2), min(waitAhead, life/10)
	jitter := rand.N(max(min(renewJitter, ahead/5), 0) + 1)
	return &cachedToken{Token: t, renewAt: t.ExpiresAt.Add(jitter - ahead), waitAt: t.ExpiresAt.Add(-wait)}
}

// postponed is the same token, to be renewed a little later, and used until then or to its end.
func (t *cachedToken) postponed(now time.Time) *cachedToken {
	again := now.Add(renewAgain)
	if again.After(t.ExpiresAt) {
		again = t.ExpiresAt
	}
	p := &cachedToken{Token: t.Token, renewAt: again, waitAt: t.waitAt}
	if p.waitAt.Before(again) {
		p.waitAt = again
	}
	return p
}

func (m *ownTokens) get(ctx context.Context) (Token, error) {
	if t := m.current.Load(); t != nil {
		now := time.Now()
		if now.Before(t.renewAt) {
			return t.Token, nil
		}
		if now.Before(t.waitAt) {
			_, _ = m.join(&renewal{}) // an error here is no error of this call, whose token is good
			return t.Token, nil
		}
	}
	return m.await(ctx, &renewal{})
}

func (m *ownTokens) renew(ctx context.Context, refused Token) error {
	_, err := m.await(ctx, &renewal{refused: refused.AccessToken})
	return err
}

func (m *ownTokens) force(ctx context.Context) (Token, error) {
	return m.await(ctx, &renewal{force: true})
}

// await joins a renewal that does what is wanted, and waits for it.
func (m *ownTokens) await(ctx context.Context, want *renewal) (Token, error) {
	for {
		r, err := m.join(want)
		if err != nil {
			return Token{}, err
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return Token{}, fmt.Errorf("waiting for an access token: %w", ctx.Err())
		}
		switch {
		case r.satisfies(want):
			return r.token, r.err
		case r.err != nil && !want.force && !errors.Is(r.err, errNoOtherToken):
			return Token{}, r.err
		}
		// It was under way before this caller knew what it wants. Once more.
	}
}

// satisfies reports whether r's outcome is an answer to want.
func (r *renewal) satisfies(want *renewal) bool {
	if want.force {
		return r.force
	}
	return r.err == nil && (want.refused == "" || r.token.AccessToken != want.refused) || r.refused == want.refused
}

// join gives the renewal that is under way, or starts want. Where none is needed it gives one that is done.
func (m *ownTokens) join(want *renewal) (*renewal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	t := m.current.Load()
	if !want.force && t != nil {
		switch {
		case t.AccessToken == want.refused:
			if m.stuck.AccessToken == want.refused && now.Before(m.stuck.waitAt) {
				return nil, errNoOtherToken
			}
		case want.refused != "" && now.Before(t.waitAt), now.Before(t.renewAt):
			return finished(t.Token), nil // somebody else was faster
		}
	}
	if m.running != nil {
		return m.running, nil
	}
	if !want.force {
		if err := m.failure.remembered(now); err != nil {
			if t != nil && t.AccessToken != want.refused && now.Before(t.ExpiresAt) {
				return finished(t.Token), nil
			}
			return nil, err
		}
	}
	r := &renewal{refused: want.refused, force: want.force, done: make(chan struct{})}
	if t != nil && t.AccessToken == want.refused {
		r.old = t
		m.current.Store(nil) // so that calls that begin now wait for the new one
	}
	m.running = r
	go m.run(r)
	return r, nil
}

func finished(t Token) *renewal {
	r := &renewal{token: t, done: make(chan struct{})}
	close(r.done)
	return r
}

// run carries out one renewal.
func (m *ownTokens) run(r *renewal) {
	start := time.Now()
	r.token, r.err = m.obtain(context.Background(), r)

	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	old := m.current.Load()
	level := slog.LevelWarn
	m.lastErr = r.err
	switch {
	case r.err == nil:
		level = slog.LevelInfo
		m.failure = tokenFailure{}
		next := plan(r.token, now)
		if old != nil && old.AccessToken == r.token.AccessToken && !now.Before(old.renewAt) {
			next = old.postponed(now) // the platform was asked too early
		}
		m.current.Store(next)
	case errors.Is(r.err, errNoOtherToken):
		// The platform holds on to the token that it refused. Keep it, and leave the platform in peace for a while.
		m.current.Store(r.old)
		m.stuck = cachedToken{Token: Token{AccessToken: r.refused}, waitAt: now.Add(forcedPause)}
	default:
		m.failure.remember(r.err, now)
		if old != nil && now.Before(old.ExpiresAt) && !r.force {
			m.current.Store(old.postponed(now))
			r.token, r.err = old.Token, nil // it is good for a little longer
		}
	}
	m.running = nil
	close(r.done)
	m.logRenewal(level, r, time.Since(start))
}

func (m *ownTokens) logRenewal(level slog.Level, r *renewal, d time.Duration) {
	attrs := []slog.Attr{slog.String("key", m.key), slog.Bool("refused", r.refused != ""), slog.Bool("forced", r.force), slog.Duration("duration", d)}
	if m.lastErr != nil {
		attrs = append(attrs, slog.String("error", m.lastErr.Error()))
	} else {
		attrs = append(attrs, slog.Time("expires", r.token.ExpiresAt))
	}
	m.log.LogAttrs(context.Background(), level, "wechatuser: token renewal", attrs...)
}

// obtain finds a token in the store, or else asks WeChat for one, alone among all who share the store.
func (m *ownTokens) obtain(ctx context.Context, r *renewal) (Token, error) {
	shared, unlock, err := m.lookUp(ctx, r)
	if err != nil {
		return Token{}, err
	}
	defer unlock()
	if shared.AccessToken != "" {
		return shared, nil
	}
	way := m.way
	if r.force && way == stableToken {
		way = forcedToken
		m.noteForced(time.Now())
	}
	t, err := m.fetch(ctx, way, m.spend)
	if err == nil && r.refused != "" && t.AccessToken == r.refused {
		if !m.mayForce(time.Now()) {
			return Token{}, errNoOtherToken
		}
		t, err = m.fetch(ctx, forcedToken, m.spend)
		if err == nil && t.AccessToken == r.refused {
			err = errNoOtherToken
		}
	}
	if err != nil {
		return Token{}, err
	}
	if m.store != nil {
		// The token is good whether or not others get to know it.
		limited, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := m.store.Save(limited, m.key, t); err != nil {
			m.warnStore(ctx, "save", err)
		}
	}
	return t, nil
}

// lookUp drops a refused token from the store and looks for a newer one there, first without and then under the
// store's lock. unlock is never nil without an error.
func (m *ownTokens) lookUp(ctx context.Context, r *renewal) (found Token, unlock func(), err error) {
	unlock = func() {}
	if m.store == nil {
		return Token{}, unlock, nil
	}
	if r.refused != "" {
		limited, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := m.store.Delete(limited, m.key, Token{AccessToken: r.refused}); err != nil {
			return Token{}, unlock, m.storeDown(ctx, "delete", err)
		}
	}
	found, err = m.load(ctx, r)
	if err != nil || found.AccessToken != "" {
		return found, unlock, m.storeDown(ctx, "load", err)
	}
	locker, ok := m.store.(TokenLocker)
	if !ok {
		return Token{}, unlock, nil
	}
	limited, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	release, err := locker.Lock(limited, m.key)
	if err != nil {
		return Token{}, unlock, m.storeDown(ctx, "lock", err)
	}
	if release != nil {
		unlock = release
	}
	found, err = m.load(ctx, r)
	if err = m.storeDown(ctx, "load", err); err != nil {
		unlock()
		return Token{}, func() {}, err
	}
	return found, unlock, nil
}

// load reads the store, and gives the zero Token unless there is one worth more than the one at hand.
func (m *ownTokens) load(ctx context.Context, r *renewal) (Token, error) {
	if r.force {
		return Token{}, nil
	}
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	t, err := m.store.Load(limited, m.key)
	now := time.Now()
	switch old := m.current.Load(); {
	case err != nil:
		return Token{}, err
	case t.AccessToken == "" || t.AccessToken == r.refused || !now.Before(t.ExpiresAt.Add(-waitAhead)):
		return Token{}, nil
	case old != nil && old.AccessToken != r.refused && !t.ExpiresAt.After(old.ExpiresAt):
		return Token{}, nil
	}
	return t, nil
}

// storeDown decides whether a renewal goes on without the store. Stable tokens need no agreement among processes. A
// legacy token that was fetched without it would end the token of all others.
func (m *ownTokens) storeDown(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if m.way == accessToken {
		return fmt.Errorf("wechatuser: token store: %s: %w", op, err)
	}
	m.warnStore(ctx, op, err)
	return nil
}

func (m *ownTokens) warnStore(ctx context.Context, op string, err error) {
	m.log.LogAttrs(ctx, slog.LevelWarn, "wechatuser: token store failed, going on without it",
		slog.String("key", m.key), slog.String("operation", op), slog.String("error", err.Error()))
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

// mayForce allows a forced renewal that nobody asked for, and notes it.
func (m *ownTokens) mayForce(now time.Time) bool {
	if m.noForced || m.way != stableToken {
		return false
	}
	m.mu.Lock()
	n := len(m.forced)
	ok := n == 0 || now.Sub(m.forced[n-1]) >= forcedPause && (n < forcedPerDay || now.Sub(m.forced[n-forcedPerDay]) >= 24*time.Hour)
	m.mu.Unlock()
	if ok {
		m.noteForced(now)
	}
	return ok
}

// noteForced remembers the last forcedPerDay forced renewals.
func (m *ownTokens) noteForced(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.forced) == forcedPerDay {
		m.forced = append(m.forced[:0], m.forced[1:]...)
	}
	m.forced = append(m.forced, now)
}
