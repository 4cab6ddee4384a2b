package wechatusertest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The platform answers with HTTP status 200 for refusals too, a Content-Type whose parameter is "encoding" and not
// "charset", and JSON without spaces or a newline at its end.
// https://developers.weixin.qq.com/community/personal/oCJUswzai3-Y_UFZ1CTdtOlX6HvM
func TestAnswersLookLikeThePlatforms(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range []string{"/cgi-bin/tags/get", "/cgi-bin/user/info", "/cgi-bin/nothing"} {
		w := a.do(http.MethodGet, path, nil, "")
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "application/json; encoding=utf-8", w.Header().Get("Content-Type"))
		assert.Regexp(t, `^\{"errcode":\d+,"errmsg":"[^"]+"\}$`, w.Body.String())
	}
	assert.Equal(t, `{"tags":[{"id":2,"name":"星标组","count":0}]}`, a.get("/cgi-bin/tags/get"))
}

func TestStringsAreWrittenAsThePlatformDoes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, remark, want string }{
		{"no escape for what is not ASCII", "老客户😀", `"老客户😀"`},
		{"nor for HTML", "A&B <VIP>", `"A&B <VIP>"`},
		{"nor for line separators", "\u2028", "\"\u2028\""},
		{"slashes are escaped", "1/2", `"1\/2"`},
		{"quotes and backslashes", `"\`, `"\"\\"`},
		{"control characters", "a\nb\rc\td\x14e\x00", `"a\nb\rc\td\u0014e\u0000"`},
		{"bytes that are not UTF-8 go through", "a\xffb", "\"a\xffb\""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: row.remark})
			assert.Contains(t, a.get("/cgi-bin/user/info", "openid", "oFAKE"), `"remark":`+row.want+`,`)
		})
	}
}

// Text that was typed into the platform's console has come with control characters that JSON does not allow.
// https://github.com/node-webot/co-wechat-api/issues/63
func TestRawControlCharacters(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuirks(wechatusertest.Quirks{RawControl: true}))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "a\x14b\"\n"})
	assert.Contains(t, a.get("/cgi-bin/user/info", "openid", "oFAKE"), "\"remark\":\"a\x14b\\\"\n\",")
}

// https://developers.weixin.qq.com/community/develop/doc/0006a887d44d7867b78a98b8158400
func TestRequestsThatAreNotJSON(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	const path = "/cgi-bin/user/info/updateremark"
	for name, body := range map[string]string{
		"form": "openid=" + wechatusertest.OpenID(0) + "&remark=x", "array": "[]", "null": "null", "number": "1",
		"cut": `{"openid":`, "two documents": "{}{}", "byte order mark": "\ufeff{}", "not UTF-8": "{\"remark\":\"\xff\"}",
		"wrong type": `{"openid":1,"remark":"x"}`,
	} {
		t.Run(name, func(t *testing.T) { refused(t, 47001, a.post(path, body)) })
	}
	refused(t, 44002, a.post(path, ""))
	refused(t, 45002, a.post(path, `{"remark":"`+string(make([]byte, 1<<20))+`"}`))
}
