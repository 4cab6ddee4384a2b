package bulk

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// bisectionCalls is what the bisection of items[lo:hi] costs, after the call with all of them: two calls for the halves
// of each part that has one to blame, but one where the left half turns out to be good, so that the right one is known
// to be bad and needs no call as a whole.
func bisectionCalls(bad func(i int) bool, lo, hi int) int {
	anyBad := func(lo, hi int) bool {
		for i := lo; i < hi; i++ {
			if bad(i) {
				return true
			}
		}
		return false
	}
	if hi-lo < 2 || !anyBad(lo, hi) {
		return 0
	}
	half := lo + (hi-lo)/2
	calls := 2
	if !anyBad(lo, half) && hi-half > 1 {
		calls = 1
	}
	return calls + bisectionCalls(bad, lo, half) + bisectionCalls(bad, half, hi)
}

func ceilLog2(n int) int { return bits.Len(uint(n - 1)) }

// checkBisection runs a job of one chunk, in which some items are bad, and returns how many calls it made.
func checkBisection(t *testing.T, n int, bad func(i int) bool) int {
	t.Helper()
	all := ids(n)
	var badIDs []string
	for i, id := range all {
		if bad(i) {
			badIDs = append(badIDs, id)
		}
	}
	a := &api{send: rejects(badIDs...)}
	j := a.job(n, 1)
	require.NoError(t, j.Run(t.Context(), seq.ListThen(all, nil)))
	require.Len(t, a.delivered, n)
	for i, item := range a.delivered {
		want := Item[string]{ID: all[i], Status: Done, Result: "result of " + all[i]}
		if bad(i) { // with its own error, not that of a call with others
			want = Item[string]{ID: all[i], Status: Rejected, Err: item.Err}
			require.Equal(t, "rejected: "+item.ID, fmt.Sprint(item.Err))
		}
		if item != want {
			require.Equal(t, want, item, "%v of %d", badIDs, n)
		}
	}
	require.Len(t, a.calls, 1+bisectionCalls(bad, 0, n), "%v of %d", badIDs, n)
	if k := len(badIDs); k > 0 {
		require.LessOrEqual(t, len(a.calls), 1+2*k*ceilLog2(n), "%v of %d", badIDs, n)
		require.LessOrEqual(t, len(a.calls), 2*n-1, "%v of %d", badIDs, n)
	}
	return len(a.calls)
}

func TestBisectionFindsEverySetOfBadItems(t *testing.T) {
	for n := 1; n <= 9; n++ {
		worst := 0
		for set := range 1 << n {
			worst = max(worst, checkBisection(t, n, func(i int) bool { return set>>i&1 == 1 }))
		}
		assert.Equal(t, 2*n-1, worst, "where all of %d are bad", n)
	}
}

func TestBisectionFindsOneBadItemAtAnyPosition(t *testing.T) {
	for _, tt := range []struct{ n, extra int }{{1, 0}, {2, 2}, {16, 8}, {20, 10}, {50, 12}, {64, 12}, {100, 14}} {
		worst := 0
		for at := range tt.n {
			worst = max(worst, checkBisection(t, tt.n, func(i int) bool { return i == at }))
		}
		assert.LessOrEqual(t, worst, 1+tt.extra, "%d items", tt.n)
		if tt.n&(tt.n-1) == 0 {
			assert.Equal(t, 1+tt.extra, worst, "the bound is reached with %d items", tt.n)
		}
	}
}

func TestBisectionFindsTwoBadItems(t *testing.T) {
	const n = 20
	for one := range n {
		for other := range one {
			checkBisection(t, n, func(i int) bool { return i == one || i == other })
		}
	}
}

// The halves are tried from left to right, and no call has more than one half.
func TestBisectionMakesNoCallTwice(t *testing.T) {
	a := &api{send: rejects("id6")}
	require.NoError(t, a.job(8, 1).Run(t.Context(), seq.ListThen(ids(8), nil)))
	assert.Equal(t, [][]string{
		ids(8),
		{"id0", "id1", "id2", "id3"}, // good, so that one of the others is bad
		{"id4", "id5"},
		{"id6"}, {"id7"},
	}, a.calls)
}

func TestRejectRejectsAllItemsOfACall(t *testing.T) {
	rejected := fail("rejected", Verdict{Action: Reject})
	a := &api{send: func(_ context.Context, ids []string) error {
		if ids[0] == "id3" {
			return rejected
		}
		return nil
	}}
	require.NoError(t, a.job(3, 1).Run(t.Context(), seq.ListThen(ids(8), nil)))
	assert.Len(t, a.calls, 3, "no bisection, and the job goes on")
	assert.Equal(t, []outcome{
		{"id0", Done, nil}, {"id1", Done, nil}, {"id2", Done, nil},
		{"id3", Rejected, rejected}, {"id4", Rejected, rejected}, {"id5", Rejected, rejected},
		{"id6", Done, nil}, {"id7", Done, nil},
	}, a.outcomes())
}

