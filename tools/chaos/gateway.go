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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// gateway stands before the account, on all of its addresses, and makes the faults.
type gateway struct {
	account *wechatusertest.Server
	watch   *watch
	ledger  *ledger
	late    time.Duration // longer than a client waits
	latency time.Duration // of a call, at most
	storm   atomic.Bool   // off: no faults, and no latency

	mu   sync.Mutex
	rng  *rand.Rand
	rate float64

	fence sync.RWMutex // held by each call that is carried out
	tasks map[uint64]*task
	last  uint64
}

// task is one run of a job. What it sent and the account has not come to by the time it returns is never carried out:
// otherwise a tag could be taken off, and then put on by a call that everybody had forgotten.
type task struct {
	id      uint64
	tried   atomic.Int64 // requests that the client began to send
	arrived atomic.Int64 // POST requests that came through; net/http may send a GET twice
}

func (g *gateway) begin() *task {
	g.fence.Lock()
	defer g.fence.Unlock()
	g.last++
	t := &task{id: g.last}
	g.tasks[t.id] = t
	return t
}

func (g *gateway) end(t *task) {
	g.fence.Lock()
	defer g.fence.Unlock()
	delete(g.tasks, t.id)
}

// task is what a request belongs to, nil for none and for one that is over.
func (g *gateway) task(r *http.Request) *task {
	g.fence.RLock()
	defer g.fence.RUnlock()
	return g.tasks[headerNumber(r, taskHeader)]
}

const taggingPath = "/cgi-bin/tags/members/batch" // and what follows

// fault is something that can go wrong.
type fault struct {
	name   string
	weight int // of 1000, roughly
	// fits is for which paths, nil for all.
	fits func(path string) bool
	// unclear faults may come after the call was carried out as well as in its place.
	unclear bool
	// respond answers. real is the answer of the account, nil where the call was not carried out.
	respond func(w http.ResponseWriter, real *reply, wait func())
}

func isTagging(path string) bool {
	return strings.HasPrefix(path, taggingPath) && strings.HasSuffix(path, "tagging")
}

func isAboutTag(path string) bool { return isTagging(path) || path == "/cgi-bin/user/tag/get" }

func refusing(code wechatuser.Code) func(http.ResponseWriter, *reply, func()) {
	body := fmt.Appendf(nil, `{"errcode":%d,"errmsg":%q}`, int(code), code.Text()+" rid: 00000000-00000000-00000000")
	return func(w http.ResponseWriter, _ *reply, _ func()) { newReply(http.StatusOK, body).send(w) }
}

func failing(status int, retryAfter string) func(http.ResponseWriter, *reply, func()) {
	return func(w http.ResponseWriter, _ *reply, _ func()) {
		rep := newReply(status, []byte("<html><body><h1>"+http.StatusText(status)+"</h1></body></html>"))
		rep.header.Set("Content-Type", "text/html")
		if retryAfter != "" {
			rep.header.Set("Retry-After", retryAfter)
		}
		rep.send(w)
	}
}

func isToken(path string) bool { return path == "/cgi-bin/stable_token" }

func isNoToken(path string) bool { return !isToken(path) }

// faults are all that can go wrong with an answer. A partial failure has no respond: it decides what is carried out.
var faults = []fault{
	{name: "errcode -1, system busy", weight: 140, unclear: true, respond: refusing(wechatuser.CodeSystemBusy)},
	{name: "errcode 45011, minute's quota", weight: 1, fits: isNoToken, respond: refusing(wechatuser.CodeMinuteQuotaExceeded)},
	{name: "errcode 45169, tagged by another", weight: 90, fits: isTagging, respond: refusing(wechatuser.CodeConcurrentTagging)},
	{name: "errcode 45159, a lie", weight: 60, fits: isAboutTag, respond: refusing(wechatuser.CodeInvalidTagID)},
	{name: "errcode 45171, some of them", weight: 90, fits: isTagging},
	{name: "HTTP 502 with a page", weight: 120, unclear: true, respond: failing(http.StatusBadGateway, "")},
	{name: "HTTP 503, Retry-After 1", weight: 50, unclear: true, respond: failing(http.StatusServiceUnavailable, "1")},
	{name: "HTTP 429, Retry-After 1", weight: 20, respond: failing(http.StatusTooManyRequests, "1")},
	{name: "connection dropped", weight: 200, unclear: true, respond: func(w http.ResponseWriter, _ *reply, _ func()) { hangUp() }},
	{name: "body cut", weight: 90, unclear: true, respond: func(w http.ResponseWriter, real *reply, _ func()) {
		if real == nil {
			real = newReply(http.StatusOK, []byte(`{"errcode":0,"errmsg":"ok"}`))
		}
		real.header.Set("Content-Length", strconv.Itoa(len(real.body)))
		real.body = real.body[:len(real.body)/2]
		real.send(w)
		_ = http.NewResponseController(w).Flush()
		hangUp()
	}},
	{name: "garbage", weight: 90, unclear: true, respond: func(w http.ResponseWriter, _ *reply, _ func()) {
		newReply(http.StatusOK, []byte("\x1f\x8b\x00{]\xff garbage")).send(w)
	}},
	{name: "answer later than the timeout", weight: 50, unclear: true, respond: func(w http.ResponseWriter, _ *reply, wait func()) {
		wait()
		hangUp()
	}},
}

