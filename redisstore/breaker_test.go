package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// redisError is an error response of Redis.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

// fakeRedis makes round trips through a breaker and counts them.
type fakeRedis struct {
	breaker *breaker
	trips   atomic.Int32
	respond func(context.Context) error
}

func newFakeRedis(respond func(context.Context) error) *fakeRedis {
	return &fakeRedis{breaker: &breaker{timeout: 300 * time.Millisecond}, respond: respond}
}

func (r *fakeRedis) call(ctx context.Context) error {
	respond := r.respond
	_, err := do(ctx, r.breaker, func(ctx context.Context) (struct{}, error) {
		r.trips.Add(1)
		return struct{}{}, respond(ctx)
	})
	return err
}

// withFakeClock runs a test on a fake clock, and lets the goroutines that it leaves behind end.
func withFakeClock(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(10 * time.Second)
	})
}

// hang behaves like a client that ignores contexts: it returns after its own timeout.
func hang(context.Context) error {
	time.Sleep(5 * time.Second)
	return errors.New("i/o timeout")
}

func refuseConnection(context.Context) error { return errors.New("connection refused") }

func succeed(context.Context) error { return nil }

func TestRoundTripEndsAfterTimeout(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(hang)
		start := time.Now()
		err := r.call(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
		assert.EqualError(t, err, "redisstore: Redis is unavailable: no response within 300ms")

		err = r.call(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, 300*time.Millisecond, time.Since(start), "the next round trip fails at once")
		assert.EqualError(t, err, "redisstore: Redis is unavailable, next attempt in 1s: no response within 300ms")
		assert.EqualValues(t, 1, r.trips.Load())
	})
}

func TestTimeoutOfClientThatRespectsContexts(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		err := r.call(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has no deadline")
	})
}

func TestCooldownGrowsUntilSuccess(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(refuseConnection)
		require.Error(t, r.call(t.Context()))
		for i, cooldown := range []time.Duration{1, 2, 4, 8, 10, 10} {
			time.Sleep(cooldown*time.Second - time.Nanosecond)
			require.Error(t, r.call(t.Context()))
			require.EqualValues(t, 1+i, r.trips.Load(), "no round trip within %d s", cooldown)
			time.Sleep(time.Nanosecond)
			require.Error(t, r.call(t.Context()))
			require.EqualValues(t, 2+i, r.trips.Load(), "one round trip after %d s", cooldown)
		}
		r.respond = succeed
		time.Sleep(10 * time.Second)
		require.NoError(t, r.call(t.Context()))
		r.respond = refuseConnection
		require.Error(t, r.call(t.Context()))
		time.Sleep(time.Second)
		require.Error(t, r.call(t.Context()))
		assert.EqualValues(t, 10, r.trips.Load(), "after a success the cooldown starts at 1 s")
	})
}

func TestOneCallerProbesAfterCooldown(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(hang)
		require.Error(t, r.call(t.Context()))
		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		var waited atomic.Int32
		for range 100 {
			wg.Go(func() {
				start := time.Now()
				assert.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
				if time.Since(start) > 0 {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, waited.Load())
		assert.EqualValues(t, 2, r.trips.Load())
	})
}

func TestConcurrentFailuresCountAsOne(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(hang)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { assert.ErrorIs(t, r.call(t.Context()), ErrUnavailable) })
		}
		wg.Wait()
		assert.EqualValues(t, 100, r.trips.Load())
		r.respond = succeed
		time.Sleep(time.Second)
		assert.NoError(t, r.call(t.Context()), "the cooldown is 1 s")
	})
}

func TestRoundTripOfCallerWhoGaveUpIsRecorded(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(hang)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, r.call(ctx), context.DeadlineExceeded)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))

		time.Sleep(300 * time.Millisecond)
		require.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
		assert.EqualValues(t, 1, r.trips.Load())

		require.ErrorIs(t, r.call(ctx), context.DeadlineExceeded)
		assert.EqualValues(t, 1, r.trips.Load(), "nothing is sent once the context has ended")
	})
}

func TestErrorResponsesOpenBreakerOnlyInAnOutage(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(func(context.Context) error { return redisError("NOPERM no permission") })
		for range 3 {
			err := r.call(t.Context())
			assert.EqualError(t, err, "redisstore: Redis rejected a command: NOPERM no permission")
			assert.NotErrorIs(t, err, ErrUnavailable)
		}
		assert.EqualValues(t, 3, r.trips.Load())
		for _, text := range []string{
			"LOADING Redis is loading the dataset in memory", "READONLY You can't write against a read only replica.",
			"MASTERDOWN Link with MASTER is down", "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request",
		} {
			r := newFakeRedis(func(context.Context) error { return redisError(text) })
			require.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
			require.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
			assert.EqualValues(t, 1, r.trips.Load(), text)
		}
	})
}

func TestErrorsContainNoArguments(t *testing.T) {
	err := classify(redisError("ERR unknown command 'evalsha', with args beginning with: 'abc' '1' 'key' 'TOKEN"))
	require.Error(t, err)
	assert.False(t, strings.Contains(err.Error(), "TOKEN"))
	assert.Contains(t, err.Error(), "evalsha")
}
