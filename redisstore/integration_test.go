package redisstore_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// fullSize is set by WECHATUSER_FULL: tests then use more processes and calls.
var fullSize = os.Getenv("WECHATUSER_FULL") != ""

// size returns a size that depends on fullSize.
func size(share, full int) int {
	if fullSize {
		return full
	}
	return share
}

// The number of processes, and of goroutines in each, of most tests.
var (
	processes  = size(3, 8)
	goroutines = size(20, 100)
)

const (
	tagsPath   = "/cgi-bin/tags/get"
	stablePath = "/cgi-bin/stable_token"
	legacyPath = "/cgi-bin/token"
)

// forEachKind runs a test with each kind of token, in parallel. path is the endpoint that issues it.
func forEachKind(t *testing.T, f func(t *testing.T, legacy bool, path string)) {
	for _, kind := range []struct {
		name, path string
		legacy     bool
	}{
		{"stable", stablePath, false},
		{"legacy", legacyPath, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			f(t, kind.legacy, kind.path)
		})
	}
}

// newPlatform starts the simulator on a socket.
func newPlatform(t *testing.T) *wechatusertest.Server {
	t.Helper()
	srv := wechatusertest.NewServer(wechatusertest.WithAccount(appID, secret))
	t.Cleanup(srv.Close)
	return srv
}

// defaultConfig configures workers on one Redis server. The times are long, so that a busy machine causes no outage.
func defaultConfig(srv *wechatusertest.Server, rs *server) workerConfig {
	return workerConfig{URL: srv.URL, Redis: []string{rs.addr()}, Lease: 10 * time.Second, Timeout: 30 * time.Second}
}

// requireSuccess checks that calls were made and that none failed.
func requireSuccess(t *testing.T, o outcome) {
	t.Helper()
	require.NotZero(t, o.Calls)
	assert.Zero(t, o.Failed, "the first error: %s", o.Error)
	assert.NotContains(t, o.Error, secret)
}

// undisturbed repeats a measurement until none of its store calls fails: a client gives them 2 seconds, which a busy
// machine may exceed.
func undisturbed(t *testing.T, measure func() outcome) (got outcome) {
	t.Helper()
	eventually(t, pollInterval, func() bool {
		got = measure()
		return got.StoreErrors == 0
	})
	return got
}

// waitForCalls waits until the workers have made more API calls.
func waitForCalls(t *testing.T, srv *wechatusertest.Server) {
	t.Helper()
	before := srv.Calls(tagsPath)
	eventually(t, pollInterval, func() bool { return srv.Calls(tagsPath) >= before+200 })
}

// waitForSharedRenewal revokes the token until the processes replace it with a single token request and no failed call.
// Processes that have noticed an outage do not use Redis for up to 10 seconds.
func waitForSharedRenewal(t *testing.T, srv *wechatusertest.Server, path string, workers []*worker) {
	t.Helper()
	eventually(t, time.Second, func() bool {
		before := srv.Calls(path)
		srv.ExpireTokens()
		got := sendAll(workers, order{Do: "calls", Goroutines: goroutines})
		return got.Failed == 0 && srv.Calls(path) == before+1
	})
}

func TestOneTokenRequestForAllProcesses(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := newPlatform(t), startRedis(t)
		cfg := defaultConfig(srv, rs)
		cfg.Legacy = legacy
		calls := order{Do: "calls", Goroutines: goroutines}
		var workers []*worker
		var before int

		got := undisturbed(t, func() outcome {
			require.NoError(t, rs.client(t).FlushDB(t.Context()).Err())
			before = srv.Calls(path)
			workers = startWorkers(t, processes, cfg)
			return sendAll(workers, calls)
		})
		requireSuccess(t, got)
		assert.Equal(t, processes*goroutines, got.Calls)
		assert.Equal(t, before+1, srv.Calls(path), "one token request at a cold start")

		requireSuccess(t, undisturbed(t, func() outcome {
			before = srv.Calls(path)
			srv.ExpireTokens()
			return sendAll(workers, calls)
		}))
		assert.Equal(t, before+1, srv.Calls(path), "one token request after a revocation")

		assert.NotZero(t, rs.receivedAll("wechatuser:token:"), "MONITOR records the commands")
	})
}

