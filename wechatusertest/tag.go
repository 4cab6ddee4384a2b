package wechatusertest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	maxTags         = 100 // per account
	maxTagsOfUser   = 20
	maxTagName      = 30 // bytes
	maxTaggingBatch = 50
	maxDeletable    = 100_000 // followers of a tag that can be deleted
)

// tag returns the tag with that id, or nil if there is none.
func (a *account) tag(id int) *tag {
	if i, ok := a.findTag(id); ok {
		return a.tags[i]
	}
	return nil
}

func (a *account) findTag(id int) (int, bool) {
	return slices.BinarySearchFunc(a.tags, id, func(t *tag, id int) int { return cmp.Compare(t.id, id) })
}

// ensureTag returns the tag with that id, and creates it if there is none.
func (a *account) ensureTag(id int) *tag {
	i, ok := a.findTag(id)
	if !ok {
		a.tags = slices.Insert(a.tags, i, &tag{id: id, name: fmt.Sprintf("tag %d", id)})
		a.nextTag = max(a.nextTag, id+1)
	}
	return a.tags[i]
}

// newTag creates a tag, subject to the platform's rules.
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

// checkTagName returns an errcode if the tag cannot have that name. The tag is nil if it is yet to be created.
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

// tagIDs returns the ids of a user's tags in ascending order.
func (a *account) tagIDs(u int) []int {
	ids := []int{}
	for _, t := range a.tags {
		if t.fans.has(u) {
			ids = append(ids, t.id)
		}
	}
	return ids
}

// tagArgument parses {"tag":{"id":…,"name":…}}.
func (c *call) tagArgument() (arg object, id int, name string, code wechatuser.Code) {
	if !c.fields.get("tag", &arg) || !arg.get("id", &id) || !arg.get("name", &name) {
		return nil, 0, "", wechatuser.CodeDataFormat
	}
	return arg, id, name, 0
}

// ownTag returns the tag to be changed by a call, and the name in the call.
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

// createTag serves POST /cgi-bin/tags/create.
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
	t.reportedAt = c.now
	c.out.lit(`{"tag":{"id":`).int(t.id).lit(`,"name":`).str(t.name).lit(`}}`)
	return 0
}

// getTags serves GET /cgi-bin/tags/get.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html
func (s *Server) getTags(c *call) wechatuser.Code {
	c.out.lit(`{"tags":[`)
	for i, t := range s.tags {
		if i > 0 {
			c.out.lit(`,`)
		}
		count := t.reportedCount(c.now, s.cfg.quirks.TagCountLag)
		c.out.lit(`{"id":`).int(t.id).lit(`,"name":`).str(t.name).lit(`,"count":`).int(count).lit(`}`)
	}
	c.out.lit(`]}`)
	return 0
}

// reportedCount returns the follower count in tags/get, which the platform updates only now and then.
func (t *tag) reportedCount(now time.Time, lag time.Duration) int {
	if now.Sub(t.reportedAt) >= lag {
		t.reported, t.reportedAt = t.fans.n, now
	}
	return t.reported
}

// updateTag serves POST /cgi-bin/tags/update.
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

// deleteTag serves POST /cgi-bin/tags/delete.
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

// getTagFans serves POST /cgi-bin/user/tag/get.
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
	return s.writePage(c, &t.fans, cursor, fansPage)
}

// batchTagging serves POST /cgi-bin/tags/members/batchtagging.
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
	return s.applyEach(c, users, t.fans.add)
}

// batchUntagging serves POST /cgi-bin/tags/members/batchuntagging.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchuntagging.html
func (s *Server) batchUntagging(c *call) wechatuser.Code {
	t, users, code := s.taggingArguments(c)
	if code != 0 {
		return code
	}
	return s.applyEach(c, users, t.fans.remove)
}

func (s *Server) taggingArguments(c *call) (t *tag, users []int, code wechatuser.Code) {
	var (
		id      int
		openIDs []string
	)
	if !c.fields.get("tagid", &id) || !c.fields.get("openid_list", &openIDs) {
		return nil, nil, wechatuser.CodeDataFormat
	}
	if len(openIDs) == 0 || s.cfg.quirks.tooMany(len(openIDs), maxTaggingBatch) {
		return nil, nil, wechatuser.CodeInvalidOpenIDListSize
	}
	if t = s.tag(id); t == nil || c.rng.chance("FalseInvalidTag", s.cfg.quirks.FalseInvalidTag) {
		return nil, nil, wechatuser.CodeInvalidTagID
	}
	if users, code = s.resolve(openIDs, wechatuser.CodeOpenIDMismatch); code == 0 && c.conflict {
		code = wechatuser.CodeConcurrentTagging
	}
	return t, users, code
}

// lockOpenIDs locks the openids of a tagging call, or sets c.conflict if another call has locked one of them.
func (s *Server) lockOpenIDs(c *call) {
	if !s.cfg.quirks.ConcurrentTagging || c.path != batchTaggingPath && c.path != batchUntaggingPath {
		return
	}
	var openIDs []string
	c.fields.get("openid_list", &openIDs)
	if c.conflict = slices.ContainsFunc(openIDs, func(id string) bool { return s.lockedOpenIDs[id] }); c.conflict {
		return
	}
	c.locked = openIDs
	for _, id := range openIDs {
		s.lockedOpenIDs[id] = true
	}
}

// applyEach calls apply for all users except those that [Server.FailOpenIDs] or PartialTagging makes fail.
func (s *Server) applyEach(c *call, users []int, apply func(u int)) wechatuser.Code {
	fails := func(openID string) bool { return s.partial.openIDs[openID] }
	if s.partial.openIDs == nil && c.rng.chance("PartialTagging", s.cfg.quirks.PartialTagging) {
		random := c.rng.stream("openids")
		fails = func(string) bool { return random.IntN(4) == 0 }
	}
	for _, u := range users {
		if openID := s.users[u].openID; fails(openID) {
			c.failed = append(c.failed, openID)
		} else {
			apply(u)
		}
	}
	if len(c.failed) == 0 {
		return 0
	}
	if s.partial.remaining--; s.partial.remaining <= 0 {
		s.partial = partialFailure{}
	}
	return wechatuser.CodeSomeOpenIDsFailed
}

// getTagIDList serves POST /cgi-bin/tags/getidlist.
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
