package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// network is a server in memory, and the connections to it. They can die, as if something on the way forgot them.
type network struct {
	server   http.Server
	accepted chan net.Conn
	closed   chan struct{}
	hold     sync.WaitGroup // of the requests for /hold, which wait for each other
	release  chan struct{}  // ends the requests for /wait
	requests atomic.Int64
	keys     atomic.Int64 // requests with the header Idempotency-Key

	mu    sync.Mutex
	conns []*memoryConn
	down  error // of further dials
}

// death is what a dead connection does with what is written to it.
type death int32

const (
	resets death = 1 + iota
	swallows
)

func (d death) String() string { return [...]string{"", "resets", "swallows"}[d] }

// memoryConn is the client's end of a connection.
type memoryConn struct {
	net.Conn
	death  atomic.Int32
	closed atomic.Bool
}

func (c *memoryConn) Write(p []byte) (int, error) {
	switch death(c.death.Load()) {
	case resets:
		c.Conn.Close()
		return len(p), nil
	case swallows:
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *memoryConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && death(c.death.Load()) == resets {
		err = &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	}
	return n, err
}

func (c *memoryConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// inBubble runs a test in a bubble. In Go 1.25 the HTTP/2 servers of a program share channels in a sync.Pool, and those
// of one bubble must not be used in another: two collections empty it.
func inBubble(t *testing.T, http2 bool, test func(t *testing.T)) {
	t.Helper()
	if http2 {
		runtime.GC()
		runtime.GC()
	}
	synctest.Test(t, test)
}

// newNetwork returns a network in which the server and the returned transport speak HTTP/1.1, or HTTP/2.
func newNetwork(t *testing.T, http2 bool) (*network, *http.Transport) {
	n := &network{accepted: make(chan net.Conn), closed: make(chan struct{}), release: make(chan struct{})}
	n.server.Handler = n
	n.server.Protocols = new(http.Protocols)
	n.server.Protocols.SetHTTP1(!http2)
	n.server.Protocols.SetUnencryptedHTTP2(http2)
	go func() { _ = n.server.Serve(n) }()
	std := &http.Transport{DialContext: n.dial, Protocols: n.server.Protocols, IdleConnTimeout: 90 * time.Second}
	t.Cleanup(func() {
		n.server.Close()
		for _, c := range n.open() {
			c.Close()
		}
	})
	return n, std
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client leaves
	n.requests.Add(1)
	if _, ok := r.Header["Idempotency-Key"]; ok {
		n.keys.Add(1)
	}
	switch r.URL.Path {
	case "/hold":
		n.hold.Done()
		n.hold.Wait()
	case "/wait":
		<-n.release
	case "/slow":
		<-r.Context().Done()
	}
	_, _ = io.WriteString(w, body)
}

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	c := &memoryConn{Conn: client}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return nil, n.down
	}
	n.conns = append(n.conns, c)
	select {
	case n.accepted <- server:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// open returns the connections that the client has not closed.
func (n *network) open() (open []*memoryConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if !c.closed.Load() {
			open = append(open, c)
		}
	}
	return open
}

// kill makes all connections die.
func (n *network) kill(d death) {
	for _, c := range n.open() {
		c.death.Store(int32(d))
	}
}

// The network is a net.Listener.

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { close(n.closed); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// send makes a request, with a timeout of ten seconds.
func send(ctx context.Context, tr *Transport, method, path string) (Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var content []byte
	if method == http.MethodPost {
		content = []byte("{}")
	}
	resp, sent, err := tr.Send(ctx, method, "http://a"+path, content, true)
	resp.Release()
	return resp, sent, err
}

// fill makes size requests at once, so that there are as many connections, or as many streams have been used.
func (n *network) fill(t *testing.T, tr *Transport, size int) {
	n.hold.Add(size)
	var wg sync.WaitGroup
	for range size {
		wg.Go(func() {
			_, _, err := send(t.Context(), tr, http.MethodGet, "/hold")
			assert.NoError(t, err)
		})
	}
	wg.Wait()
}

// wrapped is a transport that does not close idle connections.
type wrapped struct{ http.RoundTripper }

// kinds are the transports that a client may have, by whose they are.
var kinds = map[string]func(*http.Transport) http.RoundTripper{
	"ours":    func(std *http.Transport) http.RoundTripper { return newPool(std) },
	"users":   func(std *http.Transport) http.RoundTripper { std.MaxIdleConnsPerHost = 64; return std },
	"wrapped": func(std *http.Transport) http.RoundTripper { std.MaxIdleConnsPerHost = 64; return wrapped{std} },
}

// Whatever number of connections have died, the first retry succeeds.
func TestRetriesUseNewConnections(t *testing.T) {
	sizes := []int{1, 3, 64}
	if os.Getenv("WECHATUSER_FULL") != "" {
		sizes = []int{1, 2, 3, 8, 64}
	}
	for name, kind := range kinds {
		for _, http2 := range []bool{false, true} {
			for _, d := range []death{resets, swallows} {
				switch {
				case d == swallows && name == "wrapped":
					continue // it offers nothing
				case http2 && name != "ours":
					continue // a connection that others wait for is not idle
				}
				for _, size := range sizes {
					for _, concurrent := range []bool{false, true} {
						for _, method := range []string{http.MethodGet, http.MethodPost} {
							name := fmt.Sprint(name, " HTTP2:", http2, " ", d, " ", size, " concurrent:", concurrent,
								" ", method)
							t.Run(name, func(t *testing.T) {
								inBubble(t, http2, func(t *testing.T) {
									n, std := newNetwork(t, http2)
									tr := newTransport(kind(std))
									n.fill(t, tr, size)
									n.kill(d)
									var wg sync.WaitGroup
									for range size {
										wg.Go(func() {
											_, _, err := send(t.Context(), tr, method, "/")
											if err != nil {
												_, _, err = send(t.Context(), tr, method, "/")
											}
											assert.NoError(t, err)
										})
										if !concurrent {
											wg.Wait()
										}
									}
									wg.Wait()
									assert.EqualValues(t, 2*size, n.requests.Load(), "each request arrived once")
									assert.Zero(t, n.keys.Load(), "no header is sent")
									tr.HTTPClient().CloseIdleConnections()
									std.CloseIdleConnections()
								})
							})
						}
					}
				}
			}
		}
	}
}

// What a failure says about the connection and the host.
func TestBroken(t *testing.T) {
	for name, tt := range map[string]struct {
		kind            string
		reused, timeout bool
		broken          bool
	}{
		"reset":                    {"ours", true, false, true},
		"reset of the user's":      {"users", true, false, true},
		"timeout":                  {"ours", true, true, false},
		"reset of a new one":       {"ours", false, false, false},
		"reset that can't be told": {"wrapped", true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, std := newNetwork(t, false)
				tr := newTransport(kinds[tt.kind](std))
				if tt.reused {
					n.fill(t, tr, 1)
				}
				d := resets
				if tt.timeout {
					d = swallows
				}
				n.kill(d)
				n.killNew(std, d)
				if tt.kind == "ours" && !tt.reused {
					tr = newTransport(newPool(std))
				}
				resp, sent, err := send(t.Context(), tr, http.MethodPost, "/")
				require.Error(t, err)
				assert.True(t, sent)
				assert.Equal(t, tt.broken, resp.Broken)
				assert.Equal(t, tt.kind == "wrapped", resp.Repeated)
				tr.HTTPClient().CloseIdleConnections()
			})
		})
	}
}

