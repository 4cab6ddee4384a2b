package wechatusertest

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wechatuser/wechatuser"
)

// maxBody is the longest request that is read, far beyond what any API takes.
const maxBody = 1 << 20

// call is a request on its way through the server.
type call struct {
	route  *route // nil for an unknown path
	method string
	path   string
	query  url.Values
	body   []byte
	fields object // of the body, nil if it is no JSON object
	ip     string // of the caller

	arrived time.Time
	now     time.Time // after the delay

	fault Fault // what goes wrong with it
	dice  dice
	busy  []string // openids that no other tagging call may have now
	clash bool     // another call has one of its openids

	out    writer
	failed []string // what fail_openid_list says, with 45171

	status int // what came of it
	code   wechatuser.Code
	rid    string
}

// respond is the path of every request. An error is an answer that does not come.
func (s *Server) respond(r *http.Request) (*reply, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c := &call{route: s.routes[r.URL.Path], method: r.Method, path: r.URL.Path, query: r.URL.Query(), ip: "127.0.0.1"}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.ip = host
	}
	if r.Body != nil {
		var err error
		if c.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			return nil, err
		}
		c.fields = parseObject(c.body)
	}
	// The body was read before the wait: net/http notices only then that a client has gone.
	err := wait(r.Context(), s.arrive(c))
	rep, entry, err := s.finish(c, err)
	if s.cfg.hook != nil {
		s.cfg.hook(entry.read())
	}
	return rep, err
}

// arrive counts a call, finds what will go wrong with it, and says how long to hold it up.
func (s *Server) arrive(c *call) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.arrived = s.now()
	disturbed := len(s.faults) > 0 || s.cfg.quirks != (Quirks{})
	if disturbed {
		c.dice = s.diceFor(c)
	}
	if c.route == nil {
		return 0
	}
	c.route.calls++
	if disturbed {
		if c.fault = s.takeFault(c); c.fault.Kind == "" {
			c.fault = s.badLuck(c)
		}
		s.occupy(c)
	}
	return s.delayOf(c.route) + c.fault.Delay + c.dice.duration("Latency", s.cfg.quirks.Latency)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish answers a call, unless it has ended with err, and keeps it for [Server.Requests].
func (s *Server) finish(c *call, err error) (*reply, logEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rep *reply
	if err == nil {
		rep, err = s.answer(c)
	}
	if rep != nil {
		c.status = rep.status
	}
	for _, id := range c.busy {
		delete(s.busy, id)
	}
	return rep, s.log(c), err
}

func (s *Server) answer(c *call) (*reply, error) {
	c.now = s.now()
	c.out.rawControl = s.cfg.quirks.RawControl
	switch c.fault.Kind {
	case FaultErrcode:
		if c.code = c.fault.Code; c.code == wechatuser.CodeSomeOpenIDsFailed {
			c.fields.get("openid_list", &c.failed)
		}
	case FaultHTTP:
		return &reply{status: c.fault.Status, contentType: "text/html; charset=utf-8", body: []byte(c.fault.Body)}, nil
	case FaultDropRequest:
		return nil, errHangUp
	default:
		c.code = s.process(c)
	}
	if c.code != 0 {
		s.refuse(c)
	} else if len(c.out.b) == 0 {
		c.out.lit(`{"errcode":0,"errmsg":"ok"}`)
	}
	if c.dice.chance("ShuffledKeys", s.cfg.quirks.ShuffledKeys) {
		c.out.b = shuffleKeys(c.out.b, c.dice.about("keys"))
	}
	rep := &reply{status: http.StatusOK, contentType: "application/json; encoding=utf-8", body: c.out.b}
	if c.dice.chance("PlainText", s.cfg.quirks.PlainText) {
		rep.contentType = "text/plain"
	}
	switch c.fault.Kind {
	case FaultDropAnswer:
		return nil, errHangUp
	case FaultCutBody:
		rep.cut = true
	case FaultGarbage:
		rep.body = []byte(cmp.Or(c.fault.Body, garbage))
	}
	return rep, nil
}

// garbage is no JSON and no UTF-8.
const garbage = "\x1f\x8b\x08\x00\xff\xfe{]garbage"

// process makes the general checks, in the order that the platform is believed to have, and carries the call out.
func (s *Server) process(c *call) wechatuser.Code {
	switch r := c.route; {
	case r == nil:
		return codeInvalidURL
	case c.method != r.method && r.method == http.MethodGet:
		return wechatuser.CodeRequireGET
	case c.method != r.method:
		return wechatuser.CodeRequirePOST
	case !r.noToken:
		if code := s.checkToken(c.query.Get("access_token"), c.now); code != 0 {
			return code
		}
	}
	if s.cfg.unverified && !c.route.open {
		return wechatuser.CodeAPIUnauthorized
	}
	if code := c.route.spend(c.now); code != 0 {
		return code
	}
	if c.method == http.MethodPost {
		if code := c.checkBody(); code != 0 {
			return code
		}
	}
	return c.route.serve(s, c)
}

func (c *call) checkBody() wechatuser.Code {
	switch path := c.route.path; {
	case len(c.body) > maxBody:
		return wechatuser.CodeContentTooLong
	case len(c.body) == 0 && path == clearQuotaV2Path:
		return 0 // which takes its arguments in the query too
	case len(c.body) == 0:
		return wechatuser.CodeEmptyPostData
	case c.fields == nil && path == stableTokenPath && c.body[0] != '{':
		return wechatuser.CodeAppIDMissing // a form, in which the platform finds nothing
	case c.fields == nil:
		return wechatuser.CodeDataFormat
	}
	return 0
}
