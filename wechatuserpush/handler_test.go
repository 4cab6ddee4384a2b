package wechatuserpush_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

func plainAllowed(c *wechatuserpush.Config) { c.AllowPlain = true }

func plainOnly(c *wechatuserpush.Config) { c.AllowPlain, c.EncodingAESKey = true, "" }

func changingKey(c *wechatuserpush.Config) { c.PreviousEncodingAESKey = oldKey }

func TestModes(t *testing.T) {
	created := time.Now().Unix()
	text := event("subscribe", created, "<EventKey><![CDATA[qrscene_7]]></EventKey><Ticket><![CDATA[T]]></Ticket>")
	forged := eventOf("SENTINELforged", "unsubscribe", created)
	for name, c := range map[string]struct {
		change  func(*wechatuserpush.Config)
		message *message
		xml     string
	}{
		"safe":                          {nil, platform.safe(text), text},
		"safe, plain allowed":           {plainAllowed, platform.safe(text), text},
		"compatible reads Encrypt":      {nil, platform.compatible(forged, text), text},
		"compatible without a key":      {plainOnly, platform.compatible(text, forged), ""},
		"plain":                         {plainOnly, platform.plain(text), text},
		"plain, with encrypt_type":      {plainOnly, platform.plain(text).with("encrypt_type", "raw"), text},
		"plain, while the mode changes": {plainAllowed, platform.plain(text), text},
		"the old key":                   {changingKey, sender{appID, token, oldKey}.safe(text), text},
		"the new key":                   {changingKey, platform.safe(text), text},
		"no signature of plain mode":    {nil, platform.safe(text).without("signature"), text},
		"extra parameters":              {nil, platform.safe(text).with("account", "1").with("utm", "a b"), text},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.change, nil)
			w := send(r, c.message)
			require.Equal(t, http.StatusOK, w.Code, r.log.String())
			assert.Equal(t, "success", w.Body.String())
			require.Equal(t, 1, r.calls())
			got, ok := r.events[0].(*wechatuserpush.Subscribe)
			require.True(t, ok)
			assert.Equal(t, "7", got.Scene)
			assert.Equal(t, openID, got.PushHeader().FromUserName)
			assert.Equal(t, created, got.CreateTime.Unix())
			if c.xml != "" {
				assert.Equal(t, c.xml, string(got.XML))
			}
			assert.Empty(t, r.log.String())
		})
	}
}

func TestPushesToThirdPartyPlatforms(t *testing.T) {
	r := newReceiver(t, nil, nil)
	ticket := fmt.Sprintf("<xml><AppId>%s</AppId><CreateTime>%d</CreateTime>"+
		"<InfoType>component_verify_ticket</InfoType>"+
		"<ComponentVerifyTicket>SENTINELticket</ComponentVerifyTicket></xml>", appID, time.Now().Unix())
	require.Equal(t, http.StatusOK, send(r, platform.safe(ticket)).Code)
	require.Equal(t, 1, r.calls())
	got, ok := r.events[0].(*wechatuserpush.VerifyTicket)
	require.True(t, ok)
	assert.Equal(t, "SENTINELticket", got.Ticket)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, *got), "SENTINEL")
}

func TestURLIsVerified(t *testing.T) {
	for _, change := range []func(*wechatuserpush.Config){nil, plainOnly} {
		r := newReceiver(t, change, nil)
		get := &message{method: http.MethodGet, query: platform.query("")}
		w := send(r, get.with("echostr", "4375120948345356249"))
		require.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "4375120948345356249", w.Body.String())
		assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		assert.Contains(t, r.log.String(), "has verified the URL")
		assert.Zero(t, r.calls())
	}
}

