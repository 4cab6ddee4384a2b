package redact

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reach appends all texts that can be reached from v, as a printer that ignores methods reaches them.
func reach(texts *[]string, v reflect.Value, depth int) {
	if depth > 12 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		*texts = append(*texts, v.String())
	case reflect.Pointer, reflect.Interface:
		reach(texts, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			reach(texts, v.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			*texts = append(*texts, bytesOf(v))
			return
		}
		for i := range v.Len() {
			reach(texts, v.Index(i), depth+1)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			reach(texts, key, depth+1)
			reach(texts, v.MapIndex(key), depth+1)
		}
	}
}

// requireSealed fails if a secret can be reached in an error.
func requireSealed(t *testing.T, err error) {
	t.Helper()
	var texts []string
	reach(&texts, reflect.ValueOf(err), 0)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		texts = append(texts, fmt.Sprintf(verb, err))
	}
	if data, err := json.Marshal(err); err == nil {
		texts = append(texts, string(data))
	}
	for _, text := range texts {
		for _, secret := range []string{token, secret} {
			for part := range parts(secret) {
				require.NotContains(t, text, part)
			}
		}
	}
}

// Errors of a transport that hold secrets.
type (
	requestError struct{ Request *http.Request } // behind a pointer
	textError    struct{ text string }           // in its text
	closureError struct{ text func() string }    // in a text that it makes when asked
	wrapError    struct{ inner error }           // in what it wraps
	mapError     map[string]string               // which can't be compared
	timeoutError struct{ detail string }
	formatError  struct{ detail string } // printed with one verb only
	stringAddr   string
)

func (*requestError) Error() string { return "request failed" }
func (e textError) Error() string   { return e.text }
func (e closureError) Error() string {
	return e.text()
}
func (e *wrapError) Error() string  { return "wrapped" }
func (e *wrapError) Unwrap() error  { return e.inner }
func (mapError) Error() string      { return "map" }
func (*timeoutError) Error() string { return "took too long" }
func (*timeoutError) Timeout() bool { return true }
func (*formatError) Error() string  { return "failed" }
func (e *formatError) Format(f fmt.State, verb rune) {
	_, _ = io.WriteString(f, "failed")
	if verb == 'v' && f.Flag('+') {
		_, _ = io.WriteString(f, e.detail)
	}
}
func (a stringAddr) Network() string { return "proxy" }
func (a stringAddr) String() string  { return string(a) }

func request(t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"https://api.weixin.qq.com/x?access_token="+token, strings.NewReader(secret))
	require.NoError(t, err)
	return req
}

func TestErrorOfTheStandardLibraryStays(t *testing.T) {
	r := New(token, secret)
	require.NoError(t, r.Error(nil))
	dial := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 443},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	var typed *json.UnmarshalTypeError
	require.ErrorAs(t, json.Unmarshal([]byte(`{"a":"b"}`), &struct{ A int }{}), &typed)
	for _, err := range []error{
		io.EOF, context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, net.ErrClosed,
		http.ErrHandlerTimeout,
		errors.New("failed"), dial, typed, syscall.ECONNRESET,
		fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist}),
		errors.Join(dial, fmt.Errorf("%w: %w", context.Canceled, io.ErrUnexpectedEOF)),
		&net.DNSError{Err: "no such host", Name: "api.weixin.qq.com", IsNotFound: true},
		x509.HostnameError{Certificate: &x509.Certificate{}, Host: "api.weixin.qq.com"},
		&tls.CertificateVerificationError{
			UnverifiedCertificates: []*x509.Certificate{{}}, Err: x509.UnknownAuthorityError{},
		},
		tls.AlertError(40), &http.MaxBytesError{Limit: 7},
	} {
		assert.Equal(t, fmt.Sprintf("%T %p", err, err), fmt.Sprintf("%T %p", r.Error(err), r.Error(err)))
		assert.Equal(t, err, r.Error(err))
	}
}

