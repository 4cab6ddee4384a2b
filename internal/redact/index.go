package redact

import (
	"math/bits"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	partLen   = 8 // consecutive bytes of a secret that are redacted
	minSecret = 4 // bytes; the secrets of the platform have 32 characters and more
)

// matcher finds the parts of some secrets in a text in one pass: it keeps the last 16 characters in two integers and
// looks them up.
type matcher struct {
	// squeezed has the parts as they are, in base64 and in hex, and is matched against the squeezed text.
	squeezed table
	// exact has the parts with a character that squeezing changes, and is matched against the text itself. Real secrets
	// have no such parts.
	exact table
	// whole has the secrets that are shorter than a part, and is matched against the text itself.
	whole []whole
}

// whole is a short secret.
type whole struct {
	key, mask uint64
	len       int
}

func newMatcher(secrets []string) *matcher {
	m, total := new(matcher), 0
	for _, secret := range secrets {
		total += len(secret)
	}
	m.squeezed.entries = make([]entry, 0, entriesPerPart*total)
	for _, secret := range secrets {
		switch {
		case len(secret) < minSecret:
		case len(secret) < partLen:
			n := len(secret)
			m.whole = append(m.whole, whole{key: last8(secret), mask: 1<<(8*n) - 1, len: n})
		default:
			m.addLong(secret)
		}
	}
	m.squeezed.build()
	m.exact.build()
	return m
}

func (m *matcher) addLong(secret string) {
	m.addPlain(secret)
	if strings.Contains(secret, " ") {
		m.addPlain(strings.ReplaceAll(secret, " ", "+")) // as in a query
	}
	m.addEncoded(secret)
	if escaped := url.QueryEscape(secret); escaped != secret {
		m.addEncoded(escaped) // as in the base64 of a URL
	}
}

func (m *matcher) addPlain(secret string) {
	for part := range parts(squeeze(secret)) {
		m.squeezed.add(0, last8(part), partLen)
	}
	for part := range parts(secret) {
		if strings.IndexFunc(part, isLostInSqueezing) >= 0 {
			m.exact.add(0, last8(part), partLen)
		}
	}
}

func isLostInSqueezing(c rune) bool { return c >= utf8.RuneSelf || kept[c] == 0 || c == '+' }

// addEncoded adds the base64 and the hex of each part. Where a part begins in its base64 depends on what is before it:
// there are three alignments, and in each the part determines ten characters.
func (m *matcher) addEncoded(secret string) {
	for part := range parts(secret) {
		bits64 := last8(part)
		for _, skip := range [...]int{0, 4, 2} {
			m.squeezed.addDigits(bits64<<skip, 6, 10, base64Digits)
		}
		m.squeezed.addDigits(bits64, 4, 16, hexDigits)
	}
}

// entriesPerPart is one for a part as it is, one for hex, and three for base64.
const entriesPerPart = 5

const (
	hexDigits    = "0123456789abcdef"
	base64Digits = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789+/" // squeezed
)

// parts yields the parts of a secret.
func parts(secret string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := 0; i+partLen <= len(secret); i++ {
			if !yield(secret[i : i+partLen]) {
				return
			}
		}
	}
}

// last8 returns the last 8 bytes of s, or all of a shorter s, as an integer.
func last8(s string) (n uint64) {
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
	}
	return n
}

func (m *matcher) empty() bool {
	return len(m.squeezed.entries) == 0 && len(m.whole) == 0
}

// kept tells which characters the squeezed text has, and in which form: letters in lower case, digits, and the two
// others of base64, in the form of either alphabet. White space, quotes and punctuation are left out, so that a secret
// split by them is found. A star is kept, so that "***" separates the texts before and after it.
var kept = func() (kept [256]byte) {
	for c := range byte(128) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == '*', c == '+', c == '/':
			kept[c] = c
		case 'A' <= c && c <= 'Z':
			kept[c] = c | 0x20
		case c == '-':
			kept[c] = '+'
		case c == '_':
			kept[c] = '/'
		}
	}
	return kept
}()

