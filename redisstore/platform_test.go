package redisstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
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
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/redisstore"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const pathAuthorizerList = "/cgi-bin/component/api_get_authorizer_list"

// storeKey encrypts what the tests of platforms write to Redis.
var storeKey = bytes.Repeat([]byte{7}, 32)

// platformConfig configures a worker that acts for a third-party platform.
type platformConfig struct {
	AppID, Secret string
	Accounts      []string
}

// platformSecrets are how all secrets of the simulated platform begin.
var platformSecrets = []string{"ticket@@@", "refreshtoken@@@", "queryauthcode@@@", "103_", "104_", secret}

// platformWorld is a simulated platform with accounts, and a Redis server.
type platformWorld struct {
	rs       *server
	wechat   *wechatusertest.Platform
	accounts []string
}

// newPlatformWorld returns a platform that is as strict as it can be, which n accounts have authorized. Its tickets go
// to the store.
func newPlatformWorld(t *testing.T, n int) *platformWorld {
	t.Helper()
	w := &platformWorld{rs: startRedis(t), wechat: wechatusertest.NewPlatform(
		wechatusertest.WithAccount("wxPLATFORM00000001", secret), wechatusertest.WithRotatingRefreshTokens(),
		wechatusertest.WithQuirks(wechatusertest.Quirks{NoTokenOverlap: true}), wechatusertest.WithRequestLog(0))}
	t.Cleanup(w.wechat.Close)
	transport := &http.Transport{MaxConnsPerHost: 4}
	t.Cleanup(transport.CloseIdleConnections)
	p, err := authorizer.New(w.wechat.AppID, w.wechat.Secret,
		newStore(t, w.rs.client(t), redisstore.WithEncryption(storeKey)),
		authorizer.WithClientOptions(wechatuser.WithBaseURL(w.wechat.URL), wechatuser.WithTransport(transport)))
	require.NoError(t, err)
	w.wechat.OnTicket(func(ticket string) { require.NoError(t, p.SaveTicket(context.Background(), ticket)) })
	codes := make(chan string, n)
	for i := range n {
		account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithRequestLog(0),
			wechatusertest.WithAccount(fmt.Sprintf("wxACCOUNT%09d", i), secret))
		w.accounts = append(w.accounts, account.AppID)
		codes <- w.wechat.Authorize(account)
	}
	close(codes)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for code := range codes {
				_, err := p.ExchangeCode(t.Context(), code)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	return w
}

func (w *platformWorld) workers(t *testing.T, n int, lease time.Duration) []*worker {
	t.Helper()
	return startWorkers(t, n, workerConfig{
		URL: w.wechat.URL, Redis: []string{w.rs.addr()}, Lease: lease,
		Platform: &platformConfig{AppID: w.wechat.AppID, Secret: w.wechat.Secret, Accounts: w.accounts},
	})
}

// call makes each worker call each account once.
func (w *platformWorld) call(t *testing.T, workers []*worker) {
	t.Helper()
	sum := sendAll(workers, order{Do: "accounts", Goroutines: 8})
	require.Zero(t, sum.Failed, sum.Error)
	require.Equal(t, len(workers)*len(w.accounts), sum.Calls)
	require.Empty(t, sum.Leaked)
}

// assertClean checks that no secret was sent to Redis.
func (w *platformWorld) assertClean(t *testing.T) {
	t.Helper()
	for _, text := range platformSecrets {
		assert.Zero(t, w.rs.receivedAll(text), "%s was sent to Redis", text)
	}
}

// dyingStore is a store whose process can end just before a refresh token is saved.
type dyingStore struct {
	*redisstore.Store
	dies atomic.Bool
}

