package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/wire/wiretest"
)

// profiles is a response type with objects in a list, and with pointers.
type profiles struct {
	Envelope
	Users []user  `json:"user_info_list"`
	Tag   *tag    `json:"tag,omitempty"`
	Total *int    `json:"total"`
	Next  *string `json:"next_openid"`
	Time  int64   `json:"time"`
	Data  struct {
		Tags []tag `json:"tags"`
	} `json:"data"`
	_ int
}

type tag struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// open is a response type that keeps the fields that it does not know.
type open struct {
	Envelope
	ID    int                        `json:"id"`
	Extra map[string]json.RawMessage `json:"-"`
	Items []openItem                 `json:"items"`
}

type openItem struct {
	Name  string                     `json:"name"`
	Extra map[string]json.RawMessage `json:"-"`
}

// UnmarshalJSON is not used: wire reads a type with a place for unknown fields by its fields.
func (*openItem) UnmarshalJSON([]byte) error { return errors.New("not to be used") }

// requireReference compares what is read into a T with what the reference reads.
func requireReference[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	err := Unmarshal(data, &got)
	result := wiretest.Result{Syntax: errors.Is(err, ErrSyntax)}
	if te := (*TypeError)(nil); errors.As(err, &te) {
		result.Wrong, result.Field = true, te.Field
	}
	if diff := wiretest.Compare(&got, &want, result, wiretest.Unmarshal(data, &want)); diff != "" {
		require.Fail(t, diff, "%T: %q", got, data)
	}
}

// requireJSON compares what is read into a T with what encoding/json reads.
func requireJSON[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	wantErr, err := json.Unmarshal(data, &want), Unmarshal(data, &got)
	if wantErr == nil && err == nil && reflect.DeepEqual(want, got) {
		return // require.Equal takes longer than both
	}
	require.NoError(t, wantErr, "%q", data)
	require.NoError(t, err, "%q", data)
	require.Equal(t, want, got, "%q", data)
}

func nested(n int) string {
	return `{"x":` + strings.Repeat(`{"x":[`, n) + "1" + strings.Repeat(`]}`, n) + `}`
}

