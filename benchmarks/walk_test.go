package benchmarks

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	million = 1_000_000
	latency = 20 * time.Millisecond
	// sequentialFans is the number of followers for the sequential loop. Its time is proportional to it.
	sequentialFans = 50_000
)

// BenchmarkWalk iterates over a million followers and their profiles, with a latency of 20 ms.
func BenchmarkWalk(b *testing.B) {
	b.Run("client=bare", func(b *testing.B) {
		srv := serve(b, origin.Config{Fans: sequentialFans, Latency: latency})
		c := newBare(b, srv.URL)
		users, start := 0, time.Now()
		for b.Loop() {
			require.NoError(b, c.EachProfile(b.Context(), func(bare.UserInfo) { users++ }))
		}
		b.ReportMetric(float64(users)/time.Since(start).Seconds(), "users/s")
		b.ReportMetric(float64(statsOf(b, srv).Total()/b.N), "calls")
		require.Equal(b, b.N*sequentialFans, users)
	})
	b.Run("client=wechatuser", func(b *testing.B) { iterateProfiles(b, million, latency, 8) })
}

// BenchmarkWalkCost measures what an iteration over 100,000 profiles costs the client, without added latency: CPU time and
// memory. In "escapes" each response has a profile with an escape.
func BenchmarkWalkCost(b *testing.B) {
	const fans = 100_000
	for _, cfg := range []struct {
		name string
		origin.Config
	}{
		{"plain", origin.Config{Fans: fans}},
		{"escapes", origin.Config{Fans: fans, Escapes: true}},
	} {
		measure := func(client string, walk func(srv *origin.Process) func() int) {
			b.Run("bodies="+cfg.name+"/client="+client, func(b *testing.B) {
				srv := serve(b, cfg.Config)
				count := walk(srv)
				require.Equal(b, fans, count())
				b.ReportAllocs()
				start := cpuTime()
				for b.Loop() {
					if n := count(); n != fans {
						b.Fatal(n)
					}
				}
				reportCPU(b, start)
			})
		}
		measure("bare", func(srv *origin.Process) func() int {
			c := newBare(b, srv.URL)
			return func() (n int) {
				require.NoError(b, c.EachProfile(b.Context(), func(bare.UserInfo) { n++ }))
				return n
			}
		})
		measure("wechatuser", func(srv *origin.Process) func() int {
			c := newClient(b, srv.URL)
			return func() int { return walk(b, c) }
		})
	}
}

// walk iterates over all profiles with 4 calls at a time, and returns how many there are.
func walk(tb testing.TB, c *wechatuser.Client) (n int) {
	for _, err := range c.BulkUserInfo(tb.Context(), c.AllFans(tb.Context()), wechatuser.WithConcurrency(4)) {
		require.NoError(tb, err)
		n++
	}
	return n
}

// BenchmarkThroughput measures profiles per second, by latency and concurrency. Each goroutine makes about 40 calls.
func BenchmarkThroughput(b *testing.B) {
	const ms = time.Millisecond
	for _, latency := range []time.Duration{5 * ms, 20 * ms, 50 * ms, 100 * ms} {
		for _, concurrency := range []int{1, 2, 4, 8, 16, 32, 64} {
			b.Run(fmt.Sprintf("latency=%v/concurrency=%d", latency, concurrency), func(b *testing.B) {
				iterateProfiles(b, 40*wechatuser.MaxUserInfoBatch*concurrency, latency, concurrency)
			})
		}
	}
}

// BenchmarkGrowth iterates over more and more followers, without added latency.
func BenchmarkGrowth(b *testing.B) {
	for _, fans := range []int{10_000, 100_000, million, 10 * million} {
		b.Run(fmt.Sprintf("walk=followers/fans=%d", fans), func(b *testing.B) {
			srv := serve(b, origin.Config{Fans: fans})
			iterate(b, srv, fans, newClient(b, srv.URL).AllFans(b.Context()))
		})
		b.Run(fmt.Sprintf("walk=profiles/fans=%d", fans), func(b *testing.B) { iterateProfiles(b, fans, 0, 4) })
	}
}

// iterateProfiles iterates over the profiles of an account.
func iterateProfiles(b *testing.B, fans int, latency time.Duration, concurrency int) {
	srv := serve(b, origin.Config{Fans: fans, Latency: latency})
	c := newClient(b, srv.URL)
	iterate(b, srv, fans, c.BulkUserInfo(b.Context(), c.AllFans(b.Context()), wechatuser.WithConcurrency(concurrency)))
}

// iterate ranges over a list of the given length and reports speed, calls and the largest live heap.
func iterate[T any](b *testing.B, srv *origin.Process, fans int, list iter.Seq2[T, error]) {
	n, start, heap := 0, time.Now(), newHeap(fans)
	for b.Loop() {
		for _, err := range list {
			if err != nil {
				b.Fatal(err)
			}
			n++
			heap.sample(n)
		}
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "users/s")
	b.ReportMetric(float64(statsOf(b, srv).Total()/b.N), "calls")
	b.ReportMetric(heap.mebibytes(), "live-MiB")
	require.Equal(b, b.N*fans, n)
}

// heap samples the live heap during an iteration: at twenty points it runs the garbage collector and measures the rest.
type heap struct {
	base, largest uint64
	step          int
}

func newHeap(n int) *heap { return &heap{base: liveHeap(), step: max(n/20, 1)} }

// sample measures the heap if the iteration has reached one of the points.
func (h *heap) sample(n int) {
	if n%h.step == 0 {
		h.largest = max(h.largest, liveHeap())
	}
}

// mebibytes returns by how much the largest heap exceeds the heap at the start.
func (h *heap) mebibytes() float64 { return float64(h.largest-min(h.base, h.largest)) / (1 << 20) }

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// tag tags n openids. One of each thousand, at a random position, belongs to another account. It returns the number of
// calls that the server received, and the number it would take if all openids were valid.
func tag(tb testing.TB, n int) (calls, minimum int) {
	tb.Helper()
	transport := origin.NewLocal(origin.Config{})
	c := newClient(tb, "http://127.0.0.1", wechatuser.WithTransport(transport))
	report, err := c.BulkTagging(context.WithoutCancel(tb.Context()), 100, func(yield func(string, error) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for block := range n / 1000 {
			bad := random.IntN(1000)
			for i := range 1000 {
				id := wechatusertest.OpenID(block*1000 + i)
				if i == bad {
					id = wechatusertest.ForeignOpenID(block)
				}
				if !yield(id, nil) {
					return
				}
			}
		}
	})
	require.ErrorIs(tb, err, wechatuser.CodeOpenIDMismatch)
	require.Equal(tb, n-n/1000, report.Applied)
	require.Len(tb, report.Failed, n/1000)
	return transport.Stats().Calls[origin.TaggingPath], n / wechatuser.MaxTaggingBatch
}

// BenchmarkBulkTagging reports how many calls it takes to tag a million openids, and the ratio to the minimum, as
// "floors".
func BenchmarkBulkTagging(b *testing.B) {
	var calls, minimum int
	for b.Loop() {
		calls, minimum = tag(b, million)
	}
	b.ReportMetric(float64(calls), "calls")
	b.ReportMetric(float64(calls)/float64(minimum), "floors")
}
