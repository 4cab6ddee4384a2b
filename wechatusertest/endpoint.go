package wechatusertest

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// endpoint describes an API. It never changes.
type endpoint struct {
	api    string // official name
	method string
	// serve handles a call that passed the general checks. It writes the response to c.out, leaves c.out empty for "ok",
	// or returns an errcode. s.mu is held.
	serve func(s *Server, c *call) wechatuser.Code

	noToken bool // sent without access_token
	open    bool // available to unverified accounts
	hint    bool // errmsg has a hint beside the rid

	perDay, perMinute int // documented quota, 0 if there is none
}

const (
	tokenPath       = "/cgi-bin/token"
	stableTokenPath = "/cgi-bin/stable_token"

	tagFansPath        = "/cgi-bin/user/tag/get"
	batchTaggingPath   = "/cgi-bin/tags/members/batchtagging"
	batchUntaggingPath = "/cgi-bin/tags/members/batchuntagging"
)

// isTokenPath reports whether path is one of a token request, which "*" does not match.
func isTokenPath(path string) bool { return path == tokenPath || path == stableTokenPath }

// endpoints is the table of all APIs by path. It never changes.
var endpoints = func() map[string]*endpoint {
	const get, post = http.MethodGet, http.MethodPost
	return map[string]*endpoint{
		"/cgi-bin/user/info":          {api: "userInfo", method: get, serve: (*Server).userInfo, perDay: 500_000},
		"/cgi-bin/user/info/batchget": {api: "batchUserinfo", method: post, serve: (*Server).batchUserInfo, hint: true},
		"/cgi-bin/user/get":           {api: "getFans", method: get, serve: (*Server).getFans, perDay: 500},
		"/cgi-bin/user/info/updateremark": {
			api: "updateRemark", method: post, serve: (*Server).updateRemark, hint: true, perDay: 10_000,
		},
		"/cgi-bin/changeopenid": {api: "changeOpenid", method: post, serve: (*Server).changeOpenID},

		"/cgi-bin/tags/create":    {api: "createTag", method: post, serve: (*Server).createTag, hint: true},
		"/cgi-bin/tags/get":       {api: "getTags", method: get, serve: (*Server).getTags, hint: true},
		"/cgi-bin/tags/update":    {api: "updateTag", method: post, serve: (*Server).updateTag, hint: true},
		"/cgi-bin/tags/delete":    {api: "deleteTag", method: post, serve: (*Server).deleteTag, hint: true},
		tagFansPath:               {api: "getTagFans", method: post, serve: (*Server).getTagFans, hint: true},
		batchTaggingPath:          {api: "batchTagging", method: post, serve: (*Server).batchTagging, hint: true},
		batchUntaggingPath:        {api: "batchUntagging", method: post, serve: (*Server).batchUntagging, hint: true},
		"/cgi-bin/tags/getidlist": {api: "getTagidList", method: post, serve: (*Server).getTagIDList, hint: true},

		"/cgi-bin/tags/members/getblacklist":     {api: "getBlacklist", method: post, serve: (*Server).getBlacklist},
		"/cgi-bin/tags/members/batchblacklist":   {api: "batchBlacklist", method: post, serve: (*Server).batchBlacklist},
		"/cgi-bin/tags/members/batchunblacklist": {api: "batchUnblacklist", method: post, serve: (*Server).batchUnblacklist},

		tokenPath: {
			api: "getAccessToken", method: get, serve: (*Server).legacyToken, open: true, noToken: true, perDay: 2_000,
		},
		stableTokenPath: {
			api: "getStableAccessToken", method: post, serve: (*Server).stableToken, open: true, noToken: true,
			perDay: 500_000, perMinute: 10_000,
		},

		"/cgi-bin/clear_quota": {api: "clearQuota", method: post, serve: (*Server).clearQuota, open: true},
		clearQuotaV2Path: {
			api: "clearQuotaByAppSecret", method: post, serve: (*Server).clearQuotaByAppSecret, open: true, noToken: true,
		},
		"/cgi-bin/openapi/quota/clear": {api: "clearApiQuota", method: post, serve: (*Server).clearAPIQuota, open: true},
		"/cgi-bin/openapi/quota/get":   {api: "getApiQuota", method: post, serve: (*Server).getAPIQuota, open: true},
		"/cgi-bin/openapi/rid/get":     {api: "getRidInfo", method: post, serve: (*Server).getRIDInfo, open: true},

		"/cgi-bin/get_api_domain_ip": {api: "getApiDomainIp", method: get, serve: (*Server).getAPIDomainIP, open: true},
		"/cgi-bin/getcallbackip":     {api: "getCallbackIp", method: get, serve: (*Server).getCallbackIP, open: true},
		"/cgi-bin/callback/check":    {api: "callbackCheck", method: post, serve: (*Server).callbackCheck, open: true},
	}
}()

// route is an endpoint of one server, with its state.
type route struct {
	*endpoint
	path  string
	calls int

	perDay, perMinute int // enforced quota, 0 if there is none
	day, minute       counter

	delay time.Duration

	answer func(Request) any // set by Handle; nil for the simulator's own response
}

// route returns the route with this path or official name. It panics if there is none: a misspelled name could make a
// test pass that should fail.
//
// s.mu is held.
func (s *Server) route(method, name string) *route {
	if r := s.routes[name]; r != nil {
		return r
	}
	return s.routes[mustFindPath(method, name)]
}

// hasRoute reports whether a path is one of the platform's that the simulator knows, or one of [Server.Handle].
func (s *Server) hasRoute(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.routes[path] != nil
}

func mustFindPath(method, name string) string {
	path, err := findPath(name)
	if err != nil {
		panic("wechatusertest: " + method + ": " + err.Error())
	}
	return path
}

// mustResolvePath is mustFindPath, except that it returns "*", "" and paths of [Server.Handle] unchanged.
func (s *Server) mustResolvePath(method, name string) string {
	if isAnyPath(name) || s.hasRoute(name) {
		return name
	}
	return mustFindPath(method, name)
}

// findPath returns the path of the API with this path or official name.
func findPath(name string) (string, error) {
	if _, ok := endpoints[name]; ok {
		return name, nil
	}
	kind, known := "name", []string{}
	for path, e := range endpoints {
		if e.api == name {
			return path, nil
		}
		known = append(known, e.api)
	}
	if strings.Contains(name, "/") {
		kind, known = "path", slices.Collect(maps.Keys(endpoints))
	}
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int {
		return cmp.Compare(distance(a, name), distance(b, name))
	})
	return "", fmt.Errorf("no API has the %s %q; the nearest one is %q", kind, name, nearest)
}

// distance returns the Levenshtein distance of a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
