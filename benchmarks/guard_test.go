package benchmarks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bodies"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/internal/testutil/race"
)

// The tests of this file prevent regressions. They count allocations, bytes, calls, connections, instructions and the
// size of a program, and never measure time. A limit is a documented target, or the current value plus a small margin.

func skipUnderRace(t *testing.T) {
	t.Helper()
	if race.Enabled {
		t.Skip("the race detector changes the counts")
	}
}

func TestAllocations(t *testing.T) {
	skipUnderRace(t)
	for _, limit := range []struct {
		apiCall
		allocs, bytes float64
	}{
		{getUserInfo, 72, 6_350},
		{updateRemark, 82, 6_600},
		{batchUserInfo, 90, 54_000},
		{getFans, 96, 500_000},
	} {
		t.Run(limit.name, func(t *testing.T) {
			srv := serve(t, account)
			c := newClient(t, srv.URL)
			allocs, bytes := cost(t, func() error { return limit.sdk(t.Context(), c) })
			assert.LessOrEqual(t, allocs, limit.allocs, "allocations")
			assert.LessOrEqual(t, bytes, limit.bytes, "bytes")
			t.Logf("%.0f allocations, %.0f bytes", allocs, bytes)
		})
	}
}

// Small calls allocate no more than bare net/http, though they do more.
func TestSmallCallsAllocateNoMoreThanNetHTTP(t *testing.T) {
	skipUnderRace(t)
	for _, call := range []apiCall{getUserInfo, updateRemark} {
		t.Run(call.name, func(t *testing.T) {
			srv := serve(t, account)
			c, baseline := newClient(t, srv.URL), newBare(t, srv.URL)
			allocs, bytes := cost(t, func() error { return call.sdk(t.Context(), c) })
			bareAllocs, bareBytes := cost(t, func() error { return call.bare(t.Context(), baseline) })
			assert.LessOrEqual(t, allocs, bareAllocs, "allocations")
			assert.LessOrEqual(t, bytes, bareBytes, "bytes")
			t.Logf("%.0f allocations of %.0f, %.0f bytes of %.0f", allocs, bareAllocs, bytes, bareBytes)
		})
	}
}

// An iteration over 100,000 profiles takes at most 100,000 allocations and 45 MB, also if each response has an escape.
func TestWalkAllocations(t *testing.T) {
	skipUnderRace(t)
	const fans = 100_000
	for name, cfg := range map[string]origin.Config{"plain": {Fans: fans}, "escapes": {Fans: fans, Escapes: true}} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, cfg).URL)
			allocs, bytes := costOf(t, 2, 1, func() error {
				require.Equal(t, fans, walk(t, c))
				return nil
			})
			assert.LessOrEqual(t, allocs, 93_000., "allocations")
			assert.LessOrEqual(t, bytes, 31e6, "bytes")
			t.Logf("%.0f allocations, %.1f MB", allocs, bytes/1e6)
		})
	}
}

// A sync keeps about 100 bytes for each openid, and a report some 200 for each failure.
func TestMemoryOfSyncsAndReports(t *testing.T) {
	skipUnderRace(t)
	input, report := syncPlan(t, 200_000)
	assert.LessOrEqual(t, input, 120.)
	assert.LessOrEqual(t, report, 65.)
	failure := failAll(t, 5_000)
	assert.LessOrEqual(t, failure, 260.)
	t.Logf("%.0f bytes per openid that is wanted, %.0f that is planned, %.0f that failed", input, report, failure)
}

// A body costs few allocations, whatever is in it: escapes, control characters, fields that nobody knows.
func TestAllocationsOfBodies(t *testing.T) {
	skipUnderRace(t)
	for _, body := range bodies.All() {
		limit, maxBytes := 12., 41_000.
		switch {
		case body.Page:
			limit, maxBytes = 20, 480_000
		case body.Name == "pretty": // a longer body has larger blocks
			maxBytes = 50_000
		}
		var into any
		allocs, bytes := cost(t, func() (err error) { into, err = body.Decode(bodies.Decoders[0]); return err })
		assert.LessOrEqual(t, allocs, limit+1, body.Name) // into is one
		assert.LessOrEqual(t, bytes, maxBytes, body.Name)
		assert.NotNil(t, into)
		t.Logf("%s: %.0f allocations, %.0f bytes", body.Name, allocs, bytes)
	}
}

