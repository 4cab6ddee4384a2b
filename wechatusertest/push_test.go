package wechatusertest_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	pushToken  = "fakePushToken"
	pushAESKey = "fakeAESKey0fakeAESKey1fakeAESKey2fakeAESKey"
	otherKey   = "otherAESKeyotherAESKeyotherAESKeyotherAESKe"
)

var modes = []wechatusertest.PushMode{
	wechatusertest.PushPlain, wechatusertest.PushCompatible, wechatusertest.PushSafe,
}

// delivery is a push as the receiver has read it.
type delivery struct {
	query  url.Values
	header http.Header
	body   string
	fields map[string]string // of the XML, decrypted
	at     time.Time
}

func (d delivery) key() string { return d.fields["Event"] + " " + d.fields["FromUserName"] }

// receiver is a callback URL that checks and decrypts pushes with code of its own.
type receiver struct {
	t    testing.TB
	keys []string                                                          // AES keys, the one to try first is first
	then func(w http.ResponseWriter, r *http.Request, d delivery, nth int) // what it does after that

	mu  sync.Mutex
	got []delivery
}

func (rec *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !assert.Equal(rec.t, sign(pushToken, q.Get("timestamp"), q.Get("nonce")), q.Get("signature")) {
		http.Error(w, "forged", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, q.Get("echostr"))
		return
	}
	body, err := io.ReadAll(r.Body)
	assert.NoError(rec.t, err)
	text := string(body)
	if q.Get("encrypt_type") == "aes" {
		encrypted := elements(rec.t, text)["Encrypt"]
		assert.Equal(rec.t, sign(pushToken, q.Get("timestamp"), q.Get("nonce"), encrypted), q.Get("msg_signature"))
		if text, err = decryptWithAny(rec.keys, encrypted); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	d := delivery{query: q, header: r.Header, body: string(body), fields: elements(rec.t, text), at: time.Now()}
	rec.mu.Lock()
	rec.got = append(rec.got, d)
	nth := len(rec.got)
	rec.mu.Unlock()
	if rec.then != nil {
		rec.then(w, r, d, nth)
	}
}

func (rec *receiver) deliveries() []delivery {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.got)
}

func (rec *receiver) keysOfDeliveries() (keys []string) {
	for _, d := range rec.deliveries() {
		keys = append(keys, d.key())
	}
	return keys
}

func sign(parts ...string) string {
	slices.Sort(parts)
	return fmt.Sprintf("%x", sha1.Sum([]byte(strings.Join(parts, ""))))
}

// The test's own signature is that of the platform's example.
// https://developers.weixin.qq.com/doc/oplatform/Website_App/WeChat_Login/message_push.md
func TestSignatureOfTheDocumentation(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "f464b24fc39322e44b38aa78f5edd27bd1441696", sign("AAAAA", "1714036504", "1514711492"))
	assert.Equal(t, "899cf89e464efb63f54ddac96b0a0a235f53aa78", sign("AAAAA", "1714037059", "486452656"))
}

