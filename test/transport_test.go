package test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

const tagsURL = wechatuser.BaseURL + testutil.PathGetTags

// withToken returns a client without a transport option, as programs create it.
func withToken(t testing.TB, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(testutil.AppID, testutil.Secret,
		append(opts, wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)))...)
	require.NoError(t, err)
	return c
}

func TestHTTPMockActivate(t *testing.T) {
	c := withToken(t)
	httpmock.Activate(t)
	httpmock.RegisterResponder("GET", tagsURL, httpmock.NewStringResponder(200, testutil.TagsBody))
	tags, err := c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Len(t, tags, 2)
	assert.Equal(t, 1, httpmock.GetTotalCallCount())
}

func TestHTTPMockActivateWithAPlainClient(t *testing.T) {
	httpmock.Activate(t)
	httpmock.RegisterResponder("GET", tagsURL, httpmock.NewStringResponder(200, testutil.TagsBody))
	for _, hc := range []*http.Client{{}, http.DefaultClient} {
		require.NoError(t, testutil.GetTags(t.Context(), withToken(t, wechatuser.WithHTTPClient(hc))))
	}
	assert.Equal(t, 2, httpmock.GetTotalCallCount())
}

func TestHTTPMockActivateNonDefaultOnTheClientsOwn(t *testing.T) {
	c := withToken(t)
	httpmock.ActivateNonDefault(c.HTTPClient())
	defer httpmock.DeactivateAndReset()
	httpmock.RegisterResponder("GET", tagsURL, httpmock.NewStringResponder(200, testutil.TagsBody))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, 1, httpmock.GetTotalCallCount())

	httpmock.Reset()
	httpmock.RegisterResponder("GET", tagsURL,
		httpmock.NewStringResponder(302, "").HeaderSet(http.Header{"Location": {"https://example.com/"}}))
	var re *wechatuser.ResponseError
	require.ErrorAs(t, testutil.GetTags(t.Context(), c), &re, "no redirect is followed then either")
}

func TestHTTPMockActivateNonDefaultOnTheUsersClient(t *testing.T) {
	hc := &http.Client{}
	c := withToken(t, wechatuser.WithHTTPClient(hc))
	httpmock.ActivateNonDefault(hc)
	defer httpmock.DeactivateAndReset()
	httpmock.RegisterResponder("GET", tagsURL, httpmock.NewStringResponder(200, testutil.TagsBody))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, 1, httpmock.GetTotalCallCount())
}

func TestHTTPMockTransportsInParallel(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			mock := httpmock.NewMockTransport()
			mock.RegisterMatcherResponder("POST", wechatuser.BaseURL+testutil.PathCreateTag,
				httpmock.BodyContainsString(fmt.Sprintf(`{"tag":{"name":"vip %d"}}`, i)).WithName("name"),
				httpmock.NewStringResponder(200, fmt.Sprintf(`{"tag":{"id":%d,"name":"vip %d"}}`, 100+i, i)))
			tag, err := withToken(t, wechatuser.WithTransport(mock)).CreateTag(t.Context(), fmt.Sprintf("vip %d", i))
			require.NoError(t, err)
			assert.Equal(t, 100+i, tag.ID)
			assert.Equal(t, 1, mock.GetTotalCallCount())
		})
	}
}

// A request without a matching responder is an error that names httpmock's reason.
func TestHTTPMockWithoutAResponder(t *testing.T) {
	err := testutil.GetTags(t.Context(),
		withToken(t, wechatuser.WithTransport(httpmock.NewMockTransport()), testutil.NoRetry))
	require.ErrorIs(t, err, httpmock.NoResponderFound)
}

// The caller's http.Client is not modified, and later changes of the caller take effect.
func TestTheUsersClientIsNotModified(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	follow := func(*http.Request, []*http.Request) error { return nil }
	first, second := testutil.Play(testutil.Respond(200, testutil.TagsBody, "Set-Cookie", "a=b")),
		testutil.Play(testutil.RespondJSON(testutil.TagsBody))
	hc := &http.Client{Transport: first, CheckRedirect: follow, Jar: jar, Timeout: time.Minute}
	c := withToken(t, wechatuser.WithHTTPClient(hc))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, 2, first.Count())
	assert.Empty(t, first.Requests()[1].Header.Get("Cookie"))

	assert.Same(t, first, hc.Transport)
	assert.Equal(t, time.Minute, hc.Timeout)
	assert.Same(t, jar, hc.Jar)
	assert.Empty(t, jar.Cookies(&url.URL{Scheme: "https", Host: "api.weixin.qq.com"}))
	assert.Equal(t, fmt.Sprintf("%p", follow), fmt.Sprintf("%p", hc.CheckRedirect))
	assert.NotSame(t, hc, c.HTTPClient())

	hc.Transport = second
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, 1, second.Count())
}

