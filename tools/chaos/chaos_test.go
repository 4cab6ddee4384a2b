package main

import (
	"context"
	"fmt"
	"io"
	"iter"
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
		resumeDelay: 50 * time.Millisecond, death: 100 * time.Millisecond,
	}

	err := newChaos(cfg, &out).run(t.Context())

	require.NoError(t, err, out.String())
	assert.Contains(t, out.String(), "\nlost 0, doubled 0, hung 0, unexpected 0, other mismatches 0\n")
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
			network: newPipeNetwork(), fans: 300, length: length, seed: 1, faultRate: 0.1, limiterRate: 0.02,
			pageSize: 100, revoke: 2 * time.Second, lull: 20 * time.Second, latency: 300 * time.Millisecond,
			timeout: 3 * time.Second, resumeDelay: 5 * time.Second, death: 500 * time.Millisecond,
		}
		ch := newChaos(cfg, &out)

		err := ch.run(t.Context())

		assert.NoError(t, err, out.String())
		for _, d := range []death{resets, swallows} {
			assert.Positive(t, ch.monitor.faults[inPool[d]].injected, faults[inPool[d]].name)
			assert.Positive(t, ch.monitor.faults[inFlight[d]].injected, faults[inFlight[d]].name)
		}
		assert.Positive(t, ch.monitor.faults[limiterError].injected, faults[limiterError].name)
		for kind, path := range tokenPaths {
			assert.Positive(t, ch.monitor.revokedUnused[kind], "tokens of %s revoked before their first use", path)
		}
	})
}

// A job that is not what it says is noticed.
func TestLostAndDoubledOpenIDsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(changeFunc) changeFunc // of a job that adds all followers
		want  []int                       // lost, doubled, hung, unexpected, other mismatches
	}{
		"nothing": {spoil: func(f changeFunc) changeFunc { return f }, want: []int{0, 0, 0, 0, 0}},
		"a lost openid": {
			spoil: func(f changeFunc) changeFunc {
				return func(
					ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error],
					opts ...wechatuser.BulkOption,
				) (*wechatuser.BulkReport, error) {
					report, err := f(ctx, c, add, without(openIDs, wechatusertest.OpenID(7)), opts...)
					report.Total++
					report.Applied++
					return report, err
				}
			},
			// In the report of the run, and in the account. The report also says too much.
			want: []int{2, 0, 0, 0, 1},
		},
		"doubled openids": {
			spoil: func(f changeFunc) changeFunc {
				return func(
					ctx context.Context, c *wechatuser.Client, add bool, openIDs iter.Seq2[string, error],
					opts ...wechatuser.BulkOption,
				) (*wechatuser.BulkReport, error) {
					first, err := f(ctx, c, add, openIDs, opts...)
					if err != nil {
						return first, err
					}
					report, err := f(ctx, c, add, openIDs, opts...)
					report.Calls += first.Calls
					return report, err
				}
			},
			want: []int{0, minFans, 0, 0, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch := newChaos(config{network: newPipeNetwork(), fans: minFans, pageSize: 100, timeout: time.Second}, io.Discard)
				require.NoError(t, ch.open(t.Context()))
				defer ch.close()
				p, closePhase, err := ch.newPhase(t.Context())
				require.NoError(t, err)
				defer closePhase()
				ch.phase.Store(p)
				w := &worker{chaos: ch, name: "worker", rng: ch.random(1)}
				target := ch.tagTarget("tag")
				target.change = tt.spoil(target.change)

				w.changeTo(target, true, ch.population.fans, false)
				w.checkMembers(target)

				assert.Equal(t, tt.want, []int{ch.lost, ch.doubled, ch.hung, ch.unexpected, ch.mismatches}, "%q", ch.problems)
				assert.Equal(t, name == "nothing", ch.summary() == nil)
			})
		})
	}
}

// without returns the openids but one.
func without(openIDs iter.Seq2[string, error], left string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for id, err := range openIDs {
			if id != left && !yield(id, err) {
				return
			}
		}
	}
}

// A job that returns long after its context has ended counts as hung, and openids that come twice as doubled.
func TestHungJobsAndDoubledOpenIDs(t *testing.T) {
	r := newResults()
	r.addStopTime("job", hangTime)
	assert.Zero(t, r.hung)
	r.addStopTime("job", hangTime+1)
	assert.Equal(t, 1, r.hung)
	assert.Equal(t, []string{"b", "b"}, duplicates([]string{"a", "b", "c", "b", "b"}))

	partly := &wechatuser.Error{Code: wechatuser.CodeSomeOpenIDsFailed, FailedOpenIDs: []string{"b"}}
	assert.Empty(t, failedOpenIDs([]string{"a", "b"}, nil))
	assert.Equal(t, []string{"b"}, failedOpenIDs([]string{"a", "b"}, partly))
	assert.Equal(t, []string{"a", "b"}, failedOpenIDs([]string{"a", "b"}, io.EOF))
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
			"errcode 45159, and the tag list could not be read",
		},
		"limiter": {
			fmt.Errorf("waiting for the limiter: %w", errLimiter), "an error of the limiter",
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
		"a negative time between deaths": {"-deaths", "-1s"},
		"too many faults":                {"-faults", "0.9"}, "faults not a number": {"-faults", "NaN"},
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

func newPipeNetwork() *pipeNetwork { return &pipeNetwork{listeners: make(map[string]*pipeListener)} }

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