// elements returns the elements in the root of the XML.
func elements(t testing.TB, text string) map[string]string {
	var root struct {
		XMLName xml.Name `xml:"xml"`
		All     []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	assert.NoError(t, xml.Unmarshal([]byte(text), &root), text)
	fields := map[string]string{}
	for _, e := range root.All {
		fields[e.XMLName.Local] = e.Text
	}
	return fields
}

var errKey = errors.New("no key fits")

func decryptWithAny(keys []string, encrypted string) (string, error) {
	for _, key := range keys {
		if text, appID := decrypt(key, encrypted); appID == "wxfa4e00000000fa4e" {
			return text, nil
		}
	}
	return "", errKey
}

func decrypt(encodingKey, encrypted string) (text, appID string) {
	key, _ := base64.StdEncoding.DecodeString(encodingKey + "=")
	b, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil || len(b)%32 != 0 {
		return "", ""
	}
	block, _ := aes.NewCipher(key)
	cipher.NewCBCDecrypter(block, key[:16]).CryptBlocks(b, b)
	padding := int(b[len(b)-1])
	if padding < 1 || padding > 32 {
		return "", ""
	}
	b = b[16 : len(b)-padding]
	n := int(binary.BigEndian.Uint32(b))
	if n < 0 || n > len(b)-4 {
		return "", ""
	}
	return string(b[4 : 4+n]), string(b[4+n:])
}

func encrypt(encodingKey, text, appID string) string {
	key, _ := base64.StdEncoding.DecodeString(encodingKey + "=")
	b := append(binary.BigEndian.AppendUint32([]byte("0123456789abcdef"), uint32(len(text))), text+appID...)
	padding := 32 - len(b)%32
	b = append(b, strings.Repeat(string(rune(padding)), padding)...)
	block, _ := aes.NewCipher(key)
	cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(b, b)
	return base64.StdEncoding.EncodeToString(b)
}

func pushesTo(handler http.Handler, mode wechatusertest.PushMode) wechatusertest.PushConfig {
	return wechatusertest.PushConfig{
		Handler: handler, URL: "https://push.test/wechat?app=1", Token: pushToken, EncodingAESKey: pushAESKey, Mode: mode,
	}
}

func newReceiver(t testing.TB) *receiver { return &receiver{t: t, keys: []string{pushAESKey}} }

// newPushing returns an account that pushes to a receiver.
func newPushing(
	t testing.TB, rec *receiver, mode wechatusertest.PushMode, opts ...wechatusertest.Option,
) account {
	a := newAccount(t, append([]wechatusertest.Option{wechatusertest.WithPushes(pushesTo(rec, mode))}, opts...)...)
	t.Cleanup(a.Close)
	return a
}

func (a account) waitPushes() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute) // only a push that fails lasts that long
	defer cancel()
	require.NoError(a.t, a.WaitPushes(ctx))
}

// Each event, in each mode, as the platform sends it.
func TestPushes(t *testing.T) {
	t.Parallel()
	id := wechatusertest.OpenID(0)
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			rec := newReceiver(t)
			a := newPushing(t, rec, mode)

			a.Follow(id)
			a.Scan("shop", id)
			a.Unfollow(id)
			a.FollowByScan("123", id)
			a.PushUserInfoModified(id)
			a.PushAuthorizationRevoke("205", id)
			a.PushAuthorizationCancellation(id)
			a.PushEvent(id, "CLICK", "EventKey", "a]]>b")
			a.PushXML(id, `<xml><FromUserName>x</FromUserName><MsgType>text</MsgType></xml>`)
			a.waitPushes()

			user := func(event string, more ...string) map[string]string {
				fields := map[string]string{
					"ToUserName": "gh_fa4e00000000", "FromUserName": id, "CreateTime": "1773115200",
					"MsgType": "event", "Event": event,
				}
				for i := 0; i < len(more); i += 2 {
					fields[more[i]] = more[i+1]
				}
				return fields
			}
			got := rec.deliveries()
			require.Len(t, got, 9)
			ticket := got[3].fields["Ticket"]
			assert.NotEmpty(t, ticket)
			sender := got[4].fields["FromUserName"]
			assert.Len(t, sender, len(id))
			assert.NotEqual(t, id, sender, "a service of the platform sends it")
			for i, want := range []map[string]string{
				user("subscribe", "EventKey", ""),
				user("SCAN", "EventKey", "shop", "Ticket", got[1].fields["Ticket"]),
				user("unsubscribe", "EventKey", ""),
				user("subscribe", "EventKey", "qrscene_123", "Ticket", ticket),
				user("user_info_modified", "FromUserName", sender, "OpenID", id, "AppID", a.AppID),
				user("user_authorization_revoke", "FromUserName", sender, "OpenID", id, "AppID", a.AppID, "RevokeInfo", "205"),
				user("user_authorization_cancellation", "FromUserName", sender, "OpenID", id, "AppID", a.AppID),
				user("CLICK", "EventKey", "a]]>b"),
				{"FromUserName": "x", "MsgType": "text"},
			} {
				assert.Equal(t, want, got[i].fields)
			}
			for _, d := range got[:4] {
				assert.Equal(t, "1", d.query.Get("app"), "the query of the URL is kept")
				assert.Equal(t, id, d.query.Get("openid"))
				assert.Equal(t, strconv.FormatInt(start.Unix(), 10), d.query.Get("timestamp"))
				assert.Equal(t, "text/xml", d.header.Get("Content-Type"))
				assert.Equal(t, mode != wechatusertest.PushPlain, d.query.Has("msg_signature"))
				outside := elements(t, d.body)
				assert.Equal(t, mode != wechatusertest.PushSafe, outside["FromUserName"] == id)
				assert.Equal(t, mode != wechatusertest.PushPlain, outside["Encrypt"] != "")
				assert.Equal(t, "gh_fa4e00000000", outside["ToUserName"])
			}
			assert.NotEqual(t, got[0].query.Get("nonce"), got[2].query.Get("nonce"))
			assert.Equal(t, wechatusertest.PushTotals{Delivered: 9, Attempts: 9}, a.PushTotals())
		})
	}
}

