package testutil

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// faultKind is what a [FaultTransport] does to a request.
type faultKind int

const (
	noFault           faultKind = iota
	dialFails                   // not sent
	dropRequest                 // not applied, no response
	dropResponse                // applied, no response
	hangBefore                  // not applied, no response until the attempt times out
	hangAfter                   // applied, no response until the attempt times out
	systemBusy                  // -1, not applied
	applyAndBusy                // -1, and applied
	badGateway                  // HTML with status 502, not applied
	minuteQuota                 // 45011
	concurrentTagging           // 45169
	someFail                    // 45171: applied to all but some
	falseNoTag                  // 45159, although the tag exists
	tokenRevoked                // 40001; half of the times the next token is revoked too, before its first use
	stalePage                   // the last page of the list again, whatever the cursor
	dailyQuota                  // 45009
	onlyCode
	breakOff
	fatalPermille    = 20
	breakOffPermille = 10
)

// FaultTransport is a transport that injects random faults between a client and a simulator. The fault depends on the
// seed, the request and how often it has been sent, but not on the order of concurrent requests.
type FaultTransport struct {
	next    http.RoundTripper
	seed    uint64
	Percent uint64 // of requests to inject a fault into
	Fatal   bool   // also inject 45009
	// BreakOff also ends the goroutine of a batch call, before or after it is applied. Such a call does not count as
	// Sent.
	BreakOff   bool
	StalePages bool            // also inject the last page of a list again
	Revoke     func()          // revokes all tokens, nil for no such fault
	OnlyCode   wechatuser.Code // the response to all requests, 0 for none
	Delays     bool            // delay each request by up to 700 ms

	mu          sync.Mutex
	Off         bool // stop injecting
	revokeNext  bool
	Doubled     int // tokens that were revoked before their first use
	Repeated    int // pages that were returned again
	seen        map[string]uint64
	Sent        int // API requests, tokens not counted
	inFlight    map[string]int
	pages       map[string]string // the last page of each list
	Running     int
	MaxRunning  int      // most requests at a time
	Overlapping []string // openids in two requests at a time
}

