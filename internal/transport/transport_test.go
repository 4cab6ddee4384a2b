package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func newTransport(rt http.RoundTripper) *Transport {
	return New(Config{BaseURLs: []string{"https://a"}, RoundTripper: rt, UserAgent: "test/1"})
}

func TestSend(t *testing.T) {
	var got *http.Request
	var sentBody []byte
	tr := newTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		got = req
		if req.Body != nil {
			sentBody, _ = io.ReadAll(req.Body)
		}
		return respond(-1, strings.NewReader(body), "X-Test", "1"), nil
	}))
	resp, sent, err := tr.Send(t.Context(), http.MethodPost, "https://a/path?q=1", []byte(`{"a":1}`), false)
	require.NoError(t, err)
	assert.True(t, sent)
	assert.Equal(t, http.StatusOK, resp.Status)
	assert.Equal(t, "1", resp.Header.Get("X-Test"))
	assert.Equal(t, body, string(resp.Body))
	resp.Release()
	assert.Equal(t, "https://a/path?q=1", got.URL.String())
	assert.Equal(t, `{"a":1}`, string(sentBody))
	assert.Equal(t,
		http.Header{"Accept": {"application/json"}, "User-Agent": {"test/1"}, "Content-Type": {"application/json"}},
		got.Header)

	resp, _, err = tr.Send(t.Context(), http.MethodGet, "https://a/", nil, false)
	require.NoError(t, err)
	resp.Release()
	assert.Equal(t, http.Header{"Accept": {"application/json"}, "User-Agent": {"test/1"}}, got.Header)
}

func TestSendFollowsNoRedirect(t *testing.T) {
	requests := 0
	tr := newTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		requests++
		resp := respond(0, strings.NewReader(""), "Location", "https://elsewhere/")
		resp.StatusCode = http.StatusTemporaryRedirect
		return resp, nil
	}))
	resp, _, err := tr.Send(t.Context(), http.MethodPost, "https://a/", []byte("{}"), false)
	require.NoError(t, err)
	defer resp.Release()
	assert.Equal(t, http.StatusTemporaryRedirect, resp.Status)
	assert.Equal(t, 1, requests)
}

// The errors of DNS, dial and TLS handshake mean that nothing was sent, whichever transport they come from.
func TestErrorsBeforeSending(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		sent bool
	}{
		"DNS":           {&net.DNSError{Err: "no such host", Name: "a"}, false},
		"dial":          {&net.OpError{Op: "dial", Err: errors.New("refused")}, false},
		"certificate":   {&tls.CertificateVerificationError{Err: errors.New("expired")}, false},
		"TLS record":    {tls.RecordHeaderError{Msg: "not TLS"}, false},
		"authority":     {x509.UnknownAuthorityError{}, false},
		"host name":     {x509.HostnameError{Certificate: new(x509.Certificate), Host: "a"}, false},
		"read":          {&net.OpError{Op: "read", Err: errors.New("reset")}, true},
		"anything else": {errors.New("reset"), true},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, tt.err }))
			resp, sent, err := tr.Send(t.Context(), http.MethodGet, "https://a/?access_token=SENTINEL", nil, false)
			resp.Release()
			require.Error(t, err)
			assert.Equal(t, tt.sent, sent)
			assert.Zero(t, resp.Status)
			assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), "SENTINEL")
		})
	}
}

// net/http tells whether it began to write, so any error before that means that nothing was sent.
func TestNothingIsSentBeforeAConnection(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	tr := newTransport(&http.Transport{DialContext: dial})
	_, sent, err := tr.Send(t.Context(), http.MethodGet, "http://a/", nil, false)
	require.ErrorContains(t, err, "no network")
	assert.False(t, sent)

	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	std := new(http.Transport)
	defer std.CloseIdleConnections()
	_, sent, err = newTransport(std).Send(t.Context(), http.MethodPost, srv.URL, []byte("{}"), false)
	require.ErrorIs(t, err, io.EOF)
	assert.True(t, sent)
}

func TestWithoutURL(t *testing.T) {
	cause := errors.New("reset")
	nested := &url.Error{
		Op: "Get", URL: "https://a/?access_token=x", Err: &url.Error{Op: "Get", URL: "https://a", Err: cause},
	}
	assert.Equal(t, cause, withoutURL(nested))
	assert.Equal(t, cause, withoutURL(cause))
	empty := &url.Error{Op: "Get"}
	assert.Equal(t, error(empty), withoutURL(empty), "there is nothing in it")
}

type closer struct {
	roundTripper
	closed int
}

func (c *closer) CloseIdleConnections() { c.closed++ }

func TestTheTransportIsChosenLate(t *testing.T) {
	named := func(name string) *closer {
		return &closer{roundTripper: func(*http.Request) (*http.Response, error) {
			return respond(-1, strings.NewReader(name)), nil
		}}
	}
	send := func(tr *Transport) string {
		resp, _, err := tr.Send(t.Context(), http.MethodGet, "https://a/", nil, false)
		require.NoError(t, err)
		defer resp.Release()
		return string(resp.Body)
	}
	given, first, second, std := named("given"), named("first"), named("second"), named("default")
	client := &http.Client{}
	late := New(Config{BaseURLs: []string{"https://a"}, Client: client})

	original := http.DefaultTransport
	defer func() { http.DefaultTransport = original }()
	http.DefaultTransport = std
	assert.Equal(t, "default", send(late))
	assert.Nil(t, client.Transport, "nobody's client is modified")
	client.Transport = first
	assert.Equal(t, "first", send(late))
	client.Transport = second
	assert.Equal(t, "second", send(late))
	assert.Equal(t, "given", send(New(Config{BaseURLs: []string{"https://a"}, Client: client, RoundTripper: given})))

	late.HTTPClient().CloseIdleConnections()
	assert.Equal(t, []int{0, 0, 1, 0}, []int{given.closed, first.closed, second.closed, std.closed})

	http.DefaultTransport = original
	client.Transport = nil
	assert.Same(t, sharedPool(), late.HTTPClient().Transport.(*lateTransport).current())
	assert.NotSame(t, original, sharedPool().current.Load(), "a copy, with more idle connections")
}

