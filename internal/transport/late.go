package transport

import (
	"net/http"
	"reflect"
)

// lateTransport looks up the transport at each request, so that later changes of the user's client or of
// http.DefaultTransport take effect. It modifies neither.
type lateTransport struct {
	given  http.RoundTripper
	client *http.Client

	header, bodyHeader http.Header // of requests that leave them to this transport
}

func (t *lateTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	rt := t.current()
	left := t.headerOf(req)
	if left == nil {
		return rt.RoundTrip(req)
	}
	// The request is this package's own, so that it can be changed.
	if req.Header = left; !isPool(rt) { // the transport was replaced in the meantime, and may change what it gets
		req.Header = left.Clone()
	}
	return rt.RoundTrip(req)
}

// headerOf returns the headers of a request that leaves them to this transport, and nil for others.
func (t *lateTransport) headerOf(req *http.Request) http.Header {
	if len(req.Header) > 0 {
		return nil
	}
	switch reflect.ValueOf(req.Header).Pointer() {
	case reflect.ValueOf(noHeader).Pointer():
		return t.header
	case reflect.ValueOf(noBodyHeader).Pointer():
		return t.bodyHeader
	}
	return nil
}

func isPool(rt any) bool {
	_, ok := rt.(*pool)
	return ok
}

// CloseIdleConnections makes (*http.Client).CloseIdleConnections work on the client that has this transport.
func (t *lateTransport) CloseIdleConnections() {
	if c, ok := t.current().(idleCloser); ok {
		c.CloseIdleConnections()
	}
}

// idleCloser is the interface by which http.Client closes the idle connections of a transport.
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

// originalTransport is http.DefaultTransport as it was when this package was initialized, or nil if it had been
// replaced by another type before that.
var originalTransport, _ = http.DefaultTransport.(*http.Transport)

// isOriginal compares pointers: comparing interfaces panics if a transport is of a type that can't be compared, such as
// a func.
func isOriginal(rt http.RoundTripper) bool {
	std, ok := rt.(*http.Transport)
	return ok && std == originalTransport
}
