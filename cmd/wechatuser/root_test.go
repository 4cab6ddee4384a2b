package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// An option of the account in memory never leads to a change of the real account.
func TestSandboxOptionsRequireSandbox(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(1))
	srv.AddTag("vip")
	for _, option := range []string{"--sandbox-state=x.json", "--sandbox-fans=3"} {
		got := onServer(t, srv, option, "tags", "delete", "vip", "--yes")
		assert.Equal(t, exitUsage, got.code)
		assert.Contains(t, got.stderr, "require --sandbox")
	}
	assert.Len(t, srv.Tags(), 1)
}

func TestWrongArguments(t *testing.T) {
	for _, test := range []struct{ args, english, chinese string }{
		{"nosuch", `unknown command "nosuch"`, `未知的命令或参数 "nosuch"`},
		{"fans --nosuch", "unknown flag: --nosuch", "未知的选项 --nosuch"},
		{"fans -z", "unknown shorthand flag", "未知的选项 -z"},
		{"fans --limit", "flag needs an argument", "选项 --limit 缺少值"},
		{"fans --limit x", `invalid argument "x" for "--limit" flag: invalid syntax`, `选项 --limit 的值 "x" 无效：格式不正确`},
		{"fans --limit -1 --sandbox", "must not be negative", "--limit 不能为负数"},
		{"fans --sandbox --sandbox-fans 99999999999", "must not be more than", "不能超过"},
		{"doctor --timeout x", "invalid duration", `选项 --timeout 的值 "x" 无效：格式不正确`},
		{"tags add", "requires at least 1 arg", "至少需要 1 个参数，实际为 0 个"},
		{"tags rename a", "accepts 2 arg", "需要 2 个参数，实际为 1 个"},
		{"user x", `invalid lines in the arguments; nothing was sent`, "以下各行无效（参数）"},
		{"sandbox --whitelist x", "neither an IP address nor a prefix", "不是 IP 地址，也不是网段"},
	} {
		for lang, want := range map[string]string{"en": test.english, "zh": test.chinese} {
			got := inProcess(t, testApp(t, nil), append([]string{"--lang", lang}, strings.Fields(test.args)...)...)
			assert.Equal(t, exitUsage, got.code, test.args)
			assert.Contains(t, got.stderr, want)
			assert.Empty(t, got.stdout)
		}
	}
	got := inProcess(t, testApp(t, nil), "--lang", "fr", "--sandbox", "fans")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "must be en or zh")
}

// Chinese help has no text of cobra or pflag left.
func TestChineseHelp(t *testing.T) {
	english := regexp.MustCompile(`\[flags\]|\[command\]|\(default|Generate|Usage:|help for`)
	for _, command := range []string{"", "fans", "sandbox", "token serve", "help help", "completion", "completion zsh"} {
		args := append([]string{"--lang", "zh"}, strings.Fields(command)...)
		got := inProcess(t, testApp(t, nil), append(args, "--help")...)
		require.Zero(t, got.code, got.stderr)
		assert.NotRegexp(t, english, got.stdout)
		assert.Contains(t, got.stdout, "显示帮助")
	}
}

func TestOneFollower(t *testing.T) {
	got := run(t, "--sandbox", "--sandbox-fans", "1", "export", "one.csv")
	require.Zero(t, got.code)
	assert.Contains(t, got.stdout, "1 follower in one.csv")
	assert.Contains(t, got.stderr, "with 1 follower.")
}

// The shell completes the values of flags, and the accounts of the config file.
func TestCompletionOfFlags(t *testing.T) {
	file := writeConfig(t, "[accounts.shop]\n[accounts.bar]\n")
	for args, want := range map[string]string{
		"fans --lang ":                          "en\nzh\n:4\n",
		"export a --format ":                    "csv\njsonl\nsqlite\n:4\n",
		"campaign x --scene ADD_SCENE_QR":       "ADD_SCENE_QR_CODE\n",
		"fans --config " + file + " --account ": "bar\nshop\n:4\n",
	} {
		got := run(t, append([]string{"__complete"}, strings.Split(args, " ")...)...)
		assert.Contains(t, got.stdout, want, args)
	}
}
