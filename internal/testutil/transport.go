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

// PeekBody returns the body of a request and puts it back.
func PeekBody(req *http.Request) string {
	if req.Body == nil {
		return ""
	}
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return string(body)
}

// Sent is a request as a transport saw it.
type Sent struct {
	Method, Host, Path string
	Query              url.Values
	Header             http.Header
	Length             int64
	Body               string
	At                 time.Time
}

// Reply responds to a request, or fails it.
type Reply func(*http.Request) (*http.Response, error)

// Script is a transport that plays its replies in order, the last one for all further requests, and records requests.
type Script struct {
	mu      sync.Mutex
	Replies []Reply
	Sent    []Sent
}

// Play returns a script of these replies.
func Play(replies ...Reply) *Script { return &Script{Replies: replies} }

// RoundTrip implements [http.RoundTripper].
func (s *Script) RoundTrip(req *http.Request) (*http.Response, error) {
	request := Sent{
		Method: req.Method, Host: req.URL.Host, Path: req.URL.Path, Query: req.URL.Query(),
		Header: req.Header.Clone(), Length: req.ContentLength, At: time.Now(),
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		request.Body = string(body)
	}
	return s.next(request)(req)
}

func (s *Script) next(request Sent) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Sent = append(s.Sent, request)
	r := s.Replies[0]
	if len(s.Replies) > 1 {
		s.Replies = s.Replies[1:]
	}
	return r
}

// Requests returns the requests so far.
func (s *Script) Requests() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Sent
}

// Count returns the number of requests so far.
func (s *Script) Count() int { return len(s.Requests()) }

// Pauses returns the times between the requests.
func (s *Script) Pauses() (d []time.Duration) {
	all := s.Requests()
	for i := 1; i < len(all); i++ {
		d = append(d, all[i].At.Sub(all[i-1].At))
	}
	return d
}

// Respond returns a reply with an HTTP response. Headers come in pairs of name and value.
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

// RespondJSON returns a reply with a response of the platform.
func RespondJSON(body string) Reply {
	return Respond(http.StatusOK, body, "Content-Type", "application/json; encoding=utf-8")
}

// RespondCode returns a reply with an errcode of the platform, a Code or a number.
func RespondCode[C ~int](code C) Reply {
	body, err := json.Marshal(map[string]any{"errcode": code, "errmsg": wechatuser.Code(code).Text()})
	if err != nil {
		panic(err)
	}
	return RespondJSON(string(body))
}

// Fail returns a reply that fails the request: there is no response.
func Fail(err error) Reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// Errors of a transport. After ErrReset the request may have arrived; with ErrRefused it was never sent.
var (
	ErrReset   = errors.New("connection reset by peer")
	ErrRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: connection refused")}
)

// Hang is a reply that fails the request when its context ends, and not before.
func Hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// Delay returns a reply that takes some time.
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

// RoundTripFunc makes a function a transport.
type RoundTripFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f RoundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// HangingReader is a body that never arrives; reading ends with its context.
type HangingReader struct{ Ctx context.Context }

// Read implements [io.Reader].
func (r HangingReader) Read([]byte) (int, error) {
	<-r.Ctx.Done()
	return 0, r.Ctx.Err()
}

// ByPath is a transport with a script for each path.
type ByPath map[string]*Script

// RoundTrip implements [http.RoundTripper].
func (p ByPath) RoundTrip(req *http.Request) (*http.Response, error) {
	return p[req.URL.Path].RoundTrip(req)
}
