package sandbox

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	testPushToken  = "SENTINELpushToken"
	testPushAESKey = "SENTINELAESKeySENTINELAESKeySENTINELAESKey0"
)

// callback is a URL for pushes that repeats the echostr, and answers pushes with a status.
type callback struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []url.Values
}

func newCallback(t *testing.T) *callback {
	t.Helper()
	c := &callback{status: http.StatusOK}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		w.WriteHeader(c.status)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, r.URL.Query().Get("echostr"))
			return
		}
		c.got = append(c.got, r.URL.Query())
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *callback) fail(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (s *sandbox) waitPushes(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.account.WaitPushes(ctx))
}

// The forms of the page: the URL is verified, and each event is pushed and listed.
func TestPushForms(t *testing.T) {
	c, s := newCallback(t), newSandbox(t, "-fans", "3")
	t.Cleanup(s.account.Close)
	assert.Contains(t, s.body(t, "/"), "No URL: nothing is pushed.")
	failed, _ := s.doFails(t, "push", url.Values{"openid": {id(0)}, "event": {"CLICK"}})
	assert.Equal(t, "set the URL of pushes first", failed)

	target := c.URL + "/wechat?key=SENTINELquery"
	done, location := s.do(t, "pushurl", url.Values{
		"url": {target}, "token": {testPushToken}, "aeskey": {testPushAESKey}, "mode": {"safe"},
	})
	assert.Equal(t, "Saved and verified the URL of pushes.", done)
	assert.Equal(t, "/#pushes", location)
	for _, form := range []url.Values{
		{"openid": {"oFAKEnew"}, "event": {"subscribe"}},
		{"openid": {"oFAKEqr"}, "event": {"subscribe"}, "value": {"shop-7"}},
		{"openid": {id(0)}, "event": {"unsubscribe"}},
		{"openid": {id(1)}, "event": {"SCAN"}, "value": {"shop-8"}},
		{"openid": {id(1)}, "event": {"CLICK"}, "value": {"menu-1"}},
		{"openid": {id(1)}, "event": {"user_info_modified"}},
		{"openid": {id(1)}, "event": {"user_authorization_revoke"}, "value": {"205"}},
		{"openid": {id(1)}, "event": {"user_authorization_cancellation"}},
	} {
		done, _ := s.do(t, "push", form)
		assert.Equal(t, "Pushed: "+form.Get("event")+" of "+form.Get("openid")+".", done)
	}
	s.do(t, "unfollow", url.Values{"openid": {id(2)}})
	s.waitPushes(t)

	assert.Equal(t, wechatusertest.PushTotals{Delivered: 9, Attempts: 9}, s.account.PushTotals())
	user, _ := s.account.User("oFAKEqr")
	assert.Equal(t, "shop-7", user.QRSceneStr)
	for _, path := range []string{"/", "/?user=" + id(1)} {
		page := s.body(t, path)
		assert.Contains(t, page, c.URL+"/wechat</code>")
		assert.Contains(t, page, "<code>qrscene_shop-7</code>")
		assert.Contains(t, page, "9 delivered")
		for _, secret := range []string{testPushToken, testPushAESKey, "SENTINELquery"} {
			assert.NotContains(t, page, secret)
		}
	}
	assert.Contains(t, s.body(t, "/?user="+id(1)), `name="openid" value="`+id(1)+`" spellcheck`)
	chinesePage := s.serve(inChinese(request(http.MethodGet, "/", nil))).Body.String()
	assert.Contains(t, chinesePage, "安全模式")
	assert.Contains(t, chinesePage, "已送达")
}

// The log shows attempts that fail, and why.
func TestPushThatFails(t *testing.T) {
	c, s := newCallback(t), newSandbox(t)
	t.Cleanup(s.account.Close)
	s.do(t, "pushurl", url.Values{"url": {c.URL}, "token": {testPushToken}})
	assert.Equal(t, wechatusertest.PushPlain, s.pushPart().Mode)
	c.fail(http.StatusBadGateway)
	s.do(t, "push", url.Values{"openid": {"oFAKE1"}, "event": {"subscribe"}})
	s.do(t, "advance", url.Values{"by": {"10s"}})
	s.waitPushes(t)
	page := s.body(t, "/")
	assert.Contains(t, page, `<span class="badge bad">failed</span>`)
	assert.Contains(t, page, "3 attempts")
	assert.Contains(t, page, "HTTP status 502")

	failed, page := s.doFails(t, "pushurl", url.Values{"aeskey": {testPushAESKey}, "mode": {"safe"}})
	assert.Equal(t, "saved, but the URL could not be verified: HTTP status 502", failed)
	assert.NotContains(t, page, testPushAESKey)
	assert.NotContains(t, page, testPushToken)
	assert.Equal(t, wechatusertest.PushSafe, s.pushPart().Mode, "fields that are empty keep their value")
}

