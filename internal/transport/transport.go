// Package transport makes single HTTP requests to one of several hosts. It limits the size of bodies and reuses their
// memory. It knows nothing of the platform's API. It is the only package that imports resty.
package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
)

// Config configures a [Transport].
type Config struct {
	// BaseURLs are the addresses of the hosts in order of preference, without a slash at the end. There is at least
	// one.
	BaseURLs []string
	// RoundTripper sends all requests. If nil, the transport of Client does.
	RoundTripper http.RoundTripper
	// Client is never modified, and its transport is looked up at each request. If there is none, http.DefaultTransport
	// is used if a program has replaced it, and otherwise a shared transport with more idle connections.
	Client *http.Client
	// UserAgent is the header of that name.
	UserAgent string
}

// Transport makes HTTP requests. It is safe for concurrent use.
type Transport struct {
	Hosts *Hosts

	resty    *resty.Client
	blank    *resty.Request // what each request is before it is sent
	requests sync.Pool      // of *resty.Request, half a kilobyte each
	drops    drops          // of connections of a transport that is not ours
	// The headers of requests without a body, with a body, and with a body that net/http may send again. All requests
	// share them, so they must not change. resty adds only missing headers, and there are none, and makes a copy; with
	// the pool even the copy is not needed, see leaveHeaders.
	header, bodyHeader, repeatHeader http.Header
}

// New returns a Transport.
func New(cfg Config) *Transport {
	late := &lateTransport{given: cfg.RoundTripper, client: cfg.Client}
	hc := &http.Client{
		Transport: late,
		// A redirect would send the token in its Referer, or the secret in the body, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	rc := resty.NewWithClient(hc). // not resty.New, which keeps cookies
					SetLogger(noopLogger{}). // resty's lines hold URLs, and URLs hold the token
					SetDisableWarn(true).
					SetPreRequestHook(prepare)
	t := &Transport{
		Hosts: NewHosts(cfg.BaseURLs),
		resty: rc,
		blank: rc.R().SetDoNotParseResponse(true), // resty would trust the Content-Type, and read in small steps
	}
	t.requests.New = func() any {
		req := *t.blank
		return &req
	}
	t.header = http.Header{"Accept": {"application/json"}, "User-Agent": {cfg.UserAgent}}
	t.bodyHeader = t.header.Clone()
	t.bodyHeader.Set("Content-Type", "application/json")
	t.repeatHeader = t.bodyHeader.Clone()
	// Without a value this header is not sent. It makes net/http treat POST as GET: if a reused connection breaks
	// before the first byte of the response, net/http sends the request again on another one.
	t.repeatHeader["Idempotency-Key"] = nil
	late.header, late.bodyHeader = t.header, t.bodyHeader
	return t
}

// HTTPClient returns the client that sends the requests, not a copy.
func (t *Transport) HTTPClient() *http.Client { return t.resty.GetClient() }

// Send makes one HTTP request, without following redirects. sent reports whether the request may have reached the host.
// The response must be released, even after an error: it may hold what arrived before the error.
//
// If a reused connection returns no response, Send closes the idle connections, so that a retry uses a new one. If the
// transport can't close them and the request is repeatable, net/http may send it more than once. A request that is not
// repeatable is sent once.
func (t *Transport) Send(
	ctx context.Context, method, url string, body []byte, repeatable bool,
) (resp Response, sent bool, err error) {
	var (
		began = time.Now()
		idle  = t.idleConnections()
	)
	if body == nil && !repeatable {
		ctx = context.WithValue(ctx, onceKey{}, true)
	}
	ctx, trace := watch(ctx)
	req := t.requests.Get().(*resty.Request).SetContext(ctx)
	req.Header = t.header
	if body != nil {
		req.Header = t.bodyHeader
		if repeatable && idle == nil {
			req.Header = t.repeatHeader
		}
		req.Body = bytes.NewReader(body) // resty would copy a []byte
	}
	restyResp, err := req.Execute(method, url)
	*req = *t.blank // removes what resty has set, and the token, which is in the URL
	t.requests.Put(req)
	resp.Repeated = trace.got.Load() > 1
	if err != nil {
		err = withoutURL(err)
		if idle != nil && trace.reused.Load() && !errors.Is(ctx.Err(), context.Canceled) {
			timeout := ctx.Err() != nil || isTimeout(err)
			t.drop(idle, began, timeout)
			resp.Broken = !timeout
		}
		return resp, trace.sent(err), err
	}
	if isPool(idle) {
		trace.release()
	}
	raw := restyResp.RawResponse
	defer raw.Body.Close()
	resp.Status, resp.Header, resp.buf = raw.StatusCode, raw.Header, bodyBuffers.Get().(*bodyBuffer)
	resp.Body, err = resp.buf.read(raw)
	return resp, true, err
}

// onceKey marks the context of a request without a body that is not repeatable.
type onceKey struct{}

// These mark requests without and with a body whose headers lateTransport sets. They must not change.
var noHeader, noBodyHeader = http.Header{}, http.Header{}

// prepare changes what resty has made of a request.
func prepare(rc *resty.Client, req *http.Request) error {
	sendOnce(req)
	leaveHeaders(rc.GetClient(), req)
	return nil
}

// sendOnce gives a request that is not repeatable an empty body. net/http treats a GET without a body as repeatable, but
// not one with a body that it can't rewind. No body is sent.
func sendOnce(req *http.Request) {
	if req.Context().Value(onceKey{}) != nil {
		req.Body, req.GetBody = io.NopCloser(strings.NewReader("")), nil
	}
}

// leaveHeaders leaves the headers of a request to lateTransport, so that http.Client does not make a copy of them, for a
// redirect that is never followed. It does so only if the request goes straight to the pool, and nobody adds a header.
func leaveHeaders(client *http.Client, req *http.Request) {
	late, ok := client.Transport.(*lateTransport)
	if !ok || client.Jar != nil || req.URL.User != nil || !isPool(late.current()) {
		return
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header = noHeader
	} else {
		req.Header = noBodyHeader
	}
}

// idleConnections returns the transport if it can close its idle connections, and nil otherwise.
func (t *Transport) idleConnections() idleCloser {
	rt := t.HTTPClient().Transport
	if late, ok := rt.(*lateTransport); ok {
		rt = late.current()
	}
	c, _ := rt.(idleCloser)
	return c
}

// drop closes idle connections after a request failed. It ends no request, even if the transport is the user's.
func (t *Transport) drop(idle idleCloser, began time.Time, timeout bool) {
	if p, ok := idle.(*pool); ok {
		p.drops.run(began, timeout, p.renew)
		return
	}
	t.drops.run(began, timeout, idle.CloseIdleConnections)
}

// noopLogger is the logger of resty.
type noopLogger struct{}

func (noopLogger) Errorf(string, ...any) {}
func (noopLogger) Warnf(string, ...any)  {}
func (noopLogger) Debugf(string, ...any) {}
