package bulk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// modelCases returns how many random jobs to run.
func modelCases() int {
	if os.Getenv("WECHATUSER_FULL") != "" {
		return 5000
	}
	return 300
}

// model is a random job, and a platform that knows what it has applied.
type model struct {
	mu      sync.Mutex
	rng     *rand.Rand
	trouble int // of 100 calls
	stops   bool
	limit   int // of the items of a call
	input   []string
	applied map[string]bool
	halved  map[string]bool // IDs of calls that had to be halved
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 0)), applied: make(map[string]bool), halved: make(map[string]bool)}
	m.trouble = []int{0, 20, 60}[m.rng.IntN(3)]
	m.stops = m.rng.IntN(2) == 0
	m.limit = []int{1, 2, 5, 99}[m.rng.IntN(4)]
	for i := range m.rng.IntN([]int{3, 20, 100}[m.rng.IntN(3)]) {
		id := fmt.Sprint("id", i)
		switch m.rng.IntN(20) {
		case 0:
			id = []string{"", "no id"}[i%2]
		case 1:
			id = "bad" + id
		case 2, 3:
			id = fmt.Sprint("id", m.rng.IntN(i+1))
		}
		m.input = append(m.input, id)
	}
	return m
}

func isBad(id string) bool { return strings.HasPrefix(id, "bad") }

func (m *model) apply(ids []string) {
	for _, id := range ids {
		m.applied[id] = true
	}
}

// send is a call, which may get into trouble.
func (m *model) send(ctx context.Context, ids []string) error {
	m.mu.Lock()
	wait := time.Duration(m.rng.IntN(1000)) * time.Millisecond
	m.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return fail("canceled", Verdict{Unknown: true, MayBeApplied: true})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(ids) > 1 && (len(ids) > m.limit || slices.ContainsFunc(ids, isBad)) {
		for _, id := range ids {
			m.halved[id] = true
		}
	}
	if len(ids) > m.limit {
		return fail("too many", Verdict{Action: Shrink})
	}
	if slices.ContainsFunc(ids, isBad) {
		return fail("rejected", Verdict{Action: Split})
	}
	if m.rng.IntN(100) >= m.trouble {
		m.apply(ids)
		return nil
	}
	maybe := m.rng.IntN(2) == 0
	some := slices.Clone(ids)
	m.rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	some = some[:m.rng.IntN(len(ids)+1)]
	switch what := m.rng.IntN(11); {
	case what == 8 && m.stops:
		m.apply(some)
		runtime.Goexit()
		return nil
	case what == 9:
		m.apply(some)
		return fail("down", Verdict{Action: Persist, MayBeApplied: true, Unknown: true})
	case what == 10:
		m.apply(some)
		return fail("some failed, and nobody knows who", Verdict{
			Action: Retry, Failed: []string{"stranger"}, Exhausted: Split, MayBeApplied: true, Unknown: true,
		})
	case what == 0 && m.stops:
		return fail("stopped", Verdict{})
	case what == 1 && m.stops:
		m.apply(some)
		return fail("no response", Verdict{Unknown: true, MayBeApplied: true})
	case what < 4:
		if maybe {
			m.apply(some)
		}
		return fail("held", Verdict{Action: Hold, After: wait, MayBeApplied: maybe})
	case what < 6 && len(some) > 0:
		m.apply(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(some, id) }))
		return fail("some failed", Verdict{Action: Retry, Failed: append(some, "stranger"), Exhausted: Reject})
	default:
		return fail("busy", Verdict{Action: Retry, Exhausted: Split})
	}
}

