package wechatusertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// Handle makes the server respond to the calls of a path with what answer returns, for paths that the simulator does
// not know, such as those of [wechatuser.Client.Do]. For a path that the simulator knows, answer replaces its own
// response, and the account does not change. A nil answer undoes this.
//
// The server first checks the access token, the quotas and, if it knows the path, the method, and applies faults and
// delays. It does not check the body. Then it responds with
//
//   - "ok" for nil;
//   - an errcode for a [wechatuser.Code], or another error that has one, such as a [*wechatuser.Error];
//   - the bytes of a []byte, as they are;
//   - the JSON of any other value. It panics if the value cannot be encoded.
//
// For any other error it closes the connection without a response.
//
// answer may call all methods of the server, and must be safe for concurrent use if the program under test makes
// concurrent calls. The Request that it gets has no Status yet. Handle panics if path does not begin with a slash, or
// is that of a token request.
func (s *Server) Handle(path string, answer func(Request) any) {
	if !strings.HasPrefix(path, "/") || isTokenPath(path) {
		panic(fmt.Sprintf("wechatusertest: Handle: %q is not the path of an API, or is that of a token request", path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routes[path]
	switch {
	case r == nil && answer == nil:
	case r == nil:
		s.routes[path] = &route{endpoint: &endpoint{api: path}, path: path, answer: answer}
	case answer == nil && endpoints[path] == nil:
		delete(s.routes, path)
	default:
		r.answer = answer
	}
}

// answer carries out a call with the function of Handle. s.mu is held, but not while that function runs.
func (s *Server) answer(c *call) wechatuser.Code {
	var (
		code wechatuser.Code
		e    *wechatuser.Error
	)
	switch v := s.runAnswer(c).(type) {
	case nil:
	case error:
		switch {
		case errors.As(v, &e):
			code = e.Code
		case !errors.As(v, &code):
			c.err = fmt.Errorf("wechatusertest: no response: %w", v)
		}
	case []byte:
		c.special = &response{status: http.StatusOK, contentType: http.DetectContentType(v), body: bytes.Clone(v)}
	default:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			panic(fmt.Sprintf("wechatusertest: Handle: the answer to %s: %v", c.path, err))
		}
		c.out.b = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	return code
}

func (s *Server) runAnswer(c *call) any {
	req, answer := s.entry(c).request(), c.route.answer
	s.mu.Unlock()
	defer s.mu.Lock()
	return answer(req)
}
