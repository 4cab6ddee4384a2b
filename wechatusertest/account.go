package wechatusertest

import (
	"cmp"
	"time"

	"github.com/wechatuser/wechatuser"
)

// account is the data of an Official Account, stored compactly so that a million followers fit into memory.
type account struct {
	// users holds everybody who ever followed, in the order of their first follow. Users are never removed: the openid
	// of a former follower remains a valid cursor.
	users []user
	index map[string]int // from openid to index in users

	following, blocked bitset // of indexes in users

	tags    []*tag // sorted by id, the star tag first
	nextTag int
}

type user struct {
	openID        string
	remark        string
	subscribeTime int64    // Unix seconds
	profile       *Profile // nil for the zero one
}

// Profile holds the individual fields of a user. A zero field has a default in the user's profile: SubscribeScene is
// [wechatuser.SceneSearch], Language is "zh_CN", and GroupID is the id of the user's first tag.
type Profile struct {
	UnionID        string                    `json:"unionid,omitempty"`
	SubscribeScene wechatuser.SubscribeScene `json:"subscribe_scene,omitempty"`
	QRScene        int64                     `json:"qr_scene,omitempty"`
	QRSceneStr     string                    `json:"qr_scene_str,omitempty"`
	GroupID        int                       `json:"groupid,omitempty"`
	Language       string                    `json:"language,omitempty"`
	Nickname       string                    `json:"nickname,omitempty"`
	Sex            int                       `json:"sex,omitempty"`
	City           string                    `json:"city,omitempty"`
	Province       string                    `json:"province,omitempty"`
	Country        string                    `json:"country,omitempty"`
	HeadImgURL     string                    `json:"headimgurl,omitempty"`
}

type tag struct {
	id   int
	name string
	fans bitset // of indexes in users

	reported   int // the count that tags/get returned last
	reportedAt time.Time
}

const (
	starTag    = 2   // 星标组, which can be added to followers like any other tag
	firstTagID = 100 // lower ids are reserved by the platform
)

// systemTags holds the names of the platform's own tags, indexed by id. No other tag can have one of them.
var systemTags = [...]string{"未分组", "黑名单", "星标组"}

func newAccount() account {
	return account{
		index:   make(map[string]int),
		tags:    []*tag{{id: starTag, name: systemTags[starTag]}},
		nextTag: firstTagID,
	}
}

// follow makes openID a follower, for the first time or again, and returns the index in users.
func (a *account) follow(openID string, now time.Time) int {
	u, known := a.index[openID]
	if !known {
		u = len(a.users)
		a.users = append(a.users, user{openID: openID})
		a.index[openID] = u
	}
	if !a.following.has(u) {
		a.users[u].subscribeTime = now.Unix()
		a.following.add(u)
	}
	return u
}

func (a *account) unfollow(u int) {
	a.following.remove(u)
	for _, t := range a.tags {
		t.fans.remove(u)
	}
}

// addFans adds the first n synthetic openids as followers.
func (a *account) addFans(n int, now time.Time) {
	a.users = make([]user, 0, n)
	a.index = make(map[string]int, n)
	arena := make([]byte, 0, n*openIDLen)
	for i := range n {
		arena = appendOpenID(arena, ownPrefix, i)
	}
	all := string(arena) // one allocation for all openids
	for i := range n {
		a.follow(all[i*openIDLen:][:openIDLen], now)
	}
}

// setUser replaces a follower's profile, remark and tags with those in info.
func (a *account) setUser(u int, info wechatuser.UserInfo) {
	user := &a.users[u]
	user.remark = info.Remark
	if info.SubscribeTime != 0 {
		user.subscribeTime = info.SubscribeTime
	}
	user.setProfile(Profile{
		UnionID: info.UnionID, SubscribeScene: info.SubscribeScene, QRScene: info.QRScene, QRSceneStr: info.QRSceneStr,
		GroupID: info.GroupID, Language: info.Language, Nickname: info.Nickname, Sex: info.Sex,
		City: info.City, Province: info.Province, Country: info.Country, HeadImgURL: info.HeadImgURL,
	})
	for _, t := range a.tags {
		t.fans.remove(u)
	}
	for _, id := range info.TagIDList {
		if id >= starTag {
			a.ensureTag(id).fans.add(u)
		}
	}
}

func (u *user) setProfile(p Profile) {
	u.profile = nil
	if p != (Profile{}) {
		u.profile = &p
	}
}

// info returns the profile that the platform would return for a user.
func (a *account) info(u int) wechatuser.UserInfo {
	user := &a.users[u]
	info := wechatuser.UserInfo{OpenID: user.openID, Language: string(wechatuser.LangZhCN), TagIDList: []int{}}
	if !a.following.has(u) {
		return info
	}
	info.Subscribe = 1
	info.SubscribeTime = user.subscribeTime
	info.SubscribeScene = wechatuser.SceneSearch
	info.Remark = user.remark
	info.TagIDList = a.tagIDs(u)
	if len(info.TagIDList) > 0 {
		info.GroupID = info.TagIDList[0]
	}
	if p := user.profile; p != nil {
		info.UnionID, info.QRScene, info.QRSceneStr = p.UnionID, p.QRScene, p.QRSceneStr
		info.Nickname, info.Sex, info.HeadImgURL = p.Nickname, p.Sex, p.HeadImgURL
		info.City, info.Province, info.Country = p.City, p.Province, p.Country
		info.SubscribeScene = cmp.Or(p.SubscribeScene, info.SubscribeScene)
		info.GroupID = cmp.Or(p.GroupID, info.GroupID)
		info.Language = cmp.Or(p.Language, info.Language)
	}
	return info
}

// openIDs returns the openids of the members of a set.
func (a *account) openIDs(set *bitset) []string {
	list := make([]string, 0, set.n)
	for _, u := range set.all() {
		list = append(list, a.users[u].openID)
	}
	return list
}
