package wechatuserpush

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFields(t *testing.T) {
	found, err := parseFields([]byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>" +
		"<FromUserName><![CDATA[o<1>]]></FromUserName><CreateTime> 1413192605 </CreateTime>" +
		"<Event>a&amp;b<!-- c -->c</Event><Other a=\"b\"><Event>inner</Event></Other><Other/><MsgType/></xml>\n"))
	require.NoError(t, err)
	assert.Equal(t, fields{"FromUserName": "o<1>", "CreateTime": "1413192605", "Event": "a&bc", "MsgType": ""}, found)
}

func TestXMLThatThePlatformDoesNotSend(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":            {"", errNotXML},
		"text":             {"success", errRoot},
		"text after":       {"<xml></xml>x", errRoot},
		"two roots":        {"<xml></xml><xml></xml>", errRoot},
		"other root":       {"<html></html>", errRoot},
		"root in a space":  {`<xml xmlns="urn:x"></xml>`, errRoot},
		"cut":              {"<xml><Event>a</Event>", errNotXML},
		"crossed":          {"<xml><Event>a</xml></Event>", errNotXML},
		"NUL":              {"<xml><Event>\x00</Event></xml>", errNotXML},
		"not UTF-8":        {"<xml><Event>\xff</Event></xml>", errNotXML},
		"GBK":              {`<?xml version="1.0" encoding="GBK"?><xml></xml>`, errNotXML},
		"UTF-16":           {"\xff\xfe<\x00x\x00", errNotXML},
		"entity":           {"<xml><Event>&a;</Event></xml>", errNotXML},
		"DOCTYPE":          {"<!DOCTYPE xml><xml></xml>", errDirective},
		"entity bomb":      {entityBomb, errDirective},
		"external entity":  {`<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml>&a;</xml>`, errDirective},
		"instruction":      {"<xml><?php x?></xml>", errDirective},
		"late declaration": {`<xml></xml><?xml version="1.0"?>`, errDirective},
		"field twice":      {"<xml><Event>a</Event><Event>a</Event></xml>", errField},
		"with attributes":  {`<xml><Encrypt a="b">a</Encrypt></xml>`, errField},
		"in a space":       {`<xml><Encrypt xmlns="urn:x">a</Encrypt></xml>`, errField},
		"with a prefix":    {`<xml><a:Encrypt>a</a:Encrypt></xml>`, errField},
		"with elements":    {`<xml><Encrypt>a<b>c</b></Encrypt></xml>`, errField},
		"deep":             {"<xml>" + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</xml>", errTooMuch},
		"many":             {"<xml>" + strings.Repeat("<a/>", 5000) + "</xml>", errTooMuch},
	} {
		_, err := parseFields([]byte(c.text))
		assert.Equal(t, c.want, err, name)
	}
}

// entityBomb would be 10 GB long.
const entityBomb = `<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">` +
	`<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><xml><Event>&c;</Event></xml>`