// What encoding/json reads is read as encoding/json reads it.
func TestUnmarshalAsEncodingJSON(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                   ` {} `,
		"spread out":                " {\r\n\t\"total\" : 1 ,\n                                \"time\":\n2 } \n",
		"envelope":                  `{"errcode":45171,"errmsg":"some failed","fail_openid_list":["oFAKE1","oFAKE2"]}`,
		"payload":                   `{"user_info_list":[{"subscribe":1,"openid":"oFAKE1","tagid_list":[128,2]},{},{"tagid_list":[]}],"tag":{"id":1,"name":"星标组"}}`,
		"empty lists":               `{"user_info_list":[],"data":{"tags":[ ]},"fail_openid_list":[]}`,
		"numbers":                   `{"total":-12,"time":999999999999999999,"errcode":0}`,
		"long numbers":              `{"total":-9223372036854775808,"time":9223372036854775807}`,
		"minus zero":                `{"total":-0}`,
		"unknown fields":            `{"a":"x","b":[1,[],{},-0.5e+10,1E3],"c":{"total":7},"d":true,"e":false,"f":null,"total":1,"g":-5}`,
		"escapes":                   `{"errmsg":"\"\\\/\b\f\n\r\t\u5927\u00e9\u0000","fail_openid_list":["\ud83d\ude00","\ud83d\udc4d!"]}`,
		"lone surrogates":           `{"errmsg":"\ud83d","fail_openid_list":["\ud83d\ud83d\ude00","\ude00\ud83d","\ud83d\u0041","\ud83dx\n","\uD83D\uDE00"]}`,
		"invalid UTF-8":             "{\"errmsg\":\"\xff\xfe\xe5\xb9\",\"fail_openid_list\":[\"\xe5\\u5927\xb9\",\"\\n\xff\",\"\xed\xa0\x80\"]}",
		"escape in a name":          `{"tot\u0061l":1,"\u0074ime":2}`,
		"escapes in what is unused": `{"x":"\n\ud83d\u0000\\","\\":[{"\"":"\""}],"total":1}`,
		"a name in other letters":   "{\"TOTAL\":1,\"Time\":2,\"ErrMsg\":\"m\",\"uſer_info_list\":[{\"Tagid_\u212aist\":1,\"OPENID\":\"o\"}]}",
		"a name that is too long":   `{"` + strings.Repeat("T", 100) + `":1,"total":1}`,
		"a value twice":             `{"time":1,"errmsg":"a","time":2,"errmsg":"b"}`,
		"a list of texts twice":     `{"fail_openid_list":["a","b"],"fail_openid_list":["c"]}`,
		"a list of numbers twice":   `{"user_info_list":[{"tagid_list":[1,3],"tagid_list":[]}]}`,
		"an object and nothing":     `{"tag":{"id":1},"tag":null}`,
		"null":                      `{"errcode":null,"total":null,"time":null,"errmsg":null,"tag":null,"data":null,"next_openid":null}`,
		"invalid UTF-8 in a name":   "{\"tot\xffal\":1,\"x\xff\":2}",
		"nested":                    nested(15),
		"nested deep":               nested(4000),
		"order that changes":        `{"user_info_list":[{"subscribe":1,"openid":"a","city":"b"},{"openid":"a","city":"b","subscribe":1},{"city":"c","x":1,"openid":"d"},{"x":1,"city":"c","openid":"d","nickname":"e"},{"y":[{}],"z":1,"city":"c","openid":"d","nickname":"e"},{"nickname":"e","city":"c"},{},{"subscribe":0,"openid":"a","city":"b"}]}`,
		"names that begin alike":    `{"user_info_list":[{"x":1},{"x\"":2,"openid":"a"},{"x":1,"openid":"b"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			requireJSON[profiles](t, []byte(body))
			requireReference[profiles](t, []byte(body))
			requireReference[open](t, []byte(body))
		})
	}
	many := strings.Builder{}
	for i := range 3 * maxOrder {
		fmt.Fprintf(&many, `"f%d":%d,`, i, i)
	}
	item := `{` + many.String() + `"openid":"a"}`
	requireJSON[profiles](t, []byte(`{"user_info_list":[`+strings.Repeat(item+",", 9)+item+`]}`))
}

// What encoding/json does not read, or reads otherwise.
func TestUnmarshalLeniently(t *testing.T) {
	for body, want := range map[string]profiles{
		`{"time":7200.0}`:                                   {Time: 7200},
		`{"time":"7200"}`:                                   {Time: 7200},
		`{"time":"\u0037200"}`:                              {Time: 7200},
		`{"time":72000e-1}`:                                 {Time: 7200},
		`{"time":0.0072e6}`:                                 {Time: 7200},
		`{"time":-0.0e99999}`:                               {},
		`{"time":0e99999999999999999999}`:                   {},
		`{"time":1` + strings.Repeat("0", 400) + `e-400}`:   {Time: 1},
		`{"time":0.` + strings.Repeat("0", 400) + `1E+401}`: {Time: 1},
		`{"time":9223372036854775807.000}`:                  {Time: math.MaxInt64},
		`{"time":-92233720368547758080e-1}`:                 {Time: math.MinInt64},
		`{"errmsg":7200}`:                                   {Envelope: Envelope{ErrMsg: "7200"}},
		`{"errmsg":-1.50e1}`:                                {Envelope: Envelope{ErrMsg: "-1.50e1"}},
		`{"total":"","next_openid":[],"tag":[]}`:            {},
		`{"time":5,"time":null}`:                            {},
		`{"errmsg":"a","errmsg":[]}`:                        {},
		`{"data":{"tags":[{"id":1}]},"data":{}}`:            {},
		`{"tag":{"id":1},"tag":{"name":"x"}}`:               {Tag: &tag{Name: "x"}},
		`{"user_info_list":[{"openid":"oFAKE1"},{}],"user_info_list":[{"subscribe":1}]}`: {
			Users: []user{{Subscribe: 1}},
		},
		`{"user_info_list":[{"openid":"oFAKE1"}],"user_info_list":""}`: {Users: []user{}},
		`{"data":"","user_info_list":{},"fail_openid_list":null}`: {
			Users: []user{}, Envelope: Envelope{FailOpenIDList: []string{}},
		},
		`{"user_info_list":[{"tagid_list":["128",2.0],"subscribe":"1"}]}`: {
			Users: []user{{TagIDs: []int{128, 2}, Subscribe: 1}},
		},
	} {
		var got profiles
		require.NoError(t, Unmarshal([]byte(body), &got), body)
		assert.Equal(t, want, got, body)
		requireReference[profiles](t, []byte(body))
	}
}

func TestTypeErrors(t *testing.T) {
	for body, want := range map[string]string{
		`{"tag":{"id":1},"tag":5}`:                "tag: a number where an object is expected",
		`{"data":{"tags":[{"id":1},{"id":1.5}]}}`: "data.tags[1].id: a fraction where a whole number is expected",
		`{"user_info_list":[{},{"tagid_list":[1,[2]]}]}`: "user_info_list[1].tagid_list[1]: a list where a whole " +
			"number is expected",
		`{"fail_openid_list":["a",false],"time":[1]}`: "fail_openid_list[1]: true or false where a text is expected",
		`{"time":9223372036854775808}`:                "time: a number that is too large",
		`{"time":1e19}`:                               "time: a number that is too large",
		`{"time":-1e999999999999999999999}`:           "time: a number that is too large",
		`{"time":1e-999999999999999999999}`:           "time: a fraction where a whole number is expected",
		`{"time":0.1}`:                                "time: a fraction where a whole number is expected",
		`{"time":" 1"}`:                               "time: a text where a whole number is expected",
		`{"time":"1 "}`:                               "time: a text where a whole number is expected",
		`{"time":"+1"}`:                               "time: a text where a whole number is expected",
		`{"time":"01"}`:                               "time: a text where a whole number is expected",
	} {
		var got profiles
		require.EqualError(t, Unmarshal([]byte(body), &got), want, body)
		requireReference[profiles](t, []byte(body))
	}
}

func TestListsThatAreTooLong(t *testing.T) {
	list := func(item string, n int) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	for _, tt := range []struct {
		field, item string
		most        int
	}{
		{"fail_openid_list", `""`, 100_000},
		{"user_info_list", `{}`, 10_000},
		{"data", `7`, 0},
	} {
		if tt.most == 0 {
			body := []byte(`{"user_info_list":[{"tagid_list":` + list("1", 100_001) + `,"openid":"o"}],"errcode":1}`)
			var got profiles
			require.EqualError(t, Unmarshal(body, &got),
				"user_info_list[0].tagid_list: a list of more than 100000 items")
			assert.Equal(t, "o", got.Users[0].OpenID, "the rest is read")
			assert.NotNil(t, got.ErrCode)
			continue
		}
		requireJSON[profiles](t, []byte(`{"`+tt.field+`":`+list(tt.item, tt.most)+`}`))
		var got profiles
		body := `{"` + tt.field + `":` + list(tt.item, tt.most+1) + `,"errcode":1}`
		require.EqualError(t, Unmarshal([]byte(body), &got),
			fmt.Sprintf("%s: a list of more than %d items", tt.field, tt.most))
		assert.NotNil(t, got.ErrCode, "the rest is read")
		require.ErrorIs(t, Unmarshal([]byte(strings.TrimSuffix(body, `],"errcode":1}`)), &got), ErrSyntax)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	body := `{"id":1,"new":{"a":[1,"\/"]},"items":[{"name":"a"},{"name":"b","x":1.50,"y":null},{"x":"\ud83d","errmsg":"m","name":"c"}],"errcode":0,"errmsg":"","NEW":"大"}`
	var got open
	require.NoError(t, Unmarshal([]byte(body), &got))
	assert.Equal(t, map[string]json.RawMessage{"new": json.RawMessage(`{"a":[1,"\/"]}`), "NEW": json.RawMessage(`"大"`)},
		got.Extra)
	assert.Equal(t, []openItem{
		{Name: "a"},
		{Name: "b", Extra: map[string]json.RawMessage{"x": json.RawMessage(`1.50`), "y": json.RawMessage(`null`)}},
		{Name: "c", Extra: map[string]json.RawMessage{"x": json.RawMessage(`"\ud83d"`)}},
	}, got.Items)
	requireReference[open](t, []byte(body))
	requireReference[open](t, []byte(`{"":1,"x\u0001":2,"x":1,"x":2}`))

	clean := got.Items[1].Extra["x"]
	_ = append(clean, "...."...)
	assert.Equal(t, json.RawMessage(`null`), got.Items[1].Extra["y"], "they share no memory")

	var raw open
	require.NoError(t, Unmarshal([]byte("{\"new\":\"a\x07\"}"), &raw))
	assert.Equal(t, json.RawMessage(`"a\u0007"`), raw.Extra["new"], "valid JSON")
	require.NoError(t, Unmarshal([]byte("{\"new\":\"a\xff\"}"), &raw))
	assert.Equal(t, json.RawMessage("\"a\ufffd\""), raw.Extra["new"], "valid UTF-8")

	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"f%d":1,`, i)
	}
	require.NoError(t, Unmarshal([]byte(`{`+many.String()+`"f0":2}`), &raw))
	assert.Len(t, raw.Extra, maxUnknown)
	assert.Equal(t, json.RawMessage(`2`), raw.Extra["f0"], "the last value counts")
}

