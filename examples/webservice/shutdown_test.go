package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// gate is an interceptor that blocks calls until it is opened, and signals that a call has reached it.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 1), make(chan struct{})} }

func (g *gate) intercept(
	ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	if call.API == "userInfo" {
		g.reached <- struct{}{}
		select {
		case <-g.open:
		case <-ctx.Done():
		}
	}
	return next(ctx)
}

// start serves the fixture on a port, and sends one request to it.
func (f *fixture) start(
	t *testing.T, grace time.Duration,
) (addr string, stop func(), served, sent chan error, status chan int) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	addr = listener.Addr().String()
	served, sent, status = make(chan error, 1), make(chan error, 1), make(chan int, 1)
	go func() { served <- serve(ctx, listener, f.routes(), grace) }()
	go func() {
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequest("GET", "http://"+addr+"/followers/"+openID, nil)
		if err != nil {
			sent <- err
			return
		}
		resp, err := hc.Do(req)
		if err == nil {
			status <- resp.StatusCode
			err = resp.Body.Close()
		}
		sent <- err
	}()
	return addr, stop, served, sent, status
}

func TestShutdownWaitsForRequests(t *testing.T) {
	g := newGate()
	f := newFixture(t, wechatuser.WithInterceptor(g.intercept))
	addr, stop, served, sent, status := f.start(t, time.Minute)
	<-g.reached

	stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond, "no new connections are accepted")
	close(g.open)

	assert.NoError(t, <-served)
	assert.NoError(t, <-sent)
	assert.Equal(t, http.StatusOK, <-status)
}

func TestShutdownCancelsSlowRequests(t *testing.T) {
	g := newGate()
	f := newFixture(t, wechatuser.WithInterceptor(g.intercept))
	_, stop, served, sent, status := f.start(t, time.Millisecond)
	<-g.reached

	stop() // the gate stays closed

	assert.ErrorContains(t, <-served, "requests in flight were canceled after 1ms")
	assert.NoError(t, <-sent)
	assert.Equal(t, http.StatusServiceUnavailable, <-status, "the client gets a response")
	assert.Zero(t, f.account.Calls("/cgi-bin/user/info"))
}