// scripted returns a send that fails with these verdicts, and then accepts everything.
func scripted(verdicts ...Verdict) func(context.Context, []string) error {
	calls := 0
	return func(context.Context, []string) error {
		if calls++; calls > len(verdicts) {
			return nil
		}
		return fail(fmt.Sprint("failure ", calls), verdicts[calls-1])
	}
}

func TestRetryOfSomeItems(t *testing.T) {
	retry := func(failed ...string) Verdict { return Verdict{Action: Retry, Exhausted: Reject, Failed: failed} }
	done, rejected := Done, Rejected
	for name, tt := range map[string]struct {
		retries  int
		verdicts []Verdict
		calls    [][]string
		want     []Status
	}{
		"the rest succeeds": {
			5, []Verdict{retry("id3", "id1")},
			[][]string{ids(4), {"id1", "id3"}}, []Status{done, done, done, done},
		},
		"ever fewer": {
			5, []Verdict{retry("id1", "id2", "id3"), retry("id2", "id3"), retry("id3")},
			[][]string{ids(4), {"id1", "id2", "id3"}, {"id2", "id3"}, {"id3"}}, []Status{done, done, done, done},
		},
		"no progress at first": {
			5, []Verdict{retry(ids(4)...)},
			[][]string{ids(4)}, []Status{rejected, rejected, rejected, rejected},
		},
		"no progress after some": {
			5, []Verdict{retry("id1", "id3"), retry("id3", "id1")},
			[][]string{ids(4), {"id1", "id3"}}, []Status{done, rejected, done, rejected},
		},
		"retries exhausted": {
			1, []Verdict{retry("id1", "id2", "id3"), retry("id2", "id3")},
			[][]string{ids(4), {"id1", "id2", "id3"}}, []Status{done, done, rejected, rejected},
		},
		"no retries": {
			0, []Verdict{retry("id2")},
			[][]string{ids(4)}, []Status{done, done, rejected, done},
		},
		"strangers are ignored": {
			5, []Verdict{retry("id1", "stranger")},
			[][]string{ids(4), {"id1"}}, []Status{done, done, done, done},
		},
		"strangers and all items": {
			5, []Verdict{retry(append(ids(4), "stranger")...)},
			[][]string{ids(4)}, []Status{rejected, rejected, rejected, rejected},
		},
		"strangers alone": {
			5, []Verdict{retry("stranger"), retry("stranger", "id3")},
			[][]string{ids(4), ids(4), {"id3"}}, []Status{done, done, done, done},
		},
		"an item that was processed before is a stranger": {
			5, []Verdict{retry("id1", "id2"), retry("id0", "id2")},
			[][]string{ids(4), {"id1", "id2"}, {"id2"}}, []Status{done, done, done, done},
		},
		"an item that is named twice": {
			5, []Verdict{retry("id1", "id1", "id1", "id1")},
			[][]string{ids(4), {"id1"}}, []Status{done, done, done, done},
		},
		"nobody is named, which is all": {
			2, []Verdict{retry(), retry()},
			[][]string{ids(4), ids(4), ids(4)}, []Status{done, done, done, done},
		},
		"nobody is named, retries exhausted": {
			2, []Verdict{retry(), retry(), retry()},
			[][]string{ids(4), ids(4), ids(4)}, []Status{rejected, rejected, rejected, rejected},
		},
		"then some are to blame": {
			5, []Verdict{retry("id0", "id1", "id3"), {Action: Split}, {}, {Action: Split}},
			[][]string{ids(4), {"id0", "id1", "id3"}, {"id0"}}, []Status{Pending, Pending, done, Pending},
		},
	} {
		withClock(t, func(t *testing.T, _ func() time.Duration) {
			a := &api{send: scripted(tt.verdicts...)}
			j := a.job(4, 1)
			j.Gate = retrying(tt.retries)
			err := j.Run(t.Context(), seq.ListThen(ids(4), nil))
			assert.Equal(t, slices.Contains(tt.want, Pending), err != nil, name)
			assert.Equal(t, tt.calls, a.calls, name)
			assert.Equal(t, tt.want, a.statuses(), name)
			for _, item := range a.delivered {
				if item.Status == Rejected {
					assert.EqualError(t, item.Err, fmt.Sprint("failure ", len(a.calls)), "%s: the last error", name)
				} else {
					assert.NoError(t, item.Err, name)
				}
			}
		})
	}
}

