package wechatuserpush

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The example of the platform's page on pushes:
// https://developers.weixin.qq.com/miniprogram/dev/framework/server-ability/message-push.html
func TestExampleOfThePlatform(t *testing.T) {
	const encrypted = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus" +
		"8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj" +
		"+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7m" +
		"StwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
	assert.True(t, isSigned("f464b24fc39322e44b38aa78f5edd27bd1441696", "AAAAA", "1714036504", "1514711492"))
	assert.True(t, isSigned("899cf89e464efb63f54ddac96b0a0a235f53aa78", "AAAAA", "1714037059", "486452656"))
	assert.True(t, isSigned("046e02f8204d34f8ba5fa3b1db94908f3df2e9b3", "AAAAA", "1714112445", "415670741", encrypted))
	assert.False(t, isSigned("046E02F8204D34F8BA5FA3B1DB94908F3DF2E9B3", "AAAAA", "1714112445", "415670741", encrypted))

	key, err := parseKey(strings.Repeat("A", 43))
	require.NoError(t, err)
	text, err := decrypt(encrypted, [][]byte{key}, "wxba5fad812f8e6fb9")
	require.NoError(t, err)
	assert.Len(t, text, 167)
	assert.True(t, strings.HasPrefix(string(text), `{"ToUserName":"gh_97417a04a28d",`))
	assert.True(t, strings.HasSuffix(string(text), `"Event":"debug_demo","debug_str":"hello world"}`))

	_, err = decrypt(encrypted, [][]byte{key}, "wxba5fad812f8e6fb8")
	assert.Equal(t, errDecrypt, err)
}

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "0 characters: an EncodingAESKey has 43",
		strings.Repeat("A", 42):         "42 characters",
		strings.Repeat("A", 44):         "44 characters",
		strings.Repeat("A", 42) + "=":   "none of A-Z",
		strings.Repeat("A", 41) + "\nA": "none of A-Z",
		strings.Repeat("A", 42) + "-":   "none of A-Z",
	} {
		_, err := parseKey(text)
		assert.ErrorContains(t, err, want, "%q", text)
	}
	// The bits of the last character that are in no byte need not be zero.
	for _, last := range "ABCDEF" {
		key, err := parseKey(strings.Repeat("A", 42) + string(last))
		require.NoError(t, err)
		assert.Len(t, key, 32)
	}
}

// Each of these differs from a right text in one thing.
func TestPadding(t *testing.T) {
	const appID = "wxFAKE000000000000"
	key := bytes.Repeat([]byte{7}, 32)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	// With 10 bytes of text, the padding has 16 bytes.
	frame := func(text string) []byte {
		plain := binary.BigEndian.AppendUint32(make([]byte, 16), uint32(len(text)))
		return append(append(plain, text...), appID...)
	}
	right := append(frame("0123456789"), bytes.Repeat([]byte{16}, 16)...)
	require.Len(t, right, 64)
	change := func(at int, value byte) []byte {
		plain := bytes.Clone(right)
		plain[at] = value
		return plain
	}
	for name, c := range map[string]struct {
		plain []byte
		want  string // empty for an error
	}{
		"right":        {right, "0123456789"},
		"random bytes": {change(0, 9), "0123456789"},
		"empty text":   {append(frame(""), bytes.Repeat([]byte{26}, 26)...), ""},
		"1 byte":       {append(frame(strings.Repeat("a", 25)), 1), strings.Repeat("a", 25)},
		"32 bytes": {
			append(frame(strings.Repeat("a", 26)), bytes.Repeat([]byte{32}, 32)...), strings.Repeat("a", 26),
		},
		"33 bytes":           {append(frame(strings.Repeat("a", 25)), bytes.Repeat([]byte{33}, 33)...), ""},
		"0":                  {frame(strings.Repeat("a", 26)), ""},
		"its first byte":     {change(48, 15), ""},
		"its middle":         {change(56, 15), ""},
		"its last but one":   {change(62, 15), ""},
		"its last, shorter":  {change(63, 15), ""},
		"its last, longer":   {change(63, 17), ""},
		"length one longer":  {change(19, 11), ""},
		"length of all":      {change(19, 44), ""},
		"length beyond all":  {change(19, 45), ""},
		"length of 2 GB":     {change(16, 0x80), ""},
		"the AppID's last":   {change(47, '1'), ""},
		"only padding":       {bytes.Repeat([]byte{32}, 32), ""},
		"no room for length": {append(make([]byte, 16), bytes.Repeat([]byte{16}, 16)...), ""},
	} {
		data := make([]byte, len(c.plain))
		cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(data, c.plain)
		text, err := decrypt(base64.StdEncoding.EncodeToString(data), [][]byte{key}, appID)
		if c.want == "" && name != "empty text" {
			assert.Equal(t, errDecrypt, err, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, c.want, string(text), name)
		assert.Equal(t, len(text), cap(text), "nothing can be appended to what follows")
	}
}
