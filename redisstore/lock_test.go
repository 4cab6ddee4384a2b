package redisstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/redisstore"
)

const lockKey = key + ":lock"

func TestLockIsExclusive(t *testing.T) {
	rs := startRedis(t)
	var wg sync.WaitGroup
	var inside, passed int // guarded by the lock; the race detector notices if it is not exclusive
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
	unlockOne, err := s.Lock(t.Context(), "one")
	require.NoError(t, err)
	defer unlockOne()
	unlockOther, err := s.Lock(t.Context(), "other")
	require.NoError(t, err, "each key has its own lock")
	unlockOther()
}

func TestLockReturnsWhenContextEnds(t *testing.T) {
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

func TestLeaseIsRenewedUntilUnlock(t *testing.T) {
	t.Parallel()
	rdb := startRedis(t).client(t)
	const lease = 3 * time.Second
	s := newStore(t, rdb, redisstore.WithLease(lease))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	owner := rdb.Get(t.Context(), lockKey).Val()
	assert.NotEmpty(t, owner)
	// A lease that is not renewed would now last an hour.
	require.True(t, rdb.PExpire(t.Context(), lockKey, time.Hour).Val())
	eventually(t, pollInterval, func() bool { return rdb.PTTL(t.Context(), lockKey).Val() <= lease })
	assert.Equal(t, owner, rdb.Get(t.Context(), lockKey).Val())
	unlock()
	assert.Zero(t, rdb.Exists(t.Context(), lockKey).Val())
}

func TestUnlockKeepsLockOfAnotherOwner(t *testing.T) {
	t.Parallel()
	rs := startRedis(t)
	rdb := rs.client(t)
	s := newStore(t, rdb, redisstore.WithLease(time.Second))
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	// As if the lease had expired while this process was stopped, and another one had acquired the lock.
	require.NoError(t, rdb.Set(t.Context(), lockKey, "another", time.Hour).Err())
	before := rs.receivedAll("evalsha")
	eventually(t, pollInterval, func() bool { return rs.received("evalsha") > before }) // a renewal
	assert.Equal(t, "another", rdb.Get(t.Context(), lockKey).Val())
	assert.Greater(t, rdb.PTTL(t.Context(), lockKey).Val(), time.Minute)
	unlock()
	assert.Equal(t, "another", rdb.Get(t.Context(), lockKey).Val())
}

// callAfter is a hook that calls f after each command with that name.
type callAfter struct {
	hooks
	name string
	f    func()
}

func (h *callAfter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == h.name {
			h.f()
		}
		return err
	}
}

func TestLockAcquiredAfterCallerGaveUpIsReleased(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithLease(time.Hour)) // so that it does not release the lock
	unlock, err := s.Lock(t.Context(), key)                // loads the script into Redis
	require.NoError(t, err)
	unlock()

	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	rdb.AddHook(&callAfter{name: "evalsha", f: sync.OnceFunc(func() {
		cancel()
		<-returned // now the lock is acquired, and its caller has given up
	})})
	_, err = s.Lock(ctx, key)
	close(returned)
	require.ErrorIs(t, err, context.Canceled)
	eventually(t, pollInterval, func() bool { return rdb.Exists(t.Context(), lockKey).Val() == 0 })
}

// Whether the caller gives up before or after the lock is acquired is left to chance. In the end nobody holds it.
func TestNobodyHoldsLockAfterCancelAtTheLastMoment(t *testing.T) {
	rdb := startRedis(t).client(t)
	cancels := make(chan context.CancelFunc, 1)
	rdb.AddHook(&callAfter{name: "evalsha", f: func() {
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

func TestWaitingForLockSendsFewCommands(t *testing.T) {
	t.Parallel()
	rs := startRedis(t)
	rdb := rs.client(t)
	s := newStore(t, rdb)
	require.NoError(t, rdb.Set(t.Context(), lockKey, "another", time.Hour).Err())
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := s.Lock(ctx, key)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, rs.receivedAll(lockKey), 40, "commands in half a second")
}

func TestLockAndLoadFailFastWithoutRedis(t *testing.T) {
	rs := startRedis(t)
	var gets atomic.Int32
	rdb := rs.client(t, withoutRetries)
	rdb.AddHook(&callAfter{name: "get", f: func() { gets.Add(1) }})
	s := newStore(t, rdb)
	unlock, err := s.Lock(t.Context(), key)
	require.NoError(t, err)
	rs.kill()
	start := time.Now()
	unlock()
	_, err = s.Lock(t.Context(), key)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
	for range 1000 {
		_, err = s.Load(t.Context(), key)
		require.ErrorIs(t, err, redisstore.ErrUnavailable)
	}
	assert.LessOrEqual(t, int(gets.Load()), maxAttempts(time.Since(start)), "most loads fail without a command")
}
