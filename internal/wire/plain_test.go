package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// profiles is a response type with objects in a list, and with pointers.
type profiles struct {
	Envelope
	Users []user `json:"user_info_list"`
	Tag   *tag   `json:"tag,omitempty"`
	Total *int   `json:"total"`
	Time  int64  `json:"time"`
	Data  struct {
		Tags []tag `json:"tags"`
	} `json:"data"`
	_ int
}

type tag struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

func TestUnmarshalPlain(t *testing.T) {
	deep := func(n int) string {
		return `{"x":` + strings.Repeat(`{"x":[`, n) + "1" + strings.Repeat(`]}`, n) + `}`
	}
	tests := []struct {
		name  string
		body  string
		plain bool
	}{
		{"nothing", ` {} `, true},
		{"spread out", " {\r\n\t\"total\" : 1 ,\n\"time\":\n2 } \n", true},
		{"envelope", `{"errcode":45171,"errmsg":"some failed","fail_openid_list":["oFAKE1","oFAKE2"]}`, true},
		{"payload", `{"user_info_list":[{"subscribe":1,"openid":"oFAKE1","tagid_list":[128,2]},{},{"tagid_list":[]}],"tag":{"id":1,"name":"星标组"}}`, true},
		{"empty lists", `{"user_info_list":[],"data":{"tags":[ ]},"fail_openid_list":[]}`, true},
		{"numbers", `{"total":-12,"time":999999999999999999,"errcode":0}`, true},
		{"minus zero", `{"total":-0}`, true},
		{"unknown fields", `{"a":"x","b":[1,[],{}],"c":{"total":7},"d":true,"e":false,"f":null,"total":1,"g":-5}`, true},
		{"a value twice", `{"time":1,"errmsg":"a","time":2,"errmsg":"b"}`, true},
		{"a list of texts twice", `{"fail_openid_list":["a","b"],"fail_openid_list":["c"]}`, true},
		{"a list of numbers twice", `{"user_info_list":[{"tagid_list":[1,3],"tagid_list":[]}]}`, true},
		{"a part twice", `{"data":{},"data":{"tags":[{"id":1}]}}`, true},
		{"nested", deep(15), true},
		{"invalid UTF-8 in what is skipped", "{\"x\":\"\xff\"}", true},

		{"a list twice", `{"user_info_list":[{"openid":"oFAKE1"}],"user_info_list":[{"subscribe":1}]}`, false},
		{"an object twice", `{"tag":{"id":1},"tag":{"name":"x"}}`, false},
		{"nested too deep", deep(40), false},
		{"escape", `{"errmsg":"\/"}`, false},
		{"escape in a name", `{"tot\u0061l":1}`, false},
		{"escape in what is skipped", `{"x":"\n"}`, false},
		{"other letters", `{"TOTAL":1}`, false},
		{"letters that fold", "{\"uſer_info_list\":[]}", false},
		{"null", `{"total":null}`, false},
		{"null in a list", `{"fail_openid_list":[null]}`, false},
		{"fraction", `{"total":1.0}`, false},
		{"exponent", `{"total":1e2}`, false},
		{"long number", `{"time":9223372036854775807}`, false},
		{"number too large", `{"time":9223372036854775808}`, false},
		{"number in quotes", `{"errcode":"40001"}`, false},
		{"invalid UTF-8", "{\"errmsg\":\"\xff\"}", false},
		{"wrong type", `{"total":"1"}`, false},
		{"wrong type of a list", `{"user_info_list":{}}`, false},
		{"wrong type of an object", `{"tag":[]}`, false},
		{"wrong type of an item", `{"user_info_list":[1]}`, false},
		{"byte order mark", bom + `{}`, false},

		{"empty", ``, false},
		{"null alone", `null`, false},
		{"list", `[]`, false},
		{"raw control", "{\"errmsg\":\"\x07\"}", false},
		{"zero first", `{"total":01}`, false},
		{"minus alone", `{"total":-}`, false},
		{"minus and space", `{"total":- 1}`, false},
		{"cut word", `{"x":tru}`, false},
		{"cut word at the end", `{"x":nul`, false},
		{"cut string", `{"errmsg":"a`, false},
		{"cut", `{"total":1`, false},
		{"no colon", `{"total" 1}`, false},
		{"no name", `{1:1}`, false},
		{"no value", `{"total":}`, false},
		{"comma at the end", `{"total":1,}`, false},
		{"comma at the end of a list", `{"fail_openid_list":["a",]}`, false},
		{"no comma", `{"total":1 "time":1}`, false},
		{"no comma in a list", `{"fail_openid_list":["a" "b"]}`, false},
		{"list that does not end", `{"user_info_list":[{"tagid_list":[1,2`, false},
		{"more after it", `{"total":1}{}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want profiles
			require.Equal(t, tt.plain, UnmarshalPlain([]byte(tt.body), &got))
			wantErr := json.Unmarshal([]byte(tt.body), &want)
			if tt.plain {
				require.NoError(t, wantErr)
				require.Equal(t, want, got)
			}
			if wantErr == nil { // what is left to encoding/json is not mixed with what was read before
				got = profiles{}
				require.NoError(t, Unmarshal([]byte(tt.body), &got))
				require.Equal(t, want, got)
			}
		})
	}
}

// Types of which UnmarshalPlain can't say what encoding/json would do.
func TestUnmarshalPlainNeedsPlainTypes(t *testing.T) {
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
			A []bool `json:"a"`
		}),
		new(struct {
			A [][]string `json:"a"`
		}),
		new(struct{ *Envelope }),
		new(struct {
			Envelope `json:"a"`
		}),
		new(any), new(string), new(map[string]int),
	} {
		assert.False(t, UnmarshalPlain([]byte(`{}`), v), "%T", v)
	}
}

func TestAnIntCanBeShort(t *testing.T) {
	if reflect.TypeFor[int]().Size() == 8 {
		t.Skip("not here")
	}
	assert.False(t, UnmarshalPlain([]byte(`{"total":4294967297}`), new(page)))
	assert.False(t, UnmarshalPlain([]byte(`{"tagid_list":[4294967297]}`), new(user)))
}

// The memory of a body is used again.
func TestUnmarshalCopies(t *testing.T) {
	for _, body := range []string{
		`{"user_info_list":[{"openid":"oFAKE1","remark":"大客户","tagid_list":[1,2]}],"errmsg":"ok","fail_openid_list":["a"]}`,
		`{"user_info_list":[{"openid":"oFAKE1","remark":"\u5927","tagid_list":[1,2]}],"errmsg":"ok","fail_openid_list":["a"]}`,
	} {
		data := []byte(body)
		var got, want profiles
		require.NoError(t, Unmarshal(data, &got))
		for i := range data {
			data[i] = 'x'
		}
		require.NoError(t, json.Unmarshal([]byte(body), &want))
		assert.Equal(t, want, got)
	}
}

// Who stores one openid of a page does not store the page.
func TestAnOpenIDKeepsOneBlock(t *testing.T) {
	const pages = 200
	body := openIDPage(10_000)
	kept := make([]string, pages)
	before := heap()
	for i := range kept {
		var got page
		require.True(t, UnmarshalPlain(body, &got))
		kept[i] = got.Data.OpenID[i*37]
	}
	each := int(heap()-before) / pages
	runtime.KeepAlive(kept)
	assert.Less(t, each, MaxBlock+MaxBlock/8)
	assert.Greater(t, len(body), 10*MaxBlock)
}

// A block is small against a small body too.
func TestATextKeepsLittle(t *testing.T) {
	const answers = 500
	body := userList(100)
	kept := make([]string, answers)
	before := heap()
	for i := range kept {
		var got profiles
		require.True(t, UnmarshalPlain(body, &got))
		kept[i] = got.Users[i%100].OpenID
	}
	each := int(heap()-before) / answers
	runtime.KeepAlive(kept)
	assert.Less(t, each, len(body)/10)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// How long a list seems says only how much memory it begins with.
func TestUnmarshalPlainTakesListsOfAnyLength(t *testing.T) {
	commas := strings.Repeat(",", 3*maxSize)
	for _, body := range []string{
		`{"fail_openid_list":["` + commas + `"]}`,
		`{"fail_openid_list":["a]","b"]}`,
		`{"fail_openid_list":[` + strings.Repeat(`"",`, 2*maxSize) + `""]}`,
		`{"user_info_list":[{"tagid_list":[` + strings.Repeat(`1,`, 2*maxSize) + `1]},{"tagid_list":[ ]}]}`,
		`{"user_info_list":[{}` + strings.Repeat(`,{}`, 2*maxSize) + `]}`,
		`{"user_info_list":[{"remark":"` + strings.Repeat("{", 3*maxSize) + `"}]}`,
	} {
		var got, want profiles
		require.True(t, UnmarshalPlain([]byte(body), &got))
		require.NoError(t, json.Unmarshal([]byte(body), &want))
		require.Equal(t, want, got)
		if len(want.FailOpenIDList) < maxSize {
			require.LessOrEqual(t, cap(got.FailOpenIDList), maxSize)
		}
		if len(want.Users) < maxSize {
			require.LessOrEqual(t, cap(got.Users), maxSize)
		}
	}
}

// What is no list of numbers takes no memory as if it were a long one.
func TestUnmarshalPlainOfCommas(t *testing.T) {
	body := []byte(`{"user_info_list":[{"tagid_list":[` + strings.Repeat(",", 1<<20) + `]}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.False(t, UnmarshalPlain(body, new(profiles)))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(body)))
}

func TestAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	for _, tt := range []struct {
		name string
		data []byte
		new  func() any
		most float64
	}{
		{"page of 10000", openIDPage(10_000), func() any { return new(page) }, 16}, // the list, 13 blocks
		{"100 profiles", userList(100), func() any { return new(profiles) }, 106},  // 100 lists of tags
		{"ok", []byte(`{"errcode":0,"errmsg":"ok"}`), func() any { return new(Envelope) }, 3},
	} {
		assert.LessOrEqual(t, testing.AllocsPerRun(20, func() {
			if !UnmarshalPlain(tt.data, tt.new()) {
				t.Error("not plain")
			}
		}), tt.most+1, tt.name) // a pool can be emptied
	}
}

func userList(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `,{"subscribe":1,"openid":"oFAKE%023d","nickname":"","sex":0,"language":"zh_CN","city":"","province":"","country":"","headimgurl":"","subscribe_time":%d,"unionid":"oFAKEu%022d","remark":"","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,"qr_scene_str":""}`, i, 1700000000+i, i)
	}
	return []byte(`{"user_info_list":[` + b.String()[1:] + `]}`)
}