func TestMarshalWithUnknown(t *testing.T) {
	for want, v := range map[string]openItem{
		`{"name":"a<b"}`: {Name: "a<b"},
		`{"name":"","a":1,"b":{"c":"<"},"z":null}`: {Extra: map[string]json.RawMessage{
			"z": nil, "b": json.RawMessage("{ \"c\" : \"<\"}"), "a": json.RawMessage("1"),
			"name": json.RawMessage("2"), "NAME": json.RawMessage("2"), "errcode": json.RawMessage("3"),
		}},
		`{"name":"","\"<大\n":1}`: {Extra: map[string]json.RawMessage{"\"<大\n": json.RawMessage("1")}},
	} {
		body, err := MarshalWithUnknown(v)
		require.NoError(t, err)
		assert.Equal(t, want, string(body))
	}
	_, err := MarshalWithUnknown(openItem{Extra: map[string]json.RawMessage{"a": json.RawMessage("{")}})
	require.Error(t, err)
	body, err := MarshalWithUnknown(struct {
		Extra map[string]json.RawMessage `json:"-"`
	}{map[string]json.RawMessage{"a": json.RawMessage("1")}})
	require.NoError(t, err)
	assert.Equal(t, `{"a":1}`, string(body))
	_, err = MarshalWithUnknown(struct {
		Bad   func()                     `json:"bad"`
		Extra map[string]json.RawMessage `json:"-"`
	}{})
	require.Error(t, err)
}