// refusals are requests that are no genuine push, each with what the log says about it.
func refusals() map[string]struct {
	message *message
	reason  string
} {
	type refusal = struct {
		message *message
		reason  string
	}
	created := time.Now().Unix()
	text := event("subscribe", created)
	safe := func() *message { return platform.safe(text) }
	at := func(d time.Duration) *message {
		timestamp, encrypted := strconv.FormatInt(time.Now().Add(d).Unix(), 10), platform.encrypt(text)
		return post(platform.query(encrypted), wrap(encrypted)).with("timestamp", timestamp).
			with("msg_signature", sha1Of(token, timestamp, "415670741", encrypted))
	}
	signed := func(encrypted string) *message { return post(platform.query(encrypted), wrap(encrypted)) }
	body := func(change func(string) string) *message {
		m := safe()
		m.body = change(m.body)
		return m
	}
	header := func(name, value string) *message {
		m := safe()
		m.header.Set(name, value)
		return m
	}
	get := func() *message { return &message{method: http.MethodGet, query: platform.query("")} }
	method := func(name string) *message {
		m := safe()
		m.method = name
		return m
	}
	zipped := func() *message {
		m := header("Content-Encoding", "gzip")
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, m.body)
		_ = w.Close()
		m.body = b.String()
		return m
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	frame := func(change func([]byte) []byte) *message {
		return signed(platform.encryptRaw(change(platform.frame(random, text))))
	}
	twice := func(name string) *message {
		m := safe()
		m.query.Add(name, m.query.Get(name))
		return m
	}
	swapped := safe()
	swapped.query["timestamp"], swapped.query["nonce"] = swapped.query["nonce"], swapped.query["timestamp"]
	signatures := safe()
	signatures.query["signature"], signatures.query["msg_signature"] =
		signatures.query["msg_signature"], signatures.query["signature"]
	other, one := safe(), platform.safe(event("unsubscribe", created))
	other.body = one.body

	return map[string]refusal{
		"forged":              {sender{appID, "another", aesKey}.safe(text), "signature is wrong"},
		"no msg_signature":    {safe().without("msg_signature"), "signature is wrong"},
		"empty msg_signature": {safe().with("msg_signature", ""), "signature is wrong"},
		"msg_signature in upper case": {
			safe().with("msg_signature", strings.ToUpper(safe().query.Get("msg_signature"))),
			"signature is wrong",
		},
		"signatures swapped":     {signatures, "signature is wrong"},
		"body of another push":   {other, "signature is wrong"},
		"time and nonce swapped": {swapped, "timestamp is too old"},
		"another nonce":          {safe().with("nonce", "1"), "signature is wrong"},
		"another time": {
			safe().with("timestamp", strconv.FormatInt(created+1, 10)),
			"signature is wrong",
		},
		"replayed later":  {at(-6 * time.Minute), "timestamp is too old"},
		"from the future": {at(6 * time.Minute), "timestamp is too old"},
		"no time":         {safe().without("timestamp"), "parameter of the URL"},
		"time with a sign": {
			safe().with("timestamp", "+"+strconv.FormatInt(created, 10)[1:]),
			"parameter of the URL",
		},
		"time that is no number": {safe().with("timestamp", "1e12345678"), "parameter of the URL"},
		"no nonce":               {safe().without("nonce"), "parameter of the URL"},
		"long nonce":             {safe().with("nonce", strings.Repeat("1", 129)), "parameter of the URL"},
		"nonce with a line":      {safe().with("nonce", "1\n2"), "parameter of the URL"},
		"signature twice":        {twice("msg_signature"), "parameter of the URL"},
		"time twice":             {twice("timestamp"), "parameter of the URL"},
		"long query":             {safe().with("x", strings.Repeat("1", 5000)), "parameter of the URL"},

		"plain":                 {platform.plain(text), "not encrypted"},
		"plain, said to be":     {platform.plain(text).with("encrypt_type", "raw"), "not encrypted"},
		"plain, said to be aes": {platform.plain(text).with("encrypt_type", "aes"), "no Encrypt"},
		"plain, both signatures": {
			platform.plain(text).with("msg_signature", platform.query("").Get("signature")),
			"no Encrypt",
		},
		"encrypted, said to be raw": {safe().with("encrypt_type", "raw").without("msg_signature"), "not encrypted"},
		"an Encrypt in Encrypt":     {platform.safe(platform.safe(text).body), "no Encrypt"},
		"wrong key":                 {sender{appID, token, otherKey}.safe(text), "cannot be decrypted"},
		"the key before the last":   {sender{appID, token, oldKey}.safe(text), "cannot be decrypted"},
		"wrong AppID":               {sender{"wxFAKE000000000001", token, aesKey}.safe(text), "cannot be decrypted"},
		"longer AppID":              {sender{appID + "0", token, aesKey}.safe(text), "cannot be decrypted"},
		"no AppID":                  {sender{"", token, aesKey}.safe(text), "cannot be decrypted"},
		"no padding": {
			frame(func(p []byte) []byte { return append(p, make([]byte, 32-len(p)%32)...) }),
			"cannot be decrypted",
		},
		"padding too long": {
			frame(func(p []byte) []byte { return append(pad(p)[:len(pad(p))-1], 33) }),
			"cannot be decrypted",
		},
		"padding with another byte": {
			frame(func(p []byte) []byte { p = append(p, 0); p = pad(p); p[len(p)-2] ^= 1; return p }),
			"cannot be decrypted",
		},
		"padding longer than all": {signed(platform.encryptRaw(bytes.Repeat([]byte{32}, 32))), "cannot be decrypted"},
		"length too long": {
			frame(func(p []byte) []byte { p[16] = 0xff; return pad(p) }),
			"cannot be decrypted",
		},
		"length too short": {frame(func(p []byte) []byte { p[19]--; return pad(p) }), "cannot be decrypted"},
		"truncated blocks": {signed(platform.encrypt(text)[:64]), "cannot be decrypted"},
		"one block":        {signed(base64.StdEncoding.EncodeToString(random)), "cannot be decrypted"},
		"half a block":     {signed(base64.StdEncoding.EncodeToString(random[:8])), "cannot be decrypted"},
		"no base64":        {signed("!" + platform.encrypt(text)[1:]), "cannot be decrypted"},
		"URL base64":       {signed(strings.Repeat("-_", 100)), "cannot be decrypted"},
		"re-encoded in lines": {
			body(func(s string) string { return strings.Replace(s, "[CDATA[", "[CDATA[\n", 2) + "\n " }),
			"",
		},
		"re-encoded in pieces": {body(func(s string) string {
			return regexp.MustCompile(`(Encrypt><!\[CDATA\[.{9})`).ReplaceAllString(s, "$1\n")
		}), "signature is wrong"},
		"encrypted, but no event": {platform.safe("<xml></xml>"), "neither a MsgType"},
		"encrypted JSON":          {platform.safe(`{"MsgType":"event"}`), "not one element xml"},
		"encrypted bomb": {
			platform.safe(`<!DOCTYPE xml [<!ENTITY a "b">]><xml><MsgType>&a;</MsgType></xml>`),
			"DOCTYPE",
		},
		"encrypted, a bad time": {
			platform.safe(strings.Replace(text, "<CreateTime>", "<CreateTime>x", 1)),
			"CreateTime",
		},
		"ticket of another platform": {
			platform.safe("<xml><AppId>wx1</AppId><InfoType>component_verify_ticket</InfoType></xml>"),
			"another third-party",
		},
		"ticket of nobody": {
			platform.safe("<xml><InfoType>component_verify_ticket</InfoType></xml>"),
			"another third-party",
		},

		"empty":              {body(func(string) string { return "" }), "well-formed"},
		"truncated":          {body(func(s string) string { return s[:len(s)-8] }), "well-formed"},
		"more after the end": {body(func(s string) string { return s + s }), "not one element"},
		"oversized": {
			body(func(s string) string { return s + strings.Repeat(" ", 64<<10) }),
			"longer than MaxBody",
		},
		"huge": {
			body(func(s string) string { return s + strings.Repeat(" ", 200<<10) }),
			"longer than MaxBody",
		},
		"not UTF-8": {body(func(s string) string { return s + "\xff" }), "well-formed"},
		"declared as GBK": {
			body(func(s string) string { return `<?xml version="1.0" encoding="GBK"?>` + s }),
			"well-formed",
		},
		"sent as GBK": {header("Content-Type", "text/xml; charset=GBK"), "not in UTF-8"},
		"JSON":        {body(func(string) string { return `{"Encrypt":"a"}` }), "choose XML"},
		"entity bomb": {
			body(func(s string) string { return `<!DOCTYPE xml [<!ENTITY a "b">]>` + s }),
			"DOCTYPE",
		},
		"Encrypt twice": {
			body(func(s string) string { return strings.Replace(s, "</xml>", "<Encrypt>a</Encrypt></xml>", 1) }),
			"occurs twice",
		},
		"Encrypt twice, first": {
			body(func(s string) string { return strings.Replace(s, "<xml>", "<xml><Encrypt>a</Encrypt>", 1) }),
			"occurs twice",
		},
		"deep": {
			body(func(s string) string { return "<xml>" + strings.Repeat("<a>", 9000) + s }),
			"too many",
		},
		"gzip":            {zipped(), "compressed"},
		"said to be gzip": {header("Content-Encoding", "gzip"), "compressed"},
		"deflate":         {header("Content-Encoding", "deflate"), "compressed"},

		"PUT":                     {method(http.MethodPut), "neither GET nor POST"},
		"HEAD":                    {method(http.MethodHead), "neither GET nor POST"},
		"OPTIONS":                 {method(http.MethodOptions), "neither GET nor POST"},
		"GET of a browser":        {&message{method: http.MethodGet}, "parameter of the URL"},
		"GET, forged":             {get().with("echostr", "1").with("nonce", "2"), "signature is wrong"},
		"GET, no echostr":         {get(), "echostr"},
		"GET, echostr with a tag": {get().with("echostr", "<script>alert(1)</script>"), "echostr"},
		"GET, old": {
			get().with("echostr", "1").with("timestamp", "1413192605").
				with("signature", sha1Of(token, "1413192605", "415670741")), "timestamp",
		},
	}
}

