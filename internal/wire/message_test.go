package wire

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMessage(t *testing.T) {
	const rid = "634c0b3e-4e213ffb-5b22a862"
	tests := []struct {
		errmsg string
		want   Message
	}{
		{"", Message{}},
		{"ok", Message{Text: "ok"}},
		{"invalid appid", Message{Text: "invalid appid"}},
		{
			"invalid credential, access_token is invalid or not latest hint: [113faa02934469]",
			Message{Text: "invalid credential, access_token is invalid or not latest", Hint: "113faa02934469"},
		},
		{"openid_list empty hint: [x_4U05591977]", Message{Text: "openid_list empty", Hint: "x_4U05591977"}},
		{"invalid openid hints: [bhgb1FiCe-YPNS3!]", Message{Text: "invalid openid", Hint: "bhgb1FiCe-YPNS3!"}},
		{"not latest hints: [iGF cB6aLRa-mATRvA!]", Message{Text: "not latest", Hint: "iGF cB6aLRa-mATRvA!"}},
		{"invalid appid, hints: [ req_id: IgXGma08222015 ]", Message{Text: "invalid appid", Hint: "IgXGma08222015"}},
		{"api unauthorized rid: " + rid, Message{Text: "api unauthorized", RID: rid}},
		{"invalid appsecret, rid: " + rid, Message{Text: "invalid appsecret", RID: rid}},
		{
			"invalid remark name hint: [UhEbuMH0k-xzFleA] rid: 69afcb4e-196f5dd3-27af2c3a",
			Message{Text: "invalid remark name", Hint: "UhEbuMH0k-xzFleA", RID: "69afcb4e-196f5dd3-27af2c3a"},
		},
		{" rid: " + rid, Message{RID: rid}},
		{"rid: " + rid, Message{RID: rid}},
		{
			"invalid ip 203.0.113.81 ipv6 ::ffff:203.0.113.81, not in whitelist rid: " + rid,
			Message{Text: "invalid ip 203.0.113.81 ipv6 ::ffff:203.0.113.81, not in whitelist", RID: rid},
		},
		{
			"reach max api daily quota limit, could get access_token by getStableAccessToken, more details at " +
				"https://mmbizurl.cn/s/JtxxFh33r rid: " + rid,
			Message{
				Text: "reach max api daily quota limit, could get access_token by getStableAccessToken, more details " +
					"at https://mmbizurl.cn/s/JtxxFh33r", RID: rid,
			},
		},

		// Not seen, but near to what was.
		{"  text , \n rid:" + rid + " \n", Message{Text: "text", RID: rid}},
		{"text, hint: [H], rid: " + rid + ",", Message{Text: "text", Hint: "H", RID: rid}},
		{"text rid: " + rid + " hint: [H]", Message{Text: "text", Hint: "H", RID: rid}},
		{"text hint: []", Message{Text: "text"}},
		{"two\nlines rid: " + rid, Message{Text: "two\nlines", RID: rid}},
		{"text hint: [H] rid: 5f45fc68-0bf65df0-75a2c7cc rid: " + rid, Message{Text: "text", Hint: "H", RID: rid}},

		// Text.
		{"text, ,", Message{Text: "text"}},
		{"rid: is wrong", Message{Text: "rid: is wrong"}},
		{"rid: " + rid + " not found", Message{Text: "rid: " + rid + " not found"}},
		{"text rid: " + strings.ToUpper(rid), Message{Text: "text rid: 634C0B3E-4E213FFB-5B22A862"}},
		{"text rid: 634c0b3e-4e213ffb", Message{Text: "text rid: 634c0b3e-4e213ffb"}},
		{"hint: [H] is wrong", Message{Text: "hint: [H] is wrong"}},
		{"text hint: [H", Message{Text: "text hint: [H"}},
		{"text hint:[ hint: [H] rid: " + rid, Message{Text: "text hint:[", Hint: "H", RID: rid}},
		{
			"data format error, at line 1 rid: hint: [H] rid: " + rid,
			Message{Text: "data format error, at line 1 rid:", Hint: "H", RID: rid},
		},
		{"\xff\xfe rid: " + rid, Message{Text: "\xff\xfe", RID: rid}},
	}
	for _, tt := range tests {
		t.Run(tt.errmsg, func(t *testing.T) {
			assert.Equal(t, tt.want, ParseMessage(tt.errmsg))
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{
		"", "invalid appid", "m hint: [H]", "m hints: [iGF cB6aLRa-mATRvA!]", "m, hints: [ req_id: H ]",
		"m rid: 634c0b3e-4e213ffb-5b22a862", "m, rid: 634c0b3e-4e213ffb-5b22a862", " rid: 634c0b3e-4e213ffb-5b22a862",
		"m hint: [H] rid: 634c0b3e-4e213ffb-5b22a862", "hint: hint: [[a]]", "m,\u3000", "rid: rid: ,", "\xff]",
		"\n, \n",
		"rid: 634c0b3e-4e213ffb-5b22a862 rid: 634c0b3e-4e213ffb-5b22a862", "hint: [ req_id: req_id: ]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, errmsg string) {
		const tail = " hint: [UhEbuMH0k-xzFleA] rid: 69afcb4e-196f5dd3-27af2c3a"
		if len(errmsg)+len(tail) > maxMessage {
			errmsg = errmsg[:maxMessage-len(tail)]
		}
		m := ParseMessage(errmsg)
		require.Equal(t, Message{Text: m.Text}, ParseMessage(m.Text))
		require.True(t, strings.HasPrefix(strings.TrimLeft(errmsg, " \t\n\f\r"), m.Text))
		require.Equal(t, strings.TrimRight(m.Text, " \t\n\f\r,"), m.Text)
		require.Contains(t, errmsg, m.Hint)
		require.NotContains(t, m.Hint, "]")
		if m.RID != "" {
			require.Contains(t, errmsg, "rid:")
			require.Contains(t, errmsg, m.RID)
			_, ok := RIDTime(m.RID)
			require.True(t, ok)
		}

		// In the form of today, whatever the text is.
		require.Equal(t, Message{m.Text, "UhEbuMH0k-xzFleA", "69afcb4e-196f5dd3-27af2c3a"}, ParseMessage(errmsg+tail))
	})
}

func TestShorten(t *testing.T) {
	assert.Equal(t, "short", Shorten("short", 5))
	assert.Equal(t, "012345…bcd", Shorten("0123456789abcd", 12))
	for size := 12; size < 60; size++ {
		for _, text := range []string{strings.Repeat("大", 20), strings.Repeat("x大", 20), strings.Repeat("\xbf", 61)} {
			got := Shorten(text, size)
			require.LessOrEqual(t, len(got), size)
			begin, end, found := strings.Cut(got, "…")
			require.Equal(t, len(text) > size, found)
			require.True(t, strings.HasPrefix(text, begin) && strings.HasSuffix(text, end))
			if utf8.ValidString(text) {
				require.True(t, utf8.ValidString(got))
				require.Greater(t, len(got), size-6, "no more is cut than has to be")
			}
		}
	}
}

// The time that a message takes is bounded, and its rid is found all the same.
func TestParseLongMessage(t *testing.T) {
	const rid = "634c0b3e-4e213ffb-5b22a862"
	got := ParseMessage(strings.Repeat("hint: [rid: ", 1<<16) + "end hint: [H] rid: " + rid)
	assert.Equal(t, rid, got.RID)
	assert.Equal(t, "H", got.Hint)
	assert.LessOrEqual(t, len(got.Text), maxMessage)
	assert.Greater(t, len(got.Text), maxMessage/2)
}

func TestRIDTime(t *testing.T) {
	// The platform's own sample has this rid beside the invoke_time 1635156704.
	got, ok := RIDTime("617682e0-09059ac5-34a8e2ea")
	assert.True(t, ok)
	assert.True(t, got.Equal(time.Unix(1635156704, 0)), "got %v", got)

	got, ok = RIDTime("ffffffff-00000000-00000000")
	assert.True(t, ok)
	assert.Equal(t, 2106, got.UTC().Year())

	for _, rid := range []string{
		"", "617682e0", "617682e0-09059ac5", "617682e0-09059ac5-34a8e2e", "617682e0-09059ac5-34a8e2ea0",
		"617682e0-09059ac5-34a8e2ea\n",
		" 617682e0-09059ac5-34a8e2ea", "617682e009059ac534a8e2ea", "61768ge0-09059ac5-34a8e2ea",
		"-17682e0-09059ac5-34a8e2ea",
	} {
		got, ok := RIDTime(rid)
		assert.False(t, ok, "%q", rid)
		assert.True(t, got.IsZero(), "%q", rid)
	}
}

func BenchmarkParseMessage(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseMessage("invalid remark name hint: [UhEbuMH0k-xzFleA] rid: 69afcb4e-196f5dd3-27af2c3a")
	}
}
