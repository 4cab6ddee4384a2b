package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/tokencache"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// newTokenProvider returns the tokens of c: those of the TokenSource that it was given, those of cloud hosting, or
// those of the platform.
func newTokenProvider(c *caller) tokenProvider {
	switch {
	case c.cloud.tokenFree():
		return noTokens{}
	case c.cloud == cloudToken:
		return newSourceProvider(c, cloudTokens{c.cloudTokenFile})
	case c.tokenSource != nil:
		return newSourceProvider(c, c.tokenSource)
	}
	kind, name := tokencache.Stable, "stable"
	if c.legacyToken {
		kind, name = tokencache.Legacy, "legacy"
	}
	// The two kinds of token exist side by side and must not be mixed. No key contains the secret.
	key := "wechatuser:token:" + name + ":" + c.appID
	cfg := tokencache.Config{
		Key: key, Kind: kind, Fetch: c.fetchToken, Limit: c.refreshLimit(), WithoutForced: c.noForced,
		Lasting: isLastingTokenFailure, Logger: c.logger, Hooks: c.tokenHooks,
	}
	if c.tokenStore != nil {
		cfg.Store = storeAdapter{c.tokenStore, key, c.secret}
	}
	return platformProvider{tokencache.New(cfg)}
}

// refreshLimit returns how long a token refresh may make no progress: an attempt, the longest pause after it, and a
// margin. That is 80 seconds by default. The limit ends a refresh that is stuck, such as in a transport that ignores
// its context.
func (c *caller) refreshLimit() time.Duration {
	const margin, day = 10 * time.Second, 24 * time.Hour
	return min(c.timeout, day) + min(max(c.retry.MaxDelay, maxRetryAfter), day) + margin
}

// platformProvider has tokens of the platform, in a cache and perhaps in a TokenStore.
type platformProvider struct{ cache *tokencache.Cache }

func (p platformProvider) cached() (Token, bool) {
	t, ok := p.cache.Fresh()
	return Token(t), ok
}

func (p platformProvider) get(ctx context.Context) (Token, error) {
	t, err := p.cache.Get(ctx)
	return Token(t), providerError(err)
}

func (p platformProvider) refresh(ctx context.Context, rejected Token) (fetched bool, err error) {
	fetched, err = p.cache.Refresh(ctx, rejected.AccessToken)
	return fetched, providerError(err)
}

func (p platformProvider) forceRefresh(ctx context.Context) (Token, error) {
	t, err := p.cache.ForceRefresh(ctx)
	return Token(t), providerError(err)
}

func (p platformProvider) accepted(t Token) { p.cache.Accepted(t.AccessToken) }

func (p platformProvider) forget() { p.cache.Forget() }

// providerError adds the classes to the error of the cache's own limit.
func providerError(err error) error {
	if limit, ok := err.(*tokencache.LimitError); ok { //nolint:errorlint // one that is wrapped came through here already
		return &tokenLimitError{limit}
	}
	return err
}

// isLastingTokenFailure reports whether a token request would fail again until a person acts or the day is over.
func isLastingTokenFailure(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code.isPermanentTokenFailure() || e.Code == CodeDailyQuotaExceeded)
}

// storeAdapter is one key of a TokenStore as the store of a cache. It redacts the errors of the store.
type storeAdapter struct {
	store  TokenStore
	key    string
	secret func() string
}

func (s storeAdapter) Load(ctx context.Context) (tokencache.Token, error) {
	t, err := s.store.Load(ctx, s.key)
	return tokencache.Token(t), s.redact(err, t.AccessToken)
}

func (s storeAdapter) Save(ctx context.Context, t tokencache.Token) error {
	return s.redact(s.store.Save(ctx, s.key, Token(t)), t.AccessToken)
}

func (s storeAdapter) Delete(ctx context.Context, rejected tokencache.Token) error {
	return s.redact(s.store.Delete(ctx, s.key, Token(rejected)), rejected.AccessToken)
}

