package wechatuser_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// The account of the tests. Token and secret begin and end with a word that must turn up nowhere, and hold characters
// that a URL escapes.
const (
	sentinel   = "SENTINEL"
	testAppID  = "wxFAKE000000000000"
	testSecret = sentinel + "-secret+/=-" + sentinel
	testToken  = sentinel + "-token+/=-" + sentinel
)

// Openids of the tests.
const (
	alice = "oFAKE0000000000000000alice"
	bob   = "oFAKE00000000000000000-bob"
	carol = "oFAKE0000000000000000_caro"
)

const okBody = `{"errcode":0,"errmsg":"ok"}`

// newClient makes a client that sends through rt and has a token already. Options that are given go last.
func newClient(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(testAppID, testSecret, append([]wechatuser.Option{
		wechatuser.WithTransport(rt),
		wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testToken)),
	}, opts...)...)
	require.NoError(t, err)
	return c
}

// sent is a request as a transport saw it.
type sent struct {
	Method, Host, Path string
	Query              url.Values
	Header             http.Header
	Length             int64
	Body               string
	At                 time.Time
}

// reply is what a script does with a request.
type reply func(*http.Request) (*http.Response, error)

// script is a transport that plays its replies in order, the last one for ever, and notes what was sent.
type script struct {
	mu      sync.Mutex
	replies []reply
	sent    []sent
}

func play(replies ...reply) *script { return &script{replies: replies} }

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	note := sent{
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

func (s *script) next(note sent) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, note)
	r := s.replies[0]
	if len(s.replies) > 1 {
		s.replies = s.replies[1:]
	}
	return r
}

// requests are those that were sent so far.
func (s *script) requests() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// count is how many requests were sent.
func (s *script) count() int { return len(s.requests()) }

// pauses are the times between the requests.
func (s *script) pauses() (d []time.Duration) {
	all := s.requests()
	for i := 1; i < len(all); i++ {
		d = append(d, all[i].At.Sub(all[i-1].At))
	}
	return d
}

// answers replies with an HTTP answer. Headers come in pairs of name and value.
func answers(status int, body string, headers ...string) reply {
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
func says(body string) reply {
	return answers(http.StatusOK, body, "Content-Type", "application/json; encoding=utf-8")
}

// refuses is an answer of the platform with an errcode, which may be a Code or a number.
func refuses[C ~int](code C) reply {
	body, err := json.Marshal(map[string]any{"errcode": code, "errmsg": wechatuser.Code(code).Text()})
	if err != nil {
		panic(err)
	}
	return says(string(body))
}

// fails is a request that gets no answer.
func fails(err error) reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// Errors of a transport.
var (
	errReset   = errors.New("connection reset by peer")                                               // the request was sent
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connect: connection refused")} // it was not
)

// hangs is a request that gets no answer until its context ends.
func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// after is a reply that takes some time.
func after(d time.Duration, r reply) reply {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return r(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// getTags is a call that may be repeated as it is.
func getTags(ctx context.Context, c *wechatuser.Client) error {
	_, err := c.GetTags(ctx)
	return err
}

const tagsBody = `{"tags":[{"id":2,"name":"星标组","count":0},{"id":100,"name":"vip","count":12}]}`

// newServer is a server on the loopback interface, for what needs a socket.
func newServer(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

// discard is a log that nobody reads.
var discard = log.New(io.Discard, "", 0)
