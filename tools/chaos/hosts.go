package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// network connects the client with the account's hosts.
type network interface {
	// listen opens the address, or an unused one if addr is empty.
	listen(ctx context.Context, addr string) (net.Listener, error)
	dial(ctx context.Context, network, addr string) (net.Conn, error)
}

// loopback is the loopback interface of this machine.
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

// host is one of the account's hosts. It is not safe for concurrent use.
type host struct {
	network network
	handler http.Handler
	addr    string       // empty until the host is first opened
	server  *http.Server // nil while the host is down
	served  chan struct{}
}

func (h *host) open(ctx context.Context) error {
	listener, err := h.network.listen(ctx, h.addr)
	if err != nil {
		return err
	}
	h.addr = listener.Addr().String()
	srv := &http.Server{Handler: h.handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	h.server, h.served = srv, served
	go func() {
		defer close(served)
		_ = srv.Serve(listener) // returns when close is called
	}()
	return nil
}

// close closes the listener and all connections, which breaks off the requests on them.
func (h *host) close() {
	if h.server == nil {
		return
	}
	_ = h.server.Close()
	<-h.served
	h.server = nil
}

// goDownAndUp closes and reopens the host at random times until ctx ends. It leaves the host open if possible, and
// returns the number of outages.
func (h *host) goDownAndUp(ctx context.Context, rng *rand.Rand) (outages int) {
	between := func(from, to time.Duration) error {
		return backoff.Sleep(ctx, from+time.Duration(rng.Int64N(int64(to-from))))
	}
	for between(2*time.Second, 8*time.Second) == nil {
		outages++
		h.close()
		_ = between(300*time.Millisecond, 3*time.Second)
		// Another process may have been given the port meanwhile.
		for range 100 {
			if h.open(context.WithoutCancel(ctx)) == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return outages
}
