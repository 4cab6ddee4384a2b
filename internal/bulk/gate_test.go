package bulk

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("broken")

// withClock runs f in a bubble with a clock of its own.
func withClock(t *testing.T, f func(t *testing.T, elapsed func() time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f(t, func() time.Duration { return time.Since(start) })
	})
}

func TestGateIsOpenAtFirst(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		require.NoError(t, new(Gate).Wait(t.Context()))
		assert.Zero(t, elapsed())
	})
}

func TestWaitFailsWhenTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	err := new(Gate).Wait(ctx)
	assert.ErrorIs(t, err, context.Canceled, "even though the gate is open")
	assert.ErrorIs(t, err, errBroken)
}

func TestHoldHoldsEveryCaller(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		var g Gate
		require.NoError(t, g.Hold(t.Context(), time.Minute, errBroken))
		assert.Zero(t, elapsed(), "Hold itself does not wait")
		for range 3 {
			go func() {
				assert.NoError(t, g.Wait(t.Context()))
				assert.Equal(t, time.Minute, elapsed())
			}()
		}
		time.Sleep(time.Hour)
		require.NoError(t, g.Wait(t.Context()))
		assert.Equal(t, time.Hour, elapsed(), "once it is over it is over")
	})
}

func TestHoldIsExtendedAndNeverShortened(t *testing.T) {
	for _, tt := range []struct{ second, want time.Duration }{
		{10 * time.Second, time.Minute},
		{50 * time.Second, time.Minute},
		{51 * time.Second, 61 * time.Second},
		{time.Hour, time.Hour + 10*time.Second},
		{0, time.Minute},
		{-time.Hour, time.Minute},
	} {
		withClock(t, func(t *testing.T, elapsed func() time.Duration) {
			var (
				g       Gate
				waiters sync.WaitGroup
			)
			require.NoError(t, g.Hold(t.Context(), time.Minute, errBroken))
			wait := func(who string) {
				assert.NoError(t, g.Wait(t.Context()))
				assert.Equal(t, tt.want, elapsed(), who)
			}
			waiters.Go(func() { wait("who waits already") })
			time.Sleep(10 * time.Second)
			require.NoError(t, g.Hold(t.Context(), tt.second, errBroken))
			waiters.Go(func() { wait("who comes later") })
			waiters.Wait()
		})
	}
}

func TestHoldFailsWhereTheDeadlineComesFirst(t *testing.T) {
	for d, fails := range map[time.Duration]bool{
		time.Minute - 1: false,
		time.Minute:     true, // a call at that moment would fail
		time.Minute + 1: true,
		time.Hour:       true,
	} {
		withClock(t, func(t *testing.T, elapsed func() time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var g Gate
			err := g.Hold(ctx, d, errBroken)
			assert.Zero(t, elapsed(), "it is known at once")
			if !fails {
				require.NoError(t, err)
				require.NoError(t, g.Wait(ctx))
				assert.Equal(t, d, elapsed())
				return
			}
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorIs(t, err, errBroken)
			assert.EqualError(t, err, "context deadline exceeded before the next call may be made: broken")
			require.NoError(t, g.Wait(t.Context()))
			assert.Zero(t, elapsed(), "others are not held")
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		var g Gate
		require.NoError(t, g.Hold(t.Context(), time.Minute, errBroken))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, g.Wait(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, elapsed())
	})
}

// script returns a call that fails with each of these verdicts, and then succeeds.
func script(verdicts ...Verdict) (call func() (Verdict, error), calls *int) {
	calls = new(int)
	return func() (Verdict, error) {
		if *calls++; *calls > len(verdicts) {
			return Verdict{}, nil
		}
		return verdicts[*calls-1], errBroken
	}, calls
}

func TestDoCallsOnceWhereThatIsEnough(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		for _, v := range []Verdict{
			{}, {Action: Split}, {Action: Reject}, {Action: Stop, Unknown: true}, {Action: 99},
		} {
			call, calls := script(v)
			left := 5
			got, err := new(Gate).Do(t.Context(), &left, call)
			assert.Equal(t, errBroken, err)
			assert.Equal(t, v, got)
			assert.Equal(t, 1, *calls)
			assert.Equal(t, 5, left)
		}
		call, calls := script()
		left := 0
		_, err := new(Gate).Do(t.Context(), &left, call)
		require.NoError(t, err)
		assert.Equal(t, 1, *calls)
		assert.Zero(t, elapsed())
	})
}

// retrying returns a gate whose retries are delayed by 1, 2, 4 ... seconds.
func retrying(retries int) *Gate {
	return &Gate{MaxRetries: retries, Delay: func(retry int) time.Duration { return time.Second << (retry - 1) }}
}

