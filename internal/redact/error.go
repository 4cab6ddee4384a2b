package redact

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
)

// Rebuild returns a copy of err without secrets, or err itself if it has none. It handles the error types of the caller
// of this package and reports false for any other. It uses r for the texts and errors in err.
type Rebuild func(r Redactor, err error) (rebuilt error, ok bool)

// Rebuilding returns a Redactor that first passes each error to f.
func (r Redactor) Rebuilding(f Rebuild) Redactor {
	r.rebuild = f
	return r
}

// Trusting returns a Redactor that does not change err, wherever it occurs in another error.
func (r Redactor) Trusting(err error) Redactor {
	r.trusted = err
	return r
}

// Error returns err without secrets: none is in its text, and none can be reached with errors.As, package reflect,
// encoding/json or a printer that ignores methods.
//
// An error of the standard library is returned unchanged if all its values are of the standard library and have no
// secret. Otherwise [net.OpError] and similar types are copied without secrets. Any other error, and a [url.Error], can
// contain a URL or a request. It is replaced by an error that keeps only the redacted text, whether it is a timeout,
// the results of errors.Is, and the wrapped errors, each of them redacted too.
func (r Redactor) Error(err error) error {
	r = r.Prepared()
	s := sealer{r: r, m: r.ready, errors: maxErrors, values: maxValues}
	return s.seal(err)
}

// Limits of the errors of a chain or tree, and of the values in them, that are examined. An error can refer to itself.
const (
	maxErrors = 100
	maxValues = 10_000
)

// sealer implements Redactor.Error. It counts down how many errors and values it may still examine.
type sealer struct {
	r              Redactor
	m              *matcher
	errors, values int
}

func (s *sealer) seal(err error) error {
	s.errors--
	switch {
	case err == nil, isSame(err, s.r.trusted):
		return err
	case isNilPointer(err):
		return &sealedError{text: fmt.Sprintf("nil %T", err), is: func(target error) bool { return isSame(err, target) }}
	}
	if s.r.rebuild != nil {
		if rebuilt, ok := s.r.rebuild(s.r, err); ok {
			if rebuilt == err { //nolint:errorlint // whether it is a copy
				return err
			}
			return s.sealed(err, rebuilt)
		}
	}
	if s.isHarmless(reflect.ValueOf(err)) && s.errorText(err.Error()) == err.Error() {
		return err
	}
	if c := s.copied(err); c != nil {
		return s.sealed(err, c)
	}
	var inner []error
	switch e := err.(type) { //nolint:errorlint // this walks the chain itself
	case interface{ Unwrap() error }:
		inner = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		inner = e.Unwrap()
	}
	var redacted []error
	for _, err := range inner {
		if err != nil && s.errors > 0 {
			redacted = append(redacted, s.seal(err))
		}
	}
	return s.sealed(err, redacted...)
}

