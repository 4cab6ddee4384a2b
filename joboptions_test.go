package wechatuser_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestJobOptionsAreChecked(t *testing.T) {
	s := testutil.Play(testutil.Fail(errors.New("nothing is sent")))
	c := testutil.NewClient(t, s)
	ids := wechatuser.OpenIDs(testutil.Alice)
	write := func(_ *wechatuser.BulkReport, err error) error { return err }
	sync := func(_ *wechatuser.SyncReport, err error) error { return err }
	for name, err := range map[string]error{
		"no openids":          write(c.BulkTagging(t.Context(), 100, ids, wechatuser.WithChunkSize(0))),
		"more than 50":        write(c.BulkTagging(t.Context(), 100, ids, wechatuser.WithChunkSize(51))),
		"more than 50, untag": write(c.BulkUntagging(t.Context(), 100, ids, wechatuser.WithChunkSize(51))),
		"more than 20":        write(c.BulkBlacklist(t.Context(), ids, wechatuser.WithChunkSize(21))),
		"more than 20, sync":  sync(c.SyncBlacklist(t.Context(), ids, wechatuser.WithChunkSize(21))),
		"more than 50, sync":  sync(c.SyncTag(t.Context(), 100, ids, wechatuser.WithChunkSize(51))),
		"more than 100":       seq.LastError(c.BulkUserInfo(t.Context(), ids, wechatuser.WithChunkSize(101))),
		"more than 100, ids": seq.LastError(c.BulkChangeOpenID(t.Context(), "wxOLD", ids,
			wechatuser.WithChunkSize(101))),
		"negative patience": write(c.BulkTagging(t.Context(), 100, ids, wechatuser.WithPatience(-1))),
		"list of chunks":    seq.LastError(c.AllFans(t.Context(), wechatuser.WithChunkSize(10))),
		"concurrent list":   seq.LastError(c.AllTagFans(t.Context(), 100, wechatuser.WithConcurrency(2))),
		"list with progress": seq.LastError(c.AllBlacklist(t.Context(),
			wechatuser.WithProgress(func(wechatuser.Progress) {}))),
		"list with both kinds": seq.LastError(c.AllFans(t.Context(), wechatuser.WithPatience(time.Minute),
			wechatuser.WithConcurrency(1))),
	} {
		var bad *wechatuser.ArgumentError
		require.ErrorAs(t, err, &bad, name)
		assert.NotEmpty(t, bad.API, name)
		assert.True(t, strings.HasPrefix(bad.Field, "With"), "%s: %s", name, bad.Field)
	}
	assert.Zero(t, s.Count())
}

func TestChunkSize(t *testing.T) {
	for _, job := range bulkWrites {
		for _, size := range []int{1, 7, job.limit} {
			srv, c, tag := testutil.NewAccount(t, 60)
			report, err := job.run(c, t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(60)...),
				wechatuser.WithChunkSize(size))
			require.NoError(t, err)
			assert.Equal(t, (60+size-1)/size, report.Calls, "%s in calls of %d", job.name, size)
			assert.Equal(t, report.Calls, srv.Calls(job.path))
		}
	}
	srv, c, _ := testutil.NewAccount(t, 60)
	users, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(60)...),
		wechatuser.WithChunkSize(25)))
	assert.Len(t, users, 60)
	assert.Empty(t, errs)
	assert.Equal(t, 3, srv.Calls(testutil.PathBatchUserInfo))
}

// For some accounts the platform rejects a call at its own limit. The job halves it, and remembers the size.
func TestJobFindsTheSizeThatThePlatformAccepts(t *testing.T) {
	one := wechatuser.WithConcurrency(1)
	for _, job := range bulkWrites {
		for _, limit := range []int{job.limit - 1, job.limit / 2, 3, 1} {
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200),
				wechatusertest.WithQuirks(wechatusertest.Quirks{MaxBatch: limit}))
			ids := testutil.OpenIDs(200)
			tag := srv.AddTag("vip")
			report, err := job.run(srv.Client(), t.Context(), tag, wechatuser.OpenIDs(ids...), one)
			require.NoError(t, err, "%s, %d at most", job.name, limit)
			assert.Equal(t, 200, report.Applied)
			size, tooLarge := job.limit, 0
			for size > limit {
				size = (size + 1) / 2
				tooLarge++
			}
			assert.LessOrEqual(t, report.Calls, tooLarge+2*200/size+2, "%s, %d at most: calls", job.name, limit)
		}
	}
	for _, limit := range []int{99, 50} {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000),
			wechatusertest.WithQuirks(wechatusertest.Quirks{MaxBatch: limit}))
		users, errs := seq.Collect(srv.Client().BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(1000)...),
			one))
		assert.Len(t, users, 1000)
		assert.Empty(t, errs)
		assert.Equal(t, 1+20, srv.Calls(testutil.PathBatchUserInfo))
	}

	// One openid in a call cannot be too many.
	c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(wechatuser.CodeInvalidOpenIDListSize)))
	report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice, testutil.Bob))
	assert.ErrorIs(t, err, wechatuser.CodeInvalidOpenIDListSize)
	assert.Equal(t, wechatuser.BulkReport{Calls: 2}, *report)
}

// outage is a transport that fails all API calls for a time.
type outage struct {
	next  http.RoundTripper
	until time.Time
	fails testutil.Reply
}