// killNew makes all further connections dead from the start.
func (n *network) killNew(std *http.Transport, d death) {
	dial := std.DialContext
	std.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		n.kill(d)
		return c, err
	}
}

// net/http repeats a GET on a new connection. If that breaks too, it is not because connections were forgotten.
func TestNewConnectionThatBreaksAfterADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		std.MaxIdleConnsPerHost = 64
		rt := &countingCloser{RoundTripper: std}
		tr := newTransport(rt)
		n.fill(t, tr, 1)
		n.kill(resets)
		n.killNew(std, resets)
		resp, _, err := send(t.Context(), tr, http.MethodGet, "/")
		require.Error(t, err)
		assert.True(t, resp.Repeated)
		assert.False(t, resp.Broken)
		assert.Zero(t, rt.closed)
	})
}

// net/http returns the cause of a context, which need not look like a time-out.
func TestDeadlineWithACause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		tr := newTransport(newPool(std))
		n.fill(t, tr, 1)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("too late for dinner"))
		defer cancel()
		resp, _, err := send(ctx, tr, http.MethodPost, "/slow")
		require.ErrorContains(t, err, "dinner")
		assert.False(t, resp.Broken, "the host is slow, or silent")
	})
}

// A transport may have a time-out of its own, and that is silence too.
func TestTimeoutOfTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		std.ResponseHeaderTimeout = time.Second
		tr := newTransport(newPool(std))
		n.fill(t, tr, 1)
		resp, _, err := send(t.Context(), tr, http.MethodPost, "/slow")
		require.ErrorContains(t, err, "timeout")
		assert.False(t, resp.Broken)
	})
}

