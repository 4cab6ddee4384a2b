package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// network is where the account's addresses are.
type network interface {
	// listen opens an address, a free one where it is empty.
	listen(ctx context.Context, addr string) (net.Listener, error)
	dial(ctx context.Context, network, addr string) (net.Conn, error)
}

// loopback is the sockets of this machine.
type loopback struct{}

func (loopback) listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}

func (loopback) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// host is one address of the account. It is for one goroutine.
type host struct {
	net     network
	handler http.Handler
	addr    string       // empty until it is open for the first time
	server  *http.Server // nil while it is dead
	served  chan struct{}
}

func (h *host) open(ctx context.Context) error {
	listener, err := h.net.listen(ctx, h.addr)
	if err != nil {
		return err
	}
	h.addr = listener.Addr().String()
	srv := &http.Server{Handler: h.handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	h.server, h.served = srv, served
	go func() {
		defer close(served)
		_ = srv.Serve(listener) // it ends with close
	}()
	return nil
}

// close ends the listener and all connections, with calls on them.
func (h *host) close() {
	if h.server == nil {
		return
	}
	_ = h.server.Close()
	<-h.served
	h.server = nil
}

// liveAndDie closes the host now and then until ctx ends, and leaves it open if it can. It gives the number of deaths.
func (h *host) liveAndDie(ctx context.Context, rng *rand.Rand) (deaths int) {
	between := func(from, to time.Duration) error { return sleep(ctx, from+time.Duration(rng.Int64N(int64(to-from)))) }
	for between(2*time.Second, 8*time.Second) == nil {
		deaths++
		h.close()
		_ = between(300*time.Millisecond, 3*time.Second)
		// The system may have lent the port to somebody for a moment.
		for range 100 {
			if h.open(context.WithoutCancel(ctx)) == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return deaths
}

// sleep waits, and fails if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
