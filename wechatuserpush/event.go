package wechatuserpush

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Event is one push. Use a type switch to get at its fields: it is a [*Subscribe], [*Unsubscribe], [*Scan],
// [*UserInfoModified], [*AuthorizationRevoke] or [*AuthorizationCancellation]; for the URL of a third-party platform a
// [*VerifyTicket], [*Authorized], [*UpdateAuthorized] or [*Unauthorized]; or, for everything else, a [*Raw].
//
// An event that is printed or logged shows its kind and its time, and no openid or ticket.
type Event interface {
	// PushHeader returns the fields that all pushes have.
	PushHeader() Header
}

// Header holds the fields that all pushes have.
type Header struct {
	ToUserName   string    // the original ID of the account, gh_…; empty for the events of a third-party platform
	FromUserName string    // the openid of the user; for some events, a service of the platform
	CreateTime   time.Time // in whole seconds
	MsgType      string    // "event", "text", …; empty for the events of a third-party platform
	Event        string    // the name of the event, such as "subscribe" or "authorized"; empty for a message
	XML          []byte    // the whole push, decrypted
}

// PushHeader implements [Event].
func (h Header) PushHeader() Header { return h }

// String returns the kind and the time of the push, without an openid. All events inherit it.
func (h Header) String() string {
	kind := h.Event
	if kind == "" {
		kind = h.MsgType
	}
	return fmt.Sprintf("wechatuserpush.Event(%q, %s)", kind, h.CreateTime.UTC().Format(time.RFC3339))
}

// Format prints the result of String for every verb.
func (h Header) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// LogValue returns the result of String.
func (h Header) LogValue() slog.Value { return slog.StringValue(h.String()) }

// Subscribe says that somebody has followed the account.
//
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes
type Subscribe struct {
	Header
	Scene  string // the scene of the QR code that was scanned, without "qrscene_"; empty if there was none
	Ticket string // the ticket of that QR code
}

// Unsubscribe says that somebody has left the account. What is stored of that user has to be deleted then.
type Unsubscribe struct{ Header }

// Scan says that a follower has scanned a QR code with a scene.
type Scan struct {
	Header
	Scene  string
	Ticket string
}

// UserInfoModified says that the platform has removed a user's name or picture, because of its content. Delete what is
// stored of them, or fetch them again.
//
// FromUserName is a service of the platform; OpenID is the user. Developers have reported pushes without an OpenID.
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type UserInfoModified struct {
	Header
	OpenID  string
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account
}

// AuthorizationRevoke says that a user has withdrawn an authorization. What was stored because of it has to be deleted.
//
// FromUserName is a service of the platform; OpenID is the user.
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type AuthorizationRevoke struct {
	Header
	OpenID  string
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account

	// RevokeInfo says what was withdrawn: "201" the address, "202" invoices, "203" cards and coupons, "204" the
	// microphone, "205" name and picture, "206" the location, "207" chosen pictures or videos.
	RevokeInfo string
}

// AuthorizationCancellation says that a user has closed the WeChat account. What is stored of that user has to be
// deleted as the law says.
//
// FromUserName is a service of the platform; OpenID is the user.
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type AuthorizationCancellation struct {
	Header
	OpenID  string
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account
}

// VerifyTicket brings a third-party platform its component_verify_ticket, every 10 minutes. A ticket is valid for 12
// hours, and as secret as a password. Its event is "component_verify_ticket".
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/component_verify_ticket.html
type VerifyTicket struct {
	Header
	AppID  string // of the third-party platform
	Ticket string
}

// Authorized says that an account has authorized a third-party platform.
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type Authorized struct {
	Header
	AppID             string // of the third-party platform
	AuthorizerAppID   string // of the account
	AuthorizationCode string // is exchanged for the account's tokens
	PreAuthCode       string

	// AuthorizationCodeExpiredTime is as the platform sends it, 0 if it sent none. Its page says "in seconds" and not
	// since when.
	AuthorizationCodeExpiredTime int64
}

// UpdateAuthorized says that an account has changed what it lets a third-party platform do. Its event is
// "updateauthorized".
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type UpdateAuthorized struct {
	Header
	AppID                        string // of the third-party platform
	AuthorizerAppID              string // of the account
	AuthorizationCode            string // is exchanged for the account's tokens
	PreAuthCode                  string
	AuthorizationCodeExpiredTime int64 // see Authorized
}

// Unauthorized says that an account no longer authorizes a third-party platform.
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type Unauthorized struct {
	Header
	AppID           string // of the third-party platform
	AuthorizerAppID string // of the account
}

// Raw is every other push; its XML has all fields.
type Raw struct{ Header }
