package wechatuser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// bulkWrites are the four jobs that change an account, each with its path and its limit.
var bulkWrites = []struct {
	name, path string
	limit      int
	extra      int // most calls to find one rejected openid
	run        func(*wechatuser.Client, context.Context, int, iter.Seq2[string, error], ...wechatuser.BulkOption) (*wechatuser.BulkReport, error)
}{
	{"BulkTagging", testutil.PathBatchTagging, 50, 12, (*wechatuser.Client).BulkTagging},
	{"BulkUntagging", testutil.PathBatchUntagging, 50, 12, (*wechatuser.Client).BulkUntagging},
	{
		"BulkBlacklist", testutil.PathBatchBlacklist, 20, 10,
		func(c *wechatuser.Client, ctx context.Context, _ int, ids iter.Seq2[string, error],
			opts ...wechatuser.BulkOption,
		) (*wechatuser.BulkReport, error) {
			return c.BulkBlacklist(ctx, ids, opts...)
		},
	},
	{
		"BulkUnblacklist", testutil.PathBatchUnblacklist, 20, 10,
		func(c *wechatuser.Client, ctx context.Context, _ int, ids iter.Seq2[string, error],
			opts ...wechatuser.BulkOption,
		) (*wechatuser.BulkReport, error) {
			return c.BulkUnblacklist(ctx, ids, opts...)
		},
	},
}

func TestBulkSendsOneCallPerChunk(t *testing.T) {
	for _, job := range bulkWrites {
		for _, n := range []int{0, 1, job.limit - 1, job.limit, job.limit + 1, 1000} {
			srv, c, tag := testutil.NewAccount(t, n)
			ids := testutil.OpenIDs(n)
			report, err := job.run(c, t.Context(), tag, wechatuser.OpenIDs(ids...))
			require.NoError(t, err)
			want := wechatuser.BulkReport{Total: n, Applied: n, Calls: (n + job.limit - 1) / job.limit}
			if n > 0 {
				want.ResumeAfter = ids[n-1]
			}
			assert.Equal(t, want, *report, "%s of %d", job.name, n)
			assert.Equal(t, want.Calls, srv.Calls("*"))
			switch job.path {
			case testutil.PathBatchTagging:
				assert.Len(t, srv.TagFans(tag), n)
			case testutil.PathBatchBlacklist:
				assert.Len(t, srv.Blacklist(), n)
			}
		}
	}
}

func TestBulkFindsTheRejectedOpenID(t *testing.T) {
	for _, job := range bulkWrites {
		worst := 0
		for at := range job.limit {
			srv, c, tag := testutil.NewAccount(t, job.limit)
			ids := testutil.OpenIDs(job.limit)
			ids[at] = wechatusertest.ForeignOpenID(7)
			report, err := job.run(c, t.Context(), tag, wechatuser.OpenIDs(ids...))
			var be *wechatuser.BulkError
			require.ErrorAs(t, err, &be)
			assert.NoError(t, be.Err, "the job ran to its end")
			assert.Equal(t, job.limit, report.Total)
			assert.Equal(t, job.limit-1, report.Applied)
			require.Equal(t, []string{ids[at]}, report.FailedOpenIDs())
			assert.ErrorIs(t, report.Failed[0].Err, wechatuser.CodeOpenIDMismatch)
			assert.Equal(t, ids[job.limit-1], report.ResumeAfter)
			assert.Equal(t, srv.Calls("*"), report.Calls)
			worst = max(worst, report.Calls-1)
		}
		assert.LessOrEqual(t, worst, job.extra, "%s: calls to find one", job.name)

		// If each left half succeeds, the right one must hold the openid, and is not sent as a whole.
		_, c, tag := testutil.NewAccount(t, job.limit)
		report, _ := job.run(c, t.Context(), tag,
			wechatuser.OpenIDs(slices.Concat(testutil.OpenIDs(job.limit-1), []string{"oFAKEunknown"})...))
		assert.LessOrEqual(t, report.Calls, 1+job.extra/2+1, job.name)
	}
}

func TestBulkAllOpenIDsRejected(t *testing.T) {
	for _, job := range bulkWrites {
		_, c, tag := testutil.NewAccount(t, 0)
		var ids []string
		for i := range 3 * job.limit {
			ids = append(ids, wechatusertest.ForeignOpenID(i))
		}
		report, err := job.run(c, t.Context(), tag, wechatuser.OpenIDs(ids...))
		assert.ErrorIs(t, err, wechatuser.CodeOpenIDMismatch)
		assert.Zero(t, report.Applied)
		assert.Equal(t, ids, report.FailedOpenIDs(), "in the order of the input")
		assert.LessOrEqual(t, report.Calls, 3+2*3*job.limit)
	}
}