// cost returns what a call allocates: the minimum of several rounds, as the garbage collector can empty pools in any of
// them.
func cost(t *testing.T, call func() error) (allocs, bytes float64) {
	t.Helper()
	return costOf(t, 5, 50, call)
}

// costOf is cost for a given number of rounds, and of calls in each.
func costOf(t *testing.T, rounds int, calls uint64, call func() error) (allocs, bytes float64) {
	t.Helper()
	require.NoError(t, call())
	for round := range rounds {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range calls {
			require.NoError(t, call())
		}
		runtime.ReadMemStats(&after)
		a, b := float64((after.Mallocs-before.Mallocs)/calls), float64((after.TotalAlloc-before.TotalAlloc)/calls)
		if round == 0 || a < allocs {
			allocs = a
		}
		if round == 0 || b < bytes {
			bytes = b
		}
	}
	return allocs, bytes
}

func TestCachedTokenIsReadWithoutAllocation(t *testing.T) {
	skipUnderRace(t)
	c := newClient(t, "http://127.0.0.1", wechatuser.WithTransport(origin.NewLocal(account)))
	_, err := c.Token(t.Context())
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Token(t.Context()) }))
}

// New starts no goroutines, opens no connections, and allocates little.
func TestNewIsCheap(t *testing.T) {
	skipUnderRace(t)
	srv := serve(t, account)
	goroutines := runtime.NumGoroutine()
	allocs := testing.AllocsPerRun(100, func() {
		_, err := wechatuser.New("wxappid", "secret", wechatuser.WithBaseURL(srv.URL))
		require.NoError(t, err)
	})
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	assert.LessOrEqual(t, allocs, 50.)
	assert.Zero(t, statsOf(t, srv).Conns)
}

// 64 goroutines reuse their connections. There can be more connections than goroutines: net/http dials when no
// connection is idle, even if one becomes idle before the dial is done.
func TestConnectionsAreReused(t *testing.T) {
	const goroutines = 64
	srv := serve(t, account)
	c := newClient(t, srv.URL)
	require.NoError(t, runConcurrently(t.Context(), goroutines, 100*goroutines, func(ctx context.Context) error {
		return getUserInfo.sdk(ctx, c)
	}))
	stats := statsOf(t, srv)
	assert.Equal(t, 100*goroutines, stats.Total())
	assert.LessOrEqual(t, stats.Conns, 2*goroutines)
	t.Logf("%d connections", stats.Conns)
}

// An iteration over profiles with a latency of 20 ms, in virtual time. Virtual time advances only while all goroutines
// wait, so that the results are exact and do not depend on the speed of the machine.
func TestIterationOverProfiles(t *testing.T) {
	skipUnderRace(t)
	const (
		fans  = 100_000
		pages = fans/origin.PageSize + 1 // the last one is empty
		calls = pages + fans/wechatuser.MaxUserInfoBatch
	)
	synctest.Test(t, func(t *testing.T) {
		transport := origin.NewLocal(origin.Config{Fans: sequentialFans, Latency: latency})
		baseline := bare.New("http://127.0.0.1")
		baseline.HTTP.Transport = transport
		start := time.Now()
		require.NoError(t, baseline.EachProfile(t.Context(), func(bare.UserInfo) {}))
		sequential := time.Since(start) / time.Duration(transport.Stats().Total()) * calls

		transport = origin.NewLocal(origin.Config{Fans: fans, Latency: latency})
		c := newClient(t, "http://127.0.0.1", wechatuser.WithTransport(transport))
		n, heap := 0, newHeap(fans)
		start = time.Now()
		for _, err := range c.BulkUserInfo(t.Context(), c.AllFans(t.Context()), wechatuser.WithConcurrency(8)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			heap.sample(n)
		}
		took := time.Since(start)
		require.Equal(t, fans, n)
		stats := transport.Stats()
		assert.Equal(t, pages, stats.Calls[origin.FansPath])
		assert.Equal(t, calls, stats.Total())
		assert.GreaterOrEqual(t, sequential.Seconds()/took.Seconds(), 7.)
		assert.LessOrEqual(t, heap.mebibytes(), 32.)
		t.Logf("%v, sequential loop %v; %.1f MiB", took, sequential, heap.mebibytes())
	})
}