func TestLockOfKilledProcessExpires(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := newPlatform(t), startRedis(t)
		rdb, name := rs.client(t), lockKey
		if legacy {
			name = legacyKey + ":lock"
		}
		cfg := defaultConfig(srv, rs)
		cfg.Legacy, cfg.Lease = legacy, 3*time.Second
		var before int
		got := undisturbed(t, func() (sum outcome) {
			require.NoError(t, rdb.FlushDB(t.Context()).Err())
			before = srv.Calls(path)
			workers := startWorkers(t, 1+processes, cfg)
			victim, workers := workers[0], workers[1:]
			srv.Delay(path, 50*time.Second)
			victim.send(order{Do: "calls", Goroutines: 1})
			eventually(t, pollInterval, func() bool { return srv.Calls(path) == before+1 })

			// A lease that is not renewed would now last an hour.
			require.True(t, rdb.PExpire(t.Context(), name, time.Hour).Val(), "the victim holds the lock")
			eventually(t, pollInterval, func() bool { return rdb.PTTL(t.Context(), name).Val() <= cfg.Lease })
			attempts := rs.receivedAll(name)
			for _, w := range workers {
				w.send(order{Do: "calls", Goroutines: goroutines})
			}
			eventually(t, pollInterval, func() bool { return rs.received(name) >= attempts+10*processes })
			assert.Equal(t, before+1, srv.Calls(path), "nobody gets the lock of a living holder")

			victim.kill()
			srv.Delay(path, 0)
			for _, w := range workers {
				sum.add(w.receive())
			}
			return sum
		})
		requireSuccess(t, got)
		assert.Equal(t, before+2, srv.Calls(path), "one process gets the lock after the lease of the dead holder")
	})
}

func TestRedisRestartUnderLoad(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := newPlatform(t), startRedis(t)
		cfg := defaultConfig(srv, rs)
		cfg.Legacy = legacy
		workers := startWorkers(t, processes, cfg)
		sendAll(workers, order{Do: "load", Goroutines: goroutines})
		waitForCalls(t, srv)

		rs.kill()
		waitForCalls(t, srv)
		if !legacy {
			srv.ExpireTokens() // each process has to fetch a token on its own
		}
		waitForCalls(t, srv)
		rs.start()
		waitForCalls(t, srv)
		requireSuccess(t, sendAll(workers, order{Do: "stop"}))
		waitForSharedRenewal(t, srv, path, workers)
	})
}

// If a legacy token is revoked while Redis is down, no process can replace it without invalidating the token of
// another. So calls fail until Redis is back, with an error that says why.
func TestLegacyTokenRevokedWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	srv, rs := newPlatform(t), startRedis(t)
	cfg := defaultConfig(srv, rs)
	cfg.Legacy, cfg.NoRetries = true, true
	workers := startWorkers(t, 2, cfg)
	waitForSharedRenewal(t, srv, legacyPath, workers)
	before := srv.Calls(legacyPath)

	rs.kill()
	srv.ExpireTokens()
	got := sendAll(workers, order{Do: "calls", Goroutines: goroutines})
	assert.Equal(t, got.Calls, got.Failed)
	assert.Contains(t, got.Error, "Redis is unavailable")
	assert.NotContains(t, got.Error, secret)
	assert.Equal(t, before, srv.Calls(legacyPath), "no token request without Redis")

	rs.start()
	waitForSharedRenewal(t, srv, legacyPath, workers)
}

func TestHangingRedisDelaysFewCalls(t *testing.T) {
	t.Parallel()
	for name, ignoreContexts := range map[string]bool{
		"client that respects contexts": false, "client that ignores contexts": true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, rs := newPlatform(t), startRedis(t)
			cfg := defaultConfig(srv, rs)
			cfg.Timeout, cfg.IgnoreContexts = time.Second, ignoreContexts
			workers := startWorkers(t, processes, cfg)
			renew := func() outcome {
				srv.ExpireTokens()
				return sendAll(workers, order{Do: "calls", Goroutines: goroutines})
			}
			// On a busy machine the timeout may be too short, which opens the breaker.
			eventually(t, time.Second, func() bool { got := renew(); return got.Failed+got.StoreErrors == 0 })

			// The last command of a renewal may be sent after the calls have returned.
			rdb := rs.client(t)
			eventually(t, pollInterval, func() bool { return rdb.Exists(t.Context(), lockKey).Val() == 0 })
			sendAll(workers, order{}) // resets the counters

			rs.stop()
			defer rs.resume()
			start := time.Now()
			var sum outcome
			const revocations = 4
			for range revocations {
				got := renew()
				requireSuccess(t, got)
				sum.StoreCalls += got.StoreCalls
				sum.Commands += got.Commands
				sum.Slowest = max(sum.Slowest, got.Slowest)
			}
			// One more, since a command may be sent before the failure of another one is known.
			allowed := len(workers) * (1 + maxAttempts(time.Since(start)))
			t.Logf("%d store calls, %d commands of %d allowed; slowest call %v",
				sum.StoreCalls, sum.Commands, allowed, sum.Slowest)
			assert.GreaterOrEqual(t, sum.StoreCalls, 2*revocations*len(workers))
			assert.NotZero(t, sum.Commands)
			assert.LessOrEqual(t, sum.Commands, allowed, "most store calls fail without a command")
			assert.Less(t, sum.Slowest, redisReadTimeout/2, "no call waits for the timeout of go-redis")
		})
	}
}

