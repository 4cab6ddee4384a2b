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

// job is one API call, made by the SDK and by bare net/http.
type job struct {
	name string
	sdk  func(context.Context, *wechatuser.Client) error
	bare func(context.Context, *bare.Client) error
}

var (
	hundred = openIDs(100)
	queries = userQueries(hundred)

	errIncomplete = errors.New("the answer is not complete")
)

var (
	getUserInfo = job{
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
	updateRemark = job{
		"UpdateRemark",
		func(ctx context.Context, c *wechatuser.Client) error {
			return c.UpdateRemark(ctx, hundred[7], "常客")
		},
		func(ctx context.Context, c *bare.Client) error { return c.UpdateRemark(ctx, hundred[7], "常客") },
	}
	batchUserInfo = job{
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
	getFans = job{
		"GetFans",
		func(ctx context.Context, c *wechatuser.Client) error {
			page, err := c.GetFans(ctx, "")
			return check(err, page != nil && len(page.OpenIDs) == origin.PageSize && page.NextOpenID == page.OpenIDs[origin.PageSize-1])
		},
		func(ctx context.Context, c *bare.Client) error {
			page, err := c.GetFans(ctx, "")
			return check(err, len(page.Data.OpenIDs) == origin.PageSize && page.NextOpenID == page.Data.OpenIDs[origin.PageSize-1])
		},
	}
	jobs = []job{getUserInfo, updateRemark, batchUserInfo, getFans}
)

// account is what the jobs are done on.
var account = origin.Config{Fans: 25_000}

func check(err error, complete bool) error {
	if err == nil && !complete {
		return errIncomplete
	}
	return err
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

// each runs f for the client of bare net/http and for the SDK's, which f gets as a function that does the job.
func (j job) each(b *testing.B, f func(b *testing.B, srv *origin.Process, do func(context.Context) error)) {
	b.Run("client=bare", func(b *testing.B) {
		srv := serve(b, account)
		c := newBare(b, srv.URL)
		f(b, srv, func(ctx context.Context) error { return j.bare(ctx, c) })
	})
	b.Run("client=wechatuser", func(b *testing.B) {
		srv := serve(b, account)
		c := newClient(b, srv.URL)
		f(b, srv, func(ctx context.Context) error { return j.sdk(ctx, c) })
	})
}

func BenchmarkCall(b *testing.B) {
	for _, j := range jobs {
		b.Run("api="+j.name, func(b *testing.B) {
			j.each(b, func(b *testing.B, _ *origin.Process, do func(context.Context) error) {
				require.NoError(b, do(b.Context())) // with it the connection and the token are there
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

// crowd runs do n times in so many goroutines.
func crowd(ctx context.Context, goroutines, n int, do func(context.Context) error) error {
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

// BenchmarkCrowd makes small calls in 64 goroutines.
func BenchmarkCrowd(b *testing.B) {
	const goroutines = 64
	getUserInfo.each(b, func(b *testing.B, srv *origin.Process, do func(context.Context) error) {
		require.NoError(b, crowd(b.Context(), goroutines, 4*goroutines, do))
		b.ReportAllocs()
		b.ResetTimer()
		if err := crowd(b.Context(), goroutines, b.N, do); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(statsOf(b, srv).Conns), "conns")
	})
}

// BenchmarkClock looks at the time, which is the least that it takes to tell whether a token is still good.
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

// reportCPU reports the processor time since start, where the system tells it.
func reportCPU(b *testing.B, start time.Duration) {
	b.Helper()
	if used := cpuTime() - start; used > 0 {
		b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
	}
}

// BenchmarkNew makes clients.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wechatuser.New("wxappid", "secret"); err != nil {
			b.Fatal(err)
		}
	}
}
