package wechatuser

import (
	"encoding/json"
	"time"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// Lang is the language of place names in a profile.
//
// The platform has left place names empty since 2021; it still accepts the parameter.
type Lang string

// The languages that the platform knows. Its default is LangZhCN.
const (
	LangZhCN Lang = "zh_CN"
	LangZhTW Lang = "zh_TW"
	LangEN   Lang = "en"
)

// SubscribeScene is how a follower came to the account.
//
// Values that this version does not know are passed through unchanged.
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
// For a user who does not follow the account, Subscribe is 0 and everything except OpenID is empty. The strings, tag
// IDs and extra fields of profiles from one response share memory in blocks of a few KiB.
//
// A struct that embeds UserInfo inherits MarshalJSON and UnmarshalJSON, and encoding/json leaves out its other fields:
// give it a field of this type instead, or put the other values into Extra.
type UserInfo struct {
	// Subscribe is 1 for a follower and 0 for a former follower; see [UserInfo.Subscribed].
	Subscribe int `json:"subscribe"`
	// OpenID identifies the user within this account.
	OpenID string `json:"openid"`
	// UnionID identifies the user in all accounts that are bound to the same Open Platform (开放平台) account; empty if
	// this account is bound to none.
	UnionID string `json:"unionid,omitempty"`
	// Language is "zh_CN" for everybody since 2021.
	Language string `json:"language"`
	// SubscribeTime is when the user last followed the account, in Unix seconds; see [UserInfo.SubscribedAt].
	SubscribeTime int64 `json:"subscribe_time"`
	// Remark is the note of the account's operator about the user. One that was typed into the console can be longer
	// than [Client.UpdateRemark] accepts.
	Remark string `json:"remark"`
	// GroupID belongs to the group API, which tags have replaced; 0 if the user has no tag.
	GroupID int `json:"groupid"`
	// TagIDList holds the IDs of the user's tags, at most 20.
	TagIDList []int `json:"tagid_list"`
	// SubscribeScene is how the user came to follow the account.
	SubscribeScene SubscribeScene `json:"subscribe_scene"`
	// QRScene is the scene ID of the QR code that the user scanned, 0 if none.
	QRScene int64 `json:"qr_scene"`
	// QRSceneStr is the scene string of the QR code that the user scanned, empty if none.
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

	// Extra holds the fields of the platform's response that this version does not know, by their JSON names, as the
	// platform sent them. It is nil if there are none. At most 64 fields are kept.
	Extra map[string]json.RawMessage `json:"-"`
}

// profile is UserInfo without its methods.
type profile UserInfo

// MarshalJSON returns the profile as JSON with the platform's names: the known fields first, and then those of Extra,
// sorted by name. It leaves out a field of Extra that has the name of a known field.
func (u UserInfo) MarshalJSON() ([]byte, error) { return wire.MarshalWithUnknown(profile(u)) }

// UnmarshalJSON replaces the profile with one that MarshalJSON returned, or that the platform sent. It accepts what the
// platform is known to send, such as a number in quotes, or null in place of a list.
func (u *UserInfo) UnmarshalJSON(data []byte) error {
	if string(data) == "null" { // by convention, this changes nothing
		return nil
	}
	if err := wire.Unmarshal(data, (*profile)(u)); err != nil || u.TagIDList == nil || len(u.TagIDList) > 0 {
		return err
	}
	// Responses have an empty list for null, and MarshalJSON has null for a nil list, which is to be nil again.
	var list struct {
		TagIDs *[]int `json:"tagid_list"`
	}
	err := wire.Unmarshal(data, &list)
	if list.TagIDs == nil {
		u.TagIDList = nil
	}
	return err
}

// Subscribed reports whether the user follows the account.
func (u UserInfo) Subscribed() bool { return u.Subscribe == 1 }

// SubscribedAt returns when the user last followed the account, and the zero time for a user who does not follow it.
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
	// Total is the length of the whole list as the platform counts it, which can differ from what its pages hold.
	// It is 0 from [Client.GetTagFans], where the platform does not send it.
	Total int
	// Count is the number of openids in this page.
	Count int
	// OpenIDs is the page: up to 10,000 openids, or 1,000 of the blacklist, for which the platform's documentation said
	// 10,000 in the past. Neighbors share memory in blocks of at most 24 KiB: an openid that you keep keeps its block
	// in memory, but not the page.
	OpenIDs []string
	// NextOpenID is the last openid of this page, and the cursor of the next one. It is not empty on the last page: the
	// list ends with a page that has no openids. [Client.AllFans] returns the whole list.
	NextOpenID string
}

// Tag is a label for followers. An account has up to 100 of them, a follower up to 20.
type Tag struct {
	// ID is 100 or more; 0, 1 and 2 are the platform's own: no tag, blocked and starred (未分组, 黑名单, 星标组).
	ID int `json:"id"`
	// Name is unique in the account and has at most 30 bytes of UTF-8, which is 10 Chinese characters.
	Name string `json:"name"`
	// Count is the number of followers with this tag. It can be up to ten hours out of date.
	Count int `json:"count"`
}

// OpenIDChange is the new openid of a user after the account was migrated.
type OpenIDChange struct {
	From string // the openid in the old account
	To   string // the openid in the new account, empty if Err is not nil
	// Err is why there is no new openid: nil or an [*OpenIDError].
	Err error
}

// APIQuota is how much of an API's quota is used.
type APIQuota struct {
	DailyLimit int // calls a day
	Used       int // calls made today; out of date at times, even 0 while the platform refuses calls
	Remain     int // calls left today
	// RateLimit is the limit of calls in a short period; zero if the platform does not send it.
	RateLimit RateLimit
	// ComponentRateLimit is the same for calls through a third-party platform.
	ComponentRateLimit RateLimit
}

// RateLimit is a number of calls in a period.
type RateLimit struct {
	Calls  int
	Period time.Duration
}

// RIDInfo is what the platform recorded about a failed call. Tokens and the app secret are redacted in its texts.
type RIDInfo struct {
	InvokedAt    time.Time
	Cost         time.Duration // how long the platform took
	RequestURL   string        // the query of the request
	RequestBody  string
	ResponseBody string
	ClientIP     string // the caller's address, as the platform saw it
}
