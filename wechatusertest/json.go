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

// rewrite returns the JSON of a writer with the keys of its objects in the random order of keys, and with values in
// other types at random as types decides. Either can be nil.
func rewrite(text []byte, keys, types *rand.Rand) []byte {
	r := rewriter{text: text, keys: keys, types: types}
	return r.value(make([]byte, 0, len(text)), nil)
}

type rewriter struct {
	text        []byte
	at          int // offset in text
	keys, types *rand.Rand
}

// value appends the value at r.at to dst, and moves r.at to its end. key is nil for an item of a list.
func (r *rewriter) value(dst, key []byte) []byte {
	open, begin := r.text[r.at], r.at
	switch open {
	case '"':
		return r.scalar(dst, r.str(), key)
	case '{', '[':
		var parts [][]byte
		for r.at++; r.text[r.at] != open+2; { // "]" and "}" are two after "[" and "{"
			if r.text[r.at] == ',' {
				r.at++
			}
			if open == '[' {
				parts = append(parts, r.value(nil, nil))
				continue
			}
			name := r.str()
			r.at++ // the colon
			parts = append(parts, r.value(append(slices.Clone(name), ':'), name))
		}
		r.at++
		if len(parts) == 0 {
			return r.scalar(dst, r.text[begin:r.at], key)
		}
		if open == '{' && r.keys != nil {
			r.keys.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		}
		dst = append(append(dst, open), bytes.Join(parts, []byte(","))...)
		return append(dst, open+2)
	default:
		for r.at < len(r.text) && bytes.IndexByte([]byte(",]}"), r.text[r.at]) < 0 {
			r.at++
		}
		return r.scalar(dst, r.text[begin:r.at], key)
	}
}

// str goes past the string at r.at and returns it, with its quotes.
func (r *rewriter) str() []byte {
	begin := r.at
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			r.at++
		}
	}
	r.at++
	return r.text[begin:r.at]
}

// scalar appends a value without parts, in another type if it has one and types decides so.
func (r *rewriter) scalar(dst, raw, key []byte) []byte {
	if r.types != nil && r.types.IntN(2) == 0 {
		if others := otherTypes(string(raw), string(key)); len(others) > 0 {
			return append(dst, others[r.types.IntN(len(others))]...)
		}
	}
	return append(dst, raw...)
}

// emptyValues stand for nothing, and for 0.
var emptyValues = []string{"null", `""`, "[]", "{}"}

// otherTypes returns what else a value can be written as. An item of a list has no key.
func otherTypes(raw, key string) (others []string) {
	canBeEmpty := key != "" && key != `"errcode"` && key != `"subscribe"`
	switch digits := strings.Trim(raw, `"`); {
	case slices.Contains(emptyValues[1:], raw) && canBeEmpty:
		return slices.DeleteFunc(slices.Clone(emptyValues), func(empty string) bool { return empty == raw })
	case raw == "true":
		return []string{"1"}
	case raw == "false":
		return []string{"0"}
	case !isWhole(digits):
		return nil
	case raw != digits:
		return []string{digits}
	}
	others = []string{`"` + raw + `"`, raw + ".0", raw + "e0"}
	if raw == "0" && canBeEmpty {
		others = append(others, emptyValues...)
	}
	return others
}

// isWhole reports whether a text is how a whole number is written in JSON.
func isWhole(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == text
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
