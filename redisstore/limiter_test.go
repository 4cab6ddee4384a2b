package redisstore_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
)

const limitKey = "limit:" + appID

func newLimiter(t *testing.T, rs *server, limit redisstore.Limit, opts ...redisstore.Option) *redisstore.Limiter {
	t.Helper()
	l, err := redisstore.NewLimiter(rs.client(t), limitKey, limit, append([]redisstore.Option{redisstore.WithTimeout(5 * time.Second)}, opts...)...)
	require.NoError(t, err)
	return l
}

// waits makes n calls one after the other and gives the time that they took.
func waits(t *testing.T, l *redisstore.Limiter, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		require.NoError(t, l.Wait(t.Context()))
	}
	return time.Since(start)
}

func TestLimiterSpreadsCalls(t *testing.T) {
	rs := startRedis(t)
	limit := redisstore.Limit{Calls: 10, Per: time.Second}
	one, two := newLimiter(t, rs, limit), newLimiter(t, rs, limit)
	var wg sync.WaitGroup
	start := time.Now()
	for _, l := range []*redisstore.Limiter{one, two} {
		wg.Go(func() {
			for range 5 {
				assert.NoError(t, l.Wait(t.Context()))
			}
		})
	}
	wg.Wait()
	assert.GreaterOrEqual(t, time.Since(start), 900*time.Millisecond, "ten calls have nine gaps")
	rdb := rs.client(t)
	eventually(t, often, func() bool { return rdb.Exists(t.Context(), limitKey).Val() == 0 })
}

func TestLimiterBurst(t *testing.T) {
	l := newLimiter(t, startRedis(t), redisstore.Limit{Calls: 6, Per: time.Minute, Burst: 4})
	assert.Less(t, waits(t, l, 4), 9*time.Second, "evenly spread they would take 30 seconds")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	err := l.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "allows the next call in")
	assert.Less(t, time.Since(start), 4*time.Second, "it does not wait for what can't be")
}

func TestPlaceOfACallerWhoLeft(t *testing.T) {
	rs := startRedis(t)
	limit := redisstore.Limit{Calls: 1, Per: 3 * time.Second}
	l := newLimiter(t, rs, limit)
	start := time.Now()
	require.NoError(t, l.Wait(t.Context()))
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		require.Error(t, l.Wait(ctx))
		cancel()
	}
	require.NoError(t, l.Wait(t.Context()))
	assert.Less(t, time.Since(start), 30*time.Second, "the place was kept for the next caller, and 49 more were not asked for")
	assert.GreaterOrEqual(t, time.Since(start), 3*time.Second)
}

func TestLimiterWithoutRedis(t *testing.T) {
	rs := startRedis(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	limit := redisstore.Limit{Calls: 20, Per: time.Second}
	l := newLimiter(t, rs, limit, redisstore.WithTimeout(time.Second), redisstore.WithLogger(logger))
	closed := newLimiter(t, rs, limit, redisstore.WithFailClosed())
	waits(t, l, 2)
	waits(t, closed, 2)
	require.Empty(t, log.String())

	rs.stop()
	waits(t, l, 1)
	assert.GreaterOrEqual(t, waits(t, l, 21), time.Second, "alone, it keeps to the limit")
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "one warning for all")

	rs.resume()
	rs.kill()
	err := closed.Wait(t.Context())
	require.ErrorIs(t, err, redisstore.ErrUnavailable)

	rs.start()
	eventually(t, time.Second, func() bool {
		waits(t, l, 1)
		return strings.Contains(log.String(), "shared again")
	})
	eventually(t, time.Second, func() bool { return closed.Wait(t.Context()) == nil })
}

func TestLimiterEndsWithTheContext(t *testing.T) {
	l := newLimiter(t, startRedis(t), redisstore.PerMinute(1))
	require.NoError(t, l.Wait(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { assert.ErrorIs(t, l.Wait(ctx), context.Canceled) })
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	wg.Wait()
}
