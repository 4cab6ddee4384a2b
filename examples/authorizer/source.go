// Package authorizer lets an open platform (第三方平台) work for an account that has authorized it: the account's
// authorizer_access_token as a [wechatuser.TokenSource].
//
//	src := authorizer.NewSource(appID, authorizer.HTTP{ComponentAppID: platformID, Component: componentTokens}, store)
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(src))
//
// Where several processes work for one account, one of them should have the Source and the others ask it: see
// examples/tokenserver.
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

// Grant is what the platform gives for a refresh token.
type Grant struct {
	AccessToken  string
	RefreshToken string // the one to use from now on
	ExpiresIn    time.Duration
}

// Platform exchanges a refresh token. HTTP is the real one.
type Platform interface {
	Exchange(ctx context.Context, appID, refreshToken string) (Grant, error)
}

// Store keeps the refresh token of each account. It must be durable: who loses a refresh token has to get it from the
// platform again, or ask the account for a new authorization.
type Store interface {
	RefreshToken(ctx context.Context, appID string) (string, error)
	SaveRefreshToken(ctx context.Context, appID, refreshToken string) error
}

// Source is the token of one account. It is safe for concurrent use.
type Source struct {
	appID    string
	platform Platform
	store    Store

	mu      sync.Mutex
	current wechatuser.Token
	running *renewal // nil for none
	began   time.Time
	lastErr error // of the last renewal

	unsaved *granted // an exchange whose refresh token is not in the store yet; only the renewal under way uses it
}

// granted is a Grant with the end of its access token.
type granted struct {
	Grant
	end time.Time
}

var (
	_ wechatuser.TokenSource      = (*Source)(nil)
	_ wechatuser.TokenInvalidator = (*Source)(nil)
)

// renewal is the way to one token, for all who wait for it. Once done is closed the rest does not change.
type renewal struct {
	done  chan struct{}
	token wechatuser.Token
	err   error
}

const (
	renewAhead = 10 * time.Minute // before the end
	pause      = 10 * time.Second // between two renewals: exchanges have a daily limit
	timeout    = 30 * time.Second // of a renewal
)

// NewSource makes the Source of an account.
func NewSource(appID string, platform Platform, store Store) *Source {
	return &Source{appID: appID, platform: platform, store: store}
}

// Format keeps the tokens out of whatever prints the Source.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authorizer.Source("+s.appID+")")
}

// Token answers from memory, and renews the token ahead of its end while the old one serves.
func (s *Source) Token(ctx context.Context) (wechatuser.Token, error) {
	s.mu.Lock()
	now := time.Now()
	left := s.current.ExpiresAt.Sub(now)
	if left > renewAhead {
		defer s.mu.Unlock()
		return s.current, nil
	}
	ended := left <= 0 && s.lastErr == nil // as when a store that was down has held it up
	if s.running == nil && (s.began.IsZero() || ended || now.Sub(s.began) >= pause) {
		s.running, s.began = &renewal{done: make(chan struct{})}, now
		// No caller's context: one that leaves must not lose a refresh token on its way.
		go s.run(context.WithoutCancel(ctx), s.running)
	}
	r, current, lastErr := s.running, s.current, s.lastErr
	s.mu.Unlock()
	switch {
	case left > 0:
		return current, nil
	case r == nil:
		return wechatuser.Token{}, lastErr
	}
	select {
	case <-r.done:
		return r.token, r.err
	case <-ctx.Done():
		return wechatuser.Token{}, ctx.Err()
	}
}

// Invalidate drops a token that WeChat refused. One that has just come is kept, so that an account whose tokens are
// refused for another reason does not use up the exchanges of the day.
func (s *Source) Invalidate(_ context.Context, refused wechatuser.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.AccessToken == refused.AccessToken && time.Since(s.began) >= pause {
		s.current = wechatuser.Token{}
	}
	return nil
}

func (s *Source) run(ctx context.Context, r *renewal) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.err = errors.New("authorizer: the renewal was broken off") // by a panic, which goes on
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.err == nil {
			s.current = r.token
		}
		s.running, s.lastErr = nil, r.err
		close(r.done)
	}()
	r.token, r.err = s.renew(ctx)
}

// renew exchanges the refresh token, and has the next one in the store before the access token is used.
func (s *Source) renew(ctx context.Context) (wechatuser.Token, error) {
	waited := s.unsaved != nil
	if !waited {
		old, err := s.store.RefreshToken(ctx, s.appID)
		if err != nil {
			return wechatuser.Token{}, fmt.Errorf("authorizer: loading the refresh token of %s: %w", s.appID, err)
		}
		asked := time.Now()
		g, err := s.platform.Exchange(ctx, s.appID, old)
		if err != nil {
			return wechatuser.Token{}, fmt.Errorf("authorizer: %s: %w", s.appID, err)
		}
		s.unsaved = &granted{g, asked.Add(g.ExpiresIn)}
	}
	if err := s.store.SaveRefreshToken(ctx, s.appID, s.unsaved.RefreshToken); err != nil {
		return wechatuser.Token{}, fmt.Errorf("authorizer: saving the refresh token of %s: %w", s.appID, err)
	}
	t := wechatuser.Token{AccessToken: s.unsaved.AccessToken, ExpiresAt: s.unsaved.end}
	s.unsaved = nil
	if waited && !time.Now().Before(t.ExpiresAt) {
		return s.renew(ctx) // the store was down for longer than the access token lived
	}
	return t, nil
}