func TestBulkErrorListsTheFailures(t *testing.T) {
	srv, c, tag := testutil.NewAccount(t, 1000)
	ids := testutil.OpenIDs(1000)
	ids[40] = wechatusertest.ForeignOpenID(0)
	ids[700] = "oFAKEunknown"
	srv.Unfollow(ids[701])
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
	assert.Len(t, srv.TagFans(tag), 997)
	assert.LessOrEqual(t, report.Calls, 20+3*12)

	assert.Regexp(t, `^wechatuser: BulkTagging: 997 of 1000 applied, 3 failed; first: openid "oFAKEz[^"]+": wechatuser: batchTagging: 49003 .+$`, err.Error())
	assert.Regexp(t, `^997 of 1000 applied, 3 failed, \d+ calls$`, report.String())
	assert.NotContains(t, fmt.Sprint(*report), "oFAKE")
	for _, target := range []error{
		wechatuser.CodeOpenIDMismatch, wechatuser.CodeInvalidOpenID, wechatuser.CodeUserUnsubscribed,
		wechatuser.ErrNotFollowing,
	} {
		assert.ErrorIs(t, err, target)
	}
	assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
	var one *wechatuser.OpenIDError
	require.ErrorAs(t, err, &one)
	assert.Equal(t, ids[40], one.OpenID)
	var apiErr *wechatuser.Error
	require.ErrorAs(t, err, &apiErr)
	assert.NotEmpty(t, apiErr.RID)

	stopped := &wechatuser.BulkError{
		Err:    context.Canceled,
		Report: &wechatuser.BulkReport{Total: 7, Applied: 5, Failed: make([]wechatuser.OpenIDError, 2)},
	}
	assert.Equal(t, "wechatuser: bulk job: stopped after 7 openids (5 applied, 2 failed): context canceled",
		stopped.Error())
	assert.ErrorIs(t, stopped, context.Canceled)
	assert.Equal(t, "wechatuser: bulk job: 0 of 0 applied", new(wechatuser.BulkError).Error())
	assert.Empty(t, new(wechatuser.BulkError).Unwrap())
}

func TestBulkDoesNotSendMalformedOpenIDs(t *testing.T) {
	srv, _, tag := testutil.NewAccount(t, 60)
	s := &recorder{next: srv.Transport()}
	c := srv.Client(wechatuser.WithTransport(s))
	wrong := []string{"", " ", "oFAKE x", "oFAKE\n", "oFAKE\x00", "\u00a0", "oFAKE\xff"}
	ids := slices.Concat(wrong[:3], testutil.OpenIDs(60), wrong[3:])
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
	assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	assert.Equal(t, wrong, report.FailedOpenIDs())
	for _, f := range report.Failed {
		var bad *wechatuser.ArgumentError
		require.ErrorAs(t, f.Err, &bad)
		assert.Equal(t, "batchTagging", bad.API)
	}
	assert.Equal(t, 2, report.Calls, "they take no room in a chunk")
	assert.Equal(t, 67, report.Total)
	assert.Equal(t, wechatusertest.OpenID(59), report.ResumeAfter, "an openid, and not what is none")
	for _, req := range s.sent {
		assert.NotContains(t, req.Body, `""`)
		assert.NotContains(t, req.Body, "oFAKE ")
	}

	report, err = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(wrong...))
	assert.Error(t, err)
	assert.Zero(t, report.Calls)
	assert.Empty(t, report.ResumeAfter)
}

func TestBulkMergesEqualOpenIDs(t *testing.T) {
	srv, _, tag := testutil.NewAccount(t, 50)
	s := &recorder{next: srv.Transport()}
	c := srv.Client(wechatuser.WithTransport(s))
	ids := slices.Repeat(testutil.OpenIDs(50), 3)
	foreign := wechatusertest.ForeignOpenID(0)
	ids[3], ids[53], ids[103] = foreign, foreign, foreign
	slices.Sort(ids) // so that duplicates are adjacent
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
	assert.ErrorIs(t, err, wechatuser.CodeOpenIDMismatch)
	assert.Equal(t, 150, report.Total, "each of the input counts")
	assert.Equal(t, 147, report.Applied)
	assert.Equal(t, []string{foreign, foreign, foreign}, report.FailedOpenIDs())
	assert.LessOrEqual(t, report.Calls, 1+12)
	for _, req := range s.sent {
		var body struct {
			OpenIDs []string `json:"openid_list"`
		}
		if json.Unmarshal([]byte(req.Body), &body) == nil {
			slices.Sort(body.OpenIDs)
			assert.Equal(t, len(body.OpenIDs), len(slices.Compact(body.OpenIDs)))
		}
	}

	// An endless input of duplicates neither fills the memory nor delays the first openids.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report, err = c.BulkTagging(ctx, tag, func(yield func(string, error) bool) {
		for i := 0; yield(wechatusertest.OpenID(i%2), nil); i++ {
			if i == 10_000 {
				cancel()
			}
		}
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Positive(t, report.Applied)
}

func TestBulkRemembersOnlyOpenIDsInFlight(t *testing.T) {
	_, c, tag := testutil.NewAccount(t, 500)
	report, err := c.BulkTagging(t.Context(), tag,
		wechatuser.OpenIDs(append(testutil.OpenIDs(500), testutil.OpenIDs(1)...)...), wechatuser.WithConcurrency(1))
	require.NoError(t, err)
	assert.Equal(t, 501, report.Applied)
	assert.Equal(t, 11, report.Calls, "the first is sent again, since it is no longer in flight")
}

func TestBulkStopsOnErrorsOfTheWholeCall(t *testing.T) {
	for _, code := range []wechatuser.Code{
		wechatuser.CodeDailyQuotaExceeded, wechatuser.CodeAPIUnauthorized, wechatuser.CodeAccountLimited,
		wechatuser.CodeDataFormat, 99999,
	} {
		srv, c, tag := testutil.NewAccount(t, 500)
		ids := testutil.OpenIDs(500)
		done := 0
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...), wechatuser.WithConcurrency(1),
			wechatuser.WithProgress(func(p wechatuser.Progress) {
				if done = p.Done; done == 100 {
					srv.FailNext(testutil.PathBatchTagging, code, 1)
				}
			}))
		var be *wechatuser.BulkError
		require.ErrorAs(t, err, &be)
		assert.ErrorIs(t, be.Err, code)
		assert.Empty(t, report.Failed, "no particular openid was rejected")
		assert.Equal(t, report.Applied, len(srv.TagFans(tag)))
		assert.Equal(t, report.Total, report.Applied)
		assert.Equal(t, ids[report.Applied-1], report.ResumeAfter)
		assert.Less(t, report.Applied, 500)
		calls := srv.Calls(testutil.PathBatchTagging)
		assert.Equal(t, calls, report.Calls)

		rest, err := c.BulkTagging(t.Context(), tag, c.AllFans(t.Context(), wechatuser.StartAfter(report.ResumeAfter)))
		require.NoError(t, err)
		assert.Equal(t, 500, report.Applied+rest.Applied)
		assert.Len(t, srv.TagFans(tag), 500)
	}
}

