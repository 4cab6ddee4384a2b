package wechatusertest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Snapshot is the content of an account at a point in time: users, tags, remarks and blacklist, but not tokens and
// quotas. It can be encoded to JSON and back without loss.
type Snapshot struct {
	// NextTagID is the id of the next tag to be created.
	NextTagID int `json:"next_tag_id"`
	// Tags holds the account's own tags and the platform's star tag, sorted by id.
	Tags []TagState `json:"tags"`
	// Users holds everybody who ever followed, in the order of their first follow.
	Users []UserState `json:"users"`
}

// TagState is a tag. The tags of a user are in [UserState].
type TagState struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// UserState is the state of a user, including former followers.
type UserState struct {
	OpenID        string `json:"openid"`
	SubscribeTime int64  `json:"subscribe_time,omitempty"` // Unix seconds
	Left          bool   `json:"left,omitempty"`           // former follower
	Blocked       bool   `json:"blocked,omitempty"`
	Remark        string `json:"remark,omitempty"`
	TagIDList     []int  `json:"tagid_list,omitempty"` // sorted

	Profile
}

// Snapshot returns the current content of the account.
func (s *Server) Snapshot() Snapshot {
	a := s.copyAccount()
	snap := Snapshot{NextTagID: a.nextTag, Tags: a.tagStates(), Users: make([]UserState, len(a.users))}
	for u := range a.users {
		snap.Users[u] = a.userState(u)
	}
	return snap
}

// copyAccount returns a copy of the account that can be read without the lock. It has no index.
func (s *Server) copyAccount() account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account
	a.index = nil
	a.users = slices.Clone(a.users) // profiles are replaced, never modified
	a.following, a.blocked = a.following.clone(), a.blocked.clone()
	a.tags = slices.Clone(a.tags)
	for i, t := range a.tags {
		a.tags[i] = &tag{id: t.id, name: t.name, fans: t.fans.clone()}
	}
	return a
}

func (a *account) tagStates() []TagState {
	tags := make([]TagState, len(a.tags))
	for i, t := range a.tags {
		tags[i] = TagState{ID: t.id, Name: t.name}
	}
	return tags
}

func (a *account) userState(u int) UserState {
	user := &a.users[u]
	state := UserState{
		OpenID: user.openID, SubscribeTime: user.subscribeTime, Remark: user.remark,
		Left: !a.following.has(u), Blocked: a.blocked.has(u),
	}
	for _, t := range a.tags {
		if t.fans.has(u) {
			state.TagIDList = append(state.TagIDList, t.id)
		}
	}
	if p := user.profile; p != nil {
		state.Profile = *p
	}
	return state
}

// maxDiffLines is the maximum number of lines in a diff. Further lines are only counted.
const maxDiffLines = 50

// Diff describes the changes from s to other, one per line, tags first. A line begins with "+" for what only other has,
// with "-" for what only s has, and with "~" for what differs. Diff returns the empty string if the two are equal. It
// returns at most 50 lines, followed by the number of further ones.
//
//	before := srv.Snapshot()
//	…
//	fmt.Print(before.Diff(srv.Snapshot()))
func (s Snapshot) Diff(other Snapshot) string {
	var d differ
	d.tags(s, other)
	d.users(s, other)
	if s.NextTagID != other.NextTagID {
		d.line("~ next tag id: %d, then %d", s.NextTagID, other.NextTagID)
	}
	if more := d.lines - maxDiffLines; more > 0 {
		fmt.Fprintf(&d.text, "… and %d more\n", more)
	}
	return d.text.String()
}

type differ struct {
	text  strings.Builder
	lines int
}

func (d *differ) line(format string, args ...any) {
	if d.lines++; d.lines <= maxDiffLines {
		fmt.Fprintf(&d.text, format+"\n", args...)
	}
}

func (d *differ) tags(before, after Snapshot) {
	old, now := before.tagNames(), after.tagNames()
	oldFans, nowFans := before.fanCounts(), after.fanCounts()
	both := maps.Clone(old)
	maps.Copy(both, now)
	for _, id := range slices.Sorted(maps.Keys(both)) {
		oldName, had := old[id]
		name, has := now[id]
		switch {
		case !had:
			d.line("+ tag %d %q: %s", id, name, plural(nowFans[id], "fan"))
		case !has:
			d.line("- tag %d %q: %s", id, oldName, plural(oldFans[id], "fan"))
		default:
			if oldName != name {
				d.line("~ tag %d %q: is now %q", id, oldName, name)
			}
			if oldFans[id] != nowFans[id] {
				d.line("~ tag %d %q: %s, then %d", id, name, plural(oldFans[id], "fan"), nowFans[id])
			}
		}
	}
}

func (s Snapshot) tagNames() map[int]string {
	names := make(map[int]string, len(s.Tags))
	for _, t := range s.Tags {
		names[t.ID] = t.Name
	}
	return names
}

func (s Snapshot) fanCounts() map[int]int {
	counts := make(map[int]int)
	for i := range s.Users {
		for _, id := range s.Users[i].TagIDList {
			counts[id]++
		}
	}
	return counts
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (d *differ) users(before, after Snapshot) {
	old := make(map[string]*UserState, len(before.Users))
	for i := range before.Users {
		old[before.Users[i].OpenID] = &before.Users[i]
	}
	for i := range after.Users {
		u := &after.Users[i]
		was, known := old[u.OpenID]
		delete(old, u.OpenID)
		switch {
		case known && !reflect.DeepEqual(was, u):
			for _, change := range was.changes(u) {
				d.line("~ user %s: %s", u.OpenID, change)
			}
		case !known && d.lines >= maxDiffLines:
			d.lines++ // count the line without building it
		case !known:
			d.line("+ user %s", strings.Join(append([]string{u.OpenID}, (&UserState{}).changes(u)...), ", "))
		}
	}
	for i := range before.Users {
		if u := &before.Users[i]; old[u.OpenID] != nil {
			d.line("- user %s", u.OpenID)
		}
	}
}

var userFields = reflect.VisibleFields(reflect.TypeFor[UserState]())

// changes returns the fields that differ, such as `remark "", then "vip"`. For a new user it returns the fields that
// are set.
func (u *UserState) changes(now *UserState) []string {
	var list []string
	was, is := reflect.ValueOf(u).Elem(), reflect.ValueOf(now).Elem()
	for _, field := range userFields {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		old, value := was.FieldByIndex(field.Index).Interface(), is.FieldByIndex(field.Index).Interface()
		switch {
		case field.Anonymous || name == "openid" || reflect.DeepEqual(old, value):
		case u.OpenID == "":
			list = append(list, fmt.Sprintf("%s %s", name, show(value)))
		default:
			list = append(list, fmt.Sprintf("%s %s, then %s", name, show(old), show(value)))
		}
	}
	return list
}

// show formats a value, strings in quotes.
func show(v any) string {
	if reflect.ValueOf(v).Kind() == reflect.String {
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}
