package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// parser is one pass over a body.
type parser struct {
	data []byte
	pos  int
	// problem is the first value that could not be read, if there is one.
	problem *TypeError

	text  strings.Builder // the block of texts: its beginning is in use, its rest is free
	ints  []int           // the block of lists of numbers, likewise
	raw   []byte          // the block of unknown fields, likewise
	sized bool            // a list of structs was sized

	scratch []byte   // a text while its escapes are decoded
	order   []member // the members of the structs of lists, in the order in which they came last
	single  member   // a member whose position is not stored
}

// maxScratch is the largest scratch that is kept for other bodies.
const maxScratch = 16 << 10

// release returns p to the pool.
func (p *parser) release() {
	clear(p.order[:cap(p.order)])
	*p = parser{scratch: p.scratch[:0], order: p.order[:0]}
	if cap(p.scratch) > maxScratch {
		p.scratch = nil
	}
	parsers.Put(p)
}

// status is the outcome of reading a value.
type status uint8

const (
	fine   status = iota // also for a wrong value after the first one: only the first problem is reported
	wrong                // the parser has gone past a value that cannot be read, and its problem is the parser's
	broken               // the body is not JSON; nothing after this can be read
)

// next goes past white space and returns the byte there, or 0 at the end.
func (p *parser) next() byte {
	if c := p.peek(); c > ' ' {
		return c
	}
	return p.nextAfterSpace()
}

// peek returns the byte at p, or 0 at the end. It is short enough to be inlined.
func (p *parser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

func (p *parser) nextAfterSpace() byte {
	const spaces = 0x2020202020202020
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; c {
		case ' ', '\n', '\r', '\t':
			p.pos++
		default:
			return c
		}
		for n := 8; n == 8 && p.pos+8 <= len(p.data); p.pos += n { // an indented body has many spaces
			n = bits.TrailingZeros64(binary.LittleEndian.Uint64(p.data[p.pos:])^spaces) / 8
		}
	}
	return 0
}

// take goes past c and the white space before it. It reports false if something else is there.
func (p *parser) take(c byte) bool {
	if p.next() != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) atEnd() bool {
	p.next()
	return p.pos == len(p.data)
}

// more goes past the comma or the end, which is a bracket, after an item or a member.
func (p *parser) more(end byte) (more, ok bool) {
	c := p.peek()
	if c <= ' ' {
		c = p.nextAfterSpace()
	}
	switch c {
	case ',':
		p.pos++
		return true, true
	case end:
		p.pos++
		return false, true
	}
	return false, false
}

func (p *parser) word(w string) bool {
	if !bytes.HasPrefix(p.data[p.pos:], []byte(w)) {
		return false
	}
	p.pos += len(w)
	return true
}

// maxDepth is how deep lists and objects can be nested in what is skipped. It is the limit of encoding/json.
const maxDepth = 10_000

// skip goes past any value. It reports false if the value is not JSON.
func (p *parser) skip(depth int) bool {
	switch c := p.next(); {
	case depth == maxDepth:
		return false
	case c == '"':
		return p.skipString()
	case c == '{':
		return p.skipObject(depth)
	case c == '[':
		return p.skipList(depth)
	case c == 't':
		return p.word("true")
	case c == 'f':
		return p.word("false")
	case c == 'n':
		return p.word("null")
	default:
		if _, ok := p.short(); ok {
			return true
		}
		_, ok := p.number()
		return ok
	}
}

func (p *parser) skipObject(depth int) bool {
	p.pos++
	if p.take('}') {
		return true
	}
	for {
		if p.peek() != '"' && p.nextAfterSpace() != '"' || !p.skipString() || !p.take(':') || !p.skip(depth+1) {
			return false
		}
		if more, ok := p.more('}'); !more {
			return ok
		}
	}
}

func (p *parser) skipList(depth int) bool {
	p.pos++
	if p.take(']') {
		return true
	}
	return p.skipItems(depth)
}

// skipItems goes past the items of a list up to its end, beginning with an item.
func (p *parser) skipItems(depth int) bool {
	for {
		if !p.skip(depth + 1) {
			return false
		}
		if more, ok := p.more(']'); !more {
			return ok
		}
	}
}

// wrong reports that the value at p cannot be read, and goes past it.
func (p *parser) wrong(want string) status {
	problem := ""
	if p.problem == nil {
		problem = p.found() + " where " + want + " is expected"
	}
	if !p.skip(0) {
		return broken
	}
	return p.fail(problem)
}

// fail sets the problem of a value that p has gone past, unless there is one already.
func (p *parser) fail(problem string) status {
	if p.problem != nil {
		return fine
	}
	p.problem = &TypeError{Problem: problem}
	return wrong
}

