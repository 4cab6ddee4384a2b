package redisstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
)

const lockKey = key + ":lock"

func TestLockIsExclusive(t *testing.T) {
	rs := startRedis(t)
	var wg sync.WaitGroup
	var inside, passed int // the lock guards them, or the race detector finds out
	for range 4 {
		s := newStore(t, rs.client(t))
		for range 5 {
			wg.Go(func() {
				unlock, err := s.Lock(t.Context(), key)
				if !assert.NoError(t, err) {
					return
				}
				defer unlock()
				inside++
				assert.Equal(t, 1, inside)
				inside--
				passed++
			})
		}
	}
	wg.Wait()
	assert.Equal(t, 20, passed)

	s := newStore(t, rs.client(t))
	one, err := s.Lock(t.Context(), "one")
	require.NoError(t, err)
	defer one()
	another, err := s.Lock(t.Context(), "another")
	require.NoError(t, err, "each key has a lock of its own")
	another()
}

func TestLockEndsWithTheContext(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Lock(ctx, key)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	unlock()
	unlock()
	assert.Zero(t, rdb.Exists(t.Context(), lockKey).Val())
}

func TestLeaseIsRenewed(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithLease(time.Second))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	owner := rdb.Get(t.Context(), lockKey).Val()
	assert.NotEmpty(t, owner)
	time.Sleep(2 * time.Second)
	assert.Equal(t, owner, rdb.Get(t.Context(), lockKey).Val())
	ttl := rdb.PTTL(t.Context(), lockKey).Val()
	assert.Positive(t, ttl)
	assert.LessOrEqual(t, ttl, time.Second)
	unlock()
	assert.Zero(t, rdb.Exists(t.Context(), lockKey).Val())
}

func TestUnlockFreesOnlyItsOwn(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithLease(time.Second))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	// The lease ended while this process was frozen, and somebody else has the lock now.
	require.NoError(t, rdb.Set(t.Context(), lockKey, "another", time.Minute).Err())
	time.Sleep(700 * time.Millisecond) // two renewals
	assert.Equal(t, "another", rdb.Get(t.Context(), lockKey).Val())
	assert.Greater(t, rdb.PTTL(t.Context(), lockKey).Val(), 30*time.Second)
	unlock()
	assert.Equal(t, "another", rdb.Get(t.Context(), lockKey).Val())
}

func TestLockThatComesTooLate(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	unlock, err := s.Lock(t.Context(), key) // so that Redis has the script
	require.NoError(t, err)
	unlock()

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	rdb.AddHook(&after{"evalsha", sync.OnceFunc(func() {
		cancel()
		<-left // the lock was got, and its caller has left
	})})
	_, err = s.Lock(ctx, key)
	close(left)
	require.ErrorIs(t, err, context.Canceled)
	eventually(t, often, func() bool { return rdb.Exists(t.Context(), lockKey).Val() == 0 })
}

// Whether the caller or the lock is first is left to chance. Nobody holds the lock in the end.
func TestLockAtTheLastMoment(t *testing.T) {
	rdb := startRedis(t).client(t)
	cancels := make(chan context.CancelFunc, 1)
	rdb.AddHook(&after{"evalsha", func() {
		select {
		case cancel := <-cancels:
			cancel()
		default:
		}
	}})
	s := newStore(t, rdb, redisstore.WithLease(time.Hour))
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		cancels <- cancel
		if unlock, err := s.Lock(ctx, key); err == nil {
			unlock()
		}
		eventually(t, time.Millisecond, func() bool { return rdb.Exists(t.Context(), lockKey).Val() == 0 })
	}
}

func TestWaitingIsNotBusy(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	s := newStore(t, rdb)
	require.NoError(t, rdb.Set(t.Context(), lockKey, "another", time.Minute).Err())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := s.Lock(ctx, key)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	assert.Less(t, len(rs.lines), 60, "commands in two seconds")
}

func TestLockWithoutRedis(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	rs.kill()
	unlock()
	_, err = s.Lock(t.Context(), key)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
	start := time.Now()
	for range 1000 {
		_, err = s.Load(t.Context(), key)
		require.ErrorIs(t, err, redisstore.ErrUnavailable)
	}
	assert.Less(t, time.Since(start), 20*time.Second, "a thousand failed loads cost a few tries")
}
