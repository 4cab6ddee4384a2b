package wire

import (
	"bytes"
	"encoding/json"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Marshal writes v as UTF-8 JSON without HTML escaping, without a \u escape where JSON allows the plain character, and
// without a newline at the end.
//
// The platform stores a \u escape as its six characters, for example in a remark:
// https://developers.weixin.qq.com/community/develop/doc/00086a2f0248708bc92ba55bd51c00
func Marshal(v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	e.buf.Reset()
	if err := e.json.Encode(v); err != nil {
		return nil, err
	}
	body := bytes.Clone(unescape(bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))))
	if e.buf.Cap() <= maxKept {
		encoders.Put(e)
	}
	return body, nil
}

// AppendString appends a text as [Marshal] writes it.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			body, _ := Marshal(s) // never fails for a text
			return append(dst, body...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// maxKept is the largest buffer that is kept for other bodies: several times that of 100 openids.
const maxKept = 16 << 10

// encoder writes into a buffer of its own.
type encoder struct {
	json *json.Encoder
	buf  bytes.Buffer
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

// unescape replaces the \u escapes that JSON does not require: encoding/json escapes U+2028, U+2029 and U+FFFD. It
// works in place, since no character is longer than its escape.
func unescape(b []byte) []byte {
	if !bytes.Contains(b, []byte(`\u`)) {
		return b
	}
	out := b[:0]
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			out = append(out, b[i])
			i++
			continue
		}
		if r, n := UnicodeEscape(b[i:]); n > 0 && r >= 0x20 && r != '"' && r != '\\' {
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		// Both bytes at once: the second one of \\ begins no escape.
		out = append(out, b[i:i+2]...)
		i += 2
	}
	return out
}

// UnicodeEscape decodes the \uXXXX, or the surrogate pair of two, that s begins with. It returns the character and the
// length of the escape, which is 0 if s begins with something else. Half a pair is U+FFFD.
func UnicodeEscape[T string | []byte](s T) (r rune, n int) {
	r, ok := codeUnit(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low, ok := codeUnit(s[6:]); ok {
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, 12
		}
	}
	return utf8.RuneError, 6
}

// codeUnit returns the number of the \uXXXX that s begins with.
func codeUnit[T string | []byte](s T) (unit rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}