// wrap puts an Encrypt into the XML of a push.
func wrap(encrypted string) string {
	return "<xml><ToUserName>" + original + "</ToUserName><Encrypt><![CDATA[" + encrypted + "]]></Encrypt></xml>"
}

// The log says why a request was refused, and shows no key, token or openid. The function is not called.
func TestRefusals(t *testing.T) {
	for name, c := range refusals() {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil, nil)
			w := send(r, c.message)
			if c.reason == "" { // white space around Encrypt is not part of it
				assert.Equal(t, http.StatusOK, w.Code)
				return
			}
			assert.Equal(t, http.StatusForbidden, w.Code)
			assert.Empty(t, w.Body.String())
			assert.Contains(t, r.log.String(), c.reason)
			assert.Equal(t, 1, strings.Count(r.log.String(), "\n"))
			assert.NotContains(t, r.log.String(), "SENTINEL")
			assert.Zero(t, r.calls())
		})
	}
}

// On the wire all refusals are the same bytes, but for the date.
func TestRefusalsLookTheSame(t *testing.T) {
	r := newReceiver(t, nil, nil)
	server := httptest.NewServer(r)
	defer server.Close()
	all := refusals()
	seen := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if c := all[name]; c.reason == "" {
			continue
		}
		m := all[name].message
		req, err := http.NewRequestWithContext(t.Context(), m.method, server.URL+"/?"+m.query.Encode(),
			strings.NewReader(m.body))
		require.NoError(t, err)
		maps.Copy(req.Header, m.header)
		resp, err := server.Client().Transport.RoundTrip(req)
		require.NoError(t, err, name)
		resp.Header.Del("Date")
		dump, err := httputil.DumpResponse(resp, true)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		seen[string(dump)] = append(seen[string(dump)], name)
	}
	assert.Len(t, seen, 1, "%q", seen)
	assert.Contains(t, seen, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

func TestRefusalsInPlainMode(t *testing.T) {
	text := event("subscribe", time.Now().Unix())
	noSense := "<xml><ToUserName>a</ToUserName></xml>"
	for name, c := range map[string]struct {
		change  func(*wechatuserpush.Config)
		message *message
		reason  string
	}{
		"forged":       {plainOnly, sender{appID, "another", aesKey}.plain(text), "signature is wrong"},
		"no signature": {plainOnly, platform.plain(text).without("signature"), "signature is wrong"},
		"old":          {plainOnly, post(url.Values{}, text), "parameter"},
		"no sense":     {plainOnly, platform.plain(noSense), "neither a MsgType"},
		"no XML":       {plainOnly, platform.plain("<xml>"), "well-formed"},
		"safe, no key": {plainOnly, platform.safe(text), "set EncodingAESKey"},
		"hidden, mixed": {
			plainAllowed, platform.compatible(text, text).without("encrypt_type").without("msg_signature"),
			"one where none is allowed",
		},
		// A signature of plain mode is no signature of an encrypted push, even where both kinds are accepted.
		"mixed": {plainAllowed, platform.compatible(text, text).without("msg_signature"), "signature is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.change, nil)
			assert.Equal(t, http.StatusForbidden, send(r, c.message).Code)
			assert.Contains(t, r.log.String(), c.reason)
			assert.NotContains(t, r.log.String(), "SENTINEL")
			assert.Zero(t, r.calls())
		})
	}
}

