package bulk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

func TestCleanJobNeedsACallForEachChunk(t *testing.T) {
	for _, size := range []int{1, 4, 50} {
		for _, n := range []int{0, 1, size - 1, size, size + 1, 3*size - 1, 4 * size} {
			for _, concurrency := range []int{1, 3} {
				a := new(api)
				j := a.job(size, concurrency)
				require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(n), nil)))
				assert.Len(t, a.calls, (n+size-1)/size, "%d in chunks of %d", n, size)
				assert.Len(t, a.delivered, n)
				for i, item := range a.delivered {
					id := fmt.Sprint("id", i)
					assert.Equal(t, Item[string]{ID: id, Status: Done, Result: "result of " + id}, item)
				}
				if n > 0 {
					assert.Equal(t, ids(n)[n-1], j.Cursor())
					assert.Equal(t, progress{n, ids(n)[n-1]}, a.progress[len(a.progress)-1])
				} else {
					assert.Empty(t, j.Cursor())
					assert.Empty(t, a.progress)
				}
			}
		}
	}
}

func TestItemsAreDeliveredInInputOrder(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			a := &api{send: func(context.Context, []string) error {
				time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
				return nil
			}}
			all := ids(100)
			for range 10 {
				all[rng.IntN(100)] = ""
			}
			require.NoError(t, a.job(3, 1+rng.IntN(8)).Run(t.Context(), seq.ListThen(all, nil)))
			assert.Equal(t, all, a.deliveredIDs())
		})
	}
}

func TestInvalidItemsAreNotSent(t *testing.T) {
	a := new(api)
	j := a.job(2, 1)
	require.NoError(t, j.Run(t.Context(), seq.ListThen([]string{"", "a", "b c", "b", "", "c", " "}, nil)))
	assert.Equal(t, [][]string{{"a", "b"}, {"c"}}, a.calls, "they take no room in a chunk")
	assert.Equal(t, []outcome{
		{"", Invalid, errInvalid},
		{"a", Done, nil},
		{"b c", Invalid, errInvalid},
		{"b", Done, nil},
		{"", Invalid, errInvalid},
		{"c", Done, nil},
		{" ", Invalid, errInvalid},
	}, a.outcomes())
	assert.Equal(t, "c", j.Cursor())
	assert.Equal(t, []progress{{4, "b"}, {7, "c"}}, a.progress, "they are done")

	a = new(api)
	j = a.job(2, 1)
	require.NoError(t, j.Run(t.Context(), seq.ListThen(make([]string, 100), nil)))
	assert.Empty(t, a.calls)
	assert.Len(t, a.delivered, 100)
	assert.Empty(t, j.Cursor())
	assert.Len(t, a.progress, 4, "a chunk has a bounded number of items")
}

func TestEqualIDsInFlightAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{send: func(ctx context.Context, ids []string) error {
			time.Sleep(time.Second)
			return rejects("b")(ctx, ids)
		}}
		in := []string{"a", "b", "a", "b", "c", "a", "d", "b", "e", "a", "a", "b"}
		require.NoError(t, a.job(2, 4).Run(t.Context(), seq.ListThen(in, nil)))
		assert.Equal(t, in, a.deliveredIDs(), "each of them is delivered")
		for _, item := range a.delivered {
			want := Done
			if item.ID == "b" {
				want = Rejected
			}
			assert.Equal(t, want, item.Status, item.ID)
		}
		assert.Empty(t, a.twice)
		assert.ElementsMatch(t, [][]string{{"a", "b"}, {"a"}, {"b"}, {"c", "d"}, {"e"}}, a.calls)
	})
}

func TestIDsThatWereDeliveredAreSentAgain(t *testing.T) {
	a := new(api)
	require.NoError(t, a.job(2, 1).Run(t.Context(), seq.ListThen(append(ids(20), "id0"), nil)))
	assert.Len(t, a.calls, 11)
	assert.Equal(t, []string{"id0"}, a.calls[10], "a job does not remember them")
}

