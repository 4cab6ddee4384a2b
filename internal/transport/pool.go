package transport

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// sharedPool is used by all clients that were not given a transport.
var sharedPool = sync.OnceValue(func() *pool { return newPool(originalTransport) })

// pool is a pool of connections that can be replaced as a whole.
type pool struct {
	drops   drops
	current atomic.Pointer[http.Transport]
	// previous may still have connections that were in use when it was replaced.
	previous atomic.Pointer[http.Transport]
}

// newPool returns a pool with the settings of std and more idle connections. The platform speaks HTTP/1.1. With the
// default of two idle connections, each further concurrent call needs a new TLS handshake.
func newPool(std *http.Transport) *pool {
	t := std.Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = 64
	// A gateway may speak HTTP/2. There only a ping distinguishes an idle connection from a dead one.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second}
	p := new(pool)
	p.current.Store(t)
	return p
}

func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	return p.current.Load().RoundTrip(req)
}

// CloseIdleConnections closes the connections that no request uses.
func (p *pool) CloseIdleConnections() {
	p.current.Load().CloseIdleConnections()
	if t := p.previous.Load(); t != nil {
		t.CloseIdleConnections()
	}
}

// renew makes all further requests use new connections. Requests in flight keep theirs. Closing the idle connections is
// not enough: over HTTP/2 a dead connection is not idle while other requests wait for it.
func (p *pool) renew() {
	old := p.current.Load()
	p.current.Store(old.Clone())
	old.CloseIdleConnections()
	if t := p.previous.Swap(old); t != nil {
		t.CloseIdleConnections()
	}
}

// drops decides which failures on a reused connection drop the idle connections of a pool. One failure usually means
// that all of them are dead: a NAT gateway, a load balancer or a server has restarted and lost them.
type drops struct {
	mu   sync.Mutex
	last time.Time
}

// minDropInterval limits how often a slow host makes requests open new connections.
const minDropInterval = time.Second

// run calls drop, unless the last drop already covers this failure. When run returns, the connections that were idle
// when the request began are closed.
//
// A reset proves that the connection was dead, so the last drop counts only if it was after the request began and less
// than a second ago: the others may have died since. A time-out proves less, so either condition is enough.
func (d *drops) run(began time.Time, timeout bool, drop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	during, recent := began.Before(d.last), now.Sub(d.last) < minDropInterval
	if during && recent || timeout && (during || recent) {
		return
	}
	d.last = now
	drop()
}
