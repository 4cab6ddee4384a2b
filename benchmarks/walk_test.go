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
	// sequentialFans are as many as the sequential loop is measured on, whose time goes with their number.
	sequentialFans = 50_000
)

// BenchmarkWalk goes through a million followers and their profiles, at 20 ms a call.
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
	b.Run("client=wechatuser", func(b *testing.B) { walkAtSpeed(b, million, latency, 8) })
}

// BenchmarkThroughput is how many profiles a second a walk gives. Each case makes 40 calls one after the other.
func BenchmarkThroughput(b *testing.B) {
	for _, latency := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		for _, concurrency := range []int{1, 2, 4, 8, 16, 32, 64} {
			b.Run(fmt.Sprintf("latency=%v/concurrency=%d", latency, concurrency), func(b *testing.B) {
				walkAtSpeed(b, 40*wechatuser.MaxUserInfoBatch*concurrency, latency, concurrency)
			})
		}
	}
}

// BenchmarkGrowth goes through more and more followers, with no delay but the machine's.
func BenchmarkGrowth(b *testing.B) {
	for _, fans := range []int{10_000, 100_000, million, 10 * million} {
		b.Run(fmt.Sprintf("walk=followers/fans=%d", fans), func(b *testing.B) {
			srv := serve(b, origin.Config{Fans: fans})
			walked(b, srv, fans, newClient(b, srv.URL).AllFans(b.Context()))
		})
		b.Run(fmt.Sprintf("walk=profiles/fans=%d", fans), func(b *testing.B) { walkAtSpeed(b, fans, 0, 4) })
	}
}

// walkAtSpeed goes through the profiles of an account.
func walkAtSpeed(b *testing.B, fans int, latency time.Duration, concurrency int) {
	srv := serve(b, origin.Config{Fans: fans, Latency: latency})
	c := newClient(b, srv.URL)
	walked(b, srv, fans, c.BulkUserInfo(b.Context(), c.AllFans(b.Context()), wechatuser.WithConcurrency(concurrency)))
}

// walked ranges over a list of so many and reports speed, calls and the largest live heap.
func walked[T any](b *testing.B, srv *origin.Process, fans int, list iter.Seq2[T, error]) {
	n, start, heap := 0, time.Now(), newHeap(fans)
	for b.Loop() {
		for _, err := range list {
			if err != nil {
				b.Fatal(err)
			}
			n++
			heap.watch(n)
		}
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "users/s")
	b.ReportMetric(float64(statsOf(b, srv).Total()/b.N), "calls")
	b.ReportMetric(heap.mebibytes(), "live-MiB")
	require.Equal(b, b.N*fans, n)
}

// heap watches the live heap of a walk: at twenty places it collects the garbage and measures the rest.
type heap struct {
	base, most uint64
	step       int
}

func newHeap(n int) *heap { return &heap{base: liveHeap(), step: max(n/20, 1)} }

func (h *heap) watch(n int) {
	if n%h.step == 0 {
		h.most = max(h.most, liveHeap())
	}
}

// mebibytes is the largest heap above that of the start.
func (h *heap) mebibytes() float64 { return float64(h.most-min(h.base, h.most)) / (1 << 20) }

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// tag tags n openids, of which one in each thousand, at a place drawn at random, is another account's. It returns the
// number of calls that the server has seen, and what it would be if all openids were good.
func tag(tb testing.TB, n int) (calls, floor int) {
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

// BenchmarkBulkTagging tells how many calls it takes to tag a million, also compared with as few as there can be.
func BenchmarkBulkTagging(b *testing.B) {
	var calls, floor int
	for b.Loop() {
		calls, floor = tag(b, million)
	}
	b.ReportMetric(float64(calls), "calls")
	b.ReportMetric(float64(calls)/float64(floor), "floors")
}