func TestErrorThatCanHoldASecretIsSealed(t *testing.T) {
	r := New(token, secret)
	req := request(t)
	for name, err := range map[string]error{
		"request":          &requestError{req},
		"in a text":        fmt.Errorf("sent %s: %w", token, os.ErrClosed),
		"cut in a text":    fmt.Errorf("sent %s: %w", token[:9], os.ErrClosed),
		"in a URL":         fmt.Errorf("Get https://api.weixin.qq.com/?access_token=%s: %w", token, os.ErrClosed),
		"errors.New":       errors.New(secret),
		"own type":         textError{token},
		"closure":          closureError{func() string { return req.URL.String() }},
		"wrapped":          &wrapError{&wrapError{&requestError{req}}},
		"joined":           errors.Join(os.ErrClosed, &requestError{req}),
		"not comparable":   mapError{"url": req.URL.String()},
		"with one verb":    &formatError{secret},
		"deep in a chain":  fmt.Errorf("a: %w", fmt.Errorf("b: %w", errors.Join(os.ErrClosed, &timeoutError{token}))),
		"url.Error":        &url.Error{Op: "Get", URL: req.URL.String(), Err: os.ErrClosed},
		"url.Error, clean": &url.Error{Op: "Get", URL: "https://example.com", Err: os.ErrClosed},
		"without a name":   struct{ *requestError }{&requestError{req}},
		"OpError": &net.OpError{
			Op: "dial", Net: "tcp", Addr: stringAddr(req.URL.String()), Err: &requestError{req},
		},
		"OpError, source": &net.OpError{
			Op: "dial " + token, Net: token, Source: &net.UnixAddr{Name: secret}, Err: errors.New(token),
		},
		"DNSError": &net.DNSError{
			Err: token, Name: req.URL.String(), Server: secret, UnwrapErr: &requestError{req},
		},
		"PathError":    &fs.PathError{Op: "open", Path: "/" + token, Err: &requestError{req}},
		"SyscallError": &os.SyscallError{Syscall: token, Err: &requestError{req}},
		"certificate": &tls.CertificateVerificationError{
			Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: token},
		},
		"RecordHeader": tls.RecordHeaderError{Msg: token, Conn: tls.Client(nil, &tls.Config{ServerName: token})},
		"bytes":        &net.ParseError{Type: token, Text: token},
		"function": struct {
			error
			get func() string
		}{os.ErrClosed, func() string { return token }},
		"list of bytes":    &tls.ECHRejectionError{RetryConfigList: []byte(token)},
		"sealed":           New().Error(&requestError{req}),
		"sealed too early": New().Error(textError{token}),
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Error(err)
			requireSealed(t, got)
			require.IsType(t, &sealedError{}, got)
			if reflect.TypeOf(err).Comparable() {
				require.ErrorIs(t, got, err, "it is still that error")
			}
			assert.Equal(t, errors.Is(err, os.ErrClosed), errors.Is(got, os.ErrClosed))
			require.NotErrorIs(t, got, context.Canceled)
			var (
				open *requestError
				ue   *url.Error
			)
			require.NotErrorAs(t, got, &open)
			require.NotErrorAs(t, got, &ue)
			requireSealed(t, r.Error(got))
			assert.Equal(t, got.Error(), r.Error(got).Error(), "once is enough")
		})
	}
}

// What programs look for in a chain is found, whatever is around it and in it.
func TestErrorKeepsWhatProgramsLookFor(t *testing.T) {
	r := New(token, secret)
	inner := &net.OpError{
		Op: "dial", Net: "tcp", Addr: stringAddr("proxy.example.com?" + token),
		Err: &net.DNSError{
			Err: "timeout", Name: token + ".example.com", IsTimeout: true, UnwrapErr: syscall.ECONNREFUSED,
		},
	}
	for _, err := range []error{
		inner, &wrapError{inner}, &url.Error{Op: "Get", URL: token, Err: inner}, errors.Join(io.EOF, &wrapError{inner}),
		&net.OpError{Op: "proxyconnect", Err: inner},
	} {
		got := r.Error(err)
		requireSealed(t, got)
		var (
			op  *net.OpError
			dns *net.DNSError
			no  syscall.Errno
			ne  net.Error
		)
		require.ErrorAs(t, got, &op)
		require.ErrorAs(t, got, &dns)
		require.ErrorAs(t, got, &no)
		require.ErrorAs(t, got, &ne)
		require.ErrorIs(t, got, inner)
		require.ErrorIs(t, got, syscall.ECONNREFUSED)
		assert.True(t, ne.Timeout())
		assert.Equal(t, "***.example.com", dns.Name)
		assert.Equal(t, syscall.ECONNREFUSED, no)
		assert.Contains(t, got.Error(),
			map[bool]string{true: "dial tcp", false: "wrapped"}[!strings.Contains(err.Error(), "wrapped")])
	}
	var op *net.OpError
	require.ErrorAs(t, r.Error(inner), &op)
	assert.Equal(t, "dial", op.Op)
	assert.Equal(t, "proxy", op.Addr.Network())
	assert.Equal(t, "proxy.example.com?***", op.Addr.String())

	var record tls.RecordHeaderError
	require.ErrorAs(t, r.Error(tls.RecordHeaderError{Msg: "m", RecordHeader: [5]byte{1}, Conn: tls.Client(nil, nil)}),
		&record)
	assert.Equal(t, tls.RecordHeaderError{Msg: "m", RecordHeader: [5]byte{1}}, record)
	var path *fs.PathError
	require.ErrorAs(t, r.Error(&wrapError{&fs.PathError{Op: "open", Path: "/" + token, Err: fs.ErrNotExist}}), &path)
	assert.Equal(t, fs.PathError{Op: "open", Path: "/***", Err: fs.ErrNotExist}, *path)
	var sys *os.SyscallError
	require.ErrorAs(t, r.Error(&os.SyscallError{Syscall: token, Err: syscall.EPIPE}), &sys)
	assert.Equal(t, os.SyscallError{Syscall: "***", Err: syscall.EPIPE}, *sys)
	var cert *tls.CertificateVerificationError
	require.ErrorAs(t,
		r.Error(&tls.CertificateVerificationError{
			UnverifiedCertificates: []*x509.Certificate{{}}, Err: textError{token},
		}), &cert)
	assert.Len(t, cert.UnverifiedCertificates, 1)
}

