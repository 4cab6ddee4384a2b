package wechatusertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func tagging(tagID int, openIDs ...string) string {
	return fmt.Sprintf(`{"openid_list":%s,"tagid":%d}`, array(openIDs...), tagID)
}

const (
	taggingPath   = "/cgi-bin/tags/members/batchtagging"
	untaggingPath = "/cgi-bin/tags/members/batchuntagging"
)

// Ids start at 100 and are never reused. The platform lists its star tag even if it has no followers.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_createtag.html
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html
func TestTagLifecycle(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	assert.Equal(t, `{"tag":{"id":100,"name":"广东"}}`, a.post("/cgi-bin/tags/create", `{"tag":{"name":"广东"}}`))
	assert.Equal(t, `{"tag":{"id":101,"name":"vip"}}`, a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`))
	assert.Equal(t, ok, a.post(taggingPath, tagging(101, ids(2)...)))
	assert.Equal(t, ok, a.post("/cgi-bin/tags/update", `{"tag":{"id":101,"name":"VIP"}}`))
	assert.Equal(t, ok, a.post("/cgi-bin/tags/update", `{"tag":{"id":101,"name":"VIP"}}`), "a tag can keep its name")
	assert.Equal(t, `{"tags":[{"id":2,"name":"星标组","count":0},{"id":100,"name":"广东","count":0},`+
		`{"id":101,"name":"VIP","count":2}]}`, a.get("/cgi-bin/tags/get"))
	assert.Equal(t, ok, a.post("/cgi-bin/tags/delete", `{"tag":{"id":101}}`))
	assert.Equal(t, `{"tagid_list":[]}`, a.post("/cgi-bin/tags/getidlist", `{"openid":"`+wechatusertest.OpenID(0)+`"}`))
	assert.Equal(t, `{"tag":{"id":102,"name":"VIP"}}`, a.post("/cgi-bin/tags/create", `{"tag":{"name":"VIP"}}`))
	assert.Equal(t, []wechatuser.Tag{{ID: 100, Name: "广东"}, {ID: 102, Name: "VIP"}}, a.Tags())
}

// A name has at most 30 bytes, which is 10 Chinese characters.
// https://developers.weixin.qq.com/community/minihome/doc/0008628e3289e8f8f6ce7f46f5b000
func TestTagNames(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.AddTag("vip")
	create := func(name string) string {
		return a.post("/cgi-bin/tags/create", fmt.Sprintf(`{"tag":{"name":%q}}`, name))
	}
	msg := assertCode(t, 45157, create("vip"))
	assert.Regexp(t, `^invalid tag name hint: \[[A-Za-z0-9-]{16}\] rid: `, msg)
	assertCode(t, 45157, create(""))
	assertCode(t, 45157, a.post("/cgi-bin/tags/create", `{"tag":{}}`))
	assertCode(t, 44002, a.post("/cgi-bin/tags/create", `{}`))
	assertCode(t, 47001, a.post("/cgi-bin/tags/create", `{"tag":"vip"}`))
	assertCode(t, 47001, a.post("/cgi-bin/tags/create", `{"tag":{"name":1}}`))
	for _, name := range []string{"未分组", "黑名单", "星标组"} {
		assertCode(t, 45157, create(name))
	}
	assertCode(t, 45158, create(strings.Repeat("客", 11)))
	assertCode(t, 45158, create(strings.Repeat("x", 31)))
	assert.Equal(t, `{"tag":{"id":101,"name":"客客客客客客客客客客"}}`, create(strings.Repeat("客", 10)))
	assert.Equal(t, `{"tag":{"id":102,"name":"客"}}`, a.post("/cgi-bin/tags/create", `{"tag":{"name":"\u5ba2"}}`))

	update := func(id int, name string) string {
		return a.post("/cgi-bin/tags/update", fmt.Sprintf(`{"tag":{"id":%d,"name":%q}}`, id, name))
	}
	assertCode(t, 45157, update(101, "vip"))
	assertCode(t, 45157, update(101, ""))
	assertCode(t, 45158, update(101, strings.Repeat("客", 11)))
	assertCode(t, 45159, update(999, "new"))
	assertCode(t, 44002, a.post("/cgi-bin/tags/update", `{"tag":{"name":"new"}}`))
}

// 0, 1 and 2 are the platform's own tags.
// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_updatetag.html
// The star tag can be added: https://developers.weixin.qq.com/community/personal/oCJUswz7MQr9OrtCYrfBidYSEGFg/follow
func TestSystemTags(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	for id := range 3 {
		assertCode(t, 45058, a.post("/cgi-bin/tags/update", fmt.Sprintf(`{"tag":{"id":%d,"name":"x"}}`, id)))
		assertCode(t, 45058, a.post("/cgi-bin/tags/delete", fmt.Sprintf(`{"tag":{"id":%d}}`, id)))
	}
	assertCode(t, 45159, a.post(taggingPath, tagging(0, ids(1)...)))
	assertCode(t, 45159, a.post(taggingPath, tagging(1, ids(1)...)))
	assert.Equal(t, ok, a.post(taggingPath, tagging(2, ids(1)...)), "the star tag can be added")
	assert.Equal(t, `{"tagid_list":[2]}`,
		a.post("/cgi-bin/tags/getidlist", `{"openid":"`+wechatusertest.OpenID(0)+`"}`))
	assert.Empty(t, a.Tags())
	assert.Equal(t, ids(1), a.TagFans(2))
}

// 100 per account: https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_createtag.html
// 20 per user: https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
func TestTagLimits(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	for i := range 100 {
		a.AddTag(fmt.Sprint("tag-", i))
	}
	assertCode(t, 45056, a.post("/cgi-bin/tags/create", `{"tag":{"name":"one more"}}`))

	for i := range 20 {
		assert.Equal(t, ok, a.post(taggingPath, tagging(100+i, ids(1)...)))
	}
	assertCode(t, 45059, a.post(taggingPath, tagging(120, ids(2)...)))
	assert.Empty(t, a.TagFans(120), "nothing is applied")
	assert.Equal(t, ok, a.post(taggingPath, tagging(119, ids(1)...)), "the user has this tag already")
	u, _ := a.User(wechatusertest.OpenID(0))
	assert.Len(t, u.TagIDList, 20)
	assert.Equal(t, 100, u.GroupID)
}

// A tag with more than 100,000 followers cannot be deleted.
// https://developers.weixin.qq.com/doc/offiaccount/User_Management/User_Tag_Management.html
func TestDeleteTag(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(100_001))
	vip := a.AddTag("vip", a.OpenIDs()...)
	body := fmt.Sprintf(`{"tag":{"id":%d}}`, vip)
	assertCode(t, 45057, a.post("/cgi-bin/tags/delete", body))
	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, ids(1)...)))
	assert.Equal(t, ok, a.post("/cgi-bin/tags/delete", body))
	assertCode(t, 45159, a.post("/cgi-bin/tags/delete", body))
	assertCode(t, 44002, a.post("/cgi-bin/tags/delete", `{"tag":{}}`))
	assertCode(t, 44002, a.post("/cgi-bin/tags/delete", `{}`))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
// "tagId" fails with 45159: https://developers.weixin.qq.com/community/develop/doc/0000aad08ac9c88a999fcf7a15b800
func TestTagging(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(60))
	vip := a.AddTag("vip")
	left, fan := wechatusertest.OpenID(59), wechatusertest.OpenID(0)
	a.Unfollow(left)
	for _, path := range []string{taggingPath, untaggingPath} {
		msg := assertCode(t, 40032, a.post(path, tagging(vip)))
		assert.Contains(t, msg, " hint: [")
		assertCode(t, 40032, a.post(path, fmt.Sprintf(`{"tagid":%d}`, vip)))
		assertCode(t, 40032, a.post(path, tagging(vip, ids(51)...)))
		assertCode(t, 45159, a.post(path, tagging(999, fan)))
		assertCode(t, 45159, a.post(path, fmt.Sprintf(`{"openid_list":%s,"tagId":%d}`, array(fan), vip)))
		assertCode(t, 47001, a.post(path, fmt.Sprintf(`{"openid_list":%s,"tagid":"%d"}`, array(fan), vip)))
		assertCode(t, 47001, a.post(path, fmt.Sprintf(`{"openid_list":%q,"tagid":%d}`, fan, vip)))
		assertCode(t, 40003, a.post(path, tagging(vip, fan, "malformed")))
		assertCode(t, 49003, a.post(path, tagging(vip, fan, wechatusertest.ForeignOpenID(0))))
	}
	assertCode(t, 50005, a.post(taggingPath, tagging(vip, fan, left)))
	assert.Empty(t, a.TagFans(vip), "nothing is applied if one openid is invalid")
	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, left)), "removing a tag from a former follower succeeds")

	assert.Equal(t, ok, a.post(taggingPath, tagging(vip, append(ids(49), fan)...)), "duplicate openids are allowed")
	assert.Equal(t, ids(49), a.TagFans(vip))
	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, ids(48)...)))
	assert.Equal(t, []string{wechatusertest.OpenID(48)}, a.TagFans(vip))
	assert.Nil(t, a.TagFans(999))
}

// https://developers.weixin.qq.com/community/develop/doc/000ca49433cc585939b92211751c00
func TestTagFans(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/user/tag/get"
	a := newAccount(t, wechatusertest.WithFans(10_001))
	vip := a.AddTag("vip", a.OpenIDs()...)
	all, counts := readPages(t, func(cursor string) string {
		return a.post(path, fmt.Sprintf(`{"tagid":%d,"next_openid":%q}`, vip, cursor))
	})
	assert.Equal(t, []int{10_000, 1, 0}, counts)
	assert.Equal(t, a.OpenIDs(), all)

	star := a.AddTag("star")
	assert.Equal(t, `{"count":0,"next_openid":""}`, a.post(path, fmt.Sprintf(`{"tagid":%d}`, star)), "no total here")
	assert.Equal(t, ok, a.post(taggingPath, tagging(star, wechatusertest.OpenID(7))))
	assert.Equal(t, fmt.Sprintf(`{"count":1,"data":{"openid":[%q]},"next_openid":%[1]q}`, wechatusertest.OpenID(7)),
		a.post(path, fmt.Sprintf(`{"tagid":%d,"next_openid":null}`, star)))

	// The openid of a user who loses the tag while the list is read is a valid cursor.
	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, wechatusertest.OpenID(9_999))))
	got := decode[page](t,
		a.post(path, fmt.Sprintf(`{"tagid":%d,"next_openid":%q}`, vip, wechatusertest.OpenID(9_999))))
	assert.Equal(t, 1, got.Count)

	assertCode(t, 45159, a.post(path, `{"tagid":999}`))
	assertCode(t, 45159, a.post(path, `{}`))
	assertCode(t, 40003, a.post(path, fmt.Sprintf(`{"tagid":%d,"next_openid":"undefined"}`, vip)))
	assertCode(t, 47001, a.post(path, fmt.Sprintf(`{"tagid":%d,"next_openid":1}`, vip)))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagidlist.html
func TestTagIDList(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/tags/getidlist"
	a := newAccount(t, wechatusertest.WithFans(1))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", TagIDList: []int{134, 2, 0, 1}})
	assert.Equal(t, `{"tagid_list":[2,134]}`, a.post(path, `{"openid":"oFAKE"}`))
	a.Unfollow("oFAKE")
	assert.Equal(t, `{"tagid_list":[]}`, a.post(path, `{"openid":"oFAKE"}`))
	assertCode(t, 40003, a.post(path, `{"openid":"malformed"}`))
	assertCode(t, 49003, a.post(path, `{"openid":"`+wechatusertest.ForeignOpenID(0)+`"}`))
	assertCode(t, 44002, a.post(path, `{}`))
	assertCode(t, 47001, a.post(path, `{"openid":[]}`))

	tags := a.Tags()
	require.Len(t, tags, 1)
	assert.Equal(t, 134, tags[0].ID)
	assert.Equal(t, 135, a.AddTag("next"), "ids continue from the highest")
	assert.Equal(t, ok, a.post("/cgi-bin/tags/delete", `{"tag":{"id":135}}`))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", TagIDList: []int{120}})
	assert.Equal(t, 136, a.AddTag("next"), "including deleted tags")
}
