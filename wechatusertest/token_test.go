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

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
}

func (a account) stable(force bool) string {
	body := fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":%t}`, a.AppID, a.Secret, force)
	return a.do(http.MethodPost, "/cgi-bin/stable_token", nil, body).Body.String()
}

func (a account) legacy() string {
	query := url.Values{"grant_type": {"client_credential"}, "appid": {a.AppID}, "secret": {a.Secret}}
	return a.do(http.MethodGet, "/cgi-bin/token", query, "").Body.String()
}

// use sends a call with the token. want is its errcode, 0 for success.
func (a account) use(token string, want int) {
	a.t.Helper()
	body := a.do(http.MethodGet, "/cgi-bin/tags/get", url.Values{"access_token": {token}}, "").Body.String()
	if want == 0 {
		assert.NotContains(a.t, body, "errcode")
	} else {
		refused(a.t, want, body)
	}
}

func TestTokenShape(t *testing.T) {
	t.Parallel()
	a, again := newAccount(t), newAccount(t)
	got := decode[tokenAnswer](t, a.stable(false))
	assert.Regexp(t, `^\d+_[A-Za-z0-9_-]{140,}$`, got.AccessToken)
	assert.Equal(t, 7200, got.ExpiresIn)
	assert.Equal(t, got, decode[tokenAnswer](t, again.stable(false)), "a test that is run again gets the same token")

	other := newAccount(t, wechatusertest.WithAccount("wxother", "fakesecret"))
	other.use(got.AccessToken, 40001)
}

// https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.use("", 41001)
	a.use("ACCESS_TOKEN", 40001)
	a.use("103_"+fmt.Sprintf("%0148d", 1), 40001)
	a.use("not a token", 40014)
	a.use("{token}", 40014)
}

// In normal mode the same token comes back until 5 minutes before its end, with the time that is left; both the old
// and the new one work in these 5 minutes.
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func TestStableToken(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	first := decode[tokenAnswer](t, a.stable(false))
	a.Advance(time.Hour)
	assert.Equal(t, tokenAnswer{first.AccessToken, 3600}, decode[tokenAnswer](t, a.stable(false)))
	a.Advance(55*time.Minute - time.Second)
	assert.Equal(t, tokenAnswer{first.AccessToken, 301}, decode[tokenAnswer](t, a.stable(false)))
	a.Advance(time.Second)
	second := decode[tokenAnswer](t, a.stable(false))
	assert.NotEqual(t, first.AccessToken, second.AccessToken)
	assert.Equal(t, 7200, second.ExpiresIn)
	a.use(first.AccessToken, 0)
	a.use(second.AccessToken, 0)
	a.Advance(5 * time.Minute)
	a.use(first.AccessToken, 42001)
	a.use(second.AccessToken, 0)
}

// A forced renewal ends the older token at once. Within 30 seconds of the last one it does nothing, and there are 20 a
// day; what the 21st answers is not documented, 45009 is assumed.
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func TestForcedRenewal(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	last := decode[tokenAnswer](t, a.stable(false))
	for i := range 20 {
		forced := decode[tokenAnswer](t, a.stable(true))
		assert.NotEqual(t, last.AccessToken, forced.AccessToken, i)
		a.use(last.AccessToken, 40001)
		a.use(forced.AccessToken, 0)
		a.Advance(29 * time.Second)
		assert.Equal(t, tokenAnswer{forced.AccessToken, 7171}, decode[tokenAnswer](t, a.stable(true)))
		a.Advance(time.Second)
		last = forced
	}
	refused(t, 45009, a.stable(true))
	assert.Equal(t, last.AccessToken, decode[tokenAnswer](t, a.stable(false)).AccessToken)
	a.Advance(24 * time.Hour)
	decode[tokenAnswer](t, a.stable(true))
}

func TestForcedRenewalEndsBothOfTheLastMinutes(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	first := decode[tokenAnswer](t, a.stable(false))
	a.Advance(2*time.Hour - time.Minute)
	second := decode[tokenAnswer](t, a.stable(false))
	decode[tokenAnswer](t, a.stable(true))
	a.use(first.AccessToken, 40001)
	a.use(second.AccessToken, 40001)
}

