package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

type config struct {
	network     network
	death       time.Duration // between two deaths of connections, on average; 0 for none
	fans        int
	length      time.Duration // of the phase with faults
	seed        uint64
	faultRate   float64       // share of responses that are faults
	limiterRate float64       // share of calls whose limiter fails
	revoke      time.Duration // between two revocations of a burst, on average
	lull        time.Duration // between two bursts; 0 for revocations all the time
	latency     time.Duration // upper bound of the random latency of a request
	timeout     time.Duration // of an attempt
	resumeDelay time.Duration // before a stopped job is resumed, on average
	pageSize    int
	verbose     bool
}

// chaos is one run of the program.
type chaos struct {
	config
	*results
	out        io.Writer
	account    *wechatusertest.Server
	population *population
	monitor    *monitor
	gateway    *gateway
	hosts      []*host
	conns      *connections

	phase    atomic.Pointer[phase]
	recovery *phase        // the last phase, in which all jobs must finish
	working  atomic.Int64  // workers that have not ended
	faultEnd chan struct{} // closed when the recovery begins

	start    time.Time
	printing sync.Mutex

	revoked, outages, deaths atomic.Int64
}

// phase is a part of the run with clients of its own: two of each kind of token, which share it, as two programs do.
// All jobs end with ctx.
type phase struct {
	ctx     context.Context
	clients [2 * kindCount]*wechatuser.Client
}

func newChaos(cfg config, out io.Writer) *chaos {
	return &chaos{config: cfg, results: newResults(), out: out, start: time.Now()}
}

const (
	tagCount   = 4
	hostCount  = 3
	phaseCount = 2
	burst      = 10 * time.Second // how long tokens are revoked before a lull
	// recoveryTime is how long the jobs may take to finish without faults.
	recoveryTime = 2 * time.Minute
)

// run runs both phases and checks the account.
func (ch *chaos) run(ctx context.Context) error {
	if err := ch.open(ctx); err != nil {
		ch.close()
		return err
	}
	defer ch.close()
	faultCtx, cancelFaults := context.WithTimeout(ctx, ch.length)
	defer cancelFaults()
	recoveryCtx, cancelRecovery := context.WithTimeout(context.WithoutCancel(ctx), ch.length+recoveryTime)
	defer cancelRecovery()
	faulty, closeFaulty, err := ch.newPhase(faultCtx)
	if err != nil {
		return err
	}
	defer closeFaulty()
	recovery, closeRecovery, err := ch.newPhase(recoveryCtx)
	if err != nil {
		return err
	}
	defer closeRecovery()
	ch.recovery = recovery
	ch.phase.Store(faulty)
	ch.gateway.active.Store(true)

	var disruptions, workers sync.WaitGroup
	ch.startDisruptions(faultCtx, &disruptions)
	targets := ch.startWorkers(&workers)
	<-faultCtx.Done()
	disruptions.Wait() // all hosts are open then
	ch.gateway.active.Store(false)
	ch.phase.Store(recovery)
	close(ch.faultEnd)

	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	timeout := time.NewTimer(2 * recoveryTime)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		_ = pprof.Lookup("goroutine").WriteTo(ch.out, 1)
		return fmt.Errorf("hung %d: jobs did not return after their context had ended; the goroutines are printed above",
			ch.working.Load())
	}
	if err := ch.monitor.waitIdle(recoveryCtx); err != nil {
		return err
	}
	ch.checkAccount(targets)
	return ch.summary()
}

// open makes the account and its hosts.
func (ch *chaos) open(ctx context.Context) error {
	ch.account = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithPageSize(ch.pageSize))
	ch.population = newPopulation(ch.fans)
	ch.population.addTo(ch.account)
	ch.monitor = newMonitor()
	ch.monitor.addSecret(ch.account.Secret)
	ch.gateway = &gateway{
		account: ch.account, monitor: ch.monitor, results: ch.results, delay: 2 * ch.timeout, latency: ch.latency,
		rng: ch.random(1), faultRate: ch.faultRate, limiterRate: ch.limiterRate, runs: make(map[uint64]*jobRun),
		revoke: ch.revokeTokens,
	}
	ch.conns = newConnections(ch.network, ch.monitor)
	ch.faultEnd = make(chan struct{})
	for range hostCount {
		h := &host{network: ch.network, handler: ch.gateway}
		if err := h.open(ctx); err != nil {
			return err
		}
		ch.hosts = append(ch.hosts, h)
	}
	return nil
}

func (ch *chaos) close() {
	for _, h := range ch.hosts {
		h.close()
	}
}

// newPhase returns a phase with new clients, and what closes their connections.
func (ch *chaos) newPhase(ctx context.Context) (*phase, func(), error) {
	base := &http.Transport{DialContext: ch.conns.dial, MaxIdleConnsPerHost: 64}
	store := wechatuser.NewMemoryTokenStore()
	p := &phase{ctx: ctx}
	for i := range p.clients {
		var err error
		if p.clients[i], err = ch.newClient(i%kindCount, markedTransport{base, ch.conns}, store); err != nil {
			return nil, nil, err
		}
	}
	return p, base.CloseIdleConnections, nil
}

