package main

import (
	"context"
	"errors"
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
	fans        int
	length      time.Duration // of the phase with faults
	seed        uint64
	faultRate   float64       // share of responses that are faults
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

	phase    atomic.Pointer[phase]
	recovery *phase        // the last phase, in which all jobs must finish
	faultEnd chan struct{} // closed when the recovery begins

	start    time.Time
	printing sync.Mutex

	revoked, outages atomic.Int64
}

// phase is a part of the run with clients of its own. The clients share a token, as two programs do. All jobs end with
// ctx.
type phase struct {
	ctx     context.Context
	clients [2]*wechatuser.Client
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
	ch.account = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithPageSize(ch.pageSize))
	ch.population = newPopulation(ch.fans)
	ch.population.addTo(ch.account)
	ch.monitor = newMonitor()
	ch.monitor.addSecret(ch.account.Secret)
	ch.gateway = &gateway{
		account: ch.account, monitor: ch.monitor, results: ch.results, delay: 2 * ch.timeout, latency: ch.latency,
		rng: ch.random(1), faultRate: ch.faultRate, runs: make(map[uint64]*jobRun),
	}
	ch.faultEnd = make(chan struct{})
	for range hostCount {
		h := &host{network: ch.network, handler: ch.gateway}
		if err := h.open(ctx); err != nil {
			return err
		}
		defer h.close()
		ch.hosts = append(ch.hosts, h)
	}

	faultCtx, cancelFaults := context.WithTimeout(ctx, ch.length)
	defer cancelFaults()
	recoveryCtx, cancelRecovery := context.WithTimeout(context.WithoutCancel(ctx), ch.length+recoveryTime)
	defer cancelRecovery()
	faulty, recovery := &phase{ctx: faultCtx}, &phase{ctx: recoveryCtx}
	for _, p := range [phaseCount]*phase{faulty, recovery} {
		base := &http.Transport{DialContext: ch.network.dial, MaxIdleConnsPerHost: 64}
		defer base.CloseIdleConnections()
		store := wechatuser.NewMemoryTokenStore()
		for i := range p.clients {
			var err error
			if p.clients[i], err = ch.newClient(markedTransport{base}, store); err != nil {
				return err
			}
		}
	}
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
		return errors.New("a job did not return after its context had ended; the goroutines are printed above")
	}
	if err := ch.monitor.waitIdle(recoveryCtx); err != nil {
		return err
	}
	ch.checkAccount(targets)
	return ch.summary()
}

func (ch *chaos) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(ch.seed, stream)) }

func (ch *chaos) newClient(transport http.RoundTripper, store wechatuser.TokenStore) (*wechatuser.Client, error) {
	var urls []string
	for _, h := range ch.hosts {
		urls = append(urls, "http://"+h.addr)
	}
	return wechatuser.New(ch.account.AppID, ch.account.Secret,
		wechatuser.WithBaseURL(urls[0], urls[1:]...),
		wechatuser.WithTransport(transport),
		wechatuser.WithTokenStore(store),
		wechatuser.WithTimeout(ch.timeout),
		wechatuser.WithInterceptor(ch.monitor.intercept),
		wechatuser.WithLogger(slog.New(slog.NewTextHandler(ch.monitor, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	)
}

// startDisruptions starts to revoke tokens and to close and reopen hosts, until ctx ends.
func (ch *chaos) startDisruptions(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		rng := ch.random(2)
		for ctx.Err() == nil {
			for end := time.Now().Add(burst); time.Now().Before(end) || ch.lull == 0; {
				// A random interval, so that revocations do not fall into step with the client's delays.
				if backoff.Sleep(ctx, ch.revoke/2+time.Duration(rng.Int64N(int64(ch.revoke)))) != nil {
					return
				}
				ch.account.ExpireTokens()
				ch.revoked.Add(1)
			}
			_ = backoff.Sleep(ctx, ch.lull)
		}
	})
	for i, h := range ch.hosts {
		wg.Go(func() { ch.outages.Add(int64(h.goDownAndUp(ctx, ch.random(10+uint64(i))))) })
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
		w := &worker{chaos: ch, name: name, rng: ch.random(n), client: int(n % 2)}
		wg.Go(func() { work(w) })
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
	if n, limit := ch.monitor.tokensFetched, int(ch.revoked.Load())+phaseCount; n > limit {
		ch.addMismatch("%d tokens were fetched, want at most %d", n, limit)
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