func TestDoRetriesWithGrowingDelays(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		retry := Verdict{Action: Retry, Exhausted: Split}
		g := retrying(5)
		left := g.MaxRetries
		call, calls := script(retry, retry, retry)
		_, err := g.Do(t.Context(), &left, call)
		require.NoError(t, err)
		assert.Equal(t, 4, *calls)
		assert.Equal(t, 2, left)
		assert.Equal(t, (1+2+4)*time.Second, elapsed())

		call, calls = script(retry, retry, retry)
		v, err := g.Do(t.Context(), &left, call)
		assert.Equal(t, errBroken, err)
		assert.Equal(t, Split, v.Action, "Exhausted takes the place of Retry")
		assert.Equal(t, 3, *calls, "the call before had some of the retries")
		assert.Zero(t, left)
		assert.Equal(t, (1+2+4+8+16)*time.Second, elapsed(),
			"no pause after the last attempt, and the delays go on growing")

		call, calls = script(retry)
		_, err = g.Do(t.Context(), &left, call)
		assert.Equal(t, errBroken, err)
		assert.Equal(t, 1, *calls, "none is left")
	})
}

func TestDoWithoutRetries(t *testing.T) {
	for _, exhausted := range []Action{Stop, Split, Reject} {
		call, calls := script(Verdict{Action: Retry, Exhausted: exhausted})
		left := 0
		v, err := new(Gate).Do(t.Context(), &left, call)
		assert.Equal(t, errBroken, err)
		assert.Equal(t, exhausted, v.Action)
		assert.Equal(t, 1, *calls)
	}
}

func TestDoHoldsWithoutALimit(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		holds := make([]Verdict, 100)
		for i := range holds {
			holds[i] = Verdict{Action: Hold, After: time.Minute}
		}
		call, calls := script(holds...)
		g := retrying(1)
		left := 1
		_, err := g.Do(t.Context(), &left, call)
		require.NoError(t, err)
		assert.Equal(t, 101, *calls)
		assert.Equal(t, 1, left, "a hold is no retry")
		assert.Equal(t, 100*time.Minute, elapsed())
	})
}

func TestDoWaitsForTheGateBeforeEachAttempt(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		g := retrying(1)
		require.NoError(t, g.Hold(t.Context(), time.Minute, errBroken))
		left := 1
		var at []time.Duration
		_, err := g.Do(t.Context(), &left, func() (Verdict, error) {
			if at = append(at, elapsed()); len(at) > 1 {
				return Verdict{}, nil
			}
			assert.NoError(t, g.Hold(t.Context(), time.Hour, errBroken)) // another caller's
			return Verdict{Action: Retry}, errBroken
		})
		require.NoError(t, err)
		assert.Equal(t, []time.Duration{time.Minute, time.Hour + time.Minute}, at)
	})
}

func TestDoReturnsTheErrorOfTheVerdict(t *testing.T) {
	withClock(t, func(t *testing.T, _ func() time.Duration) {
		better := errors.New("better")
		for _, v := range []Verdict{{Err: better}, {Action: Split, Err: better}, {Action: Retry, Err: better}} {
			call, _ := script(v)
			left := 0
			_, err := new(Gate).Do(t.Context(), &left, call)
			assert.Equal(t, better, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call, _ := script(Verdict{Action: Hold, After: time.Minute, Err: better})
		left := 0
		_, err := new(Gate).Do(ctx, &left, call)
		assert.ErrorIs(t, err, better)
		assert.NotErrorIs(t, err, errBroken)
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	for name, tt := range map[string]struct {
		verdict Verdict
		timeout time.Duration
		calls   int
		after   time.Duration
		isCause bool // whether the error is that of the call too
	}{
		"before the first attempt": {Verdict{}, 0, 0, 0, false},
		"during a delay":           {Verdict{Action: Retry, Exhausted: Reject}, time.Second, 1, time.Second, false},
		"before the end of a hold": {Verdict{Action: Hold, After: time.Hour}, time.Second, 1, 0, true},
	} {
		withClock(t, func(t *testing.T, elapsed func() time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			g := &Gate{MaxRetries: 5, Delay: func(int) time.Duration { return time.Minute }}
			left := 5
			call, calls := script(tt.verdict)
			v, err := g.Do(ctx, &left, call)
			assert.ErrorIs(t, err, context.DeadlineExceeded, name)
			assert.Equal(t, tt.isCause, errors.Is(err, errBroken), name)
			assert.Equal(t, Verdict{}, v, "%s: nothing to do but to stop", name)
			assert.Equal(t, tt.calls, *calls, name)
			assert.Equal(t, tt.after, elapsed(), name)
		})
	}
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		left := 0
		call, calls := script(Verdict{Action: Hold, After: time.Hour})
		_, err := new(Gate).Do(ctx, &left, call)
		assert.Equal(t, context.Canceled, err, "during a hold")
		assert.Equal(t, 1, *calls)
		assert.Equal(t, time.Second, elapsed())
	})
}

func TestRetryPausesAtLeastAsLongAsTheVerdictSays(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		g := retrying(5)
		left := g.MaxRetries
		call, _ := script(Verdict{Action: Retry, After: 3 * time.Second}, Verdict{Action: Retry, After: time.Second})
		_, err := g.Do(t.Context(), &left, call)
		require.NoError(t, err)
		assert.Equal(t, (3+2)*time.Second, elapsed())
	})
}