func TestBulkWithAWrongSecret(t *testing.T) {
	srv, _, tag := testutil.NewAccount(t, 500)
	c, err := wechatuser.New(srv.AppID, "wrong", wechatuser.WithTransport(srv.Transport()))
	require.NoError(t, err)
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(500)...))
	assert.ErrorIs(t, err, wechatuser.ErrCredential)
	assert.Equal(t, wechatuser.BulkReport{}, *report)
	assert.Zero(t, srv.Calls("*"))
}

func TestStoppedBulkJobFinishesCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 400)
		ids := testutil.OpenIDs(400)
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				switch body := testutil.PeekBody(req); {
				case strings.Contains(body, ids[60]): // the second chunk
					return testutil.Delay(time.Second, testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded))(req)
				case strings.Contains(body, "openid_list"):
					return testutil.Delay(5*time.Second, srv.Transport().RoundTrip)(req)
				}
				return srv.Transport().RoundTrip(req)
			})))
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...))
		assert.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
		assert.Equal(t, 150, report.Applied, "the first, third and fourth chunk were under way")
		assert.Len(t, srv.TagFans(tag), 150)
		assert.Equal(t, 4, report.Calls, "and no other was begun")
		assert.Equal(t, ids[49], report.ResumeAfter)
		assert.Empty(t, report.Failed)
	})
}

// recorder is a transport that records requests.
type recorder struct {
	next http.RoundTripper
	mu   sync.Mutex
	sent []testutil.Sent
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.sent = append(r.sent, testutil.Sent{Path: req.URL.Path, Body: testutil.PeekBody(req), At: time.Now()})
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

func TestBulkTagDoesNotExist(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 500)
	report, err := c.BulkTagging(t.Context(), 12345, wechatuser.OpenIDs(testutil.OpenIDs(500)...))
	var be *wechatuser.BulkError
	require.ErrorAs(t, err, &be)
	assert.ErrorIs(t, be.Err, wechatuser.CodeInvalidTagID)
	assert.Equal(t, 1, srv.Calls(testutil.PathGetTags), "all chunks share the tag list")
	assert.LessOrEqual(t, srv.Calls(testutil.PathBatchTagging), 4, "no retries")
	assert.Equal(t, wechatuser.BulkReport{Calls: srv.Calls("*")}, *report)

	srv.FailNext(testutil.PathGetTags, wechatuser.CodeAPIUnauthorized, 1)
	_, err = c.BulkTagging(t.Context(), 12345, wechatuser.OpenIDs(testutil.OpenIDs(1)...))
	assert.ErrorIs(t, err, wechatuser.CodeInvalidTagID)
	assert.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized, "whether it exists is not known")
}

func TestBulkRetriesAFalseInvalidTagError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 200)
		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeInvalidTagID, 6)
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(200)...))
		require.NoError(t, err)
		assert.Equal(t, 200, report.Applied)
		assert.Equal(t, 1, srv.Calls(testutil.PathGetTags))
		assert.Equal(t, 4+6+1, report.Calls)

		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeInvalidTagID, 1)
		srv.FailNext(testutil.PathGetTags, wechatuser.CodeMinuteQuotaExceeded, 1)
		start := time.Now()
		report, err = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(50)...))
		require.NoError(t, err)
		assert.Equal(t, 2+2, report.Calls)
		assert.GreaterOrEqual(t, time.Since(start), time.Minute, "tags/get has a quota too")

		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeInvalidTagID, 1000)
		report, err = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(50)...))
		assert.ErrorIs(t, err, wechatuser.CodeInvalidTagID)
		assert.Equal(t, 1+5+1, report.Calls, "bounded")
		assert.Empty(t, report.Failed)
	})
}

func TestBulkOpenIDStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 100)
		busy := wechatusertest.OpenID(33)
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				if strings.Contains(testutil.PeekBody(req), busy) {
					return testutil.RespondCode(wechatuser.CodeConcurrentTagging)(req)
				}
				return srv.Transport().RoundTrip(req)
			})))
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		var be *wechatuser.BulkError
		require.ErrorAs(t, err, &be)
		assert.NoError(t, be.Err)
		assert.Equal(t, []string{busy}, report.FailedOpenIDs())
		assert.ErrorIs(t, err, wechatuser.CodeConcurrentTagging)
		assert.Len(t, srv.TagFans(tag), 99)
		assert.Positive(t, report.Calls)
	})
}

func TestBulkRetriesABusyOpenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 50)
		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeConcurrentTagging, 3+3)
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(50)...))
		require.NoError(t, err)
		assert.Equal(t, 3+3+1, report.Calls, "three calls for the whole chunk, with three attempts each")
	})
}

func TestBulkPartialFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 100)
		some := testutil.OpenIDs(100)[10:13]
		srv.FailOpenIDs(2, some...)
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		require.NoError(t, err, "the third attempt succeeds")
		assert.Equal(t, 2+2, report.Calls)

		srv.FailOpenIDs(2, some...)
		report, err = srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1})).
			BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		assert.ErrorIs(t, err, wechatuser.CodeSomeOpenIDsFailed, "they were sent again, and got no further")
		assert.Equal(t, some, report.FailedOpenIDs())
		assert.Equal(t, 2+1, report.Calls)

		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeSystemBusy, 2)
		srv.FailOpenIDs(1, some...)
		report, err = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...),
			wechatuser.WithConcurrency(1))
		require.NoError(t, err, "the first 45171 is the response to the last attempt of its call")
		assert.Equal(t, 3+1+1, report.Calls)

		srv.FailOpenIDs(1000, some...)
		report, err = c.BulkUntagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		assert.ErrorIs(t, err, wechatuser.CodeSomeOpenIDsFailed)
		assert.Equal(t, some, report.FailedOpenIDs())
		assert.Equal(t, 97, report.Applied)
		assert.Equal(t, 3+3+1, report.Calls, "two calls of three attempts for the first chunk")
		assert.Equal(t, some, srv.TagFans(tag))
		assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
	})
}

func TestBulkPartialFailureWithoutOpenIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 100)
		bad := wechatusertest.OpenID(66)
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				if strings.Contains(testutil.PeekBody(req), bad) {
					return testutil.RespondCode(wechatuser.CodeSomeOpenIDsFailed)(req)
				}
				return srv.Transport().RoundTrip(req)
			})))
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		assert.ErrorIs(t, err, wechatuser.CodeSomeOpenIDsFailed)
		assert.Equal(t, []string{bad}, report.FailedOpenIDs())
		assert.Len(t, srv.TagFans(tag), 99)
	})
}

func TestBulkWaitsOutTheMinuteQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000),
			wechatusertest.WithQuota(testutil.PathBatchTagging, 0, 5))
		tag := srv.AddTag("vip")
		s := &recorder{next: srv.Transport()}
		c := srv.Client(wechatuser.WithTransport(s))
		report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(1000)...))
		require.NoError(t, err)
		assert.Equal(t, 1000, report.Applied)

		perMinute := map[time.Time]int{}
		for _, req := range s.sent {
			if req.Path == testutil.PathBatchTagging {
				perMinute[req.At.Truncate(time.Minute)]++
			}
		}
		assert.Len(t, perMinute, 4, "20 calls at 5 a minute")
		for at, n := range perMinute {
			assert.LessOrEqual(t, n, 5+4, "at %v: the others do not go on while one waits", at)
		}
	})
}

func TestBulkDoesNotWaitPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 100)
		srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeMinuteQuotaExceeded, 1000)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		report, err := c.BulkTagging(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		assert.ErrorIs(t, err, wechatuser.CodeMinuteQuotaExceeded)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, time.Since(start), "the next minute is too late, which is known at once")
		assert.Zero(t, report.Total)

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(90*time.Second, cancel)
		report, err = c.BulkTagging(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 90*time.Second, time.Since(start))
		assert.Zero(t, report.Total, "nothing was tagged, and no openid is to blame")
	})
}

func TestBulkPlatformUnreachable(t *testing.T) {
	for name, tt := range map[string]struct {
		fault     func(*wechatusertest.Server)
		ambiguous bool
	}{
		"no request arrives": {func(s *wechatusertest.Server) { s.DropRequests(testutil.PathBatchTagging, 3) }, true},
		"no response":        {func(s *wechatusertest.Server) { s.DropAnswers(testutil.PathBatchTagging, 3) }, true},
		"response of a gateway": {
			func(s *wechatusertest.Server) { s.FailNextHTTP(testutil.PathBatchTagging, 502, "<html>", 3) }, true,
		},
		"the platform is busy": {
			func(s *wechatusertest.Server) { s.FailNext(testutil.PathBatchTagging, wechatuser.CodeSystemBusy, 3) },
			true,
		},
		"a firewall has its page": {
			func(s *wechatusertest.Server) { s.FailNextHTTP(testutil.PathBatchTagging, 403, "<html>", 1) }, false,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv, c, tag := testutil.NewAccount(t, 400)
			ids := testutil.OpenIDs(400)
			report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...), wechatuser.WithConcurrency(1),
				wechatuser.WithProgress(func(p wechatuser.Progress) {
					if p.Done == 100 {
						tt.fault(srv)
					}
				}))
			var be *wechatuser.BulkError
			require.ErrorAs(t, err, &be, name)
			assert.Error(t, be.Err, name)
			require.Len(t, report.Failed, 50, name)
			for _, f := range report.Failed {
				assert.Equal(t, tt.ambiguous, errors.Is(f.Err, wechatuser.ErrAmbiguous), name)
			}
			first := slices.Index(ids, report.Failed[0].OpenID)
			assert.Equal(t, ids[first-1], report.ResumeAfter, "%s: resuming tries them again", name)
			assert.Equal(t, first, report.Applied, name)
			want := report.Applied
			if name == "no response" {
				want += 50
			}
			assert.Len(t, srv.TagFans(tag), want, name)

			_, err = c.BulkTagging(t.Context(), tag, c.AllFans(t.Context(), wechatuser.StartAfter(report.ResumeAfter)))
			require.NoError(t, err, name)
			assert.Len(t, srv.TagFans(tag), 400, name)
		})
	}
}

func TestBulkTokenUnavailableFailsNoOpenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 100)
		for name, fault := range map[string]func(path string, times int){
			"busy":        func(path string, times int) { srv.FailNext(path, wechatuser.CodeSystemBusy, times) },
			"no response": srv.DropAnswers,
			"a gateway":   func(path string, times int) { srv.FailNextHTTP(path, 502, "<html>", times) },
		} {
			fault(testutil.PathStableToken, 1000)
			report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(100)...))
			assert.ErrorIs(t, err, wechatuser.ErrTemporary, name)
			assert.Zero(t, *report, name)
			fault(testutil.PathStableToken, 0)
		}
	})
}

