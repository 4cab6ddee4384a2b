package main

import (
	"context"
	"errors"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// list lists the members of a target and compares them with the expected ones.
func (w *worker) list(t *target) {
	name := "list " + t.name
	w.jobStarted(name, len(t.want))
	var (
		got    []string
		cursor string
	)
	for {
		var err error
		w.runOnce(func(ctx context.Context, c *wechatuser.Client, _ *jobRun) {
			var id string
			opts := []wechatuser.ListOption{wechatuser.StartAfter(cursor), wechatuser.WithPrefetch(w.rng.IntN(3))}
			for id, err = range t.list(ctx, c, opts...) {
				if err != nil {
					return
				}
				cursor = id
				got = append(got, id)
			}
		})
		if err == nil {
			break
		}
		if !w.waitToResume(name, err) {
			return
		}
	}
	listed := setOf(got)
	w.addLost(t.want.minus(listed), "%s: missing from the list", name)
	w.addUnexpected(listed.minus(t.want), "%s: in the list, not expected", name)
	if len(listed) != len(got) {
		w.addDoubled(duplicates(got), "%s: the list has duplicates", name)
	}
	w.logf("%s: %s: %d openids", w.name, name, len(got))
}

// duplicates returns the elements that were in the list before.
func duplicates(ids []string) (again []string) {
	seen := make(set)
	for _, id := range ids {
		if seen[id] {
			again = append(again, id)
		}
		seen[id] = true
	}
	return again
}

// readProfiles reads profiles until the faults end.
func (w *worker) readProfiles() {
	for w.gateway.active.Load() {
		w.profiles()
	}
}

// profiles reads the profiles of some openids or of all followers, in as many runs as it takes.
func (w *worker) profiles() {
	const name = "user info"
	remaining := w.population.sample(w.rng)
	all := w.rng.IntN(3) == 0
	if all {
		remaining = w.population.fans
	}
	cursor := ""
	w.jobStarted(name, len(remaining))
	w.logf("%s: %s of %d openids", w.name, name, len(remaining))
	for {
		var err error
		w.runOnce(func(ctx context.Context, c *wechatuser.Client, _ *jobRun) {
			input := wechatuser.OpenIDs(remaining...)
			if all {
				input = c.AllFans(ctx, wechatuser.StartAfter(cursor))
			}
			left := -1 // number of profiles before a break; negative for none
			if w.rng.IntN(10) == 0 {
				left = w.rng.IntN(len(remaining) + 1)
			}
			for user, e := range c.BulkUserInfo(ctx, input, wechatuser.WithConcurrency(1+w.rng.IntN(6))) {
				var openIDErr *wechatuser.OpenIDError
				if e != nil && !errors.As(e, &openIDErr) {
					err = e
					return
				}
				if len(remaining) == 0 {
					w.addDoubled([]string{user.OpenID}, "%s: more profiles than openids", name)
					return
				}
				if !w.checkProfile(remaining[0], user, openIDErr) {
					remaining = nil
					return
				}
				cursor, remaining = remaining[0], remaining[1:]
				if left--; left == -1 {
					err = errBreak
					return
				}
			}
			if len(remaining) > 0 {
				w.addLost(remaining, "%s: the loop ended before these, without an error", name)
				remaining = nil
			}
		})
		switch {
		case err == nil:
			return
		case errors.Is(err, errBreak):
		case !w.waitToResume(name, err):
			return
		}
	}
}

var errBreak = errors.New("break of the loop")

// checkProfile checks that a profile or an error belongs to openID. It returns false if the loop is out of step with
// its input, so that nothing after it can be checked.
func (w *worker) checkProfile(openID string, user wechatuser.UserInfo, failed *wechatuser.OpenIDError) bool {
	k := w.population.kinds[openID]
	switch {
	case failed != nil && failed.OpenID != openID || failed == nil && user.OpenID != openID:
		w.addLost([]string{openID}, "user info: the loop returned %q, %v in its place", user.OpenID, failed)
		return false
	case failed != nil && (k == foreign || k == malformed):
		if !explainsRejection(failed.Err, k) {
			w.addMismatch("user info: %q: the error does not say what is wrong with it: %v", openID, failed.Err)
		}
	case failed != nil:
		w.addMismatch("user info: valid openid %q was rejected: %v", openID, failed.Err)
	case k == foreign || k == malformed:
		w.addMismatch("user info: invalid openid %q has a profile", openID)
	case k == formerFollower && user.Subscribed():
		w.addMismatch("user info: former follower %q is subscribed", openID)
	case k == follower && !user.Subscribed():
		w.addMismatch("user info: follower %q is not subscribed", openID)
	case k == follower && user.Remark != remarkOf(openID) && !strings.HasPrefix(user.Remark, remarkPrefix):
		w.addMismatch("user info: %q has the profile of another user: %q", openID, user.Remark)
	}
	return true
}
