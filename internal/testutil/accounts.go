package testutil

import (
	"testing"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// NewAccount returns a simulated account with n followers, its client, and a tag without members.
func NewAccount(t testing.TB, n int, opts ...wechatuser.Option) (*wechatusertest.Server, *wechatuser.Client, int) {
	t.Helper()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(n))
	return srv, srv.Client(opts...), srv.AddTag("vip")
}

// OpenIDs returns the first n synthetic openids.
func OpenIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = wechatusertest.OpenID(i)
	}
	return ids
}

// AliceBody is the profile of Alice as the platform sends it.
const AliceBody = `{"subscribe":1,"openid":"` + Alice + `","nickname":"A","sex":2,"language":"zh_CN","city":"广州",` +
	`"province":"广东","country":"中国","headimgurl":"https:\/\/wx.qlogo.cn\/0","subscribe_time":1641364601,"unionid":"uFAKE",` +
	`"remark":"r","groupid":100,"tagid_list":[100,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,"qr_scene_str":"s"}`

// AliceInfo is what AliceBody decodes to.
var AliceInfo = wechatuser.UserInfo{
	Subscribe: 1, OpenID: Alice, Nickname: "A", Sex: 2, Language: "zh_CN", City: "广州",
	Province: "广东", Country: "中国", HeadImgURL: "https://wx.qlogo.cn/0", SubscribeTime: 1641364601, UnionID: "uFAKE",
	Remark: "r", GroupID: 100, TagIDList: []int{100, 2}, SubscribeScene: wechatuser.SceneQRCode, QRScene: 98765,
	QRSceneStr: "s",
}

// RID is a request ID.
const RID = "617682e0-09059ac5-34a8e2ea"

// TokenBody is a response with a token.
const TokenBody = `{"access_token":"` + Token + `","expires_in":7200}`

// BubbleToken is the token of TokenBody at the start of a synctest bubble.
var BubbleToken = wechatuser.Token{
	AccessToken: Token, ExpiresAt: time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC).Local(),
}

// The account of the tests. No 8 characters in a row of Token and Secret may turn up anywhere. They begin with
// Sentinel, end differently, and hold characters that a URL escapes.
const (
	Sentinel = "SENTINEL"
	AppID    = "wxFAKE000000000000"
	Secret   = Sentinel + "-secret+/=-7Hq2vYd0xTerces"
	Token    = Sentinel + "-token+/=-b3Kw9ZpLnEkot"
)

// Openids of the tests.
const (
	Alice = "oFAKE0000000000000000alice"
	Bob   = "oFAKE00000000000000000-bob"
	Carol = "oFAKE0000000000000000_caro"
)

// OKBody is the response to a write.
const OKBody = `{"errcode":0,"errmsg":"ok"}`

// TagsBody is a response to getTags.
const TagsBody = `{"tags":[{"id":2,"name":"星标组","count":0},{"id":100,"name":"vip","count":12}]}`

// TokenModes are the options for each kind of token.
var TokenModes = map[string][]wechatuser.Option{
	"stable": nil,
	"legacy": {wechatuser.WithLegacyToken()},
}