// isJoin reports whether the plus sign at s[i] joins two parts of a text, as in "a" + "b". A plus sign of base64 has
// letters or digits on both sides.
func isJoin(s string, i int) bool {
	return i > 0 && isGap(s[i-1]) || i+1 < len(s) && isGap(s[i+1])
}

func isGap(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', '"', '\'', '`', '\\':
		return true
	}
	return false
}

// squeeze returns the squeezed text of s: the characters that scan compares.
func squeeze(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := kept[s[i]]; c != 0 && (s[i] != '+' || !isJoin(s, i)) {
			b = append(b, c)
		}
	}
	return string(b)
}

// scan calls add for each part of a secret in s. With skipTags it ignores HTML tags.
func (m *matcher) scan(s string, skipTags bool, add func(start, end int)) {
	if len(m.exact.entries)+len(m.whole) > 0 {
		m.scanExact(s, add)
	}
	var (
		before, last uint64 // the last 16 characters
		at           [16]int
		n            int
	)
	for i := 0; i < len(s); i++ {
		c := kept[s[i]]
		if c == 0 {
			if skipTags && s[i] == '<' {
				i += tagLen(s[i:])
			}
			continue
		}
		if s[i] == '+' && isJoin(s, i) {
			continue
		}
		before, last = before<<8|last>>56, last<<8|uint64(c)
		at[n%len(at)] = i
		n++
		if length := m.squeezed.find(before, last); length > 0 {
			add(at[(n-length)%len(at)], i+1)
		}
	}
}

// tagLen returns the length of the HTML tag that s begins with, minus one, or 0 for none.
func tagLen(s string) int {
	if len(s) < 2 || s[1] != '/' && s[1] != '!' && (s[1]|0x20 < 'a' || s[1]|0x20 > 'z') {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '>':
			return i
		case '<':
			return 0
		}
	}
	return 0
}

func (m *matcher) scanExact(s string, add func(start, end int)) {
	var last uint64
	for i := range len(s) {
		last = last<<8 | uint64(s[i])
		if length := m.exact.find(0, last); length > 0 && length <= i+1 {
			add(i+1-length, i+1)
		}
		for _, w := range m.whole {
			if i+1 >= w.len && last&w.mask == w.key {
				add(i+1-w.len, i+1)
			}
		}
	}
}

// table is a set of texts of 8 to 16 characters, which are found by their last 8.
type table struct {
	entries []entry
	slots   []uint32 // a hash table of entries: index plus 1, 0 for none
	shift   int
}

type entry struct {
	before, last uint64 // before has the characters before the last 8
	len          int
}

func (t *table) add(before, last uint64, length int) {
	t.entries = append(t.entries, entry{before, last, length})
}

// addDigits adds the first n digits of bits, each size bits long.
func (t *table) addDigits(bits uint64, size, n int, digits string) {
	var before, last uint64
	for range n {
		digit := digits[bits>>(64-size)]
		before, last = before<<8|last>>56, last<<8|uint64(digit)
		bits <<= size
	}
	t.add(before, last, n)
}

// build makes the hash table. It is at most a quarter full.
func (t *table) build() {
	size := bits.Len(uint(4 * len(t.entries)))
	t.shift = 64 - size
	t.slots = make([]uint32, 1<<size)
	for i, e := range t.entries {
		slot := t.slot(e.last)
		for t.slots[slot] != 0 {
			slot = (slot + 1) % len(t.slots)
		}
		t.slots[slot] = uint32(i + 1) //nolint:gosec // no secret has 4 Gi parts
	}
}

func (t *table) slot(last uint64) int {
	return int(last * 0x9e3779b97f4a7c15 >> t.shift) //nolint:gosec // it is below the number of slots
}

// find returns the length of the longest text of the table that ends these 16 characters, 0 for none.
func (t *table) find(before, last uint64) (length int) {
	for slot := t.slot(last); t.slots[slot] != 0; slot = (slot + 1) % len(t.slots) {
		e := &t.entries[t.slots[slot]-1]
		mask := uint64(1)<<(8*(e.len-partLen)) - 1
		if e.last == last && e.before == before&mask && e.len > length {
			length = e.len
		}
	}
	return length
}
