package wechatusertest

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/wechatuser/wechatuser"
)

// reply is an HTTP answer.
type reply struct {
	status      int
	contentType string
	body        bytes.Reader
}

func newReply(status int, contentType string, body []byte) *reply {
	rep := &reply{status: status, contentType: contentType}
	rep.body.Reset(body)
	return rep
}

func (rep *reply) header() http.Header {
	return http.Header{
		"Content-Type":   {rep.contentType},
		"Content-Length": {strconv.Itoa(rep.body.Len())},
	}
}

// codeInvalidURL is what the platform answers on a path that it does not have. It is in no list of these APIs.
const codeInvalidURL wechatuser.Code = 40066

// refuse writes the answer for an errcode, and remembers it.
func (s *Server) refuse(c *call, code wechatuser.Code) {
	rid := s.newRID(c.arrived)
	text := code.Text()
	switch code {
	case codeInvalidURL:
		text = "invalid url"
	case wechatuser.CodeIPNotAllowed:
		text = fmt.Sprintf("invalid ip %s ipv6 ::ffff:%[1]s, not in whitelist", c.ip)
	}
	if c.route != nil && c.route.hint {
		text += " hint: [" + s.newHint() + "]"
	}
	text += " rid: " + rid
	c.out.b = c.out.b[:0]
	c.out.lit(`{"errcode":`).int(int(code)).lit(`,"errmsg":`).str(text)
	if code == wechatuser.CodeSomeOpenIDsFailed {
		c.out.lit(`,"fail_openid_list":`).strs(c.failed)
	}
	c.out.lit(`}`)
	s.remember(c, rid)
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
