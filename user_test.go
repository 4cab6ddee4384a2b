package wechatuser_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

func TestSubscribed(t *testing.T) {
	assert.True(t, aliceInfo.Subscribed())
	assert.False(t, wechatuser.UserInfo{OpenID: alice}.Subscribed())
	assert.False(t, wechatuser.UserInfo{Subscribe: 2}.Subscribed())

	assert.Equal(t, time.Date(2022, 1, 5, 6, 36, 41, 0, time.UTC), aliceInfo.SubscribedAt().UTC())
	assert.True(t, wechatuser.UserInfo{OpenID: alice}.SubscribedAt().IsZero())
}

// A migration can succeed for some and fail for others.
func TestChangeOpenIDOfSome(t *testing.T) {
	body := `{"errcode":0,"errmsg":"ok","result_list":[` +
		`{"ori_openid":"` + alice + `","new_openid":"` + carol + `","err_msg":"ok"},` +
		`{"ori_openid":"` + bob + `","err_msg":"ori_openid error"},` +
		`{"ori_openid":"` + carol + `","new_openid":"","err_msg":"ok"},` +
		`{"ori_openid":"oFAKE"}]}`
	changes, err := newClient(t, play(says(body))).ChangeOpenID(t.Context(), "wxOLD", []string{alice, bob, carol, "oFAKE"})
	require.NoError(t, err)
	require.Len(t, changes, 4)
	assert.Equal(t, wechatuser.OpenIDChange{From: alice, To: carol}, changes[0])
	for i, want := range []string{
		1: `openid "` + bob + `": ori_openid error`,
		2: `openid "` + carol + `": the platform gave no new openid`,
		3: `openid "oFAKE": the platform gave no new openid`,
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

// Scenes that are new to this version come through.
func TestUnknownScene(t *testing.T) {
	info, err := newClient(t, play(says(`{"subscribe":1,"openid":"`+alice+`","subscribe_scene":"ADD_SCENE_MOON"}`))).GetUserInfo(t.Context(), alice)
	require.NoError(t, err)
	assert.Equal(t, wechatuser.SubscribeScene("ADD_SCENE_MOON"), info.SubscribeScene)
}

// The caller's slices stay as they are, and what is sent is as it was when the call was made.
func TestArgumentsAreNotModified(t *testing.T) {
	ids := []string{alice, bob, carol}
	s := play(says(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["`+carol+`"]}`), says(okBody))
	require.NoError(t, newClient(t, s).BatchTagging(t.Context(), 100, ids))
	assert.Equal(t, []string{alice, bob, carol}, ids)
}
