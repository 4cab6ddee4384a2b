package wechatusertest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestFailNext(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 2)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeMinuteQuotaExceeded, 1)
	msg := refused(t, -1, a.get("/cgi-bin/tags/get"))
	assert.Contains(t, msg, "system error hint: [")
	assert.NotContains(t, a.get("/cgi-bin/user/get"), "errcode", "other paths are not touched")
	refused(t, -1, a.get("/cgi-bin/tags/get"))
	refused(t, 45011, a.get("/cgi-bin/tags/get"))
	assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode")
	assert.Equal(t, 4, a.Calls("/cgi-bin/tags/get"), "refused calls are counted")

	a.FailNext("/cgi-bin/tags/create", wechatuser.CodeSystemBusy, 1)
	a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`)
	assert.Empty(t, a.Tags(), "a refused call changes nothing")

	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 9)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 0)
	assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode", "0 takes it back")
}

func TestFailNextEverywhere(t *testing.T) {
	t.Parallel()
	for _, everywhere := range []string{"", "*"} {
		a := newAccount(t)
		a.FailNext(everywhere, wechatuser.CodeAPIUnauthorized, 2)
		a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 1)
		assert.NotContains(t, a.stable(false), "errcode", "tokens are not touched")
		assert.NotContains(t, a.legacy(), "errcode")
		refused(t, -1, a.get("/cgi-bin/tags/get"))
		refused(t, 48001, a.get("/cgi-bin/tags/get"))
		refused(t, 48001, a.get("/cgi-bin/user/get"))
		assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode")
		assert.Equal(t, 4, a.Calls(everywhere))
	}
	a := newAccount(t)
	a.FailNext("/cgi-bin/stable_token", wechatuser.CodeIPNotAllowed, 1)
	a.FailNext("/cgi-bin/token", wechatuser.CodeInvalidSecret, 1)
	msg := refused(t, 40164, a.stable(false))
	assert.Contains(t, msg, "invalid ip 192.0.2.1 ipv6 ::ffff:192.0.2.1, not in whitelist rid: ")
	refused(t, 40125, a.legacy())
	assert.Equal(t, []int{1, 1}, []int{a.Calls("/cgi-bin/stable_token"), a.Calls("/cgi-bin/token")})
	assert.Zero(t, a.Calls("*"))
}

// A path that does not exist is a mistake in the test, which must not go unseen.
func TestUnknownPathsPanic(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const path = "/cgi-bin/user/gets"
	assert.Panics(t, func() { a.FailNext(path, wechatuser.CodeSystemBusy, 1) })
	assert.Panics(t, func() { a.Delay(path, time.Second) })
	assert.Panics(t, func() { a.Calls(path) })
	assert.Zero(t, a.Calls("*"), "the server is not locked for ever")
}

// 45171 lists the openids that were not processed; the others were.
func TestPartialFailure(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(3))
	vip := a.AddTag("vip")
	a.FailOpenIDs(2, wechatusertest.OpenID(1))
	body := a.post(taggingPath, tagging(vip, ids(3)...))
	assert.Contains(t, refused(t, 45171, body), "some openid fail hint: [")
	assert.Contains(t, body, `,"fail_openid_list":`+array(wechatusertest.OpenID(1))+`}`)
	assert.Equal(t, []string{wechatusertest.OpenID(0), wechatusertest.OpenID(2)}, a.TagFans(vip))

	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, wechatusertest.OpenID(2))), "a call without them is none of the two")
	refused(t, 45171, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(1))))
	assert.Equal(t, ok, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(1))))
	assert.Equal(t, ids(2), a.TagFans(vip))

	a.FailOpenIDs(1, wechatusertest.OpenID(2))
	a.FailOpenIDs(0)
	a.FailNext(taggingPath, wechatuser.CodeSomeOpenIDsFailed, 1)
	body = a.post(taggingPath, tagging(vip, wechatusertest.OpenID(2)))
	assert.Contains(t, body, `,"fail_openid_list":`+array(wechatusertest.OpenID(2))+`}`)
	assert.Equal(t, ids(2), a.TagFans(vip))
	assert.Equal(t, ok, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(2))))
}

func TestFailNextHTTP(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.FailNextHTTP("/cgi-bin/tags/get", http.StatusBadGateway, "<html>502 Bad Gateway</html>", 1)
	w := a.do(http.MethodGet, "/cgi-bin/tags/get", nil, "")
	assert.Equal(t, http.StatusBadGateway, w.Code)
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "<html>502 Bad Gateway</html>", w.Body.String())
	refused(t, 41001, a.do(http.MethodGet, "/cgi-bin/tags/get", nil, "").Body.String())
}

func TestDrops(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer()
	defer srv.Close()
	socket := &http.Transport{}
	defer socket.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"socket": socket, "process": srv.Transport()} {
		hc := &http.Client{Transport: rt}
		send := func(body string) error {
			resp, err := hc.Post(srv.URL+"/cgi-bin/tags/create?access_token="+srv.AccessToken(), "application/json", strings.NewReader(body))
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				assert.NoError(t, resp.Body.Close())
			}
			return err
		}
		tags, calls := len(srv.Tags()), srv.Calls("*")
		require.NoError(t, send("{}"), "so that a socket's connection is an old one")
		srv.DropRequests("/cgi-bin/tags/create", 1)
		require.ErrorIs(t, send(`{"tag":{"name":"dropped `+name+`"}}`), io.ErrUnexpectedEOF)
		assert.Len(t, srv.Tags(), tags)
		srv.DropAnswers("*", 1)
		require.ErrorIs(t, send(`{"tag":{"name":"`+name+`"}}`), io.ErrUnexpectedEOF)
		assert.Len(t, srv.Tags(), tags+1, "it was carried out")
		assert.Equal(t, calls+3, srv.Calls("*"))
	}

	// net/http repeats a GET by itself when an old connection ends without a byte; it must not here.
	get := func() error {
		resp, err := (&http.Client{Transport: socket}).Get(srv.URL + "/cgi-bin/user/get")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			assert.NoError(t, resp.Body.Close())
		}
		return err
	}
	require.NoError(t, get())
	srv.DropAnswers("/cgi-bin/user/get", 1)
	require.ErrorIs(t, get(), io.ErrUnexpectedEOF)
	assert.Equal(t, 2, srv.Calls("/cgi-bin/user/get"))
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener()), t}
		took := func(path string) time.Duration {
			begin := time.Now()
			a.do(http.MethodGet, path, nil, "")
			return time.Since(begin)
		}
		a.Delay("*", time.Second)
		a.Delay("/cgi-bin/tags/get", time.Minute)
		assert.Equal(t, time.Minute, took("/cgi-bin/tags/get"))
		assert.Equal(t, time.Minute, took("/cgi-bin/tags/get"))
		assert.Equal(t, time.Second, took("/cgi-bin/user/get"))
		assert.Zero(t, took("/cgi-bin/token"))
		a.Delay("", 0)
		a.Delay("/cgi-bin/token", time.Hour)
		assert.Zero(t, took("/cgi-bin/user/get"))
		assert.Equal(t, time.Hour, took("/cgi-bin/token"))
	})
}

func TestDelayEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
		srv.Delay("/cgi-bin/tags/create", time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/cgi-bin/tags/create?access_token="+srv.AccessToken(),
			strings.NewReader(`{"tag":{"name":"vip"}}`))
		require.NoError(t, err)
		begin := time.Now()
		_, err = srv.Transport().RoundTrip(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Empty(t, srv.Tags(), "it was not carried out")
		assert.Equal(t, 1, srv.Calls("/cgi-bin/tags/create"))
	})
}
