package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The usual errors say in Chinese what happened and what to do, and have the original text.
func TestChineseErrors(t *testing.T) {
	closed := newServer(t)
	closed.Close()
	account := newServer(t, wechatusertest.WithFans(3))
	front := httptest.NewUnstartedServer(account)
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	t.Cleanup(front.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<html><title>blocked</title></html>")
	}))
	t.Cleanup(page.Close)
	forbidden := newServer(t)
	forbidden.FailNextHTTP("/cgi-bin/stable_token", http.StatusOK,
		`{"errcode":40164,"errmsg":"invalid ip 203.0.113.9, not in whitelist rid: 5f0000aa-11223344-55667788"}`, 1)
	limited := newServer(t)
	limited.FailNext("/cgi-bin/user/get", wechatuser.CodeDailyQuotaExceeded, 1)
	for name, c := range map[string]struct {
		base, want string
		args       []string
	}{
		"refused":      {closed.URL, "没有收到响应：连接被拒绝：检查接口地址和端口.*（原文：.*connection refused）", nil},
		"no such host": {"https://no-such-host.invalid", "没有收到响应：(找不到域名|解析域名) no-such-host.invalid.*检查.*（原文：.*）", nil},
		"TLS":          {front.URL, "没有收到响应：证书由未知机构签发：安装根证书.*（原文：.*unknown authority）", nil},
		"not TLS":      {"https" + account.URL[len("http"):], "没有收到响应：对方没有使用 TLS：检查接口地址.*（原文：", nil},
		"a proxy":      {page.URL, "收到的不是平台的正常响应（HTTP 状态码 403）：检查接口地址.*（原文：.*blocked", nil},
		"whitelist": {forbidden.URL, "40164 调用接口的 IP 地址不在白名单中，.*微信看到的 IP 为 203.0.113.9：在.*加入 IP 白名单.*" +
			"（原文：invalid ip 203.0.113.9, not in whitelist，rid 5f0000aa-11223344-55667788）", nil},
		"quota":       {limited.URL, "getFans：45009 .*等到次日.*（原文：", nil},
		"scheme":      {"ftp://127.0.0.1", "参数 WithBaseURL 无效：127.0.0.1：必须是 https（原文：", nil},
		"no file":     {account.URL, "none.txt：文件或目录不存在（原文：open none.txt: ", []string{"sync", "vip", "none.txt"}},
		"a directory": {account.URL, "：这是目录，不是文件（原文：", []string{"blacklist", "add", "-f", "/"}},
		"no program":  {account.URL, "：文件或目录不存在（原文：", []string{"call", "/cgi-bin/x", "-d", "@none.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := invocation{args: []string{"--lang", "zh", "fans", "--count"}, env: append(credentials(account), "WECHAT_BASE_URL="+c.base)}
			if c.args != nil {
				in.args = append(in.args[:2], c.args...)
			}
			got := in.run(t)
			assert.NotZero(t, got.code)
			assert.Regexp(t, c.want, got.stderr)
			assert.NotContains(t, got.stderr, account.Secret)
		})
	}
}
