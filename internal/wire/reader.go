package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"sync"
)

// kind is the kind of value that a variable takes.
type kind uint8

const (
	otherKind kind = iota // only encoding/json can read it
	textKind
	numberKind
	codeKind // an ErrCode
	listKind
	objectKind
)

// first is the byte that a value of this kind begins with, 0 for a number.
func (k kind) first() byte {
	return [...]byte{textKind: '"', listKind: '[', objectKind: '{'}[k]
}

// reader reads a value into a variable that can be set.
type reader struct {
	kind    kind
	first   byte // of a value, 0 for a number
	pointer bool
	object  *object // of a struct
	// ofObjects: the value is a list of structs.
	ofObjects bool
	// read goes past a value, and sets the variable unless the value is of another kind.
	read func(*parser, reflect.Value) status
	// clear sets the variable as an empty value of another kind does.
	clear func(reflect.Value)
}

// spare returns the memory that Unmarshal can use again for the list of structs in v, with all of it cleared. It is
// invalid if there is none.
func (r *reader) spare(v reflect.Value) reflect.Value {
	if r.object == nil || r.object.list == nil {
		return reflect.Value{}
	}
	list := v.FieldByIndex(r.object.list)
	if list.Cap() == 0 {
		return reflect.Value{}
	}
	list.SetLen(list.Cap())
	list.Clear()
	return list.Slice(0, 0)
}

// field reads the value of the field of a member, which can be an empty one of another kind.
func (r *reader) field(p *parser, v reflect.Value, m *member) status {
	c := p.peek()
	if c <= ' ' {
		c = p.nextAfterSpace()
	}
	switch {
	case c == '"' && r.kind == textKind && !r.pointer: // most fields are texts
		text, ok := p.string()
		if !ok {
			return broken
		}
		v.SetString(p.copyOf(m, text))
		return fine
	case c != r.first && (c > '9' || c < '-') && p.empty(r.kind):
		r.clear(v)
		return fine
	}
	return r.read(p, v)
}

// readers caches readers by type.
var readers sync.Map

func readerOf(t reflect.Type) *reader {
	if r, ok := readers.Load(t); ok {
		return r.(*reader)
	}
	r := newReader(t)
	readers.Store(t, r)
	return r
}

func newReader(t reflect.Type) *reader {
	r := newReaderOf(t)
	r.first = r.kind.first()
	return r
}

func newReaderOf(t reflect.Type) *reader {
	r := &reader{clear: reflect.Value.SetZero}
	if t == reflect.TypeFor[ErrCode]() {
		r.kind, r.read = codeKind, readInt
		return r
	}
	switch t.Kind() {
	case reflect.Struct:
		if o := newObject(t); o != nil {
			r.kind, r.object = objectKind, o
			r.read = func(p *parser, v reflect.Value) status {
				v.SetZero() // if the object occurs twice, the fields of the first one must not remain
				return p.object(o, v, noOrder)
			}
		}
	case reflect.String:
		r.kind, r.read = textKind, readText
	case reflect.Int, reflect.Int64:
		r.kind, r.read = numberKind, readInt
	case reflect.Pointer:
		if target := readerOf(t.Elem()); target.kind != otherKind && !target.pointer {
			r.kind, r.pointer = target.kind, true
			r.read = func(p *parser, v reflect.Value) status {
				v.Set(reflect.New(t.Elem()))
				return target.read(p, v.Elem())
			}
		}
	case reflect.Slice:
		if r.read = newListReader(t); r.read != nil {
			r.kind, r.ofObjects = listKind, readerOf(t.Elem()).object != nil
			r.clear = func(v reflect.Value) { v.Set(reflect.MakeSlice(t, 0, 0)) }
		}
	}
	if (r.object == nil || r.object.unknown == nil) && readsItself(t) {
		return new(reader)
	}
	return r
}

