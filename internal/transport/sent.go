package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// sentTrace records what net/http does with a request. Other transports do not tell.
type sentTrace struct {
	httptrace.ClientTrace
	asked  atomic.Bool  // for a connection
	got    atomic.Int32 // connections, and it writes to each at once; more than one if it repeated the request
	reused atomic.Bool  // the last one was not new
}

func (t *sentTrace) watch(ctx context.Context) context.Context {
	t.GetConn = func(string) { t.asked.Store(true) }
	t.GotConn = func(info httptrace.GotConnInfo) {
		t.got.Add(1)
		t.reused.Store(info.Reused)
	}
	return httptrace.WithClientTrace(ctx, &t.ClientTrace)
}

// sent reports whether the request may have reached the host, after it failed with err.
func (t *sentTrace) sent(err error) bool {
	if t.asked.Load() {
		return t.got.Load() > 0
	}
	return !failedBeforeSending(err)
}

// failedBeforeSending reports whether err is of DNS, dial or TLS handshake, whichever transport it comes from.
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

// withoutURL removes the *url.Error that net/http wraps errors in: it holds the URL, and so the token.
func withoutURL(err error) error {
	for {
		ue, ok := err.(*url.Error) //nolint:errorlint // only the outermost layer is removed
		if !ok || ue.Err == nil {
			return err
		}
		err = ue.Err
	}
}