func (s storeAdapter) Lock(ctx context.Context) (unlock func(), err error) {
	locker, ok := s.store.(TokenLocker)
	if !ok {
		return nil, nil //nolint:nilnil // there is no lock
	}
	unlock, err = locker.Lock(ctx, s.key)
	if err == nil && unlock == nil {
		unlock = func() {}
	}
	return unlock, s.redact(err, "")
}

func (s storeAdapter) redact(err error, token string) error {
	if err == nil {
		return nil
	}
	return newRedactor(s.secret(), token).Error(err)
}

func (s storeAdapter) AllowForced(ctx context.Context) (bool, error) {
	budget, ok := s.store.(TokenBudget)
	if !ok {
		return true, nil
	}
	allowed, err := budget.AllowForced(ctx, s.key)
	return allowed, s.redact(err, "")
}

// tokenResponse is the response of both token endpoints.
type tokenResponse struct {
	wire.Envelope
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

func (r *tokenResponse) missingField() string {
	switch {
	case r.AccessToken == "":
		return "access_token"
	case !tokencache.IsTokenText(r.AccessToken):
		return "access_token without spaces and control characters"
	case r.ExpiresIn <= 0:
		return "expires_in above 0"
	}
	return ""
}

// fetchToken fetches a token from WeChat. It is a call like any other, and runs through the whole pipeline of c, from
// inside the call that needs the token: interceptors see it, and it is retried. It does not wait for the limiter.
func (c *caller) fetchToken(ctx context.Context, kind tokencache.Kind, allow func() error) (tokencache.Token, error) {
	var (
		sent sync.Map // when the request of each response was sent: an interceptor can send two at once
		res  *tokenResponse
	)
	ep := tokenEndpoint(kind)
	err := c.withSecret(ctx, ep.api, func(secret string) (err error) {
		req := request{
			ep: ep, secret: secret,
			beforeSend: func() error { return providerError(allow()) },
			received:   func(r response, sentAt time.Time) { sent.Store(r, sentAt) },
		}
		var in any = stableTokenRequest{"client_credential", c.appID, secret, kind == tokencache.StableForced}
		if kind == tokencache.Legacy {
			in = nil
			req.query = url.Values{"grant_type": {"client_credential"}, "appid": {c.appID}, "secret": {secret}}.Encode()
		}
		res, err = call[tokenResponse](ctx, c, req, in)
		return err
	})
	if err != nil {
		return tokencache.Token{}, err
	}
	// The token's life begins when it is requested, not when the response is read. Round removes the monotonic clock,
	// which stops while a machine sleeps.
	sentAt, _ := sent.Load(res)
	expires := sentAt.(time.Time).Add(time.Duration(min(res.ExpiresIn, 1<<31)) * time.Second).Round(0)
	return tokencache.Token{AccessToken: res.AccessToken, ExpiresAt: expires}, nil
}

func tokenEndpoint(kind tokencache.Kind) *endpoint {
	switch kind {
	case tokencache.Legacy:
		return &endpoints[accessToken]
	case tokencache.StableForced:
		return &endpoints[forcedToken]
	case tokencache.Stable:
	}
	return &endpoints[stableToken]
}

type stableTokenRequest struct {
	GrantType    string `json:"grant_type"`
	AppID        string `json:"appid"`
	Secret       string `json:"secret"`
	ForceRefresh bool   `json:"force_refresh"`
}

// noTokens is for calls that are sent without a token.
type noTokens struct{}

func (noTokens) cached() (Token, bool) { return Token{}, true }

func (noTokens) get(context.Context) (Token, error) { return Token{}, nil }

func (noTokens) refresh(context.Context, Token) (fetched bool, err error) {
	return true, errNoOtherToken
}

func (noTokens) accepted(Token) {}

func (noTokens) forget() {}

func (noTokens) forceRefresh(context.Context) (Token, error) {
	return Token{}, argumentError("RefreshToken", "WithCloudHosting", "calls need no access token there, so the client has none")
}

// sourceProvider has tokens of a TokenSource.
type sourceProvider struct {
	src    TokenSource
	secret func() string // of the client, to be redacted in errors of the source
	hooks  tokencache.Hooks
	last   *atomic.Pointer[Token] // that the hooks were told of
}

func newSourceProvider(c *caller, src TokenSource) sourceProvider {
	return sourceProvider{src, c.secret, tokencache.Hooks{Each: c.tokenHooks, Logger: c.logger}, &atomic.Pointer[Token]{}}
}

// cached returns none: the source decides.
func (p sourceProvider) cached() (Token, bool) { return Token{}, false }

func (p sourceProvider) get(ctx context.Context) (Token, error) {
	start := time.Now()
	t, err := p.next(ctx, "")
	p.report(ctx, RefreshAsked, start, t, err)
	return t, err
}

// report tells the hooks of an answer of the source, unless it is the token that they know.
func (p sourceProvider) report(ctx context.Context, reason string, start time.Time, t Token, err error) {
	if len(p.hooks.Each) == 0 {
		return
	}
	if err == nil {
		if last := p.last.Swap(&t); last != nil && last.AccessToken == t.AccessToken {
			return
		}
	}
	p.hooks.Refreshed(ctx, tokencache.Refresh{
		Reason: reason, From: TokenFromSource, Duration: time.Since(start), ExpiresAt: t.ExpiresAt, Err: err,
	})
}

// next returns the token of the source. Its error may show the rejected one.
func (p sourceProvider) next(ctx context.Context, rejected string) (Token, error) {
	t, err := p.src.Token(ctx)
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("wechatuser: token source: %w", p.redact(ctx, err, t.AccessToken, rejected))
	case t.AccessToken == "":
		return Token{}, errors.New("wechatuser: token source: it returned an empty token and no error")
	case !tokencache.IsTokenText(t.AccessToken):
		return Token{}, errors.New("wechatuser: token source: it returned a token with a space or a control character, " +
			"such as the newline at the end of a file")
	}
	return t, nil
}

