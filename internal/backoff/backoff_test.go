package backoff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each delay is below its bound, which doubles up to the limit, and comes close to it.
func TestDelayDoublesUpToTheLimit(t *testing.T) {
	const base, limit = 200 * time.Millisecond, 5 * time.Second
	bounds := map[int]time.Duration{
		1: base, 2: 2 * base, 3: 4 * base, 4: 8 * base, 5: 16 * base, 6: limit, 7: limit, 32: limit, 33: limit,
		64: limit,
	}
	for retry, bound := range bounds {
		longest := time.Duration(0)
		for range 2000 {
			d := Delay(base, limit, retry)
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.Less(t, d, bound, "retry %d", retry)
			longest = max(longest, d)
		}
		assert.Greater(t, longest, bound*9/10, "retry %d", retry)
	}
}

func TestDelayDoesNotOverflow(t *testing.T) {
	for retry := 1; retry < 200; retry++ {
		d := Delay(math.MaxInt64/3, math.MaxInt64, retry)
		require.GreaterOrEqual(t, d, time.Duration(0))
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, Sleep(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(start))

		require.NoError(t, Sleep(t.Context(), 0))
		require.NoError(t, Sleep(t.Context(), -time.Second))
		assert.Equal(t, time.Minute, time.Since(start), "nothing to wait for")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, Sleep(ctx, time.Minute), context.DeadlineExceeded)
		assert.Equal(t, time.Minute+time.Second, time.Since(start), "it returns when the context ends")
		require.ErrorIs(t, Sleep(ctx, 0), context.DeadlineExceeded)
	})
}

func TestContextErr(t *testing.T) {
	cause := errors.New("shutting down")
	alive := t.Context()
	require.NoError(t, ContextErr(alive))

	canceled, cancel := context.WithCancel(alive)
	cancel()
	assert.Equal(t, context.Canceled, ContextErr(canceled))

	withCause, cancelCause := context.WithCancelCause(alive)
	cancelCause(cause)
	err := ContextErr(withCause)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, cause)

	// A cause that is the context's error already is not repeated.
	withWrapped, cancelWrapped := context.WithCancelCause(alive)
	wrapped := fmt.Errorf("stop: %w", context.Canceled)
	cancelWrapped(wrapped)
	assert.Equal(t, wrapped, ContextErr(withWrapped))
}

func TestIsContextErr(t *testing.T) {
	assert.True(t, IsContextErr(fmt.Errorf("waiting: %w", context.Canceled)))
	assert.True(t, IsContextErr(context.DeadlineExceeded))
	assert.False(t, IsContextErr(errors.New("context canceled")))
	assert.False(t, IsContextErr(nil))
}

func TestCooldownDoublesUpToAMinute(t *testing.T) {
	var c Cooldown
	now := time.Now()
	assert.False(t, c.Active(now), "the zero value is not active")
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		c.Begin(now)
		end := now.Add(time.Duration(seconds) * time.Second)
		assert.True(t, c.Active(now))
		assert.True(t, c.Active(end.Add(-1)))
		assert.False(t, c.Active(end), "%d s", seconds)
		now = end
	}
	c = Cooldown{}
	c.Begin(now)
	assert.False(t, c.Active(now.Add(time.Second)), "it begins at a second again")
}

func TestDelayOfAnyRetry(t *testing.T) {
	for _, retry := range []int{math.MinInt, -1, 0, 1, 33, 64, math.MaxInt} {
		d := Delay(time.Second, time.Minute, retry)
		assert.GreaterOrEqual(t, d, time.Duration(0))
		assert.Less(t, d, time.Minute)
	}
}
