package wechatusertest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The whitelist applies to all calls, according to the platform's page; once it applied to token requests only.
// https://developers.weixin.qq.com/doc/oplatform/developers/basic_func/ip_whitelist
func TestIPWhitelist(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithIPWhitelist("203.0.113.0/24", "198.51.100.7", "2001:db8::1"))
	from := func(addr string) string {
		query := url.Values{"grant_type": {"client_credential"}, "appid": {a.AppID}, "secret": {a.Secret}}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/cgi-bin/token?"+query.Encode(), nil)
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w.Body.String()
	}
	for _, good := range []string{"203.0.113.255:1", "198.51.100.7:1", "[2001:db8::1]:1", "[::ffff:203.0.113.4]:1"} {
		assert.Contains(t, from(good), "access_token", good)
	}
	msg := assertCode(t, 40164, from("198.51.100.8:1"))
	assert.Regexp(t, `^invalid ip 198\.51\.100\.8 ipv6 ::ffff:198\.51\.100\.8, not in whitelist rid: `, msg)
	msg = assertCode(t, 40164, from("[2001:db8::2]:1"))
	assert.Regexp(t, `^invalid ip 2001:db8::2 ipv6 2001:db8::2, not in whitelist rid: `, msg)
	assertCode(t, 40164, a.stable(false))
	assertCode(t, 40164, a.legacy())
	assertCode(t, 40164, a.get("/cgi-bin/tags/get"))
	assertCode(t, 40001, a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {"x"}}, "").Body.String())

	older := newAccount(t, wechatusertest.WithTokenIPWhitelist("203.0.113.0/24"))
	assertCode(t, 40164, older.stable(false))
	assert.NotContains(t, older.get("/cgi-bin/tags/get"), "errcode")

	assertCode(t, 40164, newAccount(t, wechatusertest.WithIPWhitelist()).stable(false))
	assert.PanicsWithValue(t, `wechatusertest: WithIPWhitelist: "localhost" is neither an IP address nor a prefix`,
		func() { wechatusertest.NewServer(wechatusertest.WithIPWhitelist("localhost")) })
}

// User management requires a verified account.
// https://developers.weixin.qq.com/doc/offiaccount/Getting_Started/Explanation_of_interface_privileges.html
func TestUnverifiedAccount(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithUnverified())
	unauthorized := map[string]bool{}
	for _, q := range a.Quotas() {
		body := a.post(q.Path, "{}")
		if strings.Contains(body, `"errcode":43001,`) {
			body = a.get(q.Path)
		}
		unauthorized[q.API] = strings.Contains(body, `"errcode":48001,"errmsg":"api unauthorized `)
	}
	assert.Equal(t, map[string]bool{
		"userInfo": true, "batchUserinfo": true, "getFans": true, "updateRemark": true, "changeOpenid": true,
		"createTag": true, "getTags": true, "updateTag": true, "deleteTag": true, "getTagFans": true,
		"batchTagging": true, "batchUntagging": true, "getTagidList": true,
		"getBlacklist": true, "batchBlacklist": true, "batchUnblacklist": true,
		"getAccessToken": false, "getStableAccessToken": false, "getApiDomainIp": false, "clearQuota": false,
		"clearQuotaByAppSecret": false, "clearApiQuota": false, "getApiQuota": false, "getRidInfo": false,
		"getCallbackIp": false, "callbackCheck": false,
	}, unauthorized)
	assertCode(t, 40001, a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {"x"}}, "").Body.String())
	assert.Zero(t, a.quotaOf("changeOpenid").Day)
}

// https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html
func TestFrozenSecret(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFrozenSecret())
	assertCode(t, 40243, a.stable(false))
	assertCode(t, 40243, a.legacy())
	body := `{"appid":"` + a.AppID + `","appsecret":"` + a.Secret + `"}`
	assertCode(t, 40243, a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", nil, body).Body.String())
	assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode", "existing tokens remain valid")
}
