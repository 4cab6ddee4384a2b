package wechatusertest

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	defaultLogSize = 1000
	maxLoggedBody  = 16 << 10
)

// Request is a request that a server has received, and what came of it. Tokens and secrets are masked.
type Request struct {
	Time     time.Time     `json:"time"` // of the account's clock
	Duration time.Duration `json:"duration"`
	// API is the official name, such as "batchTagging"; empty for a path that no API has.
	API    string     `json:"api,omitempty"`
	Method string     `json:"method"`
	Path   string     `json:"path"`
	Query  url.Values `json:"query,omitempty"`
	// Body is the JSON of the request's body; nil if it was none, or more than 16 KiB.
	Body     map[string]any `json:"body,omitempty"`
	ClientIP string         `json:"client_ip"`

	// Status is the HTTP status, 0 where no answer was sent.
	Status int `json:"status"`
	// Errcode is what the account answered, or would have where the answer was lost.
	Errcode wechatuser.Code `json:"errcode"`
	// RID identifies a refusal, as in errmsg; [wechatuser.Client.GetRIDInfo] knows it for 7 days.
	RID string `json:"rid,omitempty"`
	// Fault is the kind of [Fault] that the call met, by order or by the account's [Quirks]; empty for none.
	Fault FaultKind `json:"fault,omitempty"`
}

// requestLog holds the last requests in a ring.
type requestLog struct {
	ring   []logEntry
	oldest int // place in ring
}

// logEntry is a Request that is not read yet.
type logEntry struct {
	Request
	body []byte
}

func (l *requestLog) add(e logEntry, size int) {
	switch {
	case size == 0:
	case len(l.ring) < size:
		l.ring = append(l.ring, e)
	default:
		l.ring[l.oldest] = e
		l.oldest = (l.oldest + 1) % size
	}
}

// read makes what a test may see. The entry's query belongs to the call that is over, and its body is not shared.
func (e logEntry) read() Request {
	r := e.Request
	if r.Query = maps.Clone(r.Query); len(r.Query) == 0 {
		r.Query = nil
	}
	for name, values := range r.Query {
		r.Query[name] = slices.Clone(values)
		for i, value := range values {
			r.Query[name][i] = masked(name, value)
		}
	}
	if err := json.Unmarshal(e.body, &r.Body); err != nil {
		r.Body = nil
	}
	maskIn("", r.Body)
	return r
}

// log keeps a call that is over. The lock is held.
func (s *Server) log(c *call) logEntry {
	e := logEntry{Request: Request{
		Time: c.arrived, Duration: s.now().Sub(c.arrived), Method: c.method, Path: c.path, Query: c.query, ClientIP: c.ip,
		Status: c.status, Errcode: c.code, RID: c.rid, Fault: c.fault.Kind,
	}}
	if c.route != nil {
		e.API = c.route.api
	} else {
		e.Path = secretInPath.ReplaceAllString(e.Path, "${1}xxxx")
	}
	if len(c.body) <= maxLoggedBody {
		e.body = c.body
	}
	s.requestLog.add(e, s.cfg.logSize)
	return e
}

// Requests are the last requests of these paths, or of all if there is none, the oldest first. Path "*" stands for all
// but those for tokens. The server keeps 1,000 requests unless [WithRequestLog] says otherwise; [Server.Calls] counts
// them all. It panics if no API has a path.
func (s *Server) Requests(paths ...string) []Request {
	paths = slices.Clone(paths)
	for i, path := range paths {
		paths[i] = pathOrAll("Requests", path)
	}
	s.mu.Lock()
	entries := slices.Concat(s.ring[s.oldest:], s.ring[:s.oldest])
	s.mu.Unlock()
	requests := []Request{}
	for _, e := range entries {
		asked := func(path string) bool { return e.Path == path || everywhere(path) && !isTokenPath(e.Path) }
		if len(paths) == 0 || slices.ContainsFunc(paths, asked) {
			requests = append(requests, e.read())
		}
	}
	return requests
}

// Calls is how many requests a path has received, whatever came of them. Path "*", or an empty one, stands for all
// calls but those for tokens. Requests to a path that no API has are not counted; [Server.Requests] has them.
func (s *Server) Calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !everywhere(path) {
		return s.route("Calls", path).calls
	}
	n := 0
	for _, r := range s.routes {
		if !isTokenPath(r.path) {
			n += r.calls
		}
	}
	return n
}
