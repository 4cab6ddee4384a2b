package wechatusertest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// fullUser has a value in every field.
var fullUser = wechatuser.UserInfo{
	Subscribe: 1, OpenID: "oFAKEfull", UnionID: "ouFAKE", Language: "en", SubscribeTime: 1641364601, Remark: "老客户",
	GroupID: 7, TagIDList: []int{2, 134}, SubscribeScene: wechatuser.SceneQRCode, QRScene: 98765, QRSceneStr: "door",
	Nickname: "Band", Sex: 1, City: "广州", Province: "广东", Country: "中国", HeadImgURL: "http://example.com/0",
}

// Since 2021 the fields for name, sex and place are always "" or 0. unionid is absent if the user has none.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html
// https://developers.weixin.qq.com/community/develop/doc/00028edbe3c58081e7cc834705b801
func TestUserInfo(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	assert.Equal(t, fmt.Sprintf(`{"subscribe":1,"openid":%q,"nickname":"","sex":0,"language":"zh_CN","city":"",`+
		`"province":"","country":"","headimgurl":"","subscribe_time":%d,"remark":"","groupid":0,"tagid_list":[],`+
		`"subscribe_scene":"ADD_SCENE_SEARCH","qr_scene":0,"qr_scene_str":""}`, wechatusertest.OpenID(0), start.Unix()),
		a.get("/cgi-bin/user/info", "openid", wechatusertest.OpenID(0), "lang", "en"))

	a.AddUsers(fullUser)
	body := a.get("/cgi-bin/user/info", "openid", "oFAKEfull")
	assert.Equal(t, fullUser, decode[wechatuser.UserInfo](t, body))
	assert.Contains(t, body, `"headimgurl":"http:\/\/example.com\/0"`)
}

// For a former follower the call succeeds, without the fields about the subscription.
// https://developers.weixin.qq.com/community/develop/doc/000c6a3a7f8a28643e643d0226b000
func TestUserInfoOfAFormerFollower(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.AddUsers(fullUser)
	a.Unfollow("oFAKEfull")
	assert.Equal(t, `{"subscribe":0,"openid":"oFAKEfull","nickname":"","sex":0,"language":"zh_CN","city":"",`+
		`"province":"","country":"","headimgurl":"","tagid_list":[]}`,
		a.get("/cgi-bin/user/info", "openid", "oFAKEfull"))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html
func TestUserInfoErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	msg := assertCode(t, 40003, a.get("/cgi-bin/user/info", "openid", "malformed"))
	assert.Regexp(t, `^invalid openid rid: \S+$`, msg)
	assertCode(t, 40003, a.get("/cgi-bin/user/info", "openid", wechatusertest.ForeignOpenID(0)))
	assertCode(t, 41009, a.get("/cgi-bin/user/info"))
}

func userList(openIDs ...string) string {
	var items []string
	for _, id := range openIDs {
		items = append(items, fmt.Sprintf(`{"openid":%q,"lang":"zh_CN"}`, id))
	}
	return `{"user_list":[` + strings.Join(items, ",") + `]}`
}

// At most 100 openids, and 40032 for an empty list:
// https://developers.weixin.qq.com/community/develop/doc/0008c6754b4628c0063232e1361400
// One invalid openid fails the call:
// https://developers.weixin.qq.com/community/develop/doc/000026501ecb90068b1b5518952000
func TestBatchUserInfo(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/user/info/batchget"
	a := newAccount(t, wechatusertest.WithFans(101))
	a.Unfollow(wechatusertest.OpenID(1))
	order := []string{wechatusertest.OpenID(2), wechatusertest.OpenID(0), wechatusertest.OpenID(1)}
	got := decode[batch](t, a.post(path, userList(order...)))
	require.Len(t, got.List, 3)
	for i, u := range got.List {
		assert.Equal(t, order[i], u.OpenID, "the order of the request")
	}
	assert.True(t, got.List[0].Subscribed())
	assert.False(t, got.List[2].Subscribed(), "a former follower is not an error")
	assert.Len(t, decode[batch](t, a.post(path, userList(ids(100)...))).List, 100)

	assert.Len(t, decode[batch](t, a.post(path, userList(order[0], order[0]))).List, 2)

	msg := assertCode(t, 40032, a.post(path, `{"user_list":[]}`))
	assert.Regexp(t, `^invalid openid list size hint: \[[A-Za-z0-9-]{16}\] rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`,
		msg)
	assertCode(t, 40032, a.post(path, `{}`))
	assertCode(t, 40032, a.post(path, userList(ids(101)...)))
	assertCode(t, 47001, a.post(path, `{"user_list":["oFAKE"]}`))
	for _, bad := range []string{"malformed", "", wechatusertest.ForeignOpenID(0)} {
		assertCode(t, 40003, a.post(path, userList(order[0], bad)))
	}
}

