package wechatuser_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
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

// delayed waits before each call, as a limiter does.
type delayed time.Duration

func (d delayed) Wait(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(d)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// One chunk stops the job after five seconds, while the others wait for something. None of them sends anything after
// that.
func TestStoppedJobBeginsNoRequest(t *testing.T) {
	const chunks, stopAt = 16, 5 * time.Second
	slow := func(r testutil.Reply) testutil.Reply { return testutil.Delay(stopAt+time.Second, r) }
	for name, tt := range map[string]struct {
		reply   testutil.Reply // to the other chunks
		tags    testutil.Reply // to getTags
		opts    []wechatuser.Option
		limiter bool
		failed  bool // their openids have failed: they may be tagged
	}{
		"the minute's quota":     {reply: testutil.RespondCode(wechatuser.CodeMinuteQuotaExceeded)},
		"halving":                {reply: slow(testutil.RespondCode(wechatuser.CodeInvalidOpenID))},
		"halving for the size":   {reply: slow(testutil.RespondCode(wechatuser.CodeInvalidOpenIDListSize))},
		"attempts that are left": {reply: slow(testutil.RespondCode(wechatuser.CodeSystemBusy)), failed: true},
		"a pause of the call": {
			reply: testutil.RespondCode(wechatuser.CodeSystemBusy), failed: true,
			opts: []wechatuser.Option{
				wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 99, MinDelay: time.Hour, MaxDelay: time.Hour}),
			},
		},
		"a pause of the job": {
			reply: testutil.RespondCode(wechatuser.CodeConcurrentTagging),
			opts: []wechatuser.Option{
				wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1, MinDelay: time.Hour, MaxDelay: time.Hour}),
			},
		},
		"patience":            {reply: testutil.Fail(testutil.ErrRefused), opts: []wechatuser.Option{testutil.NoRetry}},
		"openids that failed": {reply: slow(testutil.RespondCode(wechatuser.CodeConcurrentTagging))},
		"the tag list": {
			reply: testutil.RespondCode(wechatuser.CodeInvalidTagID),
			tags:  slow(testutil.RespondJSON(testutil.TagsBody)),
		},
		"the tag list, later": {
			reply: slow(testutil.RespondCode(wechatuser.CodeInvalidTagID)),
			tags:  testutil.RespondJSON(testutil.TagsBody),
		},
		"another token": {reply: slow(testutil.RespondCode(wechatuser.CodeInvalidCredential))},
		"a limiter":     {reply: testutil.RespondJSON(testutil.OKBody), limiter: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ids := testutil.OpenIDs(50 * chunks)
			var (
				mu      sync.Mutex
				late    []string
				stopped time.Time
			)
			opts := tt.opts
			if tt.limiter {
				opts = append(opts, wechatuser.WithLimiter(new(growing)))
			}
			c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				mu.Lock()
				if !stopped.IsZero() && time.Now().After(stopped) {
					late = append(late, req.URL.Path)
				}
				mu.Unlock()
				switch body := testutil.PeekBody(req); {
				case req.URL.Path == testutil.PathGetTags && tt.tags != nil:
					return tt.tags(req)
				case strings.Contains(body, ids[0]):
					mu.Lock()
					stopped = time.Now().Add(stopAt)
					mu.Unlock()
					return testutil.Delay(stopAt, testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded))(req)
				}
				return tt.reply(req)
			}), opts...)
			report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(ids...),
				wechatuser.WithConcurrency(chunks), wechatuser.WithPatience(time.Hour))
			require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded, name)
			assert.Empty(t, late, "%s: requests after the stop", name)
			assert.Equal(t, tt.failed, len(report.Failed) > 0, "%s: %v", name, err)
			for _, f := range report.Failed {
				assert.ErrorIs(t, &f, wechatuser.ErrAmbiguous, name)
			}
			assert.Empty(t, report.ResumeAfter, name)
			assert.LessOrEqual(t, time.Since(stopped), 2*time.Second, "%s: no wait outlives the job", name)
		})
	}
}

// growing lets the first call pass at once, and each further one a second later.
type growing struct {
	mu sync.Mutex
	n  int
}

func (g *growing) Wait(ctx context.Context) error {
	g.mu.Lock()
	d := delayed(g.n) * delayed(20*time.Second)
	g.n++
	g.mu.Unlock()
	return d.Wait(ctx)
}

// A call that waits for a token does not begin when the job has stopped meanwhile, and the token request, which others
// may wait for too, is not disturbed.
func TestStoppedJobLeavesTokenRequestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 100)
		ids := testutil.OpenIDs(100)
		srv.Delay(testutil.PathStableToken, 3*time.Second)
		var c *wechatuser.Client
		other := make(chan error, 1)
		c = srv.Client(wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			switch body := testutil.PeekBody(req); {
			case strings.Contains(body, ids[0]): // stops the job in the middle of the token request
				return testutil.Delay(2*time.Second, testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded))(req)
			case req.URL.Path == testutil.PathBatchTagging:
				time.Sleep(time.Millisecond) // so that the other chunk is on its way
				srv.ExpireTokens()
				go func() {
					time.Sleep(time.Second)
					_, err := c.GetTags(context.Background())
					other <- err
				}()
			}
			return srv.Transport().RoundTrip(req)
		})))
		_, err := c.Token(t.Context())
		require.NoError(t, err)
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
		require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
		assert.Empty(t, report.Failed, "a rejected token tags nobody")
		assert.Equal(t, 1, srv.Calls(testutil.PathBatchTagging))
		require.NoError(t, <-other)
	})
}

