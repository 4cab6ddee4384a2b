package wechatuser_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
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

// Errors that pass by themselves stop neither a job nor a list.

func onAccount(t *testing.T, f func(t *testing.T, srv *wechatusertest.Server, tagID int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000))
		f(t, srv, srv.AddTag("vip", wechatusertest.OpenID(0)))
	})
}

// Another program refreshes the token before each call, 20 times within a second.
func TestBulkWaitsForTheTokenRequestLimit(t *testing.T) {
	onAccount(t, func(t *testing.T, srv *wechatusertest.Server, tagID int) {
		c := srv.Client(
			wechatuser.WithInterceptor(
				func(ctx context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
					if call.API == "batchTagging" {
						srv.ExpireTokens()
					}
					return next(ctx)
				}))

		report, err := c.BulkTagging(t.Context(), tagID, c.AllFans(t.Context()), wechatuser.WithConcurrency(1))

		require.NoError(t, err)
		assert.Equal(t, 1000, report.Applied)
	})
}

// A single call does not wait, and its error names the rejected token.
func TestCallReportsTheTokenRequestLimit(t *testing.T) {
	onAccount(t, func(t *testing.T, srv *wechatusertest.Server, _ int) {
		c := srv.Client()
		var err error
		for range 30 {
			srv.ExpireTokens()
			if _, err = c.GetTags(t.Context()); err != nil {
				break
			}
		}

		assert.ErrorIs(t, err, wechatuser.ErrTemporary)
		assert.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
		assert.ErrorContains(t, err, "20 a minute at most")
	})
}

func TestListsWaitOutTheMinuteQuota(t *testing.T) {
	onAccount(t, func(t *testing.T, srv *wechatusertest.Server, tagID int) {
		srv.FailNext(testutil.PathGetFans, wechatuser.CodeMinuteQuotaExceeded, 1)
		c := srv.Client()

		report, err := c.BulkTagging(t.Context(), tagID, c.AllFans(t.Context()))

		require.NoError(t, err)
		assert.Equal(t, 1000, report.Applied)
	})
}

func TestListsDoNotBelieveThatATagIsGone(t *testing.T) {
	onAccount(t, func(t *testing.T, srv *wechatusertest.Server, tagID int) {
		srv.FailNext(testutil.PathGetTagFans, wechatuser.CodeInvalidTagID, 1)
		n := 0
		for _, err := range srv.Client().AllTagFans(t.Context(), tagID) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 1, n)
	})
}

// Without a token nothing was sent, so that no openid has failed.
func TestNoOpenIDFailsWithoutAToken(t *testing.T) {
	onAccount(t, func(t *testing.T, srv *wechatusertest.Server, tagID int) {
		srv.FailNextHTTP(testutil.PathStableToken, 502, "<html>", 100)

		report, err := srv.Client().BulkTagging(t.Context(), tagID, wechatuser.OpenIDs(srv.OpenIDs()...))

		assert.ErrorIs(t, err, wechatuser.ErrTemporary)
		assert.Zero(t, srv.Calls(testutil.PathBatchTagging))
		assert.Empty(t, report.Failed)
		assert.Zero(t, report.Total)
		assert.Empty(t, report.ResumeAfter)
	})
}

// Two chunks are told that the tag does not exist. The first reads the tag list, the second waits for the result, and a
// third stops the job meanwhile.
func TestStoppedJobReadsTheTagListOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 150)
		ids := testutil.OpenIDs(150)
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				switch {
				case req.URL.Path == testutil.PathGetTags:
					return testutil.Delay(2*time.Second, srv.Transport().RoundTrip)(req)
				case req.URL.Path != testutil.PathBatchTagging:
					return srv.Transport().RoundTrip(req)
				case strings.Contains(testutil.PeekBody(req), ids[120]):
					return testutil.Delay(time.Second, testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded))(req)
				}
				return testutil.RespondCode(wechatuser.CodeInvalidTagID)(req)
			})))
		start := time.Now()
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
		require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.Equal(t, wechatuser.BulkReport{Calls: 3 + 1}, *report)
		assert.Equal(t, 1, srv.Calls(testutil.PathGetTags))
	})
}

