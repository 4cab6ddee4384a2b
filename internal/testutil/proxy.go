package testutil

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy is a TCP proxy in front of a server. It can forget its connections, as a NAT gateway or a load balancer does
// after a restart, or after a connection was idle for too long.
type Proxy struct {
	URL    string
	target string

	mu    sync.Mutex
	conns map[*proxyConn]struct{}
}

// Forgets is what a forgotten connection does with the next packet.
type Forgets int

// What a forgotten connection does.
const (
	Resets   Forgets = 1 + iota // it responds with RST
	Closes                      // it responds with FIN
	Swallows                    // it does not respond
)

func (f Forgets) String() string { return [...]string{"", "resets", "closes", "swallows"}[f] }

// proxyConn is a connection of a client, and the one to the server that belongs to it.
type proxyConn struct {
	client, server *net.TCPConn
	forgets        Forgets // 0 until it is forgotten
}

// NewProxy starts a server with this handler on the loopback interface, and a proxy in front of it. Both end with the
// test.
func NewProxy(t testing.TB, handler http.Handler) *Proxy {
	t.Helper()
	srv := httptest.NewServer(handler)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{
		URL: "http://" + listener.Addr().String(), target: srv.Listener.Addr().String(),
		conns: make(map[*proxyConn]struct{}),
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { p.serve(client.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.client.Close()
			c.server.Close()
		}
		p.mu.Unlock()
		open.Wait()
		srv.Close()
	})
	return p
}

// Forget makes the proxy forget all connections that are open now, and returns their number.
func (p *Proxy) Forget(f Forgets) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.forgets == 0 {
			n++
			c.forgets = f
			c.server.Close()
		}
	}
	return n
}

func (p *Proxy) serve(client *net.TCPConn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	c := &proxyConn{client: client, server: server.(*net.TCPConn)}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	responses := make(chan struct{})
	go func() {
		defer close(responses)
		_, _ = io.Copy(client, server)
		if p.forgets(c) == 0 {
			client.Close() // as the server did
		}
	}()
	p.forward(c)
	server.Close()
	<-responses
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *Proxy) forgets(c *proxyConn) Forgets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.forgets
}

// forward passes on what the client sends, until it closes the connection or the proxy has forgotten it.
func (p *Proxy) forward(c *proxyConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.client.Read(buf)
		if err != nil {
			return
		}
		switch p.forgets(c) {
		case Resets:
			_ = c.client.SetLinger(0)
			return
		case Closes:
			return
		case Swallows:
			continue
		}
		if _, err := c.server.Write(buf[:n]); err != nil {
			return
		}
	}
}