// A body that breaks off is refused like any other.
func TestBodyThatCannotBeRead(t *testing.T) {
	r := newReceiver(t, nil, nil)
	req := platform.safe(event("subscribe", time.Now().Unix())).request()
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader("<xml>"), failingReader{}))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Contains(t, r.log.String(), "cannot be read")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A server refuses huge headers before the handler sees them.
func TestHugeHeaders(t *testing.T) {
	r := newReceiver(t, nil, nil)
	server := httptest.NewServer(r)
	defer server.Close()
	m := platform.safe(event("subscribe", time.Now().Unix()))
	req, err := http.NewRequestWithContext(t.Context(), m.method, server.URL+"/?"+m.query.Encode(),
		strings.NewReader(m.body))
	require.NoError(t, err)
	req.Header.Set("X-Huge", strings.Repeat("x", http.DefaultMaxHeaderBytes+8192))
	resp, err := server.Client().Do(req)
	if err == nil {
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
	assert.Zero(t, r.calls())
	server.Client().CloseIdleConnections()
}

// The log has one line a minute for each reason, however many requests are refused.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	r := newReceiver(t, nil, nil)
	for range 1000 {
		send(r, &message{method: http.MethodGet})
		send(r, platform.safe("x").with("nonce", "2"))
	}
	assert.Equal(t, 2, strings.Count(r.log.String(), "\n"))
}

func TestPrintingShowsNoSecret(t *testing.T) {
	cfg := wechatuserpush.Config{AppID: appID, Token: token, EncodingAESKey: aesKey, PreviousEncodingAESKey: oldKey}
	h, err := wechatuserpush.NewHandler(cfg, func(context.Context, wechatuserpush.Event) error { return nil })
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{cfg, &cfg, h, []any{cfg, h}, map[string]any{"a": struct{ H http.Handler }{h}}} {
			assert.NotContains(t, fmt.Sprintf(verb, v), "SENTINEL", verb)
			assert.NotContains(t, fmt.Sprintf(verb, v), fmt.Sprintf("%x", "SENTINEL"), verb)
		}
	}
	assert.Equal(t, "wechatuserpush.Config(wxFAKE000000000000)", cfg.LogValue().String())
	assert.Equal(t, "wechatuserpush.Handler(wxFAKE000000000000)", fmt.Sprint(h))
}
