package wechatusertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

var postPaths = []string{
	"/cgi-bin/user/info/batchget", "/cgi-bin/user/info/updateremark", "/cgi-bin/changeopenid",
	"/cgi-bin/tags/create", "/cgi-bin/tags/update", "/cgi-bin/tags/delete", "/cgi-bin/user/tag/get",
	"/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging", "/cgi-bin/tags/getidlist",
	"/cgi-bin/tags/members/getblacklist", "/cgi-bin/tags/members/batchblacklist", "/cgi-bin/tags/members/batchunblacklist",
	"/cgi-bin/clear_quota", "/cgi-bin/openapi/quota/clear", "/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/rid/get",
	"/cgi-bin/callback/check",
}

var getPaths = []string{"/cgi-bin/user/info", "/cgi-bin/user/get", "/cgi-bin/tags/get", "/cgi-bin/get_api_domain_ip", "/cgi-bin/getcallbackip"}

// The method is checked before the token, the token before the body.
// https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range getPaths {
		refused(t, 43001, a.do(http.MethodPost, path, nil, "").Body.String())
		refused(t, 41001, a.do(http.MethodGet, path, nil, "").Body.String())
	}
	for _, path := range postPaths {
		refused(t, 43002, a.do(http.MethodGet, path, nil, "").Body.String())
		refused(t, 41001, a.do(http.MethodPost, path, nil, "").Body.String())
		refused(t, 44002, a.post(path, ""))
		refused(t, 47001, a.post(path, "no JSON"))
	}
	refused(t, 43001, a.do(http.MethodPost, "/cgi-bin/token", nil, "").Body.String())
	refused(t, 43002, a.do(http.MethodGet, "/cgi-bin/stable_token", nil, "").Body.String())
	refused(t, 43002, a.do(http.MethodGet, "/cgi-bin/clear_quota/v2", nil, "").Body.String())

	msg := refused(t, 40066, a.do(http.MethodGet, "/cgi-bin/user/nothing", nil, "").Body.String())
	assert.Contains(t, msg, "invalid url rid: ")
	refused(t, 40066, a.get("/cgi-bin/groups/get"))
}

