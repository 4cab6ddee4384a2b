package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// bulkCase is one random job. The account itself tells what the job has applied.
type bulkCase struct {
	seed   uint64
	rng    *rand.Rand
	srv    *wechatusertest.Server
	faults *testutil.FaultTransport
	c      *wechatuser.Client
	kind   string
	limit  int
	tag    int

	input    []string
	inputErr error                      // after the input, nil for none
	bad      map[string]wechatuser.Code // openids that the platform rejects in this job
	distinct bool                       // no duplicates in the input

	concurrency int
	cancelAfter time.Duration // 0 for never
	patience    time.Duration
	limiter     *failingLimiter // nil for none
}

// failingLimiter is a limiter that fails at times.
type failingLimiter struct {
	mu  sync.Mutex
	rng *rand.Rand
	off bool
}

var errLimiter = errors.New("the limiter is closed")

func (l *failingLimiter) Wait(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.off && l.rng.IntN(20) == 0 {
		return errLimiter
	}
	return nil
}

// stop makes the limiter let all calls through. A nil limiter does so anyway.
func (l *failingLimiter) stop() {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.off = true
	}
}

// events counts in how many cases of a model something happened. A model in which something never happens proves
// nothing about it.
type events struct {
	mu     sync.Mutex
	counts map[string]int
}

// newEvents returns events. All that are named must have happened when the test ends.
func newEvents(t *testing.T, names ...string) *events {
	e := &events{counts: make(map[string]int)}
	t.Cleanup(func() {
		for _, name := range names {
			assert.Positive(t, e.counts[name], "cases with %s", name)
		}
	})
	return e
}

func (e *events) note(name string, happened bool) {
	if happened {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.counts[name]++
	}
}

// The events of the models.
const (
	doubleRevocation = "a token that is revoked before its first use"
	limiterError     = "an error of the limiter"
	onlyRejections   = "calls that only get rejections"
	listRepeats      = "a list that repeats"
)

func newBulkCase(seed uint64) *bulkCase {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := &bulkCase{seed: seed, rng: rng, bad: make(map[string]wechatuser.Code), distinct: rng.IntN(4) > 0}
	b.kind = []string{"tag", "tag", "untag", "block", "unblock"}[rng.IntN(5)]
	b.limit = wechatuser.MaxTaggingBatch
	if b.kind == "block" || b.kind == "unblock" {
		b.limit = wechatuser.MaxBlacklistBatch
	}
	fans := rng.IntN([]int{2, b.limit + 2, 8 * b.limit}[rng.IntN(3)])
	b.srv = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans))
	for i := range fans {
		b.input = append(b.input, wechatusertest.OpenID(i))
	}
	b.tag = b.srv.AddTag("vip")
	switch b.kind {
	case "untag":
		b.tag = b.srv.AddTag("old", b.input...)
	case "unblock":
		b.srv.Block(b.input...)
	}
	b.addInvalid(fans)
	if !b.distinct && len(b.input) > 0 {
		for range 1 + rng.IntN(2*len(b.input)) {
			b.input = append(b.input, b.input[rng.IntN(len(b.input))])
		}
	}
	if rng.IntN(3) > 0 {
		rng.Shuffle(len(b.input), func(i, j int) { b.input[i], b.input[j] = b.input[j], b.input[i] })
	}
	b.faults = testutil.NewFaultTransport(b.srv.Transport(), seed)
	b.faults.Delays = rng.IntN(2) == 0
	if rng.IntN(3) > 0 {
		b.faults.Percent = []uint64{3, 15, 50}[rng.IntN(3)]
		b.faults.Fatal = rng.IntN(4) == 0
		if b.faults.BreakOff = rng.IntN(4) == 0; rng.IntN(2) == 0 {
			b.faults.Revoke = b.srv.ExpireTokens
		}
	}
	b.patience = []time.Duration{0, 0, time.Minute}[rng.IntN(3)]
	if rng.IntN(4) == 0 {
		b.cancelAfter = time.Duration(rng.Int64N(int64(20 * time.Second)))
	}
	if rng.IntN(6) == 0 {
		b.inputErr = errors.New("the database has gone")
	}
	b.concurrency = 1 + rng.IntN(6)
	opts := []wechatuser.Option{wechatuser.WithTransport(b.faults)}
	if rng.IntN(8) == 0 {
		b.limiter = &failingLimiter{rng: rand.New(rand.NewPCG(seed, 4))}
		opts = append(opts, wechatuser.WithLimiter(b.limiter))
	}
	if rng.IntN(20) == 0 { // all calls get the same rejection
		b.faults.Percent, b.cancelAfter = 100, time.Hour
		b.faults.OnlyCode = []wechatuser.Code{
			wechatuser.CodeSystemBusy, wechatuser.CodeInvalidCredential, wechatuser.CodeMinuteQuotaExceeded,
			wechatuser.CodeInvalidTagID, wechatuser.CodeSomeOpenIDsFailed, wechatuser.CodeInvalidOpenIDListSize,
		}[rng.IntN(6)]
	}
	if rng.IntN(4) == 0 {
		opts = append(opts, wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1 + rng.IntN(2)}))
	}
	b.c = b.srv.Client(opts...)
	return b
}