// RoundTrip implements [http.RoundTripper].
func (s *FaultTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == PathStableToken {
		return s.token(req)
	}
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	var parsed struct {
		OpenIDs []string `json:"openid_list"`
		TagID   int      `json:"tagid"`
	}
	_ = json.Unmarshal(body, &parsed)

	list := fmt.Sprint(req.URL.Path, parsed.TagID)
	what, dice := s.begin(req, body, parsed.OpenIDs)
	defer s.end(parsed.OpenIDs)

	if s.Delays {
		select {
		case <-time.After(time.Duration(dice%700) * time.Millisecond):
		case <-req.Context().Done():
			if what == dialFails || what == breakOff { // for all that the client knows, it was sent
				s.mu.Lock()
				s.Sent++
				s.mu.Unlock()
			}
			return nil, req.Context().Err()
		}
	}
	forward := func(openIDs []string) (*http.Response, error) {
		data := body
		if openIDs != nil {
			data, _ = json.Marshal(map[string]any{"openid_list": openIDs, "tagid": parsed.TagID})
		}
		again := req.Clone(context.WithoutCancel(req.Context()))
		again.Body = io.NopCloser(bytes.NewReader(data))
		return s.next.RoundTrip(again)
	}
	hang := func() (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	switch what {
	case dialFails:
		return nil, &net.OpError{Op: "dial", Err: errors.New("no route to host")}
	case dropRequest:
		return nil, io.ErrUnexpectedEOF
	case dropResponse:
		_, _ = forward(nil)
		return nil, io.ErrUnexpectedEOF
	case hangBefore:
		return hang()
	case hangAfter:
		_, _ = forward(nil)
		return hang()
	case applyAndBusy:
		_, _ = forward(nil)
		fallthrough
	case systemBusy:
		return RespondCode(wechatuser.CodeSystemBusy)(req)
	case badGateway:
		return Respond(http.StatusBadGateway, "<html>Bad Gateway</html>", "Content-Type", "text/html")(req)
	case minuteQuota:
		return RespondCode(wechatuser.CodeMinuteQuotaExceeded)(req)
	case concurrentTagging:
		return RespondCode(wechatuser.CodeConcurrentTagging)(req)
	case falseNoTag:
		return RespondCode(wechatuser.CodeInvalidTagID)(req)
	case dailyQuota:
		return RespondCode(wechatuser.CodeDailyQuotaExceeded)(req)
	case someFail:
		return s.failSome(req, parsed.OpenIDs, dice, forward)
	case onlyCode:
		return RespondCode(s.OnlyCode)(req)
	case breakOff:
		if dice%2 == 0 {
			_, _ = forward(nil)
		}
		runtime.Goexit()
	case tokenRevoked:
		s.mu.Lock()
		s.revokeNext = dice%2 == 0
		s.mu.Unlock()
		s.Revoke()
	case stalePage:
		s.mu.Lock()
		page := s.pages[list]
		if page != "" {
			s.Repeated++
		}
		s.mu.Unlock()
		if page != "" {
			return RespondJSON(page)(req)
		}
	}
	resp, err := forward(nil)
	if err == nil && s.StalePages {
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"data"`)) {
			s.mu.Lock()
			s.pages[list] = string(body)
			s.mu.Unlock()
		}
	}
	return resp, err
}

// token sends a request for a token.
func (s *FaultTransport) token(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	s.mu.Lock()
	revoke := s.revokeNext && !s.Off
	if s.revokeNext = false; revoke {
		s.Doubled++
	}
	s.mu.Unlock()
	if revoke {
		s.Revoke()
	}
	return resp, err
}

// failSome applies a request for all but some of its openids.
func (s *FaultTransport) failSome(req *http.Request, openIDs []string, dice uint64,
	forward func([]string) (*http.Response, error),
) (*http.Response, error) {
	var failed, rest []string
	for i, id := range openIDs {
		if i == int(dice%uint64(len(openIDs))) || (dice>>(i%60))&3 == 3 {
			failed = append(failed, id)
		} else {
			rest = append(rest, id)
		}
	}
	if len(rest) > 0 {
		resp, err := forward(rest)
		if err != nil {
			return nil, err
		}
		data, _ := io.ReadAll(resp.Body)
		if !bytes.Contains(data, []byte(`"errcode":0`)) {
			resp.Body = io.NopCloser(bytes.NewReader(data))
			return resp, nil
		}
	}
	list, _ := json.Marshal(failed)
	return RespondJSON(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":` + string(list) + `}`)(req)
}

func (s *FaultTransport) begin(req *http.Request, body []byte, openIDs []string) (faultKind, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Sent++
	s.Running++
	s.MaxRunning = max(s.MaxRunning, s.Running)
	for _, id := range openIDs {
		if s.inFlight[id]++; s.inFlight[id] > 1 {
			s.Overlapping = append(s.Overlapping, id)
		}
	}
	key := req.URL.Path + string(body)
	s.seen[key]++
	h := fnv.New64a()
	fmt.Fprint(h, s.seed, key, s.seen[key])
	rng := rand.New(rand.NewPCG(h.Sum64(), s.seed))
	dice := rng.Uint64()
	switch {
	case s.Off:
		return noFault, dice
	case s.OnlyCode != 0:
		return onlyCode, dice
	case s.BreakOff && strings.Contains(req.URL.Path, "batch") && rng.IntN(1000) < breakOffPermille:
		s.Sent--
		return breakOff, dice
	case s.Fatal && rng.IntN(1000) < fatalPermille:
		return dailyQuota, dice
	case rng.Uint64N(100) >= s.Percent:
		return noFault, dice
	}
	what := faultKind(1 + rng.IntN(int(dailyQuota)-1))
	isList := strings.HasSuffix(req.URL.Path, "/get") || strings.HasSuffix(req.URL.Path, "getblacklist")
	if what == tokenRevoked && s.Revoke == nil || what == stalePage && !(isList && s.StalePages) {
		what = minuteQuota
	}
	tagging := strings.HasSuffix(req.URL.Path, "tagging")
	if !tagging && (what == concurrentTagging || what == someFail || what == falseNoTag) {
		what = minuteQuota // the others occur with tags only
	}
	if what == dialFails {
		s.Sent--
	}
	return what, dice
}

func (s *FaultTransport) end(openIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Running--
	for _, id := range openIDs {
		s.inFlight[id]--
	}
}

// NewFaultTransport returns a transport in front of next that injects nothing until Percent or Fatal is set.
func NewFaultTransport(next http.RoundTripper, seed uint64) *FaultTransport {
	return &FaultTransport{
		next: next, seed: seed, seen: make(map[string]uint64), inFlight: make(map[string]int),
		pages: make(map[string]string),
	}
}
