// Package authorizer lets an open platform (第三方平台) act for an account that has authorized it. It provides the
// account's authorizer_access_token as a [wechatuser.TokenSource].
//
//	src := authorizer.NewSource(appID, authorizer.HTTP{ComponentAppID: platformID, Component: componentTokens}, store)
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(src))
//
// If several processes work for one account, only one of them should have the Source, and the others should fetch the
// token from it: cmd/wechatuser/internal/tokenserver is a server to copy, and examples/tokenclient its client.
package authorizer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Grant is the result of exchanging a refresh token.
type Grant struct {
	AccessToken  string
	RefreshToken string // the one to use from now on
	ExpiresIn    time.Duration
}

// Platform exchanges a refresh token for an access token. [HTTP] calls the real platform.
type Platform interface {
	Exchange(ctx context.Context, appID, refreshToken string) (Grant, error)
}

// Store keeps the refresh token of each account. It must be durable: a lost refresh token has to be fetched from the
// platform again, or the account has to authorize the platform again.
type Store interface {
	RefreshToken(ctx context.Context, appID string) (string, error)
	SaveRefreshToken(ctx context.Context, appID, refreshToken string) error
}

// Source returns the tokens of one account. It is safe for concurrent use.
type Source struct {
	appID    string
	platform Platform
	store    Store

	mu      sync.Mutex
	current wechatuser.Token
	running *flight   // nil if no refresh is in flight
	started time.Time // start of the last refresh
	lastErr error     // of the last refresh

	unsaved *pendingGrant // its refresh token is not in the store yet; used by the refresh in flight only
}

// pendingGrant is a Grant with the expiry of its access token.
type pendingGrant struct {
	Grant
	expiresAt time.Time
}

var (
	_ wechatuser.TokenSource      = (*Source)(nil)
	_ wechatuser.TokenInvalidator = (*Source)(nil)
)

// flight is one refresh, shared by all callers that wait for it. The other fields do not change once done is closed.
type flight struct {
	done  chan struct{}
	token wechatuser.Token
	err   error
}

const (
	refreshAhead = 10 * time.Minute // before the token expires
	minInterval  = 10 * time.Second // between two refreshes: exchanges have a daily limit
	timeout      = 30 * time.Second // of a refresh
)

// NewSource returns the Source of an account.
func NewSource(appID string, platform Platform, store Store) *Source {
	return &Source{appID: appID, platform: platform, store: store}
}

// Format prints the Source without its tokens.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authorizer.Source("+s.appID+")")
}

// Token returns the cached token. It refreshes the token before it expires, and returns the old one until then.
func (s *Source) Token(ctx context.Context) (wechatuser.Token, error) {
	s.mu.Lock()
	now := time.Now()
	left := s.current.ExpiresAt.Sub(now)
	if left > refreshAhead {
		defer s.mu.Unlock()
		return s.current, nil
	}
	expired := left <= 0 && s.lastErr == nil // such as when an unavailable store has delayed the refresh
	if s.running == nil && (s.started.IsZero() || expired || now.Sub(s.started) >= minInterval) {
		s.running, s.started = &flight{done: make(chan struct{})}, now
		// Not the caller's context: if the caller gives up, the new refresh token must not be lost.
		go s.run(context.WithoutCancel(ctx), s.running)
	}
	f, current, lastErr := s.running, s.current, s.lastErr
	s.mu.Unlock()
	switch {
	case left > 0:
		return current, nil
	case f == nil:
		return wechatuser.Token{}, lastErr
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return wechatuser.Token{}, ctx.Err()
	}
}

// Invalidate drops a token that WeChat rejected. A token that was just fetched is kept, so that an account whose tokens
// are rejected for another reason does not use up the daily exchanges.
func (s *Source) Invalidate(_ context.Context, rejected wechatuser.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.AccessToken == rejected.AccessToken && time.Since(s.started) >= minInterval {
		s.current = wechatuser.Token{}
	}
	return nil
}

func (s *Source) run(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f.err = errors.New("authorizer: the refresh panicked") // replaced if it did not
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err == nil {
			s.current = f.token
		}
		s.running, s.lastErr = nil, f.err
		close(f.done)
	}()
	f.token, f.err = s.refresh(ctx)
}

// refresh exchanges the refresh token, and saves the new one before the access token is used.
func (s *Source) refresh(ctx context.Context) (wechatuser.Token, error) {
	resumed := s.unsaved != nil
	if !resumed {
		old, err := s.store.RefreshToken(ctx, s.appID)
		if err != nil {
			return wechatuser.Token{}, fmt.Errorf("authorizer: loading the refresh token of %s: %w", s.appID, err)
		}
		requested := time.Now()
		g, err := s.platform.Exchange(ctx, s.appID, old)
		if err != nil {
			return wechatuser.Token{}, fmt.Errorf("authorizer: %s: %w", s.appID, err)
		}
		s.unsaved = &pendingGrant{g, requested.Add(g.ExpiresIn)}
	}
	if err := s.store.SaveRefreshToken(ctx, s.appID, s.unsaved.RefreshToken); err != nil {
		return wechatuser.Token{}, fmt.Errorf("authorizer: saving the refresh token of %s: %w", s.appID, err)
	}
	t := wechatuser.Token{AccessToken: s.unsaved.AccessToken, ExpiresAt: s.unsaved.expiresAt}
	s.unsaved = nil
	if resumed && !time.Now().Before(t.ExpiresAt) {
		return s.refresh(ctx) // the access token has expired while the store was unavailable
	}
	return t, nil
}
