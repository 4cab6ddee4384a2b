package wechatusertest

import (
	"regexp"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	maxFailures     = 1000 // that are remembered
	maxFailureBody  = 4 << 10
	failureLifetime = 7 * 24 * time.Hour
)

// failures are the last refused calls, for rid/get.
type failures struct {
	byRID map[string]*failure
	rids  []string // the oldest first
}

type failure struct {
	at           time.Time
	cost         time.Duration
	query        string
	body, answer string
	ip           string
}

func (s *Server) remember(c *call) {
	f := &failure{
		at: c.arrived, cost: c.now.Sub(c.arrived), ip: c.ip,
		query: maskedQuery(c.query), answer: string(c.out.b),
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

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)

// getRIDInfo is POST /cgi-bin/openapi/rid/get.
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
		lit(`,"response_body":`).str(f.answer).lit(`,"client_ip":`).str(f.ip).lit(`}}`)
	return 0
}
