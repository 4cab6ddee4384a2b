package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestEmptySecret(t *testing.T) {
	for setting, want := range map[string]string{
		`secret_command = ["true"]`: "secret_command true printed nothing",
		`secret_file = "/dev/null"`: "secret_file /dev/null is empty",
	} {
		file := writeConfig(t, "[accounts.a]\nappid = \"wx0000000000000000\"\n"+setting+"\n")
		got := inProcess(t, testApp(t, nil), "--config", file, "fans")
		assert.Equal(t, exitFailed, got.code)
		assert.Contains(t, got.stderr, want)
	}
}
