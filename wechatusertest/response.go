package wechatusertest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"testing/iotest"

	"github.com/wechatuser/wechatuser"
)

// response is an HTTP response.
type response struct {
	status      int
	contentType string
	body        []byte
	cut         bool // the connection ends in the middle of the body
}

func (resp *response) header() http.Header {
	return http.Header{
		"Content-Type":   {resp.contentType},
		"Content-Length": {strconv.Itoa(len(resp.body))},
	}
}

func (resp *response) reader() io.Reader {
	if resp.cut {
		return io.MultiReader(bytes.NewReader(resp.body[:len(resp.body)/2]), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	return bytes.NewReader(resp.body)
}

// Codes that package wechatuser does not define.
const (
	codeInvalidURL      wechatuser.Code = 40066 // unknown path
	codeInvalidCheckURL wechatuser.Code = 40201 // callback/check for an account without a callback URL
	codeInvalidAction   wechatuser.Code = 40202
	codeInvalidOperator wechatuser.Code = 40203
)

// errmsgTexts holds the errmsg of these codes.
var errmsgTexts = map[wechatuser.Code]string{
	codeInvalidURL: "invalid url", codeInvalidCheckURL: "invalid check url",
	codeInvalidAction: "invalid check action", codeInvalidOperator: "invalid check operator", codeArgsLimit: "args count exceed count limit",
}

// writeError writes the response for a call's errcode, and records it for rid/get.
func (s *Server) writeError(c *call) {
	c.rid = s.newRID(c.arrived)
	c.out.b = c.out.b[:0]
	c.out.lit(`{"errcode":`).int(int(c.code)).lit(`,"errmsg":`).message(s.errmsg(c))
	if c.code == wechatuser.CodeSomeOpenIDsFailed {
		c.out.lit(`,"fail_openid_list":`).strs(c.failed)
	}
	c.out.lit(`}`)
	s.recordFailure(c)
}

// errmsg returns the text of a failed call with its request ids, in one of the forms that the platform has used.
func (s *Server) errmsg(c *call) string {
	text := cmp.Or(c.code.Text(), errmsgTexts[c.code])
	if c.code == wechatuser.CodeIPNotAllowed {
		text = fmt.Sprintf("invalid ip %s ipv6 %s, not in whitelist", c.ip, ipv6(c.ip))
	}
	if c.code == wechatuser.CodeClientIPNotRegistered {
		text += " requestIP: " + c.ip
	}
	ofToken := c.code.Is(wechatuser.ErrInvalidToken)
	if ofToken && c.code == wechatuser.CodeInvalidCredential || c.code == wechatuser.CodeDailyQuotaExceeded && c.path == tokenPath {
		text += ", could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
	}
	form := 0
	if c.route != nil && c.route.hint && !ofToken {
		form = 1
	}
	if c.rng.chance("ErrmsgForms", s.cfg.quirks.ErrmsgForms) {
		form = 2 + c.rng.stream("form").IntN(6)
	}
	switch form {
	case 1:
		return text + " hint: [" + s.newHint() + "] rid: " + c.rid
	case 2:
		return text + ", rid: " + c.rid
	case 3:
		return text + " hints: [" + s.newHint() + "!]"
	case 4:
		return text + ", hints: [ req_id: " + s.newHint() + " ]"
	case 5:
		return text + " hint: [" + s.newHint() + "]"
	case 6:
		return " rid: " + c.rid
	case 7:
		return text
	}
	return text + " rid: " + c.rid
}

// ipv6 returns the IPv6 form of an address, which the platform writes beside the address itself.
func ipv6(ip string) string {
	if addr, err := netip.ParseAddr(ip); err == nil && addr.Is4() {
		return "::ffff:" + ip
	}
	return ip
}