// revoker is a transport whose token is revoked before each of some calls, so that the call's own refresh does not
// help.
func revoker(ts *testutil.TokenServer, times int) testutil.RoundTripFunc {
	n := 0
	var mu sync.Mutex
	return func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if !testutil.IsTokenPath(req.URL.Path) {
			if n++; n <= times {
				ts.Revoke()
			}
		}
		return ts.RoundTrip(req)
	}
}

func TestBulkSurvivesRevocations(t *testing.T) {
	for _, reissued := range []bool{false, true} { // the platform goes on returning the revoked token
		for mode, opts := range testutil.TokenModes {
			if reissued && mode == "legacy" {
				continue // nothing can force a legacy token
			}
			for times := range 6 {
				synctest.Test(t, func(t *testing.T) {
					ts := &testutil.TokenServer{ReissueRevoked: reissued}
					c := testutil.NewTokenClient(t, revoker(ts, times), opts...)
					report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(500)...),
						wechatuser.WithConcurrency(1))
					require.NoError(t, err, "%d revocations in a row", times)
					assert.Equal(t, 500, report.Applied)
				})
			}
		}
	}
	// With tokens of a source that has another one after each rejection.
	synctest.Test(t, func(t *testing.T) {
		start, n := time.Now(), 0
		source := rotating(0)
		c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			if n++; n < 6 {
				return testutil.RespondCode(wechatuser.CodeInvalidCredential)(req)
			}
			return testutil.RespondJSON(testutil.OKBody)(req)
		}), wechatuser.WithTokenSource(&source))
		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice))
		require.NoError(t, err)
		assert.Equal(t, 1, report.Applied)
		assert.Less(t, time.Since(start), 30*time.Second)
	})
	// A list too.
	synctest.Test(t, func(t *testing.T) {
		ts := new(testutil.TokenServer)
		rt := revoker(ts, 4)
		c := testutil.NewTokenClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := rt(req)
			if err != nil || resp.ContentLength == int64(len(testutil.TagsBody)) {
				return testutil.RespondPage(0, "")(req)
			}
			return resp, err
		}))
		got, errs := seq.Collect(c.AllFans(t.Context()))
		assert.Empty(t, errs)
		assert.Empty(t, got)
	})
}

// rotating is a token source that returns another token each time.
type rotating int

func (r *rotating) Token(context.Context) (wechatuser.Token, error) {
	*r++
	return wechatuser.Token{AccessToken: fmt.Sprint("T", int(*r)), ExpiresAt: time.Now().Add(time.Hour)}, nil
}

// A token that is rejected for ever stops the job, within the limit of token requests.
func TestBulkEndsWhereEveryTokenIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := &testutil.TokenServer{RejectAll: true}
		c := testutil.NewTokenClient(t, ts)
		start := time.Now()
		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(500)...))
		assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
		assert.Empty(t, report.Failed)
		assert.Less(t, time.Since(start), 5*time.Minute)
		requests := ts.TokenRequests()
		for i := 20; i < len(requests); i++ {
			assert.GreaterOrEqual(t, requests[i].At.Sub(requests[i-20].At), time.Minute, "20 a minute")
		}
	})
	// A source that has no other token is not asked for one again and again.
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(wechatuser.CodeInvalidCredential)))
		_, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(500)...))
		assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
		assert.Zero(t, time.Since(start))
	})
}

// The delays of a job's retries are counted on from those of the call, which may be as many as there are integers.
func TestDelaysDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := testutil.RespondCode(wechatuser.CodeInvalidTagID)
		c := testutil.NewClient(t, testutil.ByPath{
			testutil.PathBatchTagging: testutil.Play(denied, denied, denied, testutil.RespondJSON(testutil.OKBody)),
			testutil.PathGetTags:      testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
		}, wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: math.MaxInt}))
		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice))
		require.NoError(t, err)
		assert.Equal(t, 1, report.Applied)
	})
}