// Where nothing was sent, no openid has failed.
func TestCallThatIsNotSentFailsNoOpenID(t *testing.T) {
	closed := errors.New("the limiter is closed")
	refuse := func(after int) func() error {
		n := 0
		return func() error {
			if n++; n > after {
				return closed
			}
			return nil
		}
	}
	for name, option := range map[string]func(func() error) wechatuser.Option{
		"limiter": func(f func() error) wechatuser.Option { return wechatuser.WithLimiter(limiterFunc(f)) },
		"interceptor": func(f func() error) wechatuser.Option {
			return wechatuser.WithInterceptor(
				func(ctx context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
					if strings.HasSuffix(call.Path, "token") {
						return next(ctx)
					}
					if err := f(); err != nil {
						return wechatuser.Result{}, err
					}
					return next(ctx)
				})
		},
	} {
		for after := range 3 {
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(300))
			tag, ids := srv.AddTag("vip"), testutil.OpenIDs(300)
			one := wechatuser.WithConcurrency(1)
			report, err := srv.Client(option(refuse(after))).BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...),
				one, wechatuser.WithPatience(time.Hour))
			var be *wechatuser.BulkError
			require.ErrorAs(t, err, &be, name)
			assert.ErrorIs(t, be.Err, closed, name)
			assert.Empty(t, report.Failed, name)
			assert.Equal(t, 50*after, report.Total, name)
			assert.Equal(t, slices.Concat([]string{""}, ids)[50*after], report.ResumeAfter, name)
			assert.Equal(t, after, report.Calls, name)

			n := 0
			for _, err := range srv.Client(option(refuse(after))).BulkUserInfo(t.Context(), wechatuser.OpenIDs(ids...),
				one) {
				if err != nil {
					assert.ErrorIs(t, err, closed, name)
					break
				}
				n++
			}
			assert.Equal(t, 100*after, n, name)
		}
	}
}

type limiterFunc func() error

func (f limiterFunc) Wait(context.Context) error { return f() }

// Mocks end the goroutine of a call with t.FailNow, wherever they stand.
func TestCallThatEndsItsGoroutine(t *testing.T) {
	end := func() error {
		runtime.Goexit()
		return nil
	}
	for name, option := range map[string]func(*wechatusertest.Server) wechatuser.Option{
		"transport": func(srv *wechatusertest.Server) wechatuser.Option {
			return wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				if strings.Contains(req.URL.Path, "batch") {
					return nil, end()
				}
				return srv.Transport().RoundTrip(req)
			}))
		},
		"interceptor": func(*wechatusertest.Server) wechatuser.Option {
			return wechatuser.WithInterceptor(
				func(ctx context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
					if strings.Contains(call.Path, "batch") {
						return wechatuser.Result{}, end()
					}
					return next(ctx)
				})
		},
		"limiter": func(*wechatusertest.Server) wechatuser.Option { return wechatuser.WithLimiter(limiterFunc(end)) },
	} {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(300))
		tag, ids := srv.AddTag("vip"), testutil.OpenIDs(300)
		c := srv.Client(option(srv))
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
		assert.ErrorContains(t, err, "ended by runtime.Goexit", name)
		assert.NotEmpty(t, report.Failed, name)
		for _, f := range report.Failed {
			assert.ErrorIs(t, &f, wechatuser.ErrAmbiguous, "%s: nobody knows whether it is tagged", name)
		}
		assert.Empty(t, report.ResumeAfter, name)
		assert.ErrorContains(t, seq.LastError(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(ids...))),
			"ended by runtime.Goexit", name)
		if name != "limiter" { // there it ends the goroutine of SyncTag itself, which reads the list
			_, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids...))
			assert.ErrorContains(t, err, "ended by runtime.Goexit", name)
		}
	}
}

func TestPanicOfATransportIsThatOfTheJob(t *testing.T) {
	c := testutil.NewClient(t, testutil.RoundTripFunc(func(*http.Request) (*http.Response, error) {
		panic("in the transport")
	}))
	for name, run := range map[string]func(){
		"BulkTagging": func() { _, _ = c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(500)...)) },
		"BulkUserInfo": func() {
			_ = seq.LastError(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(500)...)))
		},
	} {
		func() {
			defer func() {
				err, ok := recover().(error)
				require.True(t, ok, name)
				assert.ErrorContains(t, err, "in the transport\n\ngoroutine ", "%s: with the stack", name)
			}()
			run()
			assert.Fail(t, "no panic", name)
		}()
	}
}

func TestCountCalls(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(250))
	c := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2}))
	outerCtx, outer := wechatuser.CountCalls(t.Context())
	ctx, calls := wechatuser.CountCalls(outerCtx)

	_, errs := seq.Collect(c.BulkUserInfo(ctx, c.AllFans(ctx)))
	require.Empty(t, errs)
	assert.Equal(t, 2+3, calls(), "two pages and three batches, without the request for the token")

	srv.FailNext("getTags", wechatuser.CodeSystemBusy, 1)
	_, err := c.GetTags(outerCtx)
	require.NoError(t, err)
	assert.Equal(t, 5, calls())
	assert.Equal(t, 5+2, outer(), "a retry counts")
}
