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

// Server is an Official Account that answers HTTP requests. It is safe for concurrent use.
type Server struct {
	// URL is the address to send requests to, without a slash at its end.
	URL string
	// AppID is the app ID of the account.
	AppID string
	// Secret is the app secret of the account.
	Secret string `json:"-"`

	cfg    config
	server *http.Server  // nil without a listener
	served chan struct{} // closed when server has ended

	mu       sync.Mutex
	rand     *rand.Rand
	advanced time.Duration
	routes   map[string]*route // the map itself never changes
	account
	tokens
	resets
	disturbances
	failures
	requestLog
	asked map[uint64]uint64 // how often, by a call's hash
	busy  map[string]bool   // openids of tagging calls that are under way
	page  []int             // places in users; kept for its memory
}

// NewServer starts a server on a free port of the loopback address; [Server.Close] ends it. It panics if it cannot
// listen, as httptest.NewServer does.
func NewServer(opts ...Option) *Server {
	s := &Server{
		cfg: config{
			appID: defaultAppID, secret: defaultSecret,
			clock: time.Now, logSize: defaultLogSize,
		},
		routes:  make(map[string]*route),
		busy:    make(map[string]bool),
		account: newAccount(),
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
	s.addFans(s.cfg.fans, s.now())
	if s.cfg.noListener {
		s.URL = "http://127.0.0.1"
		return s
	}
	s.listen()
	return s
}

func (s *Server) listen() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("wechatusertest: %v", err))
	}
	s.URL = "http://" + listener.Addr().String()
	s.served = make(chan struct{})
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener) // it ends with Close, which is no news
	}()
}

// Close ends the listener and all connections at once. It may be called more than once. The account lives on:
// [Server.Transport] and ServeHTTP still work.
func (s *Server) Close() {
	if s.server == nil {
		return
	}
	_ = s.server.Close()
	<-s.served
}

// Client makes a client for the account. The options go after those that point it at the server. It panics on an
// option that [wechatuser.New] refuses.
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

// Transport serves requests in the process, without a socket and for each host. It ends with the request's context,
// during a [Server.Delay] too.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	rep, err := t.server.respond(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:     strconv.Itoa(rep.status) + " " + http.StatusText(rep.status),
		StatusCode: rep.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        rep.header(),
		Body:          io.NopCloser(rep.reader()),
		ContentLength: int64(len(rep.body)),
		Request:       r,
	}, nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rep, err := s.respond(r)
	if err != nil {
		hangUp(w)
	}
	for name, values := range rep.header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rep.status)
	_, err = io.Copy(w, rep.reader())
	if rep.cut && err != nil { // another error is a client that has gone, which is its own business
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// hangUp ends the connection so that the client sees the answer break off. It does not return.
func hangUp(w http.ResponseWriter) {
	// Without a first line net/http would take an old connection for a stale one, and send a GET again by itself.
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// errHangUp is an answer that does not come.
var errHangUp = fmt.Errorf("wechatusertest: no answer: %w", io.ErrUnexpectedEOF)

// now is the account's time. The lock is held, or nobody else has the server yet.
func (s *Server) now() time.Time { return s.cfg.clock().Add(s.advanced) }

// Advance moves the account's clock: tokens expire, quotas begin anew.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += d
}

// String names the address and the account, and no secret.
func (s *Server) String() string {
	if s == nil {
		return "wechatusertest.Server(nil)"
	}
	return "wechatusertest.Server(" + s.AppID + " at " + s.URL + ")"
}

// GoString is String.
func (s *Server) GoString() string { return s.String() }

// Format prints String for each verb, so that none shows the secret.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s *Server) LogValue() slog.Value { return slog.StringValue(s.String()) }