// net/http repeated a request of its own accord and then found no host: the first one may have arrived.
func TestSentThoughTheRepetitionWasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		tr := newTransport(wrapped{std})
		n.fill(t, tr, 1)
		n.kill(resets)
		n.down = &net.OpError{Op: "dial", Err: errors.New("refused")}
		_, sent, err := send(t.Context(), tr, http.MethodPost, "/")
		require.ErrorIs(t, err, n.down)
		assert.True(t, sent)
		_, sent, err = send(t.Context(), tr, http.MethodPost, "/")
		require.ErrorIs(t, err, n.down)
		assert.False(t, sent)
	})
}

// What is not repeatable is sent once, also a GET, which net/http would send again.
func TestWhatIsNotRepeatable(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, kind := range []string{"ours", "users", "wrapped"} {
			for method, body := range map[string][]byte{http.MethodPost: []byte("{}"), http.MethodGet: nil} {
				t.Run(fmt.Sprintf("%s of %s, HTTP/2 %t", method, kind, http2), func(t *testing.T) {
					inBubble(t, http2, func(t *testing.T) {
						n, std := newNetwork(t, http2)
						tr := newTransport(kinds[kind](std))
						n.fill(t, tr, 1)
						resp, _, err := tr.Send(t.Context(), method, "http://a/", body, false)
						require.NoError(t, err)
						assert.Equal(t, 200, resp.Status)
						resp.Release()
						n.kill(resets)
						resp, sent, err := tr.Send(t.Context(), method, "http://a/", body, false)
						require.Error(t, err)
						assert.True(t, sent)
						assert.False(t, resp.Repeated)
						tr.HTTPClient().CloseIdleConnections()
					})
				})
			}
		}
	}
}

// A dropped pool ends no request of others.
func TestRequestsInFlightGoOn(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, kind := range []string{"ours", "users"} {
			t.Run(fmt.Sprint(kind, " HTTP2:", http2), func(t *testing.T) {
				inBubble(t, http2, func(t *testing.T) {
					n, std := newNetwork(t, http2)
					tr := newTransport(kinds[kind](std))
					var wg sync.WaitGroup
					wg.Go(func() {
						resp, _, err := tr.Send(t.Context(), http.MethodPost, "http://a/wait", []byte("{}"), true)
						assert.NoError(t, err)
						resp.Release()
					})
					synctest.Wait()
					n.fill(t, tr, 2)
					resp, _, err := send(t.Context(), tr, http.MethodPost, "/slow")
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.False(t, resp.Broken)
					close(n.release)
					wg.Wait()
					synctest.Wait() // over HTTP/2 a stream ends after its response was read
					tr.HTTPClient().CloseIdleConnections()
					synctest.Wait()
					assert.Empty(t, n.open())
				})
			})
		}
	}
}

// countingCloser counts how often its idle connections are closed.
type countingCloser struct {
	http.RoundTripper
	closed int
}

func (c *countingCloser) CloseIdleConnections() {
	c.closed++
	c.RoundTripper.(idleCloser).CloseIdleConnections()
}

