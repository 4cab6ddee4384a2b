package wechatuser

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// TokenStore shares access tokens among clients and processes. A key is "wechatuser:token:stable:" or
// "wechatuser:token:legacy:" and the app ID, and never holds the secret; a value is the token itself, so keep others from
// reading it.
//
// It must be safe for concurrent use, and return when the context ends.
type TokenStore interface {
	// Load gives the token under key, the zero Token where there is none.
	Load(ctx context.Context, key string) (Token, error)
	// Save writes a token, unless one is there that expires later.
	Save(ctx context.Context, key string, t Token) error
	// Delete drops the token under key if it is stale, and no other: by then there may be a newer one.
	Delete(ctx context.Context, key string, stale Token) error
}

// TokenLocker is a [TokenStore] with a lock, so that one process alone asks for a new token.
type TokenLocker interface {
	// Lock waits until nobody else holds the lock of this key. It must have a lease: a holder that died must not
	// block the others for longer than that. Half a minute is enough for a token request and its repeats.
	//
	// unlock must return soon, also where the store is down by then.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// NewMemoryTokenStore makes a [TokenStore] for the clients of one process. It is a [TokenLocker] too.
func NewMemoryTokenStore() TokenStore {
	return &memoryTokenStore{tokens: make(map[string]Token), locks: make(map[string]chan struct{})}
}

type memoryTokenStore struct {
	mu     sync.Mutex
	tokens map[string]Token
	locks  map[string]chan struct{} // holds one element while locked
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

// sharedStore is a TokenStore as a renewal uses it.
type sharedStore struct {
	store    TokenStore
	key      string
	required bool // renewals fail without it
	log      *slog.Logger
}

const (
	storeTimeout = 2 * time.Second  // for one operation, which should need a few milliseconds
	lockTimeout  = 15 * time.Second // for a lock, whose holder may be fetching
)

// find drops the refused token and looks for a wanted one, first without and then under the lock. Where it finds none
// the caller has the lock, if there is one to be had. wanted is nil where none is, and unlock never.
func (s *sharedStore) find(ctx context.Context, refused string, wanted func(Token) bool) (t Token, unlock func(), err error) {
	unlock = func() {}
	if refused != "" {
		err := s.within(ctx, storeTimeout, func(ctx context.Context) error {
			return s.store.Delete(ctx, s.key, Token{AccessToken: refused})
		})
		if err != nil {
			return Token{}, unlock, s.failed("delete", err, refused)
		}
	}
	if t, err = s.load(ctx, wanted); err != nil || t.AccessToken != "" {
		return t, unlock, s.failed("load", err, refused)
	}
	locker, ok := s.store.(TokenLocker)
	if !ok {
		return Token{}, unlock, nil
	}
	err = s.within(ctx, lockTimeout, func(ctx context.Context) error {
		release, err := locker.Lock(ctx, s.key)
		if err == nil && release != nil {
			unlock = release
		}
		return err
	})
	if err != nil {
		return Token{}, unlock, s.failed("lock", err, refused)
	}
	t, err = s.load(ctx, wanted)
	return t, unlock, s.failed("load", err, refused)
}

// load gives the zero Token where there is no wanted one.
func (s *sharedStore) load(ctx context.Context, wanted func(Token) bool) (t Token, err error) {
	if wanted == nil {
		return Token{}, nil
	}
	err = s.within(ctx, storeTimeout, func(ctx context.Context) error {
		t, err = s.store.Load(ctx, s.key)
		return err
	})
	if err != nil || !wanted(t) {
		return Token{}, err
	}
	return t, nil
}

// save lets the others know. A token is good whether or not they get to know it.
func (s *sharedStore) save(ctx context.Context, t Token) {
	err := s.within(ctx, storeTimeout, func(ctx context.Context) error { return s.store.Save(ctx, s.key, t) })
	if err != nil {
		s.warn("save", sealed(err, t.AccessToken))
	}
}

func (s *sharedStore) within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// failed decides whether a renewal goes on without the store; then it gives nil. Stable tokens need no agreement among
// processes. A legacy token that was fetched without it would end the token of all others.
func (s *sharedStore) failed(op string, err error, refused string) error {
	if err == nil {
		return nil
	}
	err = sealed(err, refused)
	if s.required {
		return fmt.Errorf("wechatuser: token store: %s: %w", op, err)
	}
	s.warn(op, err)
	return nil
}

func (s *sharedStore) warn(op string, err error) {
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "wechatuser: token store failed, going on without it",
		slog.String("key", s.key), slog.String("operation", op), slog.String("error", err.Error()))
}
