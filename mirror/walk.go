package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	// maxWalkAge is the age up to which a walk is resumed. The platform may return nothing for an old cursor.
	maxWalkAge = 24 * time.Hour
	// purgeAfter is how long the row of a former follower is kept, so that a late response that is older does not add
	// the user again. It is longer than maxWalkAge, since a resumed walk has an old ticket.
	purgeAfter = 48 * time.Hour
	// removalBatch is the number of followers missing from the list whose profiles are read at a time.
	removalBatch = 1000
	// few is a number of followers that may all leave or be missing at once; see ErrMassRemoval and ErrSuspectList.
	few = 10
)

// Full brings the table in line with the account: it walks over the list of all followers
// ([wechatuser.Client.AllFans]), reads missing profiles ([wechatuser.Client.BulkUserInfo]), and removes users who have
// left. With [WithProfilesOlderThan] it also reads old profiles again.
//
// It makes one call for each 10,000 openids of the list and two more, and one call for each 100 profiles. It reads the
// profile of each follower who is missing from the list, and removes the user only if the profile says so too. Its
// memory does not grow with the number of followers.
//
// If it fails or is killed, run it again: for 24 hours it resumes where it stopped, and reads at most 1,000 profiles
// twice. If it cannot read the whole list, it removes nobody who is missing from it.
//
// It returns a report even if it fails. Its error is one of package wechatuser or of the store, or matches
// [ErrSuspectList] or [ErrMassRemoval].
func (m *Mirror) Full(ctx context.Context, opts ...WalkOption) (*Report, error) {
	return m.walk(ctx, "full", "Full", !m.noProfiles, opts)
}

// Reconcile is like [Mirror.Full], but adds new followers without their profiles, which the next Full reads. Run it
// once a day, because pushes can be lost.
func (m *Mirror) Reconcile(ctx context.Context, opts ...WalkOption) (*Report, error) {
	return m.walk(ctx, "reconcile", "Reconcile", false, opts)
}

// walker is one run over the list.
type walker struct {
	*Mirror
	walkConfig
	kind     string
	profiles bool
	current  Walk
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
	lostCursor := errors.Is(err, wechatuser.CodeInvalidOpenID) || err == nil && isSuspect(w.current.Listed, total)
	if w.report.Resumed && lostCursor {
		// The cursor may be a user whose WeChat account no longer exists, or may be too old for the platform.
		w.current.Cursor, w.current.Listed = "", 0
		total, err = w.list(ctx)
	}
	if err != nil {
		return err
	}
	switch err = w.removeUnlisted(ctx, total); {
	case errors.Is(err, ErrSuspectList), errors.Is(err, ErrMassRemoval): // the next run starts over
	case err != nil:
		return err
	case !w.keepDepartures:
		if err := w.store.Purge(ctx, w.current.Ticket, w.now().Add(-purgeAfter)); err != nil {
			return err
		}
	}
	return errors.Join(err, w.store.SaveWalk(ctx, w.kind, w.current.Ticket, Walk{}))
}

// begin resumes the saved walk, or begins a new one.
func (w *walker) begin(ctx context.Context) error {
	old, err := w.store.LoadWalk(ctx, w.kind)
	if err != nil {
		return err
	}
	age := w.now().Sub(old.Started)
	if old.Ticket != 0 && age < maxWalkAge && age > -maxWalkAge {
		w.current, w.report.Resumed = old, true
		return nil
	}
	w.current.Started = w.now()
	if w.current.Ticket, err = w.store.Ticket(ctx); err != nil {
		return err
	}
	// If another process begins at the same time, only one of the two walks is saved and can be resumed.
	return w.store.SaveWalk(ctx, w.kind, old.Ticket, w.current)
}

