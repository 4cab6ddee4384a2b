package wechatusertest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	maxTags         = 100 // of the account
	maxTagsOfUser   = 20
	maxTagName      = 30 // bytes
	maxTaggingBatch = 50
	maxDeletable    = 100_000 // fans of a tag that can be deleted
)

// tag is nil if there is none with that id.
func (a *account) tag(id int) *tag {
	if i, ok := a.findTag(id); ok {
		return a.tags[i]
	}
	return nil
}

func (a *account) findTag(id int) (int, bool) {
	return slices.BinarySearchFunc(a.tags, id, func(t *tag, id int) int { return cmp.Compare(t.id, id) })
}

// ensureTag is the tag with that id, a new one if there is none.
func (a *account) ensureTag(id int) *tag {
	i, ok := a.findTag(id)
	if !ok {
		a.tags = slices.Insert(a.tags, i, &tag{id: id, name: fmt.Sprintf("tag %d", id)})
		a.nextTag = max(a.nextTag, id+1)
	}
	return a.tags[i]
}

// newTag adds a tag under the platform's rules.
func (a *account) newTag(name string) (*tag, wechatuser.Code) {
	if code := a.checkTagName(name, nil); code != 0 {
		return nil, code
	}
	if len(a.tags)-1 >= maxTags {
		return nil, wechatuser.CodeTooManyTags
	}
	t := a.ensureTag(a.nextTag)
	t.name = name
	return t, 0
}

// checkTagName is whether a tag, nil for one to be, can have that name.
func (a *account) checkTagName(name string, of *tag) wechatuser.Code {
	taken := func(t *tag) bool { return t.name == name && t != of }
	switch {
	case len(name) > maxTagName:
		return wechatuser.CodeTagNameTooLong
	case name == "" || slices.Contains(systemTags[:], name) || slices.ContainsFunc(a.tags, taken):
		return wechatuser.CodeInvalidTagName
	}
	return 0
}

// tagIDs are the ids of a user's tags, in ascending order.
func (a *account) tagIDs(u int) []int {
	ids := []int{}
	for _, t := range a.tags {
		if t.fans.has(u) {
			ids = append(ids, t.id)
		}
	}
	return ids
}

// tagArgument reads {"tag":{"id":…,"name":…}}.
func (c *call) tagArgument() (arg object, id int, name string, code wechatuser.Code) {
	if !c.fields.get("tag", &arg) || !arg.get("id", &id) || !arg.get("name", &name) {
		return nil, 0, "", wechatuser.CodeDataFormat
	}
	return arg, id, name, 0
}

// ownTag finds the tag that a call wants to change, and the name in the call.
func (s *Server) ownTag(c *call) (t *tag, name string, code wechatuser.Code) {
	arg, id, name, code := c.tagArgument()
	if code != 0 {
		return nil, "", code
	}
	t = s.tag(id)
	switch {
	case !arg.has("id"):
		return nil, "", wechatuser.CodeEmptyPostData
	case id >= 0 && id < len(systemTags):
		return nil, "", wechatuser.CodeSystemTag
	case t == nil:
		return nil, "", wechatuser.CodeInvalidTagID
	}
	return t, name, 0
}

// createTag is POST /cgi-bin/tags/create.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_createtag.html
func (s *Server) createTag(c *call) wechatuser.Code {
	arg, _, name, code := c.tagArgument()
	switch {
	case code != 0:
		return code
	case arg == nil:
		return wechatuser.CodeEmptyPostData
	}
	t, code := s.newTag(name)
	if code != 0 {
		return code
	}
	t.counted = c.now
	c.out.lit(`{"tag":{"id":`).int(t.id).lit(`,"name":`).str(t.name).lit(`}}`)
	return 0
}

// getTags is GET /cgi-bin/tags/get.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html
func (s *Server) getTags(c *call) wechatuser.Code {
	c.out.lit(`{"tags":[`)
	for i, t := range s.tags {
		if i > 0 {
			c.out.lit(`,`)
		}
		c.out.lit(`{"id":`).int(t.id).lit(`,"name":`).str(t.name).lit(`,"count":`).int(t.toldCount(c.now, s.cfg.quirks.TagCountLag)).lit(`}`)
	}
	c.out.lit(`]}`)
	return 0
}

// toldCount is the number of fans that tags/get tells: the platform counts them now and then.
func (t *tag) toldCount(now time.Time, lag time.Duration) int {
	if now.Sub(t.counted) >= lag {
		t.count, t.counted = t.fans.n, now
	}
	return t.count
}

// updateTag is POST /cgi-bin/tags/update.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_updatetag.html
func (s *Server) updateTag(c *call) wechatuser.Code {
	t, name, code := s.ownTag(c)
	if code != 0 {
		return code
	}
	if code := s.checkTagName(name, t); code != 0 {
		return code
	}
	t.name = name
	return 0
}

