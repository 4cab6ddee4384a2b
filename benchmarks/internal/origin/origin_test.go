package origin_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	origin.Main()
	goleak.VerifyTestMain(m)
}

// The server responds as the simulator does, which enforces the platform's rules.
func TestResponsesMatchTheSimulator(t *testing.T) {
	const fans = 2*origin.PageSize + 1
	proc, err := origin.Start(origin.Config{Fans: fans})
	require.NoError(t, err)
	simulator := wechatusertest.NewServer(wechatusertest.WithFans(fans))
	defer simulator.Close()

	list := func(c *wechatuser.Client) (ids []string) {
		for id, err := range c.AllFans(t.Context()) {
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return ids
	}
	c, err := wechatuser.New("wxappid", "secret", wechatuser.WithBaseURL(proc.URL))
	require.NoError(t, err)
	ids, want := list(c), list(simulator.Client())
	assert.Equal(t, want, ids)

	users, err := c.BatchUserInfo(t.Context(), []wechatuser.UserQuery{{OpenID: ids[3]}, {OpenID: ids[1]}})
	require.NoError(t, err)
	require.Len(t, users, 2)
	assert.Equal(t, []string{ids[3], ids[1]}, []string{users[0].OpenID, users[1].OpenID})
	require.NoError(t, c.BatchTagging(t.Context(), 100, ids[:2]))
	err = c.BatchTagging(t.Context(), 100, []string{ids[0], wechatusertest.ForeignOpenID(7)})
	require.ErrorIs(t, err, wechatuser.CodeOpenIDMismatch)

	stats, err := proc.Stats()
	require.NoError(t, err)
	assert.Equal(t, map[string]int{
		origin.FansPath: 4, origin.BatchPath: 1, origin.TaggingPath: 2, origin.TokenPath: 1,
	}, stats.Calls)
	assert.Equal(t, 7, stats.Total())
	assert.Positive(t, stats.Conns)

	c.HTTPClient().CloseIdleConnections()
	require.NoError(t, proc.Close())
	_, err = c.GetUserInfo(t.Context(), ids[0])
	require.Error(t, err, "the server is stopped")
}

// Bare net/http returns the same profiles as the SDK, so that both do the same work.
func TestBareReturnsTheSameProfiles(t *testing.T) {
	transport := origin.NewLocal(origin.Config{Fans: 250})
	c, err := wechatuser.New("wxappid", "secret",
		wechatuser.WithBaseURL("http://127.0.0.1"), wechatuser.WithTransport(transport))
	require.NoError(t, err)
	baseline := bare.New("http://127.0.0.1")
	baseline.HTTP = &http.Client{Transport: transport}

	var got, want []bare.UserInfo
	require.NoError(t, baseline.EachProfile(t.Context(), func(u bare.UserInfo) { got = append(got, u) }))
	for u, err := range c.BulkUserInfo(t.Context(), c.AllFans(t.Context())) {
		require.NoError(t, err)
		want = append(want, bare.UserInfo{
			Subscribe: u.Subscribe, OpenID: u.OpenID, UnionID: u.UnionID, Language: u.Language,
			SubscribeTime: u.SubscribeTime, Remark: u.Remark, GroupID: u.GroupID, TagIDList: u.TagIDList,
			SubscribeScene: string(u.SubscribeScene), QRScene: u.QRScene, QRSceneStr: u.QRSceneStr,
			Nickname: u.Nickname, Sex: u.Sex, City: u.City, Province: u.Province,
			Country: u.Country, HeadImgURL: u.HeadImgURL,
		})
	}
	require.Len(t, want, 250)
	assert.Equal(t, want, got)
	require.NoError(t, baseline.UpdateRemark(t.Context(), got[0].OpenID, "常客"))

	baseline.HTTP.Transport = origin.Canned(`{"errcode":40003,"errmsg":"invalid openid"}`)
	_, err = baseline.GetUserInfo(t.Context(), "x")
	require.ErrorContains(t, err, "40003")
}
