package wechatusertest

import (
	"fmt"

	"github.com/wechatuser/wechatuser"
)

// AddUsers adds followers with profiles of their own, or replaces the profiles of those who are known.
//
// They follow, whatever Subscribe says; [Server.Unfollow] makes them leave. What is zero gets what the platform would
// say: SubscribeTime the account's time, SubscribeScene [wechatuser.SceneSearch], Language "zh_CN", GroupID the first
// tag. Tags in TagIDList that do not exist are made; 0 and 1 are passed over, since no follower can have them. It
// panics on an empty OpenID.
func (s *Server) AddUsers(users ...wechatuser.UserInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, info := range users {
		if info.OpenID == "" {
			panic("wechatusertest: AddUsers: a user without OpenID")
		}
		s.setUser(s.follow(info.OpenID, s.now()), info)
	}
}

// Follow makes people follow the account, for the first time or again. Who comes back has the remark and the place in
// the list that they had, and no tags. Followers stay as they are.
func (s *Server) Follow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range openIDs {
		s.follow(id, s.now())
	}
}

// Unfollow makes followers leave. It panics on an openid that the account has never seen.
func (s *Server) Unfollow(openIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.mustResolve("Unfollow", openIDs) {
		s.unfollow(u)
	}
}

// AddTag makes a tag and gives it to followers. It returns the tag's id. It panics on a name that the platform refuses
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

// Block puts people on the blacklist. It panics on an openid that the account has never seen.
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
			panic(fmt.Sprintf("wechatusertest: %s: the account does not know the openid %q", method, id))
		}
		users = append(users, u)
	}
	return users
}

// User is what the platform would tell of somebody. It reports false for an openid that never followed.
func (s *Server) User(openID string) (wechatuser.UserInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, known := s.index[openID]
	if !known {
		return wechatuser.UserInfo{}, false
	}
	return s.info(u), true
}

// Users are the profiles of all followers, in the order of the list.
func (s *Server) Users() []wechatuser.UserInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]wechatuser.UserInfo, 0, s.following.n)
	for _, u := range s.following.all() {
		users = append(users, s.info(u))
	}
	return users
}

// OpenIDs are the openids of all followers, in the order of the list.
func (s *Server) OpenIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openIDs(&s.following)
}

// Tags are the account's own tags, without the platform's.
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

// TagFans are the openids of those who have a tag, none if there is no such tag.
func (s *Server) TagFans(tagID int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tag(tagID)
	if t == nil {
		return nil
	}
	return s.openIDs(&t.fans)
}

// Blacklist is the openids of those who are blocked.
func (s *Server) Blacklist() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openIDs(&s.blocked)
}
