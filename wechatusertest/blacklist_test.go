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

// One page has 1,000 openids; the next_openid of an answer is the begin_openid of the next call.
// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html
func TestBlacklistPages(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/tags/members/getblacklist"
	a := newAccount(t, wechatusertest.WithFans(2_500))
	for _, body := range []string{`{}`, `{"begin_openid":""}`, `{"begin_openid":null}`} {
		assert.Equal(t, `{"total":0,"count":0,"next_openid":""}`, a.post(path, body))
	}
	a.Block(ids(2_500)...)
	all, counts := walk(t, func(cursor string) string { return a.post(path, fmt.Sprintf(`{"begin_openid":%q}`, cursor)) })
	assert.Equal(t, []int{1_000, 1_000, 500, 0}, counts)
	assert.Equal(t, ids(2_500), all)
	assert.Equal(t, all, a.Blacklist())
	assert.Len(t, a.OpenIDs(), 2_500, "who is blocked still follows")

	got := decode[page](t, a.post(path, `{}`))
	assert.Equal(t, 2_500, *got.Total)
	assert.Equal(t, ok, a.post(unblockPath, list(*got.Next)))
	got = decode[page](t, a.post(path, fmt.Sprintf(`{"begin_openid":%q}`, *got.Next)))
	assert.Equal(t, wechatusertest.OpenID(1_000), got.Data.OpenID[0], "who is unblocked during a walk is a good cursor")

	refused(t, 40003, a.post(path, `{"begin_openid":"undefined"}`))
	refused(t, 47001, a.post(path, `{"begin_openid":1}`))
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchblacklist.html
// 40003 for who does not follow: https://developers.weixin.qq.com/community/personal/oCJUsw-M8n_LKnHn3ASCXW2W_bSU
func TestBlacklist(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(30))
	for _, path := range []string{blockPath, unblockPath} {
		msg := refused(t, 40032, a.post(path, list()))
		assert.Regexp(t, `^invalid openid list size rid: \S+$`, msg)
		refused(t, 40032, a.post(path, `{}`))
		refused(t, 40032, a.post(path, `{"opened_list":`+array(ids(1)...)+`}`))
		refused(t, 40032, a.post(path, list(ids(21)...)))
		refused(t, 40003, a.post(path, list(wechatusertest.OpenID(0), "malformed")))
		refused(t, 49003, a.post(path, list(wechatusertest.OpenID(0), wechatusertest.ForeignOpenID(0))))
		refused(t, 47001, a.post(path, `{"openid_list":{}}`))
	}
	a.Unfollow(wechatusertest.OpenID(29))
	refused(t, 40003, a.post(blockPath, list(wechatusertest.OpenID(0), wechatusertest.OpenID(29))))
	assert.Empty(t, a.Blacklist(), "one wrong openid and nothing is applied")

	assert.Equal(t, ok, a.post(blockPath, list(ids(20)...)))
	assert.Equal(t, ok, a.post(blockPath, list(ids(20)...)), "again is no error")
	assert.Equal(t, ids(20), a.Blacklist())
	a.Unfollow(wechatusertest.OpenID(0))
	assert.Equal(t, ok, a.post(unblockPath, list(ids(19)...)), "who has left can be unblocked")
	assert.Equal(t, []string{wechatusertest.OpenID(19)}, a.Blacklist())
}
