package testutil

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

const StableKey, LegacyKey = "wechatuser:token:stable:" + AppID, "wechatuser:token:legacy:" + AppID

// tokenFor is a token that ends after d.
func TokenFor(name string, d time.Duration) wechatuser.Token {
	return wechatuser.Token{AccessToken: Sentinel + "-" + name, ExpiresAt: time.Now().Add(d).Round(0)}
}

// spyStore is a memory store that notes what is done with it, and lets a test interfere.
type SpyStore struct {
	wechatuser.TokenStore
	Before func(ctx context.Context, op string) error

	mu   sync.Mutex
	ops  []string // such as "load stable"
	Keys map[string]bool
}

func NewSpyStore() *SpyStore {
	return &SpyStore{TokenStore: wechatuser.NewMemoryTokenStore(), Keys: map[string]bool{}}
}

func (s *SpyStore) note(ctx context.Context, op, key string) error {
	s.mu.Lock()
	s.ops = append(s.ops, op)
	s.Keys[key] = true
	s.mu.Unlock()
	if s.Before != nil {
		return s.Before(ctx, op)
	}
	return nil
}

func (s *SpyStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	if err := s.note(ctx, "load", key); err != nil {
		return wechatuser.Token{}, err
	}
	return s.TokenStore.Load(ctx, key)
}

func (s *SpyStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	if err := s.note(ctx, "save", key); err != nil {
		return fmt.Errorf("%w: %s", err, t.AccessToken) // a store that tells too much
	}
	return s.TokenStore.Save(ctx, key, t)
}

func (s *SpyStore) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	if err := s.note(ctx, "delete "+strings.TrimPrefix(stale.AccessToken, Sentinel+"-"), key); err != nil {
		return fmt.Errorf("%w: %s", err, stale.AccessToken)
	}
	return s.TokenStore.Delete(ctx, key, stale)
}

func (s *SpyStore) Lock(ctx context.Context, key string) (func(), error) {
	if err := s.note(ctx, "lock", key); err != nil {
		return nil, err
	}
	unlock, err := s.TokenStore.(wechatuser.TokenLocker).Lock(ctx, key)
	return func() {
		s.mu.Lock()
		s.ops = append(s.ops, "unlock")
		s.mu.Unlock()
		unlock()
	}, err
}

// did are the operations since the last time.
func (s *SpyStore) Ops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}
