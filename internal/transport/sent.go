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

// sentTrace records whether net/http began to write the request. Other transports do not tell.
type sentTrace struct {
	httptrace.ClientTrace
	asked, wrote atomic.Bool
}

func (t *sentTrace) watch(ctx context.Context) context.Context {
	t.GetConn = func(string) { t.asked.Store(true) }
	t.WroteHeaders = func() { t.wrote.Store(true) }
	return httptrace.WithClientTrace(ctx, &t.ClientTrace)
}

func (t *sentTrace) neverSent() bool { return t.asked.Load() && !t.wrote.Load() }

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
