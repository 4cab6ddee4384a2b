package tokencache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// requirement is what a caller requires of a token. The zero value accepts any good token.
type requirement struct {
	rejected string // a token other than this one
	force    bool   // a new token, even if the old one is good
}

// flight is one refresh, for all callers that wait for it. Its fields do not change once done is closed.
type flight struct {
	requirement // of the caller that started it
	done        chan struct{}
	token       Token
	err         error
	fetched     bool // Fetch was called
}

// completed returns a flight that needed none: its token is cached already.
func completed(t Token) *flight {
	f := &flight{token: t, done: make(chan struct{})}
	close(f.done)
	return f
}

// satisfies reports whether the result of f is a result for a caller with this requirement.
func (f *flight) satisfies(want requirement) bool {
	switch {
	case want.force, f.force && f.err != nil: // that a forced refresh failed concerns only those who forced it
		return f.force == want.force
	case errors.Is(f.err, ErrNoOtherToken):
		return f.rejected == want.rejected
	}
	return f.err != nil || f.token.AccessToken != want.rejected
}

var errInterrupted = errors.New("wechatuser: the refresh of the access token ended without a result")

// run carries out a flight. ctx has the values of the context of the caller that started it, such as a trace.
func (c *Cache) run(ctx context.Context, f *flight) {
	start := time.Now()
	f.err = errInterrupted // remains if Fetch or the store calls runtime.Goexit, or panics
	defer func() {
		defer close(f.done)
		failure := c.complete(f)
		c.log(ctx, f, failure, time.Since(start)) // without the lock: a log handler may need a token itself
	}()
	f.token, f.err = c.load(ctx, f)
}

// load takes a token from the store, or else fetches one, alone among all processes that share the store.
func (c *Cache) load(ctx context.Context, f *flight) (Token, error) {
	if c.store == nil {
		return c.fetch(ctx, f)
	}
	t, unlock, err := c.store.find(ctx, f.rejected, c.wanted(f))
	defer unlock()
	if err != nil || t.AccessToken != "" {
		return t, err
	}
	if t, err = c.fetch(ctx, f); err == nil {
		c.store.save(ctx, t)
	}
	return t, err
}

// wanted returns a function that reports whether f can take this token from the store; nil if it can take none. It
// takes none that is about to expire, and none that is as old as the cached token or older.
func (c *Cache) wanted(f *flight) func(Token) bool {
	if f.force {
		return nil
	}
	old := c.current.Load()
	return func(t Token) bool {
		return t.AccessToken != f.rejected && time.Now().Before(t.ExpiresAt.Add(-expiringAhead)) &&
			(old == nil || t.AccessToken != old.AccessToken && t.ExpiresAt.After(old.ExpiresAt))
	}
}

// fetch fetches a token. If it is the rejected one again, fetch forces another one, if that is allowed; with
// ErrNoOtherToken the token is still the rejected one.
func (c *Cache) fetch(ctx context.Context, f *flight) (Token, error) {
	f.fetched = true
	kind := c.cfg.Kind
	if f.force && kind == Stable {
		kind = StableForced
		c.forced.take(time.Now())
	}
	t, err := c.cfg.Fetch(ctx, kind, c.allow)
	if err != nil || t.AccessToken != f.rejected {
		return t, err
	}
	if c.cfg.Kind != Stable || c.cfg.WithoutForced || !c.forced.allowed(time.Now()) {
		return t, ErrNoOtherToken
	}
	c.forced.take(time.Now())
	forced, err := c.cfg.Fetch(ctx, StableForced, c.allow)
	switch {
	case err != nil:
		return t, fmt.Errorf("%w: %w", ErrNoOtherToken, err)
	case forced.AccessToken == f.rejected:
		return t, ErrNoOtherToken
	}
	return forced, nil
}

// log writes a line for a flight: one in two hours, and more only if something is wrong.
func (c *Cache) log(ctx context.Context, f *flight, err error, d time.Duration) {
	reason := "due"
	switch {
	case f.force:
		reason = "forced"
	case f.rejected != "":
		reason = "rejected"
	}
	from := "store"
	if f.fetched {
		from = "wechat"
	}
	level, msg, result := slog.LevelInfo, "wechatuser: token refreshed", slog.Time("expires", f.token.ExpiresAt)
	if err != nil {
		level, msg, result = slog.LevelWarn, "wechatuser: token refresh failed", slog.String("error", err.Error())
	}
	c.cfg.Logger.LogAttrs(ctx, level, msg, slog.String("key", c.cfg.Key), slog.String("reason", reason),
		slog.String("from", from), slog.Duration("duration", d), result)
}