func TestBulkInputError(t *testing.T) {
	srv, c, tag := testutil.NewAccount(t, 400)
	gone := errors.New("the database has gone")
	input := func(n int) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, id := range testutil.OpenIDs(n) {
				if !yield(id, nil) {
					return
				}
			}
			assert.False(t, yield("oFAKEignored", gone), "no use going on")
		}
	}
	report, err := c.BulkTagging(t.Context(), tag, input(333))
	var be *wechatuser.BulkError
	require.ErrorAs(t, err, &be)
	assert.Same(t, gone, be.Err)
	assert.Equal(t, 333, report.Applied, "what came before is done")
	assert.Len(t, srv.TagFans(tag), 333)
	assert.Equal(t, wechatusertest.OpenID(332), report.ResumeAfter)

	srv.FailNext(testutil.PathBatchUntagging, wechatuser.CodeAPIUnauthorized, 1)
	_, err = c.BulkUntagging(t.Context(), tag, input(10))
	assert.ErrorIs(t, err, gone, "both went wrong")
	assert.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized)

	users, errs := seq.Collect(c.BulkUserInfo(t.Context(), input(333)))
	assert.Len(t, users, 333)
	require.Len(t, errs, 1)
	assert.Same(t, gone, errs[0])
}

func TestBulkEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, tag := testutil.NewAccount(t, 1000)
		srv.Delay("*", time.Second)
		shutdown := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2500*time.Millisecond, func() { cancel(shutdown) })
		endless := func(yield func(string, error) bool) {
			for i := 0; yield(wechatusertest.OpenID(i%1000), nil); i++ {
			}
		}
		start := time.Now()
		report, err := c.BulkTagging(ctx, tag, endless)
		assert.Equal(t, 2500*time.Millisecond, time.Since(start))
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, shutdown)
		assert.Equal(t, 400, report.Applied, "4 calls a second")
		assert.Equal(t, wechatusertest.OpenID(399), report.ResumeAfter)
		for _, f := range report.Failed {
			assert.ErrorIs(t, f.Err, wechatuser.ErrAmbiguous, "a call that was cut off")
		}
		assert.Len(t, report.Failed, 200)

		for _, err := range c.BulkUserInfo(ctx, endless) {
			require.ErrorIs(t, err, context.Canceled)
		}
		report, err = c.BulkTagging(ctx, tag, endless)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Zero(t, report.Calls)
	})
}

// waits is a function that implements wechatuser.Limiter.
type waits func(context.Context) error

func (f waits) Wait(ctx context.Context) error { return f(ctx) }

func TestBulkUnsentOpenIDsAreNotFailed(t *testing.T) {
	_, c, tag := testutil.NewAccount(t, 400, wechatuser.WithLimiter(waits(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	report, err := c.BulkTagging(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(400)...))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Zero(t, *report)
}

func TestBulkSlowChunkDoesNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 1000)
		begun := 0
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				if body := testutil.PeekBody(req); strings.Contains(body, wechatusertest.OpenID(0)) {
					return testutil.Delay(time.Hour, srv.Transport().RoundTrip)(req)
				}
				begun++
				return testutil.Delay(time.Second, srv.Transport().RoundTrip)(req)
			})), wechatuser.WithTimeout(2*time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.BulkTagging(ctx, tag, wechatuser.OpenIDs(testutil.OpenIDs(1000)...), wechatuser.WithConcurrency(2))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3+1, begun, "three chunks, and the token; what is in memory is bounded")
	})
}

func TestBulkConcurrency(t *testing.T) {
	for _, n := range []int{1, 2, 4, 9} {
		synctest.Test(t, func(t *testing.T) {
			srv, _, tag := testutil.NewAccount(t, 2000)
			watch := testutil.NewFaultTransport(srv.Transport(), 1)
			watch.Delays = true
			c := srv.Client(wechatuser.WithTransport(watch))
			opts := []wechatuser.BulkOption{wechatuser.WithConcurrency(n)}
			if n == 4 {
				opts = nil
			}
			_, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(2000)...), opts...)
			require.NoError(t, err)
			assert.Equal(t, n, watch.MaxRunning)
			users, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(2000)...),
				opts...))
			assert.Empty(t, errs)
			assert.Len(t, users, 2000)
			assert.Equal(t, n, watch.MaxRunning)
		})
	}
}

func TestBulkProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, tag := testutil.NewAccount(t, 501)
		watch := testutil.NewFaultTransport(srv.Transport(), 1)
		watch.Delays = true
		c := srv.Client(wechatuser.WithTransport(watch))
		var got []wechatuser.Progress
		_, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(501)...),
			wechatuser.WithProgress(func(p wechatuser.Progress) {
				got = append(got, p)
			}))
		require.NoError(t, err)
		require.Len(t, got, 11)
		for i, p := range got {
			done := min(50*(i+1), 501)
			assert.Equal(t, wechatuser.Progress{Done: done, Total: -1, ResumeAfter: wechatusertest.OpenID(done - 1)}, p)
		}
		n := 0
		for _, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(501)...),
			wechatuser.WithProgress(func(p wechatuser.Progress) {
				assert.Equal(t, wechatuser.Progress{Done: n, Total: -1, ResumeAfter: wechatusertest.OpenID(n - 1)}, p)
			})) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 501, n)
	})
}

// After a crash a program resumes from the last cursor that it saved: no openid before it is missing.
func TestBulkResumeAfterACrash(t *testing.T) {
	srv, c, tag := testutil.NewAccount(t, 500)
	srv.Fault(wechatusertest.Fault{
		Path: testutil.PathBatchTagging, Kind: wechatusertest.FaultHTTP, Status: http.StatusForbidden, After: 4,
		Times: 1,
	})
	var places []string
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(500)...),
		wechatuser.WithConcurrency(2),
		wechatuser.WithProgress(func(p wechatuser.Progress) { places = append(places, p.ResumeAfter) }))
	require.Error(t, err)
	require.NotEmpty(t, slices.DeleteFunc(slices.Clone(places), func(place string) bool { return place == "" }))
	assert.Equal(t, report.ResumeAfter, places[len(places)-1])
	for _, place := range places {
		for _, id := range testutil.OpenIDs(500) {
			if place == "" {
				break
			}
			assert.Contains(t, srv.TagFans(tag), id)
			if id == place {
				break
			}
		}
	}
}

