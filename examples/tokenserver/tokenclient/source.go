// Package tokenclient takes access tokens from a token service over HTTP:
//
//	src, err := tokenclient.New("https://tokens.example.com", key, nil)
//	…
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(src))
//
// The program that uses it needs no app secret, and its address no place in the IP whitelist.
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

// Source is a token service. It is safe for concurrent use, and one token request at a time is under way.
type Source struct {
	base, key string
	hc        *http.Client
	current   atomic.Pointer[held]
	asking    chan struct{} // holds one element while somebody asks
}

var (
	_ wechatuser.TokenSource      = (*Source)(nil)
	_ wechatuser.TokenInvalidator = (*Source)(nil)
)

// held is the token at hand.
type held struct {
	wechatuser.Token
	askAt time.Time // when to ask for the next one
}

const (
	askAhead = 2 * time.Minute // before the end; by then the service has a new token
	askPause = 5 * time.Second // after a question that brought nothing new
	timeout  = 10 * time.Second
)

// New makes a Source for the service at this address, which must be https or a loopback address: key and token travel
// in the clear otherwise. A nil transport is http.DefaultTransport.
func New(base, key string, transport http.RoundTripper) (*Source, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("tokenclient: the address of the service is not one like https://host")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("tokenclient: %s: plain http is for loopback addresses only", u.Host)
	}
	return &Source{
		base: strings.TrimSuffix(base, "/"), key: key, asking: make(chan struct{}, 1),
		hc: &http.Client{
			Transport: transport, Timeout: timeout,
			// A redirect would carry the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Format keeps key and token out of whatever prints the Source.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "tokenclient.Source("+s.base+")")
}

// Token answers from memory, and asks the service when the token is about to end. Until that end the old one serves where
// the service is down.
func (s *Source) Token(ctx context.Context) (wechatuser.Token, error) {
	cur := s.current.Load()
	if cur != nil && time.Now().Before(cur.askAt) {
		return cur.Token, nil
	}
	if cur != nil && time.Now().Before(cur.ExpiresAt) {
		select {
		case s.asking <- struct{}{}:
		default:
			return cur.Token, nil // somebody is asking, and this one is still good
		}
		defer s.asked()
		next, err := s.ask(ctx, http.MethodGet, "/token", nil)
		if err != nil {
			s.hold(cur.Token)
			return cur.Token, nil //nolint:nilerr // the next call asks again
		}
		return next, nil
	}
	if err := s.wait(ctx); err != nil {
		return wechatuser.Token{}, err
	}
	defer s.asked()
	if cur := s.current.Load(); cur != nil && time.Now().Before(cur.ExpiresAt) {
		return cur.Token, nil // brought by who asked before
	}
	return s.ask(ctx, http.MethodGet, "/token", nil)
}

// Invalidate tells the service that WeChat refused a token. The answer is the token to use from now on.
func (s *Source) Invalidate(ctx context.Context, refused wechatuser.Token) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	defer s.asked()
	if cur := s.current.Load(); cur != nil && cur.AccessToken != refused.AccessToken {
		return nil // told before, by another call
	}
	_, err := s.ask(ctx, http.MethodPost, "/token/refused", map[string]string{"access_token": refused.AccessToken})
	return err
}

func (s *Source) wait(ctx context.Context) error {
	select {
	case s.asking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) asked() { <-s.asking }

// hold plans when to ask again.
func (s *Source) hold(t wechatuser.Token) {
	now := time.Now()
	askAt := t.ExpiresAt.Add(-askAhead)
	if soon := now.Add(askPause); askAt.Before(soon) {
		askAt = soon
	}
	if askAt.After(t.ExpiresAt) {
		askAt = t.ExpiresAt
	}
	s.current.Store(&held{t, askAt})
}

// ask makes one request. Its errors name the service, and hold neither key nor token.
func (s *Source) ask(ctx context.Context, method, path string, in any) (wechatuser.Token, error) {
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
	asked := time.Now()
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
		return wechatuser.Token{}, errors.New("tokenclient: the answer is no token") // and must not be shown
	}
	// Seconds, and not a time: the clocks of two machines differ.
	t := wechatuser.Token{AccessToken: out.AccessToken, ExpiresAt: asked.Add(time.Duration(out.ExpiresIn) * time.Second)}
	s.hold(t)
	return t, nil
}
