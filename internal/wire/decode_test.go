package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/wire/wiretest"
)

const bom = "\xef\xbb\xbf"

// page is a response type as the client has them.
type page struct {
	Envelope
	Total int `json:"total"`
	Count int `json:"count"`
	Data  struct {
		OpenID []string `json:"openid"`
	} `json:"data"`
	NextOpenID string `json:"next_openid"`
}

type user struct {
	Envelope
	Subscribe int    `json:"subscribe"`
	OpenID    string `json:"openid"`
	Nickname  string `json:"nickname"`
	City      string `json:"city"`
	Avatar    string `json:"headimgurl"`
	Remark    string `json:"remark"`
	TagIDs    []int  `json:"tagid_list"`
}

func TestUnmarshal(t *testing.T) {
	tests := []struct {
		name string
		body string
		want user
	}{
		{
			"follower",
			"{\n\"subscribe\": 1,\r\n\t\"openid\": \"oFAKE0000000000000000000001\",\n\"remark\": \"\",\n\"groupid\": 0,\n\"tagid_list\": [128,2]\n}\n",
			user{Subscribe: 1, OpenID: "oFAKE0000000000000000000001", TagIDs: []int{128, 2}},
		},
		{
			"not following",
			`{"subscribe":0,"openid":"oFAKE0000000000000000000002","nickname":"","sex":0,"language":"zh_CN","city":"","province":"","country":"","headimgurl":"","tagid_list":[]}`,
			user{OpenID: "oFAKE0000000000000000000002", TagIDs: []int{}},
		},
		{
			"escaped slashes", `{"headimgurl":"http:\/\/wx.example.com\/mmopen\/0"}`,
			user{Avatar: "http://wx.example.com/mmopen/0"},
		},
		{
			"raw control characters", "{\"nickname\":\"a\x14b\x07\",\"city\":\"\x00\x1f\"}",
			user{Nickname: "a\x14b\x07", City: "\x00\x1f"},
		},
		{"raw newline and tab", "{\n\t\"remark\":\"line 1\r\nline\t2\"\n}", user{Remark: "line 1\r\nline\t2"}},
		{
			"raw control beside escapes", "{\"remark\":\"\\\"\x07\\\\\x08\\n\\/\\u5927\"}",
			user{Remark: "\"\x07\\\b\n/大"},
		},
		{"raw control in a name", "{\"x\x01\":1,\"remark\":\"r\"}", user{Remark: "r"}},
		{"DEL and C1 are no control characters", "{\"remark\":\"\x7f\u0085\"}", user{Remark: "\x7f\u0085"}},
		{
			"invalid UTF-8", "{\"city\":\"\xe5\xb9\",\"nickname\":\"a\xff\x05\"}",
			user{City: "\ufffd\ufffd", Nickname: "a\ufffd\x05"},
		},
		{"half a surrogate pair", `{"nickname":"\ud83d!"}`, user{Nickname: "\ufffd!"}},
		{"backslash-u as text", `{"remark":"\\u5927\\u738b"}`, user{Remark: `\u5927\u738b`}},
		{"byte order mark", bom + `{"remark":"r"}`, user{Remark: "r"}},
		{"byte order mark and raw control", bom + "{\"remark\":\"\x02\"}", user{Remark: "\x02"}},
		{"byte order mark inside", `{"remark":"` + bom + `r"}`, user{Remark: "\ufeffr"}},
		{"white space at the end", "{\"remark\":\"r\"} \r\n\t", user{Remark: "r"}},
		{"unknown fields", `{"new":{"a":[1,{}]},"remark":"r","also_new":null}`, user{Remark: "r"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			var got user
			require.NoError(t, Unmarshal(body, &got))
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.body, string(body), "the body was modified")
		})
	}
}

func TestUnmarshalEmptyPage(t *testing.T) {
	var got page
	require.NoError(t, Unmarshal([]byte(`{"total":0,"count":0,"next_openid":""}`), &got))
	assert.Equal(t, page{}, got)
}