// A body as developers have published it, with one element a line.
func TestXMLOfPushes(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	a := newPushing(t, rec, wechatusertest.PushPlain)
	a.Follow("oFAKE1")
	a.waitPushes()
	assert.Equal(t, `<xml><ToUserName><![CDATA[gh_fa4e00000000]]></ToUserName>
<FromUserName><![CDATA[oFAKE1]]></FromUserName>
<CreateTime>1773115200</CreateTime>
<MsgType><![CDATA[event]]></MsgType>
<Event><![CDATA[subscribe]]></Event>
<EventKey><![CDATA[]]></EventKey>
</xml>`, rec.deliveries()[0].body)
}

// Only what changes is pushed, and the profile has the scene.
func TestPushesOfFollowers(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	a := newPushing(t, rec, wechatusertest.PushPlain, wechatusertest.WithFans(2))
	follower, other := wechatusertest.OpenID(0), wechatusertest.OpenID(7)
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", UnionID: "uFAKE1"})
	a.Follow(follower)
	a.FollowByScan("1", follower, other)
	a.FollowByScan("shop-7", "oFAKE2")
	a.Unfollow(follower)
	a.Unfollow(follower)
	a.PushUserInfoModified("oFAKE1")
	a.waitPushes()

	assert.Equal(t, []string{
		"subscribe " + other, "subscribe oFAKE2", "unsubscribe " + follower,
	}, rec.keysOfDeliveries()[:3])
	assert.Equal(t, "uFAKE1", rec.deliveries()[3].fields["UnionID"])
	assert.Len(t, rec.deliveries(), 4)
	user, _ := a.User(other)
	assert.Equal(t, wechatuser.SceneQRCode, user.SubscribeScene)
	assert.EqualValues(t, 1, user.QRScene)
	user, _ = a.User("oFAKE2")
	assert.Equal(t, "shop-7", user.QRSceneStr)
	assert.Zero(t, user.QRScene)
	user, _ = a.User(follower)
	assert.Zero(t, user.Subscribe)
}

// The handler of a push calls the account's API and changes the account. No call waits for a push.
func TestHandlerCallsTheAccount(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	a := newPushing(t, rec, wechatusertest.PushSafe)
	c := a.Client()
	rec.then = func(_ http.ResponseWriter, r *http.Request, d delivery, nth int) {
		user, err := c.GetUserInfo(r.Context(), d.fields["FromUserName"])
		assert.NoError(t, err)
		assert.True(t, user.Subscribed())
		if nth == 1 {
			a.Follow("oFAKE2")
		}
	}
	a.Follow("oFAKE1")
	a.waitPushes()
	assert.Len(t, rec.deliveries(), 2, "WaitPushes waits for pushes that pushes have caused")
}

