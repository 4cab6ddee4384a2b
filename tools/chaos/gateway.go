package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// gateway serves all hosts of the account. It forwards requests to the account and injects faults.
type gateway struct {
	account *wechatusertest.Server
	monitor *monitor
	results *results
	delay   time.Duration // of delayed responses; longer than a client waits
	latency time.Duration // upper bound of the random latency of a request
	active  atomic.Bool   // false: no faults, no latency
	revoke  func()        // revokes all tokens
	// revokeUnused makes the next token of each kind be revoked before the client has it.
	revokeUnused [kindCount]atomic.Bool

	mu          sync.Mutex
	rng         *rand.Rand
	faultRate   float64
	limiterRate float64

	runsMu  sync.RWMutex // read-locked while a request is carried out
	runs    map[uint64]*jobRun
	lastRun uint64
}

// jobRun is one run of a job. Its requests that the account has not begun to carry out when it returns are never
// carried out: a forgotten request could otherwise undo what a later run has done.
type jobRun struct {
	id      uint64
	sent    atomic.Int64 // requests that the client began to send
	arrived atomic.Int64 // POST requests that arrived; net/http may send a GET twice

	mu   sync.Mutex
	done map[string]int // how often a call was made for an openid, and returned no error for it
}

// addDone records the openids of a call, except those that failed.
func (r *jobRun) addDone(openIDs, failed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range openIDs {
		if !slices.Contains(failed, id) {
			r.done[id]++
		}
	}
}

func (g *gateway) beginRun() *jobRun {
	g.runsMu.Lock()
	defer g.runsMu.Unlock()
	g.lastRun++
	run := &jobRun{id: g.lastRun, done: make(map[string]int)}
	g.runs[run.id] = run
	return run
}

// endRun waits for the requests that are being carried out.
func (g *gateway) endRun(run *jobRun) {
	g.runsMu.Lock()
	defer g.runsMu.Unlock()
	delete(g.runs, run.id)
}

// run returns the run that a request belongs to, or nil if it belongs to none or the run has ended.
func (g *gateway) run(r *http.Request) *jobRun {
	g.runsMu.RLock()
	defer g.runsMu.RUnlock()
	return g.runs[numberIn(r, runHeader)]
}

const taggingPrefix = "/cgi-bin/tags/members/batch" // of the paths for tagging and untagging

// responder writes the response of a fault. actual is the response of the account, or nil if the request was not
// carried out. wait waits longer than a client does.
type responder func(w http.ResponseWriter, actual *response, wait func())

// fault is something that can go wrong with a request.
type fault struct {
	name   string
	weight int // of about 1000; 0 if it is not the gateway that injects it
	// applies reports whether requests for a path can have the fault. Nil stands for all paths.
	applies func(path string) bool
	// ambiguous faults hit requests that were carried out as well as others.
	ambiguous bool
	respond   responder
}

func isTaggingPath(path string) bool {
	return strings.HasPrefix(path, taggingPrefix) && strings.HasSuffix(path, "tagging")
}

func needsTag(path string) bool { return isTaggingPath(path) || path == "/cgi-bin/user/tag/get" }

// The kinds of tokens.
const (
	stable = iota
	legacy
	kindCount
)

var tokenPaths = [kindCount]string{stable: "/cgi-bin/stable_token", legacy: "/cgi-bin/token"}

func isTokenPath(path string) bool { return slices.Contains(tokenPaths[:], path) }

func isNotTokenPath(path string) bool { return !isTokenPath(path) }

func errcode(code wechatuser.Code) responder {
	body := fmt.Appendf(nil, `{"errcode":%d,"errmsg":%q}`, int(code), code.Text()+" rid: 00000000-00000000-00000000")
	return func(w http.ResponseWriter, _ *response, _ func()) { newResponse(http.StatusOK, body).write(w) }
}

func httpStatus(status int, retryAfter string) responder {
	return func(w http.ResponseWriter, _ *response, _ func()) {
		resp := newResponse(status, []byte("<html><body><h1>"+http.StatusText(status)+"</h1></body></html>"))
		resp.header.Set("Content-Type", "text/html")
		if retryAfter != "" {
			resp.header.Set("Retry-After", retryAfter)
		}
		resp.write(w)
	}
}

