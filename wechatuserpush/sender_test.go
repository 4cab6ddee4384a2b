package wechatuserpush_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// The account of the tests. All its secrets and openids begin with SENTINEL, which no log and no response may show.
const (
	appID    = "wxFAKE000000000000"
	original = "gh_fake00000000"
	token    = "SENTINELtoken0123456789"
	aesKey   = "SENTINELkeySENTINELkeySENTINELkeySENTINEL01"
	oldKey   = "SENTINELoldSENTINELoldSENTINELoldSENTINEL02"
	otherKey = "SENTINELbadSENTINELbadSENTINELbadSENTINEL03"
	openID   = "SENTINELopenid-aaaaaaaaaaaaa"
)

// sender is the platform, written from its documentation and without code of the package:
// https://developers.weixin.qq.com/doc/subscription/guide/dev/push/encryption.html
type sender struct{ appID, token, key string }

var platform = sender{appID, token, aesKey}

// sha1Of returns the signature of texts.
func sha1Of(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// encrypt returns the Encrypt of a push.
func (s sender) encrypt(text string) string {
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	return s.encryptRaw(pad(s.frame(random, text)))
}

// frame puts a text between its prefix and the AppID.
func (s sender) frame(random []byte, text string) []byte {
	plain := binary.BigEndian.AppendUint32(slices.Clone(random), uint32(len(text)))
	return append(append(plain, text...), s.appID...)
}

func pad(plain []byte) []byte {
	n := 32 - len(plain)%32
	return append(plain, bytes.Repeat([]byte{byte(n)}, n)...)
}

func (s sender) encryptRaw(plain []byte) string {
	key, err := base64.StdEncoding.DecodeString(s.key + "=")
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(plain, plain)
	return base64.StdEncoding.EncodeToString(plain)
}

// message is a request of the platform that can be changed before it is sent.
type message struct {
	method string
	query  url.Values
	header http.Header
	body   string
}

// query returns the parameters of a push whose Encrypt is encrypted, or of one without.
func (s sender) query(encrypted string) url.Values {
	timestamp, nonce := strconv.FormatInt(time.Now().Unix(), 10), "415670741"
	q := url.Values{"timestamp": {timestamp}, "nonce": {nonce}, "signature": {sha1Of(s.token, timestamp, nonce)}}
	if encrypted != "" {
		q.Set("openid", openID)
		q.Set("encrypt_type", "aes")
		q.Set("msg_signature", sha1Of(s.token, timestamp, nonce, encrypted))
	}
	return q
}

func post(query url.Values, body string) *message {
	return &message{http.MethodPost, query, http.Header{"Content-Type": {"text/xml"}}, body}
}

// safe returns a push in safe mode.
func (s sender) safe(text string) *message {
	encrypted := s.encrypt(text)
	return post(s.query(encrypted), fmt.Sprintf("<xml>\n <ToUserName><![CDATA[%s]]></ToUserName>\n "+
		"<Encrypt><![CDATA[%s]]></Encrypt>\n</xml>", original, encrypted))
}

// compatible returns a push that is both in clear and encrypted.
func (s sender) compatible(clear, text string) *message {
	encrypted := s.encrypt(text)
	return post(s.query(encrypted),
		strings.Replace(clear, "</xml>", "<Encrypt><![CDATA["+encrypted+"]]></Encrypt></xml>", 1))
}

// plain returns a push in plain mode.
func (s sender) plain(text string) *message { return post(s.query(""), text) }

// with changes a parameter.
func (m *message) with(name, value string) *message {
	m.query.Set(name, value)
	return m
}

func (m *message) without(name string) *message {
	m.query.Del(name)
	return m
}

func (m *message) request() *http.Request {
	r := httptest.NewRequest(m.method, "/wechat?"+m.query.Encode(), strings.NewReader(m.body))
	for name, values := range m.header {
		r.Header[name] = values
	}
	return r
}

// send sends a request to a handler.
func send(h http.Handler, m *message) *httptest.ResponseRecorder { return serve(h, m.request()) }

// event returns the XML of an event, with more elements after the usual ones.
func event(name string, created int64, more ...string) string {
	return eventOf(openID, name, created, more...)
}

func eventOf(from, name string, created int64, more ...string) string {
	return fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName>"+
		"<CreateTime>%d</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[%s]]></Event>%s</xml>",
		original, from, created, name, strings.Join(more, ""))
}

// receiver is a handler with what it has done.
type receiver struct {
	http.Handler
	log seq.Buffer

	mu     sync.Mutex
	events []wechatuserpush.Event
}

// calls returns the number of calls of the function.
func (r *receiver) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// newReceiver returns a handler in safe mode. handle may be nil.
func newReceiver(
	t testing.TB, change func(*wechatuserpush.Config), handle func(context.Context, wechatuserpush.Event) error,
) *receiver {
	t.Helper()
	r := &receiver{}
	cfg := wechatuserpush.Config{
		AppID: appID, Token: token, EncodingAESKey: aesKey,
		Logger: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	r.Handler, err = wechatuserpush.NewHandler(cfg, func(ctx context.Context, event wechatuserpush.Event) error {
		r.mu.Lock()
		r.events = append(r.events, event)
		r.mu.Unlock()
		if handle == nil {
			return nil
		}
		return handle(ctx, event)
	})
	require.NoError(t, err)
	return r
}

// serve sends a request to a handler.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
