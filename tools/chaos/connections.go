package main

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"
)

// connections is a network in which open connections die, as if something on the way, such as a NAT gateway, had
// forgotten them. It counts those whose death a call noticed.
type connections struct {
	network
	monitor *monitor

	mu   sync.Mutex
	open map[*connection]struct{}
}

func newConnections(n network, m *monitor) *connections {
	return &connections{network: n, monitor: m, open: make(map[*connection]struct{})}
}

// death is what a dead connection does with what is sent on it.
type death int

const (
	alive death = iota
	resets
	swallows
)

// connection is the client's end of a connection.
type connection struct {
	net.Conn
	owner *connections

	mu    sync.Mutex
	death death
	uses  int    // by requests
	busy  bool   // a request uses it now
	call  uint64 // that of the last use
}

func (cs *connections) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	inner, err := cs.network.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: inner, owner: cs}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[c] = struct{}{}
	return c, nil
}

// kill makes open connections die: those that no request uses, or all.
func (cs *connections) kill(d death, idleOnly bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.kill(d, idleOnly)
	}
}

func (c *connection) kill(d death, idleOnly bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.death != alive || c.busy && idleOnly {
		return
	}
	c.death = d
	if !c.busy {
		return // noticed when it is used
	}
	c.owner.monitor.faultInjected(c.call, inFlight[d], false)
	if d == resets {
		_ = c.Conn.Close()
	}
}

// watch returns a context for a request of a call. net/http reports in it which connection the request uses.
func (cs *connections) watch(ctx context.Context, call uint64) context.Context {
	var (
		used *connection
		use  int
	)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			used = info.Conn.(*connection)
			use = used.begin(call)
		},
		PutIdleConn: func(error) { used.end(use) },
	})
}

// begin records that a request uses the connection.
func (c *connection) begin(call uint64) (use int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uses++
	c.busy, c.call = true, call
	if c.death != alive {
		c.owner.monitor.faultInjected(call, inPool[c.death], false)
	}
	return c.uses
}

// end records that a request no longer uses the connection. The next one may have begun already.
func (c *connection) end(use int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = c.busy && c.uses != use
}

func (c *connection) state() death {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.death
}

func (c *connection) Write(p []byte) (int, error) {
	switch c.state() {
	case resets:
		_ = c.Conn.Close() // the reset is the answer, so that Read returns it
		return len(p), nil
	case swallows:
		return len(p), nil
	case alive:
	}
	return c.Conn.Write(p)
}

func (c *connection) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		switch d := c.state(); {
		case d == resets && err != nil:
			return n, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: syscall.ECONNRESET}
		case d != swallows || err != nil:
			return n, err
		}
	}
}

func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}
