// Package wechatuserpush receives what WeChat pushes to a server: that somebody has followed the account or left it, and
// all other messages and events.
package wechatuserpush

import "time"

// Event is one push. Use a type switch to get at its fields: it is a [*Subscribe], [*Unsubscribe], [*Scan],
// ... or, for everything else, a [*Raw].
type Event interface {
	// PushHeader returns the fields that all pushes have.
	PushHeader() Header
}

// Header holds the fields that all pushes have.
type Header struct {
	ToUserName   string    // the original ID of the account, gh_…
	FromUserName string    // the openid of the user; for some events, a service of the platform
	CreateTime   time.Time // in whole seconds
	MsgType      string    // "event", "text", …
	Event        string    // the name of the event, such as "subscribe"; empty for a message
	XML          []byte    // the whole push, decrypted
}

// PushHeader implements [Event].
func (h Header) PushHeader() Header { return h }

// Subscribe says that somebody has followed the account.
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

// Raw is every other push; its XML has all fields.
type Raw struct{ Header }
