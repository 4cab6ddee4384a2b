package wechatuser

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/wire"
	"github.com/wechatuser/wechatuser/internal/wire/wiretest"
)

// responseTypes are all response types.
var responseTypes = []reflect.Type{
	reflect.TypeFor[okResponse](),
	reflect.TypeFor[userInfoResponse](),
	reflect.TypeFor[batchUserInfoResponse](),
	reflect.TypeFor[pageResponse](),
	reflect.TypeFor[changeOpenIDResponse](),
	reflect.TypeFor[tagResponse](),
	reflect.TypeFor[tagsResponse](),
	reflect.TypeFor[tagIDListResponse](),
	reflect.TypeFor[quotaResponse](),
	reflect.TypeFor[ridResponse](),
	reflect.TypeFor[ipListResponse](),
	reflect.TypeFor[tokenResponse](),
}

func TestResponseTypesAreAll(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	embedded := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		embedded += strings.Count(string(text), "\twire.Envelope\n") +
			strings.Count(string(text), "struct{ wire.Envelope }")
	}
	assert.Len(t, responseTypes, embedded)
}

// filled returns a pointer to a value of the type in which no field is zero.
func filled(t reflect.Type) any {
	v := reflect.New(t)
	fill(v.Elem(), new(int64))
	return v.Interface()
}

func fill(v reflect.Value, n *int64) {
	switch *n++; v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("大x", int(*n)))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i), n)
			}
		}
	default:
		panic(v.Type().String())
	}
}

// Each field of each response is read under the name that encoding/json has for it.
func TestResponsesAreReadByTheirTags(t *testing.T) {
	for _, typ := range responseTypes {
		want := filled(typ)
		body, err := json.Marshal(want)
		require.NoError(t, err)
		got := reflect.New(typ).Interface()
		require.NoError(t, wire.Unmarshal(body, got))
		assert.Equal(t, want, got)
	}
}

// place is a field of a response: what it is for, and a body in which a value can be put into its place.
type place struct {
	field         string // as errors name it
	kind          string
	pointer       bool
	before, after string
}

// places returns all fields of a type, at any depth.
func places(t reflect.Type, p place) (all []place) {
	switch {
	case t == reflect.TypeFor[wire.ErrCode]():
		p.kind = "code"
	case t.Kind() == reflect.Pointer:
		all = places(t.Elem(), p)
		all[0].pointer = true
		return all
	case t.Kind() == reflect.String:
		p.kind = "text"
	case t.Kind() == reflect.Slice:
		p.kind = "list"
		item := p
		item.field, item.before, item.after = p.field+"[0]", p.before+"[", "]"+p.after
		all = places(t.Elem(), item)
		all[0].kind += " item"
	case t.Kind() == reflect.Struct:
		p.kind = "object"
		for _, sf := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			if sf.Anonymous || name == "-" || len(sf.Index) > 1 && !t.Field(sf.Index[0]).Anonymous {
				continue
			}
			member := p
			member.field = strings.TrimPrefix(p.field+"."+name, ".")
			member.before, member.after = p.before+`{"`+name+`":`, "}"+p.after
			all = append(all, places(sf.Type, member)...)
		}
	default:
		p.kind = "number"
	}
	return append([]place{p}, all...)
}

