package wechatusertest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser"
)

// endpoint is what is fixed about a path.
type endpoint struct {
	method string
	// serve answers a call that passed the general checks: it writes c.out, or leaves it empty for "ok", or refuses.
	// The server's lock is held.
	serve func(s *Server, c *call) wechatuser.Code

	noToken bool // sent without access_token
	secret  bool // holds the app secret, so that its body is not remembered
	hint    bool // refusals carry a hint besides the rid

	perDay, perMinute int // documented quota, 0 where there is none
}

const (
	tokenPath       = "/cgi-bin/token"
	stableTokenPath = "/cgi-bin/stable_token"
)

// isTokenPath tells the calls that "*" does not stand for.
func isTokenPath(path string) bool { return path == tokenPath || path == stableTokenPath }

// endpoints is the one table of paths.
func endpoints() map[string]*endpoint {
	const get, post = http.MethodGet, http.MethodPost
	return map[string]*endpoint{
		"/cgi-bin/user/info":              {method: get, serve: (*Server).userInfo, perDay: 500_000},
		"/cgi-bin/user/info/batchget":     {method: post, serve: (*Server).batchUserInfo, hint: true},
		"/cgi-bin/user/get":               {method: get, serve: (*Server).getFans, perDay: 500},
		"/cgi-bin/user/info/updateremark": {method: post, serve: (*Server).updateRemark, hint: true, perDay: 10_000},
		"/cgi-bin/changeopenid":           {method: post, serve: (*Server).changeOpenID},

		"/cgi-bin/tags/create":                 {method: post, serve: (*Server).createTag, hint: true},
		"/cgi-bin/tags/get":                    {method: get, serve: (*Server).getTags, hint: true},
		"/cgi-bin/tags/update":                 {method: post, serve: (*Server).updateTag, hint: true},
		"/cgi-bin/tags/delete":                 {method: post, serve: (*Server).deleteTag, hint: true},
		"/cgi-bin/user/tag/get":                {method: post, serve: (*Server).getTagFans, hint: true},
		"/cgi-bin/tags/members/batchtagging":   {method: post, serve: (*Server).batchTagging, hint: true},
		"/cgi-bin/tags/members/batchuntagging": {method: post, serve: (*Server).batchUntagging, hint: true},
		"/cgi-bin/tags/getidlist":              {method: post, serve: (*Server).getTagIDList, hint: true},

		"/cgi-bin/tags/members/getblacklist":     {method: post, serve: (*Server).getBlacklist},
		"/cgi-bin/tags/members/batchblacklist":   {method: post, serve: (*Server).batchBlacklist},
		"/cgi-bin/tags/members/batchunblacklist": {method: post, serve: (*Server).batchUnblacklist},

		tokenPath:       {method: get, serve: (*Server).legacyToken, noToken: true, secret: true, perDay: 2_000},
		stableTokenPath: {method: post, serve: (*Server).stableToken, noToken: true, secret: true, perDay: 500_000, perMinute: 10_000},

		"/cgi-bin/clear_quota":         {method: post, serve: (*Server).clearQuota},
		"/cgi-bin/clear_quota/v2":      {method: post, serve: (*Server).clearQuotaByAppSecret, noToken: true, secret: true},
		"/cgi-bin/openapi/quota/clear": {method: post, serve: (*Server).clearAPIQuota},
		"/cgi-bin/openapi/quota/get":   {method: post, serve: (*Server).getAPIQuota},
		"/cgi-bin/openapi/rid/get":     {method: post, serve: (*Server).getRIDInfo},
		"/cgi-bin/get_api_domain_ip":   {method: get, serve: (*Server).getAPIDomainIP},
	}
}

// route is a path of one server, with what changes.
type route struct {
	*endpoint
	path  string
	calls int

	perDay, perMinute int // enforced quota, 0 for none
	day, minute       counter

	delay  time.Duration
	faults []fault
}

// route finds the path that a test names. A path that does not exist would make a test pass that should not.
func (s *Server) route(method, path string) *route {
	r, ok := s.routes[path]
	if !ok {
		panic(fmt.Sprintf("wechatusertest: %s: no API has the path %q", method, path))
	}
	return r
}

// apiDomainIPs are addresses that are kept for documentation.
func (s *Server) getAPIDomainIP(c *call) wechatuser.Code {
	c.out.lit(`{"ip_list":`).strs([]string{"203.0.113.10", "203.0.113.11", "203.0.113.12"}).lit(`}`)
	return 0
}
