package testutil

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// peek reads the body of a request and puts it back.
func PeekBody(req *http.Request) string {
	if req.Body == nil {
		return ""
	}
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return string(body)
}

// sent is a request as a transport saw it.
type Sent struct {
	Method, Host, Path string
	Query              url.Values
	Header             http.Header
	Length             int64
	Body               string
	At                 time.Time
}

// reply is what a script does with a request.
type Reply func(*http.Request) (*http.Response, error)

// script is a transport that plays its replies in order, the last one for ever, and notes what was sent.
type Script struct {
	mu      sync.Mutex
	Replies []Reply
	Sent    []Sent
}

func Play(replies ...Reply) *Script { return &Script{Replies: replies} }

func (s *Script) RoundTrip(req *http.Request) (*http.Response, error) {
	note := Sent{
		Method: req.Method, Host: req.URL.Host, Path: req.URL.Path, Query: req.URL.Query(),
		Header: req.Header.Clone(), Length: req.ContentLength, At: time.Now(),
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		note.Body = string(body)
	}
	return s.next(note)(req)
}

func (s *Script) next(note Sent) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Sent = append(s.Sent, note)
	r := s.Replies[0]
	if len(s.Replies) > 1 {
		s.Replies = s.Replies[1:]
	}
	return r
}

// requests are those that were sent so far.
func (s *Script) Requests() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Sent
}

// count is how many requests were sent.
func (s *Script) Count() int { return len(s.Requests()) }

// pauses are the times between the requests.
func (s *Script) Pauses() (d []time.Duration) {
	all := s.Requests()
	for i := 1; i < len(all); i++ {
		d = append(d, all[i].At.Sub(all[i-1].At))
	}
	return d
}

// answers replies with an HTTP answer. Headers come in pairs of name and value.
func Respond(status int, body string, headers ...string) Reply {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Request: req,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// says is an answer of the platform.
func RespondJSON(body string) Reply {
	return Respond(http.StatusOK, body, "Content-Type", "application/json; encoding=utf-8")
}

// refuses is an answer of the platform with an errcode, which may be a Code or a number.
func RespondCode[C ~int](code C) Reply {
	body, err := json.Marshal(map[string]any{"errcode": code, "errmsg": wechatuser.Code(code).Text()})
	if err != nil {
		panic(err)
	}
	return RespondJSON(string(body))
}

// fails is a request that gets no answer.
func Fail(err error) Reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// Errors of a transport.
var (
	ErrReset   = errors.New("connection reset by peer")                                               // the request was sent
	ErrRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: connection refused")} // it was not
)

// hangs is a request that gets no answer until its context ends.
func Hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// after is a reply that takes some time.
func Delay(d time.Duration, r Reply) Reply {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return r(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

type RoundTripFunc func(*http.Request) (*http.Response, error)

func (f RoundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// ctxReader is a body that does not come.
type HangingReader struct{ Ctx context.Context }

func (r HangingReader) Read([]byte) (int, error) {
	<-r.Ctx.Done()
	return 0, r.Ctx.Err()
}

// byPath is a transport with a script for each path.
type ByPath map[string]*Script

func (p ByPath) RoundTrip(req *http.Request) (*http.Response, error) {
	return p[req.URL.Path].RoundTrip(req)
}
