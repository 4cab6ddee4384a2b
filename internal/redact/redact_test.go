package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Secrets that have the form of the platform's, and one with characters that are escaped.
const (
	token  = "97_hT3xQ-vKz81LmWc0sYbNp5RjUe"
	secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	odd    = `k"9\ü&+/=Zq 7<%41>x`
)

func TestText(t *testing.T) {
	const fake = "50_FAKE-token"
	for name, tt := range map[string]struct {
		text    string
		secrets []string
		want    string
	}{
		"nothing":   {"", []string{fake}, ""},
		"no secret": {"the body is HTML", nil, "the body is HTML"},
		"query": {
			"GET /cgi-bin/user/get?token=50_FAKE-token&next_openid=",
			[]string{fake},
			"GET /cgi-bin/user/get?token=***&next_openid=",
		},
		"the whole":      {fake, []string{fake}, "***"},
		"at both ends":   {fake + " " + fake, []string{fake}, "*** ***"},
		"twice in a row": {fake + fake, []string{fake}, "******"},
		"two secrets":    {"a 50_FAKE-token b FAKEsecret c", []string{fake, "FAKEsecret"}, "a *** b *** c"},
		"same one twice": {"a 50_FAKE-token", []string{fake, fake}, "a ***"},
		"empty secrets":  {"abc", []string{"", ""}, "abc"},
		"short secrets":  {"abc is abcd", []string{"a", "abc"}, "abc is abcd"},
		"four bytes":     {"abc is abcd", []string{"abcd"}, "abc is ***"},
		"seven bytes": {
			"abcdefg, not abc defg, ABCDEFG or abcdef", []string{"abcdefg"}, "***, not abc defg, ABCDEFG or abcdef",
		},
		"short, at once":   {"abcd", []string{"\x00abcd"}, "abcd"},
		"seven shared":     {"50_FAKE and 0_FAKE-. or -token", []string{fake}, "50_FAKE and 0_FAKE-. or -token"},
		"eight shared":     {"x50_FAKE-y", []string{fake}, "x***y"},
		"other case":       {"0F1E2D3C4B5A and 50_fake-TOKEN", []string{secret, fake}, "*** and ***"},
		"one in the other": {"x a-secret-b y a-secret z", []string{"a-secret", "a-secret-b"}, "x *** y *** z"},
		"overlapping":      {"x abcdefghijkl y", []string{"abcdefgh", "efghijkl"}, "x *** y"},
		"of one letter":    {"aaaaaaaaaaaa", []string{"aaaaaaaa"}, "***"},

		"cut at the end":       {`{"secret_":"0f1e2d3c4b5a69788796a5b4c3d2`, []string{secret}, `{"secret_":"***`},
		"cut at the beginning": {`8796a5b4c3d2e1f0","x":1}`, []string{secret}, `***","x":1}`},
		"cut at both ends":     {`…96a5b4c3d2…`, []string{secret}, `…***…`},
		"after 8 characters":   {"0f1e2d3c\n4b5a6978\n8796a5b4\nc3d2e1f0.", []string{secret}, "***."},
		"after each one":       {strings.Join(strings.Split(secret, ""), "\n"), []string{secret}, "***"},
		"string concatenation": {`s := "0f1e2d" +` + "\n\t" + `"3c4b5a69" + "78";`, []string{secret}, `s := "***";`},
		"other joins":          {`'0f1e2d' . '3c4b' || '5a69' & "78"`, []string{secret}, `'***"`},
		"quoted lines":         {"> 0f1e2d\r\n> 3c4b5a", []string{secret}, "> ***"},
		"list of texts":        {`["0f1e","2d3c","4b5a"]`, []string{secret}, `["***"]`},
		"HTML": {
			`<td>0f1e<wbr>2d3c<br/>4b</td><td class="x">5a</td>`, []string{secret}, `<td>***</td>`,
		},
		"in a tag":        {`<a href="/0f1e2d3c4b5a"><b>x`, []string{secret}, `<a href="/***"><b>x`},
		"UTF-16":          {"0\x00f\x001\x00e\x002\x00d\x003\x00c\x004\x00", []string{secret}, "***\x00"},
		"plus at the end": {`"abcdefg+"`, []string{"abcdefg+hi"}, `"***"`},

		"query escaped":        {"t=a%2Fb%2Bc+d%3D%3D&x", []string{"a/b+c d=="}, "t=***&x"},
		"path escaped":         {"/a%2Fb+c%20d==/x", []string{"a/b+c d=="}, "/***/x"},
		"lower-case hex":       {"t=a%2fb%2bc%20d%3d%3d&x", []string{"a/b+c d=="}, "t=***&x"},
		"escaped without need": {"t=%35%30%5FFAKE%2dtoken&x", []string{fake}, "t=***&x"},
		"escaped twice":        {"t=%2535%2530%255FFAKE-token&x", []string{fake}, "t=***&x"},
		"percent and cut":      {"t=%35%30%5FFAKE%2dt%", []string{fake}, "t=***%"},
		"percent sign":         {"%41bcdefg %2541bcdefg Abcdefg", []string{"%41bcdefg"}, "*** *** Abcdefg"},
		"escape of JavaScript": {
			`%u0030f1e2d3c4b \u{30}f1e2d3c4b \x30f1e2d3c4b \060f1e2d3c4b`, []string{secret}, `*** *** *** ***`,
		},
		"no escapes": {
			`%zz %u00 \u00 \u{} \u{zz} \x \xz \8 & &; &#; &#x; &nothing; %`,
			[]string{secret},
			`%zz %u00 \u00 \u{} \u{zz} \x \xz \8 & &; &#; &#x; &nothing; %`,
		},
		"escaped slash":   {`{"t":"a\/b+c==d"}`, []string{"a/b+c==d"}, `{"t":"***"}`},
		"unicode escapes": {`{"t":"a\u002fb\u002Bc\u003d\u003Dd"}`, []string{"a/b+c==d"}, `{"t":"***"}`},
		"short escapes":   {`{"t":"a\"b\\c\n\td"}`, []string{"a\"b\\c\n\td"}, `{"t":"***"}`},
		"JSON in JSON in JSON": {
			`"{\"a\":\"{\\\"t\\\":\\\"50\\\\u005fFAKE\\\\u002dtoken\\\"}\"}"`,
			[]string{fake},
			`"{\"a\":\"{\\\"t\\\":\\\"***\\\"}\"}"`,
		},
		"Chinese": {
			`{"t":"\u5bc6\u7801!"} 密码! %E5%AF%86%E7%A0%81%21`, []string{"密码!"}, `{"t":"***"} *** ***`,
		},
		"Chinese, cut":         {`的密钥是 密钥是什么`, []string{"密钥是密钥"}, `的*** ***什么`},
		"Chinese, in a letter": {`䯆钥是x`, []string{"密钥是密钥"}, `***x`},
		"zero byte":            {"abcdefg", []string{"\x00abcdefg"}, "abcdefg"},
		"four secrets": {
			"abcdefgh ijklmnop qrstuvwx 12345678",
			[]string{"abcdefgh", "ijklmnop", "qrstuvwx", "12345678"},
			"*** *** *** ***",
		},
		"base64 of a query": {
			base64.StdEncoding.EncodeToString([]byte("q=a%2Bb%2Bc%2Bd%2Be%2B")), []string{"a+b+c+d+e+"}, "cT1***g==",
		},
		"surrogate pair": {`{"t":"\ud83d\udd11key"}`, []string{"🔑key"}, `{"t":"***"}`},
		"HTML entities": {
			`50&#95;FAKE&#x2D;token, 50&lowbar;FAKE&hyphen;token, 50&amp;#95;FAKE-token`,
			[]string{fake},
			`***, ***, ***`,
		},
		"HTML without a stop": {`&#48f1e2d3c4b &#48 0f1e2d3c4b`, []string{"g" + secret}, `*** &#48 ***`},
		"percent around JSON": {
			`%7B%22t%22%3A%2250%5Cu005fFAKE-token%22%7D`, []string{fake}, `%7B%22t%22%3A%22***%22%7D`,
		},
		"bytes": {"[53 48 95 70 65 75 69 45 116 111 107 101 110]", []string{fake}, "[***]"},
		"bytes of hex": {
			"[]byte{0x35, 0x30, 0x5f, 0x46, 0x41, 0x4b, 0x45, 0x2d, 0x74, 0x6f, 0x6b, 0x65, 0x6e}",
			[]string{fake},
			"[]byte{***}",
		},
		"bytes with others": {"x1 a(9 53 48 95 70 65 75 69 45 10) 7", []string{fake}, "x1 a(9 *** 10) 7"},
		"hex":               {"x35305f46414b452d746f6b656ex 35305F46414B452D", []string{fake}, "x***x ***"},
		"hex with gaps":     {"35 30 5f 46 41:4b:45:2d:74", []string{fake}, "***"},
		"base64 and its prefix": {
			"Basic " + base64.StdEncoding.EncodeToString([]byte("wx:"+fake)), []string{fake}, "Basic d3g6***g==",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := New(tt.secrets...).Text(tt.text)
			assert.Equal(t, tt.want, got)
			assert.Equal(t, got, New(tt.secrets...).Text(got), "once is enough")
		})
	}
}