// maxAttempts is how often a process may try to reach Redis in that time, with cooldowns of 1, 2, 4, 8 and then
// 10 seconds.
func maxAttempts(d time.Duration) int {
	attempts, cooldown := 1, time.Second
	for d > cooldown {
		d -= cooldown
		cooldown = min(2*cooldown, 10*time.Second)
		attempts++
	}
	return attempts
}

// cli returns the output of redis-cli, an empty string if it fails.
func cli(port string, args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).Output()
	return string(out)
}

func TestSentinelFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, primary := newPlatform(t), startRedis(t)
		replica := startRedis(t, "--replicaof", "127.0.0.1 "+primary.port)
		sentinel := startSentinel(t, primary)
		role := func() string { return cli(replica.port, "info", "replication") }
		eventually(t, pollInterval, func() bool { return strings.Contains(role(), "master_link_status:up") })
		eventually(t, pollInterval, func() bool {
			return strings.Contains(cli(sentinel.port, "sentinel", "replicas", "main"), replica.port)
		})

		cfg := defaultConfig(srv, sentinel)
		cfg.Master, cfg.Legacy = "main", legacy
		workers := startWorkers(t, processes, cfg)
		waitForSharedRenewal(t, srv, path, workers)
		sendAll(workers, order{Do: "load", Goroutines: goroutines})
		waitForCalls(t, srv)

		primary.kill()
		sentinel.noticeOutage()
		if !legacy {
			srv.ExpireTokens()
		}
		eventually(t, pollInterval, func() bool { return strings.Contains(role(), "role:master") })
		waitForCalls(t, srv)
		requireSuccess(t, sendAll(workers, order{Do: "stop"}))
		waitForSharedRenewal(t, srv, path, workers)
		assert.NotZero(t, replica.receivedAll("evalsha"))
	})
}

// startCluster starts a Cluster of three nodes. A node owns a third of the slots, in this order.
func startCluster(t *testing.T) (nodes []*server, addrs []string) {
	t.Helper()
	for range 3 {
		nodes = append(nodes, startNode(t))
		addrs = append(addrs, nodes[len(nodes)-1].addr())
	}
	create := slices.Concat([]string{"--cluster", "create"}, addrs, []string{"--cluster-yes"})
	out, err := exec.Command("redis-cli", create...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, node := range nodes {
		waitForCluster(t, node)
	}
	return nodes, addrs
}

func startNode(t *testing.T) *server {
	t.Helper()
	return startRedis(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "15000")
}

// clusterPort returns the port that the nodes of a Cluster use among themselves.
func (s *server) clusterPort() string { return s.args[slices.Index(s.args, "--cluster-port")+1] }

func waitForCluster(t *testing.T, node *server) {
	t.Helper()
	eventually(t, pollInterval, func() bool {
		return strings.Contains(cli(node.port, "cluster", "info"), "cluster_state:ok")
	})
}

// hashTag is a prefix that puts all keys into one slot, which the node with that index owns.
const (
	hashTag   = "{wechat}:"
	ownerNode = 0
)

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes, addrs := startCluster(t)
	permissions := append(permissionsOfREADME(t, ">password "), permissionsOfREADME(t, "In a Cluster also `")...)
	for _, node := range nodes {
		for i := range permissions {
			permissions[i] = strings.Replace(permissions[i], "~wechatuser:*", "~*", 1)
		}
		require.Equal(t, "+OK", node.command("ACL SETUSER limited on >password "+strings.Join(permissions, " ")))
	}
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		for name, prefix := range map[string]string{"slots of their own": "", "one slot": hashTag} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := newPlatform(t)
				workers := startWorkers(t, processes, workerConfig{
					URL: srv.URL, Redis: addrs, User: "limited", Password: "password", Prefix: prefix,
					Lease: 10 * time.Second, Timeout: 30 * time.Second, Legacy: legacy, PerMinute: 6000,
				})
				for range 2 { // at a cold start, and after a revocation
					waitForSharedRenewal(t, srv, path, workers)
				}
				workers[0].send(order{Do: "take", Goroutines: 4, Count: 5})
				assert.GreaterOrEqual(t, len(workers[0].receive().Taken), 5)
			})
		}
	})
	t.Cleanup(func() { // after the subtests
		for i, node := range nodes {
			assert.Equal(t, i == ownerNode, node.receivedAll(`"`+hashTag+"wechatuser:") > 0, "node %d", i)
		}
	})
}

