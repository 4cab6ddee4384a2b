package wechatusertest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func (a account) quota(path string) string {
	return a.post("/cgi-bin/openapi/quota/get", fmt.Sprintf(`{"cgi_path":%q}`, path))
}

func (a account) clear() string {
	return a.post("/cgi-bin/clear_quota", fmt.Sprintf(`{"appid":%q}`, a.AppID))
}

// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota.html
func TestQuota(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuota("/cgi-bin/tags/get", 3, 2))
	const response = `{"errcode":0,"errmsg":"ok","quota":{"daily_limit":3,"used":%d,"remain":%d},` +
		`"rate_limit":{"call_count":2,"refresh_second":60}}`
	assert.Equal(t, fmt.Sprintf(response, 0, 3), a.quota("/cgi-bin/tags/get"))
	a.get("/cgi-bin/tags/get")
	a.get("/cgi-bin/tags/get")
	assertCode(t, 45011, a.get("/cgi-bin/tags/get"))
	assert.Equal(t, fmt.Sprintf(response, 2, 1), a.quota("/cgi-bin/tags/get"), "a call over the quota is not counted")
	a.Advance(time.Minute)
	a.get("/cgi-bin/tags/get")
	assertCode(t, 45009, a.get("/cgi-bin/tags/get"))
	assertCode(t, 40001, a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {"x"}}, "").Body.String())

	a.Advance(12*time.Hour - 2*time.Minute) // it was noon
	assertCode(t, 45009, a.get("/cgi-bin/tags/get"))
	a.Advance(time.Minute)
	assert.Contains(t, a.get("/cgi-bin/tags/get"), "tags", "a day begins at midnight in Beijing")
	assert.Equal(t, 8, a.Calls("/cgi-bin/tags/get"))

	assert.Panics(t, func() { newAccount(t, wechatusertest.WithQuota("/cgi-bin/nothing", 1, 1)) })
}

// https://developers.weixin.qq.com/doc/service/Message_Management/API_Call_Limits.html
func TestDocumentedQuotas(t *testing.T) {
	t.Parallel()
	free := newAccount(t)
	limited := newAccount(t, wechatusertest.WithDocumentedQuotas(), wechatusertest.WithQuota("/cgi-bin/tags/get", 1, 0))
	for range 500 {
		free.get("/cgi-bin/user/get")
		limited.get("/cgi-bin/user/get")
	}
	assert.NotContains(t, free.get("/cgi-bin/user/get"), "errcode", "off by default")
	msg := assertCode(t, 45009, limited.get("/cgi-bin/user/get"))
	assert.Regexp(t, `^reach max api daily quota limit rid: `, msg)
	assert.Contains(t, limited.quota("/cgi-bin/user/get"), `{"daily_limit":500,"used":500,"remain":0}}`)
	assert.Contains(t, free.quota("/cgi-bin/user/get"), `{"daily_limit":500,"used":501,"remain":0}}`)
	assert.Contains(t, free.quota("/cgi-bin/stable_token"), `"rate_limit":{"call_count":10000,"refresh_second":60}`)
	assert.Contains(t, limited.quota("/cgi-bin/tags/get"), `"daily_limit":1,`)
}

// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota.html
func TestQuotaPaths(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range []string{"/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/quota/clear"} {
		assertCode(t, 76021, a.post(path, `{"cgi_path":"/cgi-bin/nothing"}`))
		assertCode(t, 76021, a.post(path, `{"cgi_path":"cgi-bin/user/get"}`))
		assertCode(t, 76022, a.post(path, `{"cgi_path":"/sns/userinfo"}`))
		assertCode(t, 44002, a.post(path, `{}`))
		assertCode(t, 47001, a.post(path, `{"cgi_path":1}`))
	}
}

// All quotas can be cleared 10 times a month, counting calls with the token and calls with the secret.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquota.html
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquotabyappsecret.html
func TestClearQuota(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuota("/cgi-bin/tags/get", 1, 1))
	v2 := func(appID, secret string) string {
		body := fmt.Sprintf(`{"appid":%q,"appsecret":%q}`, appID, secret)
		return a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", nil, body).Body.String()
	}
	assertCode(t, 40013, a.post("/cgi-bin/clear_quota", `{"appid":"wxelse"}`))
	assertCode(t, 41002, a.post("/cgi-bin/clear_quota", `{}`))
	assertCode(t, 47001, a.post("/cgi-bin/clear_quota", `{"appid":1}`))
	assertCode(t, 40013, v2("wxelse", a.Secret))
	assertCode(t, 40125, v2(a.AppID, "wrong"))
	assertCode(t, 41002, v2("", a.Secret))
	assertCode(t, 41004, v2(a.AppID, ""))
	for range 9 {
		a.get("/cgi-bin/tags/get")
		assert.Equal(t, ok, a.clear())
		assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode")
	}
	query := url.Values{"appid": {a.AppID}, "appsecret": {a.Secret}}
	assert.Equal(t, ok, a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", query, "").Body.String(), "with a query")
	assertCode(t, 48006, v2(a.AppID, a.Secret))
	assertCode(t, 48006, a.clear())
	a.Advance(21 * 24 * time.Hour) // from the 10th to the 31st
	assertCode(t, 48006, a.clear())
	a.Advance(24 * time.Hour)
	assert.Equal(t, ok, a.clear())
}

// The quota of a single path can be cleared 50 times a month.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearapiquota.html
func TestClearAPIQuota(t *testing.T) {
	t.Parallel()
	a := newAccount(t,
		wechatusertest.WithQuota("/cgi-bin/tags/get", 1, 0), wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0))
	a.get("/cgi-bin/user/get")
	for range 50 {
		a.get("/cgi-bin/tags/get")
		assertCode(t, 45009, a.get("/cgi-bin/tags/get"))
		assert.Equal(t, ok, a.post("/cgi-bin/openapi/quota/clear", `{"cgi_path":"/cgi-bin/tags/get"}`))
	}
	assertCode(t, 45009, a.post("/cgi-bin/openapi/quota/clear", `{"cgi_path":"/cgi-bin/tags/get"}`))
	assertCode(t, 45009, a.get("/cgi-bin/user/get"))
}
