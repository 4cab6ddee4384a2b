package wechatuser_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// UserInfo is encoded with the platform's names, so that it can be stored and decoded again.
func TestUserInfoRoundTrip(t *testing.T) {
	data, err := json.Marshal(testutil.AliceInfo)
	require.NoError(t, err)
	assert.JSONEq(t, testutil.AliceBody, string(data))

	var got wechatuser.UserInfo
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, testutil.AliceInfo, got)
}

// The known fields keep their order, whatever else there is.
func TestUserInfoAsJSON(t *testing.T) {
	u := wechatuser.UserInfo{OpenID: "oFAKE", Remark: "a<b>\u2028", TagIDList: []int{2}}
	const known = `{"subscribe":0,"openid":"oFAKE","language":"","subscribe_time":0,"remark":"a<b>` + "\u2028" + `","groupid":0,"tagid_list":[2],` +
		`"subscribe_scene":"","qr_scene":0,"qr_scene_str":"","nickname":"","sex":0,"city":"","province":"","country":"","headimgurl":""`
	encode := func(v any) string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(v))
		return strings.ReplaceAll(b.String(), `\u2028`, "\u2028") // Go 1.27 escapes it
	}
	assert.Equal(t, known+"}\n", encode(u))
	u.Extra = map[string]json.RawMessage{
		"z": json.RawMessage(`{"<": 1}`), "a": json.RawMessage(`"x"`), "openid": json.RawMessage(`"no"`),
	}
	withExtra := known + `,"a":"x","z":{"<":1}}`
	assert.Equal(t, "["+withExtra+","+withExtra+"]\n", encode([]any{u, &u}), "also in a slice of values")
	escaped, err := json.Marshal(u)
	require.NoError(t, err)
	assert.Contains(t, string(escaped), `"remark":"a\u003cb\u003e\u2028"`, "as encoding/json writes it")

	u.Extra["bad"] = json.RawMessage(`{`)
	_, err = json.Marshal(u)
	require.Error(t, err)
}

func TestUserInfoExtraRoundTrip(t *testing.T) {
	const body = `[{"openid":"oFAKE","level":{"a":[1,2.50]},"Subscribe":1,"since":null,"errcode":0,"errmsg":"ok"},{"openid":"oFAKE2"},null]`
	want := []wechatuser.UserInfo{
		{
			OpenID: "oFAKE", Subscribe: 1,
			Extra: map[string]json.RawMessage{
				"level": json.RawMessage(`{"a":[1,2.50]}`), "since": json.RawMessage(`null`),
			},
		},
		{OpenID: "oFAKE2"},
		{},
	}
	var got []wechatuser.UserInfo
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	assert.Equal(t, want, got)
	data, err := json.Marshal(got)
	require.NoError(t, err)
	var again []wechatuser.UserInfo
	require.NoError(t, json.Unmarshal(data, &again))
	assert.Equal(t, want, again, "a nil list is nil again")
	require.NoError(t, json.Unmarshal([]byte(`[{"tagid_list":[]}]`), &again))
	assert.NotNil(t, again[0].TagIDList)

	kept := wechatuser.UserInfo{OpenID: "oFAKE"}
	require.NoError(t, json.Unmarshal([]byte(`null`), &kept))
	assert.Equal(t, "oFAKE", kept.OpenID, "null changes nothing")
	require.NoError(t, json.Unmarshal([]byte(`{"remark":"r"}`), &kept))
	assert.Equal(t, wechatuser.UserInfo{Remark: "r"}, kept, "what was there is replaced")
	require.EqualError(t, json.Unmarshal([]byte(`{"sex":"m"}`), &kept), "sex: a text where a whole number is expected")
}

// Fields that the platform adds come from each call that returns profiles, and what belongs to the response is none.
func TestUserInfoExtraFromCalls(t *testing.T) {
	profile := `"openid":"` + testutil.Alice + `","subscribe":1,"new":{"x":1}`
	want := map[string]json.RawMessage{"new": json.RawMessage(`{"x":1}`)}
	c := testutil.NewClient(t, testutil.Play(
		testutil.RespondJSON(`{"errcode":0,`+profile+`,"errmsg":"ok","fail_openid_list":[]}`),
		testutil.RespondJSON(`{"user_info_list":[{`+profile+`}],"other":1}`),
		testutil.RespondJSON(`{"user_info_list":[{"openid":"`+testutil.Alice+`","subscribe":1}]}`),
	))
	one, err := c.GetUserInfo(t.Context(), testutil.Alice)
	require.NoError(t, err)
	assert.Equal(t, want, one.Extra)
	for _, want := range []map[string]json.RawMessage{want, nil} {
		for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.Alice)) {
			require.NoError(t, err)
			assert.Equal(t, want, user.Extra)
		}
	}
}