// addInvalid adds openids that the platform rejects, and some that are malformed.
func (b *bulkCase) addInvalid(fans int) {
	tags := func(n int) (ids []int) {
		for i := range n {
			ids = append(ids, 500+i)
		}
		return ids
	}
	for i := range b.rng.IntN([]int{1, 4, 20}[b.rng.IntN(3)]) {
		switch b.rng.IntN(6) {
		case 0:
			id := wechatusertest.ForeignOpenID(i)
			b.input = append(b.input, id)
			b.bad[id] = wechatuser.CodeOpenIDMismatch
		case 1, 2:
			id := fmt.Sprintf("oFAKEunknown%016d", i)
			b.input = append(b.input, id)
			b.bad[id] = wechatuser.CodeInvalidOpenID
		case 3:
			if fans > 0 {
				id := wechatusertest.OpenID(b.rng.IntN(fans))
				b.srv.Unfollow(id)
				switch b.kind {
				case "tag":
					b.bad[id] = wechatuser.CodeUserUnsubscribed
				case "block":
					b.bad[id] = wechatuser.CodeInvalidOpenID
				}
			}
		case 4:
			id := fmt.Sprintf("oFAKEcollector%014d", i)
			b.srv.AddUsers(wechatuser.UserInfo{OpenID: id, TagIDList: tags(20)})
			b.input = append(b.input, id)
			if b.kind == "tag" {
				b.bad[id] = wechatuser.CodeTooManyTagsOnUser
			}
		case 5:
			b.input = append(b.input,
				[]string{"", " ", "oFAKE with space", "oFAKE\n", "\xff"}[i%5]+strings.Repeat(" ", i/5))
		}
	}
}

func isMalformed(openID string) bool {
	return openID == "" || !utf8.ValidString(openID) || strings.ContainsAny(openID, " \n")
}

func (b *bulkCase) run(ctx context.Context, ids iter.Seq2[string, error],
	opts ...wechatuser.BulkOption,
) (*wechatuser.BulkReport, error) {
	switch b.kind {
	case "tag":
		return b.c.BulkTagging(ctx, b.tag, ids, opts...)
	case "untag":
		return b.c.BulkUntagging(ctx, b.tag, ids, opts...)
	case "block":
		return b.c.BulkBlacklist(ctx, ids, opts...)
	default:
		return b.c.BulkUnblacklist(ctx, ids, opts...)
	}
}

// applied returns the openids for which the job's change is in effect in the account.
func (b *bulkCase) applied() map[string]bool {
	set := make(map[string]bool)
	switch b.kind {
	case "tag":
		for _, id := range b.srv.TagFans(b.tag) {
			set[id] = true
		}
	case "block":
		for _, id := range b.srv.Blacklist() {
			set[id] = true
		}
	default:
		there := b.srv.Blacklist()
		if b.kind == "untag" {
			there = b.srv.TagFans(b.tag)
		}
		for _, id := range b.input {
			set[id] = !isMalformed(id) && b.bad[id] == 0
		}
		for _, id := range there {
			delete(set, id)
		}
	}
	return set
}

// alreadyApplied returns the openids for which it was in effect before the job. They prove nothing.
func (b *bulkCase) alreadyApplied() map[string]bool {
	before := make(map[string]bool)
	for id, yes := range b.applied() {
		if yes {
			before[id] = true
		}
	}
	return before
}

