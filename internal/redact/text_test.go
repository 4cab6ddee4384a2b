package redact

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/wire"
)

func TestRedactSecrets(t *testing.T) {
	const token = "50_FAKE-token"
	tests := []struct {
		name    string
		s       string
		secrets []string
		want    string
	}{
		{"nothing", "", []string{token}, ""},
		{"no secret", "the body is HTML", nil, "the body is HTML"},
		{"not in it", "the body is 50_FAKE-toke", []string{token}, "the body is 50_FAKE-toke"},
		{"query", "GET /cgi-bin/user/get?access_token=50_FAKE-token&next_openid=", []string{token}, "GET /cgi-bin/user/get?access_token=***&next_openid="},
		{"the whole", token, []string{token}, "***"},
		{"at both ends", token + " " + token, []string{token}, "*** ***"},
		{"twice in a row", token + token, []string{token}, "******"},
		{"two secrets", "a 50_FAKE-token b FAKEsecret c", []string{token, "FAKEsecret"}, "a *** b *** c"},
		{"same one twice", "a 50_FAKE-token", []string{token, token}, "a ***"},
		{"empty secrets", "abc", []string{"", ""}, "abc"},
		{"short secrets", "abc is abcd", []string{"a", "abc"}, "abc is abcd"},
		{"four bytes", "abc is abcd", []string{"abcd"}, "abc is ***"},

		{"one begins with the other", "x secret-long y secret z", []string{"secret", "secret-long"}, "x *** y *** z"},
		{"one ends with the other", "x long-secret y", []string{"secret", "long-secret"}, "x *** y"},
		{"one inside the other", "x a-secret-b y", []string{"secret", "a-secret-b"}, "x *** y"},
		{"overlapping", "x abcdefgh y", []string{"abcdef", "cdefgh"}, "x *** y"},
		{"overlapping itself", "x abababab y", []string{"abab"}, "x *** y"},
		{"after a false start", "aaaab", []string{"aaab"}, "a***"},

		{"query escaped", "t=a%2Fb%2Bc+d%3D%3D&x", []string{"a/b+c d=="}, "t=***&x"},
		{"path escaped", "/a%2Fb+c%20d==/x", []string{"a/b+c d=="}, "/***/x"},
		{"lower-case hex", "t=a%2fb%2bc%20d%3d%3d&x", []string{"a/b+c d=="}, "t=***&x"},
		{"escaped without need", "t=%35%30%5FFAKE%2dtoken&x", []string{token}, "t=***&x"},
		{"percent signs", "%41bcd %2541bcd Abcd", []string{"%41bcd"}, "*** *** Abcd"},
		{"percent sign at the end", "abcd%2", []string{"abcd%25"}, "abcd%2"},
		{"another byte escaped", "ab%63e", []string{"abcd"}, "ab%63e"},

		{"escaped slash", `{"t":"a\/b+c=="}`, []string{"a/b+c=="}, `{"t":"***"}`},
		{"unicode escapes", `{"t":"a\u002fb\u002Bc\u003d\u003D"}`, []string{"a/b+c=="}, `{"t":"***"}`},
		{"short escapes", `{"t":"a\"b\\c\n\t"}`, []string{"a\"b\\c\n\t"}, `{"t":"***"}`},
		{"Chinese", `{"t":"\u5bc6\u7801!"} 密码! %E5%AF%86%E7%A0%81%21`, []string{"密码!"}, `{"t":"***"} *** ***`},
		{"surrogate pair", `{"t":"\ud83d\udd11key"}`, []string{"🔑key"}, `{"t":"***"}`},
		{"unknown escape", `ab\xd`, []string{`abxd`}, `ab\xd`},
		{"another character escaped", `ab\u0064e ab\/d`, []string{`abcd`}, `ab\u0064e ab\/d`},
		{"cut escape", `abc\u00`, []string{"abcd"}, `abc\u00`},
		{"backslashes as they are", `a\\b and a\\\\b`, []string{`a\\b`}, `*** and ***`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, redactSecrets(tt.s, tt.secrets...))
		})
	}
}

