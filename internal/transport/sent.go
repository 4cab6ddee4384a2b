package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
)

// sentTrace records what net/http does with a request. Other transports do not report it.
type sentTrace struct {
	own bool // it was taken from traces, and is not part of another trace
	httptrace.ClientTrace
	asked  atomic.Bool  // net/http has asked for a connection
	got    atomic.Int32 // connections; it writes to each at once, and uses more than one if it sends the request again
	reused atomic.Bool  // the last connection was not new
}

var traces = sync.Pool{New: func() any { return newSentTrace() }}

func newSentTrace() *sentTrace {
	t := new(sentTrace)
	t.GetConn = func(string) { t.asked.Store(true) }
	t.GotConn = func(info httptrace.GotConnInfo) {
		t.got.Add(1)
		t.reused.Store(info.Reused)
	}
	return t
}

// watch returns a context whose request is recorded. A trace of the caller's remains in use.
func watch(ctx context.Context) (context.Context, *sentTrace) {
	t := newSentTraceFor(ctx)
	return httptrace.WithClientTrace(ctx, &t.ClientTrace), t
}

func newSentTraceFor(ctx context.Context) *sentTrace {
	if httptrace.ContextClientTrace(ctx) != nil { // WithClientTrace makes it part of this one
		return newSentTrace()
	}
	t := traces.Get().(*sentTrace)
	t.own = true
	return t
}

// release makes the trace usable for another request. This one must be over, and was sent by net/http itself: other
// transports may leave something running that uses the trace later.
func (t *sentTrace) release() {
	if !t.own {
		return
	}
	t.asked.Store(false)
	t.got.Store(0)
	t.reused.Store(false)
	traces.Put(t)
}

// sent reports whether a request that failed with err may have reached the host.
func (t *sentTrace) sent(err error) bool {
	if t.asked.Load() {
		return t.got.Load() > 0
	}
	return !failedBeforeSending(err)
}

// failedBeforeSending reports whether err is an error of DNS, dial or the TLS handshake, from any transport.
func failedBeforeSending(err error) bool {
	var (
		op        *net.OpError
		dns       *net.DNSError
		cert      *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
	)
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) ||
		errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &hostname)
}

// isTimeout reports whether err is a time-out of the transport.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// withoutURL unwraps the *url.Error of net/http: it contains the URL, and so the token.
func withoutURL(err error) error {
	for {
		ue, ok := err.(*url.Error) //nolint:errorlint // only the outermost layer is removed
		if !ok || ue.Err == nil {
			return err
		}
		err = ue.Err
	}
}
