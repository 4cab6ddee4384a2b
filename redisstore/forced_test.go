package redisstore_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
)

// Twenty forced refreshes a day, 30 seconds apart, for all stores together.
func TestForcedRefreshesAreCounted(t *testing.T) {
	rdb := startRedis(t).client(t)
	stores := []*redisstore.Store{newStore(t, rdb), newStore(t, rdb)}
	calls := 0
	allowed := func(key string) bool {
		t.Helper()
		ok, err := stores[calls%2].AllowForced(t.Context(), key)
		require.NoError(t, err)
		calls++
		return ok
	}
	const name = key + ":forced"
	sent := func(ago ...time.Duration) { // oldest first
		now, err := rdb.Time(t.Context()).Result()
		require.NoError(t, err)
		var times []string
		for _, d := range ago {
			times = append(times, fmt.Sprint(now.Add(-d).UnixMilli()))
		}
		require.NoError(t, rdb.Set(t.Context(), name, strings.Join(times, " "), 0).Err())
	}

	assert.True(t, allowed(key))
	assert.False(t, allowed(key), "too soon")
	assert.True(t, allowed(key+"2"), "keys are apart")
	assert.InDelta(t, 24*time.Hour, rdb.PTTL(t.Context(), name).Val(), float64(time.Minute))

	sent(20 * time.Second)
	assert.False(t, allowed(key))
	sent(31 * time.Second)
	assert.True(t, allowed(key))
	assert.False(t, allowed(key))

	day := make([]time.Duration, 20)
	for i := range day {
		day[i] = 23*time.Hour - time.Duration(i)*time.Hour
	}
	sent(day...)
	assert.False(t, allowed(key), "20 within a day")
	day[0] = 24*time.Hour + time.Second
	sent(day...)
	assert.True(t, allowed(key))
	assert.Len(t, strings.Fields(rdb.Get(t.Context(), name).Val()), 20, "the oldest one is forgotten")

	sent(-time.Hour)
	assert.True(t, allowed(key), "the clock was set back by an hour")
}

func TestOneForcedRefreshAtATime(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	var allowed atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ok, err := s.AllowForced(t.Context(), key)
			assert.NoError(t, err)
			if ok {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int32(1), allowed.Load())
}

func TestForcedRefreshWithoutRedis(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t))
	rs.kill()
	_, err := s.AllowForced(t.Context(), key)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
}