func (b *bulkCase) check(t *testing.T, e *events) {
	before := b.alreadyApplied()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if b.cancelAfter > 0 {
		var stop context.CancelFunc
		if b.rng.IntN(2) == 0 {
			ctx, stop = context.WithTimeout(ctx, b.cancelAfter)
			defer stop()
		} else {
			timer := time.AfterFunc(b.cancelAfter, cancel)
			defer timer.Stop()
		}
	}
	var progress []wechatuser.Progress
	report, err := b.run(ctx, seq.ListThen(b.input, b.inputErr), wechatuser.WithConcurrency(b.concurrency),
		wechatuser.WithPatience(b.patience),
		wechatuser.WithProgress(func(p wechatuser.Progress) { progress = append(progress, p) }))
	interrupted := ctx.Err() != nil
	calls := b.faults.Sent

	require.NotNil(t, report)
	assert.Zero(t, b.faults.Running, "requests under way after the end")
	assert.LessOrEqual(t, b.faults.MaxRunning, b.concurrency, "requests at a time")
	assert.Empty(t, b.faults.Overlapping, "openids in two requests at a time")
	assert.Equal(t, report.Total, report.Applied+len(report.Failed))
	assert.Equal(t, calls, report.Calls, "calls")
	b.checkProgress(t, progress, report)
	why := b.checkError(t, report, err)
	e.note(doubleRevocation, b.faults.Doubled > 0)
	e.note(limiterError, errors.Is(why, errLimiter))
	e.note(onlyRejections, b.faults.OnlyCode != 0 && calls > 0)
	named := b.checkNamed(t, report, before)
	b.checkPrefix(t, report, named, why)
	if b.distinct {
		truth, n := b.applied(), 0
		for _, id := range b.input {
			if truth[id] && !before[id] && named[id] == nil || before[id] && named[id] == nil {
				n++
			}
		}
		if why == nil {
			assert.Equal(t, n, report.Applied, "applied and not named")
		}
		untouched := 0
		for id := range before {
			if named[id] == nil {
				untouched++
			}
		}
		assert.LessOrEqual(t, report.Applied, n)
		assert.GreaterOrEqual(t, report.Applied, n-untouched, "applied in truth, and not reported")
	}
	if b.faults.Percent == 0 && !b.faults.Fatal && !interrupted && b.inputErr == nil && b.limiter == nil {
		b.checkUndisturbed(t, report, named)
	}
	b.checkResume(t, report, named)
}

func (b *bulkCase) checkProgress(t *testing.T, progress []wechatuser.Progress, report *wechatuser.BulkReport) {
	for i, p := range progress {
		assert.Equal(t, -1, p.Total)
		if i > 0 {
			assert.Greater(t, p.Done, progress[i-1].Done)
		}
	}
	if report.Total > 0 && assert.NotEmpty(t, progress) {
		assert.Equal(t, report.Total, progress[len(progress)-1].Done)
		assert.Equal(t, report.ResumeAfter, progress[len(progress)-1].ResumeAfter)
	}
}

// checkError returns why the job was stopped, nil if it was not.
func (b *bulkCase) checkError(t *testing.T, report *wechatuser.BulkReport, err error) error {
	if err == nil {
		assert.Empty(t, report.Failed)
		assert.Len(t, b.input, report.Total)
		return nil
	}
	var be *wechatuser.BulkError
	require.ErrorAs(t, err, &be)
	assert.Same(t, report, be.Report)
	assert.NotContains(t, err.Error(), "\n")
	switch {
	case be.Err == nil:
		assert.NotEmpty(t, report.Failed)
		assert.Len(t, b.input, report.Total)
	case b.inputErr != nil && len(b.input) == report.Total:
		assert.ErrorIs(t, be.Err, b.inputErr)
	}
	return be.Err
}

