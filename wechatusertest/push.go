package wechatusertest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// PushMode says how pushes are encrypted (消息加解密方式).
type PushMode string

// The modes of pushes.
const (
	// PushPlain sends the XML as it is (明文模式). It is the default.
	PushPlain PushMode = "plain"
	// PushCompatible sends both the XML and its encrypted form (兼容模式).
	PushCompatible PushMode = "compatible"
	// PushSafe sends the encrypted form only (安全模式).
	PushSafe PushMode = "safe"
)

// PushConfig says where an account sends its pushes: the server configuration (服务器配置) of the platform's console.
type PushConfig struct {
	// URL receives the pushes. With Handler it is never dialed, and only its host, path and query are used.
	URL string `json:"-"` // its query may have a secret
	// Handler receives the pushes in the process, without a socket, as tests with testing/synctest require.
	Handler http.Handler `json:"-"`
	// Transport sends the requests to URL; nil stands for one that is as http.DefaultTransport.
	Transport http.RoundTripper `json:"-"`

	Token          string `json:"-"` // signs the requests
	EncodingAESKey string `json:"-"` // 43 letters and digits, for PushCompatible and PushSafe
	Mode           PushMode

	// OriginalID is the original ID (原始 ID) of the account, the ToUserName of pushes. The default is one that begins
	// with "gh_".
	OriginalID string
	// Concurrency is the number of pushes that are sent at a time; 0 stands for 1, so that they arrive in order. The
	// platform does not wait for one push before it sends the next. Pushes of the same user are always sent in order, save
	// for retries and [Quirks].
	Concurrency int
}

// Check returns an error if the configuration is invalid. [WithPushes] and [Server.SetPushes] panic on such a one.
func (c PushConfig) Check() error {
	_, err := newPushTarget(c)
	return err
}

// String describes the configuration in one line, without the Token, the key and the query of the URL.
func (c PushConfig) String() string {
	to := "a handler"
	if c.Handler == nil {
		to = "no URL"
		if u, err := url.Parse(c.URL); err == nil && u.Host != "" {
			to = u.Scheme + "://" + u.Host + u.EscapedPath()
		}
	}
	return fmt.Sprintf("%s pushes of %s to %s", cmp.Or(c.Mode, PushPlain), cmp.Or(c.OriginalID, defaultOriginalID), to)
}