// found returns what the value at p is.
func (p *parser) found() string {
	switch p.next() {
	case '"':
		return "a text"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// empty goes past an empty value of another kind than this one. It reports false, without moving, if there is none.
func (p *parser) empty(k kind) bool {
	start := p.pos
	switch c := p.next(); {
	case c == 'n':
		return p.word("null")
	case k == codeKind || c == k.first():
		return false
	case c == '"':
		p.pos++
		if p.pos < len(p.data) && p.data[p.pos] == '"' {
			p.pos++
			return true
		}
	case c == '[', c == '{':
		p.pos++
		if p.take(c + 2) { // in ASCII the closing bracket is two after the opening one
			return true
		}
	}
	p.pos = start
	return false
}

// skipString goes past a string.
func (p *parser) skipString() bool {
	end, _ := stringEnd(p.data, p.pos+1)
	for end < len(p.data) && p.data[end] == '\\' {
		n := escapeLen(p.data[end:])
		if n == 0 {
			p.pos = end
			return false
		}
		end, _ = stringEnd(p.data, end+n)
	}
	p.pos = min(end+1, len(p.data))
	return end < len(p.data)
}

// string goes past a string and returns its text, which is valid until the next call.
func (p *parser) string() (text []byte, ok bool) {
	start := p.pos + 1
	end, ascii := stringEnd(p.data, start)
	if end < len(p.data) && p.data[end] == '"' {
		p.pos = end + 1
		text = p.data[start:end]
	} else if text, ok = p.unescape(start, end); !ok {
		return nil, false
	} else {
		ascii = false // an escape may be of another character
	}
	if !ascii && !utf8.Valid(text) {
		text = replaceInvalid(text)
	}
	return text, true
}

// stringLen returns the length of the rest of a string, with its quote.
func (p *parser) stringLen(start int) int {
	rest := parser{data: p.data, pos: start - 1}
	rest.skipString()
	return rest.pos - start
}

// unescape goes past the string that begins at start and has its first backslash at end, and returns its text.
func (p *parser) unescape(start, end int) (text []byte, ok bool) {
	text = p.scratch[:0]
	for end < len(p.data) {
		if cap(text)-len(text) < end-start+utf8.UTFMax {
			text = slices.Grow(text, p.stringLen(start)) // no text is longer than it is with its escapes
		}
		text = append(text, p.data[start:end]...)
		if p.data[end] == '"' {
			p.scratch, p.pos = text, end+1
			return text, true
		}
		escape := p.data[end:]
		n := escapeLen(escape)
		switch {
		case n == 0:
			p.pos = end
			return nil, false
		case n == 2:
			text = append(text, unescaped[escape[1]])
		default:
			var r rune
			r, n = UnicodeEscape(escape)
			text = utf8.AppendRune(text, r)
		}
		start = end + n
		end, _ = stringEnd(p.data, start)
	}
	p.pos = len(p.data)
	return nil, false
}

// unescaped is the character that a two-byte escape stands for, by its second byte.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// replaceInvalid returns a copy of s with U+FFFD in place of each byte that is not UTF-8.
func replaceInvalid(s []byte) []byte {
	invalid := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			invalid++
		}
		i += n
	}
	valid := make([]byte, 0, len(s)+2*invalid)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		valid = utf8.AppendRune(valid, r)
		i += n
	}
	return valid
}

// stringEnd returns the position of the first quote or backslash from i on, or len(data). It looks at eight bytes at a
// time. The text up to there is ASCII if ascii is true; otherwise it can still be.
func stringEnd(data []byte, i int) (end int, ascii bool) {
	const (
		ones      = 0x0101010101010101
		highs     = 0x8080808080808080
		quotes    = '"' * ones
		backslash = '\\' * ones
	)
	var seen uint64
	for ; i+8 <= len(data); i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		seen |= w
		q, b := w^quotes, w^backslash
		// A byte of 0 borrows from its high bit; the first of them is exact.
		if hit := ((q-ones)&^q | (b-ones)&^b) & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)>>3, seen&highs == 0
		}
	}
	for ; i < len(data); i++ {
		c := data[i]
		if c == '"' || c == '\\' {
			return i, seen&highs == 0
		}
		seen |= uint64(c)
	}
	return len(data), seen&highs == 0
}

// escapeLen returns the length of the escape that s begins with, 0 if it is not one.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := codeUnit(s); ok {
			return 6
		}
	}
	return 0
}

// A text that a program keeps holds its whole block in memory. So a block is also small in comparison to its body.
const (
	MaxBlock = 24 << 10 // bytes, unless one text is longer
	minBlock = 128
)

// copy copies a text into the block.
func (p *parser) copy(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	if p.text.Cap()-p.text.Len() < len(raw) {
		size := min(max(len(p.data)/16, minBlock), MaxBlock, len(raw)+len(p.data)-p.pos)
		p.text = strings.Builder{}
		p.text.Grow(max(size, len(raw)))
	}
	start := p.text.Len()
	p.text.Write(raw)
	return p.text.String()[start:]
}