func TestRedactSecretsAllocatesOnlyForASecret(t *testing.T) {
	s := strings.Repeat(`{"errmsg":"invalid credential \u0026 50% \u00zz %zz + %2B","url":"https:\/\/api.weixin.qq.com"} `, 20)
	allocs := testing.AllocsPerRun(100, func() {
		if redactSecrets(s, "50_FAKE-token", "with/escapes+and=") != s {
			t.Error("redacted something else")
		}
	})
	assert.Zero(t, allocs)
}

func FuzzRedactSecrets(f *testing.F) {
	f.Add("a", "50_FAKE-token", "FAKEsecret", "b")
	f.Add("a=", "a/b+c d==", "a/b+", "&")
	f.Add(`\`, `\\\\`, `%41%`, `%2`)
	f.Add("%", "%%41", "+  +", "\\u00")
	f.Add("\xff", "\xff\xfe\xfd\xfc", "密码", "\u2028")
	f.Add("aaa", "aaaa", "aaaaa", "aaa")
	f.Add("", "", "abc", "")
	f.Fuzz(func(t *testing.T, before, secret1, secret2, after string) {
		if strings.Contains(secret1+secret2, "*") {
			return // the replacement itself may be a part of them
		}
		if len(secret1)+len(secret2) > 512 {
			return // long ones find nothing new, slowly
		}
		for _, secret := range []string{secret1, secret2} {
			for _, spelled := range spellings(t, secret) {
				s := before + spelled + after
				got := redactSecrets(s, secret1, secret2)
				require.Equal(t, got, redactSecrets(s, secret2, secret1), "the order of the secrets matters")
				if len(secret) >= minSecret {
					require.Contains(t, got, "***")
					require.NotContains(t, got, spelled)
				}
			}
		}
		// Without an escape to look through, there is nothing to redact but the secrets themselves.
		s := before + after
		if !strings.ContainsAny(s, `%+\`) && !strings.Contains(s, secret1) && !strings.Contains(s, secret2) {
			require.Equal(t, s, redactSecrets(s, secret1, secret2))
		}
	})
}

var percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// spellings are the ways in which net/url and encoding/json write s, and others like them.
func spellings(t *testing.T, s string) []string {
	t.Helper()
	all := []string{
		s,
		url.QueryEscape(s),
		url.PathEscape(s),
		percentEscape.ReplaceAllStringFunc(url.QueryEscape(s), strings.ToLower),
	}
	if !utf8.ValidString(s) {
		return all // JSON does not hold all of it
	}
	html, err := json.Marshal(s)
	require.NoError(t, err)
	plain, err := wire.Marshal(s)
	require.NoError(t, err)
	content := func(quoted []byte) string { return string(quoted[1 : len(quoted)-1]) }
	return append(all, content(html), content(plain), strings.ReplaceAll(content(plain), "/", `\/`))
}

func BenchmarkRedactSecrets(b *testing.B) {
	s := strings.Repeat(`<html>GET https://api.weixin.qq.com/cgi-bin/user/get?next_openid= 502 Bad Gateway</html> `, 20)
	b.ReportAllocs()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		redactSecrets(s, "50_FAKE-token", "FAKEsecret")
	}
}

// A secret that is not taken for one is shown; a text that is taken for one can't be read.
func TestParam(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"nothing":                          "nothing",
		"access_token":                     "access_token",
		"access_token=":                    "access_token=",
		"access_token= x":                  "access_token= x",
		"?access_token=a_B-9.~%2F%2B+/=&x": "?access_token=***&x",
		`"access_token=a"`:                 `"access_token=***"`,
		"access_token=a\naccess_token=b":   "access_token=***\naccess_token=***",
		"access_token=*** and":             "access_token=*** and",
	} {
		got := Param(text, "access_token=")
		assert.Equal(t, want, got)
		assert.Equal(t, got, Param(got, "access_token="), "once is enough")
	}
}