// Types that encoding/json reads in ways that only it knows are left to it, with control characters escaped.
func TestOtherTypesAreLeftToEncodingJSON(t *testing.T) {
	for _, v := range []any{
		new(struct {
			A json.RawMessage `json:"a"`
		}),
		new(struct {
			A json.Number `json:"a"`
		}),
		new(struct {
			A netip.Addr `json:"a"` // an encoding.TextUnmarshaler
		}),
		new(struct {
			A int `json:"a,string"`
		}),
		new(struct{ A int }),
		new(struct {
			A int `json:"A"`
		}),
		new(struct {
			Envelope
			Code int `json:"errcode"`
		}),
		new(struct {
			A float64 `json:"a"`
		}),
		new(struct {
			A *float64 `json:"a"`
		}),
		new(struct {
			A **int `json:"a"`
		}),
		new(struct {
			A []bool `json:"a"`
		}),
		new(struct {
			A [][]string `json:"a"`
		}),
		new(struct {
			A []*tag `json:"a"`
		}),
		new(struct{ *Envelope }),
		new(struct {
			Envelope `json:"a"`
		}),
		new(any), new(map[string]int),
	} {
		require.NoError(t, Unmarshal([]byte(`{}`), v), "%T", v)
		assert.Equal(t, otherKind, readerOf(reflect.TypeOf(v).Elem()).kind, "%T", v)
	}
	for _, v := range []any{
		new(user), new(page), new(profiles), new(open),
		new(struct {
			A *[]string `json:"a"`
		}),
	} {
		assert.Equal(t, objectKind, readerOf(reflect.TypeOf(v).Elem()).kind, "%T", v)
	}
	var number float64
	require.NoError(t, Unmarshal([]byte(bom+"1.5"), &number))
	assert.InDelta(t, 1.5, number, 0)
	var text string
	require.NoError(t, Unmarshal([]byte("\"a\x07\""), &text))
	assert.Equal(t, "a\x07", text)
	var addr struct {
		A netip.Addr `json:"a"`
	}
	require.NoError(t, Unmarshal([]byte(`{"a":"192.0.2.1"}`), &addr))
	assert.Equal(t, netip.MustParseAddr("192.0.2.1"), addr.A)
}