func TestTheDefaultClientIsNotModified(t *testing.T) {
	before, transport := *http.DefaultClient, http.DefaultTransport
	mock := testutil.Play(testutil.RespondJSON(testutil.TagsBody))
	c := withToken(t, wechatuser.WithHTTPClient(http.DefaultClient))
	http.DefaultTransport = mock
	defer func() { http.DefaultTransport = transport }()
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, before, *http.DefaultClient)
	assert.Same(t, mock, http.DefaultTransport)
	assert.Equal(t, 1, mock.Count())
}

// Nothing is sent to another host by a cookie or a redirect.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var stranger []string
	other := testutil.NewSocketServer(t, func(_ http.ResponseWriter, r *http.Request) {
		stranger = append(stranger, r.Method+" "+r.RequestURI)
	})
	var status, requests int
	var location string
	srv := testutil.NewSocketServer(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		assert.Empty(t, r.Header["Cookie"])
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		w.Header()["Location"] = []string{location}
		w.WriteHeader(status)
	})
	for _, status = range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, location = range []string{
			other.URL + testutil.PathGetTags, "/elsewhere", "//" + other.Listener.Addr().String(), "",
		} {
			for _, call := range []testutil.APICall{
				testutil.CallOf(t, "GetTags"), testutil.CallOf(t, "BatchTagging"), testutil.CallOf(t, "Token"),
				testutil.CallOf(t, "Token/WithLegacyToken"), testutil.CallOf(t, "ClearQuotaByAppSecret"),
			} {
				requests = 0
				got, err := call.Do(t.Context(),
					call.NewClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL)))
				require.Empty(t, got)
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re, "%d to %q", status, location)
				assert.Equal(t, status, re.StatusCode)
				assert.ErrorContains(t, err, "a redirect, which is not followed")
				assert.NotErrorIs(t, err, wechatuser.ErrTemporary)
				assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
				assert.Equal(t, 1, requests)
			}
		}
	}
	assert.Empty(t, stranger)
}

// Requests that were never sent are told apart from those that may have arrived.
func TestNotSent(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	refused := "http://" + closed.Addr().String()

	quiet := func(srv *httptest.Server) *httptest.Server {
		srv.Config.ErrorLog = testutil.DiscardLog
		return srv
	}
	untrusted := quiet(httptest.NewUnstartedServer(http.NotFoundHandler()))
	untrusted.StartTLS()
	defer untrusted.Close()
	plain := quiet(testutil.NewSocketServer(t, func(http.ResponseWriter, *http.Request) {
		assert.Fail(t, "that was TLS")
	}))
	drops := testutil.NewSocketServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
	})
	hangUp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer hangUp.Close()
	go func() {
		for {
			conn, err := hangUp.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	refusedURL, err := url.Parse(refused)
	require.NoError(t, err)

	for name, tt := range map[string]struct {
		base      string
		transport *http.Transport
		sent      bool
	}{
		"refused": {refused, &http.Transport{}, false},
		"no such host": {
			"https://api.example.com",
			&http.Transport{
				DialContext: dialError(&net.DNSError{Err: "no such host", Name: "api.example.com", IsNotFound: true}),
			}, false,
		},
		"dial error of another kind": {
			"https://api.example.com", &http.Transport{DialContext: dialError(errors.New("no route"))}, false,
		},
		"untrusted certificate": {untrusted.URL, &http.Transport{}, false},
		"certificate of another": {
			untrusted.URL,
			&http.Transport{
				TLSClientConfig: &tls.Config{
					RootCAs:    untrusted.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
					ServerName: "example.org",
				},
			}, false,
		},
		"TLS with a plain server":  {"https" + plain.URL[len("http"):], &http.Transport{}, false},
		"hung up in the handshake": {"https://" + hangUp.Addr().String(), &http.Transport{}, false},
		"refused by the proxy": {
			"https://api.example.com", &http.Transport{Proxy: http.ProxyURL(refusedURL)}, false,
		},
		"dropped by the server": {drops.URL, &http.Transport{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			defer tt.transport.CloseIdleConnections()
			c := testutil.NewClient(t, tt.transport, wechatuser.WithBaseURL(tt.base),
				wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: 1}))
			err := c.BatchTagging(t.Context(), 100, []string{testutil.Alice})
			var te *wechatuser.TransportError
			require.ErrorAs(t, err, &te)
			assert.Equal(t, 3, te.Attempts)
			assert.Equal(t, tt.sent, errors.Is(err, wechatuser.ErrAmbiguous), err.Error())

			err = c.ClearQuota(t.Context())
			require.ErrorAs(t, err, &te)
			assert.Equal(t, map[bool]int{true: 1, false: 3}[tt.sent], te.Attempts,
				"this call is never retried once it was sent")
		})
	}
}

func dialError(err error) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return nil, err }
}

