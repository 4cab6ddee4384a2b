package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	// resumable is how old a walk may be that is resumed. The platform is known to return nothing for an old cursor.
	resumable = 24 * time.Hour
	// departed is how long the row of a former follower is kept, so that an older answer that is still on its way does
	// not bring the user back. It is longer than any walk is resumed.
	departed = 48 * time.Hour
	// confirmed is how many of those who were not in the list are asked about at a time.
	confirmed = 1000
	// few followers may all leave at once; see ErrMassRemoval.
	few = 10
)

// Full makes the table equal to the account: it walks the list of all followers, reads the profiles of those whose
// profile it lacks, and removes those who have left. [WithProfilesOlderThan] reads other profiles again.
//
// The list costs one call for each 10,000 openids and two more, and profiles one for each 100. Before anybody is
// removed who is not in the list, the profile has to say so too, at one call for each 100. Memory does not grow with
// the account.
//
// If it fails or is killed, run it again: for 24 hours it resumes where it was, and reads at most 1,000 profiles twice.
// If a list broke off or is suspect, or a quota is used up, nobody is removed. It returns a report even if it returns
// an error: one that wraps [ErrSuspectList] or [ErrMassRemoval], one of the SDK or one of the store.
func (m *Mirror) Full(ctx context.Context, opts ...WalkOption) (*Report, error) {
	return m.walk(ctx, "full", "Full", !m.noProfiles, opts)
}

// Reconcile is [Mirror.Full] without profiles: it adds the openids of those who are new, without a profile, and removes
// those who have left. Run it once a day, for the pushes that were lost. Full reads the profiles of those it has added.
func (m *Mirror) Reconcile(ctx context.Context, opts ...WalkOption) (*Report, error) {
	return m.walk(ctx, "reconcile", "Reconcile", false, opts)
}

// walker is one run over the list.
type walker struct {
	*Mirror
	walkConfig
	kind     string
	profiles bool
	place    Walk
	report   *Report
}

func (m *Mirror) walk(ctx context.Context, kind, name string, profiles bool, opts []WalkOption) (*Report, error) {
	w := &walker{Mirror: m, kind: kind, profiles: profiles, report: new(Report)}
	for i, opt := range opts {
		if opt == nil {
			return w.report, fmt.Errorf("mirror: %s: option %d is nil", name, i+1)
		}
		if err := opt(&w.walkConfig); err != nil {
			return w.report, err
		}
	}
	ctx, calls := wechatuser.CountCalls(ctx)
	err := w.run(ctx)
	w.report.Calls = calls()
	if err != nil {
		err = fmt.Errorf("mirror: %s: %w", name, err)
	}
	return w.report, err
}

func (w *walker) run(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	total, err := w.list(ctx)
	lostPlace := errors.Is(err, wechatuser.CodeInvalidOpenID) || err == nil && isSuspect(w.place.Listed, total)
	if w.report.Resumed && lostPlace {
		// The place may be that of somebody whose WeChat account does not exist anymore, or too old for the platform.
		w.place.Place, w.place.Listed = "", 0
		total, err = w.list(ctx)
	}
	if err != nil {
		return err
	}
	switch err = w.removeUnlisted(ctx, total); {
	case errors.Is(err, ErrSuspectList), errors.Is(err, ErrMassRemoval): // the next run begins anew
	case err != nil:
		return err
	case !w.keepDepartures:
		if err := w.store.Purge(ctx, w.place.Ticket, w.now().Add(-departed)); err != nil {
			return err
		}
	}
	return errors.Join(err, w.store.SaveWalk(ctx, w.kind, w.place.Ticket, Walk{}))
}

// begin resumes a walk, or begins one.
func (w *walker) begin(ctx context.Context) error {
	old, err := w.store.LoadWalk(ctx, w.kind)
	if err != nil {
		return err
	}
	age := w.now().Sub(old.Started)
	if old.Ticket != 0 && age < resumable && age > -resumable {
		w.place, w.report.Resumed = old, true
		return nil
	}
	w.place.Started = w.now()
	if w.place.Ticket, err = w.store.Ticket(ctx); err != nil {
		return err
	}
	// If another process begins at the same time, only one of the two can be resumed.
	return w.store.SaveWalk(ctx, w.kind, old.Ticket, w.place)
}

