package wechatuser

import "time"

// Lang is the language of the names of places in a profile.
//
// The platform has not filled those names since 2021; the parameter is still accepted.
type Lang string

// The languages that the platform knows. It takes LangZhCN where none is given.
const (
	LangZhCN Lang = "zh_CN"
	LangZhTW Lang = "zh_TW"
	LangEN   Lang = "en"
)

// SubscribeScene says how a follower came to the account.
//
// Values that this version does not know are passed through as they are.
type SubscribeScene string

// The scenes that the platform documents.
const (
	SceneSearch              SubscribeScene = "ADD_SCENE_SEARCH"               // 公众号搜索
	SceneAccountMigration    SubscribeScene = "ADD_SCENE_ACCOUNT_MIGRATION"    // 公众号迁移
	SceneProfileCard         SubscribeScene = "ADD_SCENE_PROFILE_CARD"         // 名片分享
	SceneQRCode              SubscribeScene = "ADD_SCENE_QR_CODE"              // 扫描二维码
	SceneProfileLink         SubscribeScene = "ADD_SCENE_PROFILE_LINK"         // 图文页内名称点击
	SceneProfileItem         SubscribeScene = "ADD_SCENE_PROFILE_ITEM"         // 图文页右上角菜单
	ScenePaid                SubscribeScene = "ADD_SCENE_PAID"                 // 支付后关注
	SceneWechatAdvertisement SubscribeScene = "ADD_SCENE_WECHAT_ADVERTISEMENT" // 微信广告
	SceneReprint             SubscribeScene = "ADD_SCENE_REPRINT"              // 他人转载
	SceneLivestream          SubscribeScene = "ADD_SCENE_LIVESTREAM"           // 视频号直播
	SceneChannels            SubscribeScene = "ADD_SCENE_CHANNELS"             // 视频号
	SceneMiniProgram         SubscribeScene = "ADD_SCENE_WXA"                  // 小程序关注
	SceneOthers              SubscribeScene = "ADD_SCENE_OTHERS"               // 其他
)

// UserInfo is the profile of a follower, with the platform's fields and JSON names.
//
// For somebody who does not follow the account, Subscribe is 0 and all but OpenID is empty. The texts of profiles that came
// in one answer share memory, in blocks of some KiB.
type UserInfo struct {
	// Subscribe is 1 for a follower and 0 for somebody who has left; see [UserInfo.Subscribed].
	Subscribe int `json:"subscribe"`
	// OpenID identifies the user within this account.
	OpenID string `json:"openid"`
	// UnionID identifies the user within an Open Platform account; empty where the account is not bound to one.
	UnionID string `json:"unionid,omitempty"`
	// Language is "zh_CN" for everybody since 2021.
	Language string `json:"language"`
	// SubscribeTime is when the user last followed, in Unix seconds; see [UserInfo.SubscribedAt].
	SubscribeTime int64 `json:"subscribe_time"`
	// Remark is what the account's operator wrote about the user. Text that was typed into the console can be
	// longer than [Client.UpdateRemark] accepts.
	Remark string `json:"remark"`
	// GroupID belongs to the group API that tags have replaced; 0 where the user has no tag.
	GroupID int `json:"groupid"`
	// TagIDList holds the ids of the user's tags, 20 at most.
	TagIDList []int `json:"tagid_list"`
	// SubscribeScene says how the user came to follow.
	SubscribeScene SubscribeScene `json:"subscribe_scene"`
	// QRScene is the scene id of the QR code that was scanned, 0 if none.
	QRScene int64 `json:"qr_scene"`
	// QRSceneStr is the scene string of the QR code that was scanned, empty if none.
	QRSceneStr string `json:"qr_scene_str"`

	// Nickname has been empty since 2021-12-27, when the platform stopped filling it.
	Nickname string `json:"nickname"`
	// Sex has been 0 since 2021, when the platform stopped filling it. It was 1 for male and 2 for female.
	Sex int `json:"sex"`
	// City has been empty since 2021.
	City string `json:"city"`
	// Province has been empty since 2021.
	Province string `json:"province"`
	// Country has been empty since 2021.
	Country string `json:"country"`
	// HeadImgURL has been empty since 2021-12-27.
	HeadImgURL string `json:"headimgurl"`
}

// Subscribed reports whether the user follows the account.
func (u UserInfo) Subscribed() bool { return u.Subscribe == 1 }

// SubscribedAt is when the user last followed the account; the zero time for somebody who does not follow it.
func (u UserInfo) SubscribedAt() time.Time {
	if u.SubscribeTime == 0 {
		return time.Time{}
	}
	return time.Unix(u.SubscribeTime, 0)
}

// UserQuery asks [Client.BatchUserInfo] for one profile.
type UserQuery struct {
	OpenID string
	Lang   Lang // optional
}

// OpenIDPage is one page of a list of openids.
type OpenIDPage struct {
	// Total is the length of the whole list as the platform counts it, which can differ from what its pages hold;
	// 0 from [Client.GetTagFans], where the platform does not say.
	Total int
	// Count is the number of openids in this page.
	Count int
	// OpenIDs is the page: up to 10,000 of them, or 1,000 of a blacklist. Neighbours share memory in blocks of at most
	// 24 KiB: an openid that is kept keeps its block, and not the page.
	OpenIDs []string
	// NextOpenID is the last openid of this page, which is what to ask the next page with. It is not empty on the
	// last page; the list ends with a page that has no openids. [Client.AllFans] walks over it all.
	NextOpenID string
}

// Tag is a label for followers. An account has up to 100 of them, a follower up to 20.
type Tag struct {
	// ID is 100 or more; 0, 1 and 2 are the platform's own (未分组, 黑名单, 星标组).
	ID int `json:"id"`
	// Name is unique in the account and has at most 30 bytes of UTF-8, which is 10 Chinese characters.
	Name string `json:"name"`
	// Count is the number of followers with this tag. It lags by up to ten hours.
	Count int `json:"count"`
}

// OpenIDChange tells the new openid of a user after the account was migrated.
type OpenIDChange struct {
	From string // the openid in the old account
	To   string // the openid in the new account, empty where Err is not nil
	// Err is why this openid was not changed, nil where it was: an [*OpenIDError].
	Err error
}

// APIQuota is how much of an API's quota is used.
type APIQuota struct {
	DailyLimit int // calls a day
	Used       int // calls made today; lags, and can be 0 while the platform refuses calls
	Remain     int // calls left today
	// RateLimit is the limit of calls in a short time; zero where the platform does not say.
	RateLimit RateLimit
	// ComponentRateLimit is the same for calls through a third-party platform.
	ComponentRateLimit RateLimit
}

// RateLimit is a number of calls in a time.
type RateLimit struct {
	Calls  int
	Period time.Duration
}

// RIDInfo is what the platform remembers of a failed call.
type RIDInfo struct {
	InvokedAt time.Time
	Cost      time.Duration
	// RequestURL is the query of the request, in which the access token is masked.
	RequestURL   string
	RequestBody  string
	ResponseBody string
	ClientIP     string // where the platform saw the call come from
}
