package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/wechatuser/wechatuser"
)

// tag adds a tag to a follower. It does not create tags, so that a typo does not use up one of the account's 100. To
// create missing tags, use EnsureTag.
func (s *service) tag(ctx context.Context, r *http.Request) (any, error) {
	openID, name := r.PathValue("openid"), r.PathValue("name")
	id, err := s.tagID(ctx, name)
	if err != nil {
		return nil, err
	}
	err = s.wechat.BatchTagging(ctx, id, []string{openID})
	if errors.Is(err, wechatuser.CodeInvalidTagID) {
		s.forgetTags() // the tag was deleted
		err = errNoTag
	}
	return map[string]any{"openid": openID, "tag": name}, err
}

// tagID returns the ID of a tag. It reads the tag list only for an unknown name.
func (s *service) tagID(ctx context.Context, name string) (int, error) {
	s.mu.Lock()
	id, known := s.tagIDs[name]
	s.mu.Unlock()
	if known {
		return id, nil
	}
	tags, err := s.wechat.GetTags(ctx)
	if err != nil {
		return 0, err
	}
	ids := make(map[string]int, len(tags))
	for _, t := range tags {
		ids[t.Name] = t.ID
	}
	s.mu.Lock()
	s.tagIDs = ids
	s.mu.Unlock()
	if id, known = ids[name]; !known {
		return 0, errNoTag
	}
	return id, nil
}

func (s *service) forgetTags() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tagIDs = nil
}
