package wechatusertest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

var postPaths = []string{
	"/cgi-bin/user/info/batchget", "/cgi-bin/user/info/updateremark", "/cgi-bin/changeopenid",
	"/cgi-bin/tags/create", "/cgi-bin/tags/update", "/cgi-bin/tags/delete", "/cgi-bin/user/tag/get",
	"/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging", "/cgi-bin/tags/getidlist",
	"/cgi-bin/tags/members/getblacklist", "/cgi-bin/tags/members/batchblacklist",
	"/cgi-bin/tags/members/batchunblacklist",
	"/cgi-bin/clear_quota", "/cgi-bin/openapi/quota/clear", "/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/rid/get",
	"/cgi-bin/callback/check",
}

var getPaths = []string{
	"/cgi-bin/user/info", "/cgi-bin/user/get", "/cgi-bin/tags/get",
	"/cgi-bin/get_api_domain_ip", "/cgi-bin/getcallbackip",
}

// The method is checked before the token, and the token before the body.
// https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range getPaths {
		assertCode(t, 43001, a.do(http.MethodPost, path, nil, "").Body.String())
		assertCode(t, 41001, a.do(http.MethodGet, path, nil, "").Body.String())
	}
	for _, path := range postPaths {
		assertCode(t, 43002, a.do(http.MethodGet, path, nil, "").Body.String())
		assertCode(t, 41001, a.do(http.MethodPost, path, nil, "").Body.String())
		assertCode(t, 44002, a.post(path, ""))
		assertCode(t, 47001, a.post(path, "not JSON"))
	}
	assertCode(t, 43001, a.do(http.MethodPost, "/cgi-bin/token", nil, "").Body.String())
	assertCode(t, 43002, a.do(http.MethodGet, "/cgi-bin/stable_token", nil, "").Body.String())
	assertCode(t, 43002, a.do(http.MethodGet, "/cgi-bin/clear_quota/v2", nil, "").Body.String())

	msg := assertCode(t, 40066, a.do(http.MethodGet, "/cgi-bin/user/nothing", nil, "").Body.String())
	assert.Contains(t, msg, "invalid url rid: ")
	assertCode(t, 40066, a.get("/cgi-bin/groups/get"))
}

// The server stops waiting when the client disconnects during a delay, also for a POST.
func TestDelayEndsWhenTheClientDisconnects(t *testing.T) {
	t.Parallel()
	clock, arrived := arrivals()
	srv := wechatusertest.NewServer(clock, wechatusertest.WithoutListener())
	<-arrived
	srv.Delay("*", time.Hour)
	served := make(chan struct{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		srv.ServeHTTP(w, r)
	}))
	defer front.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+"/cgi-bin/tags/create",
		strings.NewReader("{}"))
	require.NoError(t, err)
	_, err = front.Client().Do(req) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, context.Canceled)
	<-served
}
