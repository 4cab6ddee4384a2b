package wechatuser_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// account is a transport that plays the platform's part in the life of tokens: it hands them out, ends them, and
// refuses calls that come with a dead one. Set it up before the first request.
type account struct {
	life      time.Duration   // of a token, 2 hours if it is zero
	newBefore time.Duration   // the end of a stable token, from when normal mode gives the next one; 5 minutes if it is zero
	noOverlap bool            // a new token ends the one before it
	stubborn  bool            // the same token is given out also when it is dead, unless the renewal is forced
	deadCode  wechatuser.Code // for a call with a dead token, 40001 if it is zero
	noneWorks bool            // all calls are refused like this
	noTags    bool            // getTags is
	delay     time.Duration   // of each token request
	callDelay time.Duration   // of each other one

	// tokenReply takes the place of the answer to a token request, unless it gives nil.
	tokenReply func(ask) reply

	mu     sync.Mutex
	issued int
	alive  map[string]bool
	ends   map[string]time.Time
	newest map[bool]string // by legacy
	asks   []ask
	calls  []time.Time
}

// ask is a token request.
type ask struct {
	At            time.Time
	Legacy, Force bool
	Query, Body   string
}

func (a *account) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Path {
	case "/cgi-bin/stable_token", "/cgi-bin/token":
		return a.handOut(req)(req)
	}
	r := a.answer(req)
	if a.callDelay > 0 {
		r = after(a.callDelay, r)
	}
	return r(req)
}

func (a *account) handOut(req *http.Request) reply {
	in := ask{At: time.Now(), Legacy: req.Method == http.MethodGet, Query: req.URL.RawQuery}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return fails(err)
		}
		in.Body = string(body)
		var form struct {
			Force bool `json:"force_refresh"`
		}
		if err := json.Unmarshal(body, &form); err != nil {
			return fails(err)
		}
		in.Force = form.Force
	}
	a.mu.Lock()
	a.asks = append(a.asks, in)
	a.mu.Unlock()
	if a.tokenReply != nil {
		if r := a.tokenReply(in); r != nil {
			return r
		}
	}
	// The token is made when the answer goes out.
	give := func(req *http.Request) (*http.Response, error) { return says(a.give(in))(req) }
	if a.delay > 0 {
		return after(a.delay, give)
	}
	return give
}

// give is the answer to a token request.
func (a *account) give(in ask) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	t := a.newest[in.Legacy]
	switch before := cmp.Or(a.newBefore, 5*time.Minute); {
	case in.Force, t == "":
		t = ""
	case in.Legacy && !a.stubborn, !a.alive[t] && !a.stubborn, !now.Before(a.ends[t].Add(-before)):
		t = ""
	}
	if t == "" {
		if a.alive == nil {
			a.alive, a.ends, a.newest = map[string]bool{}, map[string]time.Time{}, map[bool]string{}
		}
		if old := a.newest[in.Legacy]; a.noOverlap || in.Force {
			delete(a.alive, old)
		} else if end := now.Add(5 * time.Minute); a.ends[old].After(end) {
			a.ends[old] = end
		}
		a.issued++
		t = fmt.Sprintf("%s-T%d", sentinel, a.issued)
		a.alive[t], a.ends[t], a.newest[in.Legacy] = true, now.Add(cmp.Or(a.life, 2*time.Hour)), t
	}
	return fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, t, a.ends[t].Sub(now)/time.Second)
}

func (a *account) answer(req *http.Request) reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, time.Now())
	refused := a.noneWorks || a.noTags && strings.HasSuffix(req.URL.Path, "/tags/get")
	if t := req.URL.Query().Get("access_token"); refused || !a.alive[t] || !time.Now().Before(a.ends[t]) {
		return refuses(cmp.Or(a.deadCode, wechatuser.CodeInvalidCredential))
	}
	if req.Method == http.MethodGet {
		return says(tagsBody)
	}
	return says(okBody)
}

// kill ends all tokens.
func (a *account) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.alive)
}

// asked are the token requests so far.
func (a *account) asked() []ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asks)
}

// forced counts the forced ones among them.
func (a *account) forced() (n int) {
	for _, in := range a.asked() {
		if in.Force {
			n++
		}
	}
	return n
}

// called counts the other requests.
func (a *account) called() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

// tokenClient makes a client that gets its tokens from rt.
func tokenClient(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(testAppID, testSecret, append([]wechatuser.Option{wechatuser.WithTransport(rt)}, opts...)...)
	require.NoError(t, err)
	return c
}

// together runs f so many times at once, and gives their errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}