// An input that repeats itself does not fill the memory, and does not keep its first items waiting.
func TestChunksOfRepeatedIDsAreBounded(t *testing.T) {
	a := new(api)
	require.NoError(t, a.job(3, 1).Run(t.Context(), seq.ListThen(slices.Repeat(ids(2), 100), nil)))
	assert.Len(t, a.delivered, 200)
	for _, call := range a.calls { // where a chunk begins is a matter of timing
		assert.ElementsMatch(t, ids(2), call)
	}
	assert.Equal(t, progress{3 * spareItems, "id1"}, a.progress[0])
	for i, p := range a.progress[1:] {
		assert.LessOrEqual(t, p.done-a.progress[i].done, 3*spareItems)
	}
}

func TestConcurrencyIsReachedAndNotExceeded(t *testing.T) {
	for _, tt := range []struct{ concurrency, chunks, want int }{
		{1, 20, 1}, {2, 20, 2}, {7, 20, 7}, {20, 20, 20}, {1000, 3, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{send: func(context.Context, []string) error {
				time.Sleep(time.Second)
				return nil
			}}
			j := a.job(2, tt.concurrency)
			start := time.Now()
			require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(2*tt.chunks), nil)))
			assert.Equal(t, tt.want, a.most)
			assert.Equal(t, tt.want, j.workers, "no goroutine without work")
			assert.Equal(t, time.Duration((tt.chunks+tt.want-1)/tt.want)*time.Second, time.Since(start))
		})
	}
}

// Behind a slow chunk the others go on, as far as memory is bounded.
func TestInputIsReadAFewChunksAhead(t *testing.T) {
	for _, concurrency := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			read := 0
			in := func(yield func(string, error) bool) {
				for _, id := range ids(1000) {
					if read++; !yield(id, nil) {
						return
					}
				}
			}
			a := new(api)
			a.send = func(_ context.Context, ids []string) error {
				if ids[0] != "id0" {
					return nil
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Equal(t, 2*concurrency*3, read)
				a.mu.Lock()
				defer a.mu.Unlock()
				if concurrency > 1 {
					assert.Len(t, a.calls, 2*concurrency, "all that were read")
				} else {
					assert.Len(t, a.calls, 1)
				}
				return nil
			}
			require.NoError(t, a.job(3, concurrency).Run(t.Context(), in))
			assert.Len(t, a.delivered, 1000)
		})
	}
}

// What is done is delivered with the next item of the input, however slow that is.
func TestDoneItemsDoNotWaitForTheInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(api)
		in := func(yield func(string, error) bool) {
			for i, id := range ids(9) {
				time.Sleep(time.Second)
				assert.Len(t, a.delivered, max(0, i-1)/3*3)
				if !yield(id, nil) {
					return
				}
			}
		}
		require.NoError(t, a.job(3, 2).Run(t.Context(), in))
		assert.Len(t, a.delivered, 9)
	})
}

func TestCursorIsBeforeTheFirstGap(t *testing.T) {
	unknown := Verdict{Unknown: true}
	for name, tt := range map[string]struct {
		input    []string
		stopAt   string
		verdict  Verdict
		cursor   string
		progress []progress
	}{
		"a chunk that is pending": {ids(6), "id2", Verdict{}, "id1", []progress{{2, "id1"}}},
		"a chunk that is unknown": {ids(6), "id2", unknown, "id1", []progress{{2, "id1"}, {4, "id1"}}},
		"the first chunk":         {ids(6), "id0", Verdict{}, "", nil},
		"the first, unknown":      {ids(6), "id0", unknown, "", []progress{{2, ""}}},
		"invalid before the gap": {
			[]string{"id0", "id1", "", "id2", "id3"}, "id2", Verdict{}, "id1", []progress{{2, "id1"}, {3, "id1"}},
		},
		"rejected before the gap": {[]string{"id0", "bad", "id2"}, "id2", Verdict{}, "bad", []progress{{2, "bad"}}},
		"an item again after the gap": {
			[]string{"id0", "id1", "id2", "id0", "id3"}, "id2", Verdict{}, "id1", []progress{{2, "id1"}, {3, "id1"}},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{send: func(ctx context.Context, ids []string) error {
				time.Sleep(time.Second)
				if slices.Contains(ids, tt.stopAt) {
					return fail("stop", tt.verdict)
				}
				return rejects("bad")(ctx, ids)
			}}
			j := a.job(2, 1)
			assert.EqualError(t, j.Run(t.Context(), seq.ListThen(tt.input, nil)), "stop", name)
			assert.Equal(t, tt.cursor, j.Cursor(), name)
			assert.Equal(t, tt.progress, a.progress, name)
		})
	}
}

