package browser

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// startScene starts a sandbox with an account as a shop may have one, and a program that has called it. It returns the
// openids of the followers.
func startScene(t *testing.T) (base string, fans []string) {
	t.Helper()
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(12_480))
	fans = account.OpenIDs()
	account.AddTag("会员", append(fans[1:4:4], fans[6:2_000]...)...)
	account.AddTag("金牌会员", fans[2], fans[8], fans[9])
	account.AddTag("新朋友", fans[4:300]...)
	account.AddTag("春季活动", fans[1])
	for i, remark := range map[int]string{0: "上海 王女士", 1: "老客户", 2: "金牌 张先生", 4: "扫码 shop-7"} {
		account.SetRemark(fans[i], remark)
	}
	account.Block(fans[5], fans[700])
	account.Unfollow(fans[12_400:]...)
	file := filepath.Join(t.TempDir(), "account.json")
	state, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, account.Save(state))
	require.NoError(t, state.Close())

	base, _ = startSandbox(t, "-state", file)
	c := newClient(t, base)
	_, err = c.GetFans(t.Context(), "")
	require.NoError(t, err)
	for _, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(fans[:100]...)) {
		require.NoError(t, err)
	}
	addFault(t, base, "/cgi-bin/tags/members/batchtagging", "-1")
	require.NoError(t, c.BatchTagging(t.Context(), 103, fans[1:4]), "the SDK tries again")
	require.NoError(t, c.UpdateRemark(t.Context(), fans[1], "老客户"))
	_, err = c.GetUserInfo(t.Context(), wechatusertest.ForeignOpenID(7))
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	addFault(t, base, "/cgi-bin/user/get", "45009")
	return base, fans
}

// addFault makes the next call of an API fail.
func addFault(t *testing.T, base, path, code string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.PostForm(base+"/sandbox/fault",
		url.Values{"path": {path}, "kind": {"errcode"}, "code": {code}, "times": {"1"}})
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}