func TestDoPersistsWithGrowingPauses(t *testing.T) {
	persist := Verdict{Action: Persist, Exhausted: Split, MayBeApplied: true}
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		g := &Gate{Patience: time.Hour}
		var at []time.Duration
		left := 0
		v, err := g.Do(t.Context(), &left, func() (Verdict, error) {
			at = append(at, elapsed())
			return persist, errBroken
		})
		assert.Equal(t, errBroken, err)
		assert.Equal(t, Verdict{Action: Split, Exhausted: Split, MayBeApplied: true}, v,
			"Exhausted takes the place of Persist")
		assert.Equal(t, time.Hour, elapsed(), "the last try is made at the end")
		bound := time.Second
		for i := 1; i < len(at)-1; i++ {
			pause := at[i] - at[i-1]
			assert.GreaterOrEqual(t, pause, bound/2, "pause %d", i)
			assert.LessOrEqual(t, pause, bound, "pause %d", i)
			bound = min(2*bound, time.Minute)
		}
		assert.Greater(t, len(at), 60)
	})
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		call, calls := script(persist, persist)
		left := 0
		_, err := (&Gate{Patience: time.Minute}).Do(t.Context(), &left, call)
		require.NoError(t, err)
		assert.Equal(t, 3, *calls)
		assert.LessOrEqual(t, elapsed(), 3*time.Second)

		call, calls = script(persist)
		_, err = new(Gate).Do(t.Context(), &left, call)
		assert.Equal(t, errBroken, err, "without patience")
		assert.Equal(t, 1, *calls)
	})
}

// The patience is for the failure, and not for each call: it begins with the first one, and anew when it has passed.
func TestPatienceIsSharedAndBeginsAnew(t *testing.T) {
	persist := Verdict{Action: Persist}
	for name, other := range map[string]struct {
		verdict Verdict
		err     error
	}{
		"a success":       {},
		"a rejection":     {Verdict{Action: Split}, errBroken},
		"a used-up quota": {Verdict{Action: Stop}, errBroken},
	} {
		withClock(t, func(t *testing.T, elapsed func() time.Duration) {
			g := &Gate{Patience: 10 * time.Minute}
			var running sync.WaitGroup
			do := func(call func() (Verdict, error), end time.Duration) {
				left := 0
				_, err := g.Do(t.Context(), &left, call)
				assert.Equal(t, errBroken, err, name)
				assert.Equal(t, end, elapsed(), name)
			}
			down := func() (Verdict, error) { return persist, errBroken }
			running.Go(func() { do(down, 10*time.Minute) })
			time.Sleep(5 * time.Minute)
			running.Go(func() { do(down, 10*time.Minute) })
			running.Wait()

			end := elapsed()
			left := 0
			running.Go(func() { do(down, end) })
			running.Wait()
			_, _ = g.Do(t.Context(), &left, func() (Verdict, error) { return other.verdict, other.err })
			do(down, end+10*time.Minute)
		})
	}
}

func TestPatienceEndsBeforeTheDeadline(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		left := 0
		v, err := (&Gate{Patience: time.Hour}).Do(ctx, &left, func() (Verdict, error) {
			return Verdict{Action: Persist, Unknown: true}, errBroken
		})
		assert.Equal(t, errBroken, err, "it is known at once that there is no time for another try")
		assert.Equal(t, Verdict{Action: Stop, Unknown: true}, v)
		assert.Less(t, elapsed(), 30*time.Second)
		assert.Greater(t, elapsed(), 7*time.Second)
	})
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Second, cancel)
		left := 0
		_, err := (&Gate{Patience: time.Hour}).Do(ctx, &left, func() (Verdict, error) {
			return Verdict{Action: Persist}, errBroken
		})
		assert.Equal(t, context.Canceled, err)
		assert.Equal(t, 100*time.Second, elapsed(), "a pause does not outlive its job")
	})
}
