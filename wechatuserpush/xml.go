package wechatuserpush

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// fields holds the known fields of a push by name, with surrounding white space removed.
type fields map[string]string

// known has the names of the fields that this package reads. Other elements may have any content and may be repeated.
var known = map[string]bool{
	"Encrypt": true, "ToUserName": true, "FromUserName": true, "CreateTime": true, "MsgType": true, "Event": true,
	"EventKey": true, "Ticket": true, "MsgId": true, "MsgID": true,
	"OpenID": true, "UnionID": true, "AppID": true, "RevokeInfo": true,
	"AppId": true, "InfoType": true, "ComponentVerifyTicket": true, "AuthorizerAppid": true,
	"AuthorizationCode": true, "AuthorizationCodeExpiredTime": true, "PreAuthCode": true,
}

// Limits of the XML of a push. The platform's largest pushes have a few hundred elements in four levels.
const (
	maxDepth    = 16
	maxElements = 4096
)

// Reasons why a text is not the XML of a push. They quote nothing of it.
var (
	errNotXML    = errors.New("the body is not well-formed XML in UTF-8")
	errRoot      = errors.New("the body is not one element xml")
	errDirective = errors.New("the XML has a DOCTYPE, an entity or a processing instruction")
	errTooMuch   = errors.New("the XML has too many elements or levels")
	errField     = errors.New("a field of the XML occurs twice, or has attributes, a namespace or child elements")
)

// parseFields reads the known fields of a push from the children of the root element. It refuses what the platform does
// not send and what parsers interpret differently: a DOCTYPE, custom entities, a field that occurs twice.
func parseFields(text []byte) (fields, error) {
	p := fieldParser{dec: xml.NewDecoder(bytes.NewReader(text)), found: fields{}}
	for {
		// Token checks that the text is UTF-8 and declared as such, that elements are closed in order, and that it has
		// no entities but the five predefined ones.
		token, err := p.dec.Token()
		switch {
		case errors.Is(err, io.EOF) && p.closed:
			return p.found, nil
		case err != nil:
			return nil, errNotXML
		}
		if err := p.add(token); err != nil {
			return nil, err
		}
	}
}

// fieldParser collects fields from tokens.
type fieldParser struct {
	dec      *xml.Decoder
	found    fields
	depth    int
	elements int
	started  bool // a token was seen
	closed   bool // the root was closed
	field    string
	text     []byte
}

func (p *fieldParser) add(token xml.Token) error {
	first := !p.started
	p.started = true
	switch token := token.(type) {
	case xml.ProcInst:
		if !first || token.Target != "xml" {
			return errDirective
		}
	case xml.Directive:
		return errDirective
	case xml.StartElement:
		return p.open(token)
	case xml.EndElement:
		if p.depth == 2 && p.field != "" {
			p.found[p.field] = string(bytes.TrimSpace(p.text))
			p.field, p.text = "", p.text[:0]
		}
		p.depth--
		p.closed = p.depth == 0
	case xml.CharData:
		if p.depth == 0 && len(bytes.TrimSpace(token)) > 0 {
			return errRoot
		}
		if p.field != "" {
			p.text = append(p.text, token...)
		}
	}
	return nil
}

func (p *fieldParser) open(start xml.StartElement) error {
	p.depth++
	p.elements++
	switch {
	case p.depth > maxDepth, p.elements > maxElements:
		return errTooMuch
	case p.depth == 1 && (p.closed || start.Name != xml.Name{Local: "xml"}):
		return errRoot
	case p.field != "":
		return errField
	case p.depth == 2 && known[start.Name.Local]:
		_, twice := p.found[start.Name.Local]
		if twice || start.Name.Space != "" || len(start.Attr) > 0 {
			return errField
		}
		p.field = start.Name.Local
	}
	return nil
}

// errIncomplete and errCreateTime are errors in well-formed XML.
var (
	errIncomplete = errors.New("the XML has neither a MsgType nor an InfoType")
	errCreateTime = errors.New("CreateTime is not a number of seconds")
)

// newEvent returns the event with these fields. text is the whole XML.
func newEvent(f fields, text []byte) (Event, error) {
	h := Header{
		ToUserName: f["ToUserName"], FromUserName: f["FromUserName"], MsgType: f["MsgType"], Event: f["Event"],
		XML: text,
	}
	if f["CreateTime"] != "" {
		seconds, err := strconv.ParseUint(f["CreateTime"], 10, 36) // until the year 4147
		if err != nil {
			return nil, errCreateTime
		}
		h.CreateTime = time.Unix(int64(seconds), 0)
	}
	switch {
	case h.MsgType != "":
	case f["InfoType"] != "":
		h.Event = f["InfoType"]
		return newPlatformEvent(f, h), nil
	default:
		return nil, errIncomplete
	}
	if !strings.EqualFold(h.MsgType, "event") { // a page of the platform writes "Event"
		return &Raw{h}, nil
	}
	switch h.Event {
	case "subscribe":
		scene, found := strings.CutPrefix(f["EventKey"], "qrscene_")
		if !found {
			scene = "" // the key is not a scene; the XML has it
		}
		return &Subscribe{h, scene, f["Ticket"]}, nil
	case "unsubscribe":
		return &Unsubscribe{h}, nil
	case "SCAN":
		return &Scan{h, f["EventKey"], f["Ticket"]}, nil
	case "user_info_modified":
		return &UserInfoModified{h, f["OpenID"], f["UnionID"], f["AppID"]}, nil
	case "user_authorization_revoke":
		return &AuthorizationRevoke{h, f["OpenID"], f["UnionID"], f["AppID"], f["RevokeInfo"]}, nil
	case "user_authorization_cancellation":
		return &AuthorizationCancellation{h, f["OpenID"], f["UnionID"], f["AppID"]}, nil
	}
	return &Raw{h}, nil
}

// newPlatformEvent returns an event that a third-party platform receives about its own authorizations.
func newPlatformEvent(f fields, h Header) Event {
	expired, _ := strconv.ParseInt(f["AuthorizationCodeExpiredTime"], 10, 64)
	switch h.Event {
	case "component_verify_ticket":
		return &VerifyTicket{h, f["AppId"], f["ComponentVerifyTicket"]}
	case "authorized":
		return &Authorized{h, f["AppId"], f["AuthorizerAppid"], f["AuthorizationCode"], f["PreAuthCode"], expired}
	case "updateauthorized":
		return &UpdateAuthorized{h, f["AppId"], f["AuthorizerAppid"], f["AuthorizationCode"], f["PreAuthCode"], expired}
	case "unauthorized":
		return &Unauthorized{h, f["AppId"], f["AuthorizerAppid"]}
	}
	return &Raw{h}
}

// secrets returns the values of a push that no log may show.
func (f fields) secrets() (values []string) {
	for _, name := range []string{
		"FromUserName", "OpenID", "UnionID", "Ticket", "ComponentVerifyTicket", "AuthorizationCode", "PreAuthCode",
	} {
		if f[name] != "" {
			values = append(values, f[name])
		}
	}
	return values
}

// identity returns the values that identify a push; its repeats have the same values. The platform's documentation
// names MsgId for messages, and FromUserName and CreateTime for events. These two are not enough: events about
// authorizations have the same FromUserName for all users, and a user can cause two events in the same second.
func (f fields) identity() []string {
	values := make([]string, 0, 12)
	for _, name := range []string{
		"ToUserName", "FromUserName", "CreateTime", "MsgType", "Event", "EventKey", "MsgId", "MsgID", "OpenID",
		"RevokeInfo", "InfoType", "AuthorizerAppid",
	} {
		values = append(values, f[name])
	}
	return values
}
