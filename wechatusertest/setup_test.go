package wechatusertest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	a.AddUsers(fullUser, wechatuser.UserInfo{OpenID: "oFAKE"})
	assert.Equal(t, []string{wechatusertest.OpenID(0), "oFAKEfull", "oFAKE"}, a.OpenIDs())
	users := a.Users()
	require.Len(t, users, 3)
	assert.Equal(t, fullUser, users[1])
	assert.Equal(t, wechatuser.UserInfo{
		Subscribe: 1, OpenID: "oFAKE", Language: "zh_CN", SubscribeTime: start.Unix(), TagIDList: []int{},
		SubscribeScene: wechatuser.SceneSearch,
	}, users[2])

	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKEfull", Remark: "new"})
	u, known := a.User("oFAKEfull")
	assert.True(t, known)
	assert.Equal(t, "new", u.Remark)
	assert.Empty(t, u.UnionID, "AddUsers replaces the whole profile")
	assert.Empty(t, u.TagIDList)
	_, known = a.User("oFAKEnobody")
	assert.False(t, known)
}

func TestFollowAndUnfollow(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.AddUsers(fullUser)
	a.Block("oFAKEfull")
	a.Follow("oFAKEfull")
	u, _ := a.User("oFAKEfull")
	assert.Equal(t, fullUser, u, "Follow does not change a follower")

	a.Unfollow("oFAKEfull")
	a.Advance(time.Hour)
	assert.Empty(t, a.OpenIDs())
	assert.Equal(t, 0, a.Tags()[0].Count)
	assert.Equal(t, []string{"oFAKEfull"}, a.Blacklist())
	a.Follow("oFAKEfull", "oFAKEnew")
	u, _ = a.User("oFAKEfull")
	assert.Equal(t, start.Add(time.Hour).Unix(), u.SubscribeTime)
	assert.Equal(t, "老客户", u.Remark)
	assert.Empty(t, u.TagIDList)
	assert.Equal(t, []string{"oFAKEfull", "oFAKEnew"}, a.OpenIDs())
}

// What the setup has added can be removed again, and nothing else changes.
func TestUndoneSetup(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(3))
	a.AddUsers(fullUser)
	gold := a.AddTag("gold", "oFAKEfull")
	before := a.Snapshot()

	a.Tag(gold, wechatusertest.OpenID(0), wechatusertest.OpenID(1), "oFAKEfull")
	a.Block(wechatusertest.OpenID(1), wechatusertest.OpenID(2))
	a.SetRemark(wechatusertest.OpenID(0), strings.Repeat("长", 20))
	assert.Equal(t, []string{wechatusertest.OpenID(0), wechatusertest.OpenID(1), "oFAKEfull"}, a.TagFans(gold))
	u, _ := a.User(wechatusertest.OpenID(0))
	assert.Equal(t, strings.Repeat("长", 20), u.Remark)

	a.Untag(gold, wechatusertest.OpenID(0), wechatusertest.OpenID(1), wechatusertest.OpenID(2))
	a.Unblock(wechatusertest.OpenID(0), wechatusertest.OpenID(1), wechatusertest.OpenID(2))
	a.SetRemark(wechatusertest.OpenID(0), "")
	assert.Empty(t, before.Diff(a.Snapshot()))

	a.Unfollow(wechatusertest.OpenID(2))
	a.Block(wechatusertest.OpenID(2))
	a.Unblock(wechatusertest.OpenID(2))
	a.Untag(gold, wechatusertest.OpenID(2))
	assert.Empty(t, a.Blacklist(), "former followers too")
}

// A setup that panics has changed nobody.
func TestSetupOfTagsIsAllOrNothing(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	vip := a.AddTag("vip")
	for i := range 20 {
		a.AddTag(fmt.Sprint("tag ", i), wechatusertest.OpenID(1))
	}
	before := a.Snapshot()
	assert.PanicsWithValue(t, `wechatusertest: Tag: "`+wechatusertest.OpenID(1)+`": `+
		wechatuser.CodeTooManyTagsOnUser.Error(),
		func() { a.Tag(vip, wechatusertest.OpenID(0), wechatusertest.OpenID(1)) })
	assert.Empty(t, before.Diff(a.Snapshot()))
	a.Tag(vip+1, wechatusertest.OpenID(1))
	assert.Empty(t, before.Diff(a.Snapshot()), "a tag that the follower has is not one more")
}

// An impossible setup is a mistake in the test.
func TestInvalidSetupPanics(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	id := wechatusertest.OpenID(0)
	a.AddTag("vip", id)
	assert.Equal(t, []string{id}, a.TagFans(100))
	a.Unfollow(id)
	for name, setUp := range map[string]func(){
		"user without openid":          func() { a.AddUsers(wechatuser.UserInfo{}) },
		"unknown openid unfollows":     func() { a.Unfollow("oFAKEnobody") },
		"unknown openid is blocked":    func() { a.Block("oFAKEnobody") },
		"unknown openid gets a tag":    func() { a.AddTag("x", "oFAKEnobody") },
		"former follower gets a tag":   func() { a.AddTag("y", id) },
		"tag is created a second time": func() { a.AddTag("vip") },
		"unknown tag is added":         func() { a.Tag(99) },
		"unknown tag is removed":       func() { a.Untag(99) },
		"former follower is tagged":    func() { a.Tag(100, id) },
		"unknown openid is tagged":     func() { a.Tag(100, "oFAKEnobody") },
		"unknown openid is untagged":   func() { a.Untag(100, "oFAKEnobody") },
		"unknown openid is unblocked":  func() { a.Unblock("oFAKEnobody") },
		"remark of a former follower":  func() { a.SetRemark(id, "x") },
	} {
		assert.Panics(t, setUp, name)
	}
	assert.Len(t, a.Tags(), 1)
}
