package wechatusertest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The client's lists, jobs and syncs come through the platform's bad days, and the account is then as it should be.
func TestClientInTheWild(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { bulkWork(t, wechatusertest.Wild(seed)) })
		})
	}
}

func bulkWork(t *testing.T, q wechatusertest.Quirks) {
	const fans = 5000
	ctx := t.Context()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithQuirks(q))
	all := ids(fans)
	for i, id := range all {
		srv.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: fmt.Sprint("union-", i), Remark: fmt.Sprint("no.\x14 ", i)})
	}
	c := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 6})) // three in a row fail now and then

	var walked []string
	for id, err := range c.AllFans(ctx) {
		require.NoError(t, err)
		walked = append(walked, id)
	}
	assert.Equal(t, all, walked)

	vip, err := c.CreateTag(ctx, "vip")
	require.NoError(t, err)
	strangers := []string{"oFAKEnobody", wechatusertest.ForeignOpenID(1)}
	report, err := c.BulkTagging(ctx, vip.ID, wechatuser.OpenIDs(slices.Insert(slices.Clone(all[:3000]), 700, strangers...)...))
	require.Error(t, err)
	assert.ElementsMatch(t, strangers, report.FailedOpenIDs(), "%v", err)
	assert.Equal(t, 3000, report.Applied)
	assert.ElementsMatch(t, all[:3000], srv.TagFans(vip.ID))

	want := slices.Concat(all[100:400], all[2900:4000])
	synced, err := c.SyncTag(ctx, vip.ID, wechatuser.OpenIDs(want...))
	require.NoError(t, err, "%v", synced)
	assert.ElementsMatch(t, want, srv.TagFans(vip.ID))

	_, err = c.SyncBlacklist(ctx, wechatuser.OpenIDs(all[:500]...))
	require.NoError(t, err)
	_, err = c.SyncBlacklist(ctx, wechatuser.OpenIDs(all[400:600]...))
	require.NoError(t, err)
	assert.ElementsMatch(t, all[400:600], srv.Blacklist())

	var read []string
	for user, err := range c.BulkUserInfo(ctx, wechatuser.OpenIDs(slices.Insert(slices.Clone(all), 2500, strangers...)...)) {
		var one *wechatuser.OpenIDError
		if errors.As(err, &one) {
			assert.Contains(t, strangers, one.OpenID, "%v", err)
			continue
		}
		require.NoError(t, err)
		i := len(read)
		assert.Equal(t, fmt.Sprint("union-", i), user.UnionID)
		assert.Equal(t, fmt.Sprint("no.\x14 ", i), user.Remark)
		assert.Equal(t, i >= 100 && i < 400 || i >= 2900 && i < 4000, slices.Contains(user.TagIDList, vip.ID))
		read = append(read, user.OpenID)
	}
	assert.Equal(t, all, read)
	met := map[string]int{}
	for _, r := range srv.Requests() {
		met[fmt.Sprint(r.Fault, " ", int(r.Errcode))]++
	}
	t.Logf("%d calls: %v", srv.Calls("*"), met)
}
