package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// apiCall is one API call, made with the SDK and with bare net/http.
type apiCall struct {
	name string
	sdk  func(context.Context, *wechatuser.Client) error
	bare func(context.Context, *bare.Client) error
}

var (
	hundred = openIDs(100)
	queries = userQueries(hundred)

	errIncomplete = errors.New("incomplete response")
)

var (
	getUserInfo = apiCall{
		"GetUserInfo",
		func(ctx context.Context, c *wechatuser.Client) error {
			u, err := c.GetUserInfo(ctx, hundred[7])
			return check(err, u != nil && u.OpenID == hundred[7] && u.Remark == "常客")
		},
		func(ctx context.Context, c *bare.Client) error {
			u, err := c.GetUserInfo(ctx, hundred[7])
			return check(err, u.OpenID == hundred[7] && u.Remark == "常客")
		},
	}
	updateRemark = apiCall{
		"UpdateRemark",
		func(ctx context.Context, c *wechatuser.Client) error {
			return c.UpdateRemark(ctx, hundred[7], "常客")
		},
		func(ctx context.Context, c *bare.Client) error { return c.UpdateRemark(ctx, hundred[7], "常客") },
	}
	batchUserInfo = apiCall{
		"BatchUserInfo",
		func(ctx context.Context, c *wechatuser.Client) error {
			users, err := c.BatchUserInfo(ctx, queries)
			return check(err, len(users) == 100 && users[99].OpenID == hundred[99])
		},
		func(ctx context.Context, c *bare.Client) error {
			users, err := c.BatchUserInfo(ctx, hundred)
			return check(err, len(users) == 100 && users[99].OpenID == hundred[99])
		},
	}
	getFans = apiCall{
		"GetFans",
		func(ctx context.Context, c *wechatuser.Client) error {
			page, err := c.GetFans(ctx, "")
			return check(err, page != nil && isFullPage(page.OpenIDs, page.NextOpenID))
		},
		func(ctx context.Context, c *bare.Client) error {
			page, err := c.GetFans(ctx, "")
			return check(err, isFullPage(page.Data.OpenIDs, page.NextOpenID))
		},
	}
	apiCalls = []apiCall{getUserInfo, updateRemark, batchUserInfo, getFans}
)

// account is the account of the servers that the calls go to.
var account = origin.Config{Fans: 25_000}

// check returns err, or errIncomplete if the call succeeded and its response is not complete.
func check(err error, complete bool) error {
	if err == nil && !complete {
		return errIncomplete
	}
	return err
}

func isFullPage(openIDs []string, next string) bool {
	return len(openIDs) == origin.PageSize && next == openIDs[origin.PageSize-1]
}

func openIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = wechatusertest.OpenID(i)
	}
	return ids
}

func userQueries(ids []string) []wechatuser.UserQuery {
	q := make([]wechatuser.UserQuery, len(ids))
	for i, id := range ids {
		q[i].OpenID = id
	}
	return q
}

// each runs a sub-benchmark for bare net/http and one for the SDK. do makes the call.
func (a apiCall) each(b *testing.B, f func(b *testing.B, srv *origin.Process, do func(context.Context) error)) {
	b.Run("client=bare", func(b *testing.B) {
		srv := serve(b, account)
		c := newBare(b, srv.URL)
		f(b, srv, func(ctx context.Context) error { return a.bare(ctx, c) })
	})
	b.Run("client=wechatuser", func(b *testing.B) {
		srv := serve(b, account)
		c := newClient(b, srv.URL)
		f(b, srv, func(ctx context.Context) error { return a.sdk(ctx, c) })
	})
}

// BenchmarkCall makes one call after the other.
func BenchmarkCall(b *testing.B) {
	for _, a := range apiCalls {
		b.Run("api="+a.name, func(b *testing.B) {
			a.each(b, func(b *testing.B, _ *origin.Process, do func(context.Context) error) {
				require.NoError(b, do(b.Context())) // opens the connection and fetches the token
				b.ReportAllocs()
				start := cpuTime()
				for b.Loop() {
					if err := do(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				reportCPU(b, start)
			})
		})
	}
}

// runConcurrently runs do n times, spread over the given number of goroutines.
func runConcurrently(ctx context.Context, goroutines, n int, do func(context.Context) error) error {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		first atomic.Pointer[error]
	)
	for range goroutines {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := do(ctx); err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// BenchmarkCrowd makes small calls from 64 goroutines.
func BenchmarkCrowd(b *testing.B) {
	const goroutines = 64
	getUserInfo.each(b, func(b *testing.B, srv *origin.Process, do func(context.Context) error) {
		require.NoError(b, runConcurrently(b.Context(), goroutines, 4*goroutines, do))
		b.ReportAllocs()
		b.ResetTimer()
		if err := runConcurrently(b.Context(), goroutines, b.N, do); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(statsOf(b, srv).Conns), "conns")
	})
}

// BenchmarkClock reads the time, the minimum that it takes to check whether a token has expired.
func BenchmarkClock(b *testing.B) {
	start := cpuTime()
	for b.Loop() {
		_ = time.Now()
	}
	reportCPU(b, start)
}

// BenchmarkToken reads the cached token.
func BenchmarkToken(b *testing.B) {
	srv := serve(b, account)
	c := newClient(b, srv.URL)
	read := func(ctx context.Context) error { _, err := c.Token(ctx); return err }
	require.NoError(b, read(b.Context()))
	for _, goroutines := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			b.ReportAllocs()
			ctx, start := b.Context(), cpuTime()
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for range b.N / goroutines {
						if err := read(ctx); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			reportCPU(b, start)
		})
	}
}

// reportCPU reports the CPU time since start, on systems that measure it.
func reportCPU(b *testing.B, start time.Duration) {
	b.Helper()
	if used := cpuTime() - start; used > 0 {
		b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
	}
}

// BenchmarkNew creates clients.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wechatuser.New("wxappid", "secret"); err != nil {
			b.Fatal(err)
		}
	}
}
