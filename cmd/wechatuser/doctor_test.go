package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The account in memory has nothing to complain about, and is checked over a network of its own.
func TestDoctorOfTheSandbox(t *testing.T) {
	for lang, lines := range map[string][]string{
		"en": {
			"ok       DNS                               127.0.0.1 resolves to 127.0.0.1\n",
			"skipped  TLS                               plain http\n",
			"ok       app ID and secret                 WeChat issues a token for wx",
			"\nok 19, warn 0, FAIL 0, skipped 1. Requests sent: API calls 12, token requests 1. Nothing was changed.\n",
		},
		"zh": {
			"正常     DNS                               127.0.0.1 解析到 127.0.0.1\n",
			"跳过     TLS                               明文 http\n",
			"正常     AppID 和 AppSecret                微信为 wx",
			"\n正常 19，警告 0，失败 0，跳过 1。共发送：接口调用 12 次，access_token 请求 1 次。未做任何修改。\n",
		},
	} {
		got := inProcess(t, testApp(t, nil), "--sandbox", "--lang", lang, "doctor")
		require.Equal(t, exitOK, got.code, got.stdout+got.stderr)
		for _, line := range lines {
			assert.Contains(t, got.stdout, line)
		}
		assert.NotContains(t, got.stdout, "->")
	}
}

func TestDoctorFindsAFault(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {
			"FAIL     right getFans ", "48001", "\n" + strings.Repeat(" ", 43) + "-> ",
			"WeChat explains a rid", "wechatuser: 1 check failed\n",
		},
		"zh": {
			"失败     权限 getFans ", "48001", "\n" + strings.Repeat(" ", 43) + "-> ",
			"rid 在 7 天内可查询", "wechatuser: 1 项检查失败\n",
		},
	} {
		srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
		srv.FailNext("/cgi-bin/user/get", wechatuser.CodeAPIUnauthorized, 1)
		got := inProcess(t, testApp(t, srv), "--lang", lang, "doctor")
		assert.Equal(t, exitFailed, got.code)
		for _, text := range texts {
			assert.Contains(t, got.stdout+got.stderr, text)
		}
		assert.NotContains(t, got.stdout+got.stderr, srv.Secret)
	}
}

func TestDoctorJSON(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
	srv.FailNext("/cgi-bin/tags/get", wechatuser.CodeAPIUnauthorized, 1)
	var report struct {
		Checks []struct{ Check, Status, Finding, Remedy string }
		Failed int
		Calls  int
		Tokens int `json:"token_requests"`
	}

	got := inProcess(t, testApp(t, srv), "--json", "--lang", "zh", "doctor")

	assert.Equal(t, exitFailed, got.code)
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &report), got.stdout)
	assert.Equal(t, []int{1, 12, 1}, []int{report.Failed, report.Calls, report.Tokens})
	for _, c := range report.Checks {
		assert.NotEmpty(t, c.Finding)
		assert.Contains(t, []string{"ok", "warn", "fail", "skipped"}, c.Status)
		assert.Equal(t, c.Status == "fail", c.Remedy != "")
		if c.Status == "fail" {
			assert.Equal(t, "right getTags", c.Check, "the same in all languages")
		}
	}
}

// A secret that its command does not print is the finding.
func TestDoctorOfASecretCommand(t *testing.T) {
	srv := wechatusertest.NewServer()
	a := testApp(t, srv)
	file := writeConfig(t, fmt.Sprintf(
		"[accounts.shop]\nappid = \"wx0000000000000000\"\nbase_url = %q\nsecret_command = [\"false\"]\n", srv.URL))

	got := inProcess(t, a, "--config", file, "--account", "shop", "doctor")

	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stdout, "the app secret cannot be read: secret_command false: exit status 1\n")
}

func TestDoctorSettings(t *testing.T) {
	for _, args := range [][]string{
		{"doctor", "--timeout", "0s", "--sandbox"}, {"doctor", "now"}, {"doctor", "--base-url", "http://192.0.2.1"},
		{"doctor", "--base-url", ":", "--sandbox-fans", "-1", "--sandbox"},
	} {
		srv := wechatusertest.NewServer()
		got := inProcess(t, testApp(t, srv), args...)
		assert.Equal(t, exitUsage, got.code, "%v %s", args, got.stderr)
		assert.Zero(t, srv.Calls("*"))
	}
	got := inProcess(t, testApp(t, nil), "doctor")
	assert.Equal(t, exitUsage, got.code, "no account")
}

// An interrupt ends the checks at once: there is nothing to settle.
func TestDoctorIsInterrupted(t *testing.T) {
	var a *app
	srv := wechatusertest.NewServer(wechatusertest.WithFans(3), wechatusertest.WithRequestHook(
		func(r wechatusertest.Request) {
			if r.Path == "/cgi-bin/user/get" {
				a.interrupt()
			}
		}))
	srv.Delay("/cgi-bin/tags/get", time.Hour) // a later call
	a = testApp(t, srv)

	got := inProcess(t, a, "doctor", "--timeout", "1h")

	assert.Equal(t, exitStopped, got.code)
	assert.Empty(t, got.stdout)
	assert.Contains(t, got.stderr, "interrupted")
}

// The command in the compose file of the sandbox is one of this program.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile("../../examples/sandbox/compose.yaml")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^ *command: go run -C cmd/wechatuser \. (.*)$`).FindSubmatch(text)
	require.NotNil(t, found)
	args := strings.Fields(string(found[1]))
	assert.Equal(t, []string{"doctor", "--base-url", "http://sandbox:8080", "--plain-http"}, args)

	got := inProcess(t, testApp(t, nil), args...)

	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "no account", "the flags are right")
}
