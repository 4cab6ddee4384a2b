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

// fullUser has a value in each field.
var fullUser = wechatuser.UserInfo{
	Subscribe: 1, OpenID: "oFAKEfull", UnionID: "ouFAKE", Language: "en", SubscribeTime: 1641364601, Remark: "老客户",
	GroupID: 7, TagIDList: []int{2, 134}, SubscribeScene: wechatuser.SceneQRCode, QRScene: 98765, QRSceneStr: "door",
	Nickname: "Band", Sex: 1, City: "广州", Province: "广东", Country: "中国", HeadImgURL: "http://example.com/0",
}

// Since 2021 the fields for name, sex and place are still sent, as "" and 0; unionid is absent unless there is one.
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

// Somebody who has left still gives an answer, without what concerns their following.
// https://developers.weixin.qq.com/community/develop/doc/000c6a3a7f8a28643e643d0226b000
func TestUserInfoOfSomebodyWhoLeft(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.AddUsers(fullUser)
	a.Unfollow("oFAKEfull")
	assert.Equal(t, `{"subscribe":0,"openid":"oFAKEfull","nickname":"","sex":0,"language":"zh_CN","city":"","province":"",`+
		`"country":"","headimgurl":"","tagid_list":[]}`, a.get("/cgi-bin/user/info", "openid", "oFAKEfull"))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_userinfo.html
func TestUserInfoRefusals(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	msg := refused(t, 40003, a.get("/cgi-bin/user/info", "openid", "malformed"))
	assert.Regexp(t, `^invalid openid rid: \S+$`, msg)
	refused(t, 40003, a.get("/cgi-bin/user/info", "openid", wechatusertest.ForeignOpenID(0)))
	refused(t, 41009, a.get("/cgi-bin/user/info"))
}

func userList(openIDs ...string) string {
	var items []string
	for _, id := range openIDs {
		items = append(items, fmt.Sprintf(`{"openid":%q,"lang":"zh_CN"}`, id))
	}
	return `{"user_list":[` + strings.Join(items, ",") + `]}`
}

// At most 100, and 40032 for none: https://developers.weixin.qq.com/community/develop/doc/0008c6754b4628c0063232e1361400
// One wrong openid fails the call: https://developers.weixin.qq.com/community/develop/doc/000026501ecb90068b1b5518952000
func TestBatchUserInfo(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/user/info/batchget"
	a := newAccount(t, wechatusertest.WithFans(101))
	a.Unfollow(wechatusertest.OpenID(1))
	order := []string{wechatusertest.OpenID(2), wechatusertest.OpenID(0), wechatusertest.OpenID(1)}
	type answer struct {
		List []wechatuser.UserInfo `json:"user_info_list"`
	}
	got := decode[answer](t, a.post(path, userList(order...)))
	require.Len(t, got.List, 3)
	for i, u := range got.List {
		assert.Equal(t, order[i], u.OpenID, "the order of the question")
	}
	assert.True(t, got.List[0].Subscribed())
	assert.False(t, got.List[2].Subscribed(), "somebody who left is no error")
	assert.Len(t, decode[answer](t, a.post(path, userList(ids(100)...))).List, 100)

	assert.Len(t, decode[answer](t, a.post(path, userList(order[0], order[0]))).List, 2)

	msg := refused(t, 40032, a.post(path, `{"user_list":[]}`))
	assert.Regexp(t, `^invalid openid list size hint: \[[A-Za-z0-9-]{16}\] rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, msg)
	refused(t, 40032, a.post(path, `{}`))
	refused(t, 40032, a.post(path, userList(ids(101)...)))
	refused(t, 47001, a.post(path, `{"user_list":["oFAKE"]}`))
	for _, bad := range []string{"malformed", "", wechatusertest.ForeignOpenID(0)} {
		refused(t, 40003, a.post(path, userList(order[0], bad)))
	}
}

// walk reads a list to its end and returns its pages' lengths.
func walk(t *testing.T, next func(cursor string) string) (openIDs []string, counts []int) {
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
		assert.Equal(t, openIDs[len(openIDs)-1], cursor, "the cursor is the last openid of its page, on the last page too")
	}
}

// The last page has a next_openid, only the empty one after it has none:
// https://developers.weixin.qq.com/community/develop/doc/000cc49f8f00b0959bdaba99a51000
// https://github.com/foxinmy/weixin4j/issues/82
// A cursor that is no openid: https://github.com/node-webot/wechat/issues/36
func TestFans(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(25_000))
	all, counts := walk(t, func(cursor string) string { return a.get("/cgi-bin/user/get", "next_openid", cursor) })
	assert.Equal(t, []int{10_000, 10_000, 5_000, 0}, counts)
	assert.Equal(t, ids(25_000), all)
	assert.Equal(t, a.OpenIDs(), all)

	last := a.get("/cgi-bin/user/get", "next_openid", wechatusertest.OpenID(24_999))
	assert.Equal(t, `{"total":25000,"count":0,"next_openid":""}`, last)
	refused(t, 40003, a.get("/cgi-bin/user/get", "next_openid", "undefined"))

	assert.Equal(t, `{"total":0,"count":0,"next_openid":""}`, newAccount(t).get("/cgi-bin/user/get"))
	a = newAccount(t, wechatusertest.WithFans(2))
	assert.Equal(t, fmt.Sprintf(`{"total":2,"count":2,"data":{"openid":%s},"next_openid":%q}`, array(ids(2)...), wechatusertest.OpenID(1)),
		a.get("/cgi-bin/user/get"))
}

// Somebody who leaves during a walk is no longer listed, and their openid stays good as a cursor.
// https://developers.weixin.qq.com/community/develop/doc/0004e25a390b58e0419b79efd51400
func TestFansWhoLeaveDuringAWalk(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(6), wechatusertest.WithPageSize(2))
	first := decode[page](t, a.get("/cgi-bin/user/get"))
	a.Unfollow(*first.Next, wechatusertest.OpenID(3))
	second := decode[page](t, a.get("/cgi-bin/user/get", "next_openid", *first.Next))
	assert.Equal(t, 4, *second.Total)
	assert.Equal(t, []string{wechatusertest.OpenID(2), wechatusertest.OpenID(4)}, second.Data.OpenID)

	a.Follow(wechatusertest.OpenID(3))
	assert.Equal(t, slices.Delete(ids(6), 1, 2), a.OpenIDs(), "who comes back has their old place")
}

func remark(openID, text string) string {
	b, _ := json.Marshal(map[string]string{"openid": openID})
	return strings.TrimSuffix(string(b), "}") + `,"remark":` + text + `}`
}

// 30 bytes: https://developers.weixin.qq.com/community/develop/doc/0002e6f2fccc3808a0c4325466e400
// Escapes are stored as they are: https://developers.weixin.qq.com/community/develop/doc/00086a2f0248708bc92ba55bd51c00
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
		refused(t, 40092, a.post(path, remark(id, `"`+long+`"`)))
	}
	msg := refused(t, 40003, a.post(path, remark("malformed", `""`)))
	assert.Contains(t, msg, "invalid openid hint: [")
	refused(t, 40003, a.post(path, remark(wechatusertest.ForeignOpenID(0), `""`)))
	refused(t, 44002, a.post(path, `{"remark":"x"}`))
	refused(t, 44002, a.post(path, `{"openid":null,"remark":"x"}`))
	refused(t, 44002, a.post(path, `{"openid":"`+id+`"}`))
	refused(t, 47001, a.post(path, remark(id, `1`)))
	a.Unfollow(id)
	refused(t, 43004, a.post(path, remark(id, `"x"`)))

	decoding := newAccount(t, wechatusertest.WithFans(1), wechatusertest.WithQuirks(wechatusertest.Quirks{DecodedEscapes: true}))
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
	msg := refused(t, 63178, a.post(path, `{"from_appid":"wxelse","openid_list":["oFAKEold"]}`))
	assert.Regexp(t, `^appid wrong rid: `, msg)
	refused(t, 63182, a.post(path, `{"from_appid":"wxold","openid_list":[]}`))
	refused(t, 63182, a.post(path, `{"from_appid":"wxold"}`))
	refused(t, 63179, a.post(path, `{"from_appid":"wxold","openid_list":`+array(ids(101)...)+`}`))
	refused(t, 47001, a.post(path, `{"from_appid":"wxold","openid_list":"oFAKEold"}`))
	refused(t, 63178, newAccount(t).post(path, `{"openid_list":["oFAKEold"]}`))

	vip := a.AddTag("vip")
	refused(t, 49003, a.post("/cgi-bin/tags/members/batchtagging", tagging(vip, "oFAKEold")))
}
