package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/wechatuser/wechatuser"
)

// change puts some openids on a shelf or takes them off it.
func (w *worker) change(s *shelf, add bool) {
	name := map[bool]string{true: "add to ", false: "remove from "}[add] + s.name
	rest := w.people.sample(w.rng)
	whole := w.rng.IntN(6) == 0
	if whole {
		rest = w.people.fans
	}
	asked := rest
	place := "" // where to go on in the list of followers
	w.began(name, len(rest))
	for {
		var (
			report *wechatuser.BulkReport
			err    error
		)
		before := s.members()
		w.once(func(ctx context.Context, c *wechatuser.Client, t *task) {
			input := wechatuser.OpenIDs(rest...)
			if whole {
				// Calls for the input are none of the job's.
				input = c.AllFans(context.WithValue(ctx, taskKey{}, (*task)(nil)), wechatuser.StartAfter(place))
			}
			report, err = s.change(ctx, c, add, input, wechatuser.WithConcurrency(1+w.rng.IntN(6)))
			w.checkCalls(name, report.Calls, t)
		})
		again, why := w.check(changed{name: name, add: add, input: rest, before: before, after: s.members()}, report, err)
		if why == nil && len(again) == 0 {
			break
		}
		if why == nil {
			// The rest was refused for a moment only.
			w.stopped(name, "some openids refused with errcode 45169 or 45171, to be tried again")
			rest, whole = again, false
			continue
		}
		rest = append(slices.Clip(rest[settled(rest, report.ResumeAfter):]), again...)
		whole = whole && len(again) == 0
		if report.ResumeAfter != "" {
			place = report.ResumeAfter
		}
		if !w.resume(name, why) {
			return
		}
	}
	w.tell("%s: %s: %d openids done", w.name, name, len(asked))
	for _, id := range asked {
		if accepts(w.people.kinds[id], add) {
			if add {
				s.model[id] = true
			} else {
				delete(s.model, id)
			}
		}
	}
}

// settled is how many openids of the input are done with, as the documentation of ResumeAfter says.
func settled(input []string, resumeAfter string) int {
	if resumeAfter == "" {
		return 0
	}
	return slices.Index(input, resumeAfter) + 1
}

// checkCalls compares the number of calls in a report with what was sent.
func (w *worker) checkCalls(name string, calls int, t *task) {
	if low, high := int(t.arrived.Load()), int(t.tried.Load()); calls < low || calls > high {
		w.isWrong("%s: the report says %d calls, of %d that were tried, and %d arrived", name, calls, high, low)
	}
}

// changed is one run of a job: what it was given, and the account before and after it.
type changed struct {
	name          string
	add           bool
	input         []string
	before, after set
}

// check compares a report with what became of the account. It gives the openids that were refused for a moment
// only, and the reason for which the job was stopped, nil if it was not.
func (w *worker) check(d changed, r *wechatuser.BulkReport, err error) (again []string, why error) {
	var be *wechatuser.BulkError
	switch {
	case err == nil:
		if len(r.Failed) > 0 {
			w.isWrong("%s: %d openids failed, and there is no error", d.name, len(r.Failed))
		}
	case !errors.As(err, &be):
		w.isWrong("%s: an error that is no BulkError: %v", d.name, err)
		return nil, nil
	default:
		why = be.Err
		if be.Report != r {
			w.isWrong("%s: the error has another report", d.name)
		}
	}
	if r.Total != r.Applied+len(r.Failed) {
		w.isWrong("%s: total %d, applied %d, failed %d", d.name, r.Total, r.Applied, len(r.Failed))
	}
	if r.Total > len(d.input) || why == nil && r.Total != len(d.input) {
		w.isWrong("%s: the input has %d openids, the report %d; stopped by: %v", d.name, len(d.input), r.Total, why)
	}

	given := make(map[string]int)
	for _, id := range d.input {
		given[id]++
	}
	if r.ResumeAfter != "" && given[r.ResumeAfter] == 0 {
		w.isWrong("%s: to be resumed after %q, which is not in the input", d.name, r.ResumeAfter)
	}
	end := len(d.input)
	if why != nil {
		end = settled(d.input, r.ResumeAfter)
	}
	done := make(map[string]int) // of these, those with an outcome
	for _, id := range d.input[:end] {
		done[id]++
	}
	w.checkTouched(d, given)
	w.checkTold(d.name, len(d.after.less(d.before))+len(d.before.less(d.after)), r)
	again = w.checkFailed(d, r, given, done)

	failed := make(map[string]int)
	for _, id := range r.FailedOpenIDs() {
		failed[id]++
	}
	var lost, untold []string
	good := 0
	for id := range given {
		if d.after[id] == d.add && w.people.kinds[id] != malformed {
			good += given[id]
		}
	}
	if r.Applied > good {
		w.isWrong("%s: the report says %d applied, and the account has at most %d of them", d.name, r.Applied, good)
	}
	for id, n := range done {
		switch accepted := accepts(w.people.kinds[id], d.add); {
		case accepted && failed[id] == 0 && d.after[id] != d.add:
			lost = append(lost, id)
		case !accepted && failed[id] < n:
			untold = append(untold, id)
		}
	}
	w.isLost(lost, "%s: in no list of failures, and not done", d.name)
	w.isLost(untold, "%s: the account refuses them, and the report does not say so", d.name)
	return again, why
}

