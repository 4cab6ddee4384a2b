package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/wechatuser/wechatuser"
)

const retryReason = "some openids rejected with errcode 45169 or 45171, to be retried"

// change adds some openids or all followers to a target, or removes them.
func (w *worker) change(t *target, add bool) {
	if w.rng.IntN(6) == 0 {
		w.changeTo(t, add, w.population.fans, true)
		return
	}
	w.changeTo(t, add, w.population.sample(w.rng), false)
}

// changeTo adds openids to a target or removes them, in as many runs as it takes. all means that the input is the
// account's list of followers.
func (w *worker) changeTo(t *target, add bool, input []string, all bool) {
	name := map[bool]string{true: "add to ", false: "remove from "}[add] + t.name
	remaining := input
	cursor := "" // in the list of followers
	w.jobStarted(name, len(input))
	for {
		var (
			report *wechatuser.BulkReport
			err    error
		)
		before := t.members()
		w.runOnce(func(ctx context.Context, c *wechatuser.Client, run *jobRun) {
			openIDs := wechatuser.OpenIDs(remaining...)
			if all {
				// The job does not count the calls for its input.
				openIDs = c.AllFans(context.WithValue(ctx, runKey{}, (*jobRun)(nil)), wechatuser.StartAfter(cursor))
			}
			report, err = t.change(ctx, c, add, openIDs, wechatuser.WithConcurrency(1+w.rng.IntN(6)))
			w.checkCalls(name, report.Calls, run)
			w.checkDoubled(name, remaining, run)
		})
		result := changeRun{name: name, add: add, input: remaining, before: before, after: t.members()}
		retry, reason := w.checkReport(result, report, err)
		if reason == nil && len(retry) == 0 {
			break
		}
		if reason == nil { // only some openids are left
			w.jobStopped(name, retryReason)
			remaining, all = retry, false
			continue
		}
		remaining = append(slices.Clip(remaining[finalCount(remaining, report.ResumeAfter):]), retry...)
		all = all && len(retry) == 0
		if report.ResumeAfter != "" {
			cursor = report.ResumeAfter
		}
		if !w.waitToResume(name, reason) {
			return
		}
	}
	w.logf("%s: %s: %d openids done", w.name, name, len(input))
	for _, id := range input {
		if accepts(w.population.kinds[id], add) {
			if add {
				t.want[id] = true
			} else {
				delete(t.want, id)
			}
		}
	}
}

// finalCount returns how many openids of the input have a final outcome, as ResumeAfter is documented.
func finalCount(input []string, resumeAfter string) int {
	if resumeAfter == "" {
		return 0
	}
	return slices.Index(input, resumeAfter) + 1
}

// checkCalls compares the number of calls in a report with the requests of the run.
func (w *worker) checkCalls(name string, calls int, run *jobRun) {
	if arrived, sent := int(run.arrived.Load()), int(run.sent.Load()); calls < arrived || calls > sent {
		w.addMismatch("%s: the report says %d calls; %d requests were sent, %d arrived", name, calls, sent, arrived)
	}
}

