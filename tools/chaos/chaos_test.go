package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
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

// full is whether tests run in full length; otherwise they take a share of it.
var full = os.Getenv("WECHATUSER_FULL") != ""

// The program finds no mismatch over sockets of this machine, in real time.
func TestChaosOverLoopback(t *testing.T) {
	t.Parallel()
	length := 500 * time.Millisecond
	if full {
		length = 2 * time.Second
	}
	var out strings.Builder
	cfg := config{
		network: loopback{}, fans: 1000, length: length, seed: 1, faultRate: 0.1, pageSize: 300,
		revoke: 500 * time.Millisecond, latency: 10 * time.Millisecond, timeout: 250 * time.Millisecond,
		resumeDelay: 50 * time.Millisecond,
	}

	err := newChaos(cfg, &out).run(t.Context())

	require.NoError(t, err, out.String())
	assert.Contains(t, out.String(), "\n0 lost, 0 unexpected, 0 other mismatches\n")
}

// The program finds no mismatch in virtual time, in which long waits, for a token or for the minute quota, are short.
func TestChaosInVirtualTime(t *testing.T) {
	t.Parallel()
	length := time.Minute
	if full {
		length = 2 * time.Minute
	}
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		cfg := config{
			network: &pipeNetwork{listeners: make(map[string]*pipeListener)}, fans: 300, length: length, seed: 1,
			faultRate: 0.1, pageSize: 100, revoke: 2 * time.Second, lull: 20 * time.Second, latency: time.Second,
			timeout: 3 * time.Second, resumeDelay: 5 * time.Second,
		}

		err := newChaos(cfg, &out).run(t.Context())

		assert.NoError(t, err, out.String())
	})
}

// checkReport accepts right reports and counts what is wrong in others.
func TestCheckReport(t *testing.T) {
	a, b, c := wechatusertest.OpenID(0), wechatusertest.OpenID(1), wechatusertest.OpenID(2)
	other := wechatusertest.ForeignOpenID(0)
	rejected := &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeOpenIDMismatch}
	busy := &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeSystemBusy}
	failed := func(openID string, err error) wechatuser.OpenIDError {
		return wechatuser.OpenIDError{OpenID: openID, Err: err}
	}
	report := func(applied int, resumeAfter string, failed ...wechatuser.OpenIDError) *wechatuser.BulkReport {
		return &wechatuser.BulkReport{
			Total: applied + len(failed), Applied: applied, Failed: failed, ResumeAfter: resumeAfter,
		}
	}
	for name, tc := range map[string]struct {
		input, before, after         []string
		report                       *wechatuser.BulkReport
		reason                       error // that stopped the job
		lost, unexpected, mismatches int
	}{
		"all applied": {
			input: []string{a, b}, after: []string{a, b}, report: report(2, b),
		},
		"one rejected": {
			input: []string{a, other, b}, after: []string{a, b}, report: report(2, b, failed(other, rejected)),
		},
		"stopped after one": {
			input: []string{a, b}, after: []string{a}, reason: busy, report: report(1, a, failed(b, busy)),
		},
		"stopped, and more applied beyond the cursor": {
			input: []string{a, b, c}, after: []string{a, c}, reason: busy, report: report(2, a),
		},
		"reported as applied, not changed": {
			input: []string{a, b}, after: []string{a}, report: report(2, b), lost: 1, mismatches: 1,
		},
		"final by the cursor, not changed": {
			input: []string{a, b, c}, after: []string{a, c}, reason: busy, report: report(2, b), lost: 1,
		},
		"reported as failed, changed": {
			input: []string{a, b}, after: []string{a, b}, reason: busy, report: report(1, a, failed(b, busy)),
			unexpected: 1, mismatches: 1,
		},
		"reported as failed, a member before": {
			input: []string{a, b}, before: []string{b}, after: []string{a, b}, reason: busy,
			report: report(1, a, failed(b, busy)),
		},
		"not in the input, added": {
			input: []string{a}, after: []string{a, b}, report: report(1, a), unexpected: 1, mismatches: 1,
		},
		"not in the input, removed": {
			input: []string{a}, before: []string{b}, after: []string{a}, report: report(1, a),
			unexpected: 1, mismatches: 1,
		},
		"rejection not reported": {
			input: []string{a, other}, after: []string{a}, report: report(2, other), lost: 1, mismatches: 1,
		},
		"no outcome": {
			input: []string{a, b}, after: []string{a, b}, report: report(1, b), mismatches: 2,
		},
		"valid openid rejected": {
			input: []string{a, b}, after: []string{a}, report: report(1, b, failed(b, rejected)), mismatches: 1,
		},
		"final by the cursor, with a temporary error": {
			input: []string{a, b}, after: []string{a}, reason: busy, report: report(1, b, failed(b, busy)),
			mismatches: 1,
		},
		"failed twice": {
			input: []string{a, other}, after: []string{a}, reason: busy, mismatches: 2,
			report: report(1, other, failed(other, rejected), failed(other, rejected)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			ch := newChaos(config{}, io.Discard)
			ch.population = newPopulation(minFans)
			w := &worker{chaos: ch}
			var err error
			if tc.reason != nil || len(tc.report.Failed) > 0 {
				err = &wechatuser.BulkError{Report: tc.report, Err: tc.reason}
			}

			d := changeRun{"job", true, tc.input, setOf(tc.before), setOf(tc.after)}
			_, reason := w.checkReport(d, tc.report, err)

			assert.Equal(t, tc.reason, reason)
			assert.Equal(t, []int{tc.lost, tc.unexpected, tc.mismatches}, []int{ch.lost, ch.unexpected, ch.mismatches},
				"lost, unexpected, mismatches: %q", ch.problems)
		})
	}
}