func (p sourceProvider) refresh(ctx context.Context, rejected Token) (fetched bool, err error) {
	return true, p.replace(ctx, RefreshRejected, rejected)
}

// replace makes the source return another token, and reports it.
func (p sourceProvider) replace(ctx context.Context, reason string, rejected Token) error {
	start := time.Now()
	t, err := p.another(ctx, rejected)
	p.report(ctx, reason, start, t, err)
	return err
}

// another returns a token of the source other than the rejected one.
func (p sourceProvider) another(ctx context.Context, rejected Token) (Token, error) {
	if inv, ok := p.src.(TokenInvalidator); ok {
		if err := inv.Invalidate(ctx, rejected); err != nil {
			return Token{}, fmt.Errorf("wechatuser: token source: invalidating a rejected token: %w", p.redact(ctx, err, rejected.AccessToken))
		}
	}
	t, err := p.next(ctx, rejected.AccessToken)
	if err == nil && t.AccessToken == rejected.AccessToken {
		err = errNoOtherToken
	}
	return t, err
}

func (p sourceProvider) redact(ctx context.Context, err error, tokens ...string) error {
	return newRedactor(append(tokens, p.secret())...).Trusting(context.Cause(ctx)).Error(err)
}

func (p sourceProvider) accepted(Token) {}

func (p sourceProvider) forget() {}

func (p sourceProvider) forceRefresh(ctx context.Context) (Token, error) {
	if _, ok := p.src.(cloudTokens); ok {
		return Token{}, argumentError("RefreshToken", "WithCloudToken", "the token of the file cannot be refreshed: the platform "+
			"writes another one every 10 minutes")
	}
	if _, ok := p.src.(TokenInvalidator); !ok {
		return Token{}, argumentError("RefreshToken", "TokenSource",
			"it cannot refresh a token: implement TokenInvalidator, or refresh the token where it comes from")
	}
	t, err := p.get(ctx)
	if err != nil {
		return Token{}, err
	}
	if err := p.replace(ctx, RefreshForced, t); err != nil {
		return Token{}, err
	}
	return p.get(ctx)
}