func TestAnIntCanBeShort(t *testing.T) {
	if math.MaxInt > math.MaxInt32 {
		t.Skip("not here")
	}
	for body, want := range map[string]string{
		`{"subscribe":4294967297}`:    "subscribe: a number that is too large",
		`{"tagid_list":[4294967297]}`: "tagid_list[0]: a number that is too large",
		`{"errcode":4294967297}`:      "errcode: a number that is too large",
	} {
		require.EqualError(t, Unmarshal([]byte(body), new(user)), want)
	}
}

// The memory of a body is used again.
func TestUnmarshalCopies(t *testing.T) {
	for _, body := range []string{
		`{"user_info_list":[{"openid":"oFAKE1","remark":"大客户","tagid_list":[1,2]}],"errmsg":"ok","fail_openid_list":["a",12]}`,
		`{"user_info_list":[{"openid":"oFAKE1","remark":"\u5927","tagid_list":[1,2]}],"errmsg":"ok","fail_openid_list":["a"]}`,
		`{"items":[{"name":"a","x":{"a":1}},{"name":"b","x":"y","x\n":1}],"y":"z"}`,
	} {
		data := []byte(body)
		var got, want profiles
		var gotOpen, wantOpen open
		require.NoError(t, Unmarshal(data, &got))
		require.NoError(t, Unmarshal(data, &gotOpen))
		for i := range data {
			data[i] = 'x'
		}
		require.Equal(t, wiretest.Result{}, wiretest.Unmarshal([]byte(body), &want))
		require.Equal(t, wiretest.Result{}, wiretest.Unmarshal([]byte(body), &wantOpen))
		assert.Equal(t, want, got)
		assert.Equal(t, wantOpen, gotOpen)
	}
}

// Lists of one response share a block, and yet are lists of their own.
func TestListsShareNothingThatCanBeSeen(t *testing.T) {
	var got profiles
	body := `{"user_info_list":[{"tagid_list":[1]},{"tagid_list":[2,3]},{"tagid_list":["4",5,6]},{"tagid_list":[]},{"tagid_list":[7]}]}`
	require.NoError(t, Unmarshal([]byte(body), &got))
	for i, want := range [][]int{{1}, {2, 3}, {4, 5, 6}, {}, {7}} {
		list := got.Users[i].TagIDs
		require.Equal(t, want, list)
		assert.Equal(t, len(list), cap(list))
		_ = append(list, -1)
	}
	assert.Zero(t, cap(got.Users[3].TagIDs), "an empty list keeps no block")
}

// Who stores one openid of a page does not store the page.
func TestAnOpenIDKeepsOneBlock(t *testing.T) {
	const pages = 200
	body := openIDPage(10_000)
	each := keptBytes(t, pages, func(i int) string {
		var got page
		require.NoError(t, Unmarshal(body, &got))
		return got.Data.OpenID[i*37]
	})
	assert.Less(t, each, MaxBlock+MaxBlock/8)
	assert.Greater(t, len(body), 10*MaxBlock)
}

