package newcomers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/newcomers"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const tagging = "/cgi-bin/tags/members/batchtagging"

// The job waits for the quota of the next minute. In the bubble that takes no time.
func TestMinuteQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000),
			wechatusertest.WithQuota(tagging, 0, 8))
		srv.Advance(24 * time.Hour)
		start := time.Now()

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Equal(t, newcomers.Result{Tagged: 1_000}, res)
		assert.Equal(t, 2*time.Minute, time.Since(start).Truncate(time.Minute), "20 calls, 8 per minute")
	})
}

// The daily quota stops the second run of a day. It is reset the next day.
func TestDailyQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000),
			wechatusertest.WithQuota(tagging, 30, 0))
		srv.Advance(24 * time.Hour)
		now, job := srv.Now(), newcomers.Job{Account: srv.Client(), Tag: "new"}
		_, err := job.Run(t.Context(), now)
		require.NoError(t, err)

		res, err := job.Run(t.Context(), now)

		require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
		assert.Equal(t, 500, res.Tagged)

		srv.Advance(24 * time.Hour) // the token expires too, and is refreshed
		_, err = job.Run(t.Context(), now)
		require.NoError(t, err)
	})
}

// The platform is slow, and the job has a deadline.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000))
		srv.Advance(24 * time.Hour)
		srv.Delay(tagging, 7*time.Second) // per call, with 4 concurrent calls
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(ctx, srv.Now())

		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 10*time.Second, time.Since(start), "it returns at the deadline")
		assert.Equal(t, 200, res.Tagged, "the result has what was done")
	})
}