// The old key is in use for a while after a change, for some pushes, if a quirk says so.
func TestChangeAESKey(t *testing.T) {
	t.Parallel()
	for name, quirk := range map[string]time.Duration{"strict": 0, "old key": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := newReceiver(t)
			rec.keys = []string{otherKey, pushAESKey}
			a := newPushing(t, rec, wechatusertest.PushSafe, wechatusertest.WithRequestLog(200),
				wechatusertest.WithQuirks(wechatusertest.Quirks{OldAESKey: quirk}))
			a.ChangeAESKey(otherKey)
			a.Follow(ids(40)...)
			a.waitPushes()
			a.Advance(time.Minute)
			a.Unfollow(ids(40)...)
			a.waitPushes()

			assert.Equal(t, wechatusertest.PushTotals{Delivered: 80, Attempts: 80}, a.PushTotals())
			old := map[string]int{}
			for _, p := range a.Pushes() {
				if p.OldKey {
					old[p.Event]++
				}
			}
			assert.Zero(t, old["unsubscribe"])
			if quirk == 0 {
				assert.Zero(t, old["subscribe"])
			} else {
				assert.Greater(t, old["subscribe"], 5)
				assert.Less(t, old["subscribe"], 35)
			}
			rec.keys = []string{otherKey}
			assert.NoError(t, a.VerifyPushURL(t.Context()))
		})
	}
}

func TestPushesWithoutOldKeyFail(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	a := newPushing(t, rec, wechatusertest.PushSafe)
	a.ChangeAESKey(otherKey)
	a.Follow("oFAKE1")
	a.Advance(10 * time.Second)
	a.waitPushes()
	p := a.Pushes()[0]
	assert.Equal(t, wechatusertest.PushFailed, p.Status)
	assert.Equal(t, 3, p.Attempts)
	assert.Equal(t, "HTTP status 400", p.Error)
}

// Neither a push nor the configuration shows a secret or an openid when it is printed.
func TestPrintingOfPushes(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	rec.then = func(w http.ResponseWriter, _ *http.Request, _ delivery, _ int) { w.WriteHeader(http.StatusTeapot) }
	a := newPushing(t, rec, wechatusertest.PushSafe)
	id := wechatusertest.OpenID(3)
	a.Follow(id)
	a.Advance(10 * time.Second)
	a.waitPushes()

	config := pushesTo(rec, wechatusertest.PushSafe)
	p := a.Pushes()[0]
	assert.Equal(t, `2026-03-10T04:00:00Z subscribe oFAKEaxxxx failed attempts=3 http=418 "HTTP status 418"`, p.String())
	assert.Equal(t, "safe pushes of gh_fa4e00000000 to a handler", config.String())
	config.Handler = nil
	assert.Equal(t, "safe pushes of gh_fa4e00000000 to https://push.test/wechat", config.String())
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "push", p, "config", config, "pushes", a.Pushes())
	encoded, err := json.Marshal(config)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		shown := log.String() + fmt.Sprintf(verb, p) + fmt.Sprintf(verb, config) + fmt.Sprintf(verb, []any{&p, &config}) +
			fmt.Sprintf(verb, a.Pushes()) + fmt.Sprintf(verb, a.Server)
		assert.NotContains(t, shown, pushToken)
		assert.NotContains(t, shown, pushAESKey)
	}
	assert.NotContains(t, fmt.Sprint(p, a.Pushes()), id)
	assert.NotContains(t, string(encoded), pushToken)
	assert.NotContains(t, string(encoded), pushAESKey)
}

// The panic of a handler may quote the openid.
func TestPrintingOfAPanic(t *testing.T) {
	t.Parallel()
	id := wechatusertest.OpenID(7)
	p := wechatusertest.Push{OpenID: id, Event: "subscribe", Status: wechatusertest.PushFailed,
		Error: "the handler panicked: cannot follow " + id}
	assert.Contains(t, p.String(), `"the handler panicked: cannot follow oFAKEaxxxx"`)
	assert.NotContains(t, fmt.Sprintf("%+v %#v", p, []any{p}), id)
	p.OpenID = ""
	assert.Contains(t, p.String(), id, "an openid that is not its own is left alone")
}

