package wechatusertest

import (
	"fmt"

	"github.com/wechatuser/wechatuser"
)

// AddUsers adds followers with the given profiles. It replaces the whole profile of a user that the account knows.
//
// The users follow, whatever Subscribe says; use [Server.Unfollow] to make them leave. Zero fields get the platform's
// defaults: SubscribeTime is the account's time, SubscribeScene is [wechatuser.SceneSearch], Language is "zh_CN", and
// GroupID is the first tag. Unknown tags in TagIDList are created; 0 and 1 are ignored, as no follower can have these
// tags. It pushes nothing, unlike [Server.Follow]. It panics on an empty OpenID.
func (s *Server) AddUsers(users ...wechatuser.UserInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, info := range users {
		if info.OpenID == "" {
			panic("wechatusertest: AddUsers: empty OpenID")
		}
		s.setUser(s.follow(info.OpenID, s.now()), info)
	}
}

// Follow makes users follow the account, for the first time or again. Returning users keep their remark and their
// position in the list, but have no tags. It does not change users who follow already. With [WithPushes] it pushes
// subscribe for the others.
func (s *Server) Follow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range openIDs {
		s.followAndPush(id, noScene)
	}
}

// Unfollow makes users unfollow the account. It panics on an openid that never followed. With [WithPushes] it pushes
// unsubscribe for those who followed until now.
func (s *Server) Unfollow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Unfollow", openIDs) {
		if s.following.has(u) {
			s.push(pushEvent{event: eventUnsubscribe, openID: s.users[u].openID, fields: noScene})
		}
		s.unfollow(u)
	}
}

// AddTag creates a tag, adds it to followers, and returns its id. It panics on a name that the platform does not allow
// and on an openid that does not follow.
func (s *Server) AddTag(name string, openIDs ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := s.mustFollow("AddTag", openIDs)
	t, code := s.newTag(name)
	if code != 0 {
		panic(fmt.Sprintf("wechatusertest: AddTag: %v", code))
	}
	for _, u := range users {
		t.fans.add(u)
	}
	return t.id
}

// Tag adds a tag to followers. It panics on an unknown tag, on an openid that does not follow, and on a follower who
// has 20 other tags, and changes nobody then.
func (s *Server) Tag(tagID int, openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, users := s.mustHaveTag("Tag", tagID), s.mustFollow("Tag", openIDs)
	for _, u := range users {
		if !t.fans.has(u) && len(s.tagIDs(u)) >= maxTagsOfUser {
			panic(fmt.Sprintf("wechatusertest: Tag: %q: %v", s.users[u].openID, wechatuser.CodeTooManyTagsOnUser))
		}
	}
	for _, u := range users {
		t.fans.add(u)
	}
}

// Untag removes a tag from users. It panics on an unknown tag and on an openid that never followed.
func (s *Server) Untag(tagID int, openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.mustHaveTag("Untag", tagID)
	for _, u := range s.mustResolve("Untag", openIDs) {
		t.fans.remove(u)
	}
}

// SetRemark sets the remark of a follower. Like the platform's console, it accepts more than the 30 bytes of the API.
// It panics on an openid that does not follow.
func (s *Server) SetRemark(openID, remark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustFollow("SetRemark", []string{openID}) {
		s.users[u].remark = remark
	}
}

// Block adds users to the blacklist. It panics on an openid that never followed.
func (s *Server) Block(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Block", openIDs) {
		s.blocked.add(u)
	}
}

// Unblock removes users from the blacklist. It panics on an openid that never followed.
func (s *Server) Unblock(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Unblock", openIDs) {
		s.blocked.remove(u)
	}
}

func (s *Server) mustHaveTag(method string, id int) *tag {
	t := s.tag(id)
	if t == nil {
		panic(fmt.Sprintf("wechatusertest: %s: unknown tag %d", method, id))
	}
	return t
}

// mustFollow is mustResolve for followers only.
func (s *Server) mustFollow(method string, openIDs []string) []int {
	users := s.mustResolve(method, openIDs)
	for _, u := range users {
		if !s.following.has(u) {
			panic(fmt.Sprintf("wechatusertest: %s: %q does not follow", method, s.users[u].openID))
		}
	}
	return users
}

func (s *Server) mustResolve(method string, openIDs []string) []int {
	users := make([]int, 0, len(openIDs))
	for _, id := range openIDs {
		u, known := s.index[id]
		if !known {
			panic(fmt.Sprintf("wechatusertest: %s: unknown openid %q", method, id))
		}
		users = append(users, u)
	}
	return users
}