func TestBulkArguments(t *testing.T) {
	s := testutil.Play(testutil.Fail(io.ErrUnexpectedEOF))
	c := testutil.NewClient(t, s)
	ctx, ids := t.Context(), wechatuser.OpenIDs(testutil.Alice)
	for name, err := range map[string]error{
		"concurrency 0":        errorOf(c.BulkTagging(ctx, 100, ids, wechatuser.WithConcurrency(0))),
		"concurrency -1":       errorOf(c.BulkUnblacklist(ctx, ids, wechatuser.WithConcurrency(-1))),
		"no progress function": errorOf(c.BulkBlacklist(ctx, ids, wechatuser.WithProgress(nil))),
		"nil option":           errorOf(c.BulkUntagging(ctx, 100, ids, wechatuser.WithConcurrency(1), nil)),
		"nil input":            errorOf(c.BulkTagging(ctx, 100, nil)),
		"negative tag":         errorOf(c.BulkTagging(ctx, -1, ids)),
		"read, option":         onlyError(t, c.BulkUserInfo(ctx, ids, wechatuser.WithConcurrency(0))),
		"read, nil option":     onlyError(t, c.BulkUserInfo(ctx, ids, nil)),
		"read, nil input":      onlyError(t, c.BulkUserInfo(ctx, nil)),
		"change, no account":   onlyError(t, c.BulkChangeOpenID(ctx, "", ids)),
		"sync, option":         errorOf(c.SyncTag(ctx, 100, ids, wechatuser.WithConcurrency(0))),
		"sync, nil option":     errorOf(c.SyncBlacklist(ctx, ids, nil)),
		"sync, nil input":      errorOf(c.SyncBlacklist(ctx, nil)),
		"sync, negative tag":   errorOf(c.SyncTag(ctx, -1, ids)),
	} {
		var bad *wechatuser.ArgumentError
		require.ErrorAs(t, err, &bad, name)
		assert.NotEmpty(t, bad.API, name)
		assert.NotEmpty(t, bad.Field, name)
		var be *wechatuser.BulkError
		assert.False(t, errors.As(err, &be), "%s: nothing was begun", name)
	}
	assert.Zero(t, s.Count())

	report, err := c.BulkTagging(ctx, 100, nil)
	assert.Error(t, err)
	assert.NotNil(t, report, "never nil")
}

func errorOf[T any](_ T, err error) error { return err }

func onlyError[T any](t *testing.T, list iter.Seq2[T, error]) error {
	t.Helper()
	got, errs := seq.Collect(list)
	assert.Empty(t, got)
	require.Len(t, errs, 1)
	return errs[0]
}

func TestBulkLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	srv, _, tag := testutil.NewAccount(t, 1000)
	var running sync.WaitGroup
	c := srv.Client(wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == testutil.PathStableToken {
			return srv.Transport().RoundTrip(req)
		}
		running.Add(1)
		defer running.Done()
		if strings.Contains(testutil.PeekBody(req), wechatusertest.OpenID(0)) {
			return srv.Transport().RoundTrip(req)
		}
		return testutil.Hang(req)
	})))
	gone := func(when string) {
		t.Helper()
		running.Wait() // hangs if a request was not canceled
		require.NoError(t, goleak.Find(before), when)
	}
	for range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(1000)...)) {
		break
	}
	gone("after a break")
	assert.Panics(t, func() {
		for range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(1000)...)) {
			panic("in the loop")
		}
	})
	gone("after a panic in the loop")
	assert.Panics(t, func() {
		_, _ = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(1000)...),
			wechatuser.WithProgress(func(wechatuser.Progress) { panic("in progress") }))
	})
	gone("after a panic in the progress function")
	assert.Panics(t, func() {
		_, _ = c.BulkTagging(t.Context(), tag, func(yield func(string, error) bool) {
			_, _ = seq.Collect(wechatuser.OpenIDs(testutil.OpenIDs(200)...))
			for _, id := range testutil.OpenIDs(200) {
				yield(id, nil)
			}
			panic("in the input")
		})
	})
	gone("after a panic in the input")
}

type batchResponse struct {
	Users []map[string]any `json:"user_info_list"`
}

// A report does not retain the pages that its openids came from.
func TestReportDoesNotRetainPages(t *testing.T) {
	bad := wechatusertest.ForeignOpenID(0)
	_, c, tag := testutil.NewAccount(t, 10)
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(bad))
	require.Error(t, err)
	require.Equal(t, []string{bad}, report.FailedOpenIDs())
	assert.NotSame(t, unsafe.StringData(bad), unsafe.StringData(report.Failed[0].OpenID))
	for _, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(bad)) {
		var one *wechatuser.OpenIDError
		require.ErrorAs(t, err, &one)
		assert.NotSame(t, unsafe.StringData(bad), unsafe.StringData(one.OpenID))
	}
}

// million is a transport with a million followers. It generates them on the fly, so that the heap is the client's.
type million struct{}

const (
	millionFans = 1_000_000
	millionPage = 10_000
	millionID   = "oFAKE%023d"
)

func (m million) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.URL.Path {
	case testutil.PathGetFans:
		return m.page(req)
	case testutil.PathBatchUserInfo:
		return m.profiles(req)
	}
	return testutil.RespondJSON(testutil.OKBody)(req)
}