func TestListener(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
	defer srv.Close()
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()

	resp, err := hc.Get(srv.URL + "/cgi-bin/user/get?access_token=" + srv.AccessToken())
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"total":3,"count":3`)
	assert.EqualValues(t, len(body), resp.ContentLength)

	srv.Close()
	_, err = hc.Get(srv.URL + "/cgi-bin/user/get")
	require.Error(t, err)
	srv.Close()
}

// arrivals is a clock that tells when the server looks at it, which it does as a call arrives.
func arrivals() (wechatusertest.Option, <-chan struct{}) {
	looked := make(chan struct{}, 1)
	return wechatusertest.WithClock(func() time.Time {
		select {
		case looked <- struct{}{}:
		default:
		}
		return time.Now()
	}), looked
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	t.Parallel()
	clock, looked := arrivals()
	srv := wechatusertest.NewServer(clock)
	<-looked
	srv.Delay("*", time.Hour)
	ended := make(chan error)
	go func() {
		hc := &http.Client{Transport: &http.Transport{}}
		_, err := hc.Get(srv.URL + "/cgi-bin/user/get") //nolint:bodyclose // there is none
		ended <- err
	}()
	<-looked
	srv.Close()
	require.Error(t, <-ended)
}

// A client that goes away during a delay ends the server's wait, after a POST too.
func TestDelayEndsWhenTheClientGoes(t *testing.T) {
	t.Parallel()
	clock, looked := arrivals()
	srv := wechatusertest.NewServer(clock, wechatusertest.WithoutListener())
	<-looked
	srv.Delay("*", time.Hour)
	served := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		srv.ServeHTTP(w, r)
	}))
	defer front.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-looked
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+"/cgi-bin/tags/create", strings.NewReader("{}"))
	require.NoError(t, err)
	_, err = front.Client().Do(req) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, context.Canceled)
	<-served
}

func TestTransport(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithFans(3), wechatusertest.WithoutListener())
	hc := &http.Client{Transport: srv.Transport()}
	resp, err := hc.Get("https://api.weixin.qq.com/cgi-bin/user/get?access_token=" + srv.AccessToken())
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "200 OK", resp.Status)
	assert.Equal(t, "application/json; encoding=utf-8", resp.Header.Get("Content-Type"))
	assert.EqualValues(t, len(body), resp.ContentLength)
	assert.Contains(t, string(body), `"total":3,"count":3`)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/cgi-bin/user/get", nil)
	require.NoError(t, err)
	_, err = hc.Do(req)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, srv.Calls("/cgi-bin/user/get"), "a call that is over before it begins does not arrive")
}

type closeRecorder struct {
	io.Reader
	closed bool
}

func (c *closeRecorder) Close() error {
	c.closed = true
	return nil
}

func TestTransportClosesTheRequestBody(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	srv.DropRequests("/cgi-bin/tags/create", 1)
	for range 2 {
		body := &closeRecorder{Reader: strings.NewReader("{}")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/cgi-bin/tags/create", body)
		require.NoError(t, err)
		if resp, err := srv.Transport().RoundTrip(req); err == nil {
			assert.NoError(t, resp.Body.Close())
		}
		assert.True(t, body.closed, "RoundTrip must close the body, on errors too")
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]wechatusertest.Option{
		"with a listener":    nil,
		"without a listener": {wechatusertest.WithoutListener()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := wechatusertest.NewServer(append(opts, wechatusertest.WithFans(2), wechatusertest.WithAccount("wxfake", "fakesecret"))...)
			defer srv.Close()
			client := srv.Client()
			assert.Equal(t, "wxfake", client.AppID())
			page, err := client.GetFans(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, ids(2), page.OpenIDs)
		})
	}
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	assert.Panics(t, func() { srv.Client(wechatuser.WithTimeout(-1)) })
}

// Neither a verb of package fmt nor a log handler nor JSON shows the secret.
func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "fakesecret1234567890"
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wxfake", secret))
	token := srv.AccessToken()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "server", srv)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "server", srv)
	encoded, err := json.Marshal(srv)
	require.NoError(t, err)
	out := log.String() + string(encoded) + fmt.Sprint(srv.String(), srv.GoString())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		out += fmt.Sprintf(verb, srv)
	}
	assert.NotContains(t, out, secret)
	assert.NotContains(t, out, token)
	assert.Contains(t, out, "wechatusertest.Server(wxfake at http://127.0.0.1)")
	assert.Equal(t, "wechatusertest.Server(nil)", (*wechatusertest.Server)(nil).String())
}

// A server without a listener lives in a bubble, and its clock is the bubble's.
func TestVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithFans(1), wechatusertest.WithoutListener())
		a := account{srv, t}
		token := url.Values{"access_token": {srv.AccessToken()}}
		srv.Delay("/cgi-bin/user/get", time.Hour)
		begin := time.Now()
		assert.Contains(t, a.do(http.MethodGet, "/cgi-bin/user/get", token, "").Body.String(), `"total":1`)
		assert.Equal(t, time.Hour, time.Since(begin))

		time.Sleep(time.Hour)
		refused(t, 42001, a.do(http.MethodGet, "/cgi-bin/tags/get", token, "").Body.String())
		assert.Equal(t, begin.Unix(), srv.Users()[0].SubscribeTime)
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
	a := account{srv, t}
	vip := srv.AddTag("vip")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				id := wechatusertest.OpenID((g*50 + i) % 100)
				a.post("/cgi-bin/tags/members/batchtagging", fmt.Sprintf(`{"tagid":%d,"openid_list":%s}`, vip, array(id)))
				a.post("/cgi-bin/user/info/updateremark", fmt.Sprintf(`{"openid":%q,"remark":"r%d"}`, id, g))
				a.get("/cgi-bin/user/get")
				srv.Follow(id)
				srv.FailNext("*", wechatuser.CodeSystemBusy, 0)
				srv.Delay("*", 0)
				srv.Advance(time.Millisecond)
				_, _, _ = srv.Users(), srv.Tags(), srv.Calls("*")
			}
		})
	}
	wg.Wait()
	assert.Len(t, srv.TagFans(vip), 100)
	assert.Equal(t, 8*50*3, srv.Calls("*"))
}