// Retries end in a bisection of the items that are left, and in it no retry is left either.
func TestRetriesOfAChunkAreShared(t *testing.T) {
	withClock(t, func(t *testing.T, elapsed func() time.Duration) {
		a := &api{send: func(_ context.Context, ids []string) error {
			if slices.Contains(ids, "id2") || slices.Contains(ids, "id7") {
				return fail("busy", Verdict{Action: Retry, Exhausted: Split})
			}
			return nil
		}}
		j := a.job(4, 1)
		j.Gate = retrying(3)
		require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(8), nil)))
		assert.Equal(t, [][]string{
			ids(4), ids(4), ids(4), ids(4), {"id0", "id1"}, {"id2"}, {"id3"},
			ids(8)[4:], ids(8)[4:], ids(8)[4:], ids(8)[4:], {"id4", "id5"}, {"id6"}, {"id7"},
		}, a.calls, "three retries for each chunk, and one of two halves")
		assert.Equal(t, []Status{Done, Done, Rejected, Done, Done, Done, Done, Rejected}, a.statuses())
		assert.Equal(t, 2*(1+2+4)*time.Second, elapsed())
	})
}

func TestStopLeavesItemsPending(t *testing.T) {
	a := &api{send: scripted(Verdict{Action: Split}, Verdict{}, Verdict{})}
	j := a.job(4, 1)
	assert.EqualError(t, j.Run(t.Context(), seq.ListThen(ids(4), nil)), "failure 2")
	assert.Equal(t, [][]string{ids(4), {"id0", "id1"}}, a.calls)
	assert.Equal(t, []outcome{
		{"id0", Pending, nil}, {"id1", Pending, nil}, {"id2", Pending, nil}, {"id3", Pending, nil},
	}, a.outcomes())
	assert.Empty(t, j.Cursor())
	assert.Empty(t, a.progress, "nothing is done")
}

func TestStopWithUnknownOutcome(t *testing.T) {
	for _, maybe := range []bool{false, true} {
		unknown := fail("no response", Verdict{Unknown: true, MayBeApplied: maybe})
		a := &api{send: func(_ context.Context, ids []string) error {
			switch {
			case len(ids) == 4:
				return fail("split", Verdict{Action: Split})
			case ids[0] == "id2":
				return unknown
			}
			return nil
		}}
		j := a.job(4, 1)
		assert.Equal(t, unknown, j.Run(t.Context(), seq.ListThen(ids(4), nil)))
		assert.Equal(t, []outcome{
			{"id0", Done, nil}, {"id1", Done, nil}, {"id2", Unknown, unknown}, {"id3", Pending, nil},
		}, a.outcomes())
		assert.Equal(t, [][]string{ids(4), {"id0", "id1"}, {"id2"}}, a.calls)
		assert.Equal(t, maybe, a.delivered[2].MayBeApplied)
		assert.Equal(t, "id1", j.Cursor())
	}
}

// What a call may have done is not forgotten when a later one stops the job.
func TestPendingItemsThatMayBeAppliedBecomeUnknown(t *testing.T) {
	withClock(t, func(t *testing.T, _ func() time.Duration) {
		hold := Verdict{Action: Hold, After: time.Second, MayBeApplied: true}
		a := &api{send: scripted(Verdict{Action: Split}, hold, Verdict{})}
		j := a.job(4, 1)
		err := j.Run(t.Context(), seq.ListThen(ids(4), nil))
		require.EqualError(t, err, "failure 3")
		assert.Equal(t, []outcome{
			{"id0", Unknown, err}, {"id1", Unknown, err}, {"id2", Pending, nil}, {"id3", Pending, nil},
		}, a.outcomes())
		assert.True(t, a.delivered[0].MayBeApplied)
		assert.False(t, a.delivered[2].MayBeApplied, "they were in no such call")
	})
}

func TestMayBeAppliedIsKeptWithALaterOutcome(t *testing.T) {
	withClock(t, func(t *testing.T, _ func() time.Duration) {
		retry := Verdict{Action: Retry, MayBeApplied: true}
		a := &api{send: scripted(retry, Verdict{Action: Reject})}
		j := a.job(2, 1)
		j.Gate = retrying(1)
		require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(4), nil)))
		assert.Equal(t, []Status{Rejected, Rejected, Done, Done}, a.statuses())
		for i, item := range a.delivered {
			assert.Equal(t, i < 2, item.MayBeApplied)
		}
	})
}