// Chunks after a gap that are done move no cursor: going on after it is what fills the gap.
func TestCursorStaysAtAGapThoughLaterChunksAreDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{send: func(_ context.Context, ids []string) error {
			if ids[0] == "id2" {
				time.Sleep(time.Minute)
				return fail("stop", Verdict{})
			}
			return nil
		}}
		j := a.job(2, 2)
		require.Error(t, j.Run(t.Context(), seq.ListThen(ids(8), nil)))
		assert.Equal(t, []Status{Done, Done, Pending, Pending, Done, Done, Done, Done}, a.statuses())
		assert.Equal(t, "id1", j.Cursor())
		assert.Equal(t, []progress{{2, "id1"}, {4, "id1"}, {6, "id1"}}, a.progress)
	})
}

func TestHoldHoldsAllCallsOfAllJobsOnTheGate(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		var (
			gate    Gate
			mu      sync.Mutex
			began   = make(map[time.Duration]int) // calls of both jobs
			running sync.WaitGroup
			jobs    [2]api
		)
		for i := range jobs {
			jobs[i].send = func(_ context.Context, ids []string) error {
				mu.Lock()
				began[elapsed()]++
				mu.Unlock()
				if i == 0 && ids[0] == "id15" && elapsed() < time.Minute {
					time.Sleep(time.Millisecond) // so that all others of that second have begun
					return fail("wait", Verdict{Action: Hold, After: time.Minute})
				}
				time.Sleep(time.Second)
				return nil
			}
			j := jobs[i].job(1, 3)
			j.Gate = &gate
			running.Go(func() { assert.NoError(t, j.Run(t.Context(), seq.ListThen(ids(30), nil))) })
		}
		running.Wait()
		want := make(map[time.Duration]int)
		for second := range 6 {
			want[time.Duration(second)*time.Second] = 6 // the last of them with the call that is told to wait
		}
		const over = 65*time.Second + time.Millisecond
		for second := range 4 {
			want[over+time.Duration(second)*time.Second] = 6
		}
		want[over+4*time.Second] = 1 // the one that was held
		assert.Equal(t, want, began, "none in the minute between")
		for i := range jobs {
			assert.Equal(t, ids(30), jobs[i].deliveredIDs())
		}
	})
}

func TestHoldBeyondTheDeadlineStopsTheJob(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a := &api{send: scripted(Verdict{Action: Hold, After: time.Minute})}
		err := a.job(2, 1).Run(ctx, seq.ListThen(ids(2), nil))
		assert.EqualError(t, err, "context deadline exceeded before the next call may be made: failure 1")
		assert.Zero(t, elapsed())
		assert.Equal(t, []Status{Pending, Pending}, a.statuses())
	})
}

// After a stop no call begins, and those under way are left alone.
func TestStopWaitsForTheCallsUnderWay(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		stop := fail("stop", Verdict{})
		a := new(api)
		a.send = func(ctx context.Context, ids []string) error {
			if ids[0] == "id2" {
				time.Sleep(time.Second)
				return stop
			}
			select {
			case <-time.After(5 * time.Second):
				return rejects("id1", "id5")(ctx, ids)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		j := a.job(2, 3)
		assert.Equal(t, stop, j.Run(t.Context(), seq.ListThen(ids(20), nil)))
		assert.ElementsMatch(t, [][]string{{"id0", "id1"}, {"id2", "id3"}, {"id4", "id5"}}, a.calls,
			"no bisection either")
		assert.Equal(t, 5*time.Second, elapsed())
		for _, item := range a.delivered {
			assert.Equal(t, Pending, item.Status, item.ID)
			assert.NoError(t, item.Err)
		}
	})
}

func TestCallsUnderWayAtAStopCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{send: func(_ context.Context, ids []string) error {
			time.Sleep(time.Second)
			if ids[0] == "id2" {
				return fail("stop", Verdict{})
			}
			time.Sleep(time.Second)
			return nil
		}}
		j := a.job(2, 3)
		assert.EqualError(t, j.Run(t.Context(), seq.ListThen(ids(100), nil)), "stop")
		assert.Len(t, a.calls, 3)
		assert.Equal(t, []Status{Done, Done, Pending, Pending, Done, Done}, a.statuses()[:6])
		assert.Equal(t, "id1", j.Cursor())
		assert.LessOrEqual(t, len(a.delivered), 14, "the input is left alone after the stop")
	})
}

func TestFirstReasonToStopWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := Verdict{Unknown: true}
		a := &api{send: func(_ context.Context, ids []string) error {
			switch ids[0] {
			case "id0":
				time.Sleep(3 * time.Second)
				return fail("third", unknown)
			case "id1":
				time.Sleep(time.Second)
				return fail("first", unknown)
			default:
				time.Sleep(2 * time.Second)
				return fail("second", Verdict{Action: Hold, After: time.Hour, MayBeApplied: true})
			}
		}}
		err := a.job(1, 3).Run(t.Context(), seq.ListThen(ids(3), nil))
		assert.EqualError(t, err, "first")
		assert.EqualError(t, a.delivered[0].Err, "third", "the outcome of a call is its own")
		assert.EqualError(t, a.delivered[1].Err, "first")
		assert.Equal(t, outcome{"id2", Unknown, err}, a.outcomes()[2], "the stop is why its outcome is not known")
	})
}

func TestStopEndsWaits(t *testing.T) {
	for name, v := range map[string]Verdict{
		"a hold":  {Action: Hold, After: time.Hour},
		"a delay": {Action: Retry, Exhausted: Split},
	} {
		withClock(t, func(t *testing.T, elapsed func() time.Duration) {
			a := &api{send: func(_ context.Context, ids []string) error {
				if ids[0] == "id0" {
					return fail("wait", v)
				}
				time.Sleep(time.Second)
				return fail("stop", Verdict{})
			}}
			j := a.job(1, 2)
			j.Gate = &Gate{MaxRetries: 1, Delay: func(int) time.Duration { return time.Hour }}
			// The second call is under way before the first is held.
			first := j.Send
			j.Send = func(ctx, stopped context.Context, items []*Item[string]) error {
				time.Sleep(time.Millisecond)
				return first(ctx, stopped, items)
			}
			assert.EqualError(t, j.Run(t.Context(), seq.ListThen(ids(2), nil)), "stop", name)
			assert.Less(t, elapsed(), 2*time.Second, name)
			assert.Len(t, a.calls, 2, name)
			assert.Equal(t, []Status{Pending, Pending}, a.statuses(), name)
		})
	}
}

func TestClassifySeesThatTheJobWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{send: func(ctx context.Context, ids []string) error {
			time.Sleep(time.Second)
			if ids[0] == "id1" {
				time.Sleep(time.Second)
			}
			assert.NoError(t, ctx.Err(), "the call itself goes on")
			return errors.New(ids[0])
		}}
		j := a.job(1, 2)
		j.Classify = func(ctx context.Context, err error) Verdict {
			assert.Equal(t, err.Error() == "id1", ctx.Err() != nil, "%v", err)
			return Verdict{}
		}
		assert.EqualError(t, j.Run(t.Context(), seq.ListThen(ids(2), nil)), "id0")
		assert.Len(t, a.calls, 2)
	})
}

