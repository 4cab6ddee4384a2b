package testutil

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// StableKey and LegacyKey are the keys of the tokens of both kinds in a store.
const StableKey, LegacyKey = "wechatuser:token:stable:" + AppID, "wechatuser:token:legacy:" + AppID

// TokenFor returns a token that expires after d.
func TokenFor(name string, d time.Duration) wechatuser.Token {
	return wechatuser.Token{AccessToken: Sentinel + "-" + name, ExpiresAt: time.Now().Add(d).Round(0)}
}

// SpyStore is a memory store that records its operations. Before is called ahead of each, and can fail or delay it.
type SpyStore struct {
	wechatuser.TokenStore
	Before func(ctx context.Context, op string) error

	mu   sync.Mutex
	ops  []string // such as "load stable"
	Keys map[string]bool
}

// NewSpyStore returns an empty store.
func NewSpyStore() *SpyStore {
	return &SpyStore{TokenStore: wechatuser.NewMemoryTokenStore(), Keys: map[string]bool{}}
}

func (s *SpyStore) record(ctx context.Context, op, key string) error {
	s.mu.Lock()
	s.ops = append(s.ops, op)
	s.Keys[key] = true
	s.mu.Unlock()
	if s.Before != nil {
		return s.Before(ctx, op)
	}
	return nil
}

// Load implements [wechatuser.TokenStore].
func (s *SpyStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	if err := s.record(ctx, "load", key); err != nil {
		return wechatuser.Token{}, err
	}
	return s.TokenStore.Load(ctx, key)
}

// Save implements [wechatuser.TokenStore].
func (s *SpyStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	if err := s.record(ctx, "save", key); err != nil {
		return fmt.Errorf("%w: %s", err, t.AccessToken) // such an error must not reach the log
	}
	return s.TokenStore.Save(ctx, key, t)
}

// Delete implements [wechatuser.TokenStore].
func (s *SpyStore) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	if err := s.record(ctx, "delete "+strings.TrimPrefix(stale.AccessToken, Sentinel+"-"), key); err != nil {
		return fmt.Errorf("%w: %s", err, stale.AccessToken)
	}
	return s.TokenStore.Delete(ctx, key, stale)
}

// Lock implements [wechatuser.TokenLocker].
func (s *SpyStore) Lock(ctx context.Context, key string) (func(), error) {
	if err := s.record(ctx, "lock", key); err != nil {
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

// Ops returns the operations since its last call.
func (s *SpyStore) Ops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}
