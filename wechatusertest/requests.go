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

// Request is a request that a server has received, and its result. Tokens and secrets are redacted.
type Request struct {
	Time     time.Time     `json:"time"` // by the account's clock
	Duration time.Duration `json:"duration"`
	// API is the official name of the API, such as "batchTagging"; empty if no API has the path.
	API    string     `json:"api,omitempty"`
	Method string     `json:"method"`
	Path   string     `json:"path"`
	Query  url.Values `json:"query,omitempty"`
	// Body is the decoded JSON body; nil if the body is not a JSON object or is longer than 16 KiB.
	Body     map[string]any `json:"body,omitempty"`
	ClientIP string         `json:"client_ip"`

	// Status is the HTTP status; 0 if no response was sent.
	Status int `json:"status"`
	// Errcode is the errcode of the response, even if the response was lost.
	Errcode wechatuser.Code `json:"errcode"`
	// RID is the request id in the errmsg of a failed call. [wechatuser.Client.GetRIDInfo] finds it for 7 days.
	RID string `json:"rid,omitempty"`
	// Fault is the kind of [Fault] that hit the call, whether set by the test or caused by [Quirks]; empty if none did.
	Fault FaultKind `json:"fault,omitempty"`
}

// requestLog holds the last requests in a ring buffer.
type requestLog struct {
	ring   []logEntry
	oldest int // index in ring
}

// logEntry is a Request that is not redacted yet and whose body is not decoded.
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

// request returns the Request that a test may see. It does not share memory with the entry.
func (e logEntry) request() Request {
	r := e.Request
	if r.Query = maps.Clone(r.Query); len(r.Query) == 0 {
		r.Query = nil
	}
	for name, values := range r.Query {
		r.Query[name] = slices.Clone(values)
		for i, value := range values {
			r.Query[name][i] = redacted(name, value)
		}
	}
	if err := json.Unmarshal(e.body, &r.Body); err != nil {
		r.Body = nil
	}
	redactIn("", r.Body)
	return r
}

// log adds a finished call to the log. s.mu is held.
func (s *Server) log(c *call) logEntry {
	e := s.entry(c)
	s.requestLog.add(e, s.cfg.logSize)
	return e
}

// entry returns the log entry of a call. s.mu is held.
func (s *Server) entry(c *call) logEntry {
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
	return e
}

// Requests returns the last requests of these paths, oldest first. Without paths it returns the requests of all paths.
// "*" stands for all paths except those of token requests.
//
// The server keeps the last 1,000 requests; [WithRequestLog] changes this. [Server.Calls] counts all of them. It panics
// if no API has one of the paths.
func (s *Server) Requests(paths ...string) []Request {
	paths = slices.Clone(paths)
	for i, path := range paths {
		paths[i] = s.mustResolvePath("Requests", path)
	}
	s.mu.Lock()
	entries := slices.Concat(s.ring[s.oldest:], s.ring[:s.oldest])
	s.mu.Unlock()
	requests := []Request{}
	for _, e := range entries {
		matches := func(path string) bool { return e.Path == path || isAnyPath(path) && !isTokenPath(e.Path) }
		if len(paths) == 0 || slices.ContainsFunc(paths, matches) {
			requests = append(requests, e.request())
		}
	}
	return requests
}

// Calls returns the number of requests that a path has received, including failed ones. "*" or an empty path stands for
// all paths except those of token requests. Requests to unknown paths are not counted, unless [Server.Handle] has them,
// but [Server.Requests] returns them. It panics if no API has the path.
func (s *Server) Calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isAnyPath(path) {
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