func TestInputThatFails(t *testing.T) {
	gone := errors.New("the database is gone")
	for _, n := range []int{0, 1, 3, 4, 7} {
		a := new(api)
		j := a.job(3, 2)
		assert.Same(t, gone, j.Run(t.Context(), seq.ListThen(ids(n), gone)))
		assert.Equal(t, slices.Repeat([]Status{Done}, n), append([]Status{}, a.statuses()...),
			"the items before are done")
		if n > 0 {
			assert.Equal(t, ids(n)[n-1], j.Cursor())
		}
	}

	asked := 0
	in := func(yield func(string, error) bool) {
		for asked = 1; yield("", gone); asked++ {
		}
	}
	assert.Same(t, gone, new(api).job(3, 2).Run(t.Context(), in))
	assert.Equal(t, 1, asked, "no item is taken after an error")

	// An error of the input is not lost when the job fails too. One of a context need not be that of the job's.
	for _, inputErr := range []error{gone, context.DeadlineExceeded} {
		a := &api{send: scripted(Verdict{})}
		err := a.job(3, 2).Run(t.Context(), seq.ListThen(ids(2), inputErr))
		assert.EqualError(t, err, "failure 1; and the input: "+inputErr.Error())
		assert.ErrorIs(t, err, inputErr)
	}
}

func TestJobEndsWithItsContext(t *testing.T) {
	shutdown := errors.New("shutting down")
	waits := func(ctx context.Context, _ []string) error {
		<-ctx.Done()
		return fail("canceled", Verdict{Unknown: true})
	}
	// run cancels the context as soon as n items were read, and everything waits.
	run := func(t *testing.T, a *api, n int, in func(context.Context) iter.Seq2[string, error]) (*Job[string], error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		j := a.job(2, 2)
		if n == 0 {
			cancel(shutdown)
		} else {
			go func() {
				synctest.Wait()
				cancel(shutdown)
			}()
		}
		return j, j.Run(ctx, in(ctx))
	}
	plain := func(context.Context) iter.Seq2[string, error] { return seq.ListThen(ids(20), nil) }
	// An input that itself ends with the context.
	watching := func(ctx context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, id := range ids(3) {
				if !yield(id, nil) {
					return
				}
			}
			<-ctx.Done()
			synctest.Wait() // for the contexts made from it
			yield("", ctx.Err())
		}
	}

	t.Run("before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := new(api)
			_, err := run(t, a, 0, plain)
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, shutdown)
			assert.Empty(t, a.calls)
			assert.Empty(t, a.delivered)
		})
	})
	t.Run("before, with an empty input", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := run(t, new(api), 0, func(context.Context) iter.Seq2[string, error] {
				return seq.ListThen(nil, nil)
			})
			assert.NoError(t, err, "nothing was left undone")
		})
	})
	t.Run("while calls are under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &api{send: waits}
			j, err := run(t, a, 1, plain)
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, shutdown)
			assert.NotErrorIs(t, err, a.delivered[0].Err, "the context is the reason, not the call that it ended")
			assert.Equal(t, []Status{Unknown, Unknown, Unknown, Unknown, Pending, Pending, Pending, Pending},
				a.statuses())
			assert.Len(t, a.calls, 2)
			assert.Empty(t, j.Cursor())
		})
	})
	t.Run("while the input waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := new(api)
			_, err := run(t, a, 1, watching)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, []Status{Done, Done, Pending}, a.statuses())
			assert.EqualError(t, err, "context canceled: shutting down", "not twice")
		})
	})
	t.Run("while the input fails", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &api{send: waits}
		err := a.job(2, 2).Run(ctx, func(yield func(string, error) bool) {
			_ = yield("id0", nil)
			cancel()
			yield("", errBroken)
		})
		assert.EqualError(t, err, "context canceled; and the input: broken")
		assert.ErrorIs(t, err, errBroken)
	})
	t.Run("after the last item", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := new(api)
		j := a.job(2, 2)
		j.Deliver = func(item *Item[string]) bool {
			if item.ID == "id3" {
				cancel()
			}
			return true
		}
		assert.NoError(t, j.Run(ctx, seq.ListThen(ids(4), nil)), "all is done")
		assert.Equal(t, "id3", j.Cursor())
	})
}

// A call can return before the end of its context has reached the contexts made from it.
func TestErrorsAfterTheEndOfTheContextAreNotTheReason(t *testing.T) {
	j := new(api).job(2, 2)
	j.stopped, j.cancel = context.WithCancel(t.Context())
	defer j.cancel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, errBroken, j.stop(ctx, errBroken), "why an item of the call has no outcome")
	assert.Equal(t, context.Canceled, j.stopReason(ctx))
	assert.Error(t, j.stopped.Err(), "no call begins in between")
}

