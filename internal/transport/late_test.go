package transport

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorded is a server that records the headers of requests, without those that net/http adds.
func recorded(t *testing.T) (base string, last func() http.Header) {
	var (
		mu  sync.Mutex
		got http.Header
	)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = r.Header.Clone()
		for _, name := range []string{"Accept-Encoding", "Content-Length"} {
			got.Del(name)
		}
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(sharedPool().CloseIdleConnections)
	return srv.URL, func() http.Header {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// Requests that go straight to the pool of this package have their headers too, though http.Client never sees them.
func TestHeadersOfTheSharedPool(t *testing.T) {
	base, last := recorded(t)
	tr := New(Config{BaseURLs: []string{base}, UserAgent: "test/1"})
	header := http.Header{"Accept": {"application/json"}, "User-Agent": {"test/1"}}
	withBody := header.Clone()
	withBody.Set("Content-Type", "application/json")
	request := func(method, path, body string, want http.Header) {
		t.Helper()
		var data []byte
		if body != "" {
			data = []byte(body)
		}
		resp, _, err := tr.Send(t.Context(), method, base+path, data, true)
		require.NoError(t, err)
		resp.Release()
		assert.Equal(t, want, last())
	}
	all := func() {
		request(http.MethodGet, "/", "", header)
		request(http.MethodPost, "/", "{}", withBody)
		request(http.MethodPost, "/", "", header)
		request(http.MethodGet, "/redirect", "", header)
		request(http.MethodPost, "/redirect", "{}", withBody)
	}
	all()

	// The user's own requests have no headers of ours, and change none.
	hc := tr.HTTPClient()
	for _, own := range []http.Header{nil, {}, {"X-Own": {"1"}}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base, strings.NewReader("{}"))
		require.NoError(t, err)
		req.Header = own
		resp, err := hc.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, own.Get("X-Own"), last().Get("X-Own"))
		assert.Empty(t, last().Get("Accept"))
		assert.Equal(t, "Go-http-client/1.1", last().Get("User-Agent"))
	}

	// What net/http adds to a request is not added to the others.
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	address, err := url.Parse(base)
	require.NoError(t, err)
	jar.SetCookies(address, []*http.Cookie{{Name: "a", Value: "1"}})
	hc.Jar = jar
	withCookie := header.Clone()
	withCookie.Set("Cookie", "a=1")
	request(http.MethodGet, "/", "", withCookie)
	hc.Jar = nil
	plain := base
	base = strings.Replace(base, "http://", "http://user:pass@", 1)
	withUser := header.Clone()
	withUser.Set("Authorization", "Basic dXNlcjpwYXNz")
	request(http.MethodGet, "/", "", withUser)
	base = plain
	all()
	assert.Empty(t, noHeader)
	assert.Empty(t, noBodyHeader)
	assert.Equal(t, header, tr.header)
	assert.Equal(t, withBody, tr.bodyHeader)
}

// A transport that replaces the pool while a request is on its way gets headers of its own.
func TestHeadersIfTheTransportIsReplacedLate(t *testing.T) {
	tr := New(Config{BaseURLs: []string{"https://a"}, UserAgent: "test/1"})
	late := tr.HTTPClient().Transport.(*lateTransport)
	late.given = roundTripper(func(req *http.Request) (*http.Response, error) {
		assert.Equal(t, "test/1", req.Header.Get("User-Agent"))
		req.Header.Set("X-Changed", "1")
		return respond(0, strings.NewReader("")), nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a", nil)
	require.NoError(t, err)
	req.Header = noHeader
	resp, err := late.RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Empty(t, tr.header.Get("X-Changed"))
	assert.Empty(t, noHeader)
}

// Traces are used again, but for one that a trace of the caller's has become part of.
func TestTracesOfTheCaller(t *testing.T) {
	base, _ := recorded(t)
	tr := New(Config{BaseURLs: []string{base}})
	called := 0
	traced := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { called++ },
	})
	for i := range 20 {
		ctx, want := t.Context(), called
		if i%2 == 0 {
			ctx, want = traced, called+1
		}
		resp, sent, err := tr.Send(ctx, http.MethodGet, base, nil, true)
		require.NoError(t, err)
		resp.Release()
		assert.True(t, sent)
		assert.False(t, resp.Repeated, "nothing of an earlier request is counted")
		assert.Equal(t, want, called)
	}
}
