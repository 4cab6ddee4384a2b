package redact

import (
	"strings"
	"unicode/utf8"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// view is a decoded text, with the origin of each of its bytes.
type view struct {
	text string
	// spans are the parts of the original text that the bytes come from; nil if this is the original text.
	spans []span32
}

// span32 is a span in half the memory: a view has one for each byte.
type span32 struct{ start, end int32 }

// original returns the part of the original text that a part of v comes from.
func (v view) original(start, end int) span {
	if v.spans == nil {
		return span{start, end}
	}
	return span{int(v.spans[start].start), int(v.spans[end-1].end)}
}

// viewBuilder builds a view from another one.
type viewBuilder struct {
	from  view
	text  []byte
	spans []span32
}

// add adds bytes that come from a part of the other view.
func (b *viewBuilder) add(start, end int, bytes ...byte) {
	s := b.from.original(start, end)
	for _, c := range bytes {
		b.text = append(b.text, c)
		b.spans = append(b.spans, span32{int32(s.start), int32(s.end)}) //nolint:gosec // no text has 2 GiB
	}
}

func (b *viewBuilder) view() view { return view{string(b.text), b.spans} }

// decode returns v with the escapes of all kinds decoded once, and whether there were any.
func (v view) decode() (view, bool) {
	s := v.text
	first := -1
	for i := range len(s) {
		if c := s[i]; c == '%' || c == '\\' || c == '&' {
			if _, n := unescape(s[i:]); n > 0 {
				first = i
				break
			}
		}
	}
	if first < 0 {
		return v, false
	}
	b := viewBuilder{from: v, text: make([]byte, 0, len(s)), spans: make([]span32, 0, len(s))}
	for i := range first {
		b.add(i, i+1, s[i])
	}
	var char [utf8.UTFMax]byte
	for i := first; i < len(s); {
		c, n := rune(s[i]), 0
		if c == '%' || c == '\\' || c == '&' {
			c, n = unescape(s[i:])
		}
		switch {
		case n == 0:
			b.add(i, i+1, s[i])
			n = 1
		case c < 0: // a byte
			b.add(i, i+n, byte(^c))
		default:
			b.add(i, i+n, utf8.AppendRune(char[:0], c)...)
		}
		i += n
	}
	return b.view(), true
}

// unescape decodes the escape that s begins with. It returns the character, or ^c for a byte c, and the length of the
// escape, or 0 if there is none.
func unescape(s string) (c rune, n int) {
	switch s[0] {
	case '%':
		if s = s[1:]; strings.HasPrefix(s, "u") || strings.HasPrefix(s, "U") {
			return escape(s[1:], 2, 4, 16)
		}
		c, n = escape(s, 1, 2, 16)
		return ^c, n
	case '\\':
		return unescapeBackslash(s)
	case '&':
		return unescapeHTML(s)
	}
	return 0, 0
}

// escape reads a number of the given number of digits. n is its length plus prefix, the length of the text before it.
func escape(s string, prefix, digits, base int) (c rune, n int) {
	if len(s) < digits {
		return 0, 0
	}
	for i := range digits {
		d := digit(s[i])
		if d >= base {
			return 0, 0
		}
		c = c*rune(base) + rune(d) //nolint:gosec // both are small
	}
	if c < 0 || c > utf8.MaxRune {
		return 0, 0
	}
	return c, prefix + digits
}

// digit returns the value of a hexadecimal digit, and 16 for anything else.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 16
}

// unescapeBackslash decodes the escapes of JSON, JavaScript, Go and C.
func unescapeBackslash(s string) (c rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch rest := s[2:]; s[1] {
	case 'u':
		if strings.HasPrefix(rest, "{") {
			if end := strings.IndexByte(rest[:min(len(rest), 8)], '}'); end > 1 {
				c, n = escape(rest[1:end], 4, end-1, 16)
				return c, n
			}
			return 0, 0
		}
		return wire.UnicodeEscape(s)
	case 'U':
		return escape(rest, 2, 8, 16)
	case 'x', 'X':
		c, n = escape(rest, 2, 2, 16)
		return ^c, n
	case '0', '1', '2', '3':
		if c, n = escape(s[1:], 1, 3, 8); n > 0 {
			return ^c, n
		}
	}
	if i := strings.IndexByte(`"'\/bfnrtv0`+"`", s[1]); i >= 0 {
		return rune("\"'\\/\b\f\n\r\t\v\x00`"[i]), 2
	}
	return 0, 0
}

// unescapeHTML decodes numeric entities, and named entities of characters that occur in tokens, URLs and JSON.
func unescapeHTML(s string) (c rune, n int) {
	if len(s) < 3 {
		return 0, 0
	}
	if s[1] != '#' {
		end := strings.IndexByte(s[:min(len(s), maxEntity)], ';')
		if c, ok := entities[s[1:max(end, 1)]]; ok {
			return c, end + 1
		}
		return 0, 0
	}
	n, base := 2, 10
	if s[n]|0x20 == 'x' {
		n, base = 3, 16
	}
	start := n
	for ; n < len(s) && n < start+7 && digit(s[n]) < base; n++ {
		c = c*rune(base) + rune(digit(s[n])) //nolint:gosec // both are small
	}
	if n == start || c > utf8.MaxRune {
		return 0, 0
	}
	if n < len(s) && s[n] == ';' {
		n++
	}
	return c, n
}

const maxEntity = len("&NewLine;")

var entities = map[string]rune{
	"amp": '&', "quot": '"', "apos": '\'', "lt": '<', "gt": '>', "nbsp": ' ', "plus": '+', "equals": '=',
	"sol": '/', "bsol": '\\', "lowbar": '_', "hyphen": '-', "dash": '-', "period": '.', "percnt": '%',
	"colon": ':', "num": '#', "excl": '!', "ast": '*', "comma": ',', "semi": ';', "quest": '?', "Tab": '\t',
	"NewLine": '\n',
}

// decodeNumbers returns the bytes of lists of numbers such as [48 102] or 0x30, 0x66, as package fmt prints bytes. It
// separates lists by a star. It reports false if no list is as long as a part of a secret.
func (v view) decodeNumbers() (view, bool) {
	s := v.text
	b := viewBuilder{from: v}
	run, longest := 0, 0
	for i := 0; i < len(s); {
		if c, n := number(s[i:]); n > 0 {
			b.add(i, i+n, c)
			run++
			longest = max(longest, run)
			i += n
			continue
		}
		if !isListGap(s[i]) {
			if run > 0 {
				b.add(i, i+1, '*')
			}
			run = 0
			for i < len(s) && !isListGap(s[i]) {
				i++ // a number inside a word does not count
			}
			continue
		}
		i++
	}
	return b.view(), longest >= partLen
}

// number reads a number of one byte that ends where a word ends.
func number(s string) (c byte, n int) {
	base, sum := 10, 0
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		base, n = 16, 2
	}
	start := n
	for ; n < len(s) && n < start+3 && digit(s[n]) < base; n++ {
		sum = sum*base + digit(s[n])
	}
	if n == start || sum > 255 || n < len(s) && !isListGap(s[n]) {
		return 0, 0
	}
	return byte(sum), n
}

func isListGap(c byte) bool {
	switch c {
	case ',', ';', ':', '(', ')', '[', ']', '{', '}':
		return true
	}
	return c <= ' '
}