func dropConnection(http.ResponseWriter, *response, func()) { abort() }

func truncateBody(w http.ResponseWriter, actual *response, _ func()) {
	if actual == nil {
		actual = newResponse(http.StatusOK, []byte(`{"errcode":0,"errmsg":"ok"}`))
	}
	actual.header.Set("Content-Length", strconv.Itoa(len(actual.body)))
	actual.body = actual.body[:len(actual.body)/2]
	actual.write(w)
	_ = http.NewResponseController(w).Flush()
	abort()
}

func garbageBody(w http.ResponseWriter, _ *response, _ func()) {
	newResponse(http.StatusOK, []byte("\x1f\x8b\x00{]\xff garbage")).write(w)
}

func exceedTimeout(_ http.ResponseWriter, _ *response, wait func()) {
	wait()
	abort()
}

// faults lists the faults. A partial failure has no responder, as it decides itself what is carried out.
var faults = []fault{
	{name: "errcode -1, system busy", weight: 140, ambiguous: true, respond: errcode(wechatuser.CodeSystemBusy)},
	{name: "errcode 45011, minute quota", weight: 1, applies: isNotTokenPath,
		respond: errcode(wechatuser.CodeMinuteQuotaExceeded)},
	{name: "errcode 45169, concurrent tagging", weight: 90, applies: isTaggingPath,
		respond: errcode(wechatuser.CodeConcurrentTagging)},
	{name: falseTagError, weight: 60, applies: needsTag, respond: errcode(wechatuser.CodeInvalidTagID)},
	{name: "errcode 45171, partial failure", weight: 90, applies: isTaggingPath},
	{name: "HTTP 502, HTML page", weight: 120, ambiguous: true, respond: httpStatus(http.StatusBadGateway, "")},
	{name: "HTTP 503, Retry-After 1", weight: 50, ambiguous: true,
		respond: httpStatus(http.StatusServiceUnavailable, "1")},
	{name: "HTTP 429, Retry-After 1", weight: 20, respond: httpStatus(http.StatusTooManyRequests, "1")},
	{name: "connection dropped", weight: 200, ambiguous: true, respond: dropConnection},
	{name: "truncated body", weight: 90, ambiguous: true, respond: truncateBody},
	{name: "garbage body", weight: 90, ambiguous: true, respond: garbageBody},
	{name: "response after the timeout", weight: 50, ambiguous: true, respond: exceedTimeout},
	{name: "pooled connection: reset"}, {name: "pooled connection: silence"},
	{name: "connection in flight: reset"}, {name: "connection in flight: silence"},
	{name: "error of the limiter"},
}

// Indexes into faults of those that the gateway does not inject.
var (
	inPool       = map[death]int{resets: len(faults) - 5, swallows: len(faults) - 4}
	inFlight     = map[death]int{resets: len(faults) - 3, swallows: len(faults) - 2}
	limiterError = len(faults) - 1
)

// pickFault returns the index of the fault for a request, -1 for none, and whether the request is carried out
// anyway.
func (g *gateway) pickFault(path string) (index int, applied bool) {
	if !g.active.Load() {
		return -1, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rng.Float64() >= g.faultRate {
		return -1, false
	}
	total := 0
	for _, f := range faults {
		if f.applies == nil || f.applies(path) {
			total += f.weight
		}
	}
	at := g.rng.IntN(total)
	for i, f := range faults {
		if f.applies == nil || f.applies(path) {
			if at -= f.weight; at < 0 {
				return i, f.ambiguous && g.rng.IntN(2) == 0
			}
		}
	}
	panic("unreachable: at is below the sum of the weights")
}

// happens reports whether something of this probability happens.
func (g *gateway) happens(probability float64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rng.Float64() < probability
}

func (g *gateway) random(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rng.IntN(n)
}

const (
	runHeader  = "X-Chaos-Run"
	callHeader = "X-Chaos-Call"
)

// ServeHTTP handles every request of the clients.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if run := g.run(r); run != nil && r.Method == http.MethodPost {
		run.arrived.Add(1)
	}
	callID := numberIn(r, callHeader)
	wait := func(d time.Duration) { _ = backoff.Sleep(r.Context(), d) } // returns early if the client disconnects
	index, applied := g.pickFault(r.URL.Path)
	if g.active.Load() {
		wait(time.Duration(g.random(int(g.latency))))
	}
	var actual *response
	if index < 0 || applied {
		if actual = g.forward(r, body); actual == nil {
			abort()
		}
	}
	switch {
	case index < 0:
		g.revokeIfUnused(r.URL.Path, actual)
		actual.write(w)
	case faults[index].respond == nil:
		g.failPartly(w, r, body, callID, index)
	default:
		g.monitor.faultInjected(callID, index, applied)
		faults[index].respond(w, actual, func() { wait(g.delay) })
	}
}