// checkDoubled checks that a run made no call for an openid for which an earlier call had succeeded. An openid that is
// in the input several times may be sent as often.
func (w *worker) checkDoubled(name string, input []string, run *jobRun) {
	given := make(map[string]int)
	for _, id := range input {
		given[id]++
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	var doubled []string
	for id, n := range run.done {
		if n > max(1, given[id]) {
			doubled = append(doubled, id)
		}
	}
	w.addDoubled(doubled, "%s: sent again after a call that succeeded", name)
}

// changeRun is one run of a job: its input, and the members of the target before and after it.
type changeRun struct {
	name          string
	add           bool
	input         []string
	before, after set
}

// checkReport compares a report with what happened to the account. It returns the openids to retry at once, and the
// error that stopped the job, or nil if the job finished.
func (w *worker) checkReport(d changeRun, r *wechatuser.BulkReport, err error) (retry []string, reason error) {
	var bulkErr *wechatuser.BulkError
	switch {
	case err == nil:
		if len(r.Failed) > 0 {
			w.addMismatch("%s: %d openids failed, and the error is nil", d.name, len(r.Failed))
		}
	case !errors.As(err, &bulkErr):
		w.addMismatch("%s: the error is not a BulkError: %v", d.name, err)
		return nil, nil
	default:
		reason = bulkErr.Err
		if bulkErr.Report != r {
			w.addMismatch("%s: the error has another report", d.name)
		}
	}
	if r.Total != r.Applied+len(r.Failed) {
		w.addMismatch("%s: total %d, applied %d, failed %d", d.name, r.Total, r.Applied, len(r.Failed))
	}
	if r.Total > len(d.input) || reason == nil && r.Total != len(d.input) {
		w.addMismatch("%s: %d openids in the input, %d in the report; stopped by: %v",
			d.name, len(d.input), r.Total, reason)
	}

	given := make(map[string]int) // how often each openid is in the input
	for _, id := range d.input {
		given[id]++
	}
	if r.ResumeAfter != "" && given[r.ResumeAfter] == 0 {
		w.addMismatch("%s: ResumeAfter is %q, which is not in the input", d.name, r.ResumeAfter)
	}
	end := len(d.input)
	if reason != nil {
		end = finalCount(d.input, r.ResumeAfter)
	}
	final := make(map[string]int) // how often with a final outcome
	for _, id := range d.input[:end] {
		final[id]++
	}
	w.checkOthers(d, given)
	w.checkChanged(d.name, len(d.after.minus(d.before))+len(d.before.minus(d.after)), r)
	retry = w.checkFailed(d, r, given, final)
	w.checkApplied(d, r, given)
	w.checkFinal(d, r, final)
	return retry, reason
}

// checkOthers checks that a run changed only openids of its input.
func (w *worker) checkOthers(d changeRun, given map[string]int) {
	var wrong []string
	for _, id := range append(d.after.minus(d.before), d.before.minus(d.after)...) {
		if given[id] == 0 || d.after[id] != d.add {
			wrong = append(wrong, id)
		}
	}
	w.addUnexpected(wrong, "%s: changed without being requested", d.name)
}

// checkChanged checks that a report accounts for all changed openids: as applied, or as failed and ambiguous.
func (w *worker) checkChanged(name string, changed int, r *wechatuser.BulkReport) {
	reported := r.Applied
	for i := range r.Failed {
		if errors.Is(r.Failed[i].Err, wechatuser.ErrAmbiguous) {
			reported++
		}
	}
	if changed > reported {
		w.addMismatch("%s: %d openids were changed, the report accounts for %d: %v", name, changed, reported, r)
	}
}

// checkFailed checks the failed openids of a report, and returns those to retry at once.
func (w *worker) checkFailed(d changeRun, r *wechatuser.BulkReport, given, final map[string]int) (retry []string) {
	failed := make(map[string]int)
	var (
		unexpected []string
		first      error // of these
	)
	for i := range r.Failed {
		f := &r.Failed[i]
		id, kind := f.OpenID, w.population.kinds[f.OpenID]
		if failed[id]++; failed[id] > given[id] {
			w.addMismatch("%s: %q is %d times among the failed, %d times in the input",
				d.name, id, failed[id], given[id])
		}
		// One occurrence of a duplicate may be applied and another one fail.
		changed := d.before[id] != d.add && d.after[id] == d.add
		if given[id] == 1 && changed && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			unexpected, first = append(unexpected, id), cmp.Or(first, f.Err)
		}
		switch {
		case errors.Is(f.Err, errLimiter) && !errors.Is(f.Err, wechatuser.ErrAmbiguous):
			w.addMismatch("%s: %q was not sent, and is among the failed: %v", d.name, id, f.Err)
		case isTransient(f.Err):
			if final[id] > 0 {
				retry = append(retry, id)
			}
		case explainsRejection(f.Err, kind):
			if accepts(kind, d.add) {
				w.addMismatch("%s: valid openid %q was rejected: %v", d.name, id, f.Err)
			}
		case given[id] == final[id]:
			w.addMismatch("%s: the outcome of %q is final, and its error does not say what is wrong with it: %v",
				d.name, id, f.Err)
		}
	}
	w.addUnexpected(unexpected, "%s: changed, though reported as failed; the first error: %v", d.name, first)
	return retry
}

// checkApplied checks that a report has no more openids applied than the account can have changed.
func (w *worker) checkApplied(d changeRun, r *wechatuser.BulkReport, given map[string]int) {
	possible := 0
	for id := range given {
		if d.after[id] == d.add && w.population.kinds[id] != malformed {
			possible += given[id]
		}
	}
	if r.Applied > possible {
		w.addMismatch("%s: the report says %d applied, the account has at most %d of them", d.name, r.Applied, possible)
	}
}

// checkFinal checks the openids with a final outcome: each is applied or among the failed.
func (w *worker) checkFinal(d changeRun, r *wechatuser.BulkReport, final map[string]int) {
	failed := make(map[string]int)
	for _, id := range r.FailedOpenIDs() {
		failed[id]++
	}
	var lost, unreported []string
	for id, n := range final {
		switch accepted := accepts(w.population.kinds[id], d.add); {
		case accepted && failed[id] == 0 && d.after[id] != d.add:
			lost = append(lost, id)
		case !accepted && failed[id] < n:
			unreported = append(unreported, id)
		}
	}
	w.addLost(lost, "%s: neither applied nor reported as failed", d.name)
	w.addLost(unreported, "%s: rejected by the account, and not reported as failed", d.name)
}

// isTransient reports whether an openid was rejected for a moment only, so that it can be retried at once.
func isTransient(err error) bool {
	return errors.Is(err, wechatuser.CodeConcurrentTagging) || errors.Is(err, wechatuser.CodeSomeOpenIDsFailed)
}

// explainsRejection reports whether an error says what is wrong with an openid of this kind.
func explainsRejection(err error, k kind) bool {
	switch k {
	case malformed:
		var argErr *wechatuser.ArgumentError
		return errors.As(err, &argErr)
	case foreign:
		return errors.Is(err, wechatuser.CodeOpenIDMismatch) || errors.Is(err, wechatuser.CodeInvalidOpenID)
	default:
		return errors.Is(err, wechatuser.CodeUserUnsubscribed) || errors.Is(err, wechatuser.CodeInvalidOpenID) ||
			errors.Is(err, wechatuser.CodeOpenIDMismatch)
	}
}
