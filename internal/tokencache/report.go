package tokencache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wechatuser/wechatuser/internal/guard"
)

// Reasons of a refresh.
const (
	Cold     = "cold"     // there was no valid token
	Expiring = "expiring" // the token was about to expire
	Rejected = "rejected" // the platform rejected the token
	Forced   = "forced"   // ForceRefresh was called
)

// Where a refresh takes its token from.
const (
	FromPlatform = "wechat"
	FromStore    = "store"
)

// Refresh is a refresh that begins or has ended. Of one that begins only the reason is known.
type Refresh struct {
	Reason    string
	From      string
	Forced    bool // by a forced fetch, of which WeChat allows 20 a day
	Duration  time.Duration
	ExpiresAt time.Time // of the new token, zero after a failure
	Err       error     // even if callers go on with the old token
}

// StoreFailure is a failed operation of the store.
type StoreFailure struct {
	Operation string
	Tolerated bool // the refresh goes on without the store
	Err       error
}

// Wait is the wait of one caller for a refresh.
type Wait struct {
	Refresh  context.Context //nolint:containedctx // names the refresh, and has values such as its span
	Duration time.Duration
	Err      error // why the caller got no token
}

// Hook has functions that are told what happens to the token. Each may be nil.
type Hook struct {
	Refreshing  func(context.Context, Refresh) context.Context
	Refreshed   func(context.Context, Refresh)
	StoreFailed func(context.Context, StoreFailure)
	Waited      func(context.Context, Wait)
}

// Hooks are all hooks of a program. A panic in one of them is logged, and changes nothing else.
type Hooks struct {
	Each   []Hook
	Logger *slog.Logger
}

// hookPatience is how long a refresh waits for a hook.
const hookPatience = time.Second

// refreshing tells the hooks that a refresh begins, and returns the context for it.
func (h Hooks) refreshing(ctx context.Context, r Refresh) context.Context {
	for _, hook := range h.Each {
		if hook.Refreshing != nil {
			ctx = h.begin(ctx, hook, r)
		}
	}
	return ctx
}

// begin tells one hook. It does not wait for a hook that takes too long.
func (h Hooks) begin(ctx context.Context, hook Hook, r Refresh) context.Context {
	got := make(chan context.Context, 1)
	go h.guarded(ctx, func() { got <- hook.Refreshing(ctx, r) }, func() { close(got) })
	select {
	case of := <-got:
		if of != nil { // not after a panic
			return context.WithoutCancel(of)
		}
	case <-time.After(hookPatience):
		h.warn(ctx, "wechatuser: token hook held up a refresh, which goes on without it",
			slog.Duration("after", hookPatience))
	}
	return ctx
}

// Refreshed tells the hooks that a refresh has ended.
func (h Hooks) Refreshed(ctx context.Context, r Refresh) {
	for _, hook := range h.Each {
		if hook.Refreshed != nil {
			h.guarded(ctx, func() { hook.Refreshed(ctx, r) }, func() {})
		}
	}
}

func (h Hooks) storeFailed(ctx context.Context, f StoreFailure) {
	for _, hook := range h.Each {
		if hook.StoreFailed != nil {
			h.guarded(ctx, func() { hook.StoreFailed(ctx, f) }, func() {})
		}
	}
}

func (h Hooks) waited(ctx context.Context, w Wait) {
	for _, hook := range h.Each {
		if hook.Waited != nil {
			h.guarded(ctx, func() { hook.Waited(ctx, w) }, func() {})
		}
	}
}

// guarded calls f and then ended. The value of a panic is not logged: it may show a secret.
func (h Hooks) guarded(ctx context.Context, f, ended func()) {
	guard.Run(f, func(err error) {
		if p := (*guard.Panic)(nil); errors.As(err, &p) {
			h.warn(ctx, "wechatuser: token hook panicked", slog.String("panic", string(p.Stack)))
		}
		ended()
	})
}

func (h Hooks) warn(ctx context.Context, text string, attr slog.Attr) {
	Later(ctx, func() { h.Logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelWarn, text, attr) })
}

// reportRefresh tells the log and the hooks what came of a flight. err is why it failed, even if its callers receive
// the old token.
func (c *Cache) reportRefresh(ctx context.Context, f *flight, res result, err error, d time.Duration) {
	r := Refresh{Reason: f.reason, From: FromStore, Forced: res.forced, Duration: d, Err: err}
	if res.fetched {
		r.From = FromPlatform
	}
	if err == nil {
		r.ExpiresAt = res.token.ExpiresAt
	}
	c.logRefresh(ctx, r, res.panicked)
	c.hooks.Refreshed(ctx, r)
}

// logRefresh writes a line for a refresh. Without failures that is one line in two hours. While a required store fails,
// each call starts a refresh, and there is one line a minute.
func (c *Cache) logRefresh(ctx context.Context, r Refresh, panicked error) {
	attrs := []slog.Attr{
		slog.String("key", c.cfg.Key), slog.String("reason", r.Reason), slog.String("from", r.From),
		slog.Duration("duration", r.Duration),
	}
	if r.Err == nil {
		attrs = append(attrs, slog.Time("expires", r.ExpiresAt))
		c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "wechatuser: token refreshed", attrs...)
		return
	}
	if errors.As(r.Err, new(*storeError)) {
		failures, due := c.store.count()
		if !due {
			return
		}
		attrs = append(attrs, slog.Int("failures", failures))
	}
	attrs = append(attrs, slog.String("error", r.Err.Error()))
	if p := (*guard.Panic)(nil); errors.As(panicked, &p) { // perhaps nobody waits; its value may show a secret
		attrs = append(attrs, slog.String("panic", string(p.Stack)))
	}
	c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "wechatuser: token refresh failed", attrs...)
}

// reportStore tells the log and the hooks of a failure of the store, once the flight is complete. The log has at most
// one line a minute, and none if the refresh fails: that has its own.
func (w *worker) reportStore(op string, err error, tolerated bool) {
	w.later(func() {
		if tolerated {
			w.c.logStore(op, err)
		}
		w.c.hooks.storeFailed(context.WithoutCancel(w.ctx), StoreFailure{op, tolerated, err})
	})
}

func (c *Cache) logStore(op string, err error) {
	if failures, due := c.store.count(); due {
		c.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "wechatuser: token store failed, going on without it",
			slog.String("key", c.cfg.Key), slog.String("operation", op), slog.Int("failures", failures),
			slog.String("error", err.Error()))
	}
}
