package redisstore_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	processes  = 8
	goroutines = 100

	stablePath = "/cgi-bin/stable_token"
	legacyPath = "/cgi-bin/token"
)

// kinds are both kinds of token, with the path of their endpoint.
var kinds = []struct {
	name, path string
	legacy     bool
}{
	{"stable", stablePath, false},
	{"legacy", legacyPath, true},
}

// forEachKind runs a test with each kind of token.
func forEachKind(t *testing.T, f func(t *testing.T, legacy bool, path string)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { f(t, kind.legacy, kind.path) })
	}
}

// platform is the simulator on a socket.
func platform(t *testing.T) *wechatusertest.Server {
	t.Helper()
	srv := wechatusertest.NewServer(wechatusertest.WithAccount(appID, secret))
	t.Cleanup(srv.Close)
	return srv
}

// standard is the setup of workers on one Redis server.
func standard(srv *wechatusertest.Server, rs *server) setup {
	return setup{URL: srv.URL, Redis: []string{rs.addr()}, Lease: 2 * time.Second, Timeout: 5 * time.Second}
}

// noneFailed checks that calls were made, and that all were good.
func noneFailed(t *testing.T, o outcome) {
	t.Helper()
	assert.NotZero(t, o.Calls)
	assert.Zero(t, o.Failed, "the first error: %s", o.Error)
	assert.NotContains(t, o.Error, secret)
}

func TestOneTokenRequestForAllProcesses(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := platform(t), startRedis(t)
		s := standard(srv, rs)
		s.Legacy = legacy
		workers := startWorkers(t, processes, s)

		got := all(workers, order{Do: "calls", Goroutines: goroutines})
		noneFailed(t, got)
		assert.Equal(t, processes*goroutines, got.Calls)
		assert.Equal(t, 1, srv.Calls(path), "token requests when nobody had a token")

		srv.ExpireTokens()
		noneFailed(t, all(workers, order{Do: "calls", Goroutines: goroutines}))
		assert.Equal(t, 2, srv.Calls(path), "token requests after a revocation")

		assert.True(t, rs.saw("wechatuser:token:"), "MONITOR shows what is sent")
	})
}

func TestKilledHolderOfTheLock(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := platform(t), startRedis(t)
		s := standard(srv, rs)
		s.Legacy = legacy
		workers := startWorkers(t, 1+processes, s)
		victim, workers := workers[0], workers[1:]
		srv.Delay(path, 9*time.Second) // longer than the lease, which the holder renews
		victim.tell(order{Do: "calls", Goroutines: 1})
		eventually(t, often, func() bool { return srv.Calls(path) == 1 })
		for _, w := range workers {
			w.tell(order{Do: "calls", Goroutines: goroutines})
		}
		time.Sleep(s.Lease + s.Lease/2) // a lease that nobody renews would end meanwhile
		assert.Equal(t, 1, srv.Calls(path), "nobody took the lock of a holder that lives")

		victim.kill()
		killed := time.Now()
		srv.Delay(path, 0)
		for _, w := range workers {
			noneFailed(t, w.answer())
		}
		assert.Less(t, time.Since(killed), 5*s.Lease, "the lock of a dead holder ends with its lease")
		assert.Equal(t, 2, srv.Calls(path))
	})
}

func TestRestartOfRedisUnderLoad(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := platform(t), startRedis(t)
		s := standard(srv, rs)
		s.Legacy = legacy
		workers := startWorkers(t, 4, s)
		all(workers, order{Do: "load", Goroutines: 20})
		time.Sleep(500 * time.Millisecond)

		rs.kill()
		time.Sleep(500 * time.Millisecond)
		if !legacy {
			srv.ExpireTokens() // which each process has to deal with by itself
		}
		time.Sleep(500 * time.Millisecond)
		rs.start()
		time.Sleep(500 * time.Millisecond)
		got := all(workers, order{Do: "rest"})
		noneFailed(t, got)

		// With Redis back there is one renewal for all again. Those who have noticed the outage leave it alone for a
		// second or a few.
		eventually(t, time.Second, func() bool {
			before := srv.Calls(path)
			srv.ExpireTokens()
			got := all(workers, order{Do: "calls", Goroutines: 20})
			return got.Failed == 0 && srv.Calls(path) == before+1
		})
	})
}

// A legacy token that is revoked while Redis is down can't be replaced without harm to the others, so calls fail until
// Redis is back, with an error that says why.
func TestLegacyTokenRevokedWithoutRedis(t *testing.T) {
	srv, rs := platform(t), startRedis(t)
	s := standard(srv, rs)
	s.Legacy = true
	workers := startWorkers(t, 2, s)
	noneFailed(t, all(workers, order{Do: "calls", Goroutines: 10}))

	rs.kill()
	srv.ExpireTokens()
	got := all(workers, order{Do: "calls", Goroutines: 10})
	assert.Equal(t, got.Calls, got.Failed)
	assert.Contains(t, got.Error, "Redis is unavailable")
	assert.NotContains(t, got.Error, secret)
	assert.Equal(t, 1, srv.Calls(legacyPath))

	rs.start()
	eventually(t, time.Second, func() bool {
		return all(workers, order{Do: "calls", Goroutines: 10}).Failed == 0
	})
	assert.Equal(t, 2, srv.Calls(legacyPath))
}

