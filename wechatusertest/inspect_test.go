package wechatusertest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestFindUsers(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(300))
	a.AddUsers(
		wechatuser.UserInfo{OpenID: "oFAKE1", Remark: "老客户"}, wechatuser.UserInfo{OpenID: "oFAKE2", Nickname: "老客"},
		wechatuser.UserInfo{OpenID: "oFAKE3", UnionID: "union"})
	vip := a.AddTag("vip", ids(200)...)
	a.Unfollow("oFAKE2", wechatusertest.OpenID(0))
	a.Block("oFAKE1", wechatusertest.OpenID(5), wechatusertest.OpenID(250))
	find := func(f wechatusertest.UserFilter) (found []string) {
		for _, u := range a.FindUsers(f) {
			found = append(found, u.OpenID)
		}
		return found
	}
	assert.Equal(t, ids(101)[1:], find(wechatusertest.UserFilter{}), "the default limit is 100")
	assert.Equal(t, ids(103)[101:], find(wechatusertest.UserFilter{After: wechatusertest.OpenID(100), Limit: 2}))
	assert.Equal(t, ids(4)[1:], find(wechatusertest.UserFilter{After: "oFAKEnobody", Limit: 3}))
	assert.Equal(t, []string{wechatusertest.OpenID(0), "oFAKE2"}, find(wechatusertest.UserFilter{Left: true}))
	assert.Equal(t, []string{wechatusertest.OpenID(5), wechatusertest.OpenID(250), "oFAKE1"},
		find(wechatusertest.UserFilter{Blocked: true}))
	assert.Equal(t, []string{wechatusertest.OpenID(5)}, find(wechatusertest.UserFilter{Blocked: true, TagID: vip}))
	assert.Equal(t, []string{"oFAKE1"}, find(wechatusertest.UserFilter{Text: "老客"}))
	assert.Equal(t, []string{"oFAKE2"}, find(wechatusertest.UserFilter{Text: "老客", Left: true}))
	assert.Equal(t, []string{"oFAKE3"}, find(wechatusertest.UserFilter{Text: "union"}))
	assert.Empty(t, find(wechatusertest.UserFilter{TagID: 999}))
	assert.Equal(t, wechatusertest.Totals{Followers: 301, Blocked: 3, Left: 2, Tags: 1}, a.Totals())
	assert.Equal(t, "老客户", a.FindUsers(wechatusertest.UserFilter{Text: "oFAKE1"})[0].Remark)
}

func TestTokenStates(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	assert.Empty(t, a.Tokens())
	first, stable := decode[tokenResponse](t, a.legacy()), decode[tokenResponse](t, a.stable(false))
	second := decode[tokenResponse](t, a.legacy())
	end := start.Add(2 * time.Hour)
	masked := func(resp tokenResponse) string { return resp.AccessToken[:6] + "xxxx" }
	assert.Equal(t, []wechatusertest.TokenState{
		{Masked: masked(first), Expires: end, Revoked: start.Add(5 * time.Minute)},
		{Masked: masked(stable), Stable: true, Expires: end},
		{Masked: masked(second), Expires: end},
	}, a.Tokens())
	a.Advance(time.Hour)
	assert.Len(t, a.Tokens(), 2)
	assert.Equal(t, start.Add(time.Hour), a.Now())
	a.ExpireTokens()
	assert.Empty(t, a.Tokens())
}

func TestQuotaStates(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuota("/cgi-bin/user/get", 3, 1))
	a.get("/cgi-bin/user/get")
	assertCode(t, 45011, a.get("/cgi-bin/user/get"))
	want := wechatusertest.QuotaState{
		API: "getFans", Path: "/cgi-bin/user/get", Calls: 2, Day: 1, Minute: 1, PerDay: 3, PerMinute: 1,
	}
	assert.Equal(t, want, a.quotaOf("getFans"))
	a.Advance(time.Minute)
	want.Minute = 0
	assert.Equal(t, want, a.quotaOf("getFans"))
	assert.Len(t, a.Quotas(), 26)
}

func (a account) quotaOf(api string) wechatusertest.QuotaState {
	all := a.Quotas()
	i := slices.IndexFunc(all, func(q wechatusertest.QuotaState) bool { return q.API == api })
	require.GreaterOrEqual(a.t, i, 0, api)
	return all[i]
}