// What a text calls a secret is one, whoever it belongs to. What is taken for one can't be read.
func TestTextRedactsWhatIsCalledSecret(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"nothing":                              "nothing",
		"access_token":                         "access_token",
		"access_token=":                        "access_token=",
		"access_token= x":                      "access_token= x",
		"?access_token=a_B-9.~%2F%2B+/=&x":     "?access_token=***&x",
		`"access_token=a"`:                     `"access_token=***"`,
		"access_token=a\naccess_token=b":       "access_token=***\naccess_token=***",
		"access_token=*** and":                 "access_token=*** and",
		"secret=secret=secret=x y":             "secret=*** y",
		"/x?APPSECRET=a&b=c":                   "/x?APPSECRET=***&b=c",
		`component_appsecret = "a b"`:          `component_appsecret = "*** b"`,
		`csrf_token=a&secrets=b`:               `csrf_token=a&secrets=b`,
		"to=%2Fx%3Faccess_token%3Da%26b%3Dc":   "to=%2Fx%3Faccess_token%3D***%26b%3Dc",
		`{"access_token":"a","expires_in":7}`:  `{"access_token":"***","expires_in":7}`,
		`{"access_token" : "a\/b-c"}`:          `{"access_token" : "***"}`,
		`"{\"refresh_token\":\"a\"}"`:          `"{\"refresh_token\":\"***\"}"`,
		`{&quot;secret&quot;:&quot;a&quot;}`:   `{&quot;secret&quot;:&quot;***&quot;}`,
		`{'accessToken': 'a'}`:                 `{'accessToken': '***'}`,
		`{"access_token":"","secret":null}`:    `{"access_token":"","secret":null}`,
		`{"secret":{"a":["b"]}}`:               `{"secret":{"a":["b"]}}`,
		"appsecret: invalid":                   "appsecret: invalid",
		"access_token is invalid: get another": "access_token is invalid: get another",
		"map[access_token:70_abcdefghijklmnopqrstuvw expires_in:7200]": "map[access_token:*** expires_in:7200]",
		"appsecret=您的密钥": "appsecret=您的密钥",
	} {
		assert.Equal(t, want, Redactor{}.Text(text))
		assert.Equal(t, want, New(token).Text(text))
	}
}