// A host that is slow does not get a new connection for each request, and a caller who leaves closes none.
func TestHowOftenConnectionsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		std.MaxIdleConnsPerHost = 64
		rt := &countingCloser{RoundTripper: std}
		tr := newTransport(rt)
		timeOut := func(d time.Duration) {
			n.fill(t, tr, 1)
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, _, err := tr.Send(ctx, http.MethodPost, "http://a/slow", []byte("{}"), true)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
		for range 99 { // in 9.9 seconds
			timeOut(100 * time.Millisecond)
		}
		assert.Equal(t, 10, rt.closed)
		for range 5 {
			timeOut(time.Second)
		}
		assert.Equal(t, 15, rt.closed, "the first attempt that began after the last time")

		n.fill(t, tr, 64)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				_, _, err := send(t.Context(), tr, http.MethodPost, "/slow")
				assert.Error(t, err)
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		assert.Equal(t, 16, rt.closed, "all began before it")

		n.fill(t, tr, 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, _, err := tr.Send(ctx, http.MethodPost, "http://a/slow", []byte("{}"), true)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 16, rt.closed)
		std.CloseIdleConnections()
	})
}

func TestDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		start := time.Now()
		var d drops
		for i, tt := range []struct {
			at, began time.Duration
			timeout   bool
			drops     bool
		}{
			{0, 0, false, true},
			{500 * ms, -ms, false, false},     // the drop was for it
			{500 * ms, 0, false, true},        // its connection was taken after the drop
			{999 * ms, 499 * ms, true, false}, // for either reason
			{999 * ms, 501 * ms, true, false}, // too early
			{1499 * ms, 499 * ms, false, false},
			{1500 * ms, 499 * ms, true, false}, // the drop was for it
			{1500 * ms, 499 * ms, false, true}, // other connections may have died since
			{2499 * ms, 1500 * ms, true, false},
			{2500 * ms, 1500 * ms, true, true},
		} {
			time.Sleep(time.Until(start.Add(tt.at)))
			dropped := false
			d.run(start.Add(tt.began), tt.timeout, func() { dropped = true })
			assert.Equal(t, tt.drops, dropped, i)
		}
	})
}

// Where the transport is not net/http's, nothing is known of its connections.
func TestOtherTransportsAreNotTouched(t *testing.T) {
	c := &closer{roundTripper: func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") }}
	resp, _, err := newTransport(c).Send(t.Context(), http.MethodPost, "https://a/", []byte("{}"), true)
	require.Error(t, err)
	assert.False(t, resp.Broken)
	assert.Zero(t, c.closed)
}

// A test may have replaced the transport of the client itself.
func TestTheTransportOfTheClientItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		tr := newTransport(nil)
		tr.HTTPClient().Transport = std
		n.fill(t, tr, 2)
		n.kill(resets)
		resp, _, err := send(t.Context(), tr, http.MethodPost, "/")
		require.Error(t, err)
		assert.True(t, resp.Broken)
		_, _, err = send(t.Context(), tr, http.MethodPost, "/")
		require.NoError(t, err)
		std.CloseIdleConnections()
	})
}

// Over HTTP/2 an idle connection that is dead is found by pings, before a request has to time out.
func TestPings(t *testing.T) {
	inBubble(t, true, func(t *testing.T) {
		n, std := newNetwork(t, true)
		tr := newTransport(newPool(std))
		n.fill(t, tr, 1)
		n.kill(swallows)
		time.Sleep(21 * time.Second)
		_, _, err := send(t.Context(), tr, http.MethodPost, "/")
		require.NoError(t, err)
		tr.HTTPClient().CloseIdleConnections()
	})
}

// The connections that were idle when a pool was renewed are closed at once.
func TestRenewClosesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, std := newNetwork(t, false)
		p := newPool(std)
		tr := newTransport(p)
		n.fill(t, tr, 3)
		require.Len(t, n.open(), 3)
		p.renew()
		synctest.Wait()
		assert.Empty(t, n.open())
	})
}

// A new pool has the settings of the one before.
func TestRenewKeepsTheSettings(t *testing.T) {
	std := &http.Transport{MaxIdleConns: 100, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second}
	p := newPool(std)
	for range 3 {
		now := p.current.Load()
		assert.Equal(t, []int{0, 64}, []int{now.MaxIdleConns, now.MaxIdleConnsPerHost})
		assert.Equal(t, 90*time.Second, now.IdleConnTimeout)
		assert.Equal(t, 15*time.Second, now.HTTP2.SendPingTimeout)
		p.renew()
		assert.NotSame(t, now, p.current.Load())
	}
	assert.Equal(t, []int{100, 2}, []int{std.MaxIdleConns, std.MaxIdleConnsPerHost})
}