// isSame compares errors as errors.Is does.
func isSame(err, target error) bool {
	return target != nil && reflect.TypeOf(target).Comparable() && err == target //nolint:errorlint // deliberately
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// copied returns a copy without secrets of an error that programs look for with errors.As, or nil for any other error.
func (s *sealer) copied(err error) error {
	switch e := err.(type) { //nolint:errorlint // this walks the chain itself
	case *net.OpError:
		return &net.OpError{
			Op: s.m.text(e.Op), Net: s.m.text(e.Net), Source: s.addr(e.Source), Addr: s.addr(e.Addr), Err: s.inner(e.Err),
		}
	case *net.DNSError:
		c := *e
		c.Err, c.Name, c.Server = s.m.text(e.Err), s.m.text(e.Name), s.m.text(e.Server)
		c.UnwrapErr = s.inner(e.UnwrapErr)
		return &c
	case *fs.PathError:
		return &fs.PathError{Op: s.m.text(e.Op), Path: s.m.text(e.Path), Err: s.inner(e.Err)}
	case *os.SyscallError:
		return &os.SyscallError{Syscall: s.m.text(e.Syscall), Err: s.inner(e.Err)}
	case *tls.CertificateVerificationError:
		return &tls.CertificateVerificationError{UnverifiedCertificates: e.UnverifiedCertificates, Err: s.inner(e.Err)}
	case tls.RecordHeaderError:
		return tls.RecordHeaderError{Msg: s.m.text(e.Msg), RecordHeader: e.RecordHeader} // without the connection
	}
	return nil
}

// inner is seal for the field of a copy.
func (s *sealer) inner(err error) error {
	if err != nil && s.errors <= 0 {
		return errors.New("further errors")
	}
	return s.seal(err)
}

// addr returns an address of package net unchanged if it has no secret, and any other as its redacted text.
func (s *sealer) addr(a net.Addr) net.Addr {
	if a == nil || s.isHarmless(reflect.ValueOf(a)) {
		return a
	}
	return textAddr{s.m.text(a.Network()), s.errorText(a.String())}
}

// textAddr is an address of which only the text is left.
type textAddr struct{ network, text string }

func (a textAddr) Network() string { return a.network }
func (a textAddr) String() string  { return a.text }

func (s *sealer) sealed(err error, inner ...error) error {
	return &sealedError{
		text:    s.errorText(err.Error()),
		is:      func(target error) bool { return errors.Is(err, target) },
		timeout: isTimeout(err),
		inner:   inner,
	}
}

// errorText returns the text of an error without secrets. If the text has one, all its URLs are removed; otherwise only
// the user name and password in URLs are.
func (s *sealer) errorText(text string) string {
	if !s.m.isClean(text) {
		return s.m.text(anyURL.ReplaceAllString(text, redacted))
	}
	return userInfo.ReplaceAllString(text, "${1}"+redacted+"@")
}

var (
	anyURL   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]*`)
	userInfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>\\/?#@]*@`)
)

// sealedError replaces an error. It has the redacted text, the results of errors.Is, and the redacted wrapped errors.
// The original error can't be reached, since only a closure holds it.
type sealedError struct {
	text    string
	is      func(error) bool
	timeout bool
	inner   []error
}

func (e *sealedError) Error() string        { return e.text }
func (e *sealedError) Is(target error) bool { return e.is(target) }
func (e *sealedError) Unwrap() []error      { return e.inner }
func (e *sealedError) Timeout() bool        { return e.timeout }
func (e *sealedError) Temporary() bool      { return false }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// isHarmless reports whether all values that can be reached from v are of the standard library and have no secret.
func (s *sealer) isHarmless(v reflect.Value) bool {
	if !v.IsValid() {
		return true // a nil interface or the target of a nil pointer
	}
	s.values--
	t := v.Type()
	switch {
	case s.values < 0, !isStandard(t), t == reflect.TypeFor[url.Error]():
		return false
	case t == reflect.TypeFor[x509.Certificate](), t.Implements(reflect.TypeFor[reflect.Type]()):
		return true // a certificate is public, and a reflect.Type only describes a type
	}
	switch v.Kind() {
	case reflect.String:
		return s.m.isClean(v.String())
	case reflect.Pointer, reflect.Interface:
		return s.isHarmless(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if !s.isHarmless(v.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return s.m.isClean(bytesOf(v))
		}
		for i := range v.Len() {
			if !s.isHarmless(v.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return v.IsZero()
	default:
		return true // numbers
	}
}

// bytesOf returns the content of a slice or an array of bytes, also of one in an unexported field.
func bytesOf(v reflect.Value) string {
	b := make([]byte, v.Len())
	for i := range b {
		b[i] = byte(v.Index(i).Uint()) //nolint:gosec // it is a byte
	}
	return string(b)
}

// isStandard reports whether a type is of the standard library or of its HTTP/2, or has no name.
func isStandard(t reflect.Type) bool {
	path := t.PkgPath()
	if path == "" || path == "golang.org/x/net/http2" {
		return true
	}
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "bufio", "compress", "context", "crypto", "encoding", "errors", "fmt", "hash", "internal", "io", "math",
		"mime", "net", "os", "reflect", "strconv", "strings", "sync", "syscall", "time", "unicode", "unique", "vendor":
		return true
	}
	return false
}
