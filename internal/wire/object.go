package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// object describes a struct type by its tags.
type object struct {
	fields  map[string]*field
	unknown []int // the index of the field for unknown fields, nil if there is none
}

// field is a field of a struct, or of one that is embedded in it.
type field struct {
	name  string
	index []int
	read  *reader
}

// maxUnknown is how many unknown fields of an object are kept.
const maxUnknown = 64

// newObject returns nil for a struct that needs encoding/json.
func newObject(t reflect.Type) *object {
	o := &object{fields: map[string]*field{}}
	if !o.add(t, nil) {
		return nil
	}
	return o
}

// add adds the fields of t, which is at this index. It reports false if they need encoding/json.
func (o *object) add(t reflect.Type, index []int) bool {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clone(index), i)
		tag := sf.Tag.Get("json")
		switch {
		case sf.Anonymous:
			if sf.Type.Kind() != reflect.Struct || sf.Tag != "" || !o.add(sf.Type, at) {
				return false
			}
			continue
		case !sf.IsExported():
			continue
		case tag == "-":
			if sf.Type == reflect.TypeFor[unknownFields]() {
				o.unknown = at
			}
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		f := &field{name: name, index: at, read: readerOf(sf.Type)}
		_, twice := o.fields[name]
		if twice || !isLower(name) || option != "" && option != "omitempty" || f.read.kind == otherKind {
			return false
		}
		o.fields[name] = f
	}
	return true
}

// isLower reports whether a name has nothing but a-z, 0-9 and _.
func isLower(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '_' {
			return false
		}
	}
	return name != ""
}

// lookup returns the field with this name, or else the one whose name differs in upper and lower case only, as
// encoding/json does. It returns nil if there is none.
func (o *object) lookup(name []byte) *field {
	if f := o.fields[string(name)]; f != nil {
		return f
	}
	var buf [64]byte
	folded := buf[:0]
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRune(name[i:])
		i += n
		switch {
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		case r == 'ſ':
			r = 's'
		case r == '\u212a': // the Kelvin sign
			r = 'k'
		case r >= utf8.RuneSelf:
			return nil
		}
		if len(folded) == len(buf) {
			return nil
		}
		folded = append(folded, byte(r))
	}
	return o.fields[string(folded)]
}

// member is a member of an object that was read: its name, and what it is in the struct.
type member struct {
	quoted []byte // the name as it is in the body, with its quotes and the colon
	field  *field // nil if it is unknown
	keep   bool   // it is unknown, and the struct has a place for it
	name   string // if it is kept
}

// The objects of a list usually have their members in the same order. So the order of the last object is stored, and a
// name is first compared with the one at the same position there, and looked up only if they differ.
const (
	noOrder  = -1
	maxOrder = 64
	maxAhead = 3 // how many names are compared, since an object can lack some
)

// member goes past a name and the colon. k is the position of the name in the object, and order is where the order of
// the last object begins in p.order. It returns the position of the name in that order. The member is valid until the
// next call.
func (p *parser) member(o *object, order, k int) (m *member, at int) {
	if p.peek() != '"' && p.nextAfterSpace() != '"' {
		return nil, 0
	}
	if order != noOrder {
		rest := p.data[p.pos:]
		for at := k; at < min(k+maxAhead, len(p.order)-order); at++ {
			if m := &p.order[order+at]; bytes.HasPrefix(rest, m.quoted) {
				p.pos += len(m.quoted)
				return m, at
			}
		}
	}
	start := p.pos
	name, ok := p.string()
	if !ok {
		return nil, 0
	}
	switch {
	case order == noOrder || k >= maxOrder:
		m = &p.single
	case k == len(p.order)-order:
		p.order = append(p.order, member{})
		m = &p.order[order+k]
	default:
		m = &p.order[order+k]
	}
	*m = member{field: o.lookup(name)}
	if m.field == nil && o.unknown != nil && !isEnvelope(string(name)) {
		m.keep, m.name = true, p.copy(name)
	}
	if !p.take(':') {
		return nil, 0
	}
	m.quoted = p.data[start:p.pos]
	return m, k
}

// isEnvelope reports whether a name is one of [Envelope].
func isEnvelope(name string) bool {
	return name == "errcode" || name == "errmsg" || name == "fail_openid_list"
}

