package wechatusertest

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wechatuser/wechatuser"
)

// maxBody is the maximum number of body bytes to read, far more than any API accepts.
const maxBody = 1 << 20

// call is a request and the state of its handling.
type call struct {
	route  *route // nil for an unknown path
	method string
	path   string
	query  url.Values
	body   []byte
	fields object // of the body, nil if it is not a JSON object
	ip     string // of the client

	byPlatform bool // sent by a third-party platform, with a token that it got for the account

	arrived time.Time
	now     time.Time // after the delay

	fault    Fault // zero if no fault hits the call
	rng      rng
	locked   []string // openids that other tagging calls must not contain now
	conflict bool     // another call has locked one of its openids

	out     writer
	failed  []string  // fail_openid_list of 45171
	special *response // sent in place of out, nil for none
	err     error     // why there is no response

	status int // HTTP status, 0 if no response is sent
	code   wechatuser.Code
	rid    string
}

// handle handles a request. It returns an error if there is no response.
func (s *Server) handle(r *http.Request) (*response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c := &call{method: r.Method, path: r.URL.Path, query: r.URL.Query(), ip: "127.0.0.1"}
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
	// Read the body before waiting: net/http does not notice earlier that the client has gone.
	err := wait(r.Context(), s.arrive(c))
	resp, entry, err := s.finish(c, err)
	if s.cfg.hook != nil {
		s.cfg.hook(entry.request())
	}
	return resp, err
}

// arrive counts a call, determines its fault, and returns its delay.
func (s *Server) arrive(c *call) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.arrived, c.route = s.now(), s.routes[c.path]
	hasFaults := len(s.faults) > 0 || s.cfg.quirks != (Quirks{})
	if hasFaults {
		c.rng = s.rngFor(c)
	}
	if c.route == nil {
		return 0
	}
	c.route.calls++
	if hasFaults {
		if c.fault = s.takeFault(c); c.fault.Kind == "" {
			c.fault = s.quirkFault(c)
		}
		s.lockOpenIDs(c)
	}
	return s.delayFor(c.route) + c.fault.Delay + c.rng.duration("Latency", s.cfg.quirks.Latency)
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

// finish makes the response to a call, unless err is set, and logs the call.
func (s *Server) finish(c *call, err error) (*response, logEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var resp *response
	if err == nil {
		resp, err = s.respond(c)
	}
	if resp != nil {
		c.status = resp.status
	}
	for _, id := range c.locked {
		delete(s.lockedOpenIDs, id)
	}
	return resp, s.log(c), err
}

// respond carries out a call, applies its fault, and returns the response. It returns an error if there is none.
func (s *Server) respond(c *call) (*response, error) {
	c.now = s.now()
	c.out.rawControl, c.out.rawQuotes = s.cfg.quirks.RawControl, s.cfg.quirks.RawQuotes
	switch c.fault.Kind {
	case FaultErrcode:
		if c.code = c.fault.Code; c.code == wechatuser.CodeSomeOpenIDsFailed {
			c.fields.get("openid_list", &c.failed)
		}
	case FaultHTTP:
		return &response{status: c.fault.Status, contentType: "text/html; charset=utf-8", body: []byte(c.fault.Body)}, nil
	case FaultDropRequest:
		return nil, errNoResponse
	default:
		c.code = s.process(c)
	}
	if c.err != nil {
		return nil, c.err
	}
	resp := c.special
	if resp == nil {
		resp = s.answerJSON(c)
	}
	switch c.fault.Kind {
	case FaultDropAnswer:
		return nil, errNoResponse
	case FaultCutBody:
		resp.cut = true
	case FaultGarbage:
		resp.body = []byte(cmp.Or(c.fault.Body, garbage))
	}
	return resp, nil
}

// answerJSON returns the platform's JSON for a call that was carried out or rejected.
func (s *Server) answerJSON(c *call) *response {
	if c.code != 0 {
		s.writeError(c)
	} else if len(c.out.b) == 0 {
		c.out.lit(`{"errcode":0,"errmsg":"ok"}`)
	}
	if !c.out.broken {
		var keys, types *rand.Rand
		if c.rng.chance("ShuffledKeys", s.cfg.quirks.ShuffledKeys) {
			keys = c.rng.stream("keys")
		}
		if c.rng.chance("OtherTypes", s.cfg.quirks.OtherTypes) {
			types = c.rng.stream("types")
		}
		if keys != nil || types != nil {
			c.out.b = rewrite(c.out.b, keys, types)
		}
	}
	resp := &response{status: http.StatusOK, contentType: "application/json; encoding=utf-8", body: c.out.b}
	if c.rng.chance("PlainText", s.cfg.quirks.PlainText) {
		resp.contentType = "text/plain"
	}
	return resp
}

// garbage is neither JSON nor UTF-8.
const garbage = "\x1f\x8b\x08\x00\xff\xfe{]garbage"

// process makes the general checks, in the order assumed for the platform, then carries the call out.
func (s *Server) process(c *call) wechatuser.Code {
	switch r := c.route; {
	case r == nil:
		if s.cfg.cloud { // its service knows the allowed paths only
			if code := s.authorize(c); code != 0 || c.special != nil {
				return code
			}
		}
		return codeInvalidURL
	case c.method != r.method && r.method == http.MethodGet:
		return wechatuser.CodeRequireGET
	case c.method != r.method && r.method != "":
		return wechatuser.CodeRequirePOST
	case !r.noToken:
		if code := s.authorize(c); code != 0 || c.special != nil {
			return code
		}
		if !s.cfg.whitelistOfTokens && !c.byPlatform && !s.ipAllowed(c.ip) {
			return wechatuser.CodeIPNotAllowed
		}
	}
	if s.cfg.unverified && !c.route.open {
		return wechatuser.CodeAPIUnauthorized
	}
	if code := c.route.spend(c.now); code != 0 {
		return code
	}
	if c.route.answer != nil {
		return s.answer(c)
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
		return 0 // the arguments can be in the query
	case len(c.body) == 0:
		return wechatuser.CodeEmptyPostData
	case c.fields == nil && path == stableTokenPath && c.body[0] != '{':
		return wechatuser.CodeAppIDMissing // a form, which the platform does not parse
	case c.fields == nil:
		return wechatuser.CodeDataFormat
	}
	return 0
}