// deleteTag is POST /cgi-bin/tags/delete.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_deletetag.html
func (s *Server) deleteTag(c *call) wechatuser.Code {
	t, _, code := s.ownTag(c)
	if code != 0 {
		return code
	}
	if t.fans.n > maxDeletable && !s.cfg.quirks.DeletableTags {
		return wechatuser.CodeTagHasTooManyFans
	}
	i, _ := s.findTag(t.id)
	s.tags = slices.Delete(s.tags, i, i+1)
	return 0
}

// getTagFans is POST /cgi-bin/user/tag/get.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html
func (s *Server) getTagFans(c *call) wechatuser.Code {
	var (
		id     int
		cursor string
	)
	if !c.fields.get("tagid", &id) || !c.fields.get("next_openid", &cursor) {
		return wechatuser.CodeDataFormat
	}
	t := s.tag(id)
	if t == nil {
		return wechatuser.CodeInvalidTagID
	}
	c.out.lit(`{`)
	return s.list(c, &t.fans, cursor, fansPage)
}

// batchTagging is POST /cgi-bin/tags/members/batchtagging.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
func (s *Server) batchTagging(c *call) wechatuser.Code {
	t, users, code := s.taggingArguments(c)
	if code != 0 {
		return code
	}
	for _, u := range users {
		if !s.following.has(u) {
			return wechatuser.CodeUserUnsubscribed
		}
		if !t.fans.has(u) && len(s.tagIDs(u)) >= maxTagsOfUser {
			return wechatuser.CodeTooManyTagsOnUser
		}
	}
	return s.each(c, users, t.fans.add)
}

// batchUntagging is POST /cgi-bin/tags/members/batchuntagging.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html
func (s *Server) batchUntagging(c *call) wechatuser.Code {
	t, users, code := s.taggingArguments(c)
	if code != 0 {
		return code
	}
	return s.each(c, users, t.fans.remove)
}

func (s *Server) taggingArguments(c *call) (t *tag, users []int, code wechatuser.Code) {
	var (
		id      int
		openIDs []string
	)
	if !c.fields.get("tagid", &id) || !c.fields.get("openid_list", &openIDs) {
		return nil, nil, wechatuser.CodeDataFormat
	}
	if len(openIDs) == 0 || len(openIDs) > maxTaggingBatch {
		return nil, nil, wechatuser.CodeInvalidOpenIDListSize
	}
	if t = s.tag(id); t == nil || c.dice.chance("FalseInvalidTag", s.cfg.quirks.FalseInvalidTag) {
		return nil, nil, wechatuser.CodeInvalidTagID
	}
	if users, code = s.resolve(openIDs, wechatuser.CodeOpenIDMismatch); code == 0 && c.clash {
		code = wechatuser.CodeConcurrentTagging
	}
	return t, users, code
}

// occupy keeps other tagging calls away from the openids of this one, or finds that another has them.
func (s *Server) occupy(c *call) {
	if !s.cfg.quirks.ConcurrentTagging || c.path != batchTaggingPath && c.path != batchUntaggingPath {
		return
	}
	var openIDs []string
	c.fields.get("openid_list", &openIDs)
	if c.clash = slices.ContainsFunc(openIDs, func(id string) bool { return s.busy[id] }); c.clash {
		return
	}
	c.busy = openIDs
	for _, id := range openIDs {
		s.busy[id] = true
	}
}

// each does something for all users but those whom [Server.FailOpenIDs] or the account's quirks make fail.
func (s *Server) each(c *call, users []int, do func(u int)) wechatuser.Code {
	fails := func(openID string) bool { return s.partial.openIDs[openID] }
	if s.partial.openIDs == nil && c.dice.chance("PartialTagging", s.cfg.quirks.PartialTagging) {
		random := c.dice.about("openids")
		fails = func(string) bool { return random.IntN(4) == 0 }
	}
	for _, u := range users {
		if openID := s.users[u].openID; fails(openID) {
			c.failed = append(c.failed, openID)
		} else {
			do(u)
		}
	}
	if len(c.failed) == 0 {
		return 0
	}
	if s.partial.left--; s.partial.left <= 0 {
		s.partial = partialFailure{}
	}
	return wechatuser.CodeSomeOpenIDsFailed
}

// getTagIDList is POST /cgi-bin/tags/getidlist.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagidlist.html
func (s *Server) getTagIDList(c *call) wechatuser.Code {
	var openID string
	if !c.fields.get("openid", &openID) {
		return wechatuser.CodeDataFormat
	}
	if !c.fields.has("openid") {
		return wechatuser.CodeEmptyPostData
	}
	users, code := s.resolve([]string{openID}, wechatuser.CodeOpenIDMismatch)
	if code != 0 {
		return code
	}
	c.out.lit(`{"tagid_list":`).ints(s.tagIDs(users[0])).lit(`}`)
	return 0
}