// readsItself reports whether encoding/json treats the type specially, and not by its kind alone.
func readsItself(t reflect.Type) bool {
	to := reflect.PointerTo(t)
	return t == reflect.TypeFor[json.Number]() ||
		to.Implements(reflect.TypeFor[json.Unmarshaler]()) || to.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func readText(p *parser, v reflect.Value) status {
	s, st := p.textItem()
	if st == fine {
		v.SetString(s)
	}
	return st
}

func readInt(p *parser, v reflect.Value) status {
	n, ok := p.short()
	if !ok {
		var st status
		if n, st = p.whole(); st != fine {
			return st
		}
	}
	if v.OverflowInt(n) { // an int can be shorter
		return p.fail(problemTooLarge)
	}
	v.SetInt(n)
	return fine
}

// textItem goes past a text and returns it. A number counts as a text.
func (p *parser) textItem() (string, status) {
	switch c := p.next(); {
	case c == '"':
		s, ok := p.string()
		if !ok {
			return "", broken
		}
		return p.copy(s), fine
	case c == '-' || isDigit(c):
		literal, ok := p.number()
		if !ok {
			return "", broken
		}
		return p.copy(literal), fine
	}
	return "", p.wrong("a text")
}

func (p *parser) intItem() (int, status) {
	n, st := p.whole()
	if st == fine && int64(int(n)) != n { // an int can be shorter
		return 0, p.fail(problemTooLarge)
	}
	return int(n), st
}

// The longest lists that are read. Those of the platform have up to 10,000 texts or 100 objects.
const (
	maxItems   = 100_000
	maxObjects = 10_000
)

func newListReader(t reflect.Type) func(*parser, reflect.Value) status {
	switch t {
	case reflect.TypeFor[[]string]():
		return readTexts
	case reflect.TypeFor[[]int]():
		return readInts
	}
	item := readerOf(t.Elem()).object
	if item == nil {
		return nil
	}
	return func(p *parser, v reflect.Value) status { return p.objects(item, v) }
}

func readTexts(p *parser, v reflect.Value) status {
	if p.next() != '[' {
		return p.wrong("a list")
	}
	list, st := readItems(p, make([]string, 0, p.sizeOfList(len(`"",`))), (*parser).textItem)
	*v.Addr().Interface().(*[]string) = list
	return st
}

// maxInts is the largest block of numbers, unless one list is longer.
const maxInts = 512

func readInts(p *parser, v reflect.Value) status {
	if p.next() != '[' {
		return p.wrong("a list")
	}
	size := p.sizeOfList(len(`1,`))
	if cap(p.ints)-len(p.ints) < size {
		p.ints = make([]int, 0, max(size, min(len(p.data)/128, maxInts)))
	}
	start := len(p.ints)
	// The list ends where its part of the block does, so that appending to it does not change another one.
	list, st := readItems(p, p.ints[start:start:start+size], (*parser).intItem)
	if len(list) == 0 {
		list = []int{} // which keeps no block
	}
	p.ints = p.ints[:start+min(len(list), size)]
	*v.Addr().Interface().(*[]int) = list[:len(list):len(list)]
	return st
}

// sizeOfList estimates the number of items of the list of texts or numbers at p; commas and brackets in texts make it
// inexact. itemLen is the shortest length of an item.
func (p *parser) sizeOfList(itemLen int) int {
	end := bytes.IndexByte(p.data[p.pos:], ']')
	if end <= 1 {
		return 0
	}
	return min(1+bytes.Count(p.data[p.pos:p.pos+end], []byte{','}), 1+end/itemLen, maxItems)
}

// readItems appends the items of a list of texts or numbers.
func readItems[T any](p *parser, list []T, item func(*parser) (T, status)) ([]T, status) {
	p.pos++
	if p.take(']') {
		return list, fine
	}
	outcome := fine
	for {
		if len(list) == maxItems {
			return list, p.tooLong(outcome, maxItems)
		}
		v, st := item(p)
		switch st {
		case broken:
			return nil, broken
		case wrong:
			outcome = p.at(len(list))
		case fine:
		}
		list = append(list, v)
		if more, ok := p.more(']'); !ok {
			return nil, broken
		} else if !more {
			return list, outcome
		}
	}
}

// tooLong goes past the rest of a list.
func (p *parser) tooLong(outcome status, limit int) status {
	if !p.skipItems(0) {
		return broken
	}
	return max(outcome, p.fail("a list of more than "+strconv.Itoa(limit)+" items"))
}

// at adds the position of an item to the problem.
func (p *parser) at(i int) status { return p.in("[" + strconv.Itoa(i) + "]") }

// in adds the name of a field, or the position of an item, to the problem.
func (p *parser) in(name string) status {
	if inner := p.problem.Field; inner != "" && inner[0] != '[' {
		name += "."
	}
	p.problem.Field = name + p.problem.Field
	return wrong
}