// Each legacy token replaces the one before it, which works for 5 minutes more.
// https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html
func TestLegacyToken(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	first, second := decode[tokenAnswer](t, a.legacy()), decode[tokenAnswer](t, a.legacy())
	assert.NotEqual(t, first.AccessToken, second.AccessToken)
	a.Advance(5*time.Minute - time.Second)
	a.use(first.AccessToken, 0)
	a.Advance(time.Second)
	a.use(first.AccessToken, 40001)
	a.use(second.AccessToken, 0)
	a.Advance(2 * time.Hour)
	a.use(second.AccessToken, 42001)

	strict := newAccount(t, wechatusertest.WithQuirks(wechatusertest.Quirks{NoTokenOverlap: true}))
	first = decode[tokenAnswer](t, strict.legacy())
	strict.legacy()
	strict.use(first.AccessToken, 40001)
}

// Neither kind of token ends the other.
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func TestTokenFamilies(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuirks(wechatusertest.Quirks{NoTokenOverlap: true}))
	legacy, stable := decode[tokenAnswer](t, a.legacy()), decode[tokenAnswer](t, a.stable(false))
	a.stable(true)
	a.use(legacy.AccessToken, 0)
	stable = decode[tokenAnswer](t, a.stable(false))
	a.legacy()
	a.use(stable.AccessToken, 0)
}

// https://github.com/w7corp/easywechat/issues/1453
func TestExpireTokens(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	legacy, stable := decode[tokenAnswer](t, a.legacy()), decode[tokenAnswer](t, a.stable(false))
	a.ExpireTokens()
	a.use(legacy.AccessToken, 40001)
	a.use(stable.AccessToken, 40001)
	a.use(decode[tokenAnswer](t, a.stable(false)).AccessToken, 0)
	a.use(decode[tokenAnswer](t, a.legacy()).AccessToken, 0)
	a.use(legacy.AccessToken, 40001) // a replacement gives it no 5 minutes more
	a.Advance(3 * time.Hour)
	a.use(stable.AccessToken, 40001)
}

func TestTokensRememberedAreBounded(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	first := decode[tokenAnswer](t, a.legacy())
	a.use(first.AccessToken, 0)
	for range 1000 {
		a.legacy()
	}
	a.use(first.AccessToken, 40001)
	a.use(decode[tokenAnswer](t, a.legacy()).AccessToken, 0)
}

// https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, row := range []struct {
		grant, appID, secret string
		want                 int
	}{
		{"client_credential", "wxnobody", a.Secret, 40013},
		{"client_credential", a.AppID, "wrong", 40125},
		{"client_credential", "", a.Secret, 41002},
		{"client_credential", a.AppID, "", 41004},
		{"authorization_code", a.AppID, a.Secret, 40002},
		{"", a.AppID, a.Secret, 40002},
	} {
		query := url.Values{"grant_type": {row.grant}, "appid": {row.appID}, "secret": {row.secret}}
		refused(t, row.want, a.do(http.MethodGet, "/cgi-bin/token", query, "").Body.String())
		body := fmt.Sprintf(`{"grant_type":%q,"appid":%q,"secret":%q}`, row.grant, row.appID, row.secret)
		refused(t, row.want, a.do(http.MethodPost, "/cgi-bin/stable_token", nil, body).Body.String())
		// A form is not seen at all by stable_token.
		refused(t, 41002, a.do(http.MethodPost, "/cgi-bin/stable_token", nil, query.Encode()).Body.String())
	}
	refused(t, 47001, a.do(http.MethodPost, "/cgi-bin/stable_token", nil, `{"appid":`).Body.String())
	refused(t, 47001, a.do(http.MethodPost, "/cgi-bin/stable_token", nil, `{"appid":1}`).Body.String())
	refused(t, 44002, a.do(http.MethodPost, "/cgi-bin/stable_token", nil, "").Body.String())
}