// readPages reads a list to its end, and returns its openids and the lengths of its pages.
func readPages(t *testing.T, next func(cursor string) string) (openIDs []string, counts []int) {
	t.Helper()
	for cursor := ""; ; {
		got := decode[page](t, next(cursor))
		counts = append(counts, got.Count)
		if got.Count == 0 {
			assert.Nil(t, got.Data, "an empty page has no data")
			assert.Equal(t, "", *got.Next)
			return openIDs, counts
		}
		assert.Len(t, got.Data.OpenID, got.Count)
		openIDs = append(openIDs, got.Data.OpenID...)
		cursor = *got.Next
		assert.Equal(t, openIDs[len(openIDs)-1], cursor, "each page, also the last one, ends with its cursor")
	}
}

// The last page has a next_openid; only the empty page after it has none:
// https://developers.weixin.qq.com/community/develop/doc/000cc49f8f00b0959bdaba99a51000
// https://github.com/foxinmy/weixin4j/issues/82
// A cursor that is not an openid: https://github.com/node-webot/wechat/issues/36
func TestFans(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(25_000))
	all, counts := readPages(t, func(cursor string) string { return a.get("/cgi-bin/user/get", "next_openid", cursor) })
	assert.Equal(t, []int{10_000, 10_000, 5_000, 0}, counts)
	assert.Equal(t, ids(25_000), all)
	assert.Equal(t, a.OpenIDs(), all)

	last := a.get("/cgi-bin/user/get", "next_openid", wechatusertest.OpenID(24_999))
	assert.Equal(t, `{"total":25000,"count":0,"next_openid":""}`, last)
	assertCode(t, 40003, a.get("/cgi-bin/user/get", "next_openid", "undefined"))

	assert.Equal(t, `{"total":0,"count":0,"next_openid":""}`, newAccount(t).get("/cgi-bin/user/get"))
	a = newAccount(t, wechatusertest.WithFans(2))
	assert.Equal(t, fmt.Sprintf(`{"total":2,"count":2,"data":{"openid":%s},"next_openid":%q}`,
		array(ids(2)...), wechatusertest.OpenID(1)), a.get("/cgi-bin/user/get"))
}

// A user who leaves while the list is read is no longer listed, and the openid remains a valid cursor.
// https://developers.weixin.qq.com/community/develop/doc/0004e25a390b58e0419b79efd51400
func TestFansWhoLeaveWhileTheListIsRead(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(6), wechatusertest.WithPageSize(2))
	first := decode[page](t, a.get("/cgi-bin/user/get"))
	a.Unfollow(*first.Next, wechatusertest.OpenID(3))
	second := decode[page](t, a.get("/cgi-bin/user/get", "next_openid", *first.Next))
	assert.Equal(t, 4, *second.Total)
	assert.Equal(t, []string{wechatusertest.OpenID(2), wechatusertest.OpenID(4)}, second.Data.OpenID)

	a.Follow(wechatusertest.OpenID(3))
	assert.Equal(t, slices.Delete(ids(6), 1, 2), a.OpenIDs(), "a returning user has the old position")
}

func remark(openID, text string) string {
	b, _ := json.Marshal(map[string]string{"openid": openID})
	return strings.TrimSuffix(string(b), "}") + `,"remark":` + text + `}`
}

