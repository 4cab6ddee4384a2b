package wechatuser_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

func TestSubscribed(t *testing.T) {
	assert.True(t, testutil.AliceInfo.Subscribed())
	assert.False(t, wechatuser.UserInfo{OpenID: testutil.Alice}.Subscribed())
	assert.False(t, wechatuser.UserInfo{Subscribe: 2}.Subscribed())

	assert.Equal(t, time.Date(2022, 1, 5, 6, 36, 41, 0, time.UTC), testutil.AliceInfo.SubscribedAt().UTC())
	assert.True(t, wechatuser.UserInfo{OpenID: testutil.Alice}.SubscribedAt().IsZero())
}

// A migration can succeed for some openids and fail for others.
func TestChangeOpenIDOfPartOfAList(t *testing.T) {
	body := `{"errcode":0,"errmsg":"ok","result_list":[` +
		`{"ori_openid":"` + testutil.Alice + `","new_openid":"` + testutil.Carol + `","err_msg":"ok"},` +
		`{"ori_openid":"` + testutil.Bob + `","err_msg":"ori_openid error"},` +
		`{"ori_openid":"` + testutil.Carol + `","new_openid":"","err_msg":"ok"},` +
		`{"ori_openid":"oFAKE"}]}`
	changes, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).ChangeOpenID(t.Context(), "wxOLD", []string{testutil.Alice, testutil.Bob, testutil.Carol, "oFAKE"})
	require.NoError(t, err)
	require.Len(t, changes, 4)
	assert.Equal(t, wechatuser.OpenIDChange{From: testutil.Alice, To: testutil.Carol}, changes[0])
	for i, want := range []string{
		1: `openid "` + testutil.Bob + `": ori_openid error`,
		2: `openid "` + testutil.Carol + `": the platform returned no new openid`,
		3: `openid "oFAKE": the platform returned no new openid`,
	} {
		if i == 0 {
			continue
		}
		var oe *wechatuser.OpenIDError
		require.ErrorAs(t, changes[i].Err, &oe)
		assert.Equal(t, changes[i].From, oe.OpenID)
		assert.Empty(t, changes[i].To)
		assert.EqualError(t, changes[i].Err, want)
	}
}

// Scenes unknown to this version are kept.
func TestUnknownScene(t *testing.T) {
	info, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(`{"subscribe":1,"openid":"`+testutil.Alice+`","subscribe_scene":"ADD_SCENE_MOON"}`))).GetUserInfo(t.Context(), testutil.Alice)
	require.NoError(t, err)
	assert.Equal(t, wechatuser.SubscribeScene("ADD_SCENE_MOON"), info.SubscribeScene)
}

// The caller's slices are not modified, and a retry sends what they held when the call was made.
func TestArgumentsAreNotModified(t *testing.T) {
	ids := []string{testutil.Alice, testutil.Bob, testutil.Carol}
	s := testutil.Play(testutil.RespondJSON(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["`+testutil.Carol+`"]}`), testutil.RespondJSON(testutil.OKBody))
	require.NoError(t, testutil.NewClient(t, s).BatchTagging(t.Context(), 100, ids))
	assert.Equal(t, []string{testutil.Alice, testutil.Bob, testutil.Carol}, ids)
}