func TestDeliverEndsTheJobAtOnce(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		send := func(ctx context.Context, ids []string) error {
			if ids[0] == "id0" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		for _, n := range []int{4, 1000} { // in the loop over the input, and after it
			a := &api{send: send}
			j := a.job(2, 3)
			var got []string
			j.Deliver = func(item *Item[string]) bool {
				got = append(got, item.ID)
				return len(got) < 2
			}
			assert.NoError(t, j.Run(t.Context(), seq.ListThen(ids(n), nil)), "the caller knows")
			synctest.Wait()
			assert.Equal(t, ids(2), got)
			assert.Zero(t, a.running, "calls under way were canceled, and waited for")
			assert.LessOrEqual(t, len(a.calls), 1+3, "no other than the first, and those under way")
			assert.Empty(t, a.progress)
		}
		assert.Zero(t, elapsed())
	})
}

func TestDeliverOfAStoppedJobEndsIt(t *testing.T) {
	a := &api{send: scripted(Verdict{Action: Split}, Verdict{Action: Split}, Verdict{}, Verdict{})}
	j := a.job(4, 1)
	delivered := 0
	j.Deliver = func(item *Item[string]) bool {
		delivered++
		return item.Status != Pending
	}
	assert.EqualError(t, j.Run(t.Context(), seq.ListThen(ids(8), nil)), "failure 3", "the reason is not lost")
	assert.Equal(t, 1, delivered)
}

func TestPanicsLeaveNothingRunning(t *testing.T) {
	for _, where := range []string{"input", "Deliver", "Progress", "Validate"} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{send: func(ctx context.Context, ids []string) error {
				if ids[0] == "id0" {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}}
			j := a.job(2, 3)
			in := seq.ListThen(ids(100), nil)
			switch where {
			case "input":
				in = func(yield func(string, error) bool) {
					for _, id := range ids(8) {
						yield(id, nil)
					}
					panic(where)
				}
			case "Deliver":
				j.Deliver = func(*Item[string]) bool { panic(where) }
			case "Progress":
				j.Progress = func(int, string) { panic(where) }
			case "Validate":
				j.Validate = func(id string) error {
					if id == "id9" {
						panic(where)
					}
					return nil
				}
			}
			assert.PanicsWithValue(t, where, func() { _ = j.Run(t.Context(), in) })
			assert.Zero(t, a.running, where)
			// The bubble of the test fails if a goroutine is left.
		})
	}
}

// The caller's goroutine runs all that is not a call.
func TestCallbacksRunInTheCallersGoroutine(t *testing.T) {
	caller, calls := goroutine(), make(chan string, 100)
	a := &api{send: func(context.Context, []string) error {
		calls <- goroutine()
		return nil
	}}
	j := a.job(2, 3)
	check := func(what string) { assert.Equal(t, caller, goroutine(), what) }
	j.Validate = func(string) error { check("Validate"); return nil }
	j.Deliver = func(*Item[string]) bool { check("Deliver"); return true }
	j.Progress = func(int, string) { check("Progress") }
	require.NoError(t, j.Run(t.Context(), func(yield func(string, error) bool) {
		check("the input")
		seq.ListThen(ids(20), nil)(yield)
	}))
	close(calls)
	for g := range calls {
		assert.NotEqual(t, caller, g)
	}
}

// goroutine is the number of the current one.
func goroutine() string {
	buf := make([]byte, 64)
	var number int
	_, _ = fmt.Sscanf(string(buf[:runtime.Stack(buf, false)]), "goroutine %d", &number)
	return fmt.Sprint(number)
}

