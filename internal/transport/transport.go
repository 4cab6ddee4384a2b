// Package transport makes HTTP requests: one at a time, to one of several hosts, with bounds on what is read and memory
// that is used again. It knows nothing of the platform's API. It is the only package that imports resty.
package transport

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	"github.com/go-resty/resty/v2"
)

// Config configures a [Transport].
type Config struct {
	// BaseURLs are the addresses of the hosts in order of preference, without a slash at the end. There is at least
	// one.
	BaseURLs []string
	// RoundTripper sends all requests. If nil, the transport of Client does.
	RoundTripper http.RoundTripper
	// Client is never modified, and its transport is looked up at each request. If nil, http.DefaultTransport is used
	// where somebody has replaced it, and otherwise a shared transport with more idle connections.
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
	// The headers of requests without and with a body. All requests share them, so they must not change: resty adds
	// what is missing, which is nothing, and sends a copy.
	header, bodyHeader http.Header
}

// New returns a Transport.
func New(cfg Config) *Transport {
	hc := &http.Client{
		Transport: &lateTransport{given: cfg.RoundTripper, client: cfg.Client},
		// A redirect would carry the token in its Referer, or the secret in a body that is sent again, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	rc := resty.NewWithClient(hc). // not resty.New, which keeps cookies
					SetLogger(noopLogger{}). // resty's lines hold URLs, and URLs hold the token
					SetDisableWarn(true)
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
	return t
}

// HTTPClient returns the client that sends the requests, not a copy.
func (t *Transport) HTTPClient() *http.Client { return t.resty.GetClient() }

// Send makes one HTTP request, without following redirects. sent reports whether the request may have reached the host.
// The response must be released, also after an error: then it may hold what arrived before it.
func (t *Transport) Send(ctx context.Context, method, url string, body []byte) (resp Response, sent bool, err error) {
	var trace sentTrace
	req := t.requests.Get().(*resty.Request).SetContext(trace.watch(ctx))
	req.Header = t.header
	if body != nil {
		req.Header = t.bodyHeader
		req.Body = bytes.NewReader(body) // resty would copy a []byte
	}
	restyResp, err := req.Execute(method, url)
	*req = *t.blank // whatever resty has set, and the token, which is in the URL
	t.requests.Put(req)
	if err != nil {
		err = withoutURL(err)
		return Response{}, !trace.neverSent() && !failedBeforeSending(err), err
	}
	raw := restyResp.RawResponse
	defer raw.Body.Close()
	buf := bodyBuffers.Get().(*bodyBuffer)
	resp = Response{Status: raw.StatusCode, Header: raw.Header, buf: buf}
	resp.Body, err = buf.read(raw)
	return resp, true, err
}

// noopLogger is the logger of resty.
type noopLogger struct{}

func (noopLogger) Errorf(string, ...any) {}
func (noopLogger) Warnf(string, ...any)  {}
func (noopLogger) Debugf(string, ...any) {}