func (ch *chaos) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(ch.seed, stream)) }

func (ch *chaos) newClient(
	kind int, transport http.RoundTripper, store wechatuser.TokenStore,
) (*wechatuser.Client, error) {
	var urls []string
	for _, h := range ch.hosts {
		urls = append(urls, "http://"+h.addr)
	}
	opts := []wechatuser.Option{
		wechatuser.WithBaseURL(urls[0], urls[1:]...),
		wechatuser.WithTransport(transport),
		wechatuser.WithTokenStore(store),
		wechatuser.WithTimeout(ch.timeout),
		wechatuser.WithInterceptor(ch.monitor.intercept),
		wechatuser.WithLimiter(limiter{ch.gateway}),
		wechatuser.WithLogger(slog.New(slog.NewTextHandler(ch.monitor, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	}
	if kind == legacy {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	return wechatuser.New(ch.account.AppID, ch.account.Secret, opts...)
}

func (ch *chaos) revokeTokens() {
	ch.account.ExpireTokens()
	ch.revoked.Add(1)
}

// startDisruptions starts to revoke tokens, to close and reopen hosts, and to kill connections, until ctx ends.
func (ch *chaos) startDisruptions(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		rng := ch.random(2)
		for ctx.Err() == nil {
			for end := time.Now().Add(burst); time.Now().Before(end) || ch.lull == 0; {
				// A random interval, so that revocations do not fall into step with the client's delays.
				if backoff.Sleep(ctx, ch.revoke/2+time.Duration(rng.Int64N(int64(ch.revoke)))) != nil {
					return
				}
				for kind := range kindCount {
					if rng.IntN(3) == 0 {
						ch.gateway.revokeUnused[kind].Store(true)
					}
				}
				ch.revokeTokens()
			}
			_ = backoff.Sleep(ctx, ch.lull)
		}
	})
	wg.Go(func() { ch.killConnections(ctx, ch.random(3)) })
	for i, h := range ch.hosts {
		wg.Go(func() { ch.outages.Add(int64(h.goDownAndUp(ctx, ch.random(10+uint64(i))))) })
	}
}

// killConnections kills the idle connections, and sometimes all, again and again.
func (ch *chaos) killConnections(ctx context.Context, rng *rand.Rand) {
	for ch.death > 0 && backoff.Sleep(ctx, ch.death/2+time.Duration(rng.Int64N(int64(ch.death)))) == nil {
		d := resets
		if rng.IntN(2) == 0 {
			d = swallows
		}
		ch.conns.kill(d, rng.IntN(4) > 0)
		ch.deaths.Add(1)
	}
}

// startWorkers starts the workers and returns the targets that they change.
func (ch *chaos) startWorkers(wg *sync.WaitGroup) (targets []*target) {
	for i := range tagCount {
		targets = append(targets, ch.tagTarget(fmt.Sprintf("tag %d", i+1)))
	}
	targets = append(targets, ch.blacklistTarget())
	n := uint64(100)
	start := func(name string, work func(*worker)) {
		n++
		w := &worker{chaos: ch, name: name, rng: ch.random(n), client: int(n % (2 * kindCount))}
		ch.working.Add(1)
		wg.Go(func() {
			defer ch.working.Add(-1)
			work(w)
		})
	}
	for _, t := range targets {
		start("worker of "+t.name, func(w *worker) { w.runJobs(t) })
	}
	start("profile reader", (*worker).readProfiles)
	start("caller", (*worker).makeCalls)
	return targets
}

// checkAccount compares the whole account with the model.
func (ch *chaos) checkAccount(targets []*target) {
	for _, t := range targets {
		ch.checkMembers(t)
	}
	if tags := ch.account.Tags(); len(tags) != tagCount {
		ch.addMismatch("the account has %d tags, want %d: %v", len(tags), tagCount, tags)
	}
	if !slices.Equal(ch.account.OpenIDs(), ch.population.fans) {
		ch.addMismatch("the followers of the account have changed")
	}
	for kind, n := range ch.monitor.tokensFetched {
		if limit := int(ch.revoked.Load()) + phaseCount; n > limit {
			ch.addMismatch("%d tokens were fetched from %s, want at most %d", n, tokenPaths[kind], limit)
		}
	}
}

// logf prints a line if -v is set.
func (ch *chaos) logf(format string, args ...any) {
	if ch.verbose {
		ch.printing.Lock()
		defer ch.printing.Unlock()
		fmt.Fprintf(ch.out, "%8.3fs "+format+"\n", append([]any{time.Since(ch.start).Seconds()}, args...)...)
	}
}