// checkTouched checks that a job changed nobody whom it was not asked to.
func (w *worker) checkTouched(d changed, given map[string]int) {
	var wrong []string
	for _, id := range append(d.after.less(d.before), d.before.less(d.after)...) {
		if given[id] == 0 || d.after[id] != d.add {
			wrong = append(wrong, id)
		}
	}
	w.isDoubled(wrong, "%s: nobody asked for them", d.name)
}

// checkTold checks that a report tells of everybody who was changed: as applied, or as failed and perhaps applied.
func (w *worker) checkTold(name string, changed int, r *wechatuser.BulkReport) {
	told := r.Applied
	for i := range r.Failed {
		if errors.Is(r.Failed[i].Err, wechatuser.ErrAmbiguous) {
			told++
		}
	}
	if changed > told {
		w.isWrong("%s: %d openids were changed, and the report tells of %d: %v", name, changed, told, r)
	}
}

// checkFailed checks the list of failures, and gives those that a user tries again at once.
func (w *worker) checkFailed(d changed, r *wechatuser.BulkReport, given, done map[string]int) (again []string) {
	failed := make(map[string]int)
	var (
		doubled []string
		first   error // of these
	)
	for i := range r.Failed {
		f := &r.Failed[i]
		id, kind := f.OpenID, w.people.kinds[f.OpenID]
		if failed[id]++; failed[id] > given[id] {
			w.isWrong("%s: %q failed %d times, and is %d times in the input", d.name, id, failed[id], given[id])
		}
		// Of those that come twice one may be done and the other not.
		if given[id] == 1 && d.before[id] != d.add && d.after[id] == d.add && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			doubled, first = append(doubled, id), cmp.Or(first, f.Err)
		}
		switch {
		case passes(f.Err):
			if done[id] > 0 {
				again = append(again, id)
			}
		case isVerdict(f.Err, kind):
			if accepts(kind, d.add) {
				w.isWrong("%s: %q was refused, and nothing is wrong with it: %v", d.name, id, f.Err)
			}
		case given[id] == done[id]:
			w.isWrong("%s: %q is done with, and its error is no verdict on it: %v", d.name, id, f.Err)
		}
	}
	w.isDoubled(doubled, "%s: failed for sure, as the report says, and done, the first with: %v", d.name, first)
	return again
}

// passes reports whether an openid was refused for a moment only.
func passes(err error) bool {
	return errors.Is(err, wechatuser.CodeConcurrentTagging) || errors.Is(err, wechatuser.CodeSomeOpenIDsFailed)
}

// isVerdict reports whether an error says what is wrong with an openid of that kind.
func isVerdict(err error, k kind) bool {
	switch k {
	case malformed:
		var bad *wechatuser.ArgumentError
		return errors.As(err, &bad)
	case foreign:
		return errors.Is(err, wechatuser.CodeOpenIDMismatch) || errors.Is(err, wechatuser.CodeInvalidOpenID)
	default:
		return errors.Is(err, wechatuser.CodeUserUnsubscribed) || errors.Is(err, wechatuser.CodeInvalidOpenID) ||
			errors.Is(err, wechatuser.CodeOpenIDMismatch)
	}
}
