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

// sentTrace records what net/http does with a request. Other transports do not report it.
type sentTrace struct {
	httptrace.ClientTrace
	asked  atomic.Bool  // net/http has asked for a connection
	got    atomic.Int32 // connections; it writes to each at once, and uses more than one if it sends the request again
	reused atomic.Bool  // the last connection was not new
}

func (t *sentTrace) watch(ctx context.Context) context.Context {
	t.GetConn = func(string) { t.asked.Store(true) }
	t.GotConn = func(info httptrace.GotConnInfo) {
		t.got.Add(1)
		t.reused.Store(info.Reused)
	}
	return httptrace.WithClientTrace(ctx, &t.ClientTrace)
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