func TestUnmarshalError(t *testing.T) {
	tests := map[string]string{
		"empty":                           ``,
		"only a byte order mark":          bom,
		"two byte order marks":            bom + bom + `{}`,
		"cut":                             `{"remark":"r"`,
		"cut inside a string":             "{\"remark\":\"a\x07",
		"cut after a backslash":           "{\"remark\":\"a\x07\\",
		"garbage at the end":              `{"remark":"r"}}`,
		"second value":                    `{"remark":"r"}{"remark":"s"}`,
		"garbage after raw control":       "{\"remark\":\"\x07\"}x",
		"HTML":                            "<html>\n<body>\"502\x07 Bad Gateway\"</body></html>",
		"raw control outside a string":    "{\"remark\":\x07\"r\"}",
		"raw control after a backslash":   "{\"remark\":\"a\\\nb\"}",
		"raw control in a unicode escape": "{\"remark\":\"\\u00\x0741\"}",
		"unknown escape":                  `{"remark":"\x41"}`,
		"single quotes":                   `{'remark':'r'}`,
		"a word":                          `{"remark":nul}`,
		"a word at the end":               `{"x":tru`,
		"a word with a tail":              `{"x":falsehood}`,
		"minus alone":                     `{"subscribe":-}`,
		"minus and space":                 `{"subscribe":- 1}`,
		"zero first":                      `{"subscribe":01}`,
		"fraction without digits":         `{"subscribe":1.}`,
		"exponent without digits":         `{"x":1e+}`,
		"no colon":                        `{"subscribe" 1}`,
		"no name":                         `{1:1}`,
		"no value":                        `{"subscribe":}`,
		"comma at the end":                `{"subscribe":1,}`,
		"comma at the end of a list":      `{"tagid_list":[1,]}`,
		"comma at the end of an object":   `{"x":{"a":1,}}`,
		"no comma":                        `{"subscribe":1 "remark":""}`,
		"no comma in a list":              `{"tagid_list":[1 2]}`,
		"brackets that do not match":      `{"x":[1}}`,
		"a list that does not end":        `{"tagid_list":[1,2`,
		"empty value that does not end":   `{"subscribe":[`,
		"quote at the end":                `{"subscribe":"`,
		"zero byte":                       "{\"subscribe\":1}\x00",
		"control beside a number":         "{\"subscribe\":\x0b1}",
		"nested beyond all bounds":        `{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			got := user{Nickname: "before"}
			err := Unmarshal([]byte(body), &got)
			require.ErrorIs(t, err, ErrSyntax)
			require.NotErrorIs(t, err, ErrType)
			assert.Zero(t, got)
			assert.Equal(t, wiretest.Result{Syntax: true}, wiretest.Unmarshal([]byte(body), new(user)))
		})
	}
}

func TestSyntaxErrorTellsWhere(t *testing.T) {
	for body, want := range map[string]string{
		`{"remark":"r`:             "the JSON of the body is cut after 12 bytes",
		`{"remark":"r"`:            "the JSON of the body is cut after 13 bytes",
		`{"remark":"a\x41"}`:       "the JSON of the body is broken at byte 12 of 18",
		`{"remark":"r"}<!-- x -->`: "the JSON of the body is broken at byte 14 of 24",
	} {
		require.EqualError(t, Unmarshal([]byte(body), new(user)), want)
		var into any
		require.ErrorIs(t, Unmarshal([]byte(body), &into), ErrSyntax, "also of a type that encoding/json reads")
	}
}

// The rest of the response must be readable when the payload is not what was expected, most of all the errcode.
func TestUnmarshalGoesOnAfterAWrongType(t *testing.T) {
	for _, body := range []string{
		`{"data":"x","total":{"a":1},"errcode":40003,"errmsg":"invalid openid"}`,
		"{\"data\":\"\x07\",\"total\":[1],\"errcode\":\"40003\",\"errmsg\":\"invalid openid\"}",
	} {
		var got page
		err := Unmarshal([]byte(body), &got)
		var wrongType *TypeError
		require.ErrorAs(t, err, &wrongType)
		require.ErrorIs(t, err, ErrType)
		require.NotErrorIs(t, err, ErrSyntax)
		assert.Equal(t, TypeError{Field: "data", Problem: "a text where an object is expected"}, *wrongType,
			"the first one")
		code, ok := got.Code()
		assert.True(t, ok)
		assert.Equal(t, 40003, code)
		assert.Equal(t, "invalid openid", got.ErrMsg)
	}
}

func TestBodyOfAnotherType(t *testing.T) {
	for body, want := range map[string]string{
		`[]`: "a list where an object is expected", `""`: "a text where an object is expected",
		`12`: "a number where an object is expected", `true`: "true or false where an object is expected",
	} {
		require.EqualError(t, Unmarshal([]byte(body), new(user)), want)
	}
	got := user{Nickname: "before"}
	require.NoError(t, Unmarshal([]byte(" null "), &got), "as encoding/json does it; CheckObject refuses it")
	assert.Zero(t, got)
}

func TestEscapeControls(t *testing.T) {
	for _, body := range []string{"[\"\\n\",\"\\\\\",\"\\\"\",\"\"]", "{\n\"a\":\r\t1}", "\"\\\x01\""} {
		assert.Equal(t, body, string(escapeControls([]byte(body))))
	}
	assert.Equal(t, "[\"\\u0001\",\n\"\\\"\\u001f\"]", string(escapeControls([]byte("[\"\x01\",\n\"\\\"\x1f\"]"))))
}

func TestCheckObject(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"object", `{"errcode":0}`, ""},
		{"object after white space", " \r\n\t{\n\"errcode\":0}\n", ""},
		{"object after a byte order mark", bom + `{"errcode":0}`, ""},
		{"object that is cut", `{"errco`, ""},
		{"object with raw control", "{\"remark\":\"\x07\"}", ""},

		{"nothing", "", "the body is empty"},
		{"white space", " \r\n", "the body is empty"},
		{"byte order mark", bom + "\n", "the body is empty"},
		{"null", " null\n", "the body is null"},
		{"empty object", "{}", "the body is an empty object"},
		{"empty object, spread out", bom + " {\n} \n", "the body is an empty object"},
		{"array", ` [{"openid":"oFAKE1"}]`, "the body is an array"},
		{"HTML", "\n<!DOCTYPE html><title>502</title>", "the body is HTML"},
		{"text", "Bad Gateway", "the body is not JSON"},
		{"text like an array", "[error] upstream", "the body is not JSON"},
		{"text like null", "no route", "the body is not JSON"},
		{"text like a number", "502 Bad Gateway", "the body is not JSON"},
		{"single bytes", "\x00\x1f\x8b", "the body is not JSON"},
		{"string", `"ok"`, "the body is not a JSON object"},
		{"number", `0`, "the body is not a JSON object"},
		{"false", `false`, "the body is not a JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckObject([]byte(tt.body))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
		})
	}
}

func openIDPage(n int) []byte {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%q", fmt.Sprintf("oFAKE%023d", i))
	}
	return fmt.Appendf(nil, "{\n\"total\":%d,\"count\":%d,\"data\":{\"openid\":[%s]},\"next_openid\":%s}", n, n,
		strings.Join(ids, ",\n"), ids[n-1])
}

func BenchmarkUnmarshal(b *testing.B) {
	valid := openIDPage(10_000)
	// The last openid, so that the whole page has been read before the control character is found.
	raw := slices.Concat(valid[:len(valid)-3], []byte{'\x07'}, valid[len(valid)-3:])

	for _, bench := range []struct {
		name      string
		data      []byte
		unmarshal func([]byte, any) error
	}{
		{"page of 10000", valid, Unmarshal},
		{"page of 10000 with raw control", raw, Unmarshal},
		{"page of 10000 by encoding/json", valid, json.Unmarshal},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.data)))
			start := cpuTime()
			for b.Loop() {
				var got page
				if err := bench.unmarshal(bench.data, &got); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/float64(len(bench.data)), "cpu-ns/B")
		})
	}
}
