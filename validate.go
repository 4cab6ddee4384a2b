package wechatuser

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNameBytes is the length of a tag's name and of a remark. The platform counts bytes of UTF-8, although its pages
// speak of characters.
const maxNameBytes = 30

// argumentError returns the error for an argument of the endpoint.
func (e *endpoint) argumentError(field, format string, args ...any) error {
	return argumentError(e.api, field, format, args...)
}

// checkContext rejects a nil context, which would panic somewhere below.
func checkContext(api string, ctx context.Context) error { //nolint:revive // the context is what is checked
	if ctx == nil {
		return argumentError(api, "ctx", "nil context: pass context.Background() if there is none")
	}
	return nil
}

// checkOpenID rejects what cannot be an openid. Its form is not documented, so nothing more is checked.
func (e *endpoint) checkOpenID(field, openID string) error {
	switch {
	case openID == "":
		return e.argumentError(field, "empty openid")
	case !isWord(openID):
		return e.argumentError(field, "%q is not an openid: it contains %s", openID, notOfWord(openID))
	}
	return nil
}

// isWord reports whether s has only characters that an identifier may have.
func isWord(s string) bool { return notOfWord(s) == "" }

// notOfWord names the first thing in s that an identifier cannot have, "" if there is none. Some of it cannot be seen,
// such as a byte order mark at the start of a file, or a zero-width space that was copied from a web page.
func notOfWord(s string) string {
	ascii := true // as all openids are, of which a job checks millions
	for i := 0; i < len(s) && ascii; i++ {
		ascii = ' ' < s[i] && s[i] < 0x7f
	}
	if ascii {
		return ""
	}
	if !utf8.ValidString(s) {
		return "invalid UTF-8"
	}
	for _, r := range s {
		switch {
		case r == ' ', unicode.IsControl(r):
			return "a space or a control character"
		case unicode.IsSpace(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			return fmt.Sprintf("U+%04X", r)
		}
	}
	return ""
}

// wordOf returns s without the characters that an identifier cannot have.
func wordOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !isWord(string(r)) {
			return -1
		}
		return r
	}, s)
}

// checkCursor is checkOpenID for a cursor, which is empty at the beginning of a list.
func (e *endpoint) checkCursor(field, openID string) error {
	if openID == "" {
		return nil
	}
	return e.checkOpenID(field, openID)
}

// checkOpenIDs checks the openids of one call.
func (e *endpoint) checkOpenIDs(field string, openIDs []string) error {
	if err := e.checkSize(field, len(openIDs)); err != nil {
		return err
	}
	for i, id := range openIDs {
		switch {
		case id == "":
			return e.argumentError(field, "openid %d of %d is empty", i+1, len(openIDs))
		case !isWord(id):
			return e.argumentError(field, "openid %d of %d, %q, contains %s", i+1, len(openIDs), id, notOfWord(id))
		}
	}
	return nil
}

func (e *endpoint) checkSize(field string, n int) error {
	switch {
	case n == 0:
		return e.argumentError(field, "empty list")
	case n > e.max:
		return e.argumentError(field, "%d openids, but one call takes at most %d: use %s for any number", n, e.max, e.bulk)
	}
	return nil
}

// checkText checks a name or a remark.
func (e *endpoint) checkText(field, text string) error {
	switch {
	case !utf8.ValidString(text):
		return e.argumentError(field, "not valid UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 }):
		// JSON has to escape it, and the platform stores the escape: \u0001 would be six characters.
		return e.argumentError(field, "%q contains a control character, which the platform does not store as one", text)
	case len(text) > maxNameBytes:
		return e.argumentError(field, "%q has %d bytes of UTF-8, at most %d are allowed (a Chinese character has 3)",
			text, len(text), maxNameBytes)
	}
	return nil
}

func (e *endpoint) checkTagName(name string) error {
	if name == "" {
		return e.argumentError("name", "empty name")
	}
	return e.checkText("name", name)
}

func (e *endpoint) checkTagID(tagID int) error {
	if tagID <= 0 {
		return e.argumentError("tagid", "%d is not the ID of a tag: pass the ID of a Tag", tagID)
	}
	return nil
}

// checkPath checks the path of an API, such as "/cgi-bin/user/get".
func (e *endpoint) checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") || strings.Contains(path, "//") || !isWord(path) {
		return e.argumentError("cgi_path", "%q is not the path of an API: it has a leading slash and neither host nor query, such as %q",
			path, endpoints[getFans].path)
	}
	return nil
}

// isNil reports whether v is nil or an interface with a nil pointer, which would panic at the first call.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice, reflect.Interface:
		return rv.IsNil()
	default:
		return false
	}
}
