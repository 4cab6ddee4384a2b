package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// A config file that cannot be parsed does not show what it has in place of a value.
func TestSyntaxErrorHidesSecret(t *testing.T) {
	for _, secret := range []string{"abcdefSENTINEL", "7777777777777777777777777777", "0xSENTINEL", `"\qSENTINEL"`, "'SENTINEL"} {
		file := writeConfig(t, "[accounts.a]\nsecret = "+secret+"\n")
		for _, lang := range []string{"en", "zh"} {
			got := inProcess(t, testApp(t, nil), "--lang", lang, "--config", file, "fans")
			assert.Equal(t, exitUsage, got.code)
			assert.Contains(t, got.stderr, "TOML")
			assert.NotContains(t, got.stderr, "SENTINEL")
			assert.NotContains(t, got.stderr, "7777")
		}
	}
}

func TestChoiceOfAccount(t *testing.T) {
	two := "[accounts.shop]\nappid = \"wx0000000000000000\"\n[accounts.bar]\nappid = \"wx0000000000000001\"\n"
	for _, test := range []struct {
		config, want string
		args         []string
	}{
		{two, "choose one with --account: bar, shop", nil},
		{two, "--account and --appid name two accounts", []string{"--account", "shop", "--appid", "wx0000000000000002"}},
		{"[accounts.shop]\nsecret = \"x\"\n", `the account "shop" has no appid`, nil},
	} {
		args := append([]string{"--config", writeConfig(t, test.config), "fans"}, test.args...)
		got := inProcess(t, testApp(t, nil), args...)
		assert.Equal(t, exitUsage, got.code)
		assert.Contains(t, got.stderr, test.want)
	}
	t.Setenv("HOME", "")
	a := testApp(t, nil)
	a.env = func(string) string { return "" }
	assert.Contains(t, inProcess(t, a, "--account", "shop", "fans").stderr, "no config file for --account")
}

// A source without a secret is a wrong setting, found before anything is planned or sent.
func TestBadSecretSource(t *testing.T) {
	for setting, want := range map[string]string{
		`secret_command = ["true"]`:           "secret_command true printed nothing",
		`secret_command = ["false"]`:          "secret_command false: exit status 1",
		`secret_command = ["/no/such"]`:       "secret_command /no/such: ",
		`secret_command = ["echo", "a b"]`:    "contains a space",
		`secret_file = "/dev/null"`:           "secret_file /dev/null is empty",
		`secret_file = "/no/such"`:            "secret_file: open /no/such: ",
		`secret = "two words"`:                "contains a space",
		`secret_command = ["sh","-c","echo"]`: "secret_command sh printed nothing",
	} {
		file := writeConfig(t, "[accounts.a]\nappid = \"wx0000000000000000\"\n"+setting+"\n")
		for _, command := range []string{"fans", "tags create gold"} {
			got := inProcess(t, testApp(t, nil), append([]string{"--config", file}, strings.Fields(command)...)...)
			assert.Equal(t, exitUsage, got.code, got.stderr)
			assert.Contains(t, got.stderr, want)
			assert.NotContains(t, got.stderr, "quota")
		}
	}
}

// The environment's secret and host belong to the environment's account, and are not sent for another one.
func TestEnvironmentDoesNotCompleteAnAccount(t *testing.T) {
	srv, other := newServer(t, wechatusertest.WithFans(1)), newServer(t)
	env := []string{"WECHAT_SECRET=" + srv.Secret, "WECHAT_BASE_URL=" + other.URL}
	complete := fmt.Sprintf("secret = %q\nbase_url = %q\n", srv.Secret, srv.URL)
	for settings, want := range map[string]struct {
		code int
		text string
	}{
		complete:                           {exitOK, ""},
		"base_url = \"" + srv.URL + "\"\n": {exitUsage, `the account "shop" has no app secret`},
	} {
		file := writeConfig(t, fmt.Sprintf("[accounts.shop]\nappid = %q\n%s", srv.AppID, settings))
		for _, choice := range [][]string{nil, {"--account", "shop"}} {
			args := append([]string{"--config", file, "fans", "--count"}, choice...)
			got := invocation{args: args, env: env}.run(t)
			assert.Equal(t, want.code, got.code, got.stderr)
			assert.Contains(t, got.stderr, want.text)
		}
	}
	a := testApp(t, other) // its host is in the environment
	a.settings.account = "shop"
	a.settings.config = writeConfig(t, "[accounts.shop]\nappid = \"wx0000000000000000\"\nsecret = \"x\"\n")
	acc, err := a.selectAccount()
	require.NoError(t, err)
	assert.Empty(t, acc.BaseURL, "the platform")
	assert.Zero(t, other.Calls("*"))
}

// A setting that is unknown or of a wrong type is named with its file and line, without its value.
func TestConfigIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"accounts = 1":                    "line 1: accounts: must be tables such as [accounts.shop]",
		"\naccount = \"SENTINEL\"":        "line 2: account: unknown setting",
		"default = 3":                     "line 1: default: must be the name of an account",
		"[accounts]\nshop = \"SENTINEL\"": "line 2: accounts.shop: must be a table: [accounts.shop]",
		"[accounts.shop]\nappid = 12":     "line 2: accounts.shop.appid: must be a text in quotes",
		"[accounts.a]\nappid = \"x\"\n\n[accounts.b]\n# appid\nsecret = 77777": "line 6: accounts.b.secret: must be a text in quotes",
		"[accounts.shop]\nsecrt = \"SENTINEL\"":                                "line 2: accounts.shop.secrt: unknown setting; there are appid, base_url, plain_http, ",
		"[accounts.shop]\nsecret_command = \"pass SENTINEL\"":                  "line 2: accounts.shop.secret_command: must be a program and its arguments",
		"[accounts.shop]\nsecret_command = [\n  \"SENTINEL\",\n  1,\n]":        "line 2: accounts.shop.secret_command: must be a program",
		"[accounts.shop]\nsecret_command = []":                                 "line 2: accounts.shop.secret_command: must be a program",
		"[accounts.shop]\nplain_http = \"yes\"":                                "line 2: accounts.shop.plain_http: must be true or false",
		"accounts.shop.appid = 1":                                              "line 1: accounts.shop.appid: must be a text",
		"[accounts]\nshop = { appid = 1 }":                                     "line 2: accounts.shop.appid: must be a text",
	} {
		file := writeConfig(t, text+"\n")
		for _, command := range []string{"config", "fans"} {
			got := inProcess(t, testApp(t, nil), "--config", file, command)
			assert.Equal(t, exitUsage, got.code, text)
			assert.Contains(t, got.stderr, file+": "+want)
			assert.NotContains(t, got.stderr, "SENTINEL")
			assert.NotContains(t, got.stderr, "7777")
		}
		assert.Regexp(t, "第 \\d 行：.*(应为|未知)", inProcess(t, testApp(t, nil), "--config", file, "--lang", "zh", "fans").stderr)
	}
}