// A block is small against a small body too.
func TestATextKeepsLittle(t *testing.T) {
	body := userList(100)
	assert.Less(t, keptBytes(t, 500, func(i int) string {
		var got profiles
		require.NoError(t, Unmarshal(body, &got))
		return got.Users[i%100].OpenID
	}), len(body)/10)
	assert.Less(t, keptBytes(t, 500, func(i int) []int {
		var got profiles
		require.NoError(t, Unmarshal(body, &got))
		return got.Users[i%100].TagIDs
	}), len(body)/10)
}

// keptBytes returns how much memory is kept for each of n values.
func keptBytes[T any](t *testing.T, n int, value func(i int) T) int {
	t.Helper()
	kept := make([]T, n)
	before := heap()
	for i := range kept {
		kept[i] = value(i)
	}
	each := int(heap()-before) / n
	runtime.KeepAlive(kept)
	return each
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func userList(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `,{"subscribe":1,"openid":"oFAKE%023d","nickname":"","sex":0,"language":"zh_CN","city":"","province":"","country":"","headimgurl":"","subscribe_time":%d,"unionid":"oFAKEu%022d","remark":"常客","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,"qr_scene_str":""}`, i, 1700000000+i, i)
	}
	return []byte(`{"user_info_list":[` + b.String()[1:] + `]}`)
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `"\/\u5927\ud83d\udc4d\ud83d"`,
		`{"errcode":40001,"errmsg":"invalid credential rid: 634c0b3e-4e213ffb-5b22a862"}`,
		`{"errcode":"45009"}`, `{"errcode":1.5}`,
		`{"errcode":null,"total":23000,"data":{"openid":["oFAKE1","oFAKE2"]}}`,
		"{\"nickname\":\"a\x14\x07\"}", "{\"a\":\"\\\n\"}", "\"\\u00\x0741\"", "{\n\t\"a\" : \"\xff\"\r\n}",
		bom + `{"a":1}`, bom + bom, `{"a":1}x`,
		`{"total":1,"count":2,"data":{"openid":["oFAKE1","oFAKE2"]},"next_openid":"oFAKE2"}`,
		`{"data":{"openid":["a"]},"data":{"openid":["b"]}}`,
		`{"user_info_list":[{"subscribe":1,"openid":"oFAKE1","remark":"大","tagid_list":[128,2]},{"x":[1],"openid":"a","subscribe":"0","tagid_list":""}],"tag":{"id":-1},"tag":{"name":"x"},"time":1}`,
		"{\"a\x01\":\"\\\\\x02\\\"\x03\"}", `1e400`, `{"A":1,"a":2,"a":{}}`, "\"a\x00", "\x01\"a\"", "'a\x01'",
		`{"items":[{"name":"a","x":1e5,"y":{}},{"name":7,"x":"\ud83d\ude00"},{"y":2,"name":[]}],"id":"7.0e3","z":[[]]}`,
		`{"time":"1e2","total":100.0,"next_openid":5,"tag":[],"data":{"tags":[{"id":1,"name":"x"},{"name":null}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		requireReference[page](t, data)
		requireReference[user](t, data)
		requireReference[profiles](t, data)
		requireReference[open](t, data)
		requireOther(t, data)
		require.Equal(t, before, data, "the body was modified")

		// The same bytes as the content of a string.
		quoted := `{"remark":"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(data)) + `"}`
		var got user
		require.NoError(t, Unmarshal([]byte(quoted), &got))
		require.Equal(t, string([]rune(string(data))), got.Remark)
	})
}

// requireOther compares what is read into a type that is left to encoding/json.
func requireOther(t *testing.T, data []byte) {
	t.Helper()
	var got, want any
	err := Unmarshal(data, &got)
	switch {
	case json.Valid(data):
		require.Equal(t, json.Unmarshal(data, &want), err)
		require.Equal(t, want, got)
	case err == nil:
		// What is read beyond valid JSON is JSON when the control characters are spaces.
		spaces := bytes.Clone(bytes.TrimPrefix(data, []byte(bom)))
		for i, c := range spaces {
			if c < 0x20 {
				spaces[i] = ' '
			}
		}
		require.True(t, json.Valid(spaces), "%q was read as %v", data, got)
	default:
		require.ErrorIs(t, err, ErrSyntax)
	}
}
