package wechatusertest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestStringsAreEscapedLikeThePlatforms(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, remark, want string }{
		{"non-ASCII is not escaped", "老客户😀", `"老客户😀"`},
		{"HTML is not escaped", "A&B <VIP>", `"A&B <VIP>"`},
		{"line separators are not escaped", "\u2028", "\"\u2028\""},
		{"slashes are escaped", "1/2", `"1\/2"`},
		{"quotes and backslashes", `"\`, `"\"\\"`},
		{"control characters", "a\nb\rc\td\x14e\x00", `"a\nb\rc\td\u0014e\u0000"`},
		{"invalid UTF-8 is unchanged", "a\xffb", "\"a\xffb\""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: row.remark})
			assert.Contains(t, a.get("/cgi-bin/user/info", "openid", "oFAKE"), `"remark":`+row.want+`,`)
		})
	}
}

// Text that was entered in the platform's console was sent with control characters that JSON does not allow, beside
// others that are escaped: https://github.com/node-webot/co-wechat-api/issues/63.
func TestRawControlCharacters(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuirks(wechatusertest.Quirks{RawControl: true}))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "a\x0eb\"\n\b"})
	assert.Contains(t, a.get("/cgi-bin/user/info", "openid", "oFAKE"), "\"remark\":\"a\x0eb\\\"\\n\\b\",")
}

// https://developers.weixin.qq.com/community/develop/doc/0006a887d44d7867b78a98b8158400
func TestInvalidRequestBodies(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	const path = "/cgi-bin/user/info/updateremark"
	for name, body := range map[string]string{
		"form": "openid=" + wechatusertest.OpenID(0) + "&remark=x", "array": "[]", "null": "null", "number": "1",
		"cut": `{"openid":`, "two documents": "{}{}", "byte order mark": "\ufeff{}",
		"not UTF-8":  "{\"remark\":\"\xff\"}",
		"wrong type": `{"openid":1,"remark":"x"}`,
	} {
		t.Run(name, func(t *testing.T) { assertCode(t, 47001, a.post(path, body)) })
	}
	assertCode(t, 44002, a.post(path, ""))
	assertCode(t, 45002, a.post(path, `{"remark":"`+string(make([]byte, 1<<20))+`"}`))
}
