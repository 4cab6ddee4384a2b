package wechatusertest

import (
	"cmp"

	"github.com/wechatuser/wechatuser"
)

const (
	maxUserInfoBatch = 100
	fansPage         = 10_000
	maxRemark        = 30 // bytes
)

// resolve returns the indexes of openids in users. foreign is the errcode for an openid of another account.
func (s *Server) resolve(openIDs []string, foreign wechatuser.Code) ([]int, wechatuser.Code) {
	users := make([]int, 0, len(openIDs))
	for _, id := range openIDs {
		u, known := s.index[id]
		switch {
		case known:
			users = append(users, u)
		case s.isForeign(id):
			return nil, foreign
		default:
			return nil, wechatuser.CodeInvalidOpenID
		}
	}
	return users, 0
}

// userInfo serves GET /cgi-bin/user/info.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html
func (s *Server) userInfo(c *call) wechatuser.Code {
	openID := c.query.Get("openid")
	if openID == "" {
		return wechatuser.CodeOpenIDMissing
	}
	if code := s.refusedProfiles[openID]; code != 0 {
		return code
	}
	u, known := s.index[openID]
	if !known {
		return wechatuser.CodeInvalidOpenID
	}
	c.out.user(s.info(u))
	return 0
}

// batchUserInfo serves POST /cgi-bin/user/info/batchget.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html
func (s *Server) batchUserInfo(c *call) wechatuser.Code {
	var list []object
	if !c.fields.get("user_list", &list) {
		return wechatuser.CodeDataFormat
	}
	if len(list) == 0 || s.cfg.quirks.tooMany(len(list), maxUserInfoBatch) {
		return wechatuser.CodeInvalidOpenIDListSize
	}
	asked := make([]string, 0, len(list))
	users := make([]int, 0, len(list))
	for _, item := range list {
		var openID, lang string
		if !item.get("openid", &openID) || !item.get("lang", &lang) {
			return wechatuser.CodeDataFormat
		}
		if code := s.refusedProfiles[openID]; code != 0 {
			return code
		}
		asked = append(asked, openID)
		if u, known := s.index[openID]; known {
			users = append(users, u)
		} else if q := &s.cfg.quirks; !q.ShortBatch && !q.MixedUnionIDs {
			return wechatuser.CodeInvalidOpenID
		}
	}
	profiles := s.batch(c, asked, users)
	if c.rng.chance("ReorderedBatch", s.cfg.quirks.ReorderedBatch) {
		c.rng.stream("order").Shuffle(len(profiles), func(i, k int) { profiles[i], profiles[k] = profiles[k], profiles[i] })
	}
	c.out.grow(len(profiles) * 400)
	c.out.lit(`{"user_info_list":[`)
	for i, info := range profiles {
		if i > 0 {
			c.out.lit(`,`)
		}
		c.out.user(info)
	}
	c.out.lit(`]}`)
	return 0
}

// batch returns the profiles of users, which are those of the openids asked for that the account knows.
//
// With MixedUnionIDs and an unknown openid, the known profiles are assigned in order to the openids asked for, so that
// each from the unknown openid on has the UnionID, or the whole profile, of a later one. No report says what the last
// ones get, for whom no profile is left.
func (s *Server) batch(c *call, asked []string, users []int) []wechatuser.UserInfo {
	profiles := make([]wechatuser.UserInfo, len(users), len(asked))
	for i, u := range users {
		profiles[i] = s.info(u)
	}
	q := &s.cfg.quirks
	if !q.MixedUnionIDs || len(users) == len(asked) || q.ShortBatch && c.rng.chance("ShortBatch", 0.5) {
		return profiles
	}
	whole := c.rng.chance("whole profiles", 0.5)
	rest := c.rng.stream("last profile").IntN(3)
	mixed := make([]wechatuser.UserInfo, 0, len(asked))
	for i, id := range asked {
		info := wechatuser.UserInfo{OpenID: id, TagIDList: []int{}}
		u, known := s.index[id]
		if known {
			info = s.info(u)
		}
		switch {
		case i < len(profiles) && (whole || !known):
			info = profiles[i]
			info.OpenID = id
		case i < len(profiles):
			info.UnionID = profiles[i].UnionID
		case rest == 0:
			info.UnionID = ""
		case rest == 1:
			info = wechatuser.UserInfo{OpenID: id, TagIDList: []int{}}
		default:
			continue
		}
		mixed = append(mixed, info)
	}
	return mixed
}

