package wechatuser

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNameBytes is how long a tag's name and a remark may be. The platform counts bytes of UTF-8, whatever its pages
// say of characters.
const maxNameBytes = 30

// refuse makes the error for an argument of an endpoint.
func (e *endpoint) refuse(field, format string, args ...any) error {
	return &ArgumentError{API: e.api, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// checkOpenID refuses what can't be an openid. What one looks like is not documented, so that nothing more is checked.
func (e *endpoint) checkOpenID(field, openID string) error {
	switch {
	case openID == "":
		return e.refuse(field, "empty openid")
	case !isWord(openID):
		return e.refuse(field, "%q is no openid: it holds a space or a control character", openID)
	}
	return nil
}

// isWord is false for what holds a character that no identifier has.
func isWord(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// checkCursor is checkOpenID where empty means the beginning of a list.
func (e *endpoint) checkCursor(field, openID string) error {
	if openID == "" {
		return nil
	}
	return e.checkOpenID(field, openID)
}

// checkOpenIDs checks a list that goes out in one call.
func (e *endpoint) checkOpenIDs(field string, openIDs []string) error {
	if err := e.checkSize(field, len(openIDs)); err != nil {
		return err
	}
	for i, id := range openIDs {
		if e.checkOpenID(field, id) != nil {
			return e.refuse(field, "openid %d of %d, %q, is empty or holds a space or a control character", i+1, len(openIDs), id)
		}
	}
	return nil
}

func (e *endpoint) checkSize(field string, n int) error {
	switch {
	case n == 0:
		return e.refuse(field, "empty list")
	case n > e.max:
		return e.refuse(field, "%d openids, at most %d in one call: use %s for any number", n, e.max, e.bulk)
	}
	return nil
}

// checkText checks a name or a remark.
func (e *endpoint) checkText(field, text string) error {
	switch {
	case !utf8.ValidString(text):
		return e.refuse(field, "not valid UTF-8")
	case len(text) > maxNameBytes:
		return e.refuse(field, "%q has %d bytes in UTF-8, at most %d (a Chinese character has 3)", text, len(text), maxNameBytes)
	}
	return nil
}

func (e *endpoint) checkTagID(tagID int) error {
	if tagID < 0 {
		return e.refuse("tagid", "%d is below zero", tagID)
	}
	return nil
}

// checkPath checks the path of an API, such as "/cgi-bin/user/get".
func (e *endpoint) checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") || strings.Contains(path, "//") || !isWord(path) {
		return e.refuse("cgi_path", "%q is no path of an API: give it with its leading slash, without host and query, such as %q", path, endpoints[getFans].path)
	}
	return nil
}
