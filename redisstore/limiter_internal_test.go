package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeReserver is a client of a Redis that runs reserveScript on the clock of the test. It has no other commands.
type fakeReserver struct {
	redis.UniversalClient
	delay time.Duration // of each round trip

	mu       sync.Mutex
	next     time.Time // the value of the key
	reserved int
	trips    int
	err      error
}

func (r *fakeReserver) PoolStats() *redis.PoolStats { return &redis.PoolStats{} }

func (r *fakeReserver) EvalSha(ctx context.Context, sha string, _ []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	time.Sleep(r.delay / 2)
	defer time.Sleep(r.delay / 2)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		cmd.SetErr(r.err)
	case sha != reserveScript.Hash():
		cmd.SetErr(errors.New("unknown script"))
	default:
		interval, n := time.Duration(args[0].(int64))*time.Microsecond, args[1].(int)
		place, now := latest(r.next, time.Now()), time.Now()
		r.next = place.Add(time.Duration(n) * interval)
		r.reserved += n
		r.trips++
		cmd.SetVal(place.Sub(now).Microseconds())
	}
	return cmd
}

// counts returns the number of reserved places, and of round trips.
func (r *fakeReserver) counts() (reserved, trips int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reserved, r.trips
}

func (r *fakeReserver) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
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
			l := limiterOn(t, rdb, PerMinute(perMinute), WithMargin(0))
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

func TestPlaceOfCallerWhoGaveUpIsReused(t *testing.T) {
	for name, timeout := range map[string]time.Duration{
		"deadline before the place": time.Millisecond,
		"canceled while waiting":    0,
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
				reserved, _ := rdb.counts()
				assert.Equal(t, 2, reserved)
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

// callers are goroutines that wait for limiters with short deadlines, call after call. A call takes a while, and
// succeeds if its deadline allows.
type callers struct {
	limiter  *Limiter
	n        int
	patience time.Duration // 0 for no deadline
	call     time.Duration

	sent, succeeded atomic.Int32
}

func (c *callers) run(ctx context.Context, wg *sync.WaitGroup) {
	for i := range c.n {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 7 * time.Millisecond)
			for ctx.Err() == nil {
				c.once(ctx)
			}
		})
	}
}

func (c *callers) once(ctx context.Context) {
	start := time.Now()
	if c.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	if c.limiter.Wait(ctx) != nil {
		time.Sleep(max(c.patience-time.Since(start), time.Millisecond)) // the caller's next request
		return
	}
	c.sent.Add(1)
	select {
	case <-time.After(c.call):
		c.succeeded.Add(1)
	case <-ctx.Done():
	}
}

// runCallers runs callers for a while.
func runCallers(t *testing.T, d time.Duration, all ...*callers) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range all {
		c.run(ctx, &wg)
	}
	wg.Wait()
}

func TestCallersWithShortDeadlinesUseAllPlaces(t *testing.T) {
	for name, test := range map[string]struct {
		callers, perMinute, processes int
		round                         time.Duration
	}{
		"20 callers, 60 a minute":                  {20, 60, 1, time.Millisecond},
		"20 callers, 60 a minute, slow Redis":      {20, 60, 1, 200 * time.Millisecond},
		"100 callers, 600 a minute":                {100, 600, 1, time.Millisecond},
		"100 callers, 600 a minute, slow Redis":    {100, 600, 1, 100 * time.Millisecond},
		"8 processes with 25, 600 a minute":        {25, 600, 8, time.Millisecond},
		"8 processes with 25, 600, slow Redis":     {25, 600, 8, 60 * time.Millisecond},
		"8 processes with 25 callers, 60 a minute": {25, 60, 8, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				rdb := &fakeReserver{delay: test.round}
				all := make([]*callers, test.processes)
				for i := range all {
					all[i] = &callers{
						limiter: limiterOn(t, rdb, PerMinute(test.perMinute)), n: test.callers,
						patience: 300 * time.Millisecond, call: 50 * time.Millisecond,
					}
				}
				runCallers(t, time.Minute, all...)
				var sent, succeeded int
				for _, c := range all {
					sent += int(c.sent.Load())
					succeeded += int(c.succeeded.Load())
				}
				reserved, _ := rdb.counts()
				t.Logf("%d sent, %d succeeded, %d reserved", sent, succeeded, reserved)
				assert.LessOrEqual(t, test.perMinute-sent, test.processes, "each process may hold one place at the end")
				assert.LessOrEqual(t, sent, test.perMinute+test.processes)
				assert.LessOrEqual(t, sent-succeeded, test.processes, "those that the end of the test cuts off")
			})
		})
	}
}

func TestCallersWithShortDeadlinesTakeNothingFromOthers(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		rdb := &fakeReserver{delay: time.Millisecond}
		const processes, perMinute = 8, 600
		all := make([]*callers, processes)
		for i := range all {
			all[i] = &callers{limiter: limiterOn(t, rdb, PerMinute(perMinute)), n: 10, call: 50 * time.Millisecond}
			if i < 2 {
				all[i].patience = 300 * time.Millisecond
			}
		}
		runCallers(t, time.Minute, all...)
		sum := 0
		for i, c := range all {
			sum += int(c.sent.Load())
			assert.InDelta(t, perMinute/processes, c.sent.Load(), 3, "process %d", i)
		}
		assert.InDelta(t, perMinute, sum, processes)
	})
}

