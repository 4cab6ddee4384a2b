package wechatusertest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// writer writes JSON as the platform does: without spaces, "/" as "\/", and non-ASCII characters unescaped.
type writer struct {
	b          []byte
	rawControl bool
	rawQuotes  bool // in what typed writes
	broken     bool // typed has written what breaks the JSON
}

// lit writes literal JSON.
func (w *writer) lit(s string) *writer {
	w.b = append(w.b, s...)
	return w
}

func (w *writer) int(n int) *writer { return w.int64(int64(n)) }

func (w *writer) int64(n int64) *writer {
	w.b = strconv.AppendInt(w.b, n, 10)
	return w
}

// special holds the bytes that are escaped in a string.
var special = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	set['"'], set['\\'], set['/'] = true, true, true
	return set
}()

// shortEscapes holds the characters that follow a backslash in the short escapes of JSON.
var shortEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't',
}

// typed writes a text that somebody has typed into the console or into their profile.
func (w *writer) typed(s string) *writer {
	if !w.rawQuotes || !strings.ContainsAny(s, `"\`) {
		return w.str(s)
	}
	w.broken = true
	return w.lit(`"` + s + `"`)
}

// message writes an errmsg, in which "/" is not escaped.
func (w *writer) message(s string) *writer {
	var m writer
	return w.lit(strings.ReplaceAll(string(m.str(s).b), `\/`, "/"))
}

// str writes a string. Invalid UTF-8 is written unchanged.
func (w *writer) str(s string) *writer {
	w.b = append(w.b, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if !special[c] || c < 0x20 && shortEscapes[c] == 0 && w.rawControl {
			continue
		}
		w.b = append(w.b, s[done:i]...)
		done = i + 1
		if short := shortEscapes[c]; short != 0 {
			w.b = append(w.b, '\\', short)
		} else {
			w.b = append(w.b, `\u00`...)
			w.b = append(w.b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	w.b = append(append(w.b, s[done:]...), '"')
	return w
}

// strs writes an array of strings.
func (w *writer) strs(list []string) *writer {
	w.lit("[")
	for i, s := range list {
		if i > 0 {
			w.lit(",")
		}
		w.str(s)
	}
	return w.lit("]")
}

func (w *writer) ints(list []int) *writer {
	w.lit("[")
	for i, n := range list {
		if i > 0 {
			w.lit(",")
		}
		w.int(n)
	}
	return w.lit("]")
}

// grow reserves space for n more bytes.
func (w *writer) grow(n int) { w.b = slices.Grow(w.b, n) }

// shuffleKeys returns the JSON of a writer with the keys of its objects in random order.
func shuffleKeys(text []byte, r *rand.Rand) []byte {
	sh := shuffler{text: text, rand: r}
	return sh.value(make([]byte, 0, len(text)))
}

type shuffler struct {
	text []byte
	at   int // offset in text
	rand *rand.Rand
}

// value appends the value at s.at to dst, and moves s.at to its end.
func (s *shuffler) value(dst []byte) []byte {
	open, begin := s.text[s.at], s.at
	switch open {
	case '"':
		for s.at++; s.text[s.at] != '"'; s.at++ {
			if s.text[s.at] == '\\' {
				s.at++
			}
		}
		s.at++
	case '{', '[':
		var parts [][]byte
		for s.at++; s.text[s.at] != open+2; { // "]" and "}" are two after "[" and "{"
			if s.text[s.at] == ',' {
				s.at++
			}
			part := s.value(nil)
			if open == '{' {
				s.at++ // the colon
				part = s.value(append(part, ':'))
			}
			parts = append(parts, part)
		}
		s.at++
		if open == '{' {
			s.rand.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		}
		dst = append(append(dst, open), bytes.Join(parts, []byte(","))...)
		return append(dst, open+2)
	default:
		for s.at < len(s.text) && bytes.IndexByte([]byte(",]}"), s.text[s.at]) < 0 {
			s.at++
		}
	}
	return append(dst, s.text[begin:s.at]...)
}

// object is a JSON object of a request. Its names are case-sensitive: "tagId" is not "tagid".
type object map[string]json.RawMessage

// parseObject parses a body. It returns nil unless the body is a single JSON object in UTF-8.
func parseObject(body []byte) object {
	var o object
	if !utf8.Valid(body) || json.Unmarshal(body, &o) != nil {
		return nil
	}
	return o
}

// has reports whether the object has a value with that name. It reports false for null.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

// get stores the value in v, and leaves v unchanged if there is none. It reports false for a value of another type.
func (o object) get(name string, v any) bool {
	if !o.has(name) {
		return true
	}
	raw := o[name]
	if s, ok := v.(*string); ok && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		*s = string(raw[1 : len(raw)-1]) // fast path for openids
		return true
	}
	return json.Unmarshal(raw, v) == nil
}

// keepEscapes returns a JSON string in which \uXXXX stands for these six characters, as in the platform's remarks.
// Other escapes keep their meaning.
func keepEscapes(raw json.RawMessage) json.RawMessage {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		b.WriteByte(raw[i])
		if raw[i] == '\\' {
			i++ // a character follows, as the JSON is valid
			if raw[i] == 'u' {
				b.WriteByte('\\')
			}
			b.WriteByte(raw[i])
		}
	}
	return json.RawMessage(b.String())
}
