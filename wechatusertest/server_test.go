package wechatusertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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

// arrivals returns a clock and a channel that receives when the server reads the clock, as it does when a call arrives.
func arrivals() (clock wechatusertest.Option, arrived <-chan struct{}) {
	read := make(chan struct{}, 1)
	return wechatusertest.WithClock(func() time.Time {
		select {
		case read <- struct{}{}:
		default:
		}
		return time.Now()
	}), read
}

func TestCloseEndsDelayedCalls(t *testing.T) {
	t.Parallel()
	clock, arrived := arrivals()
	srv := wechatusertest.NewServer(clock)
	<-arrived
	srv.Delay("*", time.Hour)
	ended := make(chan error)
	go func() {
		hc := &http.Client{Transport: &http.Transport{}}
		_, err := hc.Get(srv.URL + "/cgi-bin/user/get") //nolint:bodyclose // there is none
		ended <- err
	}()
	<-arrived
	srv.Close()
	require.Error(t, <-ended)
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
	assert.Equal(t, 1, srv.Calls("/cgi-bin/user/get"), "a canceled call does not arrive")
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
		assert.True(t, body.closed, "RoundTrip must close the body, also on errors")
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
			srv := wechatusertest.NewServer(append(opts,
				wechatusertest.WithFans(2), wechatusertest.WithAccount("wxfake", "fakesecret"))...)
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

// No verb of package fmt, no log handler and no JSON shows the secret or the token.
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
	out := log.String() + string(encoded) + srv.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		out += fmt.Sprintf(verb, srv)
	}
	assert.NotContains(t, out, secret)
	assert.NotContains(t, out, token)
	assert.Contains(t, out, "wechatusertest.Server(wxfake at http://127.0.0.1)")
	assert.Equal(t, "wechatusertest.Server(nil)", (*wechatusertest.Server)(nil).String())
}

// A server without a listener runs in a synctest bubble and has the clock of the bubble.
func TestServerInASynctestBubble(t *testing.T) {
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
		assertCode(t, 42001, a.do(http.MethodGet, "/cgi-bin/tags/get", token, "").Body.String())
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
				a.post("/cgi-bin/tags/members/batchtagging",
					fmt.Sprintf(`{"tagid":%d,"openid_list":%s}`, vip, array(id)))
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

func BenchmarkServer(b *testing.B) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000_000))
	vip := srv.AddTag("vip", wechatusertest.OpenID(0), wechatusertest.OpenID(999_999))
	token := "?access_token=" + srv.AccessToken()
	for _, row := range []struct{ name, method, url, body string }{
		{"user/info", http.MethodGet, "/cgi-bin/user/info" + token + "&openid=" + wechatusertest.OpenID(5), ""},
		{
			"user/get", http.MethodGet, "/cgi-bin/user/get" + token + "&next_openid=" + wechatusertest.OpenID(500_000),
			"",
		},
		{"user/tag/get", http.MethodPost, "/cgi-bin/user/tag/get" + token, fmt.Sprintf(`{"tagid":%d}`, vip)},
		{"batchtagging", http.MethodPost, taggingPath + token, tagging(vip, ids(50)...)},
		{"batchget", http.MethodPost, "/cgi-bin/user/info/batchget" + token, userList(ids(100)...)},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequest(row.method, srv.URL+row.url, strings.NewReader(row.body))
				if err != nil {
					b.Fatal(err)
				}
				resp, err := srv.Transport().RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