// The pushes of the platform's pages.
func TestEvents(t *testing.T) {
	const from, created = "oFAKEfake-0000000000000000001", 1413192605
	head := func(kind, name string) Header {
		return Header{
			ToUserName: "gh_fake", FromUserName: from, CreateTime: time.Unix(created, 0), MsgType: kind, Event: name,
		}
	}
	platform := func(name string) Header { return Header{CreateTime: time.Unix(created, 0), Event: name} }
	for _, c := range []struct {
		more string // after the usual fields, or all of them
		want Event
	}{
		{"<MsgType>event</MsgType><Event>subscribe</Event>", &Subscribe{head("event", "subscribe"), "", ""}},
		{
			"<MsgType>event</MsgType><Event>subscribe</Event><EventKey></EventKey>",
			&Subscribe{head("event", "subscribe"), "", ""},
		},
		{
			"<MsgType>event</MsgType><Event>subscribe</Event><EventKey>qrscene_123123</EventKey>" +
				"<Ticket>TICKET</Ticket>",
			&Subscribe{head("event", "subscribe"), "123123", "TICKET"},
		},
		{
			"<MsgType>event</MsgType><Event>subscribe</Event><EventKey>other_1</EventKey>",
			&Subscribe{head("event", "subscribe"), "", ""},
		},
		{"<MsgType>event</MsgType><Event>unsubscribe</Event>", &Unsubscribe{head("event", "unsubscribe")}},
		{
			"<MsgType>event</MsgType><Event>SCAN</Event><EventKey>SCENE_VALUE</EventKey><Ticket>TICKET</Ticket>",
			&Scan{head("event", "SCAN"), "SCENE_VALUE", "TICKET"},
		},
		{
			"<MsgType>event</MsgType><Event>user_info_modified</Event><OpenID>o1</OpenID><AppID>wx1</AppID>",
			&UserInfoModified{head("event", "user_info_modified"), "o1", "", "wx1"},
		},
		{
			"<MsgType>Event</MsgType><Event>user_authorization_revoke</Event><OpenID>o1</OpenID><UnionID>u1</UnionID>" +
				"<AppID>wx1</AppID><RevokeInfo><![CDATA[201]]></RevokeInfo>",
			&AuthorizationRevoke{head("Event", "user_authorization_revoke"), "o1", "u1", "wx1", "201"},
		},
		{
			"<MsgType>event</MsgType><Event>user_authorization_cancellation</Event><OpenID>o1</OpenID>" +
				"<AppID>wx1</AppID>",
			&AuthorizationCancellation{head("event", "user_authorization_cancellation"), "o1", "", "wx1"},
		},
		{"<MsgType>event</MsgType><Event>CLICK</Event><EventKey>a</EventKey>", &Raw{head("event", "CLICK")}},
		{"<MsgType>text</MsgType><Content>hi</Content><MsgId>1</MsgId>", &Raw{head("text", "")}},
		{
			"<xml><AppId>wx1</AppId><CreateTime>1413192605 </CreateTime><InfoType>component_verify_ticket</InfoType>" +
				"<ComponentVerifyTicket>some_verify_ticket</ComponentVerifyTicket></xml>",
			&VerifyTicket{platform("component_verify_ticket"), "wx1", "some_verify_ticket"},
		},
		{
			"<xml><AppId>wx1</AppId><CreateTime>1413192605</CreateTime><InfoType>authorized</InfoType>" +
				"<AuthorizerAppid>wx2</AuthorizerAppid><AuthorizationCode>code</AuthorizationCode>" +
				"<AuthorizationCodeExpiredTime>600</AuthorizationCodeExpiredTime><PreAuthCode>pre</PreAuthCode></xml>",
			&Authorized{platform("authorized"), "wx1", "wx2", "code", "pre", 600},
		},
		{
			"<xml><AppId>wx1</AppId><CreateTime>1413192605</CreateTime><InfoType>updateauthorized</InfoType>" +
				"<AuthorizerAppid>wx2</AuthorizerAppid><AuthorizationCode>code</AuthorizationCode>" +
				"<AuthorizationCodeExpiredTime>soon</AuthorizationCodeExpiredTime><PreAuthCode>pre</PreAuthCode></xml>",
			&UpdateAuthorized{platform("updateauthorized"), "wx1", "wx2", "code", "pre", 0},
		},
		{
			"<xml><AppId>wx1</AppId><CreateTime>1413192605</CreateTime><InfoType>unauthorized</InfoType>" +
				"<AuthorizerAppid>wx2</AuthorizerAppid></xml>",
			&Unauthorized{platform("unauthorized"), "wx1", "wx2"},
		},
		{
			"<xml><AppId>wx1</AppId><CreateTime>1413192605</CreateTime>" +
				"<InfoType>notify_third_fasteregister</InfoType></xml>",
			&Raw{platform("notify_third_fasteregister")},
		},
	} {
		text := c.more
		if !strings.HasPrefix(text, "<xml>") {
			text = fmt.Sprintf("<xml><ToUserName>gh_fake</ToUserName><FromUserName>%s</FromUserName>"+
				"<CreateTime>%d</CreateTime>%s</xml>", from, created, c.more)
		}
		found, err := parseFields([]byte(text))
		require.NoError(t, err, text)
		got, err := newEvent(found, nil)
		require.NoError(t, err, text)
		assert.True(t, assert.ObjectsAreEqual(c.want, got), "%s\n%#q", text, got)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got.PushHeader()), "SENTINEL")
	}
}

func TestPushesWithoutSense(t *testing.T) {
	for text, want := range map[string]error{
		"<xml></xml>":                         errIncomplete,
		"<xml><Event>subscribe</Event></xml>": errIncomplete,
		"<xml><MsgType>text</MsgType><CreateTime>-1</CreateTime></xml>":             errCreateTime,
		"<xml><MsgType>text</MsgType><CreateTime>soon</CreateTime></xml>":           errCreateTime,
		"<xml><MsgType>text</MsgType><CreateTime>9e9</CreateTime></xml>":            errCreateTime,
		"<xml><MsgType>text</MsgType><CreateTime>99999999999999</CreateTime></xml>": errCreateTime,
	} {
		found, err := parseFields([]byte(text))
		require.NoError(t, err)
		_, err = newEvent(found, nil)
		assert.Equal(t, want, err, text)
	}
}