// http.DefaultTransport may have any type, also before this package is initialized.
func TestADefaultTransportThatCannotBeCompared(t *testing.T) {
	std, original := http.DefaultTransport, originalTransport
	defer func() { http.DefaultTransport, originalTransport = std, original }()
	name := func(name string) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) {
			return respond(-1, strings.NewReader(name)), nil
		})
	}
	send := func() string {
		resp, _, err := New(Config{BaseURLs: []string{"https://a"}}).Send(t.Context(), http.MethodGet, "https://a/",
			nil, false)
		require.NoError(t, err)
		defer resp.Release()
		return string(resp.Body)
	}
	http.DefaultTransport = name("first")
	originalTransport, _ = http.DefaultTransport.(*http.Transport) // as at the start of the program
	assert.Equal(t, "first", send())
	http.DefaultTransport = name("second")
	assert.Equal(t, "second", send())
	http.DefaultTransport = &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		return nil, errors.New("third")
	}}
	for _, originalTransport = range []*http.Transport{nil, new(http.Transport)} {
		_, _, err := New(Config{BaseURLs: []string{"https://a"}}).Send(t.Context(), http.MethodGet, "https://a/", nil,
			false)
		require.ErrorContains(t, err, "third")
	}
}

// All requests share the headers, and a resty request is used again.
func TestWhatRequestsShare(t *testing.T) {
	tr := newTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		assert.NotContains(t, req.Header, "X-Other")
		req.Header.Set("X-Other", "1") // as an old transport would
		return respond(-1, strings.NewReader(body)), nil
	}))
	var made []*resty.Request
	newRequest := tr.requests.New
	tr.requests.New = func() any {
		made = append(made, newRequest().(*resty.Request))
		return made[len(made)-1]
	}
	for range 3 {
		resp, _, err := tr.Send(t.Context(), http.MethodPost, "https://a/?access_token=SENTINEL", []byte("{}"), false)
		require.NoError(t, err)
		resp.Release()
	}
	assert.Equal(t, http.Header{"Accept": {"application/json"}, "User-Agent": {"test/1"}}, tr.header)

	require.NotEmpty(t, made)
	for _, req := range made {
		assert.Equal(t, newRequest(), req, "the URL of one that was sent contains a token")
		assert.Empty(t, req.URL)
		assert.Empty(t, req.QueryParam)
	}
}

// A caller that leaves releases its memory only when nobody writes there any more.
func TestBufferOfARequestThatWasLeft(t *testing.T) {
	tr := newTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/endless" {
			return respond(1<<10, endlessBody{req.Context()}), nil
		}
		return respond(int64(len(body)), strings.NewReader(body)), nil
	}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				resp, sent, err := tr.Send(ctx, http.MethodGet, "https://a/endless", nil, false)
				cancel()
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.True(t, sent)
				assert.Empty(t, bytes.Trim(resp.Body, "<"), "the beginning of the body")
				resp.Release()
				resp, _, err = tr.Send(t.Context(), http.MethodGet, "https://a/", nil, false)
				assert.NoError(t, err)
				assert.Equal(t, body, string(resp.Body))
				resp.Release()
			}
		})
	}
	wg.Wait()
}

// endlessBody is a body that arrives byte by byte until the context ends.
type endlessBody struct{ ctx context.Context }

func (r endlessBody) Read(p []byte) (int, error) {
	p[0] = '<'
	return 1, r.ctx.Err()
}

// A transport may go on using a request to which it has responded, and may panic or end the goroutine.
func TestTransportsThatMisbehave(t *testing.T) {
	var late sync.WaitGroup
	defer late.Wait()
	tr := newTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		sent, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		late.Go(func() {
			req.Header["Accept"][0] = "late"
			again, err := req.GetBody() // as net/http does if a connection turns out to be closed
			if assert.NoError(t, err) {
				body, _ := io.ReadAll(again)
				assert.Equal(t, sent, body)
			}
		})
		switch req.URL.Path {
		case "/panic":
			panic("transport")
		case "/goexit":
			runtime.Goexit()
		}
		return respond(-1, bytes.NewReader(sent)), nil
	}))
	var wg sync.WaitGroup
	for i := range 120 {
		wg.Go(func() {
			defer func() { _ = recover() }()
			path := []string{"/", "/panic", "/goexit"}[i%3]
			want := fmt.Sprintf(`{"request":%d}`, i)
			resp, _, err := tr.Send(t.Context(), http.MethodPost, "https://a"+path, []byte(want), false)
			assert.Equal(t, "/", path, "Send returned")
			assert.NoError(t, err)
			assert.Equal(t, want, string(resp.Body))
			resp.Release()
		})
	}
	wg.Wait()
	assert.Equal(t, "application/json", tr.bodyHeader.Get("Accept"))
}