// A timeout while connecting means that nothing was sent.
func TestTimeoutWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(5 * time.Second) // net/http continues to dial after the request has ended
			return nil, errors.New("no route")
		}}
		c := testutil.NewClient(t, transport, wechatuser.WithTimeout(time.Second))
		err := c.BatchTagging(t.Context(), 100, []string{testutil.Alice})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
		assert.Equal(t, 3, testutil.Attempts(t, err))
		time.Sleep(5 * time.Second)
	})
}

// On a real connection the timeout of an attempt ends a body that never arrives.
func TestTimeoutOnASocket(t *testing.T) {
	done := make(chan struct{})
	srv := testutil.NewSocketServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, testutil.TagsBody[:9])
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	defer close(done)
	err := testutil.GetTags(t.Context(),
		testutil.NewClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL),
			wechatuser.WithTimeout(50*time.Millisecond), testutil.NoRetry))
	var te *wechatuser.TransportError
	require.ErrorAs(t, err, &te)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel := context.WithCancel(t.Context())
	transport := testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := srv.Client().Transport.RoundTrip(req)
		cancel()
		return resp, err
	})
	require.ErrorIs(t, testutil.GetTags(ctx, testutil.NewClient(t, transport, wechatuser.WithBaseURL(srv.URL))),
		context.Canceled)
}

// 64 concurrent calls need 64 connections. The next 64, and those of another client, use the same ones.
func TestConnectionsAreReused(t *testing.T) {
	var mu sync.Mutex
	opened := 0
	arrived, leave := make(chan struct{}), make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-leave
		_, _ = io.WriteString(w, testutil.TagsBody)
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			mu.Lock()
			opened++
			mu.Unlock()
		}
	}
	srv.Start()
	defer srv.Close()

	var c *wechatuser.Client
	for range 3 {
		c = withToken(t, wechatuser.WithBaseURL(srv.URL))
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { assert.NoError(t, testutil.GetTags(t.Context(), c)) })
		}
		for range 64 { // all have arrived
			<-arrived
		}
		for range 64 {
			leave <- struct{}{}
		}
		wg.Wait()
	}
	mu.Lock()
	assert.Less(t, opened, 2*64, "a few more, since a connection becomes idle only after its response was read")
	mu.Unlock()
	c.HTTPClient().CloseIdleConnections()
}

// A dropped client leaves nothing behind, and CloseIdleConnections closes the shared connections.
func TestDroppedClientsLeaveNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == testutil.PathStableToken {
			_, _ = io.WriteString(w, testutil.TokenBody)
			return
		}
		_, _ = io.WriteString(w, testutil.TagsBody)
	}))
	var c *wechatuser.Client
	for range 1000 {
		var err error
		c, err = wechatuser.New(testutil.AppID, testutil.Secret, wechatuser.WithBaseURL(srv.URL))
		require.NoError(t, err)
		require.NoError(t, testutil.GetTags(t.Context(), c))
	}
	c.HTTPClient().CloseIdleConnections()
	srv.Close()
	goleak.VerifyNone(t, before)
}

func TestCloseIdleConnections(t *testing.T) {
	for _, transport := range []http.RoundTripper{&closer{}, testutil.RoundTripFunc(nil)} {
		hc := &http.Client{Transport: transport}
		withToken(t, wechatuser.WithHTTPClient(hc)).HTTPClient().CloseIdleConnections()
		if c, ok := transport.(*closer); ok {
			assert.Equal(t, 1, c.closed)
		}
	}
}

type closer struct {
	http.RoundTripper
	closed int
}

func (c *closer) CloseIdleConnections() { c.closed++ }

// byHost is a transport with a reply for each host. It records the hosts.
type byHost struct {
	replies map[string]testutil.Reply
	asked   []string
}

func (h *byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, req.URL.Host)
	return h.replies[req.URL.Host](req)
}

// next returns the hosts of the requests since its last call.
func (h *byHost) next() []string {
	asked := h.asked
	h.asked = nil
	return asked
}

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &byHost{
			replies: map[string]testutil.Reply{
				"a": testutil.Fail(testutil.ErrRefused), "b": testutil.RespondJSON(testutil.TagsBody),
				"c": testutil.RespondJSON(testutil.TagsBody),
			},
		}
		c := testutil.NewClient(t, h, testutil.ThreeHosts)
		start := time.Now()
		get := func(want ...string) {
			t.Helper()
			require.NoError(t, testutil.GetTags(t.Context(), c))
			assert.Equal(t, want, h.next())
		}
		get("a", "b")
		assert.Zero(t, time.Since(start), "there is no pause before another host")
		get("b")
		time.Sleep(30*time.Second - 1)
		get("b")

		time.Sleep(time.Nanosecond) // the cooldown of a is over
		get("a", "b")
		h.replies["b"] = testutil.Fail(testutil.ErrRefused)
		get("b", "c")
		h.replies["a"] = testutil.RespondJSON(testutil.TagsBody)
		get("c")
		time.Sleep(30 * time.Second)
		get("a")
		h.replies["a"] = testutil.Fail(testutil.ErrRefused)
		get("a", "b", "c")
	})
}