// user writes a profile. For a former follower it leaves out the same fields as the platform.
func (w *writer) user(u wechatuser.UserInfo) {
	w.lit(`{"subscribe":`).int(u.Subscribe).lit(`,"openid":`).str(u.OpenID).
		lit(`,"nickname":`).typed(u.Nickname).lit(`,"sex":`).int(u.Sex).lit(`,"language":`).str(u.Language).
		lit(`,"city":`).typed(u.City).lit(`,"province":`).typed(u.Province).lit(`,"country":`).str(u.Country).
		lit(`,"headimgurl":`).str(u.HeadImgURL)
	if u.Subscribed() {
		w.lit(`,"subscribe_time":`).int64(u.SubscribeTime)
		if u.UnionID != "" {
			w.lit(`,"unionid":`).str(u.UnionID)
		}
		w.lit(`,"remark":`).typed(u.Remark).lit(`,"groupid":`).int(u.GroupID)
	}
	w.lit(`,"tagid_list":`).ints(u.TagIDList)
	if u.Subscribed() {
		w.lit(`,"subscribe_scene":`).str(string(u.SubscribeScene)).
			lit(`,"qr_scene":`).int64(u.QRScene).lit(`,"qr_scene_str":`).str(u.QRSceneStr)
	}
	w.lit(`}`)
}

// getFans serves GET /cgi-bin/user/get.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html
func (s *Server) getFans(c *call) wechatuser.Code {
	c.out.lit(`{"total":`).int(s.following.n).lit(`,`)
	return s.writePage(c, &s.following, c.query.Get("next_openid"), fansPage)
}

// writePage writes the page of a set after the cursor, beginning with the field "count".
func (s *Server) writePage(c *call, set *bitset, cursor string, size int) wechatuser.Code {
	start := 0
	if cursor != "" {
		u, known := s.index[cursor]
		if !known {
			return wechatuser.CodeInvalidOpenID
		}
		start = u + 1
	}
	s.page = set.appendFrom(s.page[:0], start, cmp.Or(s.cfg.pageSize, size))
	if len(s.page) > 0 && c.rng.chance("ShortPages", s.cfg.quirks.ShortPages) {
		s.page = s.page[:1+c.rng.stream("page").IntN(len(s.page))]
	}
	c.out.lit(`"count":`).int(len(s.page))
	if len(s.page) == 0 && s.cfg.quirks.BareEmptyTag && c.path == tagFansPath {
		c.out.lit(`}`)
		return 0
	}
	next := ""
	if len(s.page) > 0 {
		next = s.users[s.page[len(s.page)-1]].openID
		c.out.grow(len(s.page) * (len(next) + len(`"",`)))
		c.out.lit(`,"data":{"openid":[`)
		for i, u := range s.page {
			if i > 0 {
				c.out.lit(`,`)
			}
			c.out.str(s.users[u].openID)
		}
		c.out.lit(`]}`)
	}
	if next != "" && c.rng.chance("NoCursor", s.cfg.quirks.NoCursor) {
		next = ""
	}
	c.out.lit(`,"next_openid":`).str(next).lit(`}`)
	return 0
}

// updateRemark serves POST /cgi-bin/user/info/updateremark.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_updateremark.html
func (s *Server) updateRemark(c *call) wechatuser.Code {
	if raw, ok := c.fields["remark"]; ok && !s.cfg.quirks.DecodedEscapes {
		c.fields["remark"] = keepEscapes(raw)
	}
	var openID, remark string
	if !c.fields.get("openid", &openID) || !c.fields.get("remark", &remark) {
		return wechatuser.CodeDataFormat
	}
	if !c.fields.has("openid") || !c.fields.has("remark") {
		return wechatuser.CodeEmptyPostData
	}
	if len(remark) > maxRemark {
		return wechatuser.CodeInvalidRemark
	}
	u, known := s.index[openID]
	switch {
	case !known:
		return wechatuser.CodeInvalidOpenID
	case !s.following.has(u):
		return wechatuser.CodeRequireSubscribe
	}
	s.users[u].remark = remark
	return 0
}

// changeOpenID serves POST /cgi-bin/changeopenid.
// https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html
func (s *Server) changeOpenID(c *call) wechatuser.Code {
	var (
		fromAppID string
		openIDs   []string
	)
	if !c.fields.get("from_appid", &fromAppID) || !c.fields.get("openid_list", &openIDs) {
		return wechatuser.CodeDataFormat
	}
	switch {
	case len(openIDs) == 0:
		return wechatuser.CodeMigrationNoOpenIDs
	case len(openIDs) > maxUserInfoBatch:
		return wechatuser.CodeMigrationTooManyOpenIDs
	case fromAppID == "" || fromAppID != s.cfg.fromAppID:
		return wechatuser.CodeMigrationInvalidAppID
	}
	c.out.lit(`{"errcode":0,"errmsg":"ok","result_list":[`)
	for i, old := range openIDs {
		if i > 0 {
			c.out.lit(`,`)
		}
		c.out.lit(`{"ori_openid":`).str(old)
		if changed, ok := s.cfg.migration[old]; ok {
			c.out.lit(`,"new_openid":`).str(changed).lit(`,"err_msg":"ok"}`)
		} else {
			c.out.lit(`,"err_msg":"ori_openid error"}`)
		}
	}
	c.out.lit(`]}`)
	return 0
}
