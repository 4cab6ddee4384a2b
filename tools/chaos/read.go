package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// list walks over a shelf, and compares what it gets with the model.
func (w *worker) list(s *shelf) {
	name := "list " + s.name
	w.began(name, len(s.model))
	var (
		got  []string
		last string
	)
	for {
		var err error
		w.once(func(ctx context.Context, c *wechatuser.Client, _ *task) {
			var id string
			for id, err = range s.list(ctx, c, wechatuser.StartAfter(last), wechatuser.WithPrefetch(w.rng.IntN(3))) {
				if err != nil {
					return
				}
				last = id
				got = append(got, id)
			}
		})
		if err == nil {
			break
		}
		if !w.resume(name, err) {
			return
		}
	}
	seen := setOf(got)
	w.isLost(s.model.less(seen), "%s: they are not in the list", name)
	w.isDoubled(seen.less(s.model), "%s: they should not be in the list", name)
	if len(seen) != len(got) {
		slices.Sort(got)
		w.isDoubled(make([]string, len(got)-len(seen)), "%s: the list has openids twice", name)
	}
	w.tell("%s: %s: %d openids", w.name, name, len(got))
}

// read fetches profiles until the storm is over.
func (w *worker) read() {
	for w.gate.storm.Load() {
		w.profiles()
	}
}

func (w *worker) profiles() {
	const name = "user info"
	rest := w.people.sample(w.rng)
	whole := w.rng.IntN(3) == 0
	if whole {
		rest = w.people.fans
	}
	place := ""
	w.began(name, len(rest))
	w.tell("%s: %s of %d openids", w.name, name, len(rest))
	for {
		var err error
		w.once(func(ctx context.Context, c *wechatuser.Client, _ *task) {
			input := wechatuser.OpenIDs(rest...)
			if whole {
				input = c.AllFans(ctx, wechatuser.StartAfter(place))
			}
			leave := -1 // now and then the loop ends early
			if w.rng.IntN(10) == 0 {
				leave = w.rng.IntN(len(rest) + 1)
			}
			for user, e := range c.BulkUserInfo(ctx, input, wechatuser.WithConcurrency(1+w.rng.IntN(6))) {
				var one *wechatuser.OpenIDError
				if e != nil && !errors.As(e, &one) {
					err = e
					return
				}
				if len(rest) == 0 {
					w.isDoubled([]string{user.OpenID}, "%s: one more than there were", name)
					return
				}
				if !w.checkProfile(rest[0], user, one) {
					rest = nil
					return
				}
				place, rest = rest[0], rest[1:]
				if leave--; leave == -1 {
					err = errLeft
					return
				}
			}
			if len(rest) > 0 {
				w.isLost(rest, "%s: the loop ended before them, without an error", name)
				rest = nil
			}
		})
		switch {
		case err == nil:
			return
		case errors.Is(err, errLeft):
		case !w.resume(name, err):
			return
		}
	}
}

var errLeft = errors.New("the loop was left")

// checkProfile checks that an answer is that for an openid. It reports false if everything after it is out of step.
func (w *worker) checkProfile(openID string, user wechatuser.UserInfo, failed *wechatuser.OpenIDError) bool {
	k := w.people.kinds[openID]
	switch {
	case failed != nil && failed.OpenID != openID || failed == nil && user.OpenID != openID:
		w.isLost([]string{openID}, "user info: the loop got %q, %v in its place", user.OpenID, failed)
		return false
	case failed != nil && (k == foreign || k == malformed):
		if !isVerdict(failed.Err, k) {
			w.isWrong("user info: %q: the error is no verdict on it: %v", openID, failed.Err)
		}
	case failed != nil:
		w.isWrong("user info: %q was refused, and nothing is wrong with it: %v", openID, failed.Err)
	case k == foreign || k == malformed:
		w.isWrong("user info: %q has a profile", openID)
	case k == gone && user.Subscribed():
		w.isWrong("user info: %q has left, and follows", openID)
	case k == fan && (!user.Subscribed() || user.Remark != remarkOf(openID) && !strings.HasPrefix(user.Remark, scribble)):
		w.isWrong("user info: %q has somebody else's profile: %q", openID, user.Remark)
	}
	return true
}