// A job keeps neither the chunks that it has delivered nor, with an error of theirs, their items. Here no chunk is used
// again, since an ID is in each of them twice.
func TestDeliveredChunksAreForgotten(t *testing.T) {
	const size = 4
	for _, concurrency := range []int{1, 3} {
		a := &api{send: rejects("id2", "id9")}
		j := a.job(size, concurrency)
		var (
			all    []string
			kept   []error
			chunks []weak.Pointer[Item[string]]
			n      int
		)
		for i, id := range ids(10 * size) {
			if all = append(all, id); i%size == 0 {
				all = append(all, id)
			}
		}
		j.Deliver = func(item *Item[string]) bool {
			if item.Err != nil {
				kept = append(kept, item.Err)
			}
			if n%(size+1) == 0 {
				assert.True(t, item.Shared)
				chunks = append(chunks, weak.Make(item))
			}
			n++
			return true
		}
		j.Progress = func(int, string) {
			if len(chunks) > 1 {
				runtime.GC()
				assert.Nil(t, chunks[len(chunks)-2].Value(), "the chunk before the last one")
			}
		}
		require.NoError(t, j.Run(t.Context(), seq.ListThen(all, nil)))
		assert.Len(t, kept, 2)
		assert.Empty(t, j.inFlight)
		assert.Empty(t, j.spare)
	}
}

// The memory of a chunk that was delivered is empty, and used again.
func TestChunksAreUsedAgain(t *testing.T) {
	const size = 4
	for _, concurrency := range []int{1, 3} {
		a := &api{send: rejects("id2", "id9")}
		j := a.job(size, concurrency)
		items := make(map[*Item[string]]bool)
		j.Deliver = func(item *Item[string]) bool {
			items[item] = true
			return true
		}
		j.Progress = func(int, string) {
			for _, c := range j.spare {
				assert.False(t, c.isDone())
				assert.Equal(t, make([]Item[string], size), c.toSend[:size])
				for _, list := range [][]*Item[string]{c.items, c.pending} {
					assert.Empty(t, list)
					assert.Equal(t, make([]*Item[string], cap(list)), list[:cap(list)])
				}
			}
		}
		require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(100*size), nil)))
		assert.LessOrEqual(t, len(items), size*(2*concurrency+1), "as many chunks as the job holds at a time")
	}
}

// An item that a later chunk has too is not used again before that chunk is delivered.
func TestSharedItemsAreNotUsedAgain(t *testing.T) {
	const size = 4
	var all []string
	for i, id := range ids(100 * size) {
		if all = append(all, id); i%3 == 0 {
			all = append(all, all[max(0, len(all)-1-i%(3*size))])
		}
	}
	a := new(api)
	require.NoError(t, a.job(size, 3).Run(t.Context(), seq.ListThen(all, nil)))
	require.Len(t, a.delivered, len(all))
	for i, item := range a.delivered {
		assert.Equal(t, all[i], item.ID)
		assert.Equal(t, Done, item.Status)
		assert.Equal(t, "result of "+item.ID, item.Result)
	}
}

// brokeOff is what the tests make of a call that ended its goroutine.
func brokeOff(_ context.Context, err error) Verdict {
	if errors.Is(err, guard.ErrGoexit) {
		return Verdict{Unknown: true, MayBeApplied: true}
	}
	return classify(context.TODO(), err)
}

// What an earlier call may have applied stays so when a later one ends its goroutine.
func TestGoexitAfterACallThatMayBeApplied(t *testing.T) {
	a := new(api)
	a.send = func(context.Context, []string) error {
		if len(a.calls) == 1 {
			return fail("no response", Verdict{Action: Retry, MayBeApplied: true})
		}
		runtime.Goexit()
		return nil
	}
	j := a.job(1, 1) // classify takes a Goexit for a call that was not sent
	j.Gate = retrying(1)
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, guard.ErrGoexit, j.Run(t.Context(), seq.ListThen(ids(1), nil)))
	})
	assert.Equal(t, []Status{Unknown}, a.statuses())
	assert.True(t, a.delivered[0].MayBeApplied)
}