// checkNamed checks the openids in Failed, and returns their errors.
func (b *bulkCase) checkNamed(t *testing.T, report *wechatuser.BulkReport, before map[string]bool) map[string]error {
	truth := b.applied()
	times := make(map[string]int)
	for _, id := range b.input {
		times[id]++
	}
	named := make(map[string]error)
	for _, f := range report.Failed {
		times[f.OpenID]--
		assert.GreaterOrEqual(t, times[f.OpenID], 0, "%q is named more often than it came", f.OpenID)
		named[f.OpenID] = f.Err
		if truth[f.OpenID] && !before[f.OpenID] && b.distinct {
			assert.ErrorIs(t, f.Err, wechatuser.ErrAmbiguous, "%q was applied", f.OpenID)
		}
		var apiErr *wechatuser.Error
		switch code := b.bad[f.OpenID]; {
		case isMalformed(f.OpenID):
			assert.ErrorIs(t, f.Err, wechatuser.ErrInvalidArgument)
		case !errors.As(f.Err, &apiErr):
			assert.True(t, isLost(f.Err), "%q: %v", f.OpenID, f.Err)
		case code == 0:
			assert.Contains(t,
				[]wechatuser.Code{
					wechatuser.CodeSystemBusy, wechatuser.CodeConcurrentTagging,
					wechatuser.CodeSomeOpenIDsFailed,
					wechatuser.CodeDailyQuotaExceeded, wechatuser.CodeMinuteQuotaExceeded, wechatuser.CodeInvalidTagID,
					wechatuser.CodeInvalidCredential, // every retry met another revocation, which stops the job
				},
				apiErr.Code, "a good openid")
		}
	}
	return named
}

// isLost reports whether an openid failed because no usable response arrived.
func isLost(err error) bool {
	var (
		te *wechatuser.TransportError
		re *wechatuser.ResponseError
	)
	return errors.As(err, &te) || errors.As(err, &re) || errors.Is(err, wechatuser.CodeSystemBusy) ||
		errors.Is(err, wechatuser.ErrAmbiguous)
}

// checkPrefix checks the openids up to ResumeAfter.
func (b *bulkCase) checkPrefix(t *testing.T, report *wechatuser.BulkReport, named map[string]error, why error) {
	// A 45171 that names nobody stops nothing, and is not final.
	open := slices.ContainsFunc(report.Failed, func(f wechatuser.OpenIDError) bool {
		return errors.Is(f.Err, wechatuser.CodeSomeOpenIDsFailed) && errors.Is(f.Err, wechatuser.ErrAmbiguous)
	})
	if why == nil && !open {
		last := ""
		for _, id := range b.input {
			if !isMalformed(id) {
				last = id
			}
		}
		assert.Equal(t, last, report.ResumeAfter)
	}
	truth := b.applied()
	for _, id := range b.input[:b.resumeAt(t, report)] {
		assert.True(t, truth[id] || named[id] != nil, "%q is before ResumeAfter, and neither applied nor named", id)
	}
}

// resumeAt returns the index in the input to resume from.
func (b *bulkCase) resumeAt(t *testing.T, report *wechatuser.BulkReport) int {
	if report.ResumeAfter == "" {
		return 0
	}
	i := slices.Index(b.input, report.ResumeAfter)
	require.GreaterOrEqual(t, i, 0)
	return i + 1
}

// checkUndisturbed checks a job without injected faults: all valid openids are applied, with few calls.
func (b *bulkCase) checkUndisturbed(t *testing.T, report *wechatuser.BulkReport, named map[string]error) {
	good, bad := make(map[string]bool), make(map[string]bool)
	truth := b.applied()
	for _, id := range b.input {
		switch {
		case isMalformed(id):
			assert.NotNil(t, named[id])
		case b.bad[id] != 0:
			bad[id] = true
			assert.ErrorIs(t, named[id], b.bad[id])
		default:
			good[id] = true
			assert.True(t, truth[id])
			assert.NoError(t, named[id])
		}
	}
	n, k, limit := len(b.input), len(bad), b.limit
	if b.distinct {
		n = len(good) + len(bad)
	} else {
		k = len(report.Failed) // a duplicate of a rejected openid is searched for again
	}
	assert.LessOrEqual(t, report.Calls, (n+limit-1)/limit+2*k*bits.Len(uint(limit-1)),
		"calls for %d openids, %d of them bad", n, k)
	if k == 0 && b.distinct {
		assert.Equal(t, (n+limit-1)/limit, report.Calls)
	}
}

