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
	"time"

	"github.com/wechatuser/wechatuser"
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