func (million) page(req *http.Request) (*http.Response, error) {
	start := 0
	if cursor := req.URL.Query().Get("next_openid"); cursor != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(cursor, "oFAKE"))
		if err != nil {
			return nil, err
		}
		start = n
	}
	end := min(start+millionPage, millionFans)
	if start == end {
		return testutil.RespondPage(millionFans, "")(req)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"total":%d,"count":%d,"data":{"openid":[`, millionFans, end-start)
	for i := start + 1; i <= end; i++ {
		if i > start+1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"`+millionID+`"`, i)
	}
	fmt.Fprintf(&b, `]},"next_openid":"`+millionID+`"}`, end)
	return testutil.RespondJSON(b.String())(req)
}

func (million) profiles(req *http.Request) (*http.Response, error) {
	var in struct {
		Users []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(`{"user_info_list":[`)
	for i, u := range in.Users {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"subscribe":1,"openid":"` + u.OpenID + `","nickname":"","sex":0,"language":"zh_CN","city":"","province":"",` +
			`"country":"","headimgurl":"","subscribe_time":1700000000,"unionid":"` + u.OpenID + `","remark":"` + u.OpenID + `","groupid":100,` +
			`"tagid_list":[100,101,102],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":0,"qr_scene_str":""}`)
	}
	b.WriteString(`]}`)
	return testutil.RespondJSON(b.String())(req)
}

// heap measures the live heap: its growth since the start, at most.
type heap struct{ base, most uint64 }

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what is in a sync.Pool survives the first
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (h *heap) look() { h.most = max(h.most, liveHeap()) }

// report reports the live heap, and fails if it is above the documented limit.
func (h *heap) report(b *testing.B) {
	const limit = 32
	mib := float64(h.most-min(h.base, h.most)) / (1 << 20)
	b.ReportMetric(mib, "MiB-live")
	if mib > limit {
		b.Errorf("%.1f MiB in use, which is to be below %d", mib, limit)
	}
}

// BenchmarkMillionFollowers reads a million followers. MiB-live is the largest live heap meanwhile.
//
//	go test -run '^$' -bench MillionFollowers -benchtime=1x .
func BenchmarkMillionFollowers(b *testing.B) {
	const looks = 20
	for _, bm := range []struct {
		name string
		run  func(c *wechatuser.Client, each func(n int)) (int, error)
	}{
		{"walk", func(c *wechatuser.Client, each func(int)) (n int, err error) {
			for _, err := range c.AllFans(b.Context()) {
				if err != nil {
					return n, err
				}
				n++
				each(n)
			}
			return n, nil
		}},
		{"profiles", func(c *wechatuser.Client, each func(int)) (n int, err error) {
			for _, err := range c.BulkUserInfo(b.Context(), c.AllFans(b.Context())) {
				if err != nil {
					return n, err
				}
				n++
				each(n)
			}
			return n, nil
		}},
		{"tagging", func(c *wechatuser.Client, each func(int)) (int, error) {
			report, err := c.BulkTagging(b.Context(), 100, c.AllFans(b.Context()),
				wechatuser.WithProgress(func(p wechatuser.Progress) { each(p.Done) }))
			return report.Applied, err
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			c := testutil.NewClient(b, million{})
			h := heap{base: liveHeap()}
			b.ReportAllocs()
			for b.Loop() {
				n, err := bm.run(c, func(n int) {
					if n%(millionFans/looks) == 0 {
						h.look()
					}
				})
				if n != millionFans || err != nil {
					b.Fatal(n, err)
				}
			}
			h.report(b)
		})
	}
}

// A job that reached its end with rejected openids is told from one that was stopped.
func TestBulkErrorStopped(t *testing.T) {
	srv, c, tag := testutil.NewAccount(t, 3)
	_, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(append(testutil.OpenIDs(3), "oNOBODY")...))
	var be *wechatuser.BulkError
	require.ErrorAs(t, err, &be)
	assert.False(t, be.Stopped())

	srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeDailyQuotaExceeded, 1)
	_, err = c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(testutil.OpenIDs(3)...))
	require.ErrorAs(t, err, &be)
	assert.True(t, be.Stopped())
}

