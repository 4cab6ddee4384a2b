package wechatuserpush

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Event is the content of a push: an event or a message. Use a type switch to access its fields. The dynamic type is
// [*Subscribe], [*Unsubscribe], [*Scan], [*UserInfoModified], [*AuthorizationRevoke] or [*AuthorizationCancellation];
// at the URL of a third-party platform also [*VerifyTicket], [*Authorized], [*UpdateAuthorized] or [*Unauthorized]; and
// [*Raw] for everything else, such as messages.
//
// An event that is printed or logged shows its kind and its time, but no openid and no ticket.
//
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes
type Event interface {
	// PushHeader returns the fields that all events have.
	PushHeader() Header
}

// Header holds the fields that all events have.
type Header struct {
	ToUserName   string    // the original ID (原始 ID) of the account, gh_…; empty for events about authorizations
	FromUserName string    // the openid of the user; for some events, that of a service of the platform
	CreateTime   time.Time // in whole seconds; the zero time if the push has none
	MsgType      string    // "event", "text", …; empty for events about authorizations
	Event        string    // the name of the event, such as "subscribe" or "authorized"; empty for a message
	XML          []byte    // the whole XML, decrypted
}

// PushHeader implements [Event].
func (h Header) PushHeader() Header { return h }

// String returns the kind and the time of the event, without an openid. All types of events inherit it.
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

// Subscribe reports that a user has followed the account (subscribe).
//
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes
type Subscribe struct {
	Header
	Scene  string // the scene of the QR code that was scanned, without the prefix "qrscene_"; empty if there was none
	Ticket string // the ticket of that QR code
}

// Unsubscribe reports that a user has unfollowed the account (unsubscribe). The platform requires the account to delete
// the data that it stores about the user.
//
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes
type Unsubscribe struct{ Header }

// Scan reports that a user who follows the account already has scanned a QR code with a scene (SCAN).
//
// https://developers.weixin.qq.com/doc/service/guide/product/message/Receiving_event_pushes
type Scan struct {
	Header
	Scene  string // the scene of the QR code
	Ticket string // the ticket of the QR code
}

// UserInfoModified reports that the platform has removed a user's nickname or avatar because of its content
// (user_info_modified). Delete the stored profile or fetch it again.
//
// FromUserName is a service of the platform; OpenID is the user. Developers have reported pushes without an OpenID.
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type UserInfoModified struct {
	Header
	OpenID  string // of the user
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account
}

// AuthorizationRevoke reports that a user has withdrawn an authorization that was granted on a web page
// (user_authorization_revoke). The platform requires the account to delete the data that it got through it.
//
// FromUserName is a service of the platform; OpenID is the user.
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type AuthorizationRevoke struct {
	Header
	OpenID  string // of the user
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account

	// RevokeInfo says what was withdrawn: "201" the address, "202" invoices, "203" cards and coupons, "204" the
	// microphone, "205" nickname and avatar, "206" the location, "207" chosen pictures or videos.
	RevokeInfo string
}

// AuthorizationCancellation reports that a user has closed their WeChat account (user_authorization_cancellation). The
// platform requires the account to delete the data that it stores about the user, as the law demands.
//
// FromUserName is a service of the platform; OpenID is the user.
//
// https://developers.weixin.qq.com/doc/service/guide/h5/authorization_change.html
type AuthorizationCancellation struct {
	Header
	OpenID  string // of the user
	UnionID string // empty if the account is bound to no Open Platform account
	AppID   string // of the account
}

// VerifyTicket delivers the component_verify_ticket of a third-party platform (component_verify_ticket), every 10
// minutes. A ticket is valid for 12 hours. Keep it as secret as a password.
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/component_verify_ticket.html
type VerifyTicket struct {
	Header
	AppID  string // of the third-party platform
	Ticket string // the component_verify_ticket
}

// Authorized reports that an account has authorized a third-party platform (authorized).
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type Authorized struct {
	Header
	AppID             string // of the third-party platform
	AuthorizerAppID   string // of the account
	AuthorizationCode string // to exchange for the account's tokens
	PreAuthCode       string // the code that the authorization page was opened with

	// AuthorizationCodeExpiredTime is the number that the platform sends, or 0 if it sends none. The platform's page
	// says that it is in seconds, but not whether it is a duration or a Unix time.
	AuthorizationCodeExpiredTime int64
}

// UpdateAuthorized reports that an account has changed what a third-party platform is authorized to do
// (updateauthorized).
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type UpdateAuthorized struct {
	Header
	AppID                        string // of the third-party platform
	AuthorizerAppID              string // of the account
	AuthorizationCode            string // to exchange for the account's tokens
	PreAuthCode                  string // the code that the authorization page was opened with
	AuthorizationCodeExpiredTime int64  // see [Authorized]
}

// Unauthorized reports that an account has withdrawn its authorization of a third-party platform (unauthorized).
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
type Unauthorized struct {
	Header
	AppID           string // of the third-party platform
	AuthorizerAppID string // of the account
}

// Raw is any other event or message. Its XML has all fields.
type Raw struct{ Header }