// forward has the account carry out the request. It returns nil if the request's job run has ended.
func (g *gateway) forward(r *http.Request, body []byte) *response {
	g.runsMu.RLock()
	defer g.runsMu.RUnlock()
	if id := numberIn(r, runHeader); id != 0 && g.runs[id] == nil {
		g.monitor.lateRequest()
		return nil
	}
	req := r.Clone(context.WithoutCancel(r.Context()))
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := g.account.Transport().RoundTrip(req)
	if err != nil {
		g.results.addMismatch("no response from the account: %v", err)
		return nil
	}
	defer resp.Body.Close()
	respBody, err := io.ReadAll(resp.Body)
	if err != nil {
		g.results.addMismatch("no response from the account: %v", err)
		return nil
	}
	g.monitor.addToken(r.URL.Path, respBody)
	return &response{status: resp.StatusCode, header: resp.Header, body: respBody}
}

// revokeIfUnused revokes the token of a response before the client has it, if it is to be.
func (g *gateway) revokeIfUnused(path string, resp *response) {
	kind := slices.Index(tokenPaths[:], path)
	if kind < 0 || !bytes.Contains(resp.body, []byte(`"access_token"`)) || !g.revokeUnused[kind].Swap(false) {
		return
	}
	g.revoke()
	g.monitor.tokenRevokedUnused(kind)
}

// failPartly carries out a tagging request for some of its openids, and responds that the others failed.
func (g *gateway) failPartly(w http.ResponseWriter, r *http.Request, body []byte, callID uint64, index int) {
	var in struct {
		OpenIDs []string `json:"openid_list"`
		TagID   int      `json:"tagid"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		g.results.addMismatch("the body of a tagging request is not JSON: %v", err)
		abort()
	}
	var failed, kept []string
	for _, id := range in.OpenIDs {
		if g.random(2) == 0 {
			failed = append(failed, id)
		} else {
			kept = append(kept, id)
		}
	}
	if in.OpenIDs = kept; len(kept) > 0 {
		actual := g.forward(r, marshal(in))
		if actual == nil {
			abort()
		}
		if len(failed) == 0 || !bytes.Contains(actual.body, []byte(`"errcode":0`)) {
			actual.write(w)
			return
		}
	}
	g.monitor.faultInjected(callID, index, len(kept) > 0)
	newResponse(http.StatusOK, marshal(struct {
		Code   int      `json:"errcode"`
		Msg    string   `json:"errmsg"`
		Failed []string `json:"fail_openid_list"`
	}{int(wechatuser.CodeSomeOpenIDsFailed), "some openid fail", failed})).write(w)
}

// marshal encodes values that always encode without an error.
func marshal(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

func numberIn(r *http.Request, header string) uint64 {
	n, _ := strconv.ParseUint(r.Header.Get(header), 10, 64)
	return n
}

// response is an HTTP response.
type response struct {
	status int
	header http.Header
	body   []byte
}

func newResponse(status int, body []byte) *response {
	header := http.Header{"Content-Type": {"application/json; encoding=utf-8"}}
	return &response{status: status, header: header, body: body}
}

func (resp *response) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), resp.header)
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body) // the client may have disconnected
}

// abort closes the connection without a further response. It does not return.
func abort() { panic(http.ErrAbortHandler) }