// checkResume resumes the job after ResumeAfter, without faults.
func (b *bulkCase) checkResume(t *testing.T, report *wechatuser.BulkReport, named map[string]error) {
	b.faults.Off = true
	b.limiter.stop()
	rest := b.input[b.resumeAt(t, report):]
	again, err := b.run(t.Context(), seq.ListThen(rest, nil))
	var be *wechatuser.BulkError
	if errors.As(err, &be) {
		assert.NoError(t, be.Err)
	}
	assert.Equal(t, len(rest), again.Total)
	truth := b.applied()
	for _, id := range b.input {
		switch err := named[id]; {
		case isMalformed(id), b.bad[id] != 0, truth[id]:
		default:
			assert.True(t,
				errors.Is(err, wechatuser.CodeConcurrentTagging) || errors.Is(err, wechatuser.CodeSomeOpenIDsFailed),
				"%q is good and not applied after resuming: %v", id, err)
		}
	}
	for _, f := range again.Failed {
		assert.True(t, isMalformed(f.OpenID) || errors.Is(f.Err, b.bad[f.OpenID]), "%v", &f)
	}
}

// How many random cases each model has at full size.
const (
	writeCases = 3000
	readCases  = 3000
	syncCases  = 3000
)

func TestBulkWriteModel(t *testing.T) {
	e := newEvents(t, doubleRevocation, limiterError, onlyRejections)
	forSeeds(t, writeCases, func(t *testing.T, seed uint64) { newBulkCase(seed).check(t, e) })
}

// forSeeds runs the cases of seeds below n, each in its own synctest bubble, until one fails.
// By default these are a tenth of the seeds, spread over all. With [testutil.Full]
// they are all seeds, or a quarter under the race detector. A failure logs its seed.
func forSeeds(t *testing.T, n uint64, run func(t *testing.T, seed uint64)) {
	const parts = 2
	step := uint64(1)
	switch {
	case testutil.Full() && testutil.RaceEnabled:
		step = 4
	case testutil.Full():
	case testutil.RaceEnabled:
		step = 10
	default:
		step = 10
	}
	for part := range uint64(parts) {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			for seed := part * step; seed < n && !t.Failed(); seed += parts * step {
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("seed %d", seed)
						}
					}()
					run(t, seed)
				})
			}
		})
	}
}

// readCase is a random job that reads.
type readCase struct {
	rng    *rand.Rand
	faults *testutil.FaultTransport
	c      *wechatuser.Client
	input  []string
	bad    int // openids that the platform does not know

	limiter *failingLimiter // nil for none
}

func newReadCase(seed uint64) *readCase {
	rng := rand.New(rand.NewPCG(seed, 2))
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	r := &readCase{rng: rng, faults: testutil.NewFaultTransport(srv.Transport(), seed)}
	for i := range rng.IntN([]int{2, 102, 600}[rng.IntN(3)]) {
		id := wechatusertest.OpenID(i)
		srv.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: "union of " + id})
		r.input = append(r.input, id)
	}
	r.bad = rng.IntN(5)
	for i := range r.bad {
		r.input = append(r.input, fmt.Sprintf("oFAKEunknown%016d", i))
	}
	if len(r.input) > 0 && rng.IntN(2) == 0 {
		r.input = append(r.input, "", r.input[rng.IntN(len(r.input))])
	}
	rng.Shuffle(len(r.input), func(i, j int) { r.input[i], r.input[j] = r.input[j], r.input[i] })
	r.faults.Delays = rng.IntN(2) == 0
	r.faults.Percent = []uint64{0, 3, 15, 50}[rng.IntN(4)]
	r.faults.Fatal = r.faults.Percent > 0 && rng.IntN(4) == 0
	if rng.IntN(2) == 0 {
		r.faults.Revoke = srv.ExpireTokens
	}
	opts := []wechatuser.Option{wechatuser.WithTransport(r.faults)}
	if rng.IntN(8) == 0 {
		r.limiter = &failingLimiter{rng: rand.New(rand.NewPCG(seed, 4))}
		opts = append(opts, wechatuser.WithLimiter(r.limiter))
	}
	if rng.IntN(20) == 0 {
		r.faults.Percent = 100
		r.faults.OnlyCode = []wechatuser.Code{
			wechatuser.CodeSystemBusy, wechatuser.CodeInvalidCredential, wechatuser.CodeDailyQuotaExceeded,
		}[rng.IntN(3)]
	}
	r.c = srv.Client(opts...)
	return r
}

