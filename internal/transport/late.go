package transport

import "net/http"

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
	if c, ok := t.current().(idleCloser); ok {
		c.CloseIdleConnections()
	}
}

// idleCloser is what http.Client asks of a transport to close its idle connections.
type idleCloser interface{ CloseIdleConnections() }

func (t *lateTransport) current() http.RoundTripper {
	switch {
	case t.given != nil:
		return t.given
	case t.client != nil && t.client.Transport != nil:
		return t.client.Transport
	case originalTransport == nil || !isOriginal(http.DefaultTransport):
		return http.DefaultTransport
	default:
		return sharedPool()
	}
}

// originalTransport tells whether somebody has replaced http.DefaultTransport since the program began. It is nil if
// that was done before this package was initialized.
var originalTransport, _ = http.DefaultTransport.(*http.Transport)

// isOriginal compares pointers alone: two transports as interfaces may be of a type that cannot be compared, a func.
func isOriginal(rt http.RoundTripper) bool {
	std, ok := rt.(*http.Transport)
	return ok && std == originalTransport
}
