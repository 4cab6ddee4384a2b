package wechatusertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Neither the request log and hook nor the other inspection methods reveal a secret or a complete token.
func TestInspectionRevealsNoSecret(t *testing.T) {
	t.Parallel()
	const secret, token = "fakesecret1234567890fakesecret12", "sentinel-token-sentinel-token-sentinel"
	var hooked []wechatusertest.Request
	a := newAccount(t, wechatusertest.WithAccount("wxfake", secret), wechatusertest.WithFans(1),
		wechatusertest.WithRequestHook(func(r wechatusertest.Request) { hooked = append(hooked, r) }))
	issued := []string{
		decode[tokenResponse](t, a.stable(false)).AccessToken, decode[tokenResponse](t, a.legacy()).AccessToken,
	}
	a.post("/cgi-bin/tags/create", `{"access_token":"`+token+`","tag":{"name":"x"}}`)
	a.post("/cgi-bin/tags/create",
		`{"tag":{"name":"x","APPSECRET":["`+secret+`"]},"list":[{"component_access_token":"`+token+`"}]}`)
	a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"Access_Token": {token}, "SECRET": {secret}}, "")
	a.do(http.MethodGet, "/cgi-bin/tags/get&access_token="+token+"&Secret="+secret, nil, "")
	a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", url.Values{"appid": {"wxfake"}, "appsecret": {secret}}, "")
	a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", nil, `{"appid":"wxfake","appsecret":"`+secret+`"}`)
	assert.Len(t, hooked, 8)

	var saved strings.Builder
	require.NoError(t, a.Save(&saved))
	encoded, err := json.Marshal([]any{
		hooked, a.Requests(), a.Snapshot(), a.Tokens(), a.Quotas(), a.Faults(), a.Totals(),
	})
	require.NoError(t, err)
	shown := string(encoded) + saved.String() + fmt.Sprintf("%+v %+v %+v", a.Requests(), a.Tokens(), a.Snapshot())
	for _, sentinel := range append(issued, secret, token) {
		assert.NotContains(t, shown, sentinel)
		assert.NotContains(t, shown, sentinel[8:])
	}
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
			"grant_type": {"client_credential"}, "appid": {a.AppID}, "secret": {secret},
		}, "").Body.String(),
		"query of v2": a.do(http.MethodPost, "/cgi-bin/clear_quota/v2", url.Values{
			"appid": {a.AppID}, "appsecret": {secret},
		}, "").Body.String(),
		"unknown path": a.do(http.MethodPost, "/cgi-bin/stable_tokens", nil, credential).Body.String(),
		"form":         a.post("/cgi-bin/tags/create", "tag=x&access_token="+secret),
		"wrong place":  a.post("/cgi-bin/tags/create", `{"tag":{"access_token":"`+secret+`"}}`),
		"component": a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{
			"component_access_token": {secret},
		}, "").Body.String(),
		"token": a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {secret}}, "").Body.String(),
	} {
		info := a.ridInfo(strings.TrimSuffix(ridOf(t, body), `"}`))
		assert.Contains(t, info, `"errcode":0`, path)
		assert.NotContains(t, info, secret[8:], path)
	}
}
