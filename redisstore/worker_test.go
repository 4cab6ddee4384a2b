package redisstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// The account of the tests. The secret must never be sent to Redis.
const (
	appID  = "wxFAKE000000000000"
	secret = "SENTINEL-secret-SENTINEL"
)

// workerEnv makes the test binary a worker: a process with its own client that reads orders from its standard input.
const workerEnv = "REDISSTORE_TEST_WORKER"

// redisReadTimeout is the time after which the go-redis client of a worker gives up if nothing else limits it.
const redisReadTimeout = time.Minute

// workerConfig configures a worker.
type workerConfig struct {
	URL            string // of the platform
	Redis          []string
	Master         string // for Sentinel
	Legacy         bool
	Lease          time.Duration
	Timeout        time.Duration // 0 for the default
	Cluster        bool          // a client of a Cluster with default options
	Prefix         string
	User, Password string
	IgnoreContexts bool // the go-redis client ignores contexts, as it does by default
	NoRetries      bool // the go-redis client fails at once if Redis refuses connections
	PerMinute      int  // the limit of calls
	Platform       *platformConfig
}

// order is one line of a worker's input.
type order struct {
	// Do is "calls" for one call in each goroutine, "load" for calls in each goroutine until "stop", or "take" to
	// wait for the limiter in each goroutine until Count calls are allowed; "push" to receive a push, with a function
	// that hangs or not. With an empty Do a worker only reports its counters. In a worker of a platform it is "accounts"
	// for a call of each account, or "die" to end just before the next refresh token is saved.
	Do         string
	Goroutines int
	Count      int
	Query      string // of the push
	Body       string
	Hang       bool
}

// outcome is a worker's response to an order.
type outcome struct {
	Calls, Failed int
	Error         string // of the first failed call
	Slowest       time.Duration
	StoreCalls    int         // calls of the store's methods
	StoreErrors   int         // those of them that failed
	Commands      int         // Redis commands of the store and the limiter, sent or tried
	Taken         []time.Time // when the limiter allowed a call
	Leaked        string      // how a secret begins that was in a log line or an error
	Status        int         // of the response to a push
	Handled       int         // pushes that were handled
}

// worker is a process as its parent sees it.
type worker struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	killed bool
}

