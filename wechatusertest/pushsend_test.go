package wechatusertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

const textReply = `<xml><ToUserName><![CDATA[oFAKE1]]></ToUserName><MsgType><![CDATA[text]]></MsgType></xml>`

// encryptedReply returns a reply as the platform's documentation has it.
func encryptedReply(token, key, text, appID string) string {
	encrypted := encrypt(key, text, appID)
	return fmt.Sprintf(`<xml><Encrypt><![CDATA[%s]]></Encrypt><MsgSignature>%s</MsgSignature>`+
		`<TimeStamp>1</TimeStamp><Nonce><![CDATA[2]]></Nonce></xml>`, encrypted, sign(token, "1", "2", encrypted))
}

// What counts as an answer, in each mode.
func TestAnswersToPushes(t *testing.T) {
	t.Parallel()
	const appID = "wxfa4e00000000fa4e"
	all := []string{"plain", "compatible", "safe"}
	encrypted := encryptedReply(pushToken, pushAESKey, textReply, appID)
	for name, c := range map[string]struct {
		status int
		body   string
		good   []string // modes
		reply  string
	}{
		"empty":            {200, "", all, ""},
		"no content":       {204, "", all, ""},
		"success":          {200, "success", all, ""},
		"success created":  {201, "success", all, ""},
		"success, line":    {200, "success\n", nil, ""},
		"ok":               {200, "ok", nil, ""},
		"JSON":             {200, `{"errcode":0}`, nil, ""},
		"HTML":             {200, "<html></html>", nil, ""},
		"plain reply":      {200, textReply + "\n", []string{"plain", "compatible"}, textReply + "\n"},
		"two replies":      {200, textReply + textReply, nil, ""},
		"no message":       {200, "<xml></xml>", nil, ""},
		"half":             {200, textReply[:40], nil, ""},
		"encrypted reply":  {200, encrypted, []string{"compatible", "safe"}, textReply},
		"wrong token":      {200, encryptedReply("other", pushAESKey, textReply, appID), nil, ""},
		"wrong key":        {200, encryptedReply(pushToken, otherKey, textReply, appID), nil, ""},
		"wrong app ID":     {200, encryptedReply(pushToken, pushAESKey, textReply, "wxother"), nil, ""},
		"encrypted text":   {200, encryptedReply(pushToken, pushAESKey, "hello", appID), nil, ""},
		"too long":         {200, strings.Repeat("a", 100<<10), nil, ""},
		"forbidden":        {403, "success", nil, ""},
		"redirect":         {302, "success", nil, ""},
		"not modified":     {304, "", nil, ""},
		"unavailable":      {503, "", nil, ""},
		"not in base64":    {200, strings.Replace(encrypted, "<Encrypt><![CDATA[", "<Encrypt><![CDATA[?", 1), nil, ""},
		"short ciphertext": {200, shortReply(), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range modes {
				rec := newReceiver(t)
				rec.then = func(w http.ResponseWriter, _ *http.Request, _ delivery, _ int) {
					w.Header().Set("Location", "/elsewhere")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				}
				a := newPushing(t, rec, mode)
				a.Follow("oFAKE1")
				a.Advance(10 * time.Second)
				a.waitPushes()
				p := a.Pushes()[0]
				if strings.Contains(strings.Join(c.good, " "), string(mode)) {
					assert.Equal(t, wechatusertest.PushDelivered, p.Status, "%s: %s", mode, p.Error)
					assert.Equal(t, c.reply, p.Reply)
					assert.Equal(t, c.status, p.HTTPStatus)
				} else {
					assert.Equal(t, wechatusertest.PushFailed, p.Status, mode)
					assert.NotEmpty(t, p.Error)
					assert.Equal(t, 3, p.Attempts)
				}
			}
		})
	}
}

func shortReply() string {
	const encrypted = "AAAAAAAAAAAAAAAAAAAAAA=="
	return fmt.Sprintf(`<xml><Encrypt>%s</Encrypt><MsgSignature>%s</MsgSignature>`+
		`<TimeStamp>1</TimeStamp><Nonce>2</Nonce></xml>`,
		encrypted, sign(pushToken, "1", "2", encrypted))
}

// Over a socket, with a query in the URL and without following redirects.
func TestPushesToURL(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	var elsewhere atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/wechat", rec)
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) })
	rec.then = func(w http.ResponseWriter, r *http.Request, d delivery, _ int) {
		if d.fields["Event"] == "unsubscribe" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}
	web := httptest.NewServer(mux)
	defer web.Close()
	config := wechatusertest.PushConfig{
		URL: web.URL + "/wechat?app=1", Token: pushToken, EncodingAESKey: pushAESKey, Mode: wechatusertest.PushSafe,
		OriginalID: "gh_other",
	}
	srv := wechatusertest.NewServer(wechatusertest.WithPushes(config))
	defer srv.Close()
	require.NoError(t, srv.VerifyPushURL(t.Context()))
	srv.Follow(ids(30)...)
	require.NoError(t, srv.WaitPushes(t.Context()))
	assert.Equal(t, wechatusertest.PushTotals{Delivered: 30, Attempts: 30}, srv.PushTotals())
	assert.Equal(t, "1", rec.deliveries()[0].query.Get("app"))
	assert.Equal(t, "gh_other", rec.deliveries()[0].fields["ToUserName"])

	srv.Unfollow(wechatusertest.OpenID(0))
	srv.Advance(10 * time.Second)
	require.NoError(t, srv.WaitPushes(t.Context()))
	last := srv.Pushes()[30]
	assert.Equal(t, "HTTP status 307", last.Error)
	assert.False(t, elsewhere.Load())
}

// An error of the connection shows neither the signature nor the query of the URL.
func TestUnreachableURL(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(nil)
	web.Close()
	a := newAccount(t, wechatusertest.WithPushes(wechatusertest.PushConfig{
		URL: web.URL + "/?key=hidden", Token: pushToken,
	}))
	defer a.Close()
	err := a.VerifyPushURL(t.Context())
	require.ErrorContains(t, err, "wechatusertest: VerifyPushURL: dial tcp")
	a.Follow("oFAKE1")
	a.Advance(10 * time.Second)
	a.waitPushes()
	p := a.Pushes()[0]
	assert.Contains(t, p.Error, "connection refused")
	for _, text := range []string{err.Error(), p.Error} {
		assert.NotContains(t, text, "signature")
		assert.NotContains(t, text, "hidden")
	}
}

func TestVerifyPushURL(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"wrong body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.URL.Query().Get("echostr")+"\n")
		}, "the response is not the echostr"},
		"status": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "HTTP status 403"},
		"panic":  {func(http.ResponseWriter, *http.Request) { panic("oops") }, "the handler panicked: oops"},
		"good":   {newReceiver(t).ServeHTTP, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range modes {
				a := newAccount(t, wechatusertest.WithPushes(pushesTo(c.handler, mode)))
				err := a.VerifyPushURL(t.Context())
				if c.want == "" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, "wechatusertest: VerifyPushURL: "+c.want)
				}
				a.Close()
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newAccount(t, wechatusertest.WithPushes(pushesTo(http.NotFoundHandler(), "plain")))
	defer a.Close()
	assert.ErrorIs(t, a.VerifyPushURL(ctx), context.Canceled)
}