func TestHangingRedis(t *testing.T) {
	for _, patient := range []bool{false, true} {
		name := map[bool]string{false: "client with contexts", true: "client without contexts"}[patient]
		t.Run(name, func(t *testing.T) {
			srv, rs := platform(t), startRedis(t)
			s := standard(srv, rs)
			s.Timeout, s.Patient = 300*time.Millisecond, patient
			workers := startWorkers(t, 4, s)
			calls := order{Do: "calls", Goroutines: 25}
			// The timeout is short for a busy machine, so the start may need another try.
			eventually(t, time.Second, func() bool { return all(workers, calls).Paid == 0 })

			rs.stop()
			defer rs.resume()
			start := time.Now()
			var sum outcome
			const revocations = 6
			for range revocations {
				srv.ExpireTokens()
				got := all(workers, calls)
				noneFailed(t, got)
				sum.StoreCalls += got.StoreCalls
				sum.Paid += got.Paid
				sum.Slowest = max(sum.Slowest, got.Slowest)
			}
			allowed := len(workers) * (1 + triesIn(time.Since(start))) // one more for a busy machine
			t.Logf("%d store calls, %d of them waited for Redis, %d allowed; slowest call %v", sum.StoreCalls, sum.Paid, allowed, sum.Slowest)
			assert.GreaterOrEqual(t, sum.StoreCalls, 2*revocations*len(workers))
			assert.NotZero(t, sum.Paid)
			assert.LessOrEqual(t, sum.Paid, allowed, "not each call pays")
			assert.Less(t, sum.Slowest, clientTimeout/2, "no call waits for the client's own timeout")
		})
	}
}

// triesIn is how often a process may try Redis in a time, with pauses of 1, 2, 4, 8 and then 10 seconds.
func triesIn(d time.Duration) int {
	tries, pause := 1, time.Second
	for d > pause {
		d -= pause
		pause = min(2*pause, 10*time.Second)
		tries++
	}
	return tries
}

// cli is what redis-cli prints, nothing if it fails.
func cli(port string, args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).Output()
	return string(out)
}

func TestFailoverUnderLoad(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, primary := platform(t), startRedis(t)
		replica := startRedis(t, "--replicaof", "127.0.0.1 "+primary.port)
		sentinel := startSentinel(t, primary)
		role := func() string { return cli(replica.port, "info", "replication") }
		eventually(t, often, func() bool { return strings.Contains(role(), "master_link_status:up") })
		eventually(t, often, func() bool {
			return strings.Contains(cli(sentinel.port, "sentinel", "replicas", "main"), replica.port)
		})

		s := standard(srv, sentinel)
		s.Master, s.Legacy = "main", legacy
		workers := startWorkers(t, 4, s)
		all(workers, order{Do: "load", Goroutines: 20})
		time.Sleep(500 * time.Millisecond)
		assert.Equal(t, 1, srv.Calls(path))

		primary.kill()
		if !legacy {
			srv.ExpireTokens()
		}
		eventually(t, often, func() bool { return strings.Contains(role(), "role:master") })
		time.Sleep(500 * time.Millisecond)
		noneFailed(t, all(workers, order{Do: "rest"}))

		eventually(t, time.Second, func() bool {
			before := srv.Calls(path)
			srv.ExpireTokens()
			got := all(workers, order{Do: "calls", Goroutines: 20})
			return got.Failed == 0 && srv.Calls(path) == before+1
		})
		assert.True(t, replica.saw("evalsha"))
	})
}

func TestCluster(t *testing.T) {
	srv := platform(t)
	create := []string{"--cluster", "create"}
	var ports, addrs []string
	for range 3 {
		rs := startRedis(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "2000")
		ports, addrs = append(ports, rs.port), append(addrs, rs.addr())
	}
	out, err := exec.Command("redis-cli", append(append(create, addrs...), "--cluster-yes")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, port := range ports {
		eventually(t, often, func() bool { return strings.Contains(cli(port, "cluster", "info"), "cluster_state:ok") })
	}
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		s := setup{URL: srv.URL, Redis: addrs, Lease: 2 * time.Second, Timeout: 5 * time.Second, Legacy: legacy, Limit: 6000}
		workers := startWorkers(t, 3, s)
		noneFailed(t, all(workers, order{Do: "calls", Goroutines: 20}))
		assert.Equal(t, 1, srv.Calls(path))
		srv.ExpireTokens()
		noneFailed(t, all(workers, order{Do: "calls", Goroutines: 20}))
		assert.Equal(t, 2, srv.Calls(path))

		workers[0].tell(order{Do: "take", Goroutines: 4, For: time.Second})
		assert.NotEmpty(t, workers[0].answer().Taken)
	})
}

func TestLimiterOfManyProcesses(t *testing.T) {
	const perMinute = 600
	srv, rs := platform(t), startRedis(t)
	s := standard(srv, rs)
	s.Limit = perMinute
	workers := startWorkers(t, processes, s)
	for i, w := range workers {
		w.tell(order{Do: "take", Goroutines: 1 + 10*i, For: 12 * time.Second}) // who asks more often gets no more
	}
	var taken []time.Time
	var shares []int
	for _, w := range workers {
		got := w.answer().Taken
		taken = append(taken, got...)
		shares = append(shares, len(got))
	}
	slices.SortFunc(taken, time.Time.Compare)
	d := taken[len(taken)-1].Sub(taken[0])
	rate := float64(len(taken)-1) / d.Minutes()
	t.Logf("%d calls in %v, %.1f a minute; by process %v", len(taken), d, rate, shares)
	assert.InEpsilon(t, perMinute, rate, 0.05)
	assert.Greater(t, d, 10*time.Second)
	fair := len(taken) / processes
	assert.GreaterOrEqual(t, slices.Min(shares), fair/2, "no process starves")
}
