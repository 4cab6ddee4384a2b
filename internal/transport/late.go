package transport

import (
	"net/http"
	"sync"
)

// lateTransport chooses the transport at each request, so that what a test or a program later puts into the user's
// client or into http.DefaultTransport takes effect, while nobody's client is modified.
type lateTransport struct {
	given  http.RoundTripper
	client *http.Client
}

func (t *lateTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.current().RoundTrip(req)
}

// CloseIdleConnections makes (*http.Client).CloseIdleConnections work on the client that has this transport.
func (t *lateTransport) CloseIdleConnections() {
	if c, ok := t.current().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *lateTransport) current() http.RoundTripper {
	switch {
	case t.given != nil:
		return t.given
	case t.client != nil && t.client.Transport != nil:
		return t.client.Transport
	case http.DefaultTransport != originalTransport:
		return http.DefaultTransport
	default:
		return sharedTransport()
	}
}

// originalTransport tells whether somebody has replaced http.DefaultTransport since the program began.
var originalTransport = http.DefaultTransport

// sharedTransport is used by all clients that were not given a transport. The platform speaks HTTP/1.1, where the two
// idle connections of the default make each further concurrent call a new TLS handshake.
var sharedTransport = sync.OnceValue(func() http.RoundTripper {
	std, ok := originalTransport.(*http.Transport)
	if !ok {
		return originalTransport
	}
	t := std.Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = 64
	return t
})
