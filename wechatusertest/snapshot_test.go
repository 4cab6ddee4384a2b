package wechatusertest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(3))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "老客户", UnionID: "union", TagIDList: []int{2, 134}})
	a.Unfollow(wechatusertest.OpenID(1))
	a.Block(wechatusertest.OpenID(2))
	snap := a.Snapshot()
	since := start.Unix()
	assert.Equal(t, wechatusertest.Snapshot{
		NextTagID: 135,
		Tags:      []wechatusertest.TagState{{ID: 2, Name: "星标组"}, {ID: 134, Name: "tag 134"}},
		Users: []wechatusertest.UserState{
			{OpenID: wechatusertest.OpenID(0), SubscribeTime: since},
			{OpenID: wechatusertest.OpenID(1), SubscribeTime: since, Left: true},
			{OpenID: wechatusertest.OpenID(2), SubscribeTime: since, Blocked: true},
			{
				OpenID: "oFAKE", SubscribeTime: since, Remark: "老客户", TagIDList: []int{2, 134},
				Profile: wechatusertest.Profile{UnionID: "union"},
			},
		},
	}, snap)

	encoded, err := json.Marshal(snap)
	require.NoError(t, err)
	var decoded wechatusertest.Snapshot
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	assert.Equal(t, snap, decoded)
	assert.Empty(t, snap.Diff(decoded))

	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "else"})
	assert.Equal(t, decoded, snap, "a snapshot does not change")
}

func TestSnapshotDiff(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(3))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", Remark: "old", TagIDList: []int{2}})
	gone := a.AddTag("gone", ids(1)...)
	renamed := a.AddTag("old name")
	before := a.Snapshot()

	a.post("/cgi-bin/tags/delete", `{"tag":{"id":100}}`)
	a.post("/cgi-bin/tags/update", `{"tag":{"id":101,"name":"new \n name"}}`)
	a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`)
	a.post(taggingPath, tagging(102, ids(3)...))
	a.post("/cgi-bin/user/info/updateremark", remark("oFAKE1", `"new"`))
	a.Unfollow("oFAKE1")
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE2", Remark: "x", UnionID: "union"})
	a.Block("oFAKE2")
	require.Equal(t, []int{100, 101}, []int{gone, renamed})

	after := a.Snapshot()
	fan := wechatusertest.OpenID
	assert.Equal(t, []string{
		`~ tag 2 "星标组": 1 fan, then 0`,
		`- tag 100 "gone": 1 fan`,
		`~ tag 101 "old name": is now "new \n name"`,
		`+ tag 102 "vip": 3 fans`,
		`~ user ` + fan(0) + `: tagid_list [100], then [102]`,
		`~ user ` + fan(1) + `: tagid_list [], then [102]`,
		`~ user ` + fan(2) + `: tagid_list [], then [102]`,
		`~ user oFAKE1: left false, then true`,
		`~ user oFAKE1: remark "old", then "new"`,
		`~ user oFAKE1: tagid_list [2], then []`,
		`+ user oFAKE2, subscribe_time 1773115200, blocked true, remark "x", unionid "union"`,
		`~ next tag id: 102, then 103`,
		``,
	}, strings.Split(before.Diff(after), "\n"))
	back := strings.Split(after.Diff(before), "\n")
	assert.Contains(t, back, `+ tag 100 "gone": 1 fan`)
	assert.Contains(t, back, `- tag 102 "vip": 3 fans`)
	assert.Contains(t, back, `- user oFAKE2`)
}

func TestSnapshotDiffIsBounded(t *testing.T) {
	t.Parallel()
	fans := atFullSize(100_000, 10_000)
	none, many := newAccount(t).Snapshot(), newAccount(t, wechatusertest.WithFans(fans)).Snapshot()
	lines := strings.Split(none.Diff(many), "\n")
	assert.Len(t, lines, 52)
	assert.Equal(t, fmt.Sprintf("… and %d more", fans-50), lines[50])
	assert.Equal(t, "- user "+wechatusertest.OpenID(0), strings.Split(many.Diff(none), "\n")[0])
}