func (o *outage) RoundTrip(req *http.Request) (*http.Response, error) {
	if time.Now().Before(o.until) {
		return o.fails(req)
	}
	return o.next.RoundTrip(req)
}

var outages = map[string]testutil.Reply{
	"busy":        testutil.RespondCode(wechatuser.CodeSystemBusy),
	"bad gateway": testutil.Respond(502, "<html>"),
	"unreachable": testutil.Fail(testutil.ErrRefused),
	"reset":       testutil.Fail(testutil.ErrReset),
	"hanging":     testutil.Hang,
}

func TestPatience(t *testing.T) {
	const fans, down = 1000, 20 * time.Minute
	patience := wechatuser.WithPatience(30 * time.Minute)
	for name, fails := range outages {
		for call, run := range map[string]func(ctx context.Context, c *wechatuser.Client, tag int) error{
			"BulkTagging": func(ctx context.Context, c *wechatuser.Client, tag int) error {
				report, err := c.BulkTagging(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(fans)...), patience)
				assert.Equal(t, fans, report.Applied, name)
				return err
			},
			"BulkUserInfo": func(ctx context.Context, c *wechatuser.Client, _ int) error {
				users, errs := seq.Collect(c.BulkUserInfo(ctx, wechatuser.OpenIDs(testutil.OpenIDs(fans)...), patience))
				assert.Len(t, users, fans, name)
				return errors.Join(errs...)
			},
			"AllFans": func(ctx context.Context, c *wechatuser.Client, _ int) error {
				ids, errs := seq.Collect(c.AllFans(ctx, patience))
				assert.Len(t, ids, fans, name)
				return errors.Join(errs...)
			},
			"SyncTag": func(ctx context.Context, c *wechatuser.Client, tag int) error {
				report, err := c.SyncTag(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(fans)...), patience)
				assert.Equal(t, fans, report.Added.Applied, name)
				return err
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				srv, _, tag := testutil.NewAccount(t, fans)
				c := srv.Client(
					wechatuser.WithTransport(&outage{next: srv.Transport(), until: time.Now().Add(down), fails: fails}))
				start := time.Now()
				require.NoError(t, run(t.Context(), c, tag), "%s: %s", call, name)
				assert.GreaterOrEqual(t, time.Since(start), down, "%s: %s", call, name)
				assert.LessOrEqual(t, time.Since(start), down+2*time.Minute, "%s: %s", call, name)
			})
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	for name, fails := range outages {
		synctest.Test(t, func(t *testing.T) {
			srv, _, tag := testutil.NewAccount(t, 1000)
			_, err := srv.Client().Token(t.Context())
			require.NoError(t, err)
			c := srv.Client(
				wechatuser.WithTransport(&outage{
					next: srv.Transport(), until: time.Now().Add(time.Hour), fails: fails,
				}),
				wechatuser.WithTokenSource(wechatuser.StaticTokenSource(srv.AccessToken())))
			ids := wechatuser.OpenIDs(testutil.OpenIDs(1000)...)

			start := time.Now()
			report, err := c.BulkTagging(t.Context(), tag, ids, wechatuser.WithPatience(10*time.Minute))
			assert.ErrorIs(t, err, wechatuser.ErrTemporary, name)
			assert.Zero(t, report.Applied, name)
			assert.GreaterOrEqual(t, time.Since(start), 10*time.Minute, name)
			assert.LessOrEqual(t, time.Since(start), 12*time.Minute, name)

			start = time.Now()
			_, err = c.BulkTagging(t.Context(), tag, ids)
			assert.ErrorIs(t, err, wechatuser.ErrTemporary, name)
			assert.LessOrEqual(t, time.Since(start), time.Minute, "%s: without patience", name)

			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			start = time.Now()
			assert.Error(t, seq.LastError(c.AllFans(ctx, wechatuser.WithPatience(time.Hour))), name)
			assert.LessOrEqual(t, time.Since(start), 3*time.Minute, "%s: the context", name)
		})
	}
}

// Patience is for what passes, and for nothing else.
func TestPatienceIsNotForOtherErrors(t *testing.T) {
	for name, reply := range map[string]testutil.Reply{
		"daily quota": testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded),
		"permission":  testutil.RespondCode(wechatuser.CodeAPIUnauthorized),
		"redirect":    testutil.Respond(302, ""),
		"forbidden":   testutil.Respond(403, ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c := testutil.NewClient(t, testutil.Play(reply))
			_, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice),
				wechatuser.WithPatience(time.Hour))
			require.Error(t, err, name)
			assert.Error(t, seq.LastError(c.AllFans(t.Context(), wechatuser.WithPatience(time.Hour))), name)
			assert.Zero(t, time.Since(start), name)
		})
	}
}

// By default a job makes 4 calls at a time, and at 25 ms a call fewer than 10,000 a minute, the only limit per minute that
// the platform has published (decision 19).
func TestDefaultConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls, latency = 400, 25 * time.Millisecond
		var running, most atomic.Int32
		c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return testutil.Delay(latency, testutil.RespondJSON(testutil.OKBody))(req)
		}))
		start := time.Now()
		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(50*calls)...))
		require.NoError(t, err)
		assert.Equal(t, calls, report.Calls)
		assert.EqualValues(t, 4, most.Load())
		assert.Equal(t, 9_600, int(calls*time.Minute/time.Since(start)))
	})
}
