package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSockets is the program for a few seconds.
func TestSockets(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	cfg := config{
		net: loopback{}, fans: 1000, length: 2 * time.Second, seed: 1, faults: 0.1, pageSize: 300, revoke: 500 * time.Millisecond,
		latency: 10 * time.Millisecond, timeout: 250 * time.Millisecond, patience: 50 * time.Millisecond,
	}

	err := newChaos(cfg, &out).run(t.Context())

	require.NoError(t, err, out.String())
	assert.Contains(t, out.String(), "lost 0, doubled 0, otherwise wrong 0\n")
}

// TestMinutes goes through minutes in no time: the long waits, for a token or for the minute's quota, cost nothing.
func TestMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		cfg := config{
			net: &pipes{listeners: make(map[string]*pipeListener)}, fans: 300, length: 2 * time.Minute, seed: 1, faults: 0.1, pageSize: 100,
			revoke: 2 * time.Second, lull: 20 * time.Second, latency: time.Second, timeout: 3 * time.Second, patience: 5 * time.Second,
		}

		err := newChaos(cfg, &out).run(t.Context())

		assert.NoError(t, err, out.String())
	})
}

// TestCheck gives reports that are wrong to the check.
func TestCheck(t *testing.T) {
	a, b, c := wechatusertest.OpenID(0), wechatusertest.OpenID(1), wechatusertest.OpenID(2)
	stranger := wechatusertest.ForeignOpenID(0)
	no := &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeOpenIDMismatch}
	busy := &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeSystemBusy}
	report := func(applied int, resumeAfter string, failed ...wechatuser.OpenIDError) *wechatuser.BulkReport {
		return &wechatuser.BulkReport{Total: applied + len(failed), Applied: applied, Failed: failed, ResumeAfter: resumeAfter}
	}
	for name, tc := range map[string]struct {
		input, before, after []string
		report               *wechatuser.BulkReport
		why                  error // for which the job was stopped
		lost, doubled, wrong int
	}{
		"all done":                    {input: []string{a, b}, after: []string{a, b}, report: report(2, b)},
		"one is refused":              {input: []string{a, stranger, b}, after: []string{a, b}, report: report(2, b, wechatuser.OpenIDError{OpenID: stranger, Err: no})},
		"stopped after one":           {input: []string{a, b}, after: []string{a}, report: report(1, a, wechatuser.OpenIDError{OpenID: b, Err: busy}), why: busy},
		"stopped, and more was done":  {input: []string{a, b, c}, after: []string{a, c}, report: report(2, a), why: busy},
		"applied, and not there":      {input: []string{a, b}, after: []string{a}, report: report(2, b), lost: 1, wrong: 1},
		"settled, and not there":      {input: []string{a, b, c}, after: []string{a, c}, report: report(2, b), why: busy, lost: 1},
		"failed for sure, and there":  {input: []string{a, b}, after: []string{a, b}, report: report(1, a, wechatuser.OpenIDError{OpenID: b, Err: busy}), why: busy, doubled: 1, wrong: 1},
		"it was there before":         {input: []string{a, b}, before: []string{b}, after: []string{a, b}, report: report(1, a, wechatuser.OpenIDError{OpenID: b, Err: busy}), why: busy},
		"nobody asked":                {input: []string{a}, after: []string{a, b}, report: report(1, a), doubled: 1, wrong: 1},
		"somebody else was taken off": {input: []string{a}, before: []string{b}, after: []string{a}, report: report(1, a), doubled: 1, wrong: 1},
		"a refusal is not told":       {input: []string{a, stranger}, after: []string{a}, report: report(2, stranger), lost: 1, wrong: 1},
		"no outcome":                  {input: []string{a, b}, after: []string{a, b}, report: report(1, b), wrong: 2},
		"refused for nothing":         {input: []string{a, b}, after: []string{a}, report: report(1, b, wechatuser.OpenIDError{OpenID: b, Err: no}), wrong: 1},
		"done with, without a verdict": {
			input: []string{a, b}, after: []string{a}, report: report(1, b, wechatuser.OpenIDError{OpenID: b, Err: busy}), why: busy, wrong: 1,
		},
		"failed twice": {input: []string{a, stranger}, after: []string{a}, why: busy, wrong: 2, report: report(1, stranger,
			wechatuser.OpenIDError{OpenID: stranger, Err: no}, wechatuser.OpenIDError{OpenID: stranger, Err: no})},
	} {
		t.Run(name, func(t *testing.T) {
			ch := newChaos(config{}, io.Discard)
			ch.people = newPeople(fewestFans)
			w := &worker{chaos: ch}
			var err error
			if tc.why != nil || len(tc.report.Failed) > 0 {
				err = &wechatuser.BulkError{Report: tc.report, Err: tc.why}
			}

			_, why := w.check(changed{"job", true, tc.input, setOf(tc.before), setOf(tc.after)}, tc.report, err)

			assert.Equal(t, tc.why, why)
			assert.Equal(t, []int{tc.lost, tc.doubled, tc.wrong}, []int{ch.lost, ch.doubled, ch.wrong}, "lost, doubled, wrong: %q", ch.problems)
		})
	}
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"an argument": {"now"}, "an unknown flag": {"-x"}, "too few followers": {"-fans", "10"}, "no time": {"-for", "0s"},
		"no revocations": {"-revoke", "0s"}, "a lull": {"-lull", "-1s"}, "faults": {"-faults", "0.9"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Error(t, run(t.Context(), args, io.Discard, io.Discard))
		})
	}
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-fans", "100", "-for", "50ms", "-v"}, &out, io.Discard))
	assert.Contains(t, out.String(), "the account is what it should be\n")
}

// pipes is a network in memory.
type pipes struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

func (p *pipes) listen(_ context.Context, addr string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if addr == "" {
		addr = fmt.Sprintf("127.0.0.1:%d", 1+len(p.listeners))
	}
	l := &pipeListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	p.listeners[addr] = l
	return l, nil
}

func (p *pipes) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[addr]
	p.mu.Unlock()
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: l.Addr(), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Addr: l.Addr(), Err: ctx.Err()}
	}
}

type pipeListener struct {
	addr   string
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.addr) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