// read reads the profiles of the input between two indexes, and returns the index after the last that it got.
func (r *readCase) read(ctx context.Context, t *testing.T, from, to int) (done int, last error) {
	done = from
	for user, err := range r.c.BulkUserInfo(ctx, wechatuser.OpenIDs(r.input[from:]...),
		wechatuser.WithConcurrency(1+r.rng.IntN(6))) {
		require.NoError(t, last, "nothing comes after the job's error")
		var one *wechatuser.OpenIDError
		switch {
		case errors.As(err, &one):
			assert.Equal(t, r.input[done], one.OpenID)
			assert.True(t,
				isMalformed(one.OpenID) || strings.HasPrefix(one.OpenID, "oFAKEunknown") &&
					errors.Is(err, wechatuser.CodeInvalidOpenID), "%v", err)
		case err != nil:
			last = err
			continue
		default:
			assert.Equal(t, r.input[done], user.OpenID)
			assert.Equal(t, "union of "+user.OpenID, user.UnionID)
		}
		if done++; done == to {
			break
		}
	}
	assert.Zero(t, r.faults.Running, "requests under way after the end")
	return done, last
}

// TestBulkReadModel reads random profiles with random faults, and resumes after the last that it got.
func TestBulkReadModel(t *testing.T) {
	e := newEvents(t, doubleRevocation, limiterError, onlyRejections)
	forSeeds(t, readCases, func(t *testing.T, seed uint64) {
		r := newReadCase(seed)
		ctx, to := t.Context(), len(r.input)+1
		if r.rng.IntN(4) == 0 {
			limited, cancel := context.WithTimeout(ctx, time.Duration(1+r.rng.Int64N(int64(10*time.Second))))
			defer cancel()
			ctx = limited
		}
		if r.rng.IntN(4) == 0 {
			to = 1 + r.rng.IntN(len(r.input)+1)
		}
		done, err := r.read(ctx, t, 0, to)
		e.note(doubleRevocation, r.faults.Doubled > 0)
		e.note(limiterError, errors.Is(err, errLimiter))
		e.note(onlyRejections, r.faults.OnlyCode != 0 && r.faults.Sent > 0)
		switch {
		case err != nil:
			assert.True(t, ctx.Err() != nil || r.faults.Percent > 0 || errors.Is(err, errLimiter), "%v", err)
		case to > len(r.input):
			assert.Equal(t, len(r.input), done)
			if r.faults.Percent == 0 {
				assert.LessOrEqual(t, r.faults.Sent, (len(r.input)+99)/100+2*r.bad*7, "calls")
			}
		}
		r.faults.Off = true
		r.limiter.stop()
		done, err = r.read(t.Context(), t, done, len(r.input)+1)
		assert.NoError(t, err)
		assert.Equal(t, len(r.input), done)
	})
}

