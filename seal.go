package wechatuser

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// masked keeps secrets out of a text that comes from elsewhere: these ones, and what a URL in it names as one.
func masked(text string, secrets ...string) string {
	return maskParam(maskParam(wire.Mask(text, secrets...), "access_token="), "secret=")
}

// maskParam masks the values of a query parameter, whoever they belong to.
func maskParam(text, mark string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(mark)
		text = strings.TrimLeft(after, paramValue)
		if len(text) < len(after) {
			b.WriteString("***")
		}
	}
}

// paramValue is what the value of a query parameter consists of.
const paramValue = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%+/=*"

// sealed keeps secrets out of an error that comes from elsewhere, such as a transport, and the URL that they were in.
// An error that shows none stays as it is, so that errors.As finds what is in it.
func sealed(err error, secrets ...string) error {
	if err == nil || !shows(err, secrets) {
		return err
	}
	return &sealedError{
		text:    masked(anyURL.ReplaceAllString(err.Error(), "***"), secrets...),
		is:      func(target error) bool { return errors.Is(err, target) },
		timeout: isTimeout(err),
	}
}

var anyURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]*`)

// shows reports whether a secret is seen when the error, or one that it wraps, is printed in any way.
func shows(err error, secrets []string) bool {
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, err); masked(text, secrets...) != text {
			return true
		}
	}
	switch e := err.(type) { //nolint:errorlint // this walks the chain itself
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		return inner != nil && shows(inner, secrets)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(inner error) bool { return inner != nil && shows(inner, secrets) })
	}
	return false
}

// sealedError is an error of which only the text without secrets is left, and what errors.Is said of it.
type sealedError struct {
	text    string
	is      func(error) bool
	timeout bool
}

func (e *sealedError) Error() string        { return e.text }
func (e *sealedError) Is(target error) bool { return e.is(target) }
func (e *sealedError) Timeout() bool        { return e.timeout }
func (e *sealedError) Temporary() bool      { return false }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