func (s *dyingStore) SaveSecret(ctx context.Context, key, secret string, life time.Duration) error {
	if s.dies.Load() && strings.HasPrefix(key, "wechatuser:refresh:") {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return s.Store.SaveSecret(ctx, key, secret, life)
}

// runPlatformWorker is the main function of a worker that acts for a platform.
func runPlatformWorker(cfg workerConfig) int {
	rdb := redis.NewClient(&redis.Options{Addr: cfg.Redis[0], ContextTimeoutEnabled: true})
	store, err := redisstore.New(rdb, redisstore.WithLease(cfg.Lease), redisstore.WithEncryption(storeKey))
	check(err)
	dying := &dyingStore{Store: store}
	transport := &http.Transport{MaxConnsPerHost: 4, MaxIdleConnsPerHost: 4}
	options := []wechatuser.Option{
		wechatuser.WithBaseURL(cfg.URL), wechatuser.WithTimeout(time.Minute), wechatuser.WithTransport(transport),
	}
	var log workerLog
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	p, err := authorizer.New(cfg.Platform.AppID, cfg.Platform.Secret, dying,
		authorizer.WithClientOptions(options...), authorizer.WithLogger(logger))
	check(err)
	clients := make([]*wechatuser.Client, len(cfg.Platform.Accounts))
	for i, appID := range cfg.Platform.Accounts {
		clients[i], err = wechatuser.New(appID, "", append(options, wechatuser.WithTokenSource(p.Source(appID)))...)
		check(err)
	}
	out := json.NewEncoder(os.Stdout)
	check(out.Encode(outcome{})) // ready
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if in.Decode(&o) != nil {
			break
		}
		var got outcome
		switch o.Do {
		case "accounts":
			got = callAll(clients, o.Goroutines)
			lines := log.take()
			for _, text := range platformSecrets {
				if strings.Contains(lines+got.Error, text) {
					got.Leaked = text
				}
			}
		case "die":
			dying.dies.Store(true)
		}
		check(out.Encode(got))
	}
	transport.CloseIdleConnections()
	check(rdb.Close())
	check(goleak.Find())
	return 0
}

// workerLog is the log of a worker.
type workerLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *workerLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since the last call.
func (l *workerLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// callAll makes a call with each client, in random order.
func callAll(clients []*wechatuser.Client, goroutines int) outcome {
	var l calls
	queue := make(chan *wechatuser.Client, len(clients))
	for _, i := range rand.Perm(len(clients)) {
		queue <- clients[i]
	}
	close(queue)
	for range goroutines {
		l.wg.Go(func() {
			for c := range queue {
				l.call(c)
			}
		})
	}
	return l.stop()
}

// A process is killed after WeChat has replaced a refresh token, and before it is saved. Another one goes on.
func TestKilledBeforeSavingARefreshToken(t *testing.T) {
	t.Parallel()
	w := newPlatformWorld(t, 1)
	workers := w.workers(t, 8, time.Second)
	w.call(t, workers)
	w.wechat.ExpireAuthorizerTokens()
	victim := workers[0]
	victim.send(order{Do: "die"})
	victim.receive()
	victim.killed = true
	victim.send(order{Do: "accounts", Goroutines: 1})
	require.Error(t, victim.out.Decode(new(outcome)), "it ended, with the lock and the new refresh token")

	w.call(t, workers[1:])

	assert.Equal(t, 3, w.wechat.Fetched(w.accounts[0]), "that of the code, the one that was lost, and the next one")
	assert.Equal(t, 1, w.wechat.Calls(pathAuthorizerList), "once")
	w.assertClean(t)
}

// The whole of it: many accounts, 8 processes, and two hours of the platform's clock. Each token is fetched once per
// expiry, no refresh token is lost, and no call fails.
func TestTwoHoursOfAPlatform(t *testing.T) {
	t.Parallel()
	accounts, every := 60, 4 // the ticks with calls
	if fullSize {
		accounts, every = 1000, 1
	}
	const ticks = 13 // of 10 minutes
	w := newPlatformWorld(t, accounts)
	workers := w.workers(t, 8, 10*time.Second)
	for tick := range ticks + 1 {
		if tick > 0 {
			w.wechat.Advance(10 * time.Minute)
		}
		if tick%every == 0 || tick == ticks {
			w.call(t, workers)
		}
		expired := 0
		if tick >= 12 {
			expired = 1
		}
		for _, appID := range w.accounts {
			require.LessOrEqual(t, w.wechat.Fetched(appID), 1+expired, "%s after %d ticks", appID, tick)
		}
		require.LessOrEqual(t, w.wechat.Calls("/cgi-bin/component/api_component_token"), 1+expired)
	}
	for _, appID := range w.accounts {
		require.Equal(t, 2, w.wechat.Fetched(appID), "%s: with its code, and once after two hours", appID)
	}
	assert.Zero(t, w.wechat.Calls(pathAuthorizerList), "no refresh token was lost")

	store := newStore(t, w.rs.client(t), redisstore.WithEncryption(storeKey))
	for _, appID := range w.accounts {
		refresh, err := store.LoadSecret(t.Context(), "wechatuser:refresh:"+w.wechat.AppID+":"+appID)
		require.NoError(t, err)
		require.Equal(t, w.wechat.RefreshToken(appID), refresh)
	}
	w.assertClean(t)
}
