package wechatusertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
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
	page []int // places in users; kept for its memory
}

// NewServer starts a server on a free port of the loopback address; [Server.Close] ends it. It panics if it cannot
// listen, as httptest.NewServer does.
func NewServer(opts ...Option) *Server {
	s := &Server{
		cfg: config{
			appID: defaultAppID, secret: defaultSecret,
			clock:       time.Now,
			contentType: "application/json; encoding=utf-8",
		},
		routes:  make(map[string]*route),
		account: newAccount(),
	}
	for _, opt := range opts {
		opt(&s.cfg)
	}
	s.AppID, s.Secret = s.cfg.appID, s.cfg.secret
	s.rand = newRand(s.AppID, s.Secret)
	for path, e := range endpoints() {
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
		Body:          io.NopCloser(&rep.body),
		ContentLength: int64(rep.body.Len()),
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
	_, _ = rep.body.WriteTo(w) // the client may have gone, which is its own business
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

// maxBody is the longest request that is read, far beyond what any API takes.
const maxBody = 1 << 20

// call is a request on its way through the server.
type call struct {
	route  *route // nil for an unknown path
	method string
	query  url.Values
	body   []byte
	fields object // of the body, nil if it is no JSON object
	ip     string // of the caller

	arrived time.Time
	now     time.Time // after the delay

	out    writer
	failed []string // what fail_openid_list says, with 45171
}

// respond is the path of every request. An error is an answer that does not come.
func (s *Server) respond(r *http.Request) (*reply, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c := &call{route: s.routes[r.URL.Path], method: r.Method, query: r.URL.Query(), ip: "127.0.0.1"}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.ip = host
	}
	if r.Body != nil {
		var err error
		if c.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			return nil, err
		}
		c.fields = parseObject(c.body)
	}
	// The body was read before the wait: net/http notices only then that a client has gone.
	if err := wait(r.Context(), s.arrive(c)); err != nil {
		return nil, err
	}
	return s.answer(c)
}

// arrive counts a call and says how long to hold it up.
func (s *Server) arrive(c *call) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.arrived = s.now()
	if c.route == nil {
		return 0
	}
	c.route.calls++
	return s.delayOf(c.route)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) answer(c *call) (*reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.now()
	c.out.rawControl = s.cfg.rawControl
	f := s.nextFault(c.route)
	var code wechatuser.Code
	switch f.kind {
	case refuse:
		code = f.code
		if code == wechatuser.CodeSomeOpenIDsFailed {
			c.fields.get("openid_list", &c.failed)
		}
	case respondHTTP:
		return newReply(f.status, "text/html; charset=utf-8", []byte(f.body)), nil
	case dropRequest:
		return nil, errHangUp
	default:
		code = s.process(c)
	}
	if code != 0 {
		s.refuse(c, code)
	} else if len(c.out.b) == 0 {
		c.out.lit(`{"errcode":0,"errmsg":"ok"}`)
	}
	if f.kind == dropAnswer {
		return nil, errHangUp
	}
	return newReply(http.StatusOK, s.cfg.contentType, c.out.b), nil
}

// process makes the general checks, in the order that the platform is believed to have, and carries the call out.
func (s *Server) process(c *call) wechatuser.Code {
	switch r := c.route; {
	case r == nil:
		return codeInvalidURL
	case c.method != r.method && r.method == http.MethodGet:
		return wechatuser.CodeRequireGET
	case c.method != r.method:
		return wechatuser.CodeRequirePOST
	case !r.noToken:
		if code := s.checkToken(c.query.Get("access_token"), c.now); code != 0 {
			return code
		}
	}
	if code := c.route.spend(c.now); code != 0 {
		return code
	}
	if c.method == http.MethodPost {
		if code := c.checkBody(); code != 0 {
			return code
		}
	}
	return c.route.serve(s, c)
}

func (c *call) checkBody() wechatuser.Code {
	switch path := c.route.path; {
	case len(c.body) > maxBody:
		return wechatuser.CodeContentTooLong
	case len(c.body) == 0 && path == clearQuotaV2Path:
		return 0 // which takes its arguments in the query too
	case len(c.body) == 0:
		return wechatuser.CodeEmptyPostData
	case c.fields == nil && path == stableTokenPath && c.body[0] != '{':
		return wechatuser.CodeAppIDMissing // a form, in which the platform finds nothing
	case c.fields == nil:
		return wechatuser.CodeDataFormat
	}
	return 0
}

// now is the account's time. The lock is held, or nobody else has the server yet.
func (s *Server) now() time.Time { return s.cfg.clock().Add(s.advanced) }

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
