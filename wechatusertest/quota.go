package wechatusertest

import (
	"cmp"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	clearQuotaV2Path = "/cgi-bin/clear_quota/v2"

	clearsPerMonth    = 10 // for clearing all quotas
	apiClearsPerMonth = 50 // for clearing the quota of one path

	// assumedPerDay is the quota that quota/get returns for a path without a documented quota.
	assumedPerDay = 500_000
)

// quotaClears counts how often quotas were cleared in a month.
type quotaClears struct {
	clears, apiClears counter
}

// counter counts within a period: a day, a minute or a month.
type counter struct {
	period int64
	n      int
}

// count returns the count in a period. In a new period it is 0.
func (c *counter) count(period int64) int {
	if c.period != period {
		*c = counter{period: period}
	}
	return c.n
}

// beijing is the time zone of the platform's days and months.
var beijing = time.FixedZone("UTC+8", 8*60*60)

func dayOf(t time.Time) int64 {
	_, offset := t.In(beijing).Zone()
	return (t.Unix() + int64(offset)) / (24 * 60 * 60)
}

func monthOf(t time.Time) int64 {
	t = t.In(beijing)
	return int64(t.Year())*12 + int64(t.Month())
}

// spend charges a call to the quota. It returns an errcode if the quota is used up.
func (r *route) spend(now time.Time) wechatuser.Code {
	day, minute := r.day.count(dayOf(now)), r.minute.count(now.Unix()/60)
	switch {
	case r.perDay > 0 && day >= r.perDay:
		return wechatuser.CodeDailyQuotaExceeded
	case r.perMinute > 0 && minute >= r.perMinute:
		return wechatuser.CodeMinuteQuotaExceeded
	}
	r.day.n++
	r.minute.n++
	return 0
}

func (r *route) reset() { r.day.n, r.minute.n = 0, 0 }

// clearQuota serves POST /cgi-bin/clear_quota.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquota.html
func (s *Server) clearQuota(c *call) wechatuser.Code {
	var appID string
	switch {
	case !c.fields.get("appid", &appID):
		return wechatuser.CodeDataFormat
	case appID == "":
		return wechatuser.CodeAppIDMissing
	case appID != s.cfg.appID:
		return wechatuser.CodeInvalidAppID
	}
	return s.clearAll(c)
}

// clearQuotaByAppSecret serves POST /cgi-bin/clear_quota/v2. The platform documents its arguments both in the body and
// in the query, so it accepts either.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquotabyappsecret.html
func (s *Server) clearQuotaByAppSecret(c *call) wechatuser.Code {
	var appID, secret string
	if !c.fields.get("appid", &appID) || !c.fields.get("appsecret", &secret) {
		return wechatuser.CodeDataFormat
	}
	code := s.checkSecret(cmp.Or(appID, c.query.Get("appid")), cmp.Or(secret, c.query.Get("appsecret")))
	if code != 0 {
		return code
	}
	return s.clearAll(c)
}

func (s *Server) clearAll(c *call) wechatuser.Code {
	if s.clears.count(monthOf(c.now)) >= clearsPerMonth {
		return wechatuser.CodeClearQuotaLimit
	}
	s.clears.n++
	for _, r := range s.routes {
		r.reset()
	}
	return 0
}

// clearAPIQuota serves POST /cgi-bin/openapi/quota/clear.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearapiquota.html
func (s *Server) clearAPIQuota(c *call) wechatuser.Code {
	r, code := s.pathArgument(c)
	switch {
	case code != 0:
		return code
	case s.apiClears.count(monthOf(c.now)) >= apiClearsPerMonth:
		return wechatuser.CodeDailyQuotaExceeded
	}
	s.apiClears.n++
	r.reset()
	return 0
}

// getAPIQuota serves POST /cgi-bin/openapi/quota/get. If no quota is enforced, it returns the documented one.
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota.html
func (s *Server) getAPIQuota(c *call) wechatuser.Code {
	r, code := s.pathArgument(c)
	if code != 0 {
		return code
	}
	limit, used := cmp.Or(r.perDay, r.endpoint.perDay, assumedPerDay), r.day.count(dayOf(c.now))
	if s.cfg.quirks.UnusedQuota {
		used = 0
	}
	c.out.lit(`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":`).int(limit).
		lit(`,"used":`).int(used).lit(`,"remain":`).int(max(0, limit-used)).lit(`}`)
	if perMinute := cmp.Or(r.perMinute, r.endpoint.perMinute); perMinute > 0 {
		c.out.lit(`,"rate_limit":{"call_count":`).int(perMinute).lit(`,"refresh_second":60}`)
	}
	c.out.lit(`}`)
	return 0
}

// pathArgument returns the route of cgi_path.
func (s *Server) pathArgument(c *call) (*route, wechatuser.Code) {
	var path string
	switch {
	case !c.fields.get("cgi_path", &path):
		return nil, wechatuser.CodeDataFormat
	case path == "":
		return nil, wechatuser.CodeEmptyPostData
	case strings.HasPrefix(path, "/sns/"):
		return nil, wechatuser.CodePathDenied
	}
	if r, ok := s.routes[path]; ok {
		return r, 0
	}
	return nil, wechatuser.CodePathNotFound
}