// What one process can send does not depend on the time of a round trip.
func TestOneProcessReachesTheLimitWithSlowRedis(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		rdb := &fakeReserver{delay: 50 * time.Millisecond}
		c := &callers{limiter: limiterOn(t, rdb, PerMinute(6000)), n: 200, call: 20 * time.Millisecond}
		runCallers(t, time.Minute, c)
		assert.InDelta(t, 6000, c.sent.Load(), 100)
		reserved, trips := rdb.counts()
		assert.LessOrEqual(t, reserved-int(c.sent.Load()), maxPlaces)
		assert.Less(t, trips, 1500, "round trips")
	})
}

// A place is used late only by the next caller, and not for ever.
func TestPlaceIsKeptForTheNextCallerForAWhile(t *testing.T) {
	for name, test := range map[string]struct {
		late time.Duration
		want int // reservations
	}{
		"within the time": {time.Second, 2},
		"later":           {time.Second + time.Millisecond, 3},
	} {
		t.Run(name, func(t *testing.T) {
			withFakeClock(t, func(t *testing.T) {
				rdb := &fakeReserver{}
				l := limiterOn(t, rdb, PerMinute(60))
				require.NoError(t, l.Wait(t.Context()))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				start := time.Now()
				require.ErrorIs(t, l.Wait(ctx), context.DeadlineExceeded)
				assert.Zero(t, time.Since(start), "it fails at once")
				time.Sleep(time.Second + test.late)
				require.NoError(t, l.Wait(t.Context()))
				reserved, _ := rdb.counts()
				assert.Equal(t, test.want, reserved)
			})
		})
	}
}

func TestReservationOfCallerWhoLeftIsUsed(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		rdb := &fakeReserver{delay: 100 * time.Millisecond}
		l := limiterOn(t, rdb, PerMinute(600))
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			require.ErrorIs(t, l.Wait(ctx), context.DeadlineExceeded)
			cancel()
		}
		require.NoError(t, l.Wait(t.Context()))
		reserved, _ := rdb.counts()
		assert.Equal(t, 1, reserved)
	})
}

func TestMargin(t *testing.T) {
	for _, test := range []struct {
		margin, patience time.Duration
		allowed          bool
	}{
		{200 * time.Millisecond, 1200 * time.Millisecond, true},
		{200 * time.Millisecond, 1199 * time.Millisecond, false},
		{time.Hour, 2 * time.Second, true}, // half of the time is the margin
		{time.Hour, 2*time.Second - time.Millisecond, false},
		{0, time.Second + time.Millisecond, true},
	} {
		withFakeClock(t, func(t *testing.T) {
			l := limiterOn(t, &fakeReserver{}, PerMinute(60), WithMargin(test.margin))
			require.NoError(t, l.Wait(t.Context()))
			ctx, cancel := context.WithTimeout(t.Context(), test.patience)
			defer cancel()
			assert.Equal(t, test.allowed, l.Wait(ctx) == nil, "%+v", test)
		})
	}
}

func TestFallbackShare(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		rdb := &fakeReserver{err: errors.New("connection refused")}
		var all []*callers
		for range 5 {
			l := limiterOn(t, rdb, PerMinute(600), WithFallbackShare(5))
			all = append(all, &callers{limiter: l, n: 20})
		}
		runCallers(t, time.Minute, all...)
		sum := 0
		for _, c := range all {
			assert.InDelta(t, 120, c.sent.Load(), 1)
			sum += int(c.sent.Load())
		}
		assert.InDelta(t, 600, sum, 5)
	})
}

// When Redis fails, the limiter goes on from its last place: no call comes early.
func TestLimiterThatLosesRedisGoesOnFromItsLastPlace(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		rdb := &fakeReserver{}
		l := limiterOn(t, rdb, PerMinute(60))
		require.NoError(t, l.Wait(t.Context()))
		rdb.fail(errors.New("connection refused"))
		start := time.Now()
		require.NoError(t, l.Wait(t.Context()))
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestOneWarningAMinute(t *testing.T) {
	withFakeClock(t, func(t *testing.T) {
		var log bytes.Buffer
		rdb := &fakeReserver{}
		l := limiterOn(t, rdb, PerMinute(600), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		warnings := func() int { synctest.Wait(); return strings.Count(log.String(), "level=WARN") }
		for i := range 4 * 50 { // Redis fails and responds again, every few seconds
			rdb.fail(nil)
			if i%2 == 0 {
				rdb.fail(errors.New("connection refused"))
			}
			require.NoError(t, l.Wait(t.Context()))
			time.Sleep(time.Second + 200*time.Millisecond)
		}
		assert.Equal(t, 4, warnings(), "in four minutes:\n%s", &log)
		assert.Contains(t, log.String(), "failures=1 ")
		assert.Regexp(t, `failures=2\d `, log.String())
		assert.LessOrEqual(t, strings.Count(log.String(), "uses Redis again"), 4)
	})
}
