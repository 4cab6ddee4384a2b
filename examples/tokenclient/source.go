// Package tokenclient fetches access tokens from "wechatuser token serve" over HTTP. Import it, or copy source.go and
// server.go:
//
//	src, err := tokenclient.New("https://tokens.example.com", key, nil)
//	…
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(src))
//
// The program needs no app secret. Its address has to be in the IP whitelist all the same: WeChat checks the whitelist
// for calls with a token too.
package tokenclient

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Source is a client of the token server. It is safe for concurrent use, and sends one request at a time.
type Source struct {
	base, key string
	hc        *http.Client
	current   atomic.Pointer[cachedToken]
	sem       chan struct{} // has capacity 1; held during a request
}

var (
	_ wechatuser.TokenSource      = (*Source)(nil)
	_ wechatuser.TokenInvalidator = (*Source)(nil)
)

// cachedToken is the last token fetched.
type cachedToken struct {
	wechatuser.Token
	refreshAt time.Time
}

const (
	refreshAhead  = 2 * time.Minute // before the token expires; the server has a new one by then
	retryInterval = 5 * time.Second // after a request that returned no new token
	timeout       = 10 * time.Second
)

// Token returns the cached token. It fetches the next one shortly before the token expires; if the server is down, it
// returns the old one until then.
func (s *Source) Token(ctx context.Context) (wechatuser.Token, error) {
	cur := s.current.Load()
	if cur != nil && time.Now().Before(cur.refreshAt) {
		return cur.Token, nil
	}
	if cur != nil && time.Now().Before(cur.ExpiresAt) {
		select {
		case s.sem <- struct{}{}:
		default:
			return cur.Token, nil // a request is in flight, and this token is still valid
		}
		defer s.unlock()
		next, err := s.fetch(ctx, http.MethodGet, "/token", nil)
		if err != nil {
			s.cache(cur.Token)
			return cur.Token, nil //nolint:nilerr // a later call retries
		}
		return next, nil
	}
	if err := s.lock(ctx); err != nil {
		return wechatuser.Token{}, err
	}
	defer s.unlock()
	if cur := s.current.Load(); cur != nil && time.Now().Before(cur.ExpiresAt) {
		return cur.Token, nil // fetched by the previous holder of the lock
	}
	return s.fetch(ctx, http.MethodGet, "/token", nil)
}

// Invalidate reports to the server that WeChat rejected a token, and caches the token that it returns.
func (s *Source) Invalidate(ctx context.Context, rejected wechatuser.Token) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if cur := s.current.Load(); cur != nil && cur.AccessToken != rejected.AccessToken {
		return nil // already reported
	}
	in := map[string]string{"access_token": rejected.AccessToken}
	_, err := s.fetch(ctx, http.MethodPost, "/token/refused", in)
	return err
}

func (s *Source) lock(ctx context.Context) error {
	select {
	case s.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) unlock() { <-s.sem }

// cache stores a token, and schedules the next request.
func (s *Source) cache(t wechatuser.Token) {
	now := time.Now()
	refreshAt := t.ExpiresAt.Add(-refreshAhead)
	if soon := now.Add(retryInterval); refreshAt.Before(soon) {
		refreshAt = soon
	}
	if refreshAt.After(t.ExpiresAt) {
		refreshAt = t.ExpiresAt
	}
	s.current.Store(&cachedToken{t, refreshAt})
}