// If all hosts are down, the one whose cooldown ends first is tried after a delay.
func TestAllHostsAreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := testutil.Delay(time.Second, testutil.Fail(testutil.ErrRefused))
		h := &byHost{replies: map[string]testutil.Reply{"a": down, "b": down, "c": down}}
		c := testutil.NewClient(t, h, testutil.ThreeHosts, wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 5}))
		start := time.Now()
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), testutil.ErrRefused)
		assert.Equal(t, []string{"a", "b", "c", "a", "b"}, h.next())
		assert.Greater(t, time.Since(start), 5*time.Second, "there is no other host to go to at once")
		h.replies["c"] = testutil.RespondJSON(testutil.TagsBody)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"c"}, h.next())
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"c"}, h.next(), "for as long as the others are in their cooldown")
	})
}

// A cooldown starts if a host cannot be reached, or says so of its backend; never after an errcode.
func TestHostCooldown(t *testing.T) {
	for name, tt := range map[string]struct {
		outcome testutil.Reply
		rests   bool
	}{
		"refused connection": {testutil.Fail(testutil.ErrRefused), true},
		"reset":              {testutil.Fail(testutil.ErrReset), true},
		"timeout":            {testutil.Hang, true},
		"500":                {testutil.Respond(500, ""), true},
		"503 for long":       {testutil.Respond(503, "", "Retry-After", "3600"), true},
		"-1":                 {testutil.RespondCode(-1), false},
		"45009":              {testutil.RespondCode(45009), false},
		"40001":              {testutil.RespondCode(40001), false},
		"429":                {testutil.Respond(429, ""), false},
		"404":                {testutil.Respond(404, ""), false},
		"redirect":           {testutil.Respond(302, ""), false},
		"HTML":               {testutil.Respond(200, "<html>"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &byHost{
					replies: map[string]testutil.Reply{
						"a": tt.outcome, "b": testutil.RespondJSON(testutil.TagsBody),
						"c": testutil.RespondJSON(testutil.TagsBody),
					},
				}
				c := testutil.NewClient(t, h, testutil.ThreeHosts)
				err := testutil.GetTags(t.Context(), c)
				if tt.rests {
					require.NoError(t, err)
					assert.Equal(t, []string{"a", "b"}, h.next())
				} else {
					require.Error(t, err)
					assert.NotContains(t, h.next(), "b")
				}
				h.replies["a"] = testutil.RespondJSON(testutil.TagsBody)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Equal(t, tt.rests, slices.Equal([]string{"b"}, h.next()))
			})
		})
	}
}

// A canceled call says nothing about the host.
func TestCancelStartsNoCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &byHost{
			replies: map[string]testutil.Reply{"a": testutil.Hang, "b": testutil.RespondJSON(testutil.TagsBody)},
		}
		c := testutil.NewClient(t, h, testutil.ThreeHosts)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, testutil.GetTags(ctx, c))
		h.replies["a"] = testutil.RespondJSON(testutil.TagsBody)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"a", "a"}, h.next())
	})
}

// A write is sent to another host only if it may be retried.
func TestWritesOnOtherHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &byHost{
			replies: map[string]testutil.Reply{
				"a": testutil.Fail(testutil.ErrReset), "b": testutil.RespondJSON(testutil.OKBody),
				"c": testutil.RespondJSON(testutil.OKBody),
			},
		}
		require.ErrorIs(t, testutil.NewClient(t, h, testutil.ThreeHosts).ClearQuota(t.Context()),
			wechatuser.ErrAmbiguous)
		assert.Equal(t, []string{"a"}, h.next())
		h.replies["a"] = testutil.Fail(testutil.ErrRefused)
		require.NoError(t, testutil.NewClient(t, h, testutil.ThreeHosts).ClearQuota(t.Context()))
		assert.Equal(t, []string{"a", "b"}, h.next())
	})
}

func TestDisasterRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testutil.Play(testutil.Fail(testutil.ErrRefused))
		c := testutil.NewClient(t, s, wechatuser.WithDisasterRecovery(),
			wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 5}))
		start := time.Now()
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), testutil.ErrRefused)
		var hosts []string
		for _, r := range s.Requests() {
			hosts = append(hosts, r.Host)
		}
		assert.Equal(t,
			[]string{
				"api.weixin.qq.com", "api2.weixin.qq.com", "sh.api.weixin.qq.com", "sz.api.weixin.qq.com",
				"hk.api.weixin.qq.com",
			}, hosts)
		assert.Zero(t, time.Since(start))
	})
}
