package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
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
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	limit := redisstore.Limit{Calls: 100, Per: time.Second}
	open := newLimiter(t, rs, limit, redisstore.WithLogger(logger))
	closed := newLimiter(t, rs, limit, redisstore.WithFailClosed())
	waitTimes(t, open, 2)
	waitTimes(t, closed, 2)
	require.Empty(t, log.String())
	require.False(t, open.Degraded() || closed.Degraded())

	rs.kill()
	waitTimes(t, open, 1)
	eventually(t, pollInterval, func() bool { return log.String() != "" })
	assert.GreaterOrEqual(t, waitTimes(t, open, 21), 200*time.Millisecond, "the process keeps to the limit on its own")
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "one warning per outage")
	require.ErrorIs(t, closed.Wait(t.Context()), redisstore.ErrUnavailable)
	assert.True(t, open.Degraded() && closed.Degraded())

	rs.start()
	eventually(t, pollInterval, func() bool {
		waitTimes(t, open, 1)
		return strings.Contains(log.String(), "uses Redis again")
	})
	eventually(t, pollInterval, func() bool { return closed.Wait(t.Context()) == nil })
	assert.False(t, closed.Degraded())
}

// lockedBuffer is a buffer that a logger may write to at any time.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// When the clock of Redis is set back, the places move with it. A place that makes no sense is forgotten.
func TestPlaceFarAheadStallsNobody(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	now := time.Now()
	value := func(place, written time.Duration) string {
		return fmt.Sprint(now.Add(place).UnixMicro(), " ", now.Add(written).UnixMicro())
	}
	for name, test := range map[string]struct {
		value string
		soon  bool // the next place is within a second
	}{
		"the clock was set back an hour":   {value(time.Hour+10*time.Second, time.Hour), false},
		"the clock was set back a minute":  {value(time.Minute+10*time.Second, time.Minute), false},
		"the clock was set forth an hour":  {value(-time.Hour, -2*time.Hour), true},
		"far ahead":                        {value(10*time.Hour, 0), true},
		"far ahead, without a second time": {fmt.Sprint(now.Add(10 * time.Hour).UnixMicro()), true},
		"not a time":                       {"abc", true},
		"two words":                        {"abc def", true},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rdb.Set(t.Context(), limitKey, test.value, 0).Err())
			l := newLimiter(t, rs, redisstore.Limit{Calls: 1, Per: 10 * time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err := l.Wait(ctx)
			if test.soon {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "allows the next call in")
				assert.Regexp(t, `in \d+\.?\d*s, too late`, err.Error(), "less than a minute")
			}
			assert.Positive(t, rdb.PTTL(t.Context(), limitKey).Val(), "the key expires")
			assert.LessOrEqual(t, rdb.PTTL(t.Context(), limitKey).Val(), 21*time.Second)
		})
	}
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