// draw chooses the fault for a call, -1 for none, and whether the call is carried out all the same.
func (g *gateway) draw(path string) (index int, carriedOut bool) {
	if !g.storm.Load() {
		return -1, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rng.Float64() >= g.rate {
		return -1, false
	}
	total := 0
	for _, f := range faults {
		if f.fits == nil || f.fits(path) {
			total += f.weight
		}
	}
	at := g.rng.IntN(total)
	for i, f := range faults {
		if f.fits == nil || f.fits(path) {
			if at -= f.weight; at < 0 {
				return i, f.unclear && g.rng.IntN(2) == 0
			}
		}
	}
	panic("the weights do not add up")
}

func (g *gateway) random(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rng.IntN(n)
}

const (
	taskHeader = "X-Chaos-Task"
	callHeader = "X-Chaos-Call"
)

// ServeHTTP is the path of every request.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if t := g.task(r); t != nil && r.Method == http.MethodPost {
		t.arrived.Add(1)
	}
	callID := headerNumber(r, callHeader)
	wait := func(d time.Duration) { _ = sleep(r.Context(), d) } // it ends when the client has gone
	index, carriedOut := g.draw(r.URL.Path)
	if g.storm.Load() {
		wait(time.Duration(g.random(int(g.latency))))
	}
	var real *reply
	if index < 0 || carriedOut {
		if real = g.carryOut(r, body); real == nil {
			hangUp()
		}
	}
	switch {
	case index < 0:
		real.send(w)
	case faults[index].respond == nil:
		g.respondPartly(w, r, body, callID, index)
	default:
		g.watch.injected(callID, index, carriedOut)
		faults[index].respond(w, real, func() { wait(g.late) })
	}
}

// carryOut lets the account do what is asked for. It gives nil where the task is over.
func (g *gateway) carryOut(r *http.Request, body []byte) *reply {
	g.fence.RLock()
	defer g.fence.RUnlock()
	if id := headerNumber(r, taskHeader); id != 0 && g.tasks[id] == nil {
		g.watch.tooLate()
		return nil
	}
	req := r.Clone(context.WithoutCancel(r.Context()))
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := g.account.Transport().RoundTrip(req)
	if err != nil {
		g.ledger.isWrong("the account does not answer: %v", err)
		return nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		g.ledger.isWrong("the account does not answer: %v", err)
		return nil
	}
	g.watch.seen(r.URL.Path, answer)
	return &reply{status: resp.StatusCode, header: resp.Header, body: answer}
}

// respondPartly carries a tagging call out for some of its openids, and answers that the others failed.
func (g *gateway) respondPartly(w http.ResponseWriter, r *http.Request, body []byte, callID uint64, index int) {
	var in struct {
		OpenIDs []string `json:"openid_list"`
		TagID   int      `json:"tagid"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		g.ledger.isWrong("a call for tags that is no JSON: %v", err)
		hangUp()
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
		real := g.carryOut(r, marshal(in))
		if real == nil {
			hangUp()
		}
		if len(failed) == 0 || !bytes.Contains(real.body, []byte(`"errcode":0`)) {
			real.send(w)
			return
		}
	}
	g.watch.injected(callID, index, len(kept) > 0)
	newReply(http.StatusOK, marshal(struct {
		Code   int      `json:"errcode"`
		Msg    string   `json:"errmsg"`
		Failed []string `json:"fail_openid_list"`
	}{int(wechatuser.CodeSomeOpenIDsFailed), "some openid fail", failed})).send(w)
}

// marshal encodes what can't fail to be encoded.
func marshal(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

func headerNumber(r *http.Request, name string) uint64 {
	n, _ := strconv.ParseUint(r.Header.Get(name), 10, 64)
	return n
}

// reply is an HTTP answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func newReply(status int, body []byte) *reply {
	return &reply{status: status, header: http.Header{"Content-Type": {"application/json; encoding=utf-8"}}, body: body}
}

func (rep *reply) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), rep.header)
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body) // the client may have gone
}

// hangUp ends the connection. It does not return.
func hangUp() { panic(http.ErrAbortHandler) }
