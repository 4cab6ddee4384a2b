package sandbox

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestPreferredLanguage(t *testing.T) {
	for header, want := range map[string]language{
		"":                                english,
		"en-US,en;q=0.9":                  english,
		"zh-CN,zh;q=0.9,en;q=0.8":         chinese,
		"zh-Hant-TW":                      chinese,
		"ZH":                              chinese,
		"en,zh-CN;q=0.5":                  english,
		"fr, zh;q=0.8, en;q=0.7":          chinese,
		"fr, de":                          english,
		"zh;q=0":                          english,
		"zh;q=x, en;q=0.1":                english,
		"*, zh;q=0.5":                     english,
		"zh,en":                           english,
		"zh-CN;q=0.9,en;q=0.4,*;q=0.1 , ": chinese,
	} {
		assert.Equal(t, want, preferred(header), header)
	}
}

func inChinese(r *http.Request) *http.Request {
	r.Header.Set("Accept-Language", "zh-CN,zh;q=0.9")
	return r
}

// doChinese posts a form and returns the message in Chinese.
func (s *sandbox) doChinese(t *testing.T, action string, form url.Values) string {
	t.Helper()
	w := s.serve(inChinese(request(http.MethodPost, "/sandbox/"+action, form)))
	if w.Code == http.StatusUnprocessableEntity {
		return strings.TrimPrefix(part(w.Body.String(), "failed"), "<b>失败：</b> ")
	}
	require.Equal(t, http.StatusSeeOther, w.Code)
	r := request(http.MethodGet, "/", nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	return part(s.serve(r).Body.String(), "done")
}

// A page in Chinese has no English but names of the platform and of this program.
func TestChinesePage(t *testing.T) {
	s := newSandbox(t, "-fans", "60", "-quotas", "/cgi-bin/tags/get=1/1")
	s.account.AddTag("会员", id(0))
	s.account.Block(id(0))
	s.account.Fault(wechatusertest.Fault{Path: "/cgi-bin/user/get", Kind: wechatusertest.FaultErrcode, Code: 45009})
	c := s.account.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{}))
	_, _ = c.GetTags(t.Context())
	_, _ = c.GetFans(t.Context(), "")

	const names = " AppID API SDK errcode openid unionid getTags getFans getStableAccessToken ID access_token AppSecret" +
		" HTTP UTC Token " + testAppID + " "
	noText := regexp.MustCompile(`(?s)<pre>.*?</pre>|<code>.*?</code>|<option.*?</option>|<[^>]*>`)
	englishWord := regexp.MustCompile(`^[A-Za-z ]{2,}$`)
	for _, path := range []string{"/", "/?user=" + id(0), "/?show=left&tag=99"} {
		w := s.serve(inChinese(request(http.MethodGet, path, nil)))
		assert.Equal(t, "zh-CN", w.Header().Get("Content-Language"))
		assert.Equal(t, "Accept-Language", w.Header().Get("Vary"))
		page := w.Body.String()
		assert.Contains(t, page, `<html lang="zh-CN">`)
		for word := range strings.FieldsSeq(noText.ReplaceAllString(page, " ")) {
			if englishWord.MatchString(word) && !strings.Contains(names, " "+word+" ") {
				assert.Fail(t, "English", "%q on %s", word, path)
			}
		}
	}
	assert.Contains(t, s.serve(inChinese(request(http.MethodGet, "/", nil))).Body.String(),
		wechatuser.CodeDailyQuotaExceeded.MeaningZH())
	english := s.serve(request(http.MethodGet, "/", nil))
	assert.Equal(t, "en", english.Header().Get("Content-Language"))
	assert.NotContains(t, strings.ReplaceAll(english.Body.String(), "星标组", ""), "用户")
}

func TestChineseMessages(t *testing.T) {
	s := newSandbox(t, "-fans", "30", "-state", "nowhere/account.json")
	s.account.Unfollow(id(9))
	for _, c := range []struct {
		action string
		form   url.Values
		want   string
	}{
		{"follow", url.Values{"count": {"3"}}, "已添加用户：3 个用户。"},
		{"follow", url.Values{"count": {"x"}}, "请输入用户数（1 到 100000），或输入 openid"},
		{"follow", url.Values{"openids": {"<"}}, `"<" 不是 openid：只能包含字母、数字、- 和 _`},
		{"newtag", url.Values{"name": {"会员"}}, `已创建标签 100 "会员"。`},
		{"newtag", url.Values{"name": {"会员"}}, `无法创建标签 "会员"：45157 ` + wechatuser.CodeInvalidTagName.MeaningZH()},
		{"tag", url.Values{"openid": {id(1)}, "tag": {"100"}}, "已打上标签 会员：" + id(1) + "。"},
		{"tag", url.Values{"openid": {id(1)}}, "没有选择标签：请选择标签，或先创建标签"},
		{"tag", url.Values{"openid": {id(9)}, "tag": {"100"}}, id(9) + " 没有关注"},
		{"untag", url.Values{"openid": {id(1)}, "tag": {"100"}}, "已取消标签 会员：" + id(1) + "。"},
		{"block", url.Values{"openid": {id(1), id(2)}}, "已加入黑名单：2 个用户。"},
		{"unblock", url.Values{}, "没有选择用户：请在列表中勾选用户"},
		{"unfollow", url.Values{"openid": {"oFAKEstranger"}}, `未知的 openid "oFAKEstranger"`},
		{"remark", url.Values{"openid": {id(1)}, "remark": {"老客户"}}, "已保存 " + id(1) + " 的备注。"},
		{"advance", url.Values{"by": {"2h"}}, "时钟已拨快 2h0m0s。"},
		{"advance", url.Values{"by": {"-2h"}}, `by："-2h" 不是正的时长，例如 90s、5m 或 2h`},
		{"save", url.Values{}, "无法保存账号：open "},
		{
			"fault", url.Values{
				"path": {"/cgi-bin/user/get"}, "kind": {"errcode"}, "code": {"45009"}, "times": {"2"}, "after": {"1"},
				"delay": {"1s"}, "probability": {"0.5"},
			}, "已添加故障：返回 errcode 45009，/cgi-bin/user/get，延迟 1s，跳过前 1 次调用，共 2 次，概率 0.5。",
		},
		{"fault", url.Values{"path": {"*"}, "kind": {"http"}, "status": {"502"}}, "已添加故障：返回 HTTP 状态码 502，不限次数。"},
		{"fault", url.Values{"kind": {"errcode"}}, "请填写 errcode，不能为 0"},
		{"fault", url.Values{"kind": {"http"}, "status": {"99"}}, "HTTP 状态码应为 200 到 599"},
		{"fault", url.Values{"kind": {"delay"}}, "请填写延迟时间"},
		{"fault", url.Values{"kind": {"mishap"}}, `未知的故障类型 "mishap"`},
		{"fault", url.Values{"kind": {"garbage"}, "probability": {"2"}}, "概率应为 0 到 1"},
		{"fault", url.Values{"kind": {"garbage"}, "times": {"-1"}}, "次数、跳过次数和延迟不能为负数"},
		{"clear", url.Values{}, "已清除全部故障。"},
		{"revoke", url.Values{}, "所有 access_token 已失效：使用它们的调用将返回 40001。"},
	} {
		assert.Contains(t, s.doChinese(t, c.action, c.form), c.want)
	}
	r := inChinese(request(http.MethodGet, "/", nil))
	r.Host = "evil.example"
	assert.Contains(t, s.serve(r).Body.String(), "已拒绝：Host 只能是")
}
