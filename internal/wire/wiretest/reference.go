// Package wiretest has a second decoder of the platform's JSON, for tests to compare package wire with. It is as simple
// as can be: encoding/json takes the body apart, one value at a time, and the rules are applied to each. It is slow and
// shares no code with package wire.
package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Result is what Unmarshal found.
type Result struct {
	Syntax bool   // the body is not JSON
	Wrong  bool   // a value cannot be read
	Field  string // the first one, if Wrong
}

// Compare returns how the outcome of wire.Unmarshal, with its error, differs from that of this package; it is empty if
// they are the same. The error is described by a Result, too.
func Compare(got, want any, gotResult, wantResult Result) string {
	switch {
	case gotResult != wantResult:
		return fmt.Sprintf("got %+v, want %+v", gotResult, wantResult)
	case !wantResult.Syntax && !wantResult.Wrong && !reflect.DeepEqual(want, got):
		return fmt.Sprintf("got %+v, want %+v", got, want)
	}
	return ""
}

// Unmarshal decodes a body into the struct that v points to, which must be zero.
func Unmarshal(data []byte, v any) Result {
	data = escapeControls(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if !json.Valid(data) {
		return Result{Syntax: true}
	}
	d := decoder{}
	if string(bytes.TrimSpace(data)) != "null" {
		d.set(reflect.ValueOf(v).Elem(), data, "", true)
	}
	return d.Result
}

func escapeControls(data []byte) (escaped []byte) {
	inString, afterBackslash := false, false
	for _, c := range data {
		switch {
		case inString && !afterBackslash && c < 0x20:
			escaped = fmt.Appendf(escaped, `\u%04x`, c)
			continue
		case afterBackslash:
			afterBackslash = false
		case c == '\\':
			afterBackslash = inString
		case c == '"':
			inString = !inString
		}
		escaped = append(escaped, c)
	}
	return escaped
}

type decoder struct{ Result }

func (d *decoder) wrong(field string) {
	if !d.Wrong {
		d.Wrong, d.Field = true, strings.TrimPrefix(field, ".")
	}
}

// set sets v to a value. An item of a list is strict: it is not read as an empty value of another type.
func (d *decoder) set(v reflect.Value, raw json.RawMessage, field string, strict bool) {
	raw = bytes.TrimSpace(raw)
	var any any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&any); err != nil {
		panic(err) // it was valid
	}
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		if !strict && isEmpty(any) && !natural(t.Elem(), any) {
			v.SetZero()
			return
		}
		v.Set(reflect.New(t.Elem()))
		d.set(v.Elem(), raw, field, true)
		return
	}
	if !strict && isEmpty(any) && !natural(t, any) {
		v.SetZero()
		if t.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(t, 0, 0))
		}
		return
	}
	switch t.Kind() {
	case reflect.String:
		switch x := any.(type) {
		case string:
			v.SetString(x)
		case json.Number:
			v.SetString(string(x))
		default:
			d.wrong(field)
		}
	case reflect.Int, reflect.Int64:
		n, ok := whole(any)
		if !ok || v.OverflowInt(n) {
			d.wrong(field)
			return
		}
		v.SetInt(n)
	case reflect.Slice:
		if raw[0] != '[' {
			d.wrong(field)
			return
		}
		var items []json.RawMessage
		must(json.Unmarshal(raw, &items))
		v.Set(reflect.MakeSlice(t, len(items), len(items)))
		for i, item := range items {
			d.set(v.Index(i), item, field+"["+strconv.Itoa(i)+"]", true)
		}
	case reflect.Struct:
		if raw[0] != '{' {
			d.wrong(field)
			return
		}
		v.SetZero()
		d.members(v, raw, field)
	default:
		panic(t.String())
	}
}

func (d *decoder) members(v reflect.Value, raw json.RawMessage, field string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, err := dec.Token()
	must(err)
	for dec.More() {
		token, err := dec.Token()
		must(err)
		name := token.(string)
		var value json.RawMessage
		must(dec.Decode(&value))
		if f, known := find(v, name); f.IsValid() {
			d.set(f, value, field+"."+known, false)
		} else if extra := findUnknown(v); extra.IsValid() && !slices.Contains(envelope, name) {
			if extra.IsNil() {
				extra.Set(reflect.MakeMap(extra.Type()))
			}
			extra.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(json.RawMessage(string([]rune(string(value))))))
		}
	}
}

var envelope = []string{"errcode", "errmsg", "fail_openid_list"}

// find returns the field with this name, also in other letters.
func find(v reflect.Value, name string) (reflect.Value, string) {
	for _, same := range []func(string) bool{
		func(tag string) bool { return tag == name },
		func(tag string) bool { return strings.EqualFold(tag, name) },
	} {
		for _, sf := range reflect.VisibleFields(v.Type()) {
			tag, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			if tag != "" && tag != "-" && same(tag) {
				return v.FieldByIndex(sf.Index), tag
			}
		}
	}
	return reflect.Value{}, ""
}

func findUnknown(v reflect.Value) reflect.Value {
	for _, sf := range reflect.VisibleFields(v.Type()) {
		if sf.Tag.Get("json") == "-" && sf.Type.Kind() == reflect.Map {
			return v.FieldByIndex(sf.Index)
		}
	}
	return reflect.Value{}
}

func isEmpty(value any) bool {
	switch x := value.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}

// natural reports whether an empty value is of the type, or is none for it.
func natural(t reflect.Type, empty any) bool {
	switch empty.(type) {
	case string:
		return t.Kind() == reflect.String || t.Name() == "ErrCode"
	case []any:
		return t.Kind() == reflect.Slice || t.Name() == "ErrCode"
	case map[string]any:
		return t.Kind() == reflect.Struct || t.Name() == "ErrCode"
	}
	return false
}

// whole returns the value of a whole number, which can be in quotes.
func whole(value any) (int64, bool) {
	var literal string
	switch x := value.(type) {
	case json.Number:
		literal = string(x)
	case string:
		if !json.Valid([]byte(x)) || strings.Trim(x, "-+.eE0123456789") != "" {
			return 0, false
		}
		literal = x
	}
	if literal == "" {
		return 0, false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(literal), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return 0, true
	}
	if exponent = strings.TrimLeft(strings.TrimLeft(exponent, "+-"), "0"); len(exponent) > 6 {
		return 0, false // the bodies of tests are shorter than that
	}
	r, ok := new(big.Rat).SetString(literal)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
