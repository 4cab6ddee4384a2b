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

// account is a transport that plays the platform's part in the life of tokens: it hands them out, ends them, and
// refuses calls that come with a dead one. Set it up before the first request.
type TokenServer struct {
	Lifetime       time.Duration   // of a token, 2 hours if it is zero
	RenewBefore    time.Duration   // the end of a stable token, from when normal mode gives the next one; 5 minutes if it is zero
	NoOverlap      bool            // a new token ends the one before it
	ReissueRevoked bool            // the same token is given out also when it is dead, unless the renewal is forced
	RejectCode     wechatuser.Code // for a call with a dead token, 40001 if it is zero
	RejectAll      bool            // all calls are refused like this
	RejectGetTags  bool            // getTags is
	TokenDelay     time.Duration   // of each token request
	CallDelay      time.Duration   // of each other one

	// tokenReply takes the place of the answer to a token request, unless it gives nil.
	TokenReply func(TokenRequest) Reply

	Mu       sync.Mutex
	issued   int
	Alive    map[string]bool
	Ends     map[string]time.Time
	newest   map[bool]string // by legacy
	requests []TokenRequest
	calls    []time.Time
}

// ask is a token request.
type TokenRequest struct {
	At            time.Time
	Legacy, Force bool
	Query, Body   string
}

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
	a.Mu.Lock()
	a.requests = append(a.requests, in)
	a.Mu.Unlock()
	if a.TokenReply != nil {
		if r := a.TokenReply(in); r != nil {
			return r
		}
	}
	// The token is made when the answer goes out.
	give := func(req *http.Request) (*http.Response, error) { return RespondJSON(a.Issue(in))(req) }
	if a.TokenDelay > 0 {
		return Delay(a.TokenDelay, give)
	}
	return give
}

// give is the answer to a token request.
func (a *TokenServer) Issue(in TokenRequest) string {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	now := time.Now()
	t := a.newest[in.Legacy]
	switch before := cmp.Or(a.RenewBefore, 5*time.Minute); {
	case in.Force, t == "":
		t = ""
	case in.Legacy && !a.ReissueRevoked, !a.Alive[t] && !a.ReissueRevoked, !now.Before(a.Ends[t].Add(-before)):
		t = ""
	}
	if t == "" {
		if a.Alive == nil {
			a.Alive, a.Ends, a.newest = map[string]bool{}, map[string]time.Time{}, map[bool]string{}
		}
		if old := a.newest[in.Legacy]; a.NoOverlap || in.Force {
			delete(a.Alive, old)
		} else if end := now.Add(5 * time.Minute); a.Ends[old].After(end) {
			a.Ends[old] = end
		}
		a.issued++
		t = fmt.Sprintf("%s-T%d", Sentinel, a.issued)
		a.Alive[t], a.Ends[t], a.newest[in.Legacy] = true, now.Add(cmp.Or(a.Lifetime, 2*time.Hour)), t
	}
	return fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, t, a.Ends[t].Sub(now)/time.Second)
}

func (a *TokenServer) serveCall(req *http.Request) Reply {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	a.calls = append(a.calls, time.Now())
	refused := a.RejectAll || a.RejectGetTags && strings.HasSuffix(req.URL.Path, "/tags/get")
	if t := req.URL.Query().Get("access_token"); refused || !a.Alive[t] || !time.Now().Before(a.Ends[t]) {
		return RespondCode(cmp.Or(a.RejectCode, wechatuser.CodeInvalidCredential))
	}
	if req.Method == http.MethodGet {
		return RespondJSON(TagsBody)
	}
	return RespondJSON(OKBody)
}

// kill ends all tokens.
func (a *TokenServer) Revoke() {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	clear(a.Alive)
}

// asked are the token requests so far.
func (a *TokenServer) TokenRequests() []TokenRequest {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	return slices.Clone(a.requests)
}

// forced counts the forced ones among them.
func (a *TokenServer) ForcedRequests() (n int) {
	for _, in := range a.TokenRequests() {
		if in.Force {
			n++
		}
	}
	return n
}

// called counts the other requests.
func (a *TokenServer) CallCount() int {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	return len(a.calls)
}