// startWorkers starts processes and waits until all are ready. They end with the test and must exit without an error.
func startWorkers(t *testing.T, n int, cfg workerConfig) []*worker {
	t.Helper()
	config, err := json.Marshal(cfg)
	require.NoError(t, err)
	workers := make([]*worker, 0, n)
	t.Cleanup(func() {
		for _, w := range workers {
			_ = w.in.Close() // the workers end at the same time
		}
		for _, w := range workers {
			if err := w.cmd.Wait(); !w.killed {
				assert.NoError(t, err, "a worker failed")
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
		w.receive()
	}
	return workers
}

func (w *worker) kill() {
	w.killed = true
	_ = w.cmd.Process.Kill()
}

// stall stops the process for a while, as a machine without free processors does.
func (w *worker) stall(d time.Duration) {
	require.NoError(w.t, w.cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	require.NoError(w.t, w.cmd.Process.Signal(syscall.SIGCONT))
}

func (w *worker) send(o order) {
	w.t.Helper()
	require.NoError(w.t, json.NewEncoder(w.in).Encode(o))
}

func (w *worker) receive() (o outcome) {
	w.t.Helper()
	require.NoError(w.t, w.out.Decode(&o), "no response from a worker")
	return o
}

// add adds the outcome of another worker.
func (o *outcome) add(other outcome) {
	o.Calls += other.Calls
	o.Failed += other.Failed
	o.StoreCalls += other.StoreCalls
	o.StoreErrors += other.StoreErrors
	o.Commands += other.Commands
	o.Status += other.Status
	o.Handled += other.Handled
	o.Slowest = max(o.Slowest, other.Slowest)
	o.Taken = append(o.Taken, other.Taken...)
	if o.Error == "" {
		o.Error = other.Error
	}
	if o.Leaked == "" {
		o.Leaked = other.Leaked
	}
}

// sendAll sends an order to all workers and returns the sum of their outcomes.
func sendAll(workers []*worker, o order) (sum outcome) {
	for _, w := range workers {
		w.send(o)
	}
	for _, w := range workers {
		sum.add(w.receive())
	}
	return sum
}

// runWorker is the main function of a worker.
func runWorker() int {
	var cfg workerConfig
	check(json.Unmarshal([]byte(os.Getenv(workerEnv)), &cfg))
	if cfg.Platform != nil {
		return runPlatformWorker(cfg)
	}
	redisOptions := &redis.UniversalOptions{
		Addrs: cfg.Redis, MasterName: cfg.Master, Username: cfg.User, Password: cfg.Password,
		IsClusterMode:         cfg.Cluster,
		ContextTimeoutEnabled: !cfg.IgnoreContexts, ReadTimeout: redisReadTimeout,
	}
	if cfg.NoRetries {
		redisOptions.MaxRetries, redisOptions.DialerRetries = -1, 1
	}
	rdb := redis.NewUniversalClient(redisOptions)
	commands := &commandCounter{}
	rdb.AddHook(commands)
	var timeout []redisstore.Option
	if cfg.Timeout > 0 {
		timeout = append(timeout, redisstore.WithTimeout(cfg.Timeout))
	}
	store, err := redisstore.New(rdb,
		append(timeout, redisstore.WithLease(cfg.Lease), redisstore.WithKeyPrefix(cfg.Prefix))...)
	check(err)
	limiter, err := redisstore.NewLimiter(rdb, cfg.Prefix+limitKey, redisstore.PerMinute(max(cfg.PerMinute, 1)),
		append(timeout, redisstore.WithFailClosed())...)
	check(err)
	counted := &countingStore{Store: store}
	// Few connections: the platforms of all tests are in one process, whose open files may be limited.
	transport := &http.Transport{MaxConnsPerHost: 4, MaxIdleConnsPerHost: 4}
	options := []wechatuser.Option{
		wechatuser.WithBaseURL(cfg.URL), wechatuser.WithTimeout(time.Minute), wechatuser.WithTokenStore(counted),
		wechatuser.WithTransport(transport),
	}
	if cfg.Legacy {
		options = append(options, wechatuser.WithLegacyToken())
	}
	c, err := wechatuser.New(appID, secret, options...)
	check(err)

	pushes, err := redisstore.NewDeduplicator(rdb, append(timeout, redisstore.WithKeyPrefix(cfg.Prefix))...)
	check(err)

	out := json.NewEncoder(os.Stdout)
	check(out.Encode(outcome{})) // ready
	var running *calls
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			break
		}
		var got outcome
		switch o.Do {
		case "calls":
			running = startCalls(c, o.Goroutines, true)
			got = running.stop()
		case "load":
			running = startCalls(c, o.Goroutines, false)
		case "stop":
			got = running.stop()
		case "take":
			got.Taken = take(limiter, o.Goroutines, o.Count)
		case "push":
			got.Status, got.Handled = receive(pushes, o)
		}
		got.StoreCalls, got.StoreErrors = int(counted.calls.Swap(0)), int(counted.errors.Swap(0))
		got.Commands = int(commands.n.Swap(0))
		check(out.Encode(got))
	}
	c.HTTPClient().CloseIdleConnections()
	check(rdb.Close())
	check(goleak.Find())
	return 0
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// calls are goroutines that make calls.
type calls struct {
	stopped atomic.Bool
	wg      sync.WaitGroup
	mu      sync.Mutex
	sum     outcome
}

func startCalls(c *wechatuser.Client, goroutines int, once bool) *calls {
	l := &calls{}
	for range goroutines {
		l.wg.Go(func() {
			for {
				l.call(c)
				if once || l.stopped.Load() {
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

func (l *calls) stop() outcome {
	l.stopped.Store(true)
	l.wg.Wait()
	return l.sum
}

// take waits for the limiter in each goroutine until it has allowed that many calls, and returns their times.
func take(l *redisstore.Limiter, goroutines, count int) (taken []time.Time) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range goroutines {
		wg.Go(func() {
			for l.Wait(ctx) == nil {
				mu.Lock()
				if taken = append(taken, time.Now()); len(taken) >= count {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return taken
}

// receive receives a push as a handler of its own, and returns the status and how often the push was handled.
func receive(pushes *redisstore.Deduplicator, o order) (status, handled int) {
	h, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID: appID, Token: pushToken, AllowPlain: true, Deduplicator: pushes,
	}, func(context.Context, wechatuserpush.Event) error {
		if o.Hang {
			select {}
		}
		handled++
		return nil
	})
	check(err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+o.Query, strings.NewReader(o.Body)))
	return w.Code, handled
}

// countingStore counts the calls of a store's methods, and those that failed although their caller had time.
type countingStore struct {
	*redisstore.Store
	calls, errors atomic.Int64
}

func (s *countingStore) count(ctx context.Context, err error) {
	s.calls.Add(1)
	if err != nil && ctx.Err() == nil {
		s.errors.Add(1)
	}
}

func (s *countingStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	t, err := s.Store.Load(ctx, key)
	s.count(ctx, err)
	return t, err
}

func (s *countingStore) Lock(ctx context.Context, key string) (func(), error) {
	unlock, err := s.Store.Lock(ctx, key)
	s.count(ctx, err)
	return unlock, err
}

func (s *countingStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	err := s.Store.Save(ctx, key, t)
	s.count(ctx, err)
	return err
}

func (s *countingStore) Delete(ctx context.Context, key string, t wechatuser.Token) error {
	err := s.Store.Delete(ctx, key, t)
	s.count(ctx, err)
	return err
}

// hooks is a redis.Hook that does nothing, to be embedded.
type hooks struct{}

func (hooks) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (hooks) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (hooks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// commandCounter counts the commands of the store and the limiter, without retries and without the commands that a
// go-redis client sends on its own when it connects.
type commandCounter struct {
	hooks
	n atomic.Int64
}

func (h *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		switch cmd.Name() {
		case "get", "eval", "evalsha":
			h.n.Add(1)
		}
		return next(ctx, cmd)
	}
}
