package wechatuser

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"
)

// maxBody is the largest answer that is read, decompressed: fifty times the largest page of openids.
const maxBody = 16 << 20

// sender turns a request into an HTTP exchange. It knows nothing of errcodes.
type sender struct {
	rc       *resty.Client
	blank    *resty.Request // what each of the requests is before it is sent
	requests sync.Pool      // of *resty.Request, half a kilobyte each
	hosts    hosts
	// The headers of requests without and with a body. They are shared by all requests, and not to be changed: resty
	// adds what is missing, which is nothing, and sends a copy.
	header, bodyHeader http.Header
}

// exchange is an HTTP answer.
type exchange struct {
	status int
	header http.Header
	body   []byte // in buf
	buf    *bodyBuffer
}

// release gives back the memory of the body, which must not be read any more.
func (ex *exchange) release() {
	if ex.buf != nil && ex.buf.Cap() <= maxKept {
		ex.buf.Reset()
		bodyBuffers.Put(ex.buf)
	}
}

var errBodyTooLarge = fmt.Errorf("the body is over %d MiB", maxBody>>20)

func newSender(cfg *config) *sender {
	hc := &http.Client{
		Transport: &liveTransport{given: cfg.transport, client: cfg.httpClient},
		// A redirect would carry the token in its Referer, or the secret in a repeated body, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	rc := resty.NewWithClient(hc). // not resty.New, which keeps cookies
					SetLogger(silent{}). // resty's lines hold URLs, and URLs hold the token
					SetDisableWarn(true)
	s := &sender{rc: rc, hosts: hosts{bases: cfg.baseURLs, downUntil: make([]atomic.Int64, len(cfg.baseURLs))}}
	s.blank = rc.R().SetDoNotParseResponse(true) // resty would trust the Content-Type, and read in small steps
	s.requests.New = func() any {
		req := *s.blank
		return &req
	}
	s.header = http.Header{"Accept": {"application/json"}, "User-Agent": {cfg.userAgent}}
	s.bodyHeader = s.header.Clone()
	s.bodyHeader.Set("Content-Type", "application/json")
	return s
}

// send makes one exchange. left reports whether the request may have reached the host. Of the exchange something is to
// be released, also after an error.
func (s *sender) send(ctx context.Context, method, address string, body []byte) (ex exchange, left bool, err error) {
	var trace sentTrace
	req := s.requests.Get().(*resty.Request).SetContext(trace.watch(ctx))
	req.Header = s.header
	if body != nil {
		req.Header = s.bodyHeader
		req.Body = bytes.NewReader(body) // bytes would be copied
	}
	resp, err := req.Execute(method, address)
	*req = *s.blank // whatever resty has set, and the token, which is in the URL
	s.requests.Put(req)
	if err != nil {
		err = withoutURL(err)
		return exchange{}, !trace.neverSent() && !failedBeforeSending(err), err
	}
	raw := resp.RawResponse
	defer raw.Body.Close()
	buf := bodyBuffers.Get().(*bodyBuffer)
	ex = exchange{status: raw.StatusCode, header: raw.Header, buf: buf}
	ex.body, err = buf.read(raw)
	return ex, true, err
}

// bodyBuffer is memory for the body of an answer.
type bodyBuffer struct {
	bytes.Buffer
	limited io.LimitedReader
}

var bodyBuffers = sync.Pool{New: newBodyBuffer}

func newBodyBuffer() any { return new(bodyBuffer) }

// maxKept is the largest buffer that is kept for other answers. A page of 10,000 openids takes a third of it.
const maxKept = 1 << 20

// read reads an answer, at most maxBody of it. What was read before an error is returned too.
func (b *bodyBuffer) read(raw *http.Response) ([]byte, error) {
	body := io.Reader(raw.Body)
	// net/http has decompressed already, unless the transport is not net/http's.
	if strings.EqualFold(raw.Header.Get("Content-Encoding"), "gzip") && raw.ContentLength != 0 {
		zr, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("the body is not the gzip that its header says: %w", err)
		}
		body = zr
	}
	// What a header promises beyond that has to arrive first.
	if n := raw.ContentLength; n > 0 {
		b.Grow(int(min(n, maxKept-bytes.MinRead)) + bytes.MinRead)
	}
	b.limited = io.LimitedReader{R: body, N: maxBody + 1}
	_, err := b.ReadFrom(&b.limited)
	b.limited.R = nil
	if err == nil && b.Len() > maxBody {
		return b.Bytes()[:maxBody], errBodyTooLarge
	}
	return b.Bytes(), err
}

// liveTransport chooses the transport at each request, so that what a test or a program puts into the user's client
// or into http.DefaultTransport later takes effect, while nobody's client is modified.
type liveTransport struct {
	given  http.RoundTripper
	client *http.Client
}

func (t *liveTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.current().RoundTrip(req)
}

// CloseIdleConnections makes (*http.Client).CloseIdleConnections work on the client that has this transport.
func (t *liveTransport) CloseIdleConnections() {
	if c, ok := t.current().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *liveTransport) current() http.RoundTripper {
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

// sharedTransport is the pool of all clients that were not given one. The platform speaks HTTP/1.1, where the two idle
// connections of the default make each further call in parallel a new TLS handshake.
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

// hosts are the addresses of one client, in the order of preference.
type hosts struct {
	bases     []string
	downUntil []atomic.Int64 // Unix nanoseconds, by index; 0 for one that does not rest
}

// hostRest is how long an address that failed is left alone.
const hostRest = 30 * time.Second

// pick is the first address that is not resting, or the one that has rested longest. An address whose rest is over is
// tried by one call, while the others go on elsewhere until that has worked: one that hangs holds up a single call.
func (h *hosts) pick() int {
	now, best := time.Now(), 0
	for i := range h.downUntil {
		until := h.downUntil[i].Load()
		if until == 0 || until <= now.UnixNano() && h.downUntil[i].CompareAndSwap(until, now.Add(hostRest).UnixNano()) {
			return i
		}
		if until < h.downUntil[best].Load() {
			best = i
		}
	}
	return best
}

// failed leaves an address alone for a while. It reports whether there is another one to try at once.
func (h *hosts) failed(i int) bool {
	if len(h.bases) == 1 {
		return false
	}
	now := time.Now()
	h.downUntil[i].Store(now.Add(hostRest).UnixNano())
	for j := range h.downUntil {
		if h.downUntil[j].Load() <= now.UnixNano() {
			return true
		}
	}
	return false
}

// worked ends an address's rest.
func (h *hosts) worked(i int) {
	if h.downUntil[i].Load() != 0 {
		h.downUntil[i].Store(0)
	}
}

// sentTrace watches whether net/http began to write the request. Other transports do not tell.
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

// failedBeforeSending knows the errors of DNS, dial and TLS handshake, whichever transport they come from.
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

// withoutURL takes off the *url.Error that net/http wraps errors in: it holds the URL, and so the token.
func withoutURL(err error) error {
	for {
		ue, ok := err.(*url.Error) //nolint:errorlint // only the outermost layer is taken off
		if !ok || ue.Err == nil {
			return err
		}
		err = ue.Err
	}
}

// silent is the logger for resty.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
