package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// MemoryStore is a [Store] in memory, for tests. The zero value is ready for use.
type MemoryStore struct {
	mu     sync.Mutex
	appID  string
	ticket int64
	rows   map[string]memoryRow
	walks  map[string]Walk
}

type memoryRow struct {
	ticket    int64
	at        time.Time
	leftAt    time.Time
	profile   *wechatuser.UserInfo
	profileAt time.Time
	// profileTicket is at most the ticket, and equal to it for a former follower.
	profileTicket int64
}

// Open implements [Store].
func (s *MemoryStore) Open(_ context.Context, appID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appID != "" && s.appID != appID {
		return otherAccount(s.appID, appID)
	}
	if s.appID == "" {
		s.appID, s.rows, s.walks = appID, map[string]memoryRow{}, map[string]Walk{}
	}
	return nil
}

func otherAccount(owner, appID string) error {
	return fmt.Errorf("the table is that of the account %s, not of %s", owner, appID)
}

// Ticket implements [Store].
func (s *MemoryStore) Ticket(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticket++
	return s.ticket, nil
}

// Put implements [Store].
func (s *MemoryStore) Put(_ context.Context, statements []Statement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range statements {
		row := s.rows[st.OpenID]
		if !st.Follows() {
			s.forgetPlace(st.OpenID)
		}
		if st.Ticket >= row.ticket {
			row.ticket, row.at, row.leftAt = st.Ticket, st.At, st.LeftAt
			if !st.Follows() {
				row.profile, row.profileAt, row.profileTicket = nil, time.Time{}, st.Ticket
			}
		}
		if st.Profile != nil && st.Follows() && st.Ticket >= row.profileTicket {
			profile := *st.Profile
			row.profile, row.profileAt, row.profileTicket = &profile, st.At, st.Ticket
		}
		s.rows[strings.Clone(st.OpenID)] = row
	}
	return nil
}

// forgetPlace makes walks that would resume after a user who has left resume at the beginning.
func (s *MemoryStore) forgetPlace(openID string) {
	for kind, w := range s.walks {
		if w.Place == openID {
			w.Place, w.Listed = "", 0
			s.walks[kind] = w
		}
	}
}

// Listed implements [Store].
func (s *MemoryStore) Listed(_ context.Context, l Listing) (unknown, stale []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, openID := range l.OpenIDs {
		row, ok := s.rows[openID]
		switch {
		case !ok, !row.leftAt.IsZero() && row.ticket < l.Ticket:
			unknown = append(unknown, openID)
			continue
		case !row.leftAt.IsZero():
			continue
		case row.profile == nil, row.profileAt.Before(l.StaleBefore):
			stale = append(stale, openID)
		}
		if row.ticket < l.Ticket {
			row.ticket, row.at = l.Ticket, l.At
			s.rows[openID] = row
		}
	}
	return unknown, stale, nil
}

// Count implements [Store].
func (s *MemoryStore) Count(_ context.Context, ticket int64) (followers, unlisted int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range s.rows {
		if row.leftAt.IsZero() {
			followers++
			if row.ticket < ticket {
				unlisted++
			}
		}
	}
	return followers, unlisted, nil
}

// Unlisted implements [Store].
func (s *MemoryStore) Unlisted(_ context.Context, ticket int64, after string, limit int) (openIDs []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for openID, row := range s.rows {
		if row.leftAt.IsZero() && row.ticket < ticket && openID > after {
			openIDs = append(openIDs, openID)
		}
	}
	slices.Sort(openIDs)
	return openIDs[:min(limit, len(openIDs))], nil
}

// Purge implements [Store].
func (s *MemoryStore) Purge(_ context.Context, ticket int64, before time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for openID, row := range s.rows {
		if !row.leftAt.IsZero() && row.ticket < ticket && row.at.Before(before) {
			delete(s.rows, openID)
		}
	}
	return nil
}

// LoadWalk implements [Store].
func (s *MemoryStore) LoadWalk(_ context.Context, kind string) (Walk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.walks[kind], nil
}

// SaveWalk implements [Store].
func (s *MemoryStore) SaveWalk(_ context.Context, kind string, ticket int64, w Walk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.walks[kind].Ticket == ticket && s.rows[w.Place].leftAt.IsZero() {
		s.walks[kind] = w
	}
	return nil
}

// Followers returns the followers, sorted by openid. A profile that was not read yet has only the openid.
func (s *MemoryStore) Followers() (users []wechatuser.UserInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for openID, row := range s.rows {
		switch {
		case !row.leftAt.IsZero():
		case row.profile != nil:
			users = append(users, *row.profile)
		default:
			users = append(users, wechatuser.UserInfo{OpenID: openID})
		}
	}
	slices.SortFunc(users, func(a, b wechatuser.UserInfo) int { return strings.Compare(a.OpenID, b.OpenID) })
	return users
}
