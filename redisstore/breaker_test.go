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

// take returns a round trip that takes d and then succeeds.
func take(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
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

// connecting makes round trips of r need a connection that takes a while.
func (r *fakeRedis) connecting(d time.Duration) {
	synctest.Wait() // nothing of an earlier call is still reading
	var connections atomic.Uint32
	r.breaker.connect, r.breaker.connects = 3*time.Second, connections.Load
	r.respond = func(context.Context) error {
		connections.Add(1)
		time.Sleep(d)
		return nil
	}
}

func TestConnectingHasItsOwnTime(t *testing.T) {
	for name, test := range map[string]struct {
		takes, returns time.Duration
		text           string
	}{
		"in time":  {3 * time.Second, 3 * time.Second, ""},
		"too late": {4 * time.Second, 3300 * time.Millisecond, "no response within 3.3s"},
	} {
		t.Run(name, func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				r := newFakeRedis(nil)
				r.connecting(test.takes)
				start := time.Now()
				err := r.call(t.Context())
				assert.Equal(t, test.returns, time.Since(start))
				if test.text == "" {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrUnavailable)
					require.ErrorContains(t, err, test.text)
				}
			})
		})
	}
}

func TestSlowResponseOnOldConnectionHasNoTimeToConnect(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(hang)
		r.breaker.connect, r.breaker.connects = 3*time.Second, func() uint32 { return 7 }
		start := time.Now()
		require.ErrorContains(t, r.call(t.Context()), "no response within 300ms")
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
	})
}

// A caller that leaves, or that only probes, does not end the attempt to connect.
func TestConnectionIsCompletedWithoutItsCaller(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(refuseConnection)
		require.Error(t, r.call(t.Context()))
		time.Sleep(cooldownMin)
		r.connecting(2 * time.Second)
		start := time.Now()
		require.ErrorContains(t, r.call(t.Context()), "no response within 300ms")
		assert.Equal(t, 300*time.Millisecond, time.Since(start), "a probe waits for a response only")
		require.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
		time.Sleep(1800 * time.Millisecond)
		synctest.Wait()
		r.respond = succeed
		require.NoError(t, r.call(t.Context()), "the connection is there")

		r.connecting(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.call(ctx), context.DeadlineExceeded)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		r.respond = succeed
		require.NoError(t, r.call(t.Context()))
	})
}

func (r *fakeRedis) callRequired(ctx context.Context) error {
	_, err := doRequired(ctx, r.breaker, func(ctx context.Context) (struct{}, error) {
		r.trips.Add(1)
		return struct{}{}, r.respond(ctx)
	})
	return err
}

func TestRequiredRoundTripsWaitForRedis(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(nil)
		r.breaker.connect = 3 * time.Second
		up := time.Now().Add(9 * time.Second)
		r.respond = func(ctx context.Context) error {
			if time.Now().After(up) {
				return nil
			}
			return refuseConnection(ctx)
		}
		require.ErrorIs(t, r.call(t.Context()), ErrUnavailable)
		require.NoError(t, r.callRequired(t.Context()), "though the breaker is open")
		assert.WithinDuration(t, up, time.Now(), requiredPauseMax)
		require.NoError(t, r.call(t.Context()), "the breaker is closed again")
		assert.Less(t, r.trips.Load(), int32(20))

		r.respond = take(2 * time.Second)
		start := time.Now()
		require.NoError(t, r.callRequired(t.Context()), "a response may be slow")
		assert.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestRequiredRoundTripsEndWithTheContext(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		for name, respond := range map[string]func(context.Context) error{"refused": refuseConnection, "hangs": hang} {
			r := newFakeRedis(respond)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			start := time.Now()
			err := r.callRequired(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			require.ErrorIs(t, err, ErrUnavailable, "%s: it says why", name)
			assert.Equal(t, 5*time.Second, time.Since(start), name)
			time.Sleep(10 * time.Second)
		}
		r := newFakeRedis(func(context.Context) error { return redisError("NOPERM no permission") })
		require.ErrorContains(t, r.callRequired(t.Context()), "NOPERM")
		assert.EqualValues(t, 1, r.trips.Load(), "what Redis rejects is not repeated")
	})
}

func TestEachOutageIsReportedToTheClient(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		r := newFakeRedis(succeed)
		var outages atomic.Int32
		r.breaker.onOutage = func() { outages.Add(1) }
		require.NoError(t, r.call(t.Context()))
		assert.Zero(t, outages.Load())
		r.respond = refuseConnection
		require.Error(t, r.call(t.Context()))
		require.Error(t, r.call(t.Context())) // not sent
		assert.EqualValues(t, 1, outages.Load())
		time.Sleep(cooldownMin)
		require.Error(t, r.call(t.Context()))
		assert.EqualValues(t, 2, outages.Load())
	})
}

// Before version 7 Redis reports the error of a command in a script as that of the script.
func TestErrorsOfCommandsInScripts(t *testing.T) {
	err := classify(redisError("ERR Error running script (call to f_5b): @user_script:8: @user_script: 8: " +
		"-READONLY You can't write against a read only replica. "))
	require.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, explain(err), "connect to the primary")
	assert.NotErrorIs(t, classify(redisError("ERR the key READONLY is wrong")), ErrUnavailable)
}

// However late a tick comes, it is one tick: a process that was stopped has time to read the response.
func TestLateTickCountsAsOne(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		tick, done := make(chan time.Time), make(chan struct{})
		passed := make(chan bool)
		go func() { passed <- countTicks(tick, func() {}, done) }()
		for range ticks - 1 {
			time.Sleep(time.Hour)
			tick <- time.Now()
		}
		close(done)
		assert.False(t, <-passed)
	})
}
