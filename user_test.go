package wechatuser_test

import (
	"strings"
	"testing"
	"testing/synctest"
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
	changes, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).ChangeOpenID(t.Context(), "wxOLD",
		[]string{testutil.Alice, testutil.Bob, testutil.Carol, "oFAKE"})
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
	info, err := testutil.NewClient(t,
		testutil.Play(
			testutil.RespondJSON(
				`{"subscribe":1,"openid":"`+testutil.Alice+`","subscribe_scene":"ADD_SCENE_MOON"}`))).GetUserInfo(
		t.Context(), testutil.Alice)
	require.NoError(t, err)
	assert.Equal(t, wechatuser.SubscribeScene("ADD_SCENE_MOON"), info.SubscribeScene)
}

// The caller's slices are not modified, and a retry sends what they held when the call was made.
func TestArgumentsAreNotModified(t *testing.T) {
	ids := []string{testutil.Alice, testutil.Bob, testutil.Carol}
	s := testutil.Play(
		testutil.RespondJSON(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["`+testutil.Carol+`"]}`),
		testutil.RespondJSON(testutil.OKBody))
	require.NoError(t, testutil.NewClient(t, s).BatchTagging(t.Context(), 100, ids))
	assert.Equal(t, []string{testutil.Alice, testutil.Bob, testutil.Carol}, ids)
}

// A response that is about somebody else, or does not say what was asked, is not taken: a cache, a mock or a proxy in
// between can mix up responses. A retry can get the right one.
func TestResponsesAboutSomethingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		userInfo := func(c *wechatuser.Client) error {
			_, err := c.GetUserInfo(t.Context(), testutil.Alice)
			return err
		}
		changeOpenID := func(c *wechatuser.Client) error {
			_, err := c.ChangeOpenID(t.Context(), "wxOLD", []string{testutil.Alice, testutil.Bob})
			return err
		}
		for name, tc := range map[string]struct {
			call func(*wechatuser.Client) error
			body string
			want string
		}{
			"the profile of another user": {
				userInfo, strings.Replace(testutil.AliceBody, testutil.Alice, testutil.Bob, 1), "another openid",
			},
			"a profile without subscribe": {
				userInfo, `{"openid":"` + testutil.Alice + `","subscribe_time":1}`, "no subscribe",
			},
			"one that only mentions it": {
				userInfo, `{"openid":"` + testutil.Alice + `","remark":"subscribe","a":"\"subscribe\":"}`,
				"no subscribe",
			},
			"results for others": {
				changeOpenID,
				`{"errcode":0,"result_list":[{"ori_openid":"` + testutil.Alice + `","new_openid":"o1"},` +
					`{"ori_openid":"` + testutil.Carol + `","new_openid":"o2"}]}`, "not asked for",
			},
			"a result too few": {
				changeOpenID, `{"errcode":0,"result_list":[{"ori_openid":"` + testutil.Alice + `","new_openid":"o1"}]}`,
				"no result for one",
			},
			"a result too many": {changeOpenID, `{"errcode":0,"result_list":[` + strings.Repeat(`{"ori_openid":"`+testutil.Alice+`","new_openid":"o1"},`, 2) + `{"ori_openid":"` + testutil.Bob + `"}]}`, "too many"},
		} {
			s := testutil.Play(testutil.RespondJSON(tc.body))
			err := tc.call(testutil.NewClient(t, s))
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re, name)
			assert.ErrorContains(t, err, tc.want, name)
			assert.NotErrorIs(t, err, wechatuser.ErrUnproven, name)
			assert.Equal(t, 3, s.Count(), name)
		}

		s := testutil.Play(testutil.RespondJSON(strings.Replace(testutil.AliceBody, testutil.Alice, testutil.Bob, 1)),
			testutil.RespondJSON(testutil.AliceBody))
		require.NoError(t, userInfo(testutil.NewClient(t, s)))
	})
}

// The tag in the response to CreateTag is the one that was asked for. If it is not, the tag is looked up by its name.
func TestCreateTagWithTheTagOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := testutil.RespondJSON(`{"tag":{"id":134,"name":"other"}}`)
		taken := testutil.RespondCode(45157)
		s := testutil.Play(other, taken,
			testutil.RespondJSON(`{"tags":[{"id":134,"name":"other"},{"id":135,"name":"vip"}]}`))
		tag, err := testutil.NewClient(t, s).CreateTag(t.Context(), "vip")
		require.NoError(t, err)
		assert.Equal(t, 135, tag.ID)

		for _, name := range []string{"vip", " vip", ""} { // white space may be cut off
			s := testutil.Play(testutil.RespondJSON(`{"tag":{"id":135,"name":"` + name + `"}}`))
			_, err := testutil.NewClient(t, s).CreateTag(t.Context(), "vip")
			require.NoError(t, err)
		}
	})
}
