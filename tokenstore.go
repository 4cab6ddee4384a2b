package wechatuser

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// TokenStore shares access tokens among clients and processes. A key is "wechatuser:token:stable:" or
// "wechatuser:token:legacy:" followed by the app ID, and never contains the secret. A value is the token itself, so
// keep others from reading it.
//
// It must be safe for concurrent use, and return when the context ends.
type TokenStore interface {
	// Load returns the token under key, the zero Token if there is none. Its error matches [ErrUnreadableToken] if the
	// value under key is not a token.
	Load(ctx context.Context, key string) (Token, error)
	// Save writes a token, unless there is one that expires later. It replaces a value that is not a token.
	Save(ctx context.Context, key string, t Token) error
	// Delete drops the token under key if it is this one, and no other: a newer one may have replaced it already.
	Delete(ctx context.Context, key string, stale Token) error
}

// TokenLocker is a [TokenStore] with a lock, so that only one process at a time fetches a token.
type TokenLocker interface {
	// Lock waits until nobody else holds the lock of this key. The lock must have a lease, so that a holder that died
	// does not block the others for longer. Half a minute is enough for a token request and its retries.
	//
	// unlock must return soon, even if the store is down by then.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// TokenBudget is a [TokenStore] that counts the forced refreshes of an account for all its processes together. Without
// it each client counts its own, and many clients can use up the 20 that WeChat allows a day.
type TokenBudget interface {
	// AllowForced counts a forced refresh of the token under key and returns true, unless that would be the second one
	// within 30 seconds, or the 21st within 24 hours. Then it returns false, and counts nothing.
	AllowForced(ctx context.Context, key string) (bool, error)
}

// ErrUnreadableToken is matched by the error of a [TokenStore] if a value in it is not a token, and no client wrote it.
// The client then fetches a token, and saves it in place of that value. A value that is encrypted with another key is a
// different error: replacing it would disturb the processes that have that key.
var ErrUnreadableToken = tokencache.ErrUnreadable

// NewMemoryTokenStore returns a [TokenStore] for the clients of one process. It is a [TokenLocker] and a [TokenBudget]
// too.
func NewMemoryTokenStore() TokenStore {
	return &memoryTokenStore{
		tokens: make(map[string]Token),
		forced: make(map[string]*tokencache.ForcedLimit),
		locks:  make(map[string]chan struct{}),
	}
}

type memoryTokenStore struct {
	mu     sync.Mutex
	tokens map[string]Token
	forced map[string]*tokencache.ForcedLimit
	locks  map[string]chan struct{} // each has one element while locked
}

func (s *memoryTokenStore) Load(_ context.Context, key string) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[key], nil
}

func (s *memoryTokenStore) Save(_ context.Context, key string, t Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.tokens[key]; !ok || !old.ExpiresAt.After(t.ExpiresAt) {
		s.tokens[key] = t
	}
	return nil
}

func (s *memoryTokenStore) Delete(_ context.Context, key string, stale Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[key].AccessToken == stale.AccessToken {
		delete(s.tokens, key)
	}
	return nil
}

func (s *memoryTokenStore) AllowForced(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, ok := s.forced[key]
	if !ok {
		limit = &tokencache.ForcedLimit{}
		s.forced[key] = limit
	}
	now := time.Now()
	if !limit.Allowed(now) {
		return false, nil
	}
	limit.Count(now)
	return true, nil
}

func (s *memoryTokenStore) Lock(ctx context.Context, key string) (func(), error) {
	s.mu.Lock()
	lock, ok := s.locks[key]
	if !ok {
		lock = make(chan struct{}, 1)
		s.locks[key] = lock
	}
	s.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return sync.OnceFunc(func() { <-lock }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Format keeps the tokens out of whatever prints the store.
func (s *memoryTokenStore) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "wechatuser.MemoryTokenStore")
}
