package wechatusertest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ridOf(t *testing.T, errmsg string) string {
	t.Helper()
	_, rid, found := strings.Cut(errmsg, " rid: ")
	require.True(t, found, errmsg)
	return rid
}

func (a account) ridInfo(rid string) string {
	return a.post("/cgi-bin/openapi/rid/get", fmt.Sprintf(`{"rid":%q}`, rid))
}

// The first group of a rid is the time of the request, and so is invoke_time. The token is redacted.
// https://developers.weixin.qq.com/doc/service/openApi/get_rid_info.html
func TestRIDInfo(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const body = `{"openid":"malformed","remark":"x"}`
	resp := a.post("/cgi-bin/user/info/updateremark", body)
	rid := ridOf(t, assertCode(t, 40003, resp))
	seconds, err := strconv.ParseInt(rid[:8], 16, 64)
	require.NoError(t, err)
	assert.Equal(t, start.Unix(), seconds)
	a.Advance(time.Hour)
	assert.Equal(t, fmt.Sprintf(`{"errcode":0,"errmsg":"ok","request":{"invoke_time":%d,"cost_in_ms":0,`+
		`"request_url":"access_token=%sxxxx","request_body":%q,"response_body":%q,"client_ip":"192.0.2.1"}}`,
		start.Unix(), a.AccessToken()[:6], body, resp), a.ridInfo(rid))
	other := ridOf(t, assertCode(t, 40003, a.post("/cgi-bin/user/info/updateremark", body)))
	assert.NotEqual(t, rid[8:], other[8:])
}

// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getridinfo.html
func TestRIDInfoErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	assertCode(t, 76001, a.ridInfo("00000000-00000000-00000000"))
	assertCode(t, 76002, a.ridInfo("nonsense"))
	assertCode(t, 76002, a.post("/cgi-bin/openapi/rid/get", `{}`))
	assertCode(t, 47001, a.post("/cgi-bin/openapi/rid/get", `{"rid":1}`))

	rid := ridOf(t, assertCode(t, 41009, a.get("/cgi-bin/user/info")))
	a.Advance(7 * 24 * time.Hour)
	assert.Contains(t, a.ridInfo(rid), `"errcode":0`)
	a.Advance(time.Second)
	assertCode(t, 76001, a.ridInfo(rid))
}

func TestRIDInfoKeepsTheLastThousand(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	rid := ridOf(t, assertCode(t, 41009, a.get("/cgi-bin/user/info")))
	for range 999 {
		a.get("/cgi-bin/user/info")
	}
	assert.Contains(t, a.ridInfo(rid), `"errcode":0`)
	a.get("/cgi-bin/user/info")
	assertCode(t, 76001, a.ridInfo(rid))
}

// rid/get returns neither a secret nor a complete token, not even a wrong one.
func TestRIDInfoHoldsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "fakesecret1234567890fakesecret12"
	a := newAccount(t)
	credential := fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"appsecret":%[2]q}`,
		a.AppID, secret)
	for path, body := range map[string]string{
		"/cgi-bin/stable_token":   a.do(http.MethodPost, "/cgi-bin/stable_token", nil, credential).Body.String(),
		"/cgi-bin/clear_quota/v2": a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", nil, credential).Body.String(),
		"/cgi-bin/token": a.do(http.MethodGet, "/cgi-bin/token", url.Values{
			"grant_type": {"client_credential"}, "appid": {a.AppID}, "secret": {secret}}, "").Body.String(),
		"query of v2": a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", url.Values{
			"appid": {a.AppID}, "appsecret": {secret}}, "").Body.String(),
		"unknown path": a.do(http.MethodPost, "/cgi-bin/stable_tokens", nil, credential).Body.String(),
		"form":         a.post("/cgi-bin/tags/create", "tag=x&access_token="+secret),
		"wrong place":  a.post("/cgi-bin/tags/create", `{"tag":{"access_token":"`+secret+`"}}`),
		"component": a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{
			"component_access_token": {secret}}, "").Body.String(),
		"token": a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {secret}}, "").Body.String(),
	} {
		info := a.ridInfo(strings.TrimSuffix(ridOf(t, body), `"}`))
		assert.Contains(t, info, `"errcode":0`, path)
		assert.NotContains(t, info, secret[8:], path)
	}
}