func TestParam(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"openid":                  "openid",
		"openid=&x":               "openid=&x",
		"?openid=oA-b_c&x":        "?openid=***&x",
		"next_openid=a, openid=b": "next_openid=***, openid=***",
	} {
		got := Param(text, "openid=")
		assert.Equal(t, want, got)
		assert.Equal(t, got, Param(got, "openid="), "once is enough")
	}
}

func TestRedactorPrintsNoSecret(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		assert.NotContains(t, fmt.Sprintf(verb, New(token)), token[:8])
	}
}

// ordinary are texts as they come from proxies, transports and the platform.
var ordinary = []string{
	`<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx/1.24.0</center></body></html>`,
	`<!DOCTYPE html><html lang="zh"><meta charset="utf-8"><title>网络认证</title><body>请先登录后再访问网络 &nbsp;&copy; 2026 <a href="https://portal.example.com/login?from=%2Fcgi-bin%2Fuser%2Fget&amp;lang=zh_CN">登录</a></body>`,
	`invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid: 617682e0-09059ac5-34a8e2ea`,
	`invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 66b5fb8f-5e3c0071-3d7f539a`,
	`{"errcode":40013,"errmsg":"invalid appid hints: [ req_id: UhEbuMH0k-xzFleA ]"}`,
	`{"subscribe":1,"openid":"oFAKE000000000000000000000001","nickname":"\u5f20\u4e09 \"A&B\" \ud83d\ude00","headimgurl":"http:\/\/wx.qlogo.cn\/mmopen\/abc\/0"}`,
	`Get "https://api.weixin.qq.com/cgi-bin/user/get?next_openid=": dial tcp [2001:db8::1]:443: connect: connection refused`,
	`Post "https://api.weixin.qq.com/cgi-bin/stable_token": proxyconnect tcp: dial tcp 10.0.0.1:3128: i/o timeout`,
	`x509: certificate is valid for *.example.com, not api.weixin.qq.com`,
	`tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-02T08:00:00Z is after 2026-10-01T00:00:00Z`,
	`lookup api.weixin.qq.com on 127.0.0.11:53: read udp 127.0.0.1:43211->127.0.0.11:53: i/o timeout`,
	`Authorization: Basic dXNlcjpwYXNzd29yZA== and Etag: "33a64df551425fcc55e4d42a148795d9f25f89d4"`,
	`traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`,
	`[]byte{0x7b, 0x22, 0x65, 0x72, 0x72, 0x63, 0x6f, 0x64, 0x65, 0x22} [123 34 101 114 114 99 111 100 101 34 58 48 125]`,
	`0000  7b 22 65 72 72 63 6f 64  65 22 3a 30 2c 22 65 72  |{"errcode":0,"er|`,
	"用户 openid 列表为空，请检查参数。\t“标签名”已存在\n第二行\u2028结束",
	`<?xml version="1.0"?><error><code>503</code><message>a + b = c &lt; d; 100% off, C:\new\table, \\server\x, %zz</message></error>`,
	"\xff\xfe\x00<\x00h\x00t\x00m\x00l\x00>", strings.Repeat("=", 300), strings.Repeat("%25", 100),
	strings.Repeat(`\\`, 100),
	`SELECT * FROM users WHERE name = 'x' AND id IN (1,2,3,4,5,6,7,8,9,10,11,12)`,
	`goroutine 1 [running]: main.main() /app/main.go:42 +0x1d exit status 2`,
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// randomSecrets returns a secret and a token of the platform's form.
func randomSecrets(rng *rand.Rand) (secret, token string) {
	hexed, letters := make([]byte, 16), make([]byte, 100+rng.IntN(60))
	for i := range hexed {
		hexed[i] = byte(rng.Uint32())
	}
	for i := range letters {
		letters[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return hex.EncodeToString(hexed), "97_" + string(letters)
}

func TestOrdinaryTextsStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		secret, token := randomSecrets(rng)
		r := New(secret, token)
		for _, text := range ordinary {
			require.Equal(t, text, r.Text(text))
		}
	}
	r := New(odd, "密码密码密码")
	for _, text := range ordinary {
		require.Equal(t, text, r.Text(text))
		require.Equal(t, text, Redactor{}.Text(text))
	}
}

// spellings are ways in which a secret is written.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	var entities, percent, numbers strings.Builder
	for _, c := range secret {
		fmt.Fprintf(&entities, "&#%d;", c)
	}
	for i := range len(secret) {
		fmt.Fprintf(&percent, "%%%02x", secret[i])
		fmt.Fprintf(&numbers, "%d, ", secret[i])
	}
	all := map[string]string{
		"as it is": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret), "JSON": string(quoted),
		"escaped slash": strings.ReplaceAll(string(quoted), "/", `\/`), "quoted": fmt.Sprintf("%+q", secret),
		"entities": entities.String(), "percent": percent.String(), "numbers": numbers.String(),
		"bytes": fmt.Sprintf("%#v", []byte(secret)), "hex": fmt.Sprintf("%x", secret), "HEX": fmt.Sprintf("%X", secret),
		"hex with spaces": fmt.Sprintf("% x", secret), "hex with 0x": fmt.Sprintf("% #x", secret),
		"dump": hex.Dump([]byte(secret)),
	}
	for i, before := range []string{"", "a", "ab"} {
		all[fmt.Sprint("base64 ", i)] = base64.StdEncoding.EncodeToString([]byte(before + secret + "c"))
		all[fmt.Sprint("base64url ", i)] = base64.RawURLEncoding.EncodeToString([]byte(before + secret))
		query := before + "?x=" + url.QueryEscape(secret)
		all[fmt.Sprint("base64 of a query ", i)] = base64.StdEncoding.EncodeToString([]byte(query))
	}
	for name, s := range all {
		twice, _ := json.Marshal(s)
		all[name+" in JSON"] = string(twice)
		if len(name) < 20 {
			all[name+" in a query"] = url.QueryEscape(s)
		}
	}
	return all
}

