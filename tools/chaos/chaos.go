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
	"github.com/wechatuser/wechatuser/wechatusertest"
)

type config struct {
	net      network
	fans     int
	length   time.Duration
	seed     uint64
	faults   float64       // share of the answers
	revoke   time.Duration // from one revocation to the next, in a gust
	lull     time.Duration // between two gusts, 0 for one gust without end
	latency  time.Duration // of a call, at most
	timeout  time.Duration // of an attempt
	patience time.Duration // before a job is resumed, on average
	pageSize int
	verbose  bool
}

// chaos is one run.
type chaos struct {
	config
	*ledger
	out     io.Writer
	account *wechatusertest.Server
	people  *people
	watch   *watch
	gate    *gateway
	hosts   []*host

	phase atomic.Pointer[phase]
	last  *phase        // in which all jobs must come to their end
	calm  chan struct{} // closed when that begins

	start    time.Time
	printing sync.Mutex

	revoked, deaths atomic.Int64
}

// phase is a time in which the same clients serve, until ctx ends. They share a token as two programs do.
type phase struct {
	ctx     context.Context
	clients [2]*wechatuser.Client
}

func newChaos(cfg config, out io.Writer) *chaos {
	return &chaos{config: cfg, ledger: newLedger(), out: out, start: time.Now()}
}

const (
	tagShelves = 4
	addresses  = 3
	phases     = 2
	gust       = 10 * time.Second // in which tokens are revoked
	// grace is how long it takes at most to finish what was begun.
	grace = 2 * time.Minute
)

// run is the whole of it.
func (ch *chaos) run(ctx context.Context) error {
	ch.account = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithPageSize(ch.pageSize))
	ch.people = newPeople(ch.fans)
	ch.people.settle(ch.account)
	ch.watch = newWatch()
	ch.watch.secret(ch.account.Secret)
	ch.gate = &gateway{
		account: ch.account, watch: ch.watch, ledger: ch.ledger, late: 2 * ch.timeout, latency: ch.latency,
		rng: ch.random(1), rate: ch.faults, tasks: make(map[uint64]*task),
	}
	ch.calm = make(chan struct{})
	for range addresses {
		h := &host{net: ch.net, handler: ch.gate}
		if err := h.open(ctx); err != nil {
			return err
		}
		defer h.close()
		ch.hosts = append(ch.hosts, h)
	}

	storm, endStorm := context.WithTimeout(ctx, ch.length)
	defer endStorm()
	calm, endCalm := context.WithTimeout(context.WithoutCancel(ctx), ch.length+grace)
	defer endCalm()
	first, last := &phase{ctx: storm}, &phase{ctx: calm}
	for _, p := range [phases]*phase{first, last} {
		base := &http.Transport{DialContext: ch.net.dial, MaxIdleConnsPerHost: 64}
		defer base.CloseIdleConnections()
		store := wechatuser.NewMemoryTokenStore()
		for i := range p.clients {
			var err error
			if p.clients[i], err = ch.newClient(stamped{base}, store); err != nil {
				return err
			}
		}
	}
	ch.last = last
	ch.phase.Store(first)
	ch.gate.storm.Store(true)

	var weather, workers sync.WaitGroup
	ch.disturb(storm, &weather)
	shelves := ch.employ(&workers)
	<-storm.Done()
	weather.Wait() // with all addresses open again
	ch.gate.storm.Store(false)
	ch.phase.Store(last)
	close(ch.calm)

	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	timeout := time.NewTimer(2 * grace)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		_ = pprof.Lookup("goroutine").WriteTo(ch.out, 1)
		return errors.New("a job hangs: it did not return when its context had ended; the goroutines are above")
	}
	if err := ch.watch.idle(calm); err != nil {
		return err
	}
	ch.lastLook(shelves)
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
		wechatuser.WithInterceptor(ch.watch.intercept),
		wechatuser.WithLogger(slog.New(slog.NewTextHandler(ch.watch, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	)
}

// disturb revokes tokens, and lets the addresses die and come back.
func (ch *chaos) disturb(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		rng := ch.random(2)
		for ctx.Err() == nil {
			for end := time.Now().Add(gust); time.Now().Before(end) || ch.lull == 0; {
				// Not in step with the pauses of the client.
				if sleep(ctx, ch.revoke/2+time.Duration(rng.Int64N(int64(ch.revoke)))) != nil {
					return
				}
				ch.account.ExpireTokens()
				ch.revoked.Add(1)
			}
			_ = sleep(ctx, ch.lull)
		}
	})
	for i, h := range ch.hosts {
		wg.Go(func() { ch.deaths.Add(int64(h.liveAndDie(ctx, ch.random(10+uint64(i))))) })
	}
}

// employ starts the workers.
func (ch *chaos) employ(wg *sync.WaitGroup) (shelves []*shelf) {
	for i := range tagShelves {
		shelves = append(shelves, ch.tagShelf(fmt.Sprintf("tag %d", i+1)))
	}
	shelves = append(shelves, ch.blacklist())
	n := uint64(100)
	start := func(name string, work func(*worker)) {
		n++
		w := &worker{chaos: ch, name: name, rng: ch.random(n), client: int(n % 2)}
		wg.Go(func() { work(w) })
	}
	for _, s := range shelves {
		start("keeper of "+s.name, func(w *worker) { w.keep(s) })
	}
	start("reader", (*worker).read)
	start("caller", (*worker).single)
	return shelves
}

// lastLook compares all of the account with the model.
func (ch *chaos) lastLook(shelves []*shelf) {
	for _, s := range shelves {
		ch.compare(s)
	}
	if tags := ch.account.Tags(); len(tags) != tagShelves {
		ch.isWrong("the account has %d tags, and should have %d: %v", len(tags), tagShelves, tags)
	}
	if !slices.Equal(ch.account.OpenIDs(), ch.people.fans) {
		ch.isWrong("the account has other followers than before")
	}
	if n, most := ch.watch.renewals, int(ch.revoked.Load())+phases; n > most {
		ch.isWrong("%d tokens were fetched, and %d are enough", n, most)
	}
}

// tell is for -v.
func (ch *chaos) tell(format string, args ...any) {
	if ch.verbose {
		ch.printing.Lock()
		defer ch.printing.Unlock()
		fmt.Fprintf(ch.out, "%8.3fs "+format+"\n", append([]any{time.Since(ch.start).Seconds()}, args...)...)
	}
}