// The live heap does not grow with the number of followers iterated over.
func TestHeapDoesNotGrow(t *testing.T) {
	skipUnderRace(t)
	const fans, quarter = 4 * million, million
	c := newClient(t, "http://127.0.0.1", wechatuser.WithTransport(origin.NewLocal(origin.Config{Fans: fans})))
	n, first, last := 0, newHeap(fans), newHeap(fans)
	for _, err := range c.AllFans(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch n++; {
		case n <= quarter:
			first.sample(n)
		case n > fans-quarter:
			last.sample(n)
		}
	}
	require.Equal(t, fans, n)
	assert.LessOrEqual(t, last.mebibytes(), first.mebibytes()+1)
	t.Logf("%.1f MiB in the first quarter, %.1f MiB in the last", first.mebibytes(), last.mebibytes())
}

// BulkTagging takes at most 1.5 times the minimum of calls if one in a thousand openids is rejected.
func TestBulkTaggingCalls(t *testing.T) {
	skipUnderRace(t)
	calls, minimum := tag(t, 200_000)
	ratio := float64(calls) / float64(minimum)
	assert.LessOrEqual(t, ratio, 1.5)
	t.Logf("%d calls, %.3f times the minimum", calls, ratio)
}

// The SDK adds little to the size of a program.
func TestBinarySize(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	const limit = 15 << 17 // 1.875 MiB; it varies by a few percent between versions of Go
	added := binarySize(t, "wechatuser") - binarySize(t, "nethttp")
	assert.LessOrEqual(t, added, int64(limit))
	t.Logf("%d bytes", added)
}

// A call executes few instructions. Counts by valgrind do not depend on the load of the machine, and ratios to bare
// net/http depend little on its type and on the version of Go.
func TestInstructions(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	if _, err := exec.LookPath("valgrind"); err != nil {
		t.Skip("valgrind is not installed")
	}
	program := filepath.Join(t.TempDir(), "instructions")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./internal/instructions")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, limit := range []struct {
		api   string
		n     int
		ratio float64
	}{
		{"userInfo", 40, .8},
		{"getFans", 2, .22},
	} {
		t.Run(limit.api, func(t *testing.T) {
			t.Parallel()
			sdk := instructions(t, program, limit.api, "wechatuser", limit.n)
			baseline := instructions(t, program, limit.api, "bare", limit.n)
			assert.LessOrEqual(t, sdk/baseline, limit.ratio)
			t.Logf("%.0f instructions per call, bare net/http %.0f, ratio %.3f", sdk, baseline, sdk/baseline)
		})
	}
}

// instructions returns the instructions per call, from the difference between two runs.
func instructions(t *testing.T, program, api, client string, n int) float64 {
	t.Helper()
	run := func(n int) float64 {
		cmd := exec.CommandContext(t.Context(), "valgrind", "--tool=cachegrind", "--cache-sim=no",
			"--cachegrind-out-file=/dev/null", program, api, client, fmt.Sprint(n))
		// Without what happens at random times: other threads, preemption, garbage collection.
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		m := instructionCount.FindSubmatch(out)
		require.NotNil(t, m, "%s", out)
		count, err := strconv.ParseFloat(strings.ReplaceAll(string(m[1]), ",", ""), 64)
		require.NoError(t, err)
		return count
	}
	return (run(2*n) - run(n)) / float64(n)
}

var instructionCount = regexp.MustCompile(`I +refs: +([\d,]+)`)
