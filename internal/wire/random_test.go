package wire

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

var bodies = flag.Int("bodies", 0,
	"how many random bodies TestRandomBodies reads; 0 for 5,000, or 500,000 with WECHATUSER_FULL")

// Random bodies are read as encoding/json reads them, as long as the types are right, and as the reference does if they
// vary. A body is nearly always valid, so that most of it is read; FuzzUnmarshal has the others.
func TestRandomBodies(t *testing.T) {
	n := *bodies
	switch {
	case n > 0:
	case os.Getenv("WECHATUSER_FULL") != "":
		n = 500_000
	default:
		n = 5_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i := range n / 2 {
		if g.lenient = i%8 == 0; g.lenient {
			requireReference[profiles](t, g.body(reflect.TypeFor[profiles]()))
			requireReference[open](t, g.body(reflect.TypeFor[open]()))
			continue
		}
		requireJSON[profiles](t, g.body(reflect.TypeFor[profiles]()))
		requireJSON[page](t, g.body(reflect.TypeFor[page]()))
	}
}

// generator writes random JSON.
type generator struct {
	*rand.Rand
	lenient bool // types vary, and names occur twice

	strings.Builder
}

func (g *generator) body(t reflect.Type) []byte {
	g.Reset()
	if g.lenient && g.one(20) {
		g.WriteString(bom)
	}
	g.space()
	g.value(t, 0)
	g.space()
	body := []byte(g.String())
	if g.lenient && g.one(20) { // a byte that does not belong there
		const stray = "\"\\{}[],:0\x01\xff\xe5a "
		body[g.IntN(len(body))] = stray[g.IntN(len(stray))]
	}
	return body
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func (g *generator) pick(texts ...string) { g.WriteString(texts[g.IntN(len(texts))]) }

func (g *generator) space() {
	if g.one(6) {
		for range g.IntN(20) {
			g.pick(" ", " ", " ", "\n", "\t", "\r")
		}
	}
}

func (g *generator) list(n int, begin, end string, item func(i int)) {
	g.WriteString(begin)
	g.space()
	for i := range n / 2 {
		if i > 0 {
			g.WriteString(",")
			g.space()
		}
		item(i)
		g.space()
	}
	g.WriteString(end)
}

// value writes a value for the type.
func (g *generator) value(t reflect.Type, depth int) {
	if g.lenient && depth > 0 && g.one(8) {
		if g.one(3) {
			g.any(depth)
		} else {
			g.pick("null", `""`, "[]", "{}", "[ ]", `"12"`, "12", "1.0", "-2e2", `"1e1"`)
		}
		return
	}
	switch {
	case t.Kind() == reflect.Pointer:
		g.value(t.Elem(), depth)
	case t.Kind() == reflect.String:
		g.text()
	case t.Kind() == reflect.Slice:
		g.list(g.IntN(4), "[", "]", func(int) { g.value(t.Elem(), depth+1) })
	case t.Kind() == reflect.Struct:
		g.object(t, depth)
	default:
		switch g.IntN(4) {
		case 0:
			fmt.Fprint(g, g.IntN(3))
		case 1:
			fmt.Fprint(g, int64(g.Uint64()))
		default:
			fmt.Fprint(g, int64(g.Uint64())>>g.IntN(64))
		}
	}
}

func (g *generator) object(t reflect.Type, depth int) {
	var members []func()
	for _, sf := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous || name == "" || name == "-" || len(sf.Index) > 1 && !t.Field(sf.Index[0]).Anonymous ||
			g.one(3) {
			continue
		}
		member := func() {
			switch {
			case g.one(30):
				name := []byte(name)
				i := g.IntN(len(name))
				fmt.Fprintf(g, `"%s\u%04x%s"`, name[:i], name[i], name[i+1:])
			case g.one(30):
				g.WriteString(`"` + strings.ToUpper(name) + `"`)
			default:
				g.WriteString(`"` + name + `"`)
			}
			g.space()
			g.WriteString(":")
			g.space()
			g.value(sf.Type, depth+1)
		}
		members = append(members, member)
		if g.lenient && g.one(20) {
			members = append(members, member)
		}
	}
	for range g.IntN(3) {
		members = append(members, func() {
			g.pick(`"x"`, `"new"`, `"\n"`, `"openid\u0020"`, `"y\""`, "\"大\"", `"X"`)
			g.WriteString(":")
			g.space()
			g.any(depth + 1)
		})
	}
	if g.one(3) {
		g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	}
	g.list(len(members), "{", "}", func(i int) { members[i]() })
}

// any writes any value.
func (g *generator) any(depth int) {
	switch n := g.IntN(8); {
	case n == 0 && depth < 5:
		g.list(g.IntN(3), "[", "]", func(int) { g.any(depth + 1) })
	case n == 1 && depth < 5:
		g.list(g.IntN(3), "{", "}", func(int) {
			g.text()
			g.WriteString(":")
			g.any(depth + 1)
		})
	case n < 4:
		g.text()
	case n == 4:
		g.pick("null", "true", "false")
	default:
		g.pick("0", "-0", "12", "-1.5", "1e5", "2E-3", "0.0", "123456789012345678901234567890", "1.5e+300", "7200.00")
	}
}

func (g *generator) text() {
	g.WriteString(`"`)
	for range g.IntN(4) {
		switch g.IntN(8) {
		case 0:
			g.pick(`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`)
		case 1:
			fmt.Fprintf(g, `\u%04x`, g.IntN(1<<16))
		case 2:
			fmt.Fprintf(g, `\ud8%02x\uDC%02X`, g.IntN(256), g.IntN(256))
		case 3:
			g.pick("大客户", "é", "\U0001f600", "\u2028")
		case 4:
			g.pick("\xff", "\xe5", "\x80", "\xed\xa0\x80", "\xf0\x9f")
		default:
			for range g.IntN(20) {
				g.WriteByte(byte('a' + g.IntN(26)))
			}
		}
	}
	g.WriteString(`"`)
}
