package main

import (
	"context"
	"errors"

	"github.com/wechatuser/wechatuser"
)

// sync makes the members of a target equal to a sample of openids.
func (w *worker) sync(t *target) {
	name := "sync " + t.name
	input := w.population.sample(w.rng)
	w.jobStarted(name, len(input))
	w.setWant(t, input)
	for {
		var (
			report *wechatuser.SyncReport
			err    error
		)
		before := t.members()
		w.runOnce(func(ctx context.Context, c *wechatuser.Client, run *jobRun) {
			report, err = t.sync(ctx, c, wechatuser.OpenIDs(input...), wechatuser.WithConcurrency(1+w.rng.IntN(6)))
			w.checkCalls(name, report.Calls, run)
			w.checkDoubled(name, nil, run)
		})
		reason := stopError(err)
		retry := w.checkSync(syncRun{name, input, before, t.members()}, report, err, reason)
		switch {
		case reason != nil:
			if !w.waitToResume(name, reason) {
				return
			}
		case retry:
			w.jobStopped(name, retryReason)
		default:
			w.logf("%s: %s: %v", w.name, name, report)
			return
		}
	}
}

// setWant sets the members that a target is expected to have after a sync.
func (w *worker) setWant(t *target, input []string) {
	t.want = make(set)
	for _, id := range input {
		if accepts(w.population.kinds[id], true) {
			t.want[id] = true
		}
	}
}

// stopError returns the error that stopped a sync, or nil if the sync finished.
func stopError(err error) error {
	switch e := err.(type) { //nolint:errorlint // this walks the tree of errors
	case nil:
		return nil
	case *wechatuser.BulkError:
		return e.Err
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if reason := stopError(inner); reason != nil {
				return reason
			}
		}
		return nil
	}
	return err
}

// syncRun is one run of a sync: its input, and the members of the target before and after it.
type syncRun struct {
	name          string
	input         []string
	before, after set
}

// checkSync compares a report with what happened to the account. reason is the error that stopped the sync, or nil. It
// reports whether some openids can be retried at once.
func (w *worker) checkSync(d syncRun, r *wechatuser.SyncReport, err, reason error) (retry bool) {
	wanted := setOf(d.input)
	added, removed := d.after.minus(d.before), d.before.minus(d.after)
	for _, part := range []*wechatuser.BulkReport{&r.Added, &r.Removed} {
		if part.Total != part.Applied+len(part.Failed) {
			w.addMismatch("%s: total %d, applied %d, failed %d", d.name, part.Total, part.Applied, len(part.Failed))
		}
		if err == nil && len(part.Failed) > 0 {
			w.addMismatch("%s: %d openids failed, and the error is nil", d.name, len(part.Failed))
		}
	}
	w.checkChanged(d.name, len(added), &r.Added)
	w.checkChanged(d.name, len(removed), &r.Removed)
	w.addUnexpected(setOf(added).minus(wanted), "%s: added without being requested", d.name)
	var wrong, unexpected []string
	for _, id := range removed {
		if wanted[id] {
			wrong = append(wrong, id)
		}
	}
	w.addLost(wrong, "%s: removed, though requested", d.name)

	failed := make(map[string]error)
	for i := range r.Added.Failed {
		f := &r.Added.Failed[i]
		failed[f.OpenID] = f.Err
		retry = retry || isTransient(f.Err)
		if d.after[f.OpenID] && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			unexpected = append(unexpected, f.OpenID)
		}
	}
	for i := range r.Removed.Failed {
		f := &r.Removed.Failed[i]
		failed[f.OpenID] = f.Err
		retry = retry || isTransient(f.Err)
		if !d.after[f.OpenID] && !errors.Is(f.Err, wechatuser.ErrAmbiguous) {
			unexpected = append(unexpected, f.OpenID)
		}
	}
	w.addUnexpected(unexpected, "%s: changed, though reported as failed", d.name)

	if reason != nil && len(removed) == 0 {
		return retry
	}
	// A sync removes only when it has finished adding.
	var lost []string
	for id := range wanted {
		switch kind := w.population.kinds[id]; {
		case isTransient(failed[id]):
		case accepts(kind, true) && !d.after[id], !accepts(kind, true) && !explainsRejection(failed[id], kind):
			lost = append(lost, id)
		}
	}
	w.addLost(lost, "%s: neither added nor reported as failed; %d are removed", d.name, len(removed))
	if reason != nil {
		return retry
	}
	toAdd, toRemove := wanted.minus(d.before), d.before.minus(wanted)
	unchanged := len(wanted) - len(toAdd)
	if r.Added.Total != len(toAdd) || r.Removed.Total != len(toRemove) || r.Unchanged != unchanged {
		w.addMismatch("%s: want %d to add, %d to remove, %d unchanged; the report says: %v",
			d.name, len(toAdd), len(toRemove), unchanged, r)
	}
	return retry
}