// TestSyncModel interrupts a sync in random ways and runs it again.
func TestSyncModel(t *testing.T) {
	e := newEvents(t, doubleRevocation, limiterError, onlyRejections, listRepeats)
	forSeeds(t, syncCases, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fans := rng.IntN([]int{5, 60, 300}[rng.IntN(3)])
		noCursor := float64(rng.IntN(3)) / 3 // lists whose pages have no cursor
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans),
			wechatusertest.WithPageSize(1+rng.IntN(100)),
			wechatusertest.WithQuirks(wechatusertest.Quirks{NoCursor: noCursor}))
		pick := func() (ids []string) {
			share := rng.IntN(11)
			for i := range fans {
				if rng.IntN(10) < share {
					ids = append(ids, wechatusertest.OpenID(i))
				}
			}
			rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			return ids
		}
		there, wanted := pick(), pick()
		tag := srv.AddTag("vip", there...)
		srv.Block(there...)
		faults := testutil.NewFaultTransport(srv.Transport(), seed)
		faults.Percent = []uint64{0, 3, 15}[rng.IntN(3)]
		faults.Fatal = rng.IntN(3) == 0
		faults.StalePages = noCursor == 0
		faults.BreakOff = rng.IntN(4) == 0
		if rng.IntN(2) == 0 {
			faults.Revoke = srv.ExpireTokens
		}
		clientOpts := []wechatuser.Option{wechatuser.WithTransport(faults)}
		var limiter *failingLimiter
		if rng.IntN(8) == 0 {
			limiter = &failingLimiter{rng: rand.New(rand.NewPCG(seed, 4))}
			clientOpts = append(clientOpts, wechatuser.WithLimiter(limiter))
		}
		if rng.IntN(20) == 0 {
			faults.Percent = 100
			faults.OnlyCode = []wechatuser.Code{
				wechatuser.CodeSystemBusy, wechatuser.CodeInvalidCredential, wechatuser.CodeDailyQuotaExceeded,
			}[rng.IntN(3)]
		}
		c := srv.Client(clientOpts...)
		members := func() []string { return srv.TagFans(tag) }
		run := func(ctx context.Context, ids iter.Seq2[string, error],
			opts ...wechatuser.SyncOption,
		) (*wechatuser.SyncReport, error) {
			return c.SyncTag(ctx, tag, ids, opts...)
		}
		if rng.IntN(3) == 0 {
			members = srv.Blacklist
			run = c.SyncBlacklist
		}
		strangers := []string{wechatusertest.ForeignOpenID(1), "no openid"}[:rng.IntN(3)]
		input := slices.Concat(wanted, strangers)
		if len(input) > 0 {
			input = append(input, input[rng.IntN(len(input))])
		}
		opts := []wechatuser.SyncOption{wechatuser.WithConcurrency(1 + rng.IntN(5))}
		keep := rng.IntN(4) == 0
		if keep {
			opts = append(opts, wechatuser.WithoutRemoval())
		}
		var inputErr error
		if rng.IntN(6) == 0 {
			inputErr = io.ErrNoProgress
		}
		ids := seq.ListThen(input, inputErr)
		fromList := len(strangers) == 0 && inputErr == nil && rng.IntN(2) == 0
		listed := 0   // calls of the input
		if fromList { // the input is a list of the platform, which may break off
			list := c.AllTagFans(t.Context(), srv.AddTag("wanted", wanted...))
			ids = func(yield func(string, error) bool) {
				before := faults.Sent
				defer func() { listed = faults.Sent - before }()
				for id, err := range list {
					if !yield(id, err) {
						return
					}
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.Int64N(int64(2*time.Minute))))
		defer cancel()

		report, err := run(ctx, ids, opts...)
		e.note(doubleRevocation, faults.Doubled > 0)
		e.note(limiterError, errors.Is(err, errLimiter))
		e.note(onlyRejections, faults.OnlyCode != 0 && faults.Sent > 0)
		e.note(listRepeats, faults.Repeated > 0)
		assert.Equal(t, faults.Sent, report.Calls+listed)
		after := members()
		var stopped *wechatuser.BulkError
		switch {
		case inputErr != nil:
			assert.ErrorIs(t, err, inputErr)
			assert.ElementsMatch(t, there, after, "an input that breaks changes nothing")
			assert.Zero(t, report.Calls)
		case err == nil || faults.Percent == 0 && !faults.Fatal && !faults.BreakOff && limiter == nil &&
			ctx.Err() == nil:
			assert.Len(t, report.Added.Failed, len(strangers))
			assert.Equal(t, len(strangers) == 0, err == nil)
			assert.Equal(t, len(wanted), report.Added.Applied+report.Unchanged)
			if keep {
				assert.Zero(t, report.Removed)
				assert.Subset(t, after, there)
			} else {
				assert.ElementsMatch(t, wanted, after)
				assert.Equal(t, len(there), report.Removed.Applied+report.Unchanged)
			}
		default:
			require.ErrorAs(t, err, &stopped)
		}
		for _, id := range after {
			assert.True(t, slices.Contains(there, id) || slices.Contains(wanted, id))
		}
		for _, id := range there {
			if keep || slices.Contains(wanted, id) {
				assert.Contains(t, after, id, "who is to stay is never taken out")
			}
		}

		faults.Off = true
		limiter.stop()
		_, _ = run(t.Context(), wechatuser.OpenIDs(input...))
		assert.ElementsMatch(t, wanted, members(), "after running it again")
		before := srv.Calls("*")
		again, err := run(t.Context(), wechatuser.OpenIDs(wanted...))
		require.NoError(t, err)
		assert.Equal(t, wechatuser.SyncReport{Unchanged: len(wanted), Calls: srv.Calls("*") - before}, *again,
			"nothing is left to do")
	})
}
