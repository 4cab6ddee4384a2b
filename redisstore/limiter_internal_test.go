package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeReserver is a client of a Redis that runs reserveScript on the clock of the test. It has no other commands.
type fakeReserver struct {
	redis.UniversalClient
	mu       sync.Mutex
	next     time.Time // the value of the key
	reserved int
	err      error
}

func (r *fakeReserver) EvalSha(ctx context.Context, sha string, _ []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		cmd.SetErr(r.err)
	case sha != reserveScript.Hash():
		cmd.SetErr(errors.New("unknown script"))
	default:
		interval := time.Duration(args[0].(int64)) * time.Microsecond
		tolerance := time.Duration(args[1].(int64)) * time.Microsecond
		slot, now := r.next, time.Now()
		if slot.Before(now) {
			slot = now
		}
		r.next = slot.Add(interval)
		r.reserved++
		cmd.SetVal(max(slot.Add(-tolerance).Sub(now), 0).Microseconds())
	}
	return cmd
}

func limiterOn(t *testing.T, rdb redis.UniversalClient, limit Limit, opts ...Option) *Limiter {
	t.Helper()
	l, err := NewLimiter(rdb, "limit", limit, opts...)
	require.NoError(t, err)
	return l
}

func TestProcessesShareTheLimitEvenly(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		const processes, perMinute = 8, 600
		rdb := &fakeReserver{}
		var taken [processes]atomic.Int32
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Nanosecond)
		defer cancel()
		for i := range taken {
			l := limiterOn(t, rdb, PerMinute(perMinute))
			for range 1 + 10*i {
				wg.Go(func() {
					for l.Wait(ctx) == nil {
						taken[i].Add(1)
					}
				})
			}
		}
		wg.Wait()
		sum := 0
		for i := range taken {
			sum += int(taken[i].Load())
			assert.InDelta(t, perMinute/processes, taken[i].Load(), 1, "calls of the process with %d callers", 1+10*i)
		}
		assert.Equal(t, perMinute, sum)
	})
}

func TestSlotOfCallerWhoGaveUpIsReused(t *testing.T) {
	for name, timeout := range map[string]time.Duration{
		"deadline before the slot": time.Millisecond,
		"cancelled while waiting":  0,
	} {
		t.Run(name, func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				rdb := &fakeReserver{}
				l := limiterOn(t, rdb, Limit{Calls: 1, Per: 3 * time.Second})
				start := time.Now()
				require.NoError(t, l.Wait(t.Context()))
				for range 50 {
					ctx, cancel := context.WithCancel(t.Context())
					if timeout > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), timeout)
					} else {
						time.AfterFunc(time.Millisecond, cancel)
					}
					require.Error(t, l.Wait(ctx))
					cancel()
				}
				require.NoError(t, l.Wait(t.Context()))
				assert.Equal(t, 3*time.Second, time.Since(start))
				assert.Equal(t, 2, rdb.reserved)
			})
		})
	}
}

func TestLimiterWithoutRedisKeepsToTheLimitAlone(t *testing.T) {
	for _, burst := range []int{1, 4} {
		t.Run(fmt.Sprintf("burst of %d", burst), func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				rdb := &fakeReserver{err: errors.New("connection refused")}
				l := limiterOn(t, rdb, Limit{Calls: 20, Per: time.Second, Burst: burst})
				start := time.Now()
				for range 21 {
					require.NoError(t, l.Wait(t.Context()))
				}
				assert.Equal(t, time.Duration(21-burst)*50*time.Millisecond, time.Since(start))
			})
		})
	}
}
