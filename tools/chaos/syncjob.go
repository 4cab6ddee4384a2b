package main

import (
	"context"
	"errors"

	"github.com/wechatuser/wechatuser"
)

// sync makes a shelf hold some openids and no others.
func (w *worker) sync(s *shelf) {
	name := "sync " + s.name
	wanted := w.people.sample(w.rng)
	w.began(name, len(wanted))
	w.model(s, wanted)
	for {
		var (
			report *wechatuser.SyncReport
			err    error
		)
		before := s.members()
		w.once(func(ctx context.Context, c *wechatuser.Client, t *task) {
			report, err = s.sync(ctx, c, wechatuser.OpenIDs(wanted...), wechatuser.WithConcurrency(1+w.rng.IntN(6)))
			w.checkCalls(name, report.Calls, t)
		})
		why := stop(err)
		again := w.checkSync(s, name, wanted, before, report, err, why)
		switch {
		case why != nil:
			if !w.resume(name, why) {
				return
			}
		case again:
			w.stopped(name, "some openids refused with errcode 45169 or 45171, to be tried again")
		default:
			w.tell("%s: %s: %v", w.name, name, report)
			return
		}
	}
}

// model says who is on the shelf after a sync.
func (w *worker) model(s *shelf, wanted []string) {
	s.model = make(set)
	for _, id := range wanted {
		if accepts(w.people.kinds[id], true) {
			s.model[id] = true
		}
	}
}

// stop gives the reason for which a sync was stopped, nil where it came to its end.
func stop(err error) error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return nil
	case *wechatuser.BulkError:
		return e.Err
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if why := stop(inner); why != nil {
				return why
			}
		}
		return nil
	}
	return err
}

// checkSync compares a report with what became of the account, and reports whether some openids are to be tried again.
func (w *worker) checkSync(s *shelf, name string, input []string, before set, r *wechatuser.SyncReport, err, why error) (again bool) {
	after, wanted := s.members(), setOf(input)
	added, removed := after.less(before), before.less(after)
	for _, part := range []*wechatuser.BulkReport{&r.Added, &r.Removed} {
		if part.Total != part.Applied+len(part.Failed) {
			w.isWrong("%s: total %d, applied %d, failed %d", name, part.Total, part.Applied, len(part.Failed))
		}
		if err == nil && len(part.Failed) > 0 {
			w.isWrong("%s: %d openids failed, and there is no error", name, len(part.Failed))
		}
	}
	w.checkTold(name, len(added), &r.Added)
	w.checkTold(name, len(removed), &r.Removed)
	w.isDoubled(setOf(added).less(wanted), "%s: nobody asked to add them", name)
	var mourned, doubled []string
	for _, id := range removed {
		if wanted[id] {
			mourned = append(mourned, id)
		}
	}
	w.isLost(mourned, "%s: removed, and wanted", name)

	failed := make(map[string]error)
	for i := range r.Added.Failed {
		f := &r.Added.Failed[i]
		failed[f.OpenID] = f.Err
		again = again || passes(f.Err)
		if after[f.OpenID] && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			doubled = append(doubled, f.OpenID)
		}
	}
	for i := range r.Removed.Failed {
		f := &r.Removed.Failed[i]
		failed[f.OpenID] = f.Err
		again = again || passes(f.Err)
		if !after[f.OpenID] && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			doubled = append(doubled, f.OpenID)
		}
	}
	w.isDoubled(doubled, "%s: failed for sure, as the report says, and done", name)

	if why != nil && len(removed) == 0 {
		return again
	}
	// Whether it came to its end or not, adding did.
	var lost []string
	for id := range wanted {
		switch kind := w.people.kinds[id]; {
		case passes(failed[id]):
		case accepts(kind, true) && !after[id], !accepts(kind, true) && !isVerdict(failed[id], kind):
			lost = append(lost, id)
		}
	}
	w.isLost(lost, "%s: not added, or not said to have failed; %d are removed", name, len(removed))
	if why != nil {
		return again
	}
	lacking, extra := wanted.less(before), before.less(wanted)
	unchanged := len(wanted) - len(lacking)
	if r.Added.Total != len(lacking) || r.Removed.Total != len(extra) || r.Unchanged != unchanged {
		w.isWrong("%s: to add %d, to remove %d, %d unchanged, and the report says: %v", name, len(lacking), len(extra), unchanged, r)
	}
	return again
}
