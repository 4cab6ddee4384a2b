package wechatusertest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Errors have HTTP status 200 too, the parameter of the Content-Type is "encoding" instead of "charset", and the JSON
// has no spaces and no trailing newline.
// https://developers.weixin.qq.com/community/personal/oCJUswzai3-Y_UFZ1CTdtOlX6HvM
func TestResponsesLookLikeThePlatforms(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range []string{"/cgi-bin/tags/get", "/cgi-bin/user/info", "/cgi-bin/nothing"} {
		w := a.do(http.MethodGet, path, nil, "")
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "application/json; encoding=utf-8", w.Header().Get("Content-Type"))
		assert.Regexp(t, `^\{"errcode":\d+,"errmsg":"[^"]+"\}$`, w.Body.String())
	}
	assert.Equal(t, `{"tags":[{"id":2,"name":"星标组","count":0}]}`, a.get("/cgi-bin/tags/get"))
}

// A refused token has a text of its own since 2023, and a rid alone, also where other errors have a hint.
// https://github.com/w7corp/easywechat/issues/2759
func TestErrorsOfTokens(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	invalid := func(path, body string) string {
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		return a.do(method, path, url.Values{"access_token": {"x"}}, body).Body.String()
	}
	for _, body := range []string{
		invalid("/cgi-bin/tags/get", ""), invalid("/cgi-bin/user/info", ""),
		invalid("/cgi-bin/tags/members/getblacklist", "{}"), invalid("/cgi-bin/clear_quota", `{"appid":"x"}`),
	} {
		assert.Regexp(t, `^\{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest, `+
			`could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r `+
			`rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`, body)
	}
	a.Advance(3 * time.Hour)
	old := a.AccessToken()
	a.Advance(3 * time.Hour)
	msg := assertCode(t, 42001,
		a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {old}}, "").Body.String())
	assert.NotContains(t, msg, "hint")

	limited := newAccount(t, wechatusertest.WithQuota("/cgi-bin/token", 1, 0),
		wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0))
	limited.legacy()
	assert.Contains(t, assertCode(t, 45009, limited.legacy()), "could get access_token by getStableAccessToken")
	limited.get("/cgi-bin/user/get")
	assert.NotContains(t, assertCode(t, 45009, limited.get("/cgi-bin/user/get")), "getStableAccessToken")
}