// Where a call is retried for some items, all of them may be applied, and those that it does not name are done.
func TestMayBeAppliedWithFailedItems(t *testing.T) {
	withClock(t, func(t *testing.T, _ func() time.Duration) {
		retry := Verdict{Action: Retry, MayBeApplied: true, Failed: []string{"id1"}}
		a := &api{send: scripted(retry, Verdict{})}
		j := a.job(2, 1)
		j.Gate = retrying(1)
		err := j.Run(t.Context(), seq.ListThen(ids(2), nil))
		require.Error(t, err)
		assert.Equal(t, []outcome{{"id0", Done, nil}, {"id1", Unknown, err}}, a.outcomes())
		assert.True(t, a.delivered[0].MayBeApplied && a.delivered[1].MayBeApplied)
	})
}

// An item that stands alone with a failure that tells nothing is neither rejected nor applied.
func TestUnknownAfterASplit(t *testing.T) {
	a := &api{send: func(_ context.Context, ids []string) error {
		if slices.Contains(ids, "id1") {
			return fail("some failed", Verdict{Action: Split, Unknown: true, MayBeApplied: true})
		}
		return nil
	}}
	j := a.job(4, 1)
	require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(6), nil)), "it stops nothing")
	assert.Equal(t, []Status{Done, Unknown, Done, Done, Done, Done}, a.statuses())
	assert.Equal(t, "id0", j.Cursor(), "but is not final")

	j = a.job(4, 1)
	assert.Equal(t, errBroken, j.Run(t.Context(), seq.ListThen(ids(6), errBroken)))

	a = &api{send: scripted(Verdict{Action: Reject, Unknown: true})}
	require.NoError(t, a.job(1, 1).Run(t.Context(), seq.ListThen(ids(1), nil)))
	assert.Equal(t, []Status{Rejected}, a.statuses())
}

func TestShrink(t *testing.T) {
	tooMany := fail("too many", Verdict{Action: Shrink})
	for _, tt := range []struct{ size, limit, n, calls int }{
		{8, 8, 24, 3}, {8, 4, 24, 1 + 6}, {8, 5, 24, 1 + 6}, {8, 1, 16, 3 + 16}, {3, 2, 9, 1 + 6}, {100, 99, 300, 1 + 6},
	} {
		a := new(api)
		a.send = func(ctx context.Context, ids []string) error {
			if len(ids) > tt.limit {
				return tooMany
			}
			return rejects("id5")(ctx, ids)
		}
		j := a.job(tt.size, 1)
		require.NoError(t, j.Run(t.Context(), seq.ListThen(ids(tt.n), nil)))
		for i, item := range a.delivered {
			assert.Equal(t, i == 5, item.Status == Rejected, "%+v", tt)
			assert.Equal(t, i != 5, item.Status == Done, "%+v", tt)
		}
		tooLarge := 0
		for _, call := range a.calls {
			if len(call) > tt.limit {
				tooLarge++
			}
		}
		assert.LessOrEqual(t, tooLarge, ceilLog2(tt.size), "%+v: a size that failed is not tried again", tt)

		a.calls = nil
		a.send = func(_ context.Context, ids []string) error {
			if len(ids) > tt.limit {
				return tooMany
			}
			return nil
		}
		require.NoError(t, a.job(tt.size, 1).Run(t.Context(), seq.ListThen(ids(tt.n), nil)))
		assert.Len(t, a.calls, tt.calls, "%+v", tt)
	}
}

// A call for a single item cannot be too large: that error is of another kind.
func TestShrinkOfASingleItemStopsTheJob(t *testing.T) {
	a := &api{send: func(context.Context, []string) error { return fail("too many", Verdict{Action: Shrink}) }}
	assert.EqualError(t, a.job(4, 1).Run(t.Context(), seq.ListThen(ids(8), nil)), "too many")
	assert.Equal(t, [][]string{ids(4), ids(2), ids(1)}, a.calls)
	for _, item := range a.delivered {
		assert.Equal(t, Pending, item.Status)
	}
}

func TestErrorOfTheVerdictIsThatOfTheItem(t *testing.T) {
	better := errors.New("better")
	for _, v := range []Verdict{{Action: Split, Err: better}, {Action: Reject, Err: better}} {
		a := &api{send: scripted(v)}
		require.NoError(t, a.job(1, 1).Run(t.Context(), seq.ListThen(ids(1), nil)))
		assert.Equal(t, []outcome{{"id0", Rejected, better}}, a.outcomes())
	}
	a := &api{send: scripted(Verdict{Unknown: true, Err: better})}
	assert.Equal(t, better, a.job(1, 1).Run(t.Context(), seq.ListThen(ids(1), nil)))
	assert.Equal(t, []outcome{{"id0", Unknown, better}}, a.outcomes())
}
