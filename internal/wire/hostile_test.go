package wire

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/internal/testutil/race"
)

// hostileBodies are bodies of about this size that cost much if they are read carelessly.
func hostileBodies(size int) map[string]string {
	fill := func(before, what, after string) string {
		return before + strings.Repeat(what, (size-len(before)-len(after))/len(what)) + after
	}
	var names, others strings.Builder
	for i := 0; names.Len() < size; i++ {
		fmt.Fprintf(&names, `"f%d":0,`, i)
		fmt.Fprintf(&others, `"F%d":0,`, i)
	}
	return map[string]string{
		"a long text":                      fill(`{"errmsg":"`, "x", `"}`),
		"a long text, cut":                 fill(`{"errmsg":"`, "x", ``),
		"a long text of hints":             fill(`{"errmsg":"`, "hint: [rid: ", `"}`),
		"control characters":               fill(`{"errmsg":"`, "\x01", `"}`),
		"control characters, unknown":      fill(`{"new":"`, "\x01", `"}`),
		"escapes":                          fill(`{"errmsg":"`, `\n`, `"}`),
		"escapes, cut":                     fill(`{"errmsg":"`, `\n`, ``),
		"surrogate pairs":                  fill(`{"errmsg":"`, `\ud83d\ude00`, `"}`),
		"invalid UTF-8":                    fill(`{"errmsg":"`, "\xff", `"}`),
		"texts with an escape":             fill(`{"fail_openid_list":[`, `"\n",`, `""]}`),
		"empty objects":                    fill(`{"user_info_list":[`, `{},`, `{}]}`),
		"empty objects, in a part":         fill(`{"data":{"tags":[`, `{},`, `{}]}}`),
		"small objects":                    fill(`{"user_info_list":[`, `{"subscribe":1},`, `{}]}`),
		"objects with unknown fields":      fill(`{"items":[`, `{"a":0},`, `{}]}`),
		"objects with many unknown fields": fill(`{"items":[`, `{`+names.String()[:1000]+`":0},`, `{}]}`),
		"objects in objects":               fill(`{"user_info_list":[{"x":[`, `{"x":0},`, `{}]}]}`),
		"names in a text":                  fill(`{"user_info_list":[{"x":1,"openid":"`, `\"x\"`, `"}]}`),
		"braces in a text":                 fill(`{"user_info_list":[{"openid":"`, `{`, `"}]}`),
		"empty texts":                      fill(`{"fail_openid_list":[`, `"",`, `""]}`),
		"numbers":                          fill(`{"user_info_list":[{"tagid_list":[`, `1,`, `1]}]}`),
		"commas in a text":                 fill(`{"fail_openid_list":["`, `,`, `"]}`),
		"commas in texts": fill(`{"fail_openid_list":[`, `",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,]",`,
			`""]}`),
		"commas in numbers":          fill(`{"user_info_list":[{"tagid_list":[`, `",,,,,,,,]",`, `1]}]}`),
		"commas":                     fill(`{"user_info_list":[{"tagid_list":[`, `,`, `]}]}`),
		"lists of objects":           fill(`{`, `"user_info_list":[{"openid":""}],`, `"x":1}`),
		"lists of texts":             fill(`{`, `"fail_openid_list":[""],`, `"x":1}`),
		"lists of numbers":           fill(`{"user_info_list":[{`, `"tagid_list":[1],`, `"x":1}]}`),
		"lists of the wrong type":    fill(`{`, `"fail_openid_list":0,`, `"x":1}`),
		"objects with lists":         fill(`{"user_info_list":[`, `{"tagid_list":[1]},`, `{}]}`),
		"unknown names":              `{` + names.String() + `"x":1}`,
		"unknown names, in capitals": `{` + others.String() + `"x":1}`,
		"unknown names in a list":    `{"user_info_list":[{` + names.String() + `"x":1}]}`,
		"a field again and again":    fill(`{`, `"id":1,`, `"x":1}`),
		"nested lists":               fill(`{"x":`, `[`, ``),
		"nested objects":             fill(`{"x":`, `{"":`, ``),
		"white space":                fill(`{"id":`, " \n\t\r", `1}`),
		"spaces":                     fill(`{"id":`, " ", `1}`),
		"digits":                     fill(`{"id":`, `7`, `}`),
		"zeros":                      fill(`{"id":1.`, `0`, `}`),
		"digits in quotes":           fill(`{"id":"`, `7`, `"}`),
		"an exponent":                fill(`{"id":1e`, `7`, `}`),
		"a number for a text":        fill(`{"errmsg":`, `7`, `}`),
		"a long name":                fill(`{"`, `X`, `":1}`),
		"a long name in a list":      fill(`{"items":[{"`, `x`, `":1},{}]}`),
		"names that are texts":       fill(`{"items":[`, `{"\n":""},`, `{}]}`),
	}
}

// readHostile reads a body into the types that have all kinds of fields.
func readHostile(body []byte) error {
	var a open
	var b profiles
	err := Unmarshal(body, &a)
	ParseMessage(a.ErrMsg)
	if other := Unmarshal(body, &b); err == nil {
		err = other
	}
	return err
}

// Whatever is in a body, reading it takes memory of a few times its size.
func TestHostileBodies(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	const size = 1 << 20
	for name, body := range hostileBodies(size) {
		data := []byte(body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := readHostile(data)
		runtime.ReadMemStats(&after)
		times := float64(after.TotalAlloc-before.TotalAlloc) / 2 / float64(len(body))
		assert.Less(t, times, 8., "%s: %v", name, err)
		t.Logf("%.2f times the body, %.4f allocations a byte: %s", times,
			float64(after.Mallocs-before.Mallocs)/2/float64(len(body)), name)
	}
}

// What a byte costs does not depend on the size of the body; benchmarks/README.md has the figures.
func BenchmarkHostileBodies(b *testing.B) {
	for _, mib := range []int{4, 8, 16} {
		for name, body := range hostileBodies(mib << 20) {
			b.Run(fmt.Sprintf("%s/%d MiB", name, mib), func(b *testing.B) {
				data := []byte(body)
				b.ReportAllocs()
				b.SetBytes(2 * int64(len(data)))
				start := cpuTime()
				for b.Loop() {
					_ = readHostile(data)
				}
				b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/float64(2*len(data)), "cpu-ns/B")
			})
		}
	}
}