// Wherever a value of another type stands in a response, it is read if there is one sensible reading, and is an error
// otherwise, which names the field and no type of Go.
func TestTypesThatVary(t *testing.T) {
	type values = map[string]string // by kind of the field: what the value is read as, or the error after the colon
	const whole = " where a whole number is expected"
	empty := []string{`null`, `""`, `[ ]`, `{ }`}
	for value, want := range map[string]values{
		`null`: {
			"code": `null`, "number": `0`, "text": `""`, "list": `[]`, "object": `{}`,
			"number item": "null" + whole, "text item": "null where a text is expected",
			"object item": "null where an object is expected",
		},
		`""`: {
			"code": "a text" + whole, "number": `0`, "text": `""`, "list": `[]`, "object": `{}`,
			"number item": "a text" + whole, "text item": `""`, "object item": "a text where an object is expected",
		},
		`[ ]`: {
			"code": "a list" + whole, "number": `0`, "text": `""`, "list": `[]`, "object": `{}`,
			"number item": "a list" + whole, "text item": "a list where a text is expected",
			"object item": "a list where an object is expected",
		},
		`{ }`: {
			"code": "an object" + whole, "number": `0`, "text": `""`, "list": `[]`, "object": `{}`,
			"number item": "an object" + whole, "text item": "an object where a text is expected", "object item": `{}`,
		},
		`"7200"`: {
			"code": `7200`, "number": `7200`, "text": `"7200"`, "list": "a text where a list is expected",
			"object":      "a text where an object is expected",
			"number item": `7200`, "text item": `"7200"`, "object item": "a text where an object is expected",
		},
		`-72e2`: {
			"code": `-7200`, "number": `-7200`, "text": `"-72e2"`, "list": "a number where a list is expected",
			"object":      "a number where an object is expected",
			"number item": `-7200`, "text item": `"-72e2"`, "object item": "a number where an object is expected",
		},
		`"7.2"`: {
			"code": "a fraction" + whole, "number": "a fraction" + whole, "text": `"7.2"`,
			"list": "a text where a list is expected", "object": "a text where an object is expected",
			"number item": "a fraction" + whole, "text item": `"7.2"`,
			"object item": "a text where an object is expected",
		},
		`"many"`: {
			"code": "a text" + whole, "number": "a text" + whole, "text": `"many"`,
			"list": "a text where a list is expected", "object": "a text where an object is expected",
			"number item": "a text" + whole, "text item": `"many"`, "object item": "a text where an object is expected",
		},
		`true`: {
			"code": "true or false" + whole, "number": "true or false" + whole,
			"text": "true or false where a text is expected",
			"list": "true or false where a list is expected", "object": "true or false where an object is expected",
			"number item": "true or false" + whole, "text item": "true or false where a text is expected",
			"object item": "true or false where an object is expected",
		},
		`[[1]]`: {
			"code": "a list" + whole, "number": "a list" + whole, "text": "a list where a text is expected",
			"object":      "a list where an object is expected",
			"number item": "a list" + whole, "text item": "a list where a text is expected",
			"object item": "a list where an object is expected",
		},
		`{"0":1}`: {
			"code": "an object" + whole, "number": "an object" + whole, "text": "an object where a text is expected",
			"list": "an object where a list is expected", "object": "{}",
			"number item": "an object" + whole, "text item": "an object where a text is expected", "object item": "{}",
		},
	} {
		for _, typ := range responseTypes {
			for _, p := range places(typ, place{})[1:] {
				body := p.before + value + p.after
				got := reflect.New(typ).Interface()
				err := wire.Unmarshal([]byte(body), got)
				want, ok := want[p.kind]
				if p.pointer && p.kind != "code" && slices.Contains(empty, value) && ok && want[0] != value[0] {
					want = "null"
				}
				switch {
				case !ok: // a list in the place of a list is about its items
				case strings.Contains(want, " where "):
					require.EqualError(t, err, p.field+": "+want, body)
					require.ErrorIs(t, err, wire.ErrType)
				default:
					require.NoError(t, err, body)
					plain := reflect.New(typ).Interface()
					require.NoError(t, json.Unmarshal([]byte(p.before+want+p.after), plain))
					if users, ok := got.(*batchUserInfoResponse); ok && len(users.Users) > 0 {
						users.Users[0].Extra = nil
					}
					require.Equal(t, plain, got, body)
				}
				requireReference(t, typ, []byte(body))
			}
		}
	}
}

// requireReference compares the response in a body with what the reference reads.
func requireReference(t *testing.T, typ reflect.Type, body []byte) {
	t.Helper()
	got, want := reflect.New(typ).Interface(), reflect.New(typ).Interface()
	err := wire.Unmarshal(body, got)
	result := wiretest.Result{Syntax: errors.Is(err, wire.ErrSyntax)}
	if te := (*wire.TypeError)(nil); errors.As(err, &te) {
		result.Wrong, result.Field = true, te.Field
	}
	require.Empty(t, wiretest.Compare(got, want, result, wiretest.Unmarshal(body, want)), "%s: %q", typ, body)
}

// sampleBodies returns the bodies of the samples.
func sampleBodies(t testing.TB) (bodies []string) {
	t.Helper()
	file, err := os.Open("testdata/samples.jsonl")
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var sample struct{ Body string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &sample))
		bodies = append(bodies, sample.Body)
	}
	return bodies
}

func FuzzResponses(f *testing.F) {
	for _, body := range sampleBodies(f) {
		f.Add([]byte(body))
	}
	for _, typ := range responseTypes {
		body, err := json.Marshal(filled(typ))
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, typ := range responseTypes {
			requireReference(t, typ, data)
		}
	})
}

// The body of a call can be encoded for any argument. One that could not be would be the argument's fault.
func TestBodyThatCannotBeEncoded(t *testing.T) {
	c, err := New("wxFAKE", "FAKE")
	require.NoError(t, err)
	_, err = call[okResponse](t.Context(), &c.caller, request{ep: &endpoints[updateRemark]}, func() {})
	var ae *ArgumentError
	require.ErrorAs(t, err, &ae)
	assert.Equal(t, "updateRemark", ae.API)
}
