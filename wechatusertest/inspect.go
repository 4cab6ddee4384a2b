package wechatusertest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// User returns the profile that the platform would return for an openid. It reports false if the openid never followed.
func (s *Server) User(openID string) (wechatuser.UserInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, known := s.index[openID]
	if !known {
		return wechatuser.UserInfo{}, false
	}
	return s.info(u), true
}

// Users returns the profiles of all followers, in the order of their first follow.
func (s *Server) Users() []wechatuser.UserInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]wechatuser.UserInfo, 0, s.following.n)
	for _, u := range s.following.all() {
		users = append(users, s.info(u))
	}
	return users
}

// OpenIDs returns the openids of all followers, in the order of their first follow.
func (s *Server) OpenIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openIDs(&s.following)
}

// Tags returns the account's own tags. The platform's tags are not included.
func (s *Server) Tags() []wechatuser.Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := []wechatuser.Tag{}
	for _, t := range s.tags {
		if t.id >= len(systemTags) {
			tags = append(tags, wechatuser.Tag{ID: t.id, Name: t.name, Count: t.fans.n})
		}
	}
	return tags
}

// TagFans returns the openids of the followers with a tag. It returns nil if the tag does not exist.
func (s *Server) TagFans(tagID int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tag(tagID)
	if t == nil {
		return nil
	}
	return s.openIDs(&t.fans)
}

// Blacklist returns the openids of the blocked users.
func (s *Server) Blacklist() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openIDs(&s.blocked)
}

// UserFilter selects users for [Server.FindUsers]. A user must match all fields.
type UserFilter struct {
	// Text is a substring of the openid, the unionid, the remark or the nickname.
	Text string
	// TagID is a tag of the user; 0 matches all users.
	TagID int
	// Blocked selects users on the blacklist. Left selects former followers; without it, FindUsers returns followers
	// only.
	Blocked, Left bool
	// After is the openid after which the search starts. If it is empty or unknown, the search starts at the beginning.
	After string
	// Limit is the maximum number of users to return; 0 means 100.
	Limit int
}

// FindUsers returns the users that match f, in the order of their first follow. To get the next page, pass the last
// openid as After.
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

// Totals holds the sizes of an account.
type Totals struct {
	Followers int `json:"followers"`
	Blocked   int `json:"blocked"`
	Left      int `json:"left"` // former followers
	Tags      int `json:"tags"` // without the platform's own
}

// Totals counts the users and tags of the account.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Totals{
		Followers: s.following.n, Blocked: s.blocked.n, Left: len(s.users) - s.following.n, Tags: len(s.tags) - 1,
	}
}

// TokenState describes an access token of the account without revealing the token.
type TokenState struct {
	Masked  string    `json:"masked"` // beginning of the token, such as "103_Imxxxx"
	Stable  bool      `json:"stable"` // stable token; false for a legacy token
	Expires time.Time `json:"expires"`
	// Revoked is the time from which the token is rejected although it has not expired; zero if it was not revoked.
	Revoked time.Time `json:"revoked,omitzero"`
}

// Tokens returns the access tokens that are valid now, oldest first.
func (s *Server) Tokens() []TokenState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, list := s.now(), []TokenState{}
	for _, t := range s.order {
		if t.validFor(now, 0) {
			list = append(list, TokenState{
				Masked: redacted("access_token", t.value), Stable: t.stable, Expires: t.expires, Revoked: t.revoked,
			})
		}
	}
	return list
}

// QuotaState holds the number of calls of an API and its quota.
type QuotaState struct {
	API       string `json:"api"`
	Path      string `json:"path"`
	Calls     int    `json:"calls"`      // since the start, including failed calls
	Day       int    `json:"day"`        // charged to today's quota
	Minute    int    `json:"minute"`     // charged to this minute's quota
	PerDay    int    `json:"per_day"`    // enforced quota, 0 for no limit
	PerMinute int    `json:"per_minute"` // enforced quota, 0 for no limit
}

// Quotas returns the call counts and quotas of all APIs, sorted by path.
func (s *Server) Quotas() []QuotaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, list := s.now(), []QuotaState{}
	for _, path := range slices.Sorted(maps.Keys(s.routes)) {
		r := s.routes[path]
		list = append(list, QuotaState{
			API: r.api, Path: path, Calls: r.calls,
			Day: r.day.count(dayOf(now)), Minute: r.minute.count(now.Unix() / 60),
			PerDay: r.perDay, PerMinute: r.perMinute,
		})
	}
	return list
}

// Now returns the time of the account's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}
