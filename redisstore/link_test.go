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

// answer is an error that Redis itself gave.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// trips are round trips that a test watches.
type trips struct {
	link *link
	made atomic.Int32
	f    func(context.Context) error
}

func newTrips(f func(context.Context) error) *trips {
	return &trips{link: &link{timeout: 300 * time.Millisecond}, f: f}
}

func (r *trips) trip(ctx context.Context) error {
	_, err := over(ctx, r.link, func(ctx context.Context) (struct{}, error) {
		r.made.Add(1)
		return struct{}{}, r.f(ctx)
	})
	return err
}

// bubble runs a test on a clock of its own, and lets what it left behind come to its end.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(10 * time.Second)
	})
}

// hang is a client that ignores contexts, until its own timeout.
func hang(context.Context) error {
	time.Sleep(5 * time.Second)
	return errors.New("i/o timeout")
}

func refuse(context.Context) error { return errors.New("connection refused") }

func work(context.Context) error { return nil }

func TestRoundTripIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(hang)
		start := time.Now()
		err := r.trip(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
		assert.EqualError(t, err, "redisstore: Redis is unavailable: no answer within 300ms")

		err = r.trip(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, 300*time.Millisecond, time.Since(start), "the next one does not wait")
		assert.EqualError(t, err, "redisstore: Redis is unavailable and left alone for another 1s: no answer within 300ms")
		assert.EqualValues(t, 1, r.made.Load())
	})
}

func TestClientThatHeedsContexts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		err := r.trip(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "it was not the caller's")
	})
}

func TestPausesGrowAndOneProbes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(refuse)
		require.Error(t, r.trip(t.Context()))
		for i, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
			time.Sleep(pause*time.Second - time.Nanosecond)
			require.Error(t, r.trip(t.Context()))
			require.EqualValues(t, 1+i, r.made.Load(), "left alone for %d s", pause)
			time.Sleep(time.Nanosecond)
			require.Error(t, r.trip(t.Context()))
			require.EqualValues(t, 2+i, r.made.Load(), "tried after %d s", pause)
		}
		r.f = work
		time.Sleep(10 * time.Second)
		require.NoError(t, r.trip(t.Context()))
		r.f = refuse
		require.Error(t, r.trip(t.Context()))
		time.Sleep(time.Second)
		require.Error(t, r.trip(t.Context()))
		assert.EqualValues(t, 10, r.made.Load(), "after a success the pause is a second again")
	})
}

func TestOneProbesForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(hang)
		require.Error(t, r.trip(t.Context()))
		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		waited := 0
		for range 100 {
			wg.Go(func() {
				start := time.Now()
				assert.ErrorIs(t, r.trip(t.Context()), ErrUnavailable)
				if time.Since(start) > 0 {
					mu.Lock()
					defer mu.Unlock()
					waited++
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 1, waited)
		assert.EqualValues(t, 2, r.made.Load())
	})
}

func TestFailuresAtOnceCountOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := &link{timeout: 300 * time.Millisecond}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := over(t.Context(), l, func(ctx context.Context) (int, error) { return 0, hang(ctx) })
				assert.ErrorIs(t, err, ErrUnavailable)
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		_, err := over(t.Context(), l, func(context.Context) (int, error) { return 7, nil })
		assert.NoError(t, err, "the pause is a second")
	})
}

func TestCallerWhoLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(hang)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, r.trip(ctx), context.DeadlineExceeded)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))

		time.Sleep(300 * time.Millisecond)
		require.ErrorIs(t, r.trip(t.Context()), ErrUnavailable, "what the trip found out is remembered all the same")
		assert.EqualValues(t, 1, r.made.Load())

		require.ErrorIs(t, r.trip(ctx), context.DeadlineExceeded)
		assert.EqualValues(t, 1, r.made.Load(), "nothing is sent for a caller who has left")
	})
}

func TestRefusalsAreNoOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newTrips(func(context.Context) error { return answer("NOPERM no permission") })
		for range 3 {
			err := r.trip(t.Context())
			assert.EqualError(t, err, "redisstore: Redis refused a command: NOPERM no permission")
			assert.NotErrorIs(t, err, ErrUnavailable)
		}
		assert.EqualValues(t, 3, r.made.Load())
		for _, state := range []string{
			"LOADING Redis is loading the dataset in memory", "READONLY You can't write against a read only replica.",
			"MASTERDOWN Link with MASTER is down", "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request",
		} {
			r := newTrips(func(context.Context) error { return answer(state) })
			require.ErrorIs(t, r.trip(t.Context()), ErrUnavailable)
			require.ErrorIs(t, r.trip(t.Context()), ErrUnavailable)
			assert.EqualValues(t, 1, r.made.Load(), state)
		}
	})
}

func TestErrorsShowNoArguments(t *testing.T) {
	err := judge(answer("ERR unknown command 'evalsha', with args beginning with: 'abc' '1' 'key' 'TOKEN"))
	require.Error(t, err)
	assert.False(t, strings.Contains(err.Error(), "TOKEN"))
	assert.Contains(t, err.Error(), "evalsha")
}
