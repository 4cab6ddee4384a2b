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
// tags. It panics on an empty OpenID.
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
// position in the list, but have no tags. It does not change users who follow already.
func (s *Server) Follow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range openIDs {
		s.follow(id, s.now())
	}
}

// Unfollow makes followers leave. It panics on an openid that never followed.
func (s *Server) Unfollow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Unfollow", openIDs) {
		s.unfollow(u)
	}
}

// AddTag creates a tag, adds it to followers, and returns its id. It panics on a name that the platform does not allow
// and on an openid that does not follow.
func (s *Server) AddTag(name string, openIDs ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := s.mustResolve("AddTag", openIDs)
	for _, u := range users {
		if !s.following.has(u) {
			panic(fmt.Sprintf("wechatusertest: AddTag: %q does not follow", s.users[u].openID))
		}
	}
	t, code := s.newTag(name)
	if code != 0 {
		panic(fmt.Sprintf("wechatusertest: AddTag: %v", code))
	}
	for _, u := range users {
		t.fans.add(u)
	}
	return t.id
}

// Block adds users to the blacklist. It panics on an openid that never followed.
func (s *Server) Block(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Block", openIDs) {
		s.blocked.add(u)
	}
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
