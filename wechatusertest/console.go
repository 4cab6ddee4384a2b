package wechatusertest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// UserFilter chooses users for [Server.FindUsers]. All of it must apply.
type UserFilter struct {
	// Text is a part of the openid, the unionid, the remark or the nickname.
	Text string
	// TagID is a tag that they have; 0 for any.
	TagID int
	// Blocked and Left choose those who are on the blacklist, and those who follow no more. Followers are chosen
	// otherwise.
	Blocked, Left bool
	// After is the openid to go on after; empty to begin.
	After string
	// Limit is how many are given at most; 0 for 100.
	Limit int
}

// FindUsers are users in the order of the list. To go on, give the last openid as After; an unknown one begins anew.
func (s *Server) FindUsers(f UserFilter) []UserState {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := 0
	if u, known := s.index[f.After]; known {
		from = u + 1
	}
	var tagged *bitset
	if f.TagID != 0 {
		t := s.tag(f.TagID)
		if t == nil {
			return nil
		}
		tagged = &t.fans
	}
	found := []UserState{}
	for u := from; u < len(s.users) && len(found) < cmp.Or(max(f.Limit, 0), 100); u++ {
		if s.following.has(u) == f.Left || f.Blocked && !s.blocked.has(u) || tagged != nil && !tagged.has(u) ||
			!s.users[u].contains(f.Text) {
			continue
		}
		found = append(found, s.userState(u))
	}
	return found
}

func (u *user) contains(text string) bool {
	return strings.Contains(u.openID, text) || strings.Contains(u.remark, text) ||
		u.profile != nil && (strings.Contains(u.profile.UnionID, text) || strings.Contains(u.profile.Nickname, text))
}

// Totals are the numbers of an account.
type Totals struct {
	Followers int `json:"followers"`
	Blocked   int `json:"blocked"`
	Left      int `json:"left"`
	Tags      int `json:"tags"` // without the platform's own
}

// Totals counts what is in the account.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Totals{
		Followers: s.following.n, Blocked: s.blocked.n, Left: len(s.users) - s.following.n, Tags: len(s.tags) - 1,
	}
}

// TokenState is an access token of the account, but not the token itself.
type TokenState struct {
	Masked  string    `json:"masked"` // its beginning, such as "103_Imxxxx"
	Stable  bool      `json:"stable"` // of the stable kind, otherwise of the legacy one
	Expires time.Time `json:"expires"`
	// Revoked is from when on it is refused before its time; zero for one that nothing has ended.
	Revoked time.Time `json:"revoked,omitzero"`
}

// Tokens are the access tokens that the account takes now, the oldest first.
func (s *Server) Tokens() []TokenState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, list := s.now(), []TokenState{}
	for _, t := range s.order {
		if t.usable(now, 0) {
			list = append(list, TokenState{Masked: masked("access_token", t.value), Stable: t.stable, Expires: t.expires, Revoked: t.revoked})
		}
	}
	return list
}

// QuotaState is how much an API was called.
type QuotaState struct {
	API       string `json:"api"`
	Path      string `json:"path"`
	Calls     int    `json:"calls"`      // ever, refused ones too
	Day       int    `json:"day"`        // that count today
	Minute    int    `json:"minute"`     // that count this minute
	PerDay    int    `json:"per_day"`    // enforced, 0 for no limit
	PerMinute int    `json:"per_minute"` // enforced, 0 for no limit
}

// Quotas are the counts of all APIs, by path.
func (s *Server) Quotas() []QuotaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, list := s.now(), []QuotaState{}
	for _, path := range slices.Sorted(maps.Keys(s.routes)) {
		r := s.routes[path]
		list = append(list, QuotaState{
			API: r.api, Path: path, Calls: r.calls, Day: r.day.in(dayOf(now)), Minute: r.minute.in(now.Unix() / 60),
			PerDay: r.perDay, PerMinute: r.perMinute,
		})
	}
	return list
}

// Now is the account's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}