// check compares what a job delivered with its input and with what the platform has applied.
func (m *model) check(t *testing.T, a *api, j *Job[string], input []string, err error) {
	delivered := a.deliveredIDs()
	require.LessOrEqual(t, len(delivered), len(input))
	require.True(t, slices.Equal(input[:len(delivered)], delivered), "each once, in order")
	require.Empty(t, a.twice, "IDs in two calls at a time")
	gap := len(delivered)
	for i, item := range a.delivered {
		switch item.Status {
		case Pending:
			before := slices.Contains(delivered[:i], item.ID) // it was applied then, perhaps
			require.False(t, m.applied[item.ID] && !before, "%s is pending and applied", item.ID)
		case Done:
			require.True(t, m.applied[item.ID], "%s is done and not applied", item.ID)
			require.False(t, isBad(item.ID))
		case Rejected:
			require.True(t, isBad(item.ID) || m.trouble > 0, item.ID)
		case Invalid:
			require.Equal(t, errInvalid, item.Err)
		}
		require.Equal(t, strings.Contains(item.ID, " ") || item.ID == "", item.Status == Invalid, item.ID)
		require.Equal(t, item.Status == Pending || item.Status == Done, item.Err == nil)
		if item.Status == Pending {
			require.Error(t, err)
		}
		if item.Status == Pending || item.Status == Unknown {
			gap = min(gap, i)
		}
	}
	cursor := ""
	for _, item := range a.delivered[:gap] {
		if item.Status != Invalid {
			cursor = item.ID
		}
	}
	require.Equal(t, cursor, j.Cursor())
	if err == nil {
		require.Len(t, delivered, len(input), "all have an outcome")
	}
}

func TestRandomJobs(t *testing.T) {
	ended := make(map[string]int)
	for seed := range uint64(modelCases()) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(seed)
			size, concurrency := 1+m.rng.IntN(9), 1+m.rng.IntN(5)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if m.rng.IntN(3) == 0 {
				timer := time.AfterFunc(time.Duration(m.rng.IntN(4000))*time.Millisecond, cancel)
				defer timer.Stop()
			}
			var inputErr error
			if m.rng.IntN(5) == 0 {
				inputErr = errBroken
			}
			a := &api{send: m.send}
			j := a.job(size, concurrency)
			j.Gate = retrying(m.rng.IntN(4))
			j.Gate.Patience = []time.Duration{0, 10 * time.Second, time.Hour}[m.rng.IntN(3)]
			j.Classify = brokeOff
			err := j.Run(ctx, seq.ListThen(m.input, inputErr))
			require.LessOrEqual(t, a.most, concurrency)
			require.Empty(t, a.late, "calls that began after the stop")
			var stopped *failure
			switch {
			case errors.Is(err, context.Canceled):
				ended["canceled"]++
				require.Error(t, ctx.Err())
			case err == nil:
				ended["done"]++
			case errors.Is(err, guard.ErrGoexit):
				ended["broken off"]++
			case errors.As(err, &stopped):
				ended["stopped"]++
				require.True(t, m.stops || m.trouble > 0, "%v", err)
			default:
				ended["input failed"]++
				require.Equal(t, errBroken, err)
				require.Len(t, a.delivered, len(m.input))
				err = nil
			}
			m.check(t, a, j, m.input, err)
			if slices.ContainsFunc(a.delivered, func(i Item[string]) bool { return i.Status == Pending && m.halved[i.ID] }) {
				ended["stopped while halving"]++
			}

			// A second job that goes on after the cursor leaves nobody out.
			from := slices.Index(m.input, j.Cursor()) + 1
			if j.Cursor() == "" {
				from = 0
			}
			m.trouble = 0
			again := &api{send: m.send}
			j = again.job(size, concurrency)
			require.NoError(t, j.Run(t.Context(), seq.ListThen(m.input[from:], nil)))
			m.check(t, again, j, m.input[from:], nil)
			final := make(map[string]bool)
			for _, item := range slices.Concat(a.delivered, again.delivered) {
				if m.applied[item.ID] || item.Status == Rejected || item.Status == Invalid {
					final[item.ID] = true
				}
			}
			for _, id := range m.input {
				require.True(t, final[id], id)
			}
		})
	}
	for _, end := range []string{"canceled", "done", "input failed", "stopped", "broken off", "stopped while halving"} {
		assert.Greater(t, ended[end], modelCases()/50, "jobs that were %s", end)
	}
}
