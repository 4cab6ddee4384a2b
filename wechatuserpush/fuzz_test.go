package wechatuserpush

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzXML compares parseFields with a decoder into a struct. Whatever it accepts, encoding/xml accepts too and finds
// the same value of each field; and no text makes it fail otherwise than with one of its errors.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{
		"", "<xml></xml>", "<xml/>", entityBomb,
		"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[AAAA]]></Encrypt></xml>",
		"<?xml version=\"1.0\"?><xml><Event> a&amp;&#65;b </Event><Event>c</Event></xml>",
		"<xml><Event><!-- a -->b</Event><a><Event>c</Event></a></xml>", "<xml><a:Event xmlns:a='b'>c</a:Event></xml>",
		"<xml><Event a='b'>c</Event></xml>", "<xml><Event>]]></Event></xml>", "<xml><Event>\xff</Event></xml>",
		"<xml>" + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + "</xml>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parseFields(text)
		if err != nil {
			assert.Contains(t, []error{errNotXML, errRoot, errDirective, errTooMuch, errField}, err)
			return
		}
		var want struct {
			XMLName xml.Name `xml:"xml"`
			Encrypt string
			Event   string
			AppId   string //nolint:revive // as the platform writes it
		}
		if !assert.NoError(t, xml.Unmarshal(text, &want)) {
			return
		}
		for name, value := range map[string]string{"Encrypt": want.Encrypt, "Event": want.Event, "AppId": want.AppId} {
			assert.Equal(t, strings.TrimSpace(value), found[name], name)
		}
		assert.NotContains(t, strings.ToUpper(string(text)), "<!DOCTYPE")
		for name := range found {
			assert.True(t, known[name])
		}
		event, err := newEvent(found, text)
		if err == nil {
			assert.Equal(t, text, event.PushHeader().XML)
		}
	})
}

// FuzzDecrypt decrypts texts, and any plain text that is encrypted with the right key. What it accepts has exactly one
// reading: encrypting it again yields the same plain text, but for the random bytes.
func FuzzDecrypt(f *testing.F) {
	const appID = "wxFAKE000000000000"
	key, old := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	frame := func(length uint32, rest string) []byte {
		return append(binary.BigEndian.AppendUint32(make([]byte, 16), length), rest...)
	}
	good := append(frame(4, "text"+appID), bytes.Repeat([]byte{22}, 22)...)
	for _, plain := range [][]byte{
		nil, good, good[:32], append(bytes.Clone(good[:63]), 23), frame(1<<31, "text"+appID+strings.Repeat("\x01", 6)),
		frame(0, appID+strings.Repeat("\x1a", 26)), bytes.Repeat([]byte{32}, 32), bytes.Repeat([]byte{1}, 48),
	} {
		f.Add(plain, "AAAA", false)
	}
	f.Add([]byte("x"), "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+8=", true)
	f.Fuzz(func(t *testing.T, plain []byte, raw string, withOld bool) {
		_, err := decrypt(raw, [][]byte{key, old}, appID)
		assert.True(t, err == nil || err == errDecrypt) //nolint:errorlint // it has one error

		plain = plain[:len(plain)/aes.BlockSize*aes.BlockSize]
		with := key
		if withOld {
			with = old
		}
		block, _ := aes.NewCipher(with)
		data := make([]byte, len(plain))
		cipher.NewCBCEncrypter(block, with[:16]).CryptBlocks(data, plain)
		text, err := decrypt(base64.StdEncoding.EncodeToString(data), [][]byte{key, old}, appID)
		if err != nil {
			assert.Equal(t, errDecrypt, err)
			return
		}
		again := append(binary.BigEndian.AppendUint32(bytes.Clone(plain[:16]), uint32(len(text))), text...)
		again = append(again, appID...)
		n := len(plain) - len(again)
		if assert.True(t, n >= 1 && n <= 32) {
			assert.Equal(t, plain, append(again, bytes.Repeat([]byte{byte(n)}, n)...))
		}
	})
}
