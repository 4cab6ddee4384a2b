package wechatusertest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	blockPath   = "/cgi-bin/tags/members/batchblacklist"
	unblockPath = "/cgi-bin/tags/members/batchunblacklist"
)

func list(openIDs ...string) string { return `{"openid_list":` + array(openIDs...) + `}` }

// A page has 1,000 openids. The next_openid of a response is the begin_openid of the next call.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html
func TestBlacklistPages(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/tags/members/getblacklist"
	a := newAccount(t, wechatusertest.WithFans(2_500))
	for _, body := range []string{`{}`, `{"begin_openid":""}`, `{"begin_openid":null}`} {
		assert.Equal(t, `{"total":0,"count":0,"next_openid":""}`, a.post(path, body))
	}
	a.Block(ids(2_500)...)
	all, counts := readPages(t, func(cursor string) string {
		return a.post(path, fmt.Sprintf(`{"begin_openid":%q}`, cursor))
	})
	assert.Equal(t, []int{1_000, 1_000, 500, 0}, counts)
	assert.Equal(t, ids(2_500), all)
	assert.Equal(t, all, a.Blacklist())
	assert.Len(t, a.OpenIDs(), 2_500, "blocked users still follow")

	got := decode[page](t, a.post(path, `{}`))
	assert.Equal(t, 2_500, *got.Total)
	assert.Equal(t, ok, a.post(unblockPath, list(*got.Next)))
	got = decode[page](t, a.post(path, fmt.Sprintf(`{"begin_openid":%q}`, *got.Next)))
	assert.Equal(t, wechatusertest.OpenID(1_000), got.Data.OpenID[0], "an unblocked openid is a valid cursor")

	assertCode(t, 40003, a.post(path, `{"begin_openid":"undefined"}`))
	assertCode(t, 47001, a.post(path, `{"begin_openid":1}`))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html
// 40003 for users who do not follow: https://developers.weixin.qq.com/community/personal/oCJUsw-M8n_LKnHn3ASCXW2W_bSU
func TestBlacklist(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(30))
	for _, path := range []string{blockPath, unblockPath} {
		msg := assertCode(t, 40032, a.post(path, list()))
		assert.Regexp(t, `^invalid openid list size rid: \S+$`, msg)
		assertCode(t, 40032, a.post(path, `{}`))
		assertCode(t, 40032, a.post(path, `{"opened_list":`+array(ids(1)...)+`}`))
		assertCode(t, 40032, a.post(path, list(ids(21)...)))
		assertCode(t, 40003, a.post(path, list(wechatusertest.OpenID(0), "malformed")))
		assertCode(t, 49003, a.post(path, list(wechatusertest.OpenID(0), wechatusertest.ForeignOpenID(0))))
		assertCode(t, 47001, a.post(path, `{"openid_list":{}}`))
	}
	a.Unfollow(wechatusertest.OpenID(29))
	assertCode(t, 40003, a.post(blockPath, list(wechatusertest.OpenID(0), wechatusertest.OpenID(29))))
	assert.Empty(t, a.Blacklist(), "nothing is applied if one openid is invalid")

	assert.Equal(t, ok, a.post(blockPath, list(ids(20)...)))
	assert.Equal(t, ok, a.post(blockPath, list(ids(20)...)), "blocking twice is not an error")
	assert.Equal(t, ids(20), a.Blacklist())
	a.Unfollow(wechatusertest.OpenID(0))
	assert.Equal(t, ok, a.post(unblockPath, list(ids(19)...)), "a former follower can be unblocked")
	assert.Equal(t, []string{wechatusertest.OpenID(19)}, a.Blacklist())
}
