package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestFollower(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/followers/"+openID)

	assert.Equal(t, http.StatusOK, res.status)
	assert.Equal(t, openID, res.body["openid"])
	assert.EqualValues(t, 1, res.body["subscribe"])
}

func TestTag(t *testing.T) {
	f := newFixture(t)
	vip := f.account.AddTag("会员")
	path := "/followers/" + openID + "/tags/" + url.PathEscape("会员")

	for range 3 {
		assert.Equal(t, http.StatusOK, f.do(t, "PUT", path).status)
	}

	assert.Equal(t, []string{openID}, f.account.TagFans(vip))
	assert.Equal(t, 1, f.account.Calls("/cgi-bin/tags/get"), "tag IDs are cached")

	require.NoError(t, f.wechat.DeleteTag(t.Context(), vip))
	assert.Equal(t, http.StatusNotFound, f.do(t, "PUT", path).status)
	recreated := f.account.AddTag("会员")
	assert.Equal(t, http.StatusOK, f.do(t, "PUT", path).status, "a wrong ID is dropped from the cache")
	assert.Equal(t, []string{openID}, f.account.TagFans(recreated))
}

func TestNotFound(t *testing.T) {
	f := newFixture(t)
	f.account.AddTag("vip")
	f.account.Unfollow(wechatusertest.OpenID(1))
	for _, request := range []string{
		"GET /followers/" + wechatusertest.OpenID(1),               // former follower
		"GET /followers/oFAKEnobody",                               // 40003
		"PUT /followers/" + wechatusertest.OpenID(1) + "/tags/vip", // 50005
		"PUT /followers/" + wechatusertest.ForeignOpenID(0) + "/tags/vip",
		"PUT /followers/" + openID + "/tags/nothing",
	} {
		method, path, _ := strings.Cut(request, " ")
		assert.Equal(t, http.StatusNotFound, f.do(t, method, path).status, request)
	}
	assert.Empty(t, grep(f.log, "request failed"), "these are the caller's errors")
	assert.Equal(t, "ok", f.do(t, "GET", "/healthz").body["wechat"])
}

func TestHealthMakesNoCalls(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/healthz")

	assert.Equal(t, http.StatusOK, res.status)
	assert.Equal(t, "not called yet", res.body["wechat"])
	assert.Zero(t, f.account.Calls("*"))
	assert.Zero(t, f.account.Calls("/cgi-bin/stable_token"))
}

func TestPaths(t *testing.T) {
	f := newFixture(t)

	res := f.do(t, "GET", "/")

	assert.Equal(t, http.StatusOK, res.status)
	want := []any{"GET /followers/{openid}", "PUT /followers/{openid}/tags/{name}", "GET /healthz"}
	assert.Equal(t, want, res.body["paths"])
}
