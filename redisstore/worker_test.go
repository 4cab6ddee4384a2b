package redisstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

// The account of the tests. The secret must turn up nowhere in Redis.
const (
	appID  = "wxFAKE000000000000"
	secret = "SENTINEL-secret-SENTINEL"
)

// workerEnv makes the test binary a worker: a process of its own with a client, which does what it is told on its
// standard input.
const workerEnv = "REDISSTORE_TEST_WORKER"

// clientTimeout is what a worker's go-redis client would wait for an answer if nobody else set a limit.
const clientTimeout = time.Minute

// setup is what a worker has.
type setup struct {
	URL     string // of the platform
	Redis   []string
	Master  string // for Sentinel
	Legacy  bool
	Lease   time.Duration
	Timeout time.Duration
	Patient bool // the go-redis client ignores contexts, as it does by default
	Limit   int  // calls a minute
}

// order is one line for a worker.
type order struct {
	// Do is "calls" for one call in each goroutine, "load" for calls in each goroutine until "rest", or "take" for
	// places of the limiter in each goroutine for a time.
	Do         string
	Goroutines int
	For        time.Duration
}

// outcome is what a worker answers.
type outcome struct {
	Calls, Failed int
	Error         string // of the first failed call
	Slowest       time.Duration
	StoreCalls    int         // operations of the store
	Paid          int         // those of them that lasted as long as the timeout
	Taken         []time.Time // when the limiter let a call go
}

// worker is a process as its parent sees it.
type worker struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	killed bool
}

// startWorkers starts processes and waits until all are ready. They end with the test, and must end well.
func startWorkers(t *testing.T, n int, s setup) []*worker {
	t.Helper()
	config, err := json.Marshal(s)
	require.NoError(t, err)
	workers := make([]*worker, 0, n)
	t.Cleanup(func() {
		for _, w := range workers {
			_ = w.in.Close() // which ends them, all at once
		}
		for _, w := range workers {
			if err := w.cmd.Wait(); !w.killed {
				assert.NoError(t, err, "a worker ended badly")
			}
		}
	})
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+string(config))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		workers = append(workers, &worker{t: t, cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))})
	}
	for _, w := range workers {
		w.answer()
	}
	return workers
}

func (w *worker) kill() {
	w.killed = true
	_ = w.cmd.Process.Kill()
}

func (w *worker) tell(o order) {
	w.t.Helper()
	require.NoError(w.t, json.NewEncoder(w.in).Encode(o))
}

func (w *worker) answer() (o outcome) {
	w.t.Helper()
	require.NoError(w.t, w.out.Decode(&o), "the worker gives no answer")
	return o
}

// all gives an order to all workers and sums up their answers.
func all(workers []*worker, o order) (sum outcome) {
	for _, w := range workers {
		w.tell(o)
	}
	for _, w := range workers {
		got := w.answer()
		sum.Calls += got.Calls
		sum.Failed += got.Failed
		sum.StoreCalls += got.StoreCalls
		sum.Paid += got.Paid
		sum.Slowest = max(sum.Slowest, got.Slowest)
		if sum.Error == "" {
			sum.Error = got.Error
		}
	}
	return sum
}

// work is the main function of a worker.
func work() int {
	var s setup
	check(json.Unmarshal([]byte(os.Getenv(workerEnv)), &s))
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: s.Redis, MasterName: s.Master, ContextTimeoutEnabled: !s.Patient, ReadTimeout: clientTimeout,
	})
	store, err := redisstore.New(rdb, redisstore.WithLease(s.Lease), redisstore.WithTimeout(s.Timeout))
	check(err)
	limiter, err := redisstore.NewLimiter(rdb, "limit:"+appID, redisstore.PerMinute(max(s.Limit, 1)))
	check(err)
	watched := &watchedStore{Store: store, timeout: s.Timeout}
	options := []wechatuser.Option{wechatuser.WithBaseURL(s.URL), wechatuser.WithTokenStore(watched)}
	if s.Legacy {
		options = append(options, wechatuser.WithLegacyToken())
	}
	c, err := wechatuser.New(appID, secret, options...)
	check(err)

	out := json.NewEncoder(os.Stdout)
	check(out.Encode(outcome{})) // ready
	var load *calls
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			break
		}
		answer := outcome{}
		switch o.Do {
		case "calls":
			load = startCalls(c, o.Goroutines, true)
			answer = load.end()
		case "load":
			load = startCalls(c, o.Goroutines, false)
		case "rest":
			answer = load.end()
		case "take":
			answer.Taken = take(limiter, o.Goroutines, o.For)
		}
		answer.StoreCalls, answer.Paid = watched.counts()
		check(out.Encode(answer))
	}
	c.HTTPClient().CloseIdleConnections()
	check(rdb.Close())
	check(goleak.Find())
	return 0
}

// quiet keeps go-redis from writing about servers that a test has ended.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// calls are goroutines that make calls.
type calls struct {
	stop atomic.Bool
	wg   sync.WaitGroup
	mu   sync.Mutex
	sum  outcome
}

func startCalls(c *wechatuser.Client, goroutines int, once bool) *calls {
	l := &calls{}
	for range goroutines {
		l.wg.Go(func() {
			for {
				l.call(c)
				if once || l.stop.Load() {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *calls) call(c *wechatuser.Client) {
	start := time.Now()
	_, err := c.GetTags(context.Background())
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum.Calls++
	l.sum.Slowest = max(l.sum.Slowest, took)
	if err != nil {
		l.sum.Failed++
		if l.sum.Error == "" {
			l.sum.Error = err.Error()
		}
	}
}

func (l *calls) end() outcome {
	l.stop.Store(true)
	l.wg.Wait()
	return l.sum
}

// take counts what the limiter gives to goroutines that always want more.
func take(l *redisstore.Limiter, goroutines int, d time.Duration) (taken []time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range goroutines {
		wg.Go(func() {
			for l.Wait(ctx) == nil {
				mu.Lock()
				taken = append(taken, time.Now())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return taken
}

// watchedStore counts what a store does, and how often it takes as long as a round trip may take.
type watchedStore struct {
	*redisstore.Store
	timeout     time.Duration
	calls, paid atomic.Int64
}

func (s *watchedStore) watch() (done func()) {
	start := time.Now()
	return func() {
		s.calls.Add(1)
		if time.Since(start) >= s.timeout {
			s.paid.Add(1)
		}
	}
}

func (s *watchedStore) counts() (calls, paid int) {
	return int(s.calls.Swap(0)), int(s.paid.Swap(0))
}

func (s *watchedStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	defer s.watch()()
	return s.Store.Load(ctx, key)
}

func (s *watchedStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	defer s.watch()()
	return s.Store.Save(ctx, key, t)
}

func (s *watchedStore) Delete(ctx context.Context, key string, t wechatuser.Token) error {
	defer s.watch()()
	return s.Store.Delete(ctx, key, t)
}
