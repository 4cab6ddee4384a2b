package wechatusertest

import "github.com/wechatuser/wechatuser"

const (
	maxBlacklistBatch = 20
	blacklistPage     = 1_000
)

// getBlacklist serves POST /cgi-bin/tags/members/getblacklist.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html
func (s *Server) getBlacklist(c *call) wechatuser.Code {
	var cursor string
	if !c.fields.get("begin_openid", &cursor) {
		return wechatuser.CodeDataFormat
	}
	c.out.lit(`{"total":`).int(s.blocked.n).lit(`,`)
	return s.writePage(c, &s.blocked, cursor, blacklistPage)
}

// batchBlacklist serves POST /cgi-bin/tags/members/batchblacklist.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html
func (s *Server) batchBlacklist(c *call) wechatuser.Code {
	users, code := s.blacklistArguments(c)
	if code != 0 {
		return code
	}
	for _, u := range users {
		if !s.following.has(u) {
			return wechatuser.CodeInvalidOpenID
		}
	}
	for _, u := range users {
		s.blocked.add(u)
	}
	return 0
}

// batchUnblacklist serves POST /cgi-bin/tags/members/batchunblacklist.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchunblacklist.html
func (s *Server) batchUnblacklist(c *call) wechatuser.Code {
	users, code := s.blacklistArguments(c)
	for _, u := range users {
		s.blocked.remove(u)
	}
	return code
}

func (s *Server) blacklistArguments(c *call) ([]int, wechatuser.Code) {
	var openIDs []string
	if !c.fields.get("openid_list", &openIDs) {
		return nil, wechatuser.CodeDataFormat
	}
	if len(openIDs) == 0 || s.cfg.quirks.tooMany(len(openIDs), maxBlacklistBatch) {
		return nil, wechatuser.CodeInvalidOpenIDListSize
	}
	return s.resolve(openIDs, wechatuser.CodeOpenIDMismatch)
}