// list walks the list to its end and returns the platform's number of followers.
func (w *walker) list(ctx context.Context) (total int, err error) {
	batch := make([]string, 0, w.batch)
	for {
		place := []wechatuser.ListOption{wechatuser.StartAfter(w.place.Place), wechatuser.WithPrefetch(0)}
		for openID, err := range w.client.AllFans(ctx, append(place, w.waits...)...) {
			if err != nil {
				return 0, err
			}
			if batch = append(batch, openID); len(batch) == w.batch {
				if err := w.take(ctx, batch); err != nil {
					return 0, err
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			if err := w.take(ctx, batch); err != nil {
				return 0, err
			}
			batch = batch[:0]
		}
		// The end has to be one twice, and it has the number of all followers.
		end, err := w.client.GetFans(ctx, w.place.Place)
		if err != nil {
			return 0, err
		}
		if len(end.OpenIDs) == 0 || w.place.Listed > 2*end.Total+w.batch { // those who follow meanwhile are not endless
			return end.Total, nil
		}
	}
}

// take stores a part of the list.
func (w *walker) take(ctx context.Context, openIDs []string) error {
	l := Listing{Ticket: w.place.Ticket, At: w.place.Started, OpenIDs: distinct(openIDs)}
	if w.profiles && w.olderThan != nil {
		l.StaleBefore = w.place.Started.Add(-*w.olderThan)
	}
	unknown, stale, err := w.store.Listed(ctx, l)
	if err != nil {
		return err
	}
	w.report.Added += len(unknown)
	if w.profiles {
		err = w.readProfiles(ctx, unknown, stale)
	} else {
		err = w.store.Put(ctx, w.bare(unknown))
	}
	if err != nil {
		return err
	}
	w.place.Place = openIDs[len(openIDs)-1]
	w.place.Listed += len(openIDs)
	w.report.Listed = w.place.Listed
	if err := w.store.SaveWalk(ctx, w.kind, w.place.Ticket, w.place); err != nil {
		return err
	}
	w.showProgress()
	return nil
}

func (w *walker) showProgress() {
	if w.progress != nil {
		w.progress(Progress{Listed: w.report.Listed, Profiles: w.report.Profiles, Removed: w.report.Removed})
	}
}

// bare returns statements that users follow, without their profiles.
func (w *walker) bare(openIDs []string) []Statement {
	statements := make([]Statement, len(openIDs))
	for i, openID := range openIDs {
		statements[i] = Statement{Ticket: w.place.Ticket, At: w.place.Started, OpenID: openID}
	}
	return statements
}

// readProfiles stores the profiles of users who are new, and of those whose profile is out of date.
func (w *walker) readProfiles(ctx context.Context, unknown, stale []string) error {
	isNew := make(map[string]bool, len(unknown))
	for _, openID := range unknown {
		isNew[openID] = true
	}
	var statements []Statement
	at := w.now()
	err := w.askAbout(ctx, append(unknown, stale...), func(openID string, user *wechatuser.UserInfo, gone bool) {
		s := Statement{Ticket: w.place.Ticket, At: at, OpenID: openID}
		switch {
		case user != nil:
			s.Profile = w.keep(*user)
			w.report.Profiles++
		case gone: // since the list was read
			s.LeftAt = at
			if isNew[openID] {
				w.report.Added--
			} else {
				w.report.Removed++
			}
		default: // the list says that the user follows
			w.report.Failed++
		}
		statements = append(statements, s)
	})
	if err != nil {
		return err
	}
	return w.store.Put(ctx, statements)
}

// askAbout calls f with what the platform says about each openid: the profile of a follower, that the user does not
// follow, or neither, if it returns no profile.
func (w *walker) askAbout(
	ctx context.Context, openIDs []string, f func(openID string, user *wechatuser.UserInfo, gone bool),
) error {
	if len(openIDs) == 0 {
		return nil
	}
	for user, err := range w.client.BulkUserInfo(ctx, wechatuser.OpenIDs(openIDs...), w.bulk...) {
		one, isOne := err.(*wechatuser.OpenIDError) //nolint:errorlint // one inside another error ends the list
		switch {
		case isOne:
			f(one.OpenID, nil, errors.Is(one, wechatuser.CodeInvalidOpenID))
		case err != nil:
			return err
		case user.Subscribed():
			f(user.OpenID, &user, false)
		default:
			f(user.OpenID, nil, true)
		}
	}
	return nil
}

// removeUnlisted removes the followers in the table who were not in the list, if their profiles say so too.
func (w *walker) removeUnlisted(ctx context.Context, total int) error {
	if isSuspect(w.place.Listed, total) {
		return fmt.Errorf("%w: it has %d openids of %d", ErrSuspectList, w.place.Listed, total)
	}
	followers, unlisted, err := w.store.Count(ctx, w.place.Ticket)
	if err != nil {
		return err
	}
	if unlisted > few && unlisted > followers-unlisted && !w.massRemoval {
		return fmt.Errorf("%w: %d of %d", ErrMassRemoval, unlisted, followers)
	}
	after := ""
	for unlisted > 0 {
		openIDs, err := w.store.Unlisted(ctx, w.place.Ticket, after, confirmed)
		if err != nil || len(openIDs) == 0 {
			return err
		}
		after = openIDs[len(openIDs)-1]
		var statements []Statement
		at := w.now()
		err = w.askAbout(ctx, openIDs, func(openID string, user *wechatuser.UserInfo, gone bool) {
			s := Statement{Ticket: w.place.Ticket, At: at, OpenID: openID}
			if gone {
				s.LeftAt = at
				statements = append(statements, s)
				w.report.Removed++
				return
			}
			w.report.Kept++
			if user != nil && w.profiles {
				s.Profile = w.keep(*user)
				statements = append(statements, s)
				w.report.Profiles++
			}
		})
		if err != nil {
			return err
		}
		if err := w.store.Put(ctx, statements); err != nil {
			return err
		}
		w.showProgress()
	}
	return nil
}

// isSuspect reports whether a list is too short for the platform's number of followers. The two differ a little while
// users follow and leave; who is removed is asked about in any case.
func isSuspect(listed, total int) bool { return listed+total/100+few < total }

// distinct returns the openids without duplicates and without empty ones, in their order.
func distinct(openIDs []string) []string {
	seen := make(map[string]bool, len(openIDs))
	list := make([]string, 0, len(openIDs))
	for _, openID := range openIDs {
		if openID != "" && !seen[openID] {
			seen[openID] = true
			list = append(list, openID)
		}
	}
	return list
}
