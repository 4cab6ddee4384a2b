package wechatusertest

import (
	"fmt"
	"regexp"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	maxFailures     = 1000 // kept for rid/get
	maxFailureBody  = 4 << 10
	failureLifetime = 7 * 24 * time.Hour
)

// failures holds the last failed calls, for rid/get.
type failures struct {
	byRID map[string]*failure
	rids  []string // oldest first
}

type failure struct {
	at             time.Time
	cost           time.Duration
	query          string
	body, response string
	ip             string
}

func (s *Server) recordFailure(c *call) {
	f := &failure{
		at: c.arrived, cost: c.now.Sub(c.arrived), ip: c.ip,
		query: redactedQuery(c.query), response: string(c.out.b),
	}
	if !secretText.Match(c.body) {
		f.body = string(c.body[:min(len(c.body), maxFailureBody)])
	}
	if s.byRID == nil {
		s.byRID = make(map[string]*failure)
	}
	s.byRID[c.rid] = f
	s.rids = append(s.rids, c.rid)
	if len(s.rids) > maxFailures {
		delete(s.byRID, s.rids[0])
		s.rids = s.rids[1:]
	}
}

// newRID returns a new request id. Its first group is the time.
func (s *Server) newRID(t time.Time) string {
	return fmt.Sprintf("%08x-%08x-%08x", uint32(t.Unix()), s.rand.Uint32(), s.rand.Uint32())
}

// newHint returns a request id of the older kind, 16 characters such as "UhEbuMH0k-xzFleA".
func (s *Server) newHint() string { return s.randomText(9, 62) + "-" + s.randomText(6, 62) }

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)

// getRIDInfo serves POST /cgi-bin/openapi/rid/get.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getridinfo.html
func (s *Server) getRIDInfo(c *call) wechatuser.Code {
	var rid string
	if !c.fields.get("rid", &rid) {
		return wechatuser.CodeDataFormat
	}
	f, known := s.byRID[rid]
	switch {
	case !ridForm.MatchString(rid):
		return wechatuser.CodeInvalidRID
	case !known || c.now.Sub(f.at) > failureLifetime:
		return wechatuser.CodeRIDNotFound
	}
	c.out.lit(`{"errcode":0,"errmsg":"ok","request":{"invoke_time":`).int64(f.at.Unix()).
		lit(`,"cost_in_ms":`).int64(f.cost.Milliseconds()).
		lit(`,"request_url":`).str(f.query).lit(`,"request_body":`).str(f.body).
		lit(`,"response_body":`).str(f.response).lit(`,"client_ip":`).str(f.ip).lit(`}}`)
	return 0
}