// A report that is logged shows numbers and no openid, in each kind of log.
func TestReportsInALog(t *testing.T) {
	failed := []wechatuser.OpenIDError{{OpenID: testutil.Alice, Err: errors.New(testutil.Bob)}}
	bulk := wechatuser.BulkReport{Total: 3, Applied: 2, Failed: failed, Calls: 4, ResumeAfter: testutil.Carol}
	sync := wechatuser.SyncReport{
		Added: bulk, Removed: bulk, ToAdd: []string{testutil.Alice}, ToRemove: []string{testutil.Bob, testutil.Carol},
		Unchanged: 5, Calls: 9,
	}
	for _, v := range []any{bulk, &bulk, sync, &sync, struct{ R slog.LogValuer }{bulk}.R} {
		var jsonLog, textLog bytes.Buffer
		slog.New(slog.NewJSONHandler(&jsonLog, nil)).Info("done", "report", v)
		slog.New(slog.NewTextHandler(&textLog, nil)).Info("done", "report", v)
		for _, log := range []string{jsonLog.String(), textLog.String()} {
			for _, openID := range []string{testutil.Alice, testutil.Bob, testutil.Carol} {
				assert.NotContains(t, log, openID)
			}
		}
		assert.Contains(t, jsonLog.String(), `"total":3,"applied":2,"failed":1,"calls":4`)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("done", "report", sync)
	assert.Contains(t, log.String(), "report.added.applied=2 report.added.failed=1")
	assert.Contains(t, log.String(), "report.to_add=1 report.to_remove=2 report.unchanged=5 report.calls=9")
}

// The platform may list the openids that it did not process in any way. What is not known is said to be so.
func TestFailedOpenIDsOfAnyForm(t *testing.T) {
	const alice, bob, carol = testutil.Alice, testutil.Bob, testutil.Carol
	failed := func(ids ...string) testutil.Reply {
		list, _ := json.Marshal(ids)
		return testutil.RespondJSON(
			`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":` + string(list) + `}`)
	}
	ok, noList := testutil.RespondJSON(testutil.OKBody), testutil.RespondCode(wechatuser.CodeSomeOpenIDsFailed)
	for name, tt := range map[string]struct {
		replies []testutil.Reply
		sent    [][]string // openids of each attempt
		failed  []string   // of the error
		unclear bool       // it matches ErrAmbiguous
		succeed bool
	}{
		"one": {
			replies: []testutil.Reply{failed(bob), ok}, sent: [][]string{{alice, bob, carol}, {bob}}, succeed: true,
		},
		"one twice": {
			replies: []testutil.Reply{failed(bob, bob), ok}, sent: [][]string{{alice, bob, carol}, {bob}},
			succeed: true,
		},
		"more than were sent": {
			replies: []testutil.Reply{failed(bob, bob, carol, carol, bob, "x"), ok},
			sent:    [][]string{{alice, bob, carol}, {bob, carol}}, succeed: true,
		},
		"a stranger too": {
			replies: []testutil.Reply{failed("oSTRANGER", bob), ok}, sent: [][]string{{alice, bob, carol}, {bob}},
			succeed: true,
		},
		"strangers alone": {
			replies: []testutil.Reply{failed("oSTRANGER")}, sent: [][]string{{alice, bob, carol}}, unclear: true,
		},
		"an empty list": {replies: []testutil.Reply{failed()}, sent: [][]string{{alice, bob, carol}}, unclear: true},
		"no list":       {replies: []testutil.Reply{noList}, sent: [][]string{{alice, bob, carol}}, unclear: true},
		"then no list": {
			replies: []testutil.Reply{failed(bob), noList}, sent: [][]string{{alice, bob, carol}, {bob}}, unclear: true,
		},
		"then a redirect": {
			replies: []testutil.Reply{failed(bob), testutil.Respond(302, "")},
			sent:    [][]string{{alice, bob, carol}, {bob}}, unclear: true,
		},
		"then another error": {
			replies: []testutil.Reply{failed(bob), testutil.RespondCode(48001)},
			sent:    [][]string{{alice, bob, carol}, {bob}}, unclear: true,
		},
		"the same for ever": {
			replies: []testutil.Reply{failed(bob)}, sent: [][]string{{alice, bob, carol}, {bob}, {bob}},
			failed: []string{bob},
		},
		"then one that was applied": {
			replies: []testutil.Reply{failed(bob), failed(alice)}, sent: [][]string{{alice, bob, carol}, {bob}},
			unclear: true,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := testutil.Play(tt.replies...)
			err := testutil.NewClient(t, s).BatchTagging(t.Context(), 100, []string{alice, bob, carol})
			var sent [][]string
			for _, req := range s.Requests() {
				var body struct {
					OpenIDs []string `json:"openid_list"`
				}
				require.NoError(t, json.Unmarshal([]byte(req.Body), &body))
				sent = append(sent, body.OpenIDs)
			}
			assert.Equal(t, tt.sent, sent, name)
			assert.Equal(t, tt.succeed, err == nil, "%s: %v", name, err)
			assert.Equal(t, tt.unclear, errors.Is(err, wechatuser.ErrAmbiguous), "%s: %v", name, err)
			if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
				assert.Equal(t, tt.failed, e.FailedOpenIDs, name)
			}
		})
	}
}

// A 45171 that names nobody does not tell what became of an openid, not even of one that is alone.
func TestPartialFailureOfOneOpenIDIsAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(wechatuser.CodeSomeOpenIDsFailed)))
		err := c.BatchTagging(t.Context(), 100, []string{testutil.Alice})
		assert.ErrorIs(t, err, wechatuser.ErrAmbiguous)

		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice, testutil.Bob))
		var be *wechatuser.BulkError
		require.ErrorAs(t, err, &be)
		assert.NoError(t, be.Err, "the job has reached its end")
		assert.Equal(t, []string{testutil.Alice, testutil.Bob}, report.FailedOpenIDs())
		for _, f := range report.Failed {
			assert.ErrorIs(t, &f, wechatuser.ErrAmbiguous)
			assert.ErrorIs(t, &f, wechatuser.CodeSomeOpenIDsFailed)
		}
		assert.Empty(t, report.ResumeAfter, "these outcomes are not final")
	})
}

// What a report keeps of a list must not keep its pages.
func TestResumeAfterDoesNotRetainPages(t *testing.T) {
	_, c, tag := testutil.NewAccount(t, 10)
	ids := testutil.OpenIDs(10)
	var progress []string
	report, err := c.BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids...),
		wechatuser.WithProgress(func(p wechatuser.Progress) {
			progress = append(progress, p.ResumeAfter)
		}))
	require.NoError(t, err)
	require.Equal(t, ids[9], report.ResumeAfter)
	require.Equal(t, []string{ids[9]}, progress)
	assert.NotSame(t, unsafe.StringData(ids[9]), unsafe.StringData(report.ResumeAfter))
	assert.NotSame(t, unsafe.StringData(ids[9]), unsafe.StringData(progress[0]))

	err = testutil.NewClient(t,
		testutil.Play(testutil.RespondJSON(`{"errcode":45171,"fail_openid_list":["`+ids[0]+`"]}`)), testutil.NoRetry).
		BatchTagging(t.Context(), tag, ids)
	var e *wechatuser.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, ids[:1], e.FailedOpenIDs)
	assert.NotSame(t, unsafe.StringData(ids[0]), unsafe.StringData(e.FailedOpenIDs[0]))
}