// 30 bytes: https://developers.weixin.qq.com/community/develop/doc/0002e6f2fccc3808a0c4325466e400
// Escapes are stored undecoded: https://developers.weixin.qq.com/community/develop/doc/00086a2f0248708bc92ba55bd51c00
func TestUpdateRemark(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/user/info/updateremark"
	a := newAccount(t, wechatusertest.WithFans(2))
	id := wechatusertest.OpenID(0)
	stored := func() string {
		u, _ := a.User(id)
		return u.Remark
	}
	for text, want := range map[string]string{
		`"老客户"`:                                  "老客户",
		`"` + strings.Repeat("客", 10) + `"`:      strings.Repeat("客", 10), // 30 bytes
		`"` + strings.Repeat("\\u5ba2", 5) + `"`: strings.Repeat(`\u5ba2`, 5),
		`"\\u5ba2 \"\/\n"`:                       "\\u5ba2 \"/\n",
		`""`:                                     "",
	} {
		assert.Equal(t, ok, a.post(path, remark(id, text)))
		assert.Equal(t, want, stored())
	}
	for _, long := range []string{strings.Repeat("客", 11), strings.Repeat("x", 31), strings.Repeat(`\u5ba2`, 6)} {
		assertCode(t, 40092, a.post(path, remark(id, `"`+long+`"`)))
	}
	msg := assertCode(t, 40003, a.post(path, remark("malformed", `""`)))
	assert.Contains(t, msg, "invalid openid hint: [")
	assertCode(t, 40003, a.post(path, remark(wechatusertest.ForeignOpenID(0), `""`)))
	assertCode(t, 44002, a.post(path, `{"remark":"x"}`))
	assertCode(t, 44002, a.post(path, `{"openid":null,"remark":"x"}`))
	assertCode(t, 44002, a.post(path, `{"openid":"`+id+`"}`))
	assertCode(t, 47001, a.post(path, remark(id, `1`)))
	a.Unfollow(id)
	assertCode(t, 43004, a.post(path, remark(id, `"x"`)))

	decoding := newQuirky(t, wechatusertest.Quirks{DecodedEscapes: true}, wechatusertest.WithFans(1))
	assert.Equal(t, ok, decoding.post(path, remark(id, `"`+strings.Repeat("\\u5ba2", 10)+`"`)))
	u, _ := decoding.User(id)
	assert.Equal(t, strings.Repeat("客", 10), u.Remark)
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html
// from_appid is the app ID: https://developers.weixin.qq.com/community/develop/doc/000aea3bf1cf708d3cc4e31186b000
func TestChangeOpenID(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/changeopenid"
	a := newAccount(t, wechatusertest.WithMigration("wxold", map[string]string{"oFAKEold": "oFAKEnew"}))
	assert.Equal(t, `{"errcode":0,"errmsg":"ok","result_list":[`+
		`{"ori_openid":"oFAKEold","new_openid":"oFAKEnew","err_msg":"ok"},`+
		`{"ori_openid":"oFAKEelse","err_msg":"ori_openid error"}]}`,
		a.post(path, `{"from_appid":"wxold","openid_list":["oFAKEold","oFAKEelse"]}`))
	msg := assertCode(t, 63178, a.post(path, `{"from_appid":"wxelse","openid_list":["oFAKEold"]}`))
	assert.Regexp(t, `^appid wrong rid: `, msg)
	assertCode(t, 63182, a.post(path, `{"from_appid":"wxold","openid_list":[]}`))
	assertCode(t, 63182, a.post(path, `{"from_appid":"wxold"}`))
	assertCode(t, 63179, a.post(path, `{"from_appid":"wxold","openid_list":`+array(ids(101)...)+`}`))
	assertCode(t, 47001, a.post(path, `{"from_appid":"wxold","openid_list":"oFAKEold"}`))
	assertCode(t, 63178, newAccount(t).post(path, `{"openid_list":["oFAKEold"]}`))

	vip := a.AddTag("vip")
	assertCode(t, 49003, a.post("/cgi-bin/tags/members/batchtagging", tagging(vip, "oFAKEold")))
}
