package otelwechatuser_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestLimiterRecordsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		inner := limiterFunc(func(ctx context.Context) error {
			select {
			case <-time.After(20 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		limiter := otelwechatuser.Limiter(inner, tel.options(otelwechatuser.WithAppID("wxFAKE000000000000"))...)
		_, c := tel.newClient(wechatuser.WithLimiter(limiter))
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.GetTags(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		assert.Equal(t, "s", tel.metric(t, "wechat.client.limiter.wait_time").Unit)
		sums := map[string]float64{}
		for _, p := range tel.histogram(t, "wechat.client.limiter.wait_time") {
			got := setAttrs(p.Attributes)
			assert.Equal(t, "wxFAKE000000000000", got["wechat.app_id"])
			sums[got["error.type"]] += p.Sum
			assert.EqualValues(t, 1, p.Count)
			assert.InDelta(t, 60, p.Bounds[len(p.Bounds)-1], 0, "there is a bucket for waits for the next minute")
		}
		assert.Equal(t, map[string]float64{"": 20, "timeout": 1}, sums)
	})
}

// wechatuser.New reports a nil limiter, wrapped or not.
func TestLimiterOfNilIsNil(t *testing.T) {
	assert.Nil(t, otelwechatuser.Limiter(nil))
	assert.Panics(t, func() {
		wechatusertest.NewServer(wechatusertest.WithoutListener()).Client(
			wechatuser.WithLimiter(otelwechatuser.Limiter(nil)))
	})
}
