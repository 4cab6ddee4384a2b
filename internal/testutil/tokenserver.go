package testutil

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// TokenServer is a transport that acts as the platform does with tokens: it issues them, lets them expire, and
// rejects calls with any other. Set its fields before the first request.
type TokenServer struct {
	Lifetime time.Duration // of a token, 2 hours if zero
	// RenewBefore is how long before a stable token expires normal mode issues the next one; 5 minutes if zero.
	RenewBefore    time.Duration
	NoOverlap      bool            // a new token invalidates the one before
	ReissueRevoked bool            // normal mode issues the same token even if it is invalid
	RejectCode     wechatuser.Code // for a call with an invalid token, 40001 if zero
	RejectAll      bool            // reject all calls
	RejectGetTags  bool            // reject getTags
	TokenDelay     time.Duration   // of each token request
	CallDelay      time.Duration   // of each other request

	// Accepted is the response to a call with a valid token, a success if nil.
	Accepted Reply

	// TokenReply overrides the response to a token request, unless it returns nil.
	TokenReply func(TokenRequest) Reply

	mu       sync.Mutex
	issued   int
	valid    map[string]bool
	expires  map[string]time.Time
	newest   map[bool]string // by legacy
	requests []TokenRequest
	calls    []time.Time
}

// TokenRequest is a request for a token, as it arrived.
type TokenRequest struct {
	At            time.Time
	Legacy, Force bool
	Query, Body   string
}

// RoundTrip implements [http.RoundTripper].
func (a *TokenServer) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Path {
	case PathStableToken, PathToken:
		return a.serveToken(req)(req)
	}
	r := a.serveCall(req)
	if a.CallDelay > 0 {
		r = Delay(a.CallDelay, r)
	}
	return r(req)
}

func (a *TokenServer) serveToken(req *http.Request) Reply {
	in := TokenRequest{At: time.Now(), Legacy: req.Method == http.MethodGet, Query: req.URL.RawQuery}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return Fail(err)
		}
		in.Body = string(body)
		var form struct {
			Force bool `json:"force_refresh"`
		}
		if err := json.Unmarshal(body, &form); err != nil {
			return Fail(err)
		}
		in.Force = form.Force
	}
	a.mu.Lock()
	a.requests = append(a.requests, in)
	a.mu.Unlock()
	if a.TokenReply != nil {
		if r := a.TokenReply(in); r != nil {
			return r
		}
	}
	// The token is issued when the response is sent.
	give := func(req *http.Request) (*http.Response, error) { return RespondJSON(a.issue(in))(req) }
	if a.TokenDelay > 0 {
		return Delay(a.TokenDelay, give)
	}
	return give
}

// issue returns the response to a token request.
func (a *TokenServer) issue(in TokenRequest) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	t := a.newest[in.Legacy]
	switch before := cmp.Or(a.RenewBefore, 5*time.Minute); {
	case in.Force, t == "":
		t = ""
	case in.Legacy && !a.ReissueRevoked, !a.valid[t] && !a.ReissueRevoked, !now.Before(a.expires[t].Add(-before)):
		t = ""
	}
	if t == "" {
		if a.valid == nil {
			a.valid, a.expires, a.newest = map[string]bool{}, map[string]time.Time{}, map[bool]string{}
		}
		if old := a.newest[in.Legacy]; a.NoOverlap || in.Force {
			delete(a.valid, old)
		} else if end := now.Add(5 * time.Minute); a.expires[old].After(end) {
			a.expires[old] = end
		}
		a.issued++
		t = fmt.Sprintf("%s-T%d", Sentinel, a.issued)
		a.valid[t], a.expires[t], a.newest[in.Legacy] = true, now.Add(cmp.Or(a.Lifetime, 2*time.Hour)), t
	}
	return fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, t, a.expires[t].Sub(now)/time.Second)
}

func (a *TokenServer) serveCall(req *http.Request) Reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, time.Now())
	rejected := a.RejectAll || a.RejectGetTags && strings.HasSuffix(req.URL.Path, "/tags/get")
	if t := req.URL.Query().Get("access_token"); rejected || !a.valid[t] || !time.Now().Before(a.expires[t]) {
		return RespondCode(cmp.Or(a.RejectCode, wechatuser.CodeInvalidCredential))
	}
	if a.Accepted != nil {
		return a.Accepted
	}
	if req.Method == http.MethodGet {
		return RespondJSON(TagsBody)
	}
	return RespondJSON(OKBody)
}

// Accept makes the server accept a token that it has not issued, for an hour.
func (a *TokenServer) Accept(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.valid == nil {
		a.valid, a.expires, a.newest = map[string]bool{}, map[string]time.Time{}, map[bool]string{}
	}
	a.valid[token], a.expires[token] = true, time.Now().Add(time.Hour)
}

// StopRejecting ends RejectAll.
func (a *TokenServer) StopRejecting() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.RejectAll = false
}

// Revoke makes all tokens invalid.
func (a *TokenServer) Revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.valid)
}

// TokenRequests returns the token requests so far.
func (a *TokenServer) TokenRequests() []TokenRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// ForcedRequests returns the number of forced refreshes so far.
func (a *TokenServer) ForcedRequests() (n int) {
	for _, in := range a.TokenRequests() {
		if in.Force {
			n++
		}
	}
	return n
}

// CallCount returns the number of other requests so far.
func (a *TokenServer) CallCount() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}