func TestInvalidPushForms(t *testing.T) {
	c, s := newCallback(t), newSandbox(t, "-fans", "2")
	t.Cleanup(s.account.Close)
	for want, form := range map[string]url.Values{
		"the URL of pushes must begin with http:// or https://": {"url": {"wechat"}, "token": {"t"}},
		"pushes need a Token":                            {"url": {c.URL}},
		"EncodingAESKey must have 43 letters and digits": {"url": {c.URL}, "token": {"t"}, "mode": {"safe"}},
		"it must be plain, compatible or safe":           {"url": {c.URL}, "token": {"t"}, "mode": {"aes"}},
	} {
		failed, _ := s.doFails(t, "pushurl", form)
		assert.Equal(t, want, failed)
		zh := s.doChinese(t, "pushurl", form)
		assert.NotEqual(t, want, zh)
		assert.NotEmpty(t, zh)
	}
	s.do(t, "pushurl", url.Values{"url": {c.URL}, "token": {testPushToken}})
	s.account.Unfollow(id(1))
	for want, form := range map[string]url.Values{
		`"" is not an openid: use letters, digits, - and _ only`: {"event": {"CLICK"}},
		id(0) + " follows already":                               {"openid": {id(0)}, "event": {"subscribe"}},
		id(1) + " is not a follower":                             {"openid": {id(1)}, "event": {"SCAN"}, "value": {"1"}},
		"oFAKE9 is not a follower":                               {"openid": {"oFAKE9"}, "event": {"unsubscribe"}},
		"enter a value":                                          {"openid": {id(0)}, "event": {"SCAN"}},
		`unknown event "LOCATION"`:                               {"openid": {id(0)}, "event": {"LOCATION"}},
	} {
		failed, _ := s.doFails(t, "push", form)
		assert.Equal(t, want, failed)
	}
	s.waitPushes(t)
}

// The flags, with the secrets from the environment, from start to stop. Nothing shows a secret.
func TestPushFlags(t *testing.T) {
	c := newCallback(t)
	t.Setenv(pushTokenEnv, testPushToken)
	t.Setenv(pushAESKeyEnv, testPushAESKey)
	r := start(t, "-push-url", c.URL+"/wechat", "-fans", "1", "-log")
	body, _ := r.get(t, "/")
	assert.Contains(t, body, c.URL+"/wechat")
	assert.Contains(t, body, `<span class="badge">safe</span>`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.base+"/sandbox/follow",
		strings.NewReader("openids=oFAKE1"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.got) == 1
	}, time.Minute, time.Millisecond)
	assert.Equal(t, "oFAKE1", c.got[0].Get("openid"))
	assert.True(t, c.got[0].Has("msg_signature"))
	stdout, err := r.stop()
	require.NoError(t, err)
	for _, text := range []string{body, stdout, r.stderr.String()} {
		assert.NotContains(t, text, testPushToken)
		assert.NotContains(t, text, testPushAESKey)
	}
}

func TestInvalidPushFlags(t *testing.T) {
	t.Setenv(pushTokenEnv, "")
	for want, args := range map[string][]string{
		"pushes need a Token":       {"-push-url", "http://127.0.0.1:1"},
		"must begin with http":      {"-push-url", "127.0.0.1", "-push-token", testPushToken},
		"43 letters and digits":     {"-push-url", "http://127.0.0.1:1", "-push-token", "t", "-push-aes-key", testPushToken},
		"plain, compatible or safe": {"-push-mode", "aes"},
	} {
		err := runArgs(t.Context(), args, io.Discard, io.Discard)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), testPushToken)
	}
	c, err := parse("-push-token", testPushToken)
	require.NoError(t, err)
	assert.NoError(t, c.Check(), "without a URL nothing is pushed")
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	assert.NotContains(t, string(encoded), testPushToken)
}
