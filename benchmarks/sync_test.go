package benchmarks

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// syncPlan plans a sync of a tag that n users have and n should have, half of them the same, and returns what it holds in
// memory per openid: when the input has ended, and at the end. It makes no calls that change something.
func syncPlan(tb testing.TB, n int) (afterInput, atEnd float64) {
	tb.Helper()
	c := newClient(tb, "http://127.0.0.1", wechatuser.WithTransport(origin.NewLocal(origin.Config{Fans: n + n/2, Tagged: n})))
	before := liveHeap()
	report, err := c.SyncTag(tb.Context(), 100, func(yield func(string, error) bool) {
		for i := range n {
			if !yield(wechatusertest.OpenID(i), nil) {
				return
			}
		}
		afterInput = float64(liveHeap()-before) / float64(n)
	}, wechatuser.WithDryRun())
	require.NoError(tb, err)
	atEnd = float64(liveHeap()-before) / float64(n)
	require.Len(tb, report.ToAdd, n/2)
	require.Len(tb, report.ToRemove, n/2)
	require.Equal(tb, n/2, report.Unchanged)
	runtime.KeepAlive(report)
	return afterInput, atEnd
}

// BenchmarkSync plans syncs of more and more users, 100,000 to ten million. Its time includes that of the platform in this
// process, which writes the pages, and two full garbage collections for the measurement.
func BenchmarkSync(b *testing.B) {
	for _, n := range []int{100_000, million, 10 * million} {
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var afterInput, atEnd float64
			start := cpuTime()
			for b.Loop() {
				afterInput, atEnd = syncPlan(b, n)
			}
			reportCPU(b, start)
			b.ReportMetric(afterInput, "input-B/openid")
			b.ReportMetric(atEnd, "report-B/openid")
		})
	}
}

// failAll tags n openids that all belong to another account, and returns the bytes of the report per openid.
func failAll(tb testing.TB, n int) float64 {
	tb.Helper()
	c := newClient(tb, "http://127.0.0.1", wechatuser.WithTransport(origin.NewLocal(origin.Config{})))
	before := liveHeap()
	report, err := c.BulkTagging(tb.Context(), 100, func(yield func(string, error) bool) {
		for i := range n {
			if !yield(wechatusertest.ForeignOpenID(i), nil) {
				return
			}
		}
	})
	require.ErrorIs(tb, err, wechatuser.CodeOpenIDMismatch)
	perOpenID := float64(liveHeap()-before) / float64(n)
	require.Len(tb, report.Failed, n)
	runtime.KeepAlive(report)
	return perOpenID
}

// BenchmarkFailures reports the memory of a report in which everybody has failed.
func BenchmarkFailures(b *testing.B) {
	var perOpenID float64
	for b.Loop() {
		perOpenID = failAll(b, 100_000)
	}
	b.ReportMetric(perOpenID, "report-B/openid")
}