// A mock may end the goroutine of a call, as t.FailNow does.
func TestCallThatEndsItsGoroutineStopsTheJob(t *testing.T) {
	for _, concurrency := range []int{1, 3} {
		for at := range 7 {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				a := new(api)
				a.send = func(ctx context.Context, ids []string) error {
					a.mu.Lock()
					n++
					mine := n
					a.mu.Unlock()
					if time.Sleep(time.Second); mine == at+1 {
						runtime.Goexit()
					}
					return rejects("id1")(ctx, ids)
				}
				j := a.job(2, concurrency)
				j.Classify = brokeOff
				assert.Equal(t, guard.ErrGoexit, j.Run(t.Context(), seq.ListThen(ids(20), nil)))
				unknown := 0
				for _, item := range a.delivered {
					if item.Status == Unknown {
						unknown++
						assert.Equal(t, guard.ErrGoexit, item.Err)
						assert.True(t, item.MayBeApplied)
					}
				}
				assert.Contains(t, []int{1, 2}, unknown, "the items of that call")
				assert.LessOrEqual(t, len(a.calls), at+2*concurrency)
			})
		}
	}
	// Where it always does, and in a job that only reads.
	a := &api{send: func(context.Context, []string) error {
		runtime.Goexit()
		return nil
	}}
	assert.Equal(t, guard.ErrGoexit, a.job(2, 3).Run(t.Context(), seq.ListThen(ids(20), nil)))
	for _, item := range a.delivered {
		assert.Equal(t, Pending, item.Status)
	}

	j := new(api).job(2, 1)
	j.Send = func(context.Context, context.Context, []*Item[string]) error { return fail("held", Verdict{}) }
	j.Classify = func(ctx context.Context, err error) Verdict {
		if !errors.Is(err, guard.ErrGoexit) {
			runtime.Goexit()
		}
		return Verdict{}
	}
	assert.Equal(t, guard.ErrGoexit, j.Run(t.Context(), seq.ListThen(ids(9), nil)), "in Classify")
}

func TestPanicOfACallIsThatOfRun(t *testing.T) {
	for name, change := range map[string]func(*Job[string]){
		"in Send":     func(*Job[string]) {},
		"in Classify": func(j *Job[string]) { j.Classify = func(context.Context, error) Verdict { panic("lost") } },
	} {
		synctest.Test(t, func(t *testing.T) {
			canceled := 0
			a := new(api)
			a.send = func(ctx context.Context, ids []string) error {
				if ids[0] == "id2" {
					time.Sleep(time.Second)
					if name == "in Send" {
						panic("lost")
					}
					return errBroken
				}
				<-ctx.Done()
				a.mu.Lock()
				defer a.mu.Unlock()
				canceled++
				return nil
			}
			j := a.job(2, 3)
			change(j)
			first := j.Send
			j.Send = func(ctx, stopped context.Context, items []*Item[string]) error {
				if items[0].ID == "id0" {
					return nil // so that its chunk is delivered, and Run comes to the one with the panic
				}
				return first(ctx, stopped, items)
			}
			defer func() {
				p, ok := recover().(*guard.Panic)
				require.True(t, ok, name)
				assert.Equal(t, "lost", p.Value, name)
				assert.Contains(t, string(p.Stack), "TestPanicOfACallIsThatOfRun", name)
				assert.Equal(t, 2, canceled, "%s: the calls under way", name)
				assert.Zero(t, a.running, "%s: none is left", name)
			}()
			_ = j.Run(t.Context(), seq.ListThen(ids(8), nil))
			assert.Fail(t, "no panic")
		})
	}
}

// Whatever ends the goroutine of Run, no other is left.
func TestCallbackThatEndsTheGoroutineOfRun(t *testing.T) {
	for name, change := range map[string]func(*Job[string], func()){
		"Deliver": func(j *Job[string], end func()) {
			j.Deliver = func(*Item[string]) bool {
				end()
				return true
			}
		},
		"Progress": func(j *Job[string], end func()) { j.Progress = func(int, string) { end() } },
		"Validate": func(j *Job[string], end func()) {
			n := 0
			j.Validate = func(string) error {
				if n++; n == 5 {
					end()
				}
				return nil
			}
		},
	} {
		for _, end := range []func(){runtime.Goexit, func() { panic("callback") }} {
			synctest.Test(t, func(t *testing.T) {
				a := &api{send: func(ctx context.Context, ids []string) error {
					if ids[0] != "id0" {
						<-ctx.Done()
					}
					return ctx.Err()
				}}
				j := a.job(2, 3)
				change(j, end)
				done := make(chan any)
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					_ = j.Run(t.Context(), seq.ListThen(ids(20), nil))
				}()
				<-done
				assert.Zero(t, a.running, name)
			})
		}
	}
}
