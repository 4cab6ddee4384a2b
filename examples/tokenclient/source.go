// Package tokenclient fetches access tokens from "wechatuser token serve" over HTTP. Import it, or copy this file:
//
//	src, err := tokenclient.New("https://tokens.example.com", key, nil)
//	…
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(src))
//
// The program needs no app secret. Its address has to be in the IP whitelist all the same: WeChat checks the whitelist
// for calls with a token too.
package tokenclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
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

// New returns a Source for the server at a base URL, which must be https or a loopback address: otherwise key and token
// would be sent in plain text. If transport is nil, it uses http.DefaultTransport.
func New(base, key string, transport http.RoundTripper) (*Source, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("tokenclient: the base URL must be like https://host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("tokenclient: %s: plain http is allowed for loopback addresses only", u.Host)
	}
	return &Source{
		base: strings.TrimSuffix(base, "/"), key: key, sem: make(chan struct{}, 1),
		hc: &http.Client{
			Transport: transport, Timeout: timeout,
			// A redirect would send key and token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Format prints the Source without key and token.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "tokenclient.Source("+s.base+")")
}

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

// fetch sends one request. Its errors contain neither key nor token.
func (s *Source) fetch(ctx context.Context, method, path string, in any) (wechatuser.Token, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return wechatuser.Token{}, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, &body)
	if err != nil {
		return wechatuser.Token{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	sent := time.Now()
	resp, err := s.hc.Do(req)
	if err != nil {
		return wechatuser.Token{}, fmt.Errorf("tokenclient: %w", err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		Error       string `json:"error"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&out)
	switch {
	case resp.StatusCode != http.StatusOK:
		return wechatuser.Token{}, fmt.Errorf("tokenclient: status %d: %s", resp.StatusCode, out.Error)
	case err != nil || out.AccessToken == "" || out.ExpiresIn <= 0:
		return wechatuser.Token{}, errors.New("tokenclient: no token in the response") // the body may hold one
	}
	// The server sends seconds, not a time: its clock may differ from this one.
	t := wechatuser.Token{AccessToken: out.AccessToken, ExpiresAt: sent.Add(time.Duration(out.ExpiresIn) * time.Second)}
	s.cache(t)
	return t, nil
}