func FuzzText(f *testing.F) {
	f.Add("a", token, secret, "b", uint(0))
	f.Add("a=", odd, "a/b+c d==", "&", uint(3))
	f.Add(`\`, `\\\\\\\\\\\\`, `%41%42%43`, `%2`, uint(1))
	f.Add("%", "%%41%%41", "+  + + + +", "\\u00", uint(7))
	f.Add("\xff", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", "密码密码", "\u2028", uint(2))
	f.Add("aaa", "aaaaaaaa", "aaaaaaaaa", "aaa", uint(20))
	f.Add("<", "<b>abcdefgh", "abc", ">", uint(11))
	f.Fuzz(func(t *testing.T, before, secret1, secret2, after string, gap uint) {
		if len(secret1)+len(secret2) > 300 || len(before)+len(after) > 300 {
			return // long ones find nothing new, slowly
		}
		r := New(secret1, secret2)
		for _, secret := range []string{secret1, secret2} {
			spelled := spellings(secret)
			at := int(gap % uint(len(secret)+1)) //nolint:gosec // it is small
			spelled["split"] = secret[:at] + "\r\n" + secret[at:]
			spelled["cut"] = secret[at:]
			for _, text := range spelled {
				text = before + text + after
				got := r.Text(text)
				require.Equal(t, got, New(secret2, secret1).Text(text), "the order of the secrets matters")
				if !strings.Contains(secret, "*") { // the replacement itself may be a part of it
					for part := range parts(secret) {
						require.NotContains(t, got, part, text)
					}
				}
			}
		}
	})
}

// The time is linear: what is found, decoded and replaced is all that differs from text to text.
func BenchmarkText(b *testing.B) {
	_, token := randomSecrets(rand.New(rand.NewPCG(3, 4)))
	r := New(secret, token)
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10} {
		for name, unit := range map[string]string{
			"html":    ordinary[0],
			"json":    ordinary[5],
			"bytes":   "[123 34 101 114 114 99 111 100 101 34 58 48 125] ",
			"escapes": "%2525255f",
			"secrets": "?access_token=" + token + "&secret=" + url.QueryEscape(secret) + " ",
			"tags":    "<a<a ",
		} {
			text := strings.Repeat(unit, size/len(unit)+1)[:size]
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r.Text(text)
				}
			})
		}
	}
}
