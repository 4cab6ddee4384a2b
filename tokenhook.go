package wechatuser

import (
	"context"
	"time"

	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// TokenHook has functions that are told what happens to the access token, for metrics, traces and alerts; see
// [WithTokenHook]. Each may be nil. No argument contains a token, the app secret or an openid.
//
// The functions must be safe for concurrent use and should return at once. A slow one holds up a refresh for no more
// than a second, before it and after it. A panic in one of them is logged as a warning, and changes nothing else. A call
// that a function makes should use its context: during a refresh, a call that needs the token of that refresh fails
// then, in place of waiting for itself.
type TokenHook struct {
	// Refreshing is called when a refresh begins, in a goroutine of its own; of the argument only Reason is set. The
	// context has the values of the call that started the refresh. The refresh uses the values of the context that
	// Refreshing returns, for all that it does: a span in it is the parent of the span of the token request. A returned
	// nil is ignored, and so are the deadline and the cancellation of the context.
	//
	// It is not called for tokens of a [TokenSource], nor if a client that may send no token request for now looks for a
	// token in its [TokenStore].
	Refreshing func(context.Context, TokenRefresh) context.Context
	// Refreshed is called when a refresh has ended, with the context of the refresh. For a refresh that was abandoned,
	// it is called again if a token comes after all.
	//
	// With a [TokenSource], it is called for a token that is not the one before, and for each failure of the source.
	Refreshed func(context.Context, TokenRefresh)
	// StoreFailed is called for each failed operation of the [TokenStore], after the refresh that needed it, with the
	// context of the refresh.
	StoreFailed func(context.Context, TokenStoreFailure)
	// Waited is called for each call that has waited for a refresh, with the context of the call. Most calls do not
	// wait: the token is refreshed in the background five minutes before it expires.
	Waited func(context.Context, TokenWait)
}

// Reasons of a refresh, in [TokenRefresh]. Log lines contain the same words.
const (
	RefreshCold     = "cold"     // there was no valid token
	RefreshExpiring = "expiring" // the token was about to expire
	RefreshRejected = "rejected" // the platform rejected the token
	RefreshForced   = "forced"   // RefreshToken was called
	RefreshAsked    = "asked"    // a TokenSource was asked for the token of a call
)

// Where a token comes from, in [TokenRefresh]. Log lines contain the same words.
const (
	TokenFromWeChat = tokencache.FromPlatform // "wechat"
	TokenFromStore  = tokencache.FromStore    // "store"
	TokenFromSource = "source"
)

// TokenRefresh describes a refresh of the access token.
type TokenRefresh struct {
	Reason    string        // such as [RefreshExpiring]
	From      string        // such as [TokenFromWeChat]; after a failure, where the token was to come from
	Forced    bool          // by a forced request, of which WeChat allows 20 per account and day
	Duration  time.Duration // with all waits and retries
	ExpiresAt time.Time     // of the new token; zero after a failure, or if it is not known
	// Err is why the refresh failed, also if calls go on with the old token. errors.Is finds its [Code] and its classes,
	// such as [ErrCredential].
	Err error
}

// TokenStoreFailure describes a failed operation of a [TokenStore].
type TokenStoreFailure struct {
	Operation string // "load", "save", "delete", "lock" or "allow forced"
	Tolerated bool   // the refresh went on without the store, as it does with stable tokens
	Err       error
}

// TokenWait describes the wait of a call for a refresh.
type TokenWait struct {
	// Refresh is the context of the refresh, with the values of the one that Refreshing has returned. It identifies the
	// refresh to a function that links a call to it.
	Refresh  context.Context //nolint:containedctx // only its values count
	Duration time.Duration
	Err      error // why the call got no token from it
}

// forCache returns the hook for the token cache.
func (h TokenHook) forCache() (hook tokencache.Hook) {
	if f := h.Refreshing; f != nil {
		hook.Refreshing = func(ctx context.Context, r tokencache.Refresh) context.Context {
			return f(ctx, TokenRefresh(r))
		}
	}
	if f := h.Refreshed; f != nil {
		hook.Refreshed = func(ctx context.Context, r tokencache.Refresh) { f(ctx, TokenRefresh(r)) }
	}
	if f := h.StoreFailed; f != nil {
		hook.StoreFailed = func(ctx context.Context, s tokencache.StoreFailure) { f(ctx, TokenStoreFailure(s)) }
	}
	if f := h.Waited; f != nil {
		hook.Waited = func(ctx context.Context, w tokencache.Wait) { f(ctx, TokenWait(w)) }
	}
	return hook
}
