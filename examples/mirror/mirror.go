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
	batch          int // openids per transaction, and thus the maximum read again after a kill

	rejected int // profiles that the platform has rejected
}

func (m *mirror) run(ctx context.Context) error {
	tags, err := m.wechat.GetTags(ctx)
	if err != nil {
		return err
	}
	c, err := m.db.cursor()
	if err != nil {
		return err
	}
	if err := m.db.saveTags(tags); err != nil {
		return err
	}
	if !m.full {
		return m.walk(ctx, c, c.last)
	}
	if !c.sweeping { // otherwise a stopped sweep is resumed
		c.sweep, c.sweeping, c.swept = c.sweep+1, true, ""
		if err := m.db.setCursor(c); err != nil {
			return err
		}
	}
	if err := m.walk(ctx, c, c.swept); err != nil {
		return err
	}
	return m.findLeavers(ctx)
}

// walk updates the followers after an openid of the list, or all of them if the platform rejects that openid.
func (m *mirror) walk(ctx context.Context, c cursor, from string) error {
	err := m.walkFrom(ctx, c, from)
	if from != "" && errors.Is(err, wechatuser.CodeInvalidOpenID) {
		err = m.walkFrom(ctx, c, "")
	}
	return err
}

func (m *mirror) walkFrom(ctx context.Context, c cursor, from string) error {
	batch := make([]string, 0, m.batch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		c.last = batch[len(batch)-1]
		if m.full {
			c.swept = c.last
		}
		err := m.updateBatch(ctx, c, batch)
		batch = batch[:0]
		return err
	}
	for openID, err := range m.wechat.AllFans(ctx, wechatuser.StartAfter(from)) {
		if err != nil {
			return err
		}
		if batch = append(batch, openID); len(batch) == m.batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// updateBatch reads the profiles that the database lacks, and saves them with the cursor.
func (m *mirror) updateBatch(ctx context.Context, c cursor, listed []string) error {
	needed := listed
	if !m.profiles {
		var err error
		if needed, err = m.db.notFollowing(listed); err != nil {
			return err
		}
	}
	users, unknown, err := m.fetchProfiles(ctx, needed)
	if err != nil {
		return err
	}
	m.rejected += len(unknown)
	return m.db.save(m.now(), users, listed, c)
}

// fetchProfiles returns the profiles, and the openids that the account does not know anymore.
func (m *mirror) fetchProfiles(
	ctx context.Context, openIDs []string,
) (users []wechatuser.UserInfo, unknown []string, err error) {
	for user, err := range m.wechat.BulkUserInfo(ctx, wechatuser.OpenIDs(openIDs...)) {
		var one *wechatuser.OpenIDError
		switch {
		case errors.As(err, &one) && errors.Is(err, wechatuser.CodeInvalidOpenID):
			unknown = append(unknown, one.OpenID)
		case errors.As(err, &one):
			m.rejected++
		case err != nil:
			return nil, nil, err
		default:
			users = append(users, user)
		}
	}
	return users, unknown, nil
}

// findLeavers completes a sweep. It reads the profiles of followers who were not in the list, since the list may be
// incomplete.
func (m *mirror) findLeavers(ctx context.Context) error {
	for {
		missing, err := m.db.unseen(m.batch)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return m.db.endSweep()
		}
		users, unknown, err := m.fetchProfiles(ctx, missing)
		if err != nil {
			return err
		}
		for _, openID := range unknown {
			users = append(users, wechatuser.UserInfo{OpenID: openID})
		}
		c, err := m.db.cursor()
		if err != nil {
			return err
		}
		// All of missing are marked as seen, even if they were rejected for another reason: the next sweep retries
		// them.
		if err := m.db.save(m.now(), users, missing, c); err != nil {
			return err
		}
	}
}
