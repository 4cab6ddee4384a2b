package wire

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMarshal(t *testing.T) {
	type tag struct {
		ID   int    `json:"id,omitempty"`
		Name string `json:"name"`
	}
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"Chinese", tag{Name: "星标组"}, `{"name":"星标组"}`},
		{"HTML", tag{ID: 100, Name: `A&B <VIP> it's`}, `{"id":100,"name":"A&B <VIP> it's"}`},
		{"emoji", "👍🏽", `"👍🏽"`},
		{"line separators", "a\u2028b\u2029c", "\"a\u2028b\u2029c\""},
		{"invalid UTF-8", "a\xffb\xe5\xb9", "\"a\ufffdb\ufffd\ufffd\""},
		{"DEL and C1", "\x7f\u0085", "\"\x7f\u0085\""},
		{"control characters", "\x00\x07\x1f\b\f\n\r\t", `"\u0000\u0007\u001f\b\f\n\r\t"`},
		{"quote, backslash, slash", `"\/`, `"\"\\/"`},
		{"backslash-u as text", `\u2028`, `"\\u2028"`},
		{"backslash before a line separator", "\\\u2028", "\"\\\\\u2028\""},
		{"two backslashes before u", `\\u2028\\\u5927`, `"\\\\u2028\\\\\\u5927"`},
		{"map key", map[string]int{"a\u2028<": 1}, "{\"a\u2028<\":1}"},
		{
			"raw message", json.RawMessage(`"\u5927\u738b \ud83d\udc4d\u0022\u005c\u000a\u003C"`),
			`"大王 👍\u0022\u005c\u000a<"`,
		},
		{"raw message with half pairs", json.RawMessage(`"\ud83d\u0041\udc4d\ud83d"`), "\"\ufffdA\ufffd\ufffd\""},
		{"null", nil, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Marshal(tt.in)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(got))
		})
	}
}

func TestMarshalError(t *testing.T) {
	got, err := Marshal(math.NaN())
	require.ErrorContains(t, err, "NaN")
	assert.Nil(t, got)
}

var controlEscape = regexp.MustCompile(`\\u00[01][0-9a-f]`)

func FuzzMarshal(f *testing.F) {
	for _, s := range []string{
		"", "plain", "星标组", "a&b<c>", "\u2028\u2029", `\u2028`, "\\\u2028", `\\u2029`, "\xff\xfe", "\xed\xa0\xbd",
		"\ufffd",
		"\x00\x1f\x7f", "\n\r\t\b\f", `"quoted"`, `ends with \`, `\ufffd`, "👍",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := Marshal(s)
		require.NoError(t, err)
		require.True(t, utf8.Valid(out), "not UTF-8: %q", out)

		var back string
		require.NoError(t, json.Unmarshal(out, &back))
		require.Equal(t, string([]rune(s)), back) // each byte that is not UTF-8 is U+FFFD

		escapes := strings.ReplaceAll(string(out), `\\`, "")
		escapes = controlEscape.ReplaceAllString(escapes, "")
		require.NotContains(t, escapes, `\u`)
		require.NotContains(t, string(out), "\n")
	})
}

// The memory of a body that was large once is not kept.
func TestMarshalKeepsLittle(t *testing.T) {
	for range 10 {
		_, err := Marshal(strings.Repeat("x", 16*maxKept))
		require.NoError(t, err)
		assert.LessOrEqual(t, encoders.Get().(*encoder).buf.Cap(), maxKept)
	}
}