// A store finds the new primary by itself, however rarely its client reloads the topology of the Cluster.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	nodes, addrs := startCluster(t)
	primary, replica := nodes[ownerNode], startNode(t)
	require.Contains(t, cli(replica.port, "cluster", "meet", "127.0.0.1", nodes[1].port, nodes[1].clusterPort()), "OK")
	id := strings.TrimSpace(cli(primary.port, "cluster", "myid"))
	eventually(t, pollInterval, func() bool {
		return strings.Contains(cli(replica.port, "cluster", "replicate", id), "OK")
	})
	eventually(t, pollInterval, func() bool {
		return strings.Contains(cli(replica.port, "info", "replication"), "master_link_status:up")
	})
	waitForCluster(t, replica)

	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, ContextTimeoutEnabled: true, ClusterStateReloadInterval: time.Hour,
	})
	t.Cleanup(func() { _ = rdb.Close() })
	s := newStore(t, rdb, redisstore.WithKeyPrefix(hashTag))
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	eventually(t, pollInterval, func() bool { return replica.receivedAll(hashTag) > 0 })

	primary.kill()
	_, err := s.Load(t.Context(), key)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
	require.Contains(t, cli(replica.port, "cluster", "failover", "takeover"), "OK")
	eventually(t, pollInterval, func() bool {
		got, err := s.Load(t.Context(), key)
		return err == nil && got.AccessToken == want.AccessToken
	})
}

// TestProcessesShareTheLimitEvenly checks the shares and the exact rate, on a fake clock.
func TestProcessesShareTheLimitOfOneRedis(t *testing.T) {
	t.Parallel()
	const interval = 50 * time.Millisecond
	each := size(10, 30) // calls of each process
	srv, rs := newPlatform(t), startRedis(t)
	cfg := defaultConfig(srv, rs)
	cfg.PerMinute = int(time.Minute / interval)
	workers := startWorkers(t, processes, cfg)

	start := time.Now()
	for i, w := range workers {
		w.send(order{Do: "take", Goroutines: 1 + 10*i, Count: each})
	}
	var taken []time.Time
	for _, w := range workers {
		got := w.receive().Taken
		assert.GreaterOrEqual(t, len(got), each)
		taken = append(taken, got...)
	}
	elapsed := slices.MaxFunc(taken, time.Time.Compare).Sub(start)
	assert.GreaterOrEqual(t, elapsed, time.Duration(len(taken)-1)*interval, "%d calls", len(taken))

	reserved := rs.reservedPlaces()
	t.Logf("%d calls in %v, %d places reserved", len(taken), elapsed, reserved)
	assert.GreaterOrEqual(t, reserved, len(taken))
}

// reservedPlaces returns how many places limiters have reserved so far.
func (s *server) reservedPlaces() (sum int) {
	s.t.Helper()
	s.receivedAll(limitKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.commands {
		// EVALSHA hash, or EVAL script; 1 key limit:... interval count
		if found := reservation.FindStringSubmatch(line); found != nil {
			n, err := strconv.Atoi(found[1])
			require.NoError(s.t, err)
			sum += n
		}
	}
	return sum
}

var reservation = regexp.MustCompile(`"1" "limit:[^"]+" "\d+" "(\d+)" "\d+"$`)

// With a round-trip time of a fifth of a second nobody fails, and the processes share their tokens.
func TestSlowRedisFailsNoCall(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rs := newPlatform(t), startRedis(t)
		cfg := defaultConfig(srv, rs)
		cfg.Timeout, cfg.Legacy = 0, legacy
		cfg.Redis = []string{startProxy(t, rs.addr(), 100*time.Millisecond)}
		workers := startWorkers(t, processes, cfg)
		for range size(3, 10) {
			requireSuccess(t, sendAll(workers, order{Do: "calls", Goroutines: goroutines}))
			srv.ExpireTokens()
		}
		if legacy {
			assert.Equal(t, size(3, 10), srv.Calls(path), "one token request for each revocation")
		}
	})
}

// A process that is stopped for longer than the timeout while it waits for Redis takes that for no outage.
func TestStalledProcessDoesNotBlameRedis(t *testing.T) {
	t.Parallel()
	srv, rs := newPlatform(t), startRedis(t)
	cfg := defaultConfig(srv, rs)
	cfg.Timeout, cfg.PerMinute = 2*time.Second, 6000
	cfg.Redis = []string{startProxy(t, rs.addr(), 100*time.Millisecond)}
	w := startWorkers(t, 1, cfg)[0]
	w.send(order{Do: "take", Goroutines: 4, Count: 24})
	reserved := func() int { return rs.received(`lua] "SET" "` + limitKey) }
	for i := range size(1, 4) {
		eventually(t, pollInterval, func() bool { return reserved() > 3*i })
		w.stall(3 * time.Second) // nearly always there is a reservation in progress
	}
	assert.GreaterOrEqual(t, len(w.receive().Taken), 24, "no reservation has failed")
}