func TestPushesPanic(t *testing.T) {
	t.Parallel()
	without, with := newAccount(t, wechatusertest.WithFans(1)), newPushing(t, newReceiver(t), wechatusertest.PushPlain)
	id := wechatusertest.OpenID(0)
	for text, f := range map[string]func(){
		"Scan: the account has no URL":           func() { without.Scan("1", id) },
		"PushEvent: the account has no URL":      func() { without.PushEvent(id, "CLICK") },
		"PushXML: the account has no URL":        func() { without.PushXML(id, "<xml/>") },
		"PushUserInfoModified: the account":      func() { without.PushUserInfoModified(id) },
		"ChangeAESKey: the account has no URL":   func() { without.ChangeAESKey(pushAESKey) },
		"VerifyPushURL: the account has no URL":  func() { _ = without.VerifyPushURL(t.Context()) },
		"ChangeAESKey: pushes are not encrypted": func() { with.ChangeAESKey(pushAESKey) },
		`Scan: unknown openid "oFAKE9"`:          func() { with.Scan("1", "oFAKE9") },
		"Scan: empty scene":                      func() { with.Scan("", id) },
		"FollowByScan: empty scene":              func() { with.FollowByScan("", id) },
		`PushEvent: the field "X" has no value`:  func() { with.PushEvent(id, "CLICK", "X") },
		"SetPushes: pushes need a Token":         func() { with.SetPushes(wechatusertest.PushConfig{URL: "http://x"}) },
		"WithPushes: the URL of pushes must begin": func() {
			wechatusertest.NewServer(wechatusertest.WithPushes(wechatusertest.PushConfig{}))
		},
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), "wechatusertest: "+text) }()
			f()
		}()
	}
}

func TestPushConfigCheck(t *testing.T) {
	t.Parallel()
	good := wechatusertest.PushConfig{URL: "https://push.test", Token: "t", EncodingAESKey: pushAESKey, Mode: "safe"}
	require.NoError(t, good.Check())
	for want, change := range map[string]func(c *wechatusertest.PushConfig){
		"begin with http":             func(c *wechatusertest.PushConfig) { c.URL = "ftp://push.test" },
		"with http:// or https://":    func(c *wechatusertest.PushConfig) { c.URL = "http://\x7f" },
		"need a Token":                func(c *wechatusertest.PushConfig) { c.Token = "" },
		"43 letters":                  func(c *wechatusertest.PushConfig) { c.EncodingAESKey = "" },
		"43 letters and digits":       func(c *wechatusertest.PushConfig) { c.EncodingAESKey = strings.Repeat("+", 43) },
		`unknown mode of pushes "aes`: func(c *wechatusertest.PushConfig) { c.Mode = "aes" },
		"Concurrency":                 func(c *wechatusertest.PushConfig) { c.Concurrency = -1 },
	} {
		c := good
		change(&c)
		assert.ErrorContains(t, c.Check(), want)
	}
	good.Mode, good.EncodingAESKey = "", ""
	assert.NoError(t, good.Check())
}

// SetPushes moves pushes that wait for a retry to the new URL.
func TestSetPushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithPushes(wechatusertest.PushConfig{
			Handler: http.NotFoundHandler(), Token: "other",
		}))
		srv.Follow("oFAKE1")
		synctest.Wait()
		assert.Equal(t, "HTTP status 404", srv.Pushes()[0].Error)
		rec := newReceiver(t)
		srv.SetPushes(pushesTo(rec, wechatusertest.PushSafe))
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Equal(t, []string{"subscribe oFAKE1"}, rec.keysOfDeliveries())
		assert.Equal(t, 2, srv.Pushes()[0].Attempts)
		assert.Empty(t, srv.Pushes()[0].Error)
	})
}
