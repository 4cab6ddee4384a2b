package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"星标组 👨\u200d👩\u200d👧 é ❤️":      "星标组 👨\u200d👩\u200d👧 é ❤️",
		"a\x1b[31mred\x07\x7f":          `a\x1b[31mred\x07\x7f`,
		"a\nb\tc\rd":                    `a\nb\tc\x0dd`,
		"\u202eevil\u202c \u2066\u200f": `\u202eevil\u202c \u2066\u200f`,
		"\u0085\u009b\u2028\ufeff":      `\u0085\u009b\u2028\ufeff`,
		"\U000e0041":                    `\U000e0041`,
		"a\xff\ufffd":                   "a\\xff\ufffd",
	} {
		assert.Equal(t, want, visible(text))
	}
	assert.Equal(t, "a\n\\x1bb", visibleLines("a\n\x1bb"))
}

// What users and operators typed is shown without its control characters; JSON has it as it is.
func TestNamesAreEscaped(t *testing.T) {
	const evil, shown = "\x1b[2J\u202evip", `\x1b[2J\u202evip`
	srv := wechatusertest.NewServer()
	srv.AddUsers(wechatuser.UserInfo{OpenID: wechatusertest.OpenID(0), Subscribe: 1, Remark: evil, QRSceneStr: evil})
	a := func() *app { return testApp(t, srv) }
	got := inProcess(t, a(), "user", wechatusertest.OpenID(0))
	assert.Equal(t, 2, strings.Count(got.stdout, shown))
	assert.NotContains(t, got.stdout, "\x1b")
	got = inProcess(t, a(), "user", wechatusertest.OpenID(0), "--json")
	var user wechatuser.UserInfo
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &user))
	assert.Equal(t, evil, user.Remark)
}

// Colors are for terminals, and not for who sets NO_COLOR.
func TestColors(t *testing.T) {
	for name, c := range map[string]struct {
		terminal bool
		env      map[string]string
		want     bool
	}{
		"terminal": {true, nil, true},
		"pipe":     {false, nil, false},
		"NO_COLOR": {true, map[string]string{"NO_COLOR": "1"}, false},
		"dumb":     {true, map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := wechatusertest.NewServer(wechatusertest.WithFans(1))
			srv.FailNext("/cgi-bin/tags/get", wechatuser.CodeAPIUnauthorized, 1)
			a := testApp(t, srv)
			env := a.env
			a.env = func(name string) string { return env(name) + c.env[name] }
			a.isTerminal = func(stream any) bool { return c.terminal && stream != a.in }
			got := inProcess(t, a, "doctor")
			assert.Equal(t, exitFailed, got.code)
			for _, text := range []string{"\x1b[32mok     \x1b[0m  DNS", "\x1b[31mFAIL   \x1b[0m  right getTags", "\x1b[90mskipped\x1b[0m"} {
				assert.Equal(t, c.want, strings.Contains(got.stdout, text), got.stdout)
			}
			assert.Equal(t, c.want, strings.Contains(got.stderr, "\x1b[31mwechatuser: \x1b[0m1 check failed"), got.stderr)
			assert.Equal(t, c.want, strings.Contains(got.stdout+got.stderr, "\x1b["))
			a.warn("careful")
			assert.Equal(t, c.want, strings.Contains(a.err.(*bytes.Buffer).String(), "\x1b[33mwarning: \x1b[0mcareful"))
		})
	}
}