// object reads an object into a struct that is zero.
func (p *parser) object(o *object, v reflect.Value, order int) status {
	if p.next() != '{' {
		return p.wrong("an object")
	}
	p.pos++
	if p.take('}') {
		return fine
	}
	outcome := fine
	for k := 0; ; k++ {
		m, at := p.member(o, order, k)
		if m == nil {
			return broken
		}
		k = at
		if f := m.field; f != nil { // m must not be used after this: reading a list can move p.order
			var target reflect.Value
			if len(f.index) == 1 {
				target = v.Field(f.index[0])
			} else {
				target = v.FieldByIndex(f.index)
			}
			switch f.read.field(p, target) {
			case broken:
				return broken
			case wrong:
				outcome = p.in(f.name)
			case fine:
			}
		} else if !p.unknown(o, v, *m) {
			return broken
		}
		if p.peek() == ',' {
			p.pos++
		} else if more, ok := p.more('}'); !ok {
			return broken
		} else if !more {
			return outcome
		}
	}
}

// unknown goes past the value of an unknown field, and keeps it if the struct has a place for it.
func (p *parser) unknown(o *object, v reflect.Value, m member) bool {
	p.next()
	start := p.pos
	if !p.skip(0) {
		return false
	}
	if !m.keep {
		return true
	}
	kept := v.FieldByIndex(o.unknown).Addr().Interface().(*unknownFields)
	if *kept == nil {
		*kept = unknownFields{}
	}
	if _, twice := (*kept)[m.name]; twice || len(*kept) < maxUnknown {
		(*kept)[m.name] = p.copyRaw(escapeControls(p.data[start:p.pos]))
	}
	return true
}

// maxRawBlock is the largest block of unknown fields, unless one field is longer.
const maxRawBlock = 4 << 10

// copyRaw copies the value of an unknown field into the block.
func (p *parser) copyRaw(raw []byte) json.RawMessage {
	if !utf8.Valid(raw) {
		raw = replaceInvalid(raw)
	}
	if cap(p.raw)-len(p.raw) < len(raw) {
		p.raw = make([]byte, 0, max(min(len(p.data)/16, maxRawBlock), len(raw)))
	}
	start := len(p.raw)
	p.raw = append(p.raw, raw...)
	return p.raw[start:len(p.raw):len(p.raw)]
}

// objects reads a list of objects.
func (p *parser) objects(item *object, v reflect.Value) status {
	if p.next() != '[' {
		return p.wrong("a list")
	}
	p.pos++
	if p.take(']') {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return fine
	}
	v.SetZero() // if the list occurs twice, the items of the first one must not remain
	v.Grow(p.sizeOfObjects(int(v.Type().Elem().Size())))
	order := len(p.order)
	outcome := p.objectItems(item, v, order)
	p.order = p.order[:order]
	if n := v.Len(); v.Cap() > n+n/2 { // the estimate was too high: the beginning of the list differed from the rest
		exact := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(exact, v)
		v.Set(exact)
	}
	return outcome
}

func (p *parser) objectItems(item *object, v reflect.Value, order int) status {
	outcome := fine
	for n := 0; ; n++ {
		if n == maxObjects {
			return p.tooLong(outcome, maxObjects)
		}
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		switch p.object(item, v.Index(n), order) {
		case broken:
			return broken
		case wrong:
			outcome = p.at(n)
		case fine:
		}
		if more, ok := p.more(']'); !ok {
			return broken
		} else if !more {
			return outcome
		}
	}
}

// sizeOfObjects estimates the number of items of the list of objects at p. It counts how often the first name of the
// first object occurs at the beginning of the list, and limits the memory to a few times the rest of the body. It does
// so only once for a body, so that a body with many lists is not scanned for each of them.
func (p *parser) sizeOfObjects(itemSize int) int {
	if p.sized || p.next() != '{' {
		return 0
	}
	p.sized = true
	rest := p.data[p.pos:]
	sample := rest[:min(len(rest), 4<<10)]
	start := bytes.IndexByte(sample, '"')
	end := 1 + bytes.IndexByte(sample[start+1:], '"') // from start on
	if start < 0 || end <= 0 || end > 64 {
		return 0
	}
	n := bytes.Count(sample, sample[start:start+end+1])
	if len(sample) < len(rest) {
		n = (n + 1) * len(rest) / len(sample)
	}
	return min(n, maxObjects, 1+4*len(rest)/max(itemSize, 1))
}
