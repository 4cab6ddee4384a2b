package wechatuser_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// Without a secret there is nothing to prove with who is asking.
func TestClearQuotaByAppSecretWithoutASecret(t *testing.T) {
	s := play(says(okBody))
	c, err := wechatuser.New(testAppID, "", wechatuser.WithTransport(s), wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testToken)))
	require.NoError(t, err)
	err = c.ClearQuotaByAppSecret(t.Context())
	var ae *wechatuser.ArgumentError
	require.ErrorAs(t, err, &ae)
	assert.Equal(t, wechatuser.ArgumentError{API: "clearQuotaByAppSecret", Field: "appsecret", Reason: "the client was made without the secret: use ClearQuota"}, *ae)
	assert.Zero(t, s.count())
}

// It is for when no token can be had, so it asks for none.
func TestClearQuotaByAppSecretNeedsNoToken(t *testing.T) {
	s := play(says(okBody))
	c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithTransport(s))
	require.NoError(t, err)
	require.NoError(t, c.ClearQuotaByAppSecret(t.Context()))
	require.Equal(t, 1, s.count())
	assert.NotContains(t, s.requests()[0].Query, "access_token")
}

func TestQuotaWithoutRateLimits(t *testing.T) {
	body := `{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500,"used":500,"remain":0}}`
	quota, err := newClient(t, play(says(body))).GetAPIQuota(t.Context(), "/cgi-bin/user/get")
	require.NoError(t, err)
	assert.Equal(t, wechatuser.APIQuota{DailyLimit: 500, Used: 500}, *quota)
}

func TestQuotaErrors(t *testing.T) {
	c := newClient(t, play(refuses(48006)))
	require.ErrorIs(t, c.ClearQuota(t.Context()), wechatuser.CodeClearQuotaLimit)
	require.ErrorIs(t, c.ClearQuotaByAppSecret(t.Context()), wechatuser.ErrRateLimited)
	_, err := newClient(t, play(refuses(76022))).GetAPIQuota(t.Context(), "/cgi-bin/user/get")
	require.ErrorIs(t, err, wechatuser.ErrPermission)
	_, err = newClient(t, play(refuses(76001))).GetRIDInfo(t.Context(), testRID)
	require.ErrorIs(t, err, wechatuser.CodeRIDNotFound)
}

// An rid begins with the time of its request.
func TestRIDTime(t *testing.T) {
	call := callTo(t, "GetRIDInfo")
	got, err := call.do(t.Context(), newClient(t, play(says(call.answer))))
	require.NoError(t, err)
	info, ok := got.(*wechatuser.RIDInfo)
	require.True(t, ok)
	assert.Equal(t, time.Unix(0x617682e0, 0), info.InvokedAt)
}
