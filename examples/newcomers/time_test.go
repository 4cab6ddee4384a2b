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

// The job waits for the minutes of a quota. In the bubble they pass at once.
func TestMinuteQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000),
			wechatusertest.WithQuota(tagging, 0, 8))
		srv.Advance(24 * time.Hour)
		start := time.Now()

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(t.Context(), srv.Now())

		require.NoError(t, err)
		assert.Equal(t, newcomers.Result{Tagged: 1_000}, res)
		assert.Equal(t, 2*time.Minute, time.Since(start).Truncate(time.Minute), "20 calls, 8 a minute")
	})
}

// The day's quota ends the second run of a day. The next day has another one.
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

		srv.Advance(24 * time.Hour) // the token ends too, and is renewed
		_, err = job.Run(t.Context(), now)
		require.NoError(t, err)
	})
}

// The platform is slow, and the night has an end.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000))
		srv.Advance(24 * time.Hour)
		srv.Delay(tagging, 7*time.Second) // each call, 4 at a time
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()

		res, err := newcomers.Job{Account: srv.Client(), Tag: "new"}.Run(ctx, srv.Now())

		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 10*time.Second, time.Since(start), "not later")
		assert.Equal(t, 200, res.Tagged, "and it says what was done")
	})
}