// list walks over the list to its end, and returns the platform's number of followers.
func (w *walker) list(ctx context.Context) (total int, err error) {
	batch := make([]string, 0, w.batch)
	for {
		opts := []wechatuser.ListOption{wechatuser.StartAfter(w.current.Cursor), wechatuser.WithPrefetch(0)}
		for openID, err := range w.client.AllFans(ctx, append(opts, w.waits...)...) {
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
		// Read the empty page at the end once more: it confirms the end, and has the number of all followers.
		end, err := w.client.GetFans(ctx, w.current.Cursor)
		if err != nil {
			return 0, err
		}
		if len(end.OpenIDs) == 0 || w.current.Listed > 2*end.Total+w.batch { // never loop forever
			return end.Total, nil
		}
	}
}

// take stores a part of the list and saves the cursor.
func (w *walker) take(ctx context.Context, openIDs []string) error {
	l := Listing{Ticket: w.current.Ticket, At: w.current.Started, OpenIDs: distinct(openIDs)}
	if w.profiles && w.olderThan != nil {
		l.StaleBefore = w.current.Started.Add(-*w.olderThan)
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
	w.current.Cursor = openIDs[len(openIDs)-1]
	w.current.Listed += len(openIDs)
	w.report.Listed = w.current.Listed
	if err := w.store.SaveWalk(ctx, w.kind, w.current.Ticket, w.current); err != nil {
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
		statements[i] = Statement{Ticket: w.current.Ticket, At: w.current.Started, OpenID: openID}
	}
	return statements
}

// readProfiles reads and stores the profiles of new followers and those that are stale.
func (w *walker) readProfiles(ctx context.Context, unknown, stale []string) error {
	isNew := make(map[string]bool, len(unknown))
	for _, openID := range unknown {
		isNew[openID] = true
	}
	var statements []Statement
	at := w.now()
	err := w.askAbout(ctx, append(unknown, stale...), func(openID string, user *wechatuser.UserInfo, gone bool) {
		s := Statement{Ticket: w.current.Ticket, At: at, OpenID: openID}
		switch {
		case user != nil:
			s.Profile = w.filter(*user)
			w.report.Profiles++
		case gone: // the user has left since the list was read
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

// askAbout reads the profile of each openid and calls f with it. For a user who does not follow, user is nil and gone
// is set. If the platform returns no profile, both are zero.
func (w *walker) askAbout(
	ctx context.Context, openIDs []string, f func(openID string, user *wechatuser.UserInfo, gone bool),
) error {
	if len(openIDs) == 0 {
		return nil
	}
	for user, err := range w.client.BulkUserInfo(ctx, wechatuser.OpenIDs(openIDs...), w.bulk...) {
		one, isOne := err.(*wechatuser.OpenIDError) //nolint:errorlint // inside another error it ends the list
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

// removeUnlisted removes the followers in the table who are missing from the list and whose profiles say that they do
// not follow.
func (w *walker) removeUnlisted(ctx context.Context, total int) error {
	if isSuspect(w.current.Listed, total) {
		return fmt.Errorf("%w: it has %d openids of %d", ErrSuspectList, w.current.Listed, total)
	}
	followers, unlisted, err := w.store.Count(ctx, w.current.Ticket)
	if err != nil {
		return err
	}
	if unlisted > few && unlisted > followers-unlisted && !w.massRemoval {
		return fmt.Errorf("%w: %d of %d", ErrMassRemoval, unlisted, followers)
	}
	after := ""
	for unlisted > 0 {
		openIDs, err := w.store.Unlisted(ctx, w.current.Ticket, after, removalBatch)
		if err != nil || len(openIDs) == 0 {
			return err
		}
		after = openIDs[len(openIDs)-1]
		var statements []Statement
		at := w.now()
		err = w.askAbout(ctx, openIDs, func(openID string, user *wechatuser.UserInfo, gone bool) {
			s := Statement{Ticket: w.current.Ticket, At: at, OpenID: openID}
			if gone {
				s.LeftAt = at
				statements = append(statements, s)
				w.report.Removed++
				return
			}
			w.report.Kept++
			if user != nil && w.profiles {
				s.Profile = w.filter(*user)
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

// isSuspect reports whether a list is much shorter than the platform's number of followers. The two differ a little
// while users follow and leave, which does no harm, because a profile is read before a user is removed.
func isSuspect(listed, total int) bool { return listed+total/100+few < total }

// distinct returns the openids without duplicates and empty ones, in the same order.
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