func TestErrorTexts(t *testing.T) {
	r := New(token, secret)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New(`Post "https://user:pass@example.com/x?secret=y&b=c": EOF ` + token), `Post "***": EOF ***`},
		{textError{"proxy https://proxy.example.com/x?y=z refused"}, "proxy https://proxy.example.com/x?y=z refused"},
		{
			textError{"proxy http://me:word@proxy.example.com/@x refused"},
			"proxy http://***@proxy.example.com/@x refused",
		},
		{errors.New("socks5://me@[::1]:1080 refused"), "socks5://***@[::1]:1080 refused"},
		{fmt.Errorf("a: %w", textError{"b"}), "a: b"},
		{(*requestError)(nil), "nil *redact.requestError"},
		{(*net.OpError)(nil), "nil *net.OpError"},
	} {
		assert.EqualError(t, r.Error(tt.err), tt.want)
	}
	nothing := (*requestError)(nil)
	require.ErrorIs(t, r.Error(nothing), nothing)
	require.NotErrorIs(t, r.Error(nothing), io.EOF)
}

func TestErrorKeepsTheTimeout(t *testing.T) {
	r := New(token)
	for _, err := range []error{&timeoutError{token}, fmt.Errorf("wrapped: %w", &timeoutError{token})} {
		var timeout net.Error
		require.ErrorAs(t, r.Error(err), &timeout)
		assert.True(t, timeout.Timeout())
	}
	var timeout net.Error
	require.ErrorAs(t, r.Error(errors.New(token)), &timeout)
	assert.False(t, timeout.Timeout())
}

func TestTrustedErrorStays(t *testing.T) {
	cause := &requestError{request(t)}
	r := New(token).Trusting(cause)
	assert.Same(t, cause, r.Error(cause))
	got := r.Error(fmt.Errorf("%w: %w", context.Canceled, &wrapError{cause}))
	var open *requestError
	require.ErrorAs(t, got, &open)
	assert.Same(t, cause, open)
	var wrap *wrapError
	require.NotErrorAs(t, got, &wrap)
	require.NotErrorAs(t, r.Error(&requestError{request(t)}), &open, "another one of its type is not trusted")
	requireSealed(t, New(token).Trusting(mapError{}).Error(mapError{"a": token}))
}

func TestErrorIsRebuilt(t *testing.T) {
	r := New(token).Rebuilding(func(r Redactor, err error) (error, bool) {
		e, ok := err.(textError) //nolint:errorlint // as the caller does
		if !ok {
			return nil, false
		}
		e.text = r.Text(e.text)
		return e, true
	})
	clean, dirty := textError{"clean"}, textError{"a " + token}
	assert.Equal(t, clean, r.Error(clean))
	require.ErrorIs(t, r.Error(dirty), dirty)
	got := r.Error(&wrapError{dirty})
	requireSealed(t, got)
	var e textError
	require.ErrorAs(t, got, &e)
	assert.Equal(t, "a ***", e.text)
	assert.ErrorIs(t, got, dirty)
}

// An error of many values is sealed after a while, and one of many errors is cut.
func TestLargeErrors(t *testing.T) {
	var errs []error
	for range 20_000 {
		errs = append(errs, io.EOF)
	}
	got := New(token).Error(errors.Join(errs...))
	require.ErrorIs(t, got, io.EOF)
	var sealed *sealedError
	require.ErrorAs(t, got, &sealed)
	assert.Len(t, sealed.inner, maxErrors-1)

	deep := error(textError{token})
	for range 2 * maxErrors {
		deep = &net.OpError{Op: "x", Err: deep}
	}
	deepest := deep
	requireSealed(t, New(token).Error(deep))
	assert.NotEmpty(t, New(token).Error(deep).Error())
	n := 0
	for op := (*net.OpError)(nil); errors.As(deep, &op); deep = op.Err {
		n++
	}
	require.Equal(t, 2*maxErrors, n)
	n = 0
	for got, op := New(token).Error(deepest), (*net.OpError)(nil); errors.As(got, &op); got = op.Err {
		n++
	}
	assert.Equal(t, maxErrors, n)
}

// http2 has types of its own, unexported ones in net/http, which errors.As takes for those of golang.org/x/net/http2.
func TestIsStandard(t *testing.T) {
	for value, want := range map[any]bool{
		io.EOF: true, net.UnknownNetworkError("x"): true, "text": true, [2]int{}: true, struct{}{}: true,
		bytes.ErrTooLarge: true,
		textError{}:       false, assert.AnError: true, assert.ObjectsAreEqual(1, 1): true,
	} {
		typ := reflect.TypeOf(value)
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		assert.Equal(t, want, isStandard(typ), typ.String())
	}
}
