package wechatusertest

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"testing/iotest"
	"time"

	"github.com/wechatuser/wechatuser"
)

// reply is an HTTP answer.
type reply struct {
	status      int
	contentType string
	body        []byte
	cut         bool // breaks off in the middle of the body
}

func (rep *reply) header() http.Header {
	return http.Header{
		"Content-Type":   {rep.contentType},
		"Content-Length": {strconv.Itoa(len(rep.body))},
	}
}

func (rep *reply) reader() io.Reader {
	if rep.cut {
		return io.MultiReader(bytes.NewReader(rep.body[:len(rep.body)/2]), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	return bytes.NewReader(rep.body)
}

// Codes that are in no list of the client's APIs.
const (
	codeInvalidURL      wechatuser.Code = 40066 // a path that the platform does not have
	codeInvalidCheckURL wechatuser.Code = 40201 // callback/check of an account without a callback URL
	codeInvalidAction   wechatuser.Code = 40202
	codeInvalidOperator wechatuser.Code = 40203
)

// texts are the errmsg of these.
var texts = map[wechatuser.Code]string{
	codeInvalidURL: "invalid url", codeInvalidCheckURL: "invalid check url",
	codeInvalidAction: "invalid check action", codeInvalidOperator: "invalid check operator",
}

// refuse writes the answer for a call's errcode, and remembers it.
func (s *Server) refuse(c *call) {
	c.rid = s.newRID(c.arrived)
	c.out.b = c.out.b[:0]
	c.out.lit(`{"errcode":`).int(int(c.code)).lit(`,"errmsg":`).str(s.errmsg(c))
	if c.code == wechatuser.CodeSomeOpenIDsFailed {
		c.out.lit(`,"fail_openid_list":`).strs(c.failed)
	}
	c.out.lit(`}`)
	s.remember(c)
}

// errmsg is the text of a refusal with its request ids, in one of the forms that the platform has used.
func (s *Server) errmsg(c *call) string {
	text := cmp.Or(c.code.Text(), texts[c.code])
	if c.code == wechatuser.CodeIPNotAllowed {
		text = fmt.Sprintf("invalid ip %s ipv6 %s, not in whitelist", c.ip, ipv6(c.ip))
	}
	form := 0
	if c.route != nil && c.route.hint {
		form = 1
	}
	if c.dice.chance("ErrmsgForms", s.cfg.quirks.ErrmsgForms) {
		form = 2 + c.dice.about("form").IntN(6)
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

// ipv6 writes an address as the platform does beside the one that it has.
func ipv6(ip string) string {
	if addr, err := netip.ParseAddr(ip); err == nil && addr.Is4() {
		return "::ffff:" + ip
	}
	return ip
}

// newRand is seeded with the account, so that a test that is run again gets the same tokens and rids.
func newRand(appID, secret string) *rand.Rand {
	h := fnv.New128a()
	_, _ = h.Write([]byte(appID + "\n" + secret)) // a hash never fails
	var sum [16]byte
	h.Sum(sum[:0])
	return rand.New(rand.NewChaCha8([32]byte(append(sum[:], sum[:]...))))
}

// newRID makes a request id, whose first group is the time.
func (s *Server) newRID(t time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(t.Unix()), s.rand.Uint32(), s.rand.Uint32())
}

// newHint makes the older kind of request id, 16 characters such as "UhEbuMH0k-xzFleA".
func (s *Server) newHint() string { return s.randomText(9, 62) + "-" + s.randomText(6, 62) }

// randomText is n of the first so many characters that tokens are made of.
func (s *Server) randomText(n, alphabet int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = tokenAlphabet[s.rand.IntN(alphabet)]
	}
	return string(b)
}
