package tokencache

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests that want to be sent at once: ten are, ten more follow every six seconds, and the twenty-first waits for
// the first one to leave the window.
func TestRequestLimitBoundaries(t *testing.T) {
	var l requestLimit
	start := time.Now()
	now := start
	for i := range 10 {
		require.Zero(t, l.take(now), "request %d of the burst", i)
	}
	for range 10 {
		require.Equal(t, 6*time.Second, l.take(now))
		now = now.Add(6*time.Second - 1)
		require.Equal(t, time.Duration(1), l.take(now), "a nanosecond too early")
		now = now.Add(1)
		require.Zero(t, l.wait(now), "asking takes nothing")
		if now.Sub(start) == time.Minute {
			break // the burst has left the window
		}
		require.Zero(t, l.take(now))
	}
	require.Equal(t, time.Minute, now.Sub(start))
	require.Len(t, l.sent, 9, "exactly after a minute the ten of the burst no longer count")
	require.Zero(t, l.take(now))
	require.Equal(t, 6*time.Second, l.take(now), "ten within the last minute again")
}

func TestRequestLimitWindowEndsExactlyAfterAMinute(t *testing.T) {
	var l requestLimit
	start := time.Now()
	require.Zero(t, l.take(start))
	for range 9 {
		require.Zero(t, l.take(start.Add(58*time.Second)))
	}
	assert.Equal(t, 4*time.Second+1, l.wait(start.Add(time.Minute-1)), "the first one still counts")
	assert.Zero(t, l.wait(start.Add(time.Minute)))
}

// Whenever requests are wanted: never more than 20 in a minute, never a wait of more than 6 seconds.
func TestRequestLimitProperty(t *testing.T) {
	for range 200 {
		var l requestLimit
		var sent []time.Time
		now := time.Now()
		interval := time.Duration(1) << rand.N(37) // up to two minutes
		for range 500 {
			now = now.Add(rand.N(interval))
			wait := l.take(now)
			if wait < 0 || wait > limitGap {
				require.FailNow(t, "wait", "%v", wait)
			}
			if wait > 0 {
				if rand.N(2) == 0 {
					continue
				}
				if now = now.Add(wait); l.take(now) != 0 {
					require.FailNow(t, "the wait was too short")
				}
			}
			sent = append(sent, now)
			if n := len(sent); n > 20 && now.Sub(sent[n-21]) < time.Minute {
				require.FailNow(t, "21 requests within a minute")
			}
		}
		require.LessOrEqual(t, len(l.sent), limitMax)
	}
	assert.Equal(t, 20, limitMax)
}

func TestForcedLimitBoundaries(t *testing.T) {
	var l ForcedLimit
	start := time.Now()
	assert.True(t, l.Allowed(start))
	l.Count(start)
	assert.False(t, l.Allowed(start.Add(30*time.Second-1)))
	assert.True(t, l.Allowed(start.Add(30*time.Second)))

	now := start
	for range 19 {
		now = now.Add(time.Minute)
		require.True(t, l.Allowed(now))
		l.Count(now)
	}
	assert.False(t, l.Allowed(start.Add(time.Hour)), "20 within a day")
	assert.False(t, l.Allowed(start.Add(24*time.Hour-1)))
	assert.True(t, l.Allowed(start.Add(24*time.Hour)))
	l.Count(start.Add(24 * time.Hour))
	assert.False(t, l.Allowed(start.Add(24*time.Hour+59*time.Second)), "the next one is a minute younger")
	assert.True(t, l.Allowed(start.Add(24*time.Hour+time.Minute)))
}

// However many forced fetches are wanted: 20 in a day, 30 seconds apart, and no fewer than these limits allow. Those
// that are sent in spite of a limit count too.
func TestForcedLimitProperty(t *testing.T) {
	for range 200 {
		var l ForcedLimit
		var sent []time.Time
		now := time.Now()
		interval := time.Second << rand.N(14) // up to five hours
		for range 200 {
			now = now.Add(rand.N(interval))
			n := len(sent)
			want := n == 0 || now.Sub(sent[n-1]) >= 30*time.Second && (n < 20 || now.Sub(sent[n-20]) >= 24*time.Hour)
			if got := l.Allowed(now); got != want {
				require.FailNow(t, "allowed", "got %v after %v", got, sent)
			}
			if want || rand.N(50) == 0 {
				l.Count(now)
				sent = append(sent, now)
			}
		}
		require.LessOrEqual(t, len(l.sent), forcedPerDay)
	}
}

func TestLimitError(t *testing.T) {
	cause := errors.New("errcode 40125")
	err := error(&LimitError{Wait: 4999*time.Millisecond + 600*time.Microsecond, Last: cause})
	require.EqualError(t, err,
		"wechatuser: no more token requests for now (20 a minute at most), the next one in 5s: errcode 40125")
	require.ErrorIs(t, err, cause)

	err = &LimitError{Wait: 1500 * time.Millisecond}
	require.EqualError(t, err, "wechatuser: no more token requests for now (20 a minute at most), the next one in 1.5s")
	assert.NoError(t, errors.Unwrap(err))
}

func TestLastingFailureIsRememberedForGrowingTimes(t *testing.T) {
	var f lastingFailure
	now := time.Now()
	assert.False(t, f.Active(now))
	for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		err := errors.New(pause.String())
		f.remember(err, now)
		assert.Equal(t, err, f.err, "the last one")
		assert.True(t, f.Active(now.Add(pause-1)))
		now = now.Add(pause)
		assert.False(t, f.Active(now))
	}
}
