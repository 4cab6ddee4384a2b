package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failure is an error of a call that says itself what it means.
type failure struct {
	text string
	Verdict
}

func (f *failure) Error() string { return f.text }

func fail(text string, v Verdict) error { return &failure{text, v} }

// classify stops the job for all errors but failures.
func classify(_ context.Context, err error) Verdict {
	var f *failure
	if errors.As(err, &f) {
		return f.Verdict
	}
	return Verdict{}
}

// api is what the jobs of the tests call, and a record of what they did.
type api struct {
	send func(ctx context.Context, ids []string) error // nil accepts all

	mu       sync.Mutex
	calls    [][]string // the IDs of each call
	inFlight map[string]int
	running  int
	most     int      // calls at a time
	twice    []string // IDs that were in two calls at a time
	watched  bool
	stopped  time.Time // zero before
	late     []string  // the first IDs of calls that began after that

	delivered []Item[string]
	progress  []progress
}

type progress struct {
	done   int
	cursor string
}

func (a *api) call(ctx, stopped context.Context, items []*Item[string]) error {
	a.watch(stopped)
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.ID
	}
	a.begin(ids)
	defer a.end(ids)
	if a.send != nil {
		if err := a.send(ctx, ids); err != nil {
			return err
		}
	}
	for _, item := range items {
		item.Result = "result of " + item.ID
	}
	return nil
}

// watch notes when the job stops.
func (a *api) watch(stopped context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watched {
		return
	}
	a.watched = true
	context.AfterFunc(stopped, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stopped = time.Now()
	})
}

func (a *api) begin(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, ids)
	if !a.stopped.IsZero() && time.Now().After(a.stopped) {
		a.late = append(a.late, ids[0])
	}
	a.running++
	a.most = max(a.most, a.running)
	if a.inFlight == nil {
		a.inFlight = make(map[string]int)
	}
	for _, id := range ids {
		if a.inFlight[id]++; a.inFlight[id] > 1 {
			a.twice = append(a.twice, id)
		}
	}
}

func (a *api) end(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	for _, id := range ids {
		a.inFlight[id]--
	}
}

// job returns a job that calls the API. An ID that is empty or has a space is invalid.
func (a *api) job(chunkSize, concurrency int) *Job[string] {
	return &Job[string]{
		Gate: new(Gate), ChunkSize: chunkSize, Concurrency: concurrency,
		Validate: func(id string) error {
			if id == "" || strings.Contains(id, " ") {
				return errInvalid
			}
			return nil
		},
		Send:     a.call,
		Classify: classify,
		Deliver: func(item *Item[string]) bool {
			a.delivered = append(a.delivered, *item)
			return true
		},
		Progress: func(done int, cursor string) { a.progress = append(a.progress, progress{done, cursor}) },
	}
}

var errInvalid = errors.New("invalid")

// ids returns n different IDs.
func ids(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint("id", i)
	}
	return ids
}

// outcome is an item as the tests compare it.
type outcome struct {
	id     string
	status Status
	err    error
}

func (a *api) outcomes() []outcome {
	var all []outcome
	for _, item := range a.delivered {
		all = append(all, outcome{item.ID, item.Status, item.Err})
	}
	return all
}

// statuses are those of the items that were delivered, in order.
func (a *api) statuses() []Status {
	var all []Status
	for _, item := range a.delivered {
		all = append(all, item.Status)
	}
	return all
}

func (a *api) deliveredIDs() []string {
	var all []string
	for _, item := range a.delivered {
		all = append(all, item.ID)
	}
	return all
}

// rejects makes a call fail if it has one of these IDs, and blames nobody in particular.
func rejects(bad ...string) func(context.Context, []string) error {
	return func(_ context.Context, ids []string) error {
		if slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(bad, id) }) {
			return fail(fmt.Sprint("rejected: ", strings.Join(ids, " ")), Verdict{Action: Split})
		}
		return nil
	}
}
