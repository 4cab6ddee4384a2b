package wechatusertest

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Server is a simulated Official Account with the platform's HTTP API. It is safe for concurrent use.
type Server struct {
	// URL is the base URL for requests, without a trailing slash.
	URL string
	// AppID is the app ID of the account.
	AppID string
	// Secret is the app secret of the account.
	Secret string `json:"-"`

	cfg    config
	server *http.Server  // nil without a listener
	served chan struct{} // closed when server has stopped

	mu       sync.Mutex
	rand     *rand.Rand
	advanced time.Duration
	routes   map[string]*route // by path
	account
	tokens
	quotaClears
	faultState
	failures
	requestLog
	callCounts    map[uint64]uint64 // number of identical calls, by hash
	lockedOpenIDs map[string]bool   // openids of tagging calls in progress
	page          []int             // buffer for indexes in users
	platform      *Platform         // that the account has authorized; nil for none
	isComponent   bool              // the account is a third-party platform
	pushQueue
}

// NewServer starts a server on a free port of the loopback address. Call [Server.Close] to stop it. Like
// httptest.NewServer, it panics if it cannot listen.
func NewServer(opts ...Option) *Server {
	s := newServer(opts)
	s.serve(s)
	return s
}

// newServer returns a server that does not listen yet.
func newServer(opts []Option) *Server {
	s := &Server{
		cfg: config{
			appID: defaultAppID, secret: defaultSecret,
			clock: time.Now, logSize: defaultLogSize,
		},
		routes:        make(map[string]*route),
		lockedOpenIDs: make(map[string]bool),
		account:       newAccount(),
	}
	for _, opt := range opts {
		opt(&s.cfg)
	}
	s.AppID, s.Secret = s.cfg.appID, s.cfg.secret
	s.rand = newRand(s.AppID, s.Secret)
	for path, e := range endpoints {
		s.routes[path] = &route{endpoint: e, path: path}
	}
	s.cfg.setQuotas(s.routes)
	s.target = s.cfg.pushes
	s.addFans(s.cfg.fans, s.now())
	return s
}

// serve serves a handler on a free port, unless the server is to have no listener.
func (s *Server) serve(h http.Handler) {
	if s.cfg.noListener {
		s.URL = "http://127.0.0.1"
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("wechatusertest: %v", err))
	}
	s.URL = "http://" + listener.Addr().String()
	s.served = make(chan struct{})
	s.server = &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener) // it always returns an error after Close
	}()
}

// Close closes the listener and all connections immediately. It can be called more than once. The account remains
// usable through [Server.Transport] and ServeHTTP.
//
// It also ends the pushes of [WithPushes]: it cancels those that are being sent, waits for the handlers of them to
// return, and drops the others. Later changes of the account push nothing.
func (s *Server) Close() {
	s.closePushes()
	if s.server == nil {
		return
	}
	_ = s.server.Close()
	<-s.served
}

// Client returns a client for the account. The options are applied after those that set the server's address. It panics
// if [wechatuser.New] returns an error.
func (s *Server) Client(opts ...wechatuser.Option) *wechatuser.Client {
	own := []wechatuser.Option{wechatuser.WithBaseURL(s.URL)}
	if s.server == nil {
		own = append(own, wechatuser.WithTransport(s.Transport()))
	}
	c, err := wechatuser.New(s.AppID, s.Secret, append(own, opts...)...)
	if err != nil {
		panic(fmt.Sprintf("wechatusertest: Client: %v", err))
	}
	return c
}

// Transport returns a transport that serves requests to any host in the process, without a socket. A request ends with
// its context, also during a [Server.Delay].
func (s *Server) Transport() http.RoundTripper { return transport{s.handle} }

type transport struct {
	handle func(*http.Request) (*response, error)
}

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	resp, err := t.handle(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:     strconv.Itoa(resp.status) + " " + http.StatusText(resp.status),
		StatusCode: resp.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        resp.header(),
		Body:          io.NopCloser(resp.reader()),
		ContentLength: int64(len(resp.body)),
		Request:       r,
	}, nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { serveHTTP(s.handle, w, r) }

func serveHTTP(handle func(*http.Request) (*response, error), w http.ResponseWriter, r *http.Request) {
	resp, err := handle(r)
	if err != nil {
		hangUp(w)
	}
	for name, values := range resp.header() {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.status)
	_, err = io.Copy(w, resp.reader())
	if resp.cut && err != nil { // any other error means that the client has gone
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// hangUp closes the connection so that the client sees an incomplete response. It does not return.
func hangUp(w http.ResponseWriter) {
	// Without a status line, net/http would take a reused connection for a stale one and retry a GET.
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// errNoResponse is the error of a dropped request or response.
var errNoResponse = fmt.Errorf("wechatusertest: no response: %w", io.ErrUnexpectedEOF)

// now returns the account's time. s.mu is held, or the server is not shared yet.
func (s *Server) now() time.Time { return s.cfg.clock().Add(s.advanced) }

// Advance moves the account's clock forward by d, for example to expire tokens or to start a new quota period. Pushes
// that are due then are sent.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += d
	s.wakeSender()
}

// String returns the app ID and the address of the server, and no secret.
func (s *Server) String() string {
	if s == nil {
		return "wechatusertest.Server(nil)"
	}
	return "wechatusertest.Server(" + s.AppID + " at " + s.URL + ")"
}

// Format writes String for all verbs, so that none of them shows the secret.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns String as a log value.
func (s *Server) LogValue() slog.Value { return slog.StringValue(s.String()) }
