package wechatuser

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/wire"
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
		embedded += strings.Count(string(text), "\twire.Envelope\n") + strings.Count(string(text), "struct{ wire.Envelope }")
	}
	assert.Len(t, responseTypes, embedded)
}

// filled returns a value of the type in which no field is zero.
func filled(t reflect.Type, n *int64) reflect.Value {
	v := reflect.New(t).Elem()
	switch *n++; t.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("大x", int(*n)))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Pointer:
		v.Set(filled(t.Elem(), n).Addr())
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem(), n), filled(t.Elem(), n)))
	case reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(filled(t.Field(i).Type, n))
		}
	default:
		panic(t.String())
	}
	return v
}

// Each field of each response is read without encoding/json, under the name that encoding/json has for it.
func TestResponsesAreReadPlainly(t *testing.T) {
	for _, typ := range responseTypes {
		want := filled(typ, new(int64)).Addr().Interface()
		body, err := json.Marshal(want)
		require.NoError(t, err)
		got := reflect.New(typ).Interface()
		assert.True(t, wire.UnmarshalPlain(body, got), "%s: %s", typ, body)
		assert.Equal(t, want, got)
	}
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
		body, err := json.Marshal(filled(typ, new(int64)).Addr().Interface())
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		for _, typ := range responseTypes {
			got, want := reflect.New(typ).Interface(), reflect.New(typ).Interface()
			err, wantErr := wire.Unmarshal(data, got), json.Unmarshal(data, want)
			if wantErr == nil {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, wantErr.Error())
			}
			require.Equal(t, want, got)
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
