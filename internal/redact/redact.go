// Package redact keeps secrets out of texts and errors that come from elsewhere: the platform, a transport, a token
// store.
package redact

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
)

// Redactor redacts these secrets, and whatever a URL names as one. The zero value knows no secret of its own.
type Redactor struct {
	secrets []string
}

// New returns a Redactor for these secrets.
func New(secrets ...string) Redactor { return Redactor{secrets} }

// Format keeps the secrets out of whatever prints the Redactor.
func (r Redactor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redact.Redactor") }

// Text returns text without the secrets. Redact first and cut the text afterwards: a secret that is cut is not found.
func (r Redactor) Text(text string) string {
	return Param(Param(redactSecrets(text, r.secrets...), "access_token="), "secret=")
}

// Error returns err as it is if it leaks nothing, so that errors.As finds what is in it. Otherwise it returns an error
// of which only the redacted text is left, without URLs, and what errors.Is says of err.
func (r Redactor) Error(err error) error {
	if err == nil || !r.leaks(err) {
		return err
	}
	return &sealedError{
		text:    r.Text(anyURL.ReplaceAllString(err.Error(), redacted)),
		is:      func(target error) bool { return errors.Is(err, target) },
		timeout: isTimeout(err),
	}
}

var anyURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]*`)

// leaks reports whether a secret is seen when the error, or one that it wraps, is printed in any way.
func (r Redactor) leaks(err error) bool {
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, err); r.Text(text) != text {
			return true
		}
	}
	switch e := err.(type) { //nolint:errorlint // this walks the chain itself
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		return inner != nil && r.leaks(inner)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(inner error) bool { return inner != nil && r.leaks(inner) })
	}
	return false
}

// sealedError is an error of which only a redacted text is left, and what errors.Is said of it.
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