func TestStopReason(t *testing.T) {
	falseTag := &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeInvalidTagID}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"permanent":       {&wechatuser.Error{Code: wechatuser.CodeInvalidAppID}, ""},
		"canceled":        {context.Canceled, ""},
		"false tag error": {falseTag, falseTagError},
		"tag list not fetched": {
			fmt.Errorf("%w: %w", falseTag, &wechatuser.Error{Code: wechatuser.CodeSystemBusy}),
			"errcode 45159, and the tag list could not be fetched",
		},
		"system busy":       {&wechatuser.Error{Code: wechatuser.CodeSystemBusy}, "errcode -1"},
		"deadline":          {context.DeadlineExceeded, "the job's own deadline"},
		"ambiguous":         {wechatuser.ErrAmbiguous, "the outcome is unknown"},
		"limited by client": {wechatuser.ErrRateLimited, "no token: the client's limit of token requests"},
		"quota of the minute": {
			fmt.Errorf("%w: %w", &wechatuser.Error{Code: wechatuser.CodeMinuteQuotaExceeded}, context.DeadlineExceeded),
			"errcode 45011, with no time left to wait",
		},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, stopReason(tc.err)) })
	}
}

func TestInvalidArgumentsAreRejected(t *testing.T) {
	for name, args := range map[string][]string{
		"an argument": {"now"}, "an unknown flag": {"-x"},
		"too few followers": {"-fans", "10"}, "no time": {"-for", "0s"},
		"no time between revocations": {"-revoke", "0s"}, "a negative lull": {"-lull", "-1s"},
		"too many faults": {"-faults", "0.9"}, "faults not a number": {"-faults", "NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Error(t, run(t.Context(), args, io.Discard, io.Discard))
		})
	}
}

func TestVerboseRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-fans", "100", "-for", "50ms", "-v"}, &out, io.Discard))
	assert.Contains(t, out.String(), "the account and all reports are as expected\n")
}

// pipeNetwork is a network in memory.
type pipeNetwork struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

func (p *pipeNetwork) listen(_ context.Context, addr string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if addr == "" {
		addr = fmt.Sprintf("127.0.0.1:%d", 1+len(p.listeners))
	}
	l := &pipeListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	p.listeners[addr] = l
	return l, nil
}

func (p *pipeNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[addr]
	p.mu.Unlock()
	local, remote := net.Pipe()
	select {
	case l.conns <- remote:
		return local, nil
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
