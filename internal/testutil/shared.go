package testutil

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
)

// sharedPart returns 8 characters in a row that a text shares with a secret, in whatever case and encoding and whatever
// splits them; "" if there are none.
func sharedPart(text, secret string) string {
	shared := func(view, secret string) string {
		for i := 0; i+8 <= len(secret); i++ {
			if strings.Contains(view, secret[i:i+8]) {
				return secret[i : i+8]
			}
		}
		return ""
	}
	lower, squeezed := strings.ToLower(secret), squeeze(secret)
	views, seen := []string{text}, map[string]bool{}
	for range 4 { // encodings around each other
		var next []string
		for _, view := range views {
			if len(view) < 8 || seen[view] {
				continue
			}
			seen[view] = true
			if part := shared(strings.ToLower(view), lower); part != "" {
				return part
			}
			if part := shared(squeeze(view), squeezed); part != "" {
				return part
			}
			next = append(next, decodings(view)...)
		}
		views = next
	}
	return ""
}

var (
	anyTag   = regexp.MustCompile(`<[A-Za-z/!][^<>]*>`)
	percent  = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	escaped  = regexp.MustCompile(`\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}|["\\/])`)
	hexRun   = regexp.MustCompile(`(?:[0-9A-Fa-f][\s:]?){15,}[0-9A-Fa-f]`)
	base64ed = regexp.MustCompile(`[A-Za-z0-9+/_-]{11,}`)
	numbers  = regexp.MustCompile(`(?:\b(?:0x[0-9A-Fa-f]{1,2}|[0-9]{1,3})\b[\s,]*){8,}`)
	oneLine  = strings.NewReplacer("\n", "", "\r", "", " ", "")
	toStd    = strings.NewReplacer("-", "+", "_", "/") // base64url to base64
	oneOf    = regexp.MustCompile(`[0-9A-Fa-fx]+`)
)

// decodings returns what a text may be an encoding of, for each encoding.
func decodings(text string) (all []string) {
	add := func(decoded string) {
		if decoded != text {
			all = append(all, decoded)
		}
	}
	add(anyTag.ReplaceAllString(text, ""))
	add(html.UnescapeString(text))
	add(percent.ReplaceAllStringFunc(text, func(s string) string {
		plain, _ := url.PathUnescape(s)
		return plain
	}))
	add(escaped.ReplaceAllStringFunc(text, func(s string) string {
		plain, err := strconv.Unquote(`"` + s + `"`)
		if err != nil {
			return s[1:]
		}
		return plain
	}))
	for _, run := range hexRun.FindAllString(text, -1) {
		run = strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || r == ':' {
				return -1
			}
			return r
		}, run)
		for skip := range 2 {
			data, _ := hex.DecodeString(run[skip:]) // up to half a byte at the end
			add(string(data))
		}
	}
	for _, run := range base64ed.FindAllString(oneLine.Replace(text), -1) {
		run = toStd.Replace(run)
		for skip := range 4 {
			part := run[skip:]
			data, _ := base64.RawStdEncoding.DecodeString(part[:len(part)/4*4])
			add(string(data))
		}
	}
	for _, run := range numbers.FindAllString(text, -1) {
		var data []byte
		for _, number := range oneOf.FindAllString(run, -1) {
			n, _ := strconv.ParseUint(number, 0, 8)
			data = append(data, byte(n))
		}
		add(string(data))
	}
	return all
}

// squeeze returns the letters and digits of a text, in lower case.
func squeeze(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '*' {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// Reach returns all texts that can be reached from a value, also in unexported fields: what a printer finds that
// ignores methods.
func Reach(v any) (texts []string) {
	var walk func(v reflect.Value, depth int)
	walk = func(v reflect.Value, depth int) {
		if depth > 16 || !v.IsValid() {
			return
		}
		switch v.Kind() {
		case reflect.String:
			texts = append(texts, v.String())
		case reflect.Pointer, reflect.Interface:
			walk(v.Elem(), depth+1)
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), depth+1)
			}
		case reflect.Slice, reflect.Array:
			var text []byte
			for i := range v.Len() {
				if item := v.Index(i); item.Kind() == reflect.Uint8 {
					text = append(text, byte(item.Uint()))
				} else {
					walk(item, depth+1)
				}
			}
			texts = append(texts, string(text))
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(key, depth+1)
				walk(v.MapIndex(key), depth+1)
			}
		default:
		}
	}
	walk(reflect.ValueOf(v), 0)
	return texts
}

// cleanTexts are the texts that were found clean: most come many times.
var cleanTexts sync.Map

// checkout is the folder of the module, as stack traces show it. Its name is not a secret, whatever it ends with.
var checkout = func() string {
	_, file, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(file, "/internal/testutil/shared.go")
}()

// AssertClean fails if a text shares 8 characters in a row with the token or the secret, in any encoding.
func AssertClean(t testing.TB, text string) {
	t.Helper()
	if _, ok := cleanTexts.Load(text); ok {
		return
	}
	shown := strings.ReplaceAll(text, checkout, "")
	for _, secret := range []string{Token, Secret} {
		if part := sharedPart(shown, secret); part != "" {
			assert.Fail(t, "a secret is shown", "%q is in %s", part, text)
			return
		}
	}
	cleanTexts.Store(text, true)
}
