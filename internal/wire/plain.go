package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// UnmarshalPlain reads an object, as the platform usually writes it, into the struct that v points at, which must be
// its zero value. It reports false, and leaves part of the object in v, for anything else: what is not valid, and what
// is valid and unusual. Unusual are escapes, null in place of a value, fractions, numbers of more than 18 digits,
// invalid UTF-8, names with other characters than a-z, 0-9 and _, what a pointer or a list of objects is for and is
// there twice, deep nesting, and values of another type than the field. Where it reports true, v holds what
// encoding/json would have set.
//
// The struct tags say what the fields are called, as they do for encoding/json. Nothing in v refers to data: texts are
// copied, those that stand near each other into one block of at most [MaxBlock] bytes.
func UnmarshalPlain(data []byte, v any) bool {
	return readPlain(data, reflect.ValueOf(v).Elem())
}

func readPlain(data []byte, v reflect.Value) bool {
	read := readerOf(v.Type())
	if read == nil || v.Kind() != reflect.Struct {
		return false
	}
	p := parsers.Get().(*parser)
	p.data = data
	ok := read(p, v) && p.atEnd()
	*p = parser{}
	parsers.Put(p)
	return ok
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

// A text that somebody keeps keeps the whole block. So a block is small against the body too.
const (
	MaxBlock = 24 << 10 // bytes, unless one text is longer
	minBlock = 128
)

// maxDepth is how deep lists and objects are nested in what is skipped.
const maxDepth = 32

// parser takes apart a body. Its methods report false where there is not what they are named after; then all is over.
type parser struct {
	data  []byte
	pos   int
	block strings.Builder // its beginning is in use by texts, its rest is free
}

// next is the next byte that is no white space, 0 at the end.
func (p *parser) next() byte {
	for ; p.pos < len(p.data); p.pos++ {
		switch c := p.data[p.pos]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// take goes past c and the white space before it.
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

// quoted is a string without escapes, still in data.
func (p *parser) quoted() (raw []byte, ok bool) {
	if !p.take('"') {
		return nil, false
	}
	for i, c := range p.data[p.pos:] {
		switch {
		case c == '"':
			raw = p.data[p.pos : p.pos+i]
			p.pos += i + 1
			return raw, true
		case c == '\\' || c < 0x20:
			return nil, false
		}
	}
	return nil, false
}

// text is a string without escapes, copied.
func (p *parser) text() (text string, ok bool) {
	raw, ok := p.quoted()
	if !ok || !utf8.Valid(raw) {
		return "", false
	}
	if p.block.Cap()-p.block.Len() < len(raw) {
		p.newBlock(len(raw))
	}
	start := p.block.Len()
	p.block.Write(raw)
	return p.block.String()[start:], true
}

// newBlock makes a block for a text of n bytes and those after it.
func (p *parser) newBlock(n int) {
	size := min(max(len(p.data)/16, minBlock), MaxBlock, n+len(p.data)-p.pos)
	p.block = strings.Builder{}
	p.block.Grow(max(size, n))
}

// whole is a whole number that any int64 can hold.
func (p *parser) whole() (n int64, ok bool) {
	minus := p.take('-')
	start := p.pos
	for p.pos < len(p.data) && isDigit(p.data[p.pos]) {
		n = n*10 + int64(p.data[p.pos]-'0') // it does not matter what too many digits come to
		p.pos++
	}
	digits := p.pos - start
	if digits == 0 || digits > 18 || digits > 1 && p.data[start] == '0' {
		return 0, false
	}
	if minus {
		n = -n
	}
	return n, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skip goes past any value.
func (p *parser) skip(depth int) bool {
	switch c := p.next(); {
	case depth == maxDepth:
		return false
	case c == '"':
		_, ok := p.quoted()
		return ok
	case c == '{':
		return p.members(func([]byte) bool { return p.skip(depth + 1) })
	case c == '[':
		return p.items(func() bool { return p.skip(depth + 1) })
	case c == 't':
		return p.word("true")
	case c == 'f':
		return p.word("false")
	case c == 'n':
		return p.word("null")
	default:
		_, ok := p.whole()
		return ok
	}
}

func (p *parser) word(w string) bool {
	if !bytes.HasPrefix(p.data[p.pos:], []byte(w)) {
		return false
	}
	p.pos += len(w)
	return true
}

// members goes through an object. Read is given each name, and goes past the value.
func (p *parser) members(read func(name []byte) bool) bool {
	if !p.take('{') {
		return false
	}
	if p.take('}') {
		return true
	}
	for {
		name, ok := p.quoted()
		if !ok || !isPlainName(name) || !p.take(':') || !read(name) {
			return false
		}
		if !p.take(',') {
			return p.take('}')
		}
	}
}

// items goes through a list. Read goes past an item.
func (p *parser) items(read func() bool) bool {
	if !p.take('[') {
		return false
	}
	if p.take(']') {
		return true
	}
	for read() {
		if !p.take(',') {
			return p.take(']')
		}
	}
	return false
}

// isPlainName is true for what equals another plain name only if it is the same: encoding/json takes a name in other
// letters for the same too.
func isPlainName[T string | []byte](name T) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '_' {
			return false
		}
	}
	return true
}

// integer is a whole number that an int can hold.
func (p *parser) integer() (int, bool) {
	n, ok := p.whole()
	return int(n), ok && int64(int(n)) == n // an int can be shorter
}

// maxSize is the longest list of the platform: one that seems longer grows while it is read.
const maxSize = 10_000

// size is how many items the list of texts or numbers has which comes next; in texts no comma or bracket is expected.
func (p *parser) size() int {
	end := bytes.IndexByte(p.data[p.pos:], ']')
	if end <= 1 {
		return 0
	}
	return min(1+bytes.Count(p.data[p.pos:p.pos+end], []byte{','}), maxSize)
}

// A reader reads a value into a variable that can be set.
type reader func(*parser, reflect.Value) bool

// readers are those that are known, by type, nil for a type that has none.
var readers sync.Map

func readerOf(t reflect.Type) reader {
	if read, ok := readers.Load(t); ok {
		return read.(reader)
	}
	read := newReader(t)
	readers.Store(t, read)
	return read
}

func newReader(t reflect.Type) reader {
	if readsItself(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(p *parser, v reflect.Value) bool {
			text, ok := p.text()
			v.SetString(text)
			return ok
		}
	case reflect.Int, reflect.Int64:
		return func(p *parser, v reflect.Value) bool {
			n, ok := p.whole()
			v.SetInt(n)
			return ok && v.Int() == n // an int can be shorter
		}
	case reflect.Pointer:
		return newPointerReader(t)
	case reflect.Slice:
		return newListReader(t)
	case reflect.Struct:
		return newStructReader(t)
	default:
		return nil
	}
}

// readsItself is true for what encoding/json does not read by its kind alone.
func readsItself(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[ErrCode](): // which is a number too
		return false
	case reflect.TypeFor[json.Number]():
		return true
	}
	to := reflect.PointerTo(t)
	return to.Implements(reflect.TypeFor[json.Unmarshaler]()) || to.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func newPointerReader(t reflect.Type) reader {
	readTarget := readerOf(t.Elem())
	if readTarget == nil {
		return nil
	}
	return func(p *parser, v reflect.Value) bool {
		if !v.IsNil() {
			return false // encoding/json would set what is there, and not make another one
		}
		v.Set(reflect.New(t.Elem()))
		return readTarget(p, v.Elem())
	}
}

func newListReader(t reflect.Type) reader {
	switch t {
	case reflect.TypeFor[[]string]():
		return listReader((*parser).text)
	case reflect.TypeFor[[]int]():
		return listReader((*parser).integer)
	}
	readItem := readerOf(t.Elem())
	if readItem == nil || t.Elem().Kind() != reflect.Struct {
		return nil
	}
	return func(p *parser, v reflect.Value) bool {
		if !v.IsNil() {
			return false // encoding/json would read into the objects that are there
		}
		v.Set(reflect.MakeSlice(t, 0, min(bytes.Count(p.data[p.pos:], []byte{'{'}), maxSize)))
		return p.items(func() bool {
			n := v.Len()
			if n == v.Cap() {
				v.Grow(1)
			}
			v.SetLen(n + 1)
			return readItem(p, v.Index(n))
		})
	}
}

// listReader reads a list of texts or numbers.
func listReader[T any](read func(*parser) (T, bool)) reader {
	return func(p *parser, v reflect.Value) bool {
		list := make([]T, 0, p.size())
		ok := p.items(func() bool {
			item, ok := read(p)
			list = append(list, item)
			return ok
		})
		*v.Addr().Interface().(*[]T) = list
		return ok
	}
}

// field is a field of a struct, or of one that is embedded in it.
type field struct {
	index []int
	read  reader
}

func newStructReader(t reflect.Type) reader {
	fields := map[string]field{}
	if !addFields(fields, t, nil) {
		return nil
	}
	return func(p *parser, v reflect.Value) bool {
		return p.members(func(name []byte) bool {
			f, ok := fields[string(name)]
			if !ok {
				return p.skip(0)
			}
			return f.read(p, v.FieldByIndex(f.index))
		})
	}
}

// addFields adds the fields of t, which is found at this index. It reports false where they need encoding/json.
func addFields(fields map[string]field, t reflect.Type, index []int) bool {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		if sf.Anonymous {
			if sf.Type.Kind() != reflect.Struct || sf.Tag != "" || !addFields(fields, sf.Type, at) {
				return false
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		name, option, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f := field{index: at, read: readerOf(sf.Type)}
		if _, twice := fields[name]; twice || name == "" || !isPlainName(name) || option != "" && option != "omitempty" || f.read == nil {
			return false
		}
		fields[name] = f
	}
	return true
}
