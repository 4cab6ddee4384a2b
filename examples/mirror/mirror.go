package main

import (
	"context"
	"errors"
	"time"

	"github.com/wechatuser/wechatuser"
)

// mirror is one run.
type mirror struct {
	wechat         *wechatuser.Client
	db             *database
	now            func() time.Time
	full, profiles bool
	batch          int // openids that are settled in one transaction, and so asked again after a kill, at most

	refused int // profiles that the platform would not give
}

func (m *mirror) run(ctx context.Context) error {
	tags, err := m.wechat.GetTags(ctx)
	if err != nil {
		return err
	}
	p, err := m.db.place()
	if err != nil {
		return err
	}
	if err := m.db.saveTags(tags); err != nil {
		return err
	}
	if !m.full {
		return m.walk(ctx, p, p.last)
	}
	if !p.sweeping { // else a sweep was stopped, which goes on
		p.sweep, p.sweeping, p.swept = p.sweep+1, true, ""
		if err := m.db.setPlace(p); err != nil {
			return err
		}
	}
	if err := m.walk(ctx, p, p.swept); err != nil {
		return err
	}
	return m.findLeavers(ctx)
}

// walk settles the followers after a place of the list, or all of them where the platform does not know the place any
// more.
func (m *mirror) walk(ctx context.Context, p place, from string) error {
	err := m.walkFrom(ctx, p, from)
	if from != "" && errors.Is(err, wechatuser.CodeInvalidOpenID) {
		err = m.walkFrom(ctx, p, "")
	}
	return err
}

func (m *mirror) walkFrom(ctx context.Context, p place, from string) error {
	batch := make([]string, 0, m.batch)
	settle := func() error {
		if len(batch) == 0 {
			return nil
		}
		p.last = batch[len(batch)-1]
		if m.full {
			p.swept = p.last
		}
		err := m.settle(ctx, p, batch)
		batch = batch[:0]
		return err
	}
	for openID, err := range m.wechat.AllFans(ctx, wechatuser.StartAfter(from)) {
		if err != nil {
			return err
		}
		if batch = append(batch, openID); len(batch) == m.batch {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

// settle asks for the profiles that the database lacks, and writes them with the place of the walk.
func (m *mirror) settle(ctx context.Context, p place, listed []string) error {
	ask := listed
	if !m.profiles {
		var err error
		if ask, err = m.db.notFollowing(listed); err != nil {
			return err
		}
	}
	users, unknown, err := m.ask(ctx, ask)
	if err != nil {
		return err
	}
	m.refused += len(unknown)
	return m.db.record(m.now(), users, listed, p)
}

// ask gives the profiles, and the openids that the account does not know any more.
func (m *mirror) ask(ctx context.Context, openIDs []string) (users []wechatuser.UserInfo, unknown []string, err error) {
	for user, err := range m.wechat.BulkUserInfo(ctx, wechatuser.OpenIDs(openIDs...)) {
		var one *wechatuser.OpenIDError
		switch {
		case errors.As(err, &one) && errors.Is(err, wechatuser.CodeInvalidOpenID):
			unknown = append(unknown, one.OpenID)
		case errors.As(err, &one):
			m.refused++
		case err != nil:
			return nil, nil, err
		default:
			users = append(users, user)
		}
	}
	return users, unknown, nil
}

// findLeavers ends a sweep. Who was not in the list is asked for by name: a list that lacks somebody is no proof.
func (m *mirror) findLeavers(ctx context.Context) error {
	for {
		missing, err := m.db.unseen(m.batch)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return m.db.endSweep()
		}
		users, unknown, err := m.ask(ctx, missing)
		if err != nil {
			return err
		}
		for _, openID := range unknown {
			users = append(users, wechatuser.UserInfo{OpenID: openID})
		}
		p, err := m.db.place()
		if err != nil {
			return err
		}
		// All of missing count as seen, also those who were refused for another reason: the next sweep asks again.
		if err := m.db.record(m.now(), users, missing, p); err != nil {
			return err
		}
	}
}
