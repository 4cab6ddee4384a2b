package wechatuser_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// Without a secret the call cannot authenticate.
func TestClearQuotaByAppSecretWithoutASecret(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
	c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(s),
		wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)))
	require.NoError(t, err)
	err = c.ClearQuotaByAppSecret(t.Context())
	var ae *wechatuser.ArgumentError
	require.ErrorAs(t, err, &ae)
	assert.Equal(t,
		wechatuser.ArgumentError{
			API: "clearQuotaByAppSecret", Field: "appsecret",
			Reason: "the client was created without the secret: use ClearQuota",
		}, *ae)
	assert.Zero(t, s.Count())
}

// The call is for when no token can be fetched, so that it fetches none.
func TestClearQuotaByAppSecretNeedsNoToken(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
	c := testutil.NewTokenClient(t, s)
	require.NoError(t, c.ClearQuotaByAppSecret(t.Context()))
	require.Equal(t, 1, s.Count())
	assert.NotContains(t, s.Requests()[0].Query, "access_token")
}

func TestQuotaWithoutRateLimits(t *testing.T) {
	body := `{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500,"used":500,"remain":0}}`
	quota, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).GetAPIQuota(t.Context(),
		testutil.PathGetFans)
	require.NoError(t, err)
	assert.Equal(t, wechatuser.APIQuota{DailyLimit: 500, Used: 500}, *quota)
}

func TestQuotaErrors(t *testing.T) {
	c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(48006)))
	require.ErrorIs(t, c.ClearQuota(t.Context()), wechatuser.CodeClearQuotaLimit)
	require.ErrorIs(t, c.ClearQuotaByAppSecret(t.Context()), wechatuser.ErrRateLimited)
	_, err := testutil.NewClient(t, testutil.Play(testutil.RespondCode(76022))).GetAPIQuota(t.Context(),
		testutil.PathGetFans)
	require.ErrorIs(t, err, wechatuser.ErrPermission)
	_, err = testutil.NewClient(t, testutil.Play(testutil.RespondCode(76001))).GetRIDInfo(t.Context(), testutil.RID)
	require.ErrorIs(t, err, wechatuser.CodeRIDNotFound)
}

// A rid starts with the time of its request.
func TestRIDTime(t *testing.T) {
	call := testutil.CallOf(t, "GetRIDInfo")
	got, err := call.Do(t.Context(), testutil.NewClient(t, testutil.Play(testutil.RespondJSON(call.Response))))
	require.NoError(t, err)
	info, ok := got.(*wechatuser.RIDInfo)
	require.True(t, ok)
	assert.Equal(t, time.Unix(0x617682e0, 0), info.InvokedAt)
}
