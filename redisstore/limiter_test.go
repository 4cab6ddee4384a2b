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

func newLimiter(
	t *testing.T, rs *server, limit redisstore.Limit, opts ...redisstore.Option,
) *redisstore.Limiter {
	t.Helper()
	opts = append([]redisstore.Option{redisstore.WithTimeout(patientTimeout)}, opts...)
	l, err := redisstore.NewLimiter(rs.client(t, withoutRetries), limitKey, limit, opts...)
	require.NoError(t, err)
	return l
}

// waitTimes waits n times for the limiter and returns how long that took.
func waitTimes(t *testing.T, l *redisstore.Limiter, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		require.NoError(t, l.Wait(t.Context()))
	}
	return time.Since(start)
}

func TestLimiterSpacesCallsEvenly(t *testing.T) {
	t.Parallel()
	rs := startRedis(t)
	limit := redisstore.Limit{Calls: 20, Per: time.Second}
	var wg sync.WaitGroup
	start := time.Now()
	for range 2 {
		l := newLimiter(t, rs, limit)
		wg.Go(func() {
			for range 5 {
				assert.NoError(t, l.Wait(t.Context()))
			}
		})
	}
	wg.Wait()
	assert.GreaterOrEqual(t, time.Since(start), 450*time.Millisecond, "ten calls have nine intervals")
	rdb := rs.client(t)
	eventually(t, pollInterval, func() bool { return rdb.Exists(t.Context(), limitKey).Val() == 0 })
}

func TestLimiterAllowsBurst(t *testing.T) {
	l := newLimiter(t, startRedis(t), redisstore.Limit{Calls: 6, Per: 6 * time.Hour, Burst: 4})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	for range 4 {
		require.NoError(t, l.Wait(ctx), "evenly spaced calls would take 3 hours")
	}
	err := l.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "allows the next call in", "it fails before the deadline")
}

func TestLimiterWithoutRedis(t *testing.T) {
	t.Parallel()
	rs := startRedis(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	limit := redisstore.Limit{Calls: 100, Per: time.Second}
	open := newLimiter(t, rs, limit, redisstore.WithLogger(logger))
	closed := newLimiter(t, rs, limit, redisstore.WithFailClosed())
	waitTimes(t, open, 2)
	waitTimes(t, closed, 2)
	require.Empty(t, log.String())

	rs.kill()
	waitTimes(t, open, 1)
	assert.GreaterOrEqual(t, waitTimes(t, open, 21), 200*time.Millisecond, "the process keeps to the limit on its own")
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "one warning per outage")
	require.ErrorIs(t, closed.Wait(t.Context()), redisstore.ErrUnavailable)

	rs.start()
	eventually(t, pollInterval, func() bool {
		waitTimes(t, open, 1)
		return strings.Contains(log.String(), "uses Redis again")
	})
	eventually(t, pollInterval, func() bool { return closed.Wait(t.Context()) == nil })
}

func TestLimiterReturnsWhenContextEnds(t *testing.T) {
	l := newLimiter(t, startRedis(t), redisstore.Limit{Calls: 1, Per: time.Hour})
	require.NoError(t, l.Wait(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { assert.ErrorIs(t, l.Wait(ctx), context.Canceled) })
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	wg.Wait()
}