// Format writes String for all verbs, so that none of them shows a secret.
func (c PushConfig) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns String as a log value.
func (c PushConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

const defaultOriginalID = "gh_fa4e00000000"

// pushTarget is a checked PushConfig.
type pushTarget struct {
	PushConfig
	url    *url.URL
	key    []byte       // nil in plain mode
	client *http.Client // nil with a handler
}

func newPushTarget(c PushConfig) (t *pushTarget, err error) {
	c.Mode = cmp.Or(c.Mode, PushPlain)
	c.OriginalID = cmp.Or(c.OriginalID, defaultOriginalID)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	if c.Handler != nil {
		c.URL = cmp.Or(c.URL, "http://callback.test/")
	}
	t = &pushTarget{PushConfig: c}
	t.url, err = url.Parse(c.URL)
	switch {
	case err != nil || t.url.Host == "" || t.url.Scheme != "http" && t.url.Scheme != "https":
		return nil, errors.New("the URL of pushes must begin with http:// or https://") // err has the URL, maybe a secret
	case c.Token == "":
		return nil, errors.New("pushes need a Token")
	case c.Concurrency < 0:
		return nil, errors.New("the Concurrency of pushes must not be negative")
	}
	if c.Handler == nil {
		t.client = &http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if c.Transport == nil {
			t.client.Transport = &http.Transport{
				Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: c.Concurrency, ForceAttemptHTTP2: true,
			}
		}
	}
	switch c.Mode {
	case PushPlain:
		return t, nil
	case PushCompatible, PushSafe:
		t.key, err = decodeAESKey(c.EncodingAESKey)
		return t, err
	}
	return nil, fmt.Errorf("unknown mode of pushes %q", string(c.Mode))
}

// closeIdle closes the connections that are not in use, so that no goroutine is left after the last push.
func (t *pushTarget) closeIdle() {
	if t.client != nil {
		t.client.CloseIdleConnections()
	}
}

func mustTarget(method string, c PushConfig) *pushTarget {
	t, err := newPushTarget(c)
	if err != nil {
		panic(fmt.Sprintf("wechatusertest: %s: %v", method, err))
	}
	return t
}

// WithPushes makes the account push events to a URL or a handler: when users follow, leave or scan a QR code, and what
// [Server.PushEvent] and its like are called for. [NewServer] panics on an invalid configuration. Call [Server.Close]
// at the end.
//
// The server sends pushes in the background, and calls to it do not wait for them: see [Server.WaitPushes]. A push is
// tried three times, five seconds apart by the account's clock. An attempt succeeds if the response comes within five
// seconds, has a status from 200 to 299, and is empty, "success", or a reply; in PushSafe mode, an encrypted reply.
// Redirects are not followed.
//
// https://developers.weixin.qq.com/doc/oplatform/developers/dev/push
func WithPushes(c PushConfig) Option {
	return func(config *config) { config.pushes = mustTarget("WithPushes", c) }
}

// SetPushes changes where pushes are sent, as saving the form in the platform's console does, but without verifying the
// URL: see [Server.VerifyPushURL]. Pushes that are waiting go there too. If the EncodingAESKey differs, the one before
// is the old key of [Quirks].OldAESKey. It panics on an invalid configuration.
func (s *Server) SetPushes(c PushConfig) {
	t := mustTarget("SetPushes", c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setTarget(t)
}

// ChangeAESKey changes the EncodingAESKey. With [Quirks].OldAESKey, some pushes are still encrypted with the old one.
// It panics on an invalid key, and if pushes are not encrypted.
func (s *Server) ChangeAESKey(encodingAESKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mustPush("ChangeAESKey").PushConfig
	if c.Mode == PushPlain {
		panic("wechatusertest: ChangeAESKey: pushes are not encrypted")
	}
	c.EncodingAESKey = encodingAESKey
	s.setTarget(mustTarget("ChangeAESKey", c))
}

// setTarget replaces the target of pushes. s.mu is held.
func (s *Server) setTarget(t *pushTarget) {
	if old := s.target; old != nil && old.key != nil && t.key != nil && old.EncodingAESKey != t.EncodingAESKey {
		s.oldKey, s.keyChanged = old.key, s.now()
	}
	if s.target != nil {
		s.target.closeIdle()
	}
	s.target = t
	s.wakeSender()
}

// mustPush returns the target of pushes. s.mu is held.
func (s *Server) mustPush(method string) *pushTarget {
	if s.target == nil {
		panic(fmt.Sprintf("wechatusertest: %s: the account has no URL for pushes, use WithPushes", method))
	}
	return s.target
}

// pushEvent is what a push tells.
type pushEvent struct {
	event   string
	openID  string // the user
	sender  string // FromUserName, if it is not the user
	created int64  // Unix seconds
	fields  []pushField
	xml     string // the whole push, in place of the above
}

type pushField struct{ name, value string }

func (e *pushEvent) from() string { return cmp.Or(e.sender, e.openID) }

func (e *pushEvent) field(name string) string {
	for _, f := range e.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// The events that the simulator has methods for, and their fields.
const (
	eventSubscribe    = "subscribe"
	eventUnsubscribe  = "unsubscribe"
	eventScan         = "SCAN"
	eventModified     = "user_info_modified"
	eventRevoke       = "user_authorization_revoke"
	eventCancellation = "user_authorization_cancellation"

	fieldKey    = "EventKey"
	fieldTicket = "Ticket"

	newFollowerScene = "qrscene_" // before the scene in subscribe, but not in SCAN
	platformOpenID   = "oFAKEplatform000000000000000"
)

// FollowByScan makes users follow the account by scanning a QR code with a scene, such as "123" or "shop-7". Their
// profiles have the scene. It is otherwise as [Server.Follow]. It panics on an empty scene.
//
// https://w3cschool.cn/weixinkaifawendang/w8od1qcn.html (a copy of the platform's page)
func (s *Server) FollowByScan(scene string, openIDs ...string) {
	mustHaveScene("FollowByScan", scene)
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := []pushField{
		{fieldKey, newFollowerScene + scene}, {fieldTicket, qrTicket(s.AppID, scene)},
	}
	for _, id := range openIDs {
		if u, isNew := s.followAndPush(id, fields); isNew {
			s.users[u].setScene(scene)
		}
	}
}

// Scan makes followers scan a QR code with a scene. It changes nothing, and pushes SCAN. It panics on an empty scene,
// on an openid that does not follow, and without [WithPushes].
func (s *Server) Scan(scene string, openIDs ...string) {
	mustHaveScene("Scan", scene)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustPush("Scan")
	s.mustFollow("Scan", openIDs)
	fields := []pushField{{fieldKey, scene}, {fieldTicket, qrTicket(s.AppID, scene)}}
	for _, id := range openIDs {
		s.push(pushEvent{event: eventScan, openID: id, fields: fields})
	}
}

func mustHaveScene(method, scene string) {
	if scene == "" {
		panic(fmt.Sprintf("wechatusertest: %s: empty scene", method))
	}
}

// followAndPush makes a user follow and pushes that. s.mu is held.
func (s *Server) followAndPush(openID string, fields []pushField) (u int, isNew bool) {
	u, known := s.index[openID]
	if known && s.following.has(u) {
		return u, false
	}
	u = s.follow(openID, s.now())
	s.push(pushEvent{event: eventSubscribe, openID: openID, fields: fields})
	return u, true
}

// noScene are the fields of a follow without a QR code, and of leaving.
var noScene = []pushField{{fieldKey, ""}}

// setScene sets the fields of a profile that tell how the user came. A scene that is a number of 32 bits is one, as in
// the platform's call for QR codes.
func (u *user) setScene(scene string) {
	p := Profile{}
	if u.profile != nil {
		p = *u.profile
	}
	p.SubscribeScene, p.QRScene, p.QRSceneStr = wechatuser.SceneQRCode, 0, ""
	if n, err := strconv.ParseUint(scene, 10, 32); err == nil && strconv.FormatUint(n, 10) == scene {
		p.QRScene = int64(n)
	} else {
		p.QRSceneStr = scene
	}
	u.setProfile(p)
}

// PushUserInfoModified pushes that the platform has removed risky names and pictures of users (user_info_modified). It
// panics without [WithPushes].
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
func (s *Server) PushUserInfoModified(openIDs ...string) {
	s.pushAuthorization("PushUserInfoModified", eventModified, "", openIDs)
}

// PushAuthorizationRevoke pushes that users have revoked an authorization that they gave on a web page
// (user_authorization_revoke). info is the RevokeInfo: "201" address, "202" invoice, "203" cards, "204" microphone,
// "205" name and picture, "206" location, "207" chosen pictures or videos. It panics without [WithPushes].
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
func (s *Server) PushAuthorizationRevoke(info string, openIDs ...string) {
	s.pushAuthorization("PushAuthorizationRevoke", eventRevoke, info, openIDs)
}

// PushAuthorizationCancellation pushes that users have closed their WeChat accounts (user_authorization_cancellation).
// It does not make them leave. It panics without [WithPushes].
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
func (s *Server) PushAuthorizationCancellation(openIDs ...string) {
	s.pushAuthorization("PushAuthorizationCancellation", eventCancellation, "", openIDs)
}

func (s *Server) pushAuthorization(method, event, revoked string, openIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustPush(method)
	for _, id := range openIDs {
		e := pushEvent{event: event, openID: id, sender: platformOpenID, fields: []pushField{{"OpenID", id}}}
		if u, known := s.index[id]; known && s.users[u].profile != nil && s.users[u].profile.UnionID != "" {
			e.fields = append(e.fields, pushField{"UnionID", s.users[u].profile.UnionID})
		}
		e.fields = append(e.fields, pushField{"AppID", s.AppID})
		if revoked != "" {
			e.fields = append(e.fields, pushField{"RevokeInfo", revoked})
		}
		s.push(e)
	}
}

// PushEvent pushes any event of a user. The fields are pairs of a name and a value:
//
//	srv.PushEvent(openID, "CLICK", "EventKey", "menu-1")
//
// It panics on a field without a value, and without [WithPushes].
func (s *Server) PushEvent(openID, event string, fields ...string) {
	if len(fields)%2 != 0 {
		panic(fmt.Sprintf("wechatusertest: PushEvent: the field %q has no value", fields[len(fields)-1]))
	}
	e := pushEvent{event: event, openID: openID}
	for i := 0; i < len(fields); i += 2 {
		e.fields = append(e.fields, pushField{fields[i], fields[i+1]})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustPush("PushEvent")
	s.push(e)
}

// PushXML pushes this XML as it is, signed and encrypted like other pushes: a message, or something that no platform
// should send. openID is the parameter in the URL. It panics without [WithPushes].
func (s *Server) PushXML(openID, xml string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustPush("PushXML")
	s.push(pushEvent{openID: openID, xml: xml})
}

// PushStatus says what has become of a [Push].
type PushStatus string

// The states of a push.
const (
	PushPending   PushStatus = "pending"   // not sent yet, being sent, or waiting for the next attempt
	PushDelivered PushStatus = "delivered" // answered
	PushFailed    PushStatus = "failed"    // given up after three attempts
	PushDropped   PushStatus = "dropped"   // the server was closed
)

// Push is a push of the account, and what has become of it. Printing one shows the beginning of the openid only.
type Push struct {
	Time   time.Time `json:"time"` // of the event by the account's clock, in whole seconds as in CreateTime
	OpenID string    `json:"openid"`
	Event  string    `json:"event,omitempty"`     // empty for [Server.PushXML]
	Key    string    `json:"event_key,omitempty"` // EventKey, such as "qrscene_123"

	Status   PushStatus `json:"status"`
	Attempts int        `json:"attempts"`
	// HTTPStatus is the HTTP status of the last attempt; 0 if there was no response.
	HTTPStatus int `json:"http_status,omitempty"`
	// Error says why the last attempt failed.
	Error string `json:"error,omitempty"`
	// Reply is the XML of the reply, decrypted.
	Reply string `json:"reply,omitempty"`
	// Repeated is set for a push that was sent again although it had been answered; see [Quirks].RepeatedPushes.
	Repeated bool `json:"repeated,omitempty"`
	// OldKey is set if the last attempt was encrypted with the old key; see [Quirks].OldAESKey.
	OldKey bool `json:"old_key,omitempty"`
}

// String describes the push in one line, with the beginning of the openid only.
func (p Push) String() string {
	text := []string{
		p.Time.UTC().Format(time.RFC3339), cmp.Or(p.Event, "XML"), redacted("token", p.OpenID), string(p.Status),
		"attempts=" + strconv.Itoa(p.Attempts),
	}
	if p.HTTPStatus != 0 {
		text = append(text, "http="+strconv.Itoa(p.HTTPStatus))
	}
	if p.Repeated {
		text = append(text, "repeated")
	}
	if p.OldKey {
		text = append(text, "oldkey")
	}
	if p.Error != "" { // which may quote the panic of a handler
		reason := p.Error
		if p.OpenID != "" {
			reason = strings.ReplaceAll(reason, p.OpenID, redacted("token", p.OpenID))
		}
		text = append(text, strconv.Quote(reason))
	}
	return strings.Join(text, " ")
}

// Format writes String for all verbs, so that none of them shows the openid.
func (p Push) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue returns String as a log value.
func (p Push) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Pushes returns the last pushes, oldest first. The server keeps 1,000; [WithRequestLog] changes this.
// [Server.PushTotals] counts all of them.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Push, 0, len(s.sent))
	for _, p := range s.sent {
		list = append(list, p.record())
	}
	return list
}

// PushTotals counts pushes by what has become of them.
type PushTotals struct {
	Pending   int `json:"pending"`
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
	Dropped   int `json:"dropped"`
	Attempts  int `json:"attempts"` // of all pushes
}

// PushTotals counts the pushes since the start.
func (s *Server) PushTotals() PushTotals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushTotals
}
