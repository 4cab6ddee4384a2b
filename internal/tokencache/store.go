package tokencache

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/wechatuser/wechatuser/internal/redact"
)

// Store shares one token among processes. Its methods must return when their context ends.
type Store interface {
	// Load returns the stored token, the zero Token if there is none.
	Load(ctx context.Context) (Token, error)
	// Save stores t, unless the stored token expires later.
	Save(ctx context.Context, t Token) error
	// Delete deletes the stored token if it is the rejected one.
	Delete(ctx context.Context, rejected Token) error
	// Lock waits until nobody else holds the lock. It returns a nil unlock and a nil error if the store has no lock.
	Lock(ctx context.Context) (unlock func(), err error)
}

// sharedStore is a Store as a flight uses it: with timeouts, and failures that are tolerated or not.
type sharedStore struct {
	store    Store
	key      string
	required bool // a refresh fails if the store fails
	log      *slog.Logger
}

const (
	storeTimeout = 2 * time.Second  // for one operation, which should take a few milliseconds
	lockTimeout  = 15 * time.Second // for the lock, whose holder may be fetching a token
)

// find deletes the rejected token and looks for a wanted one, first without and then with the lock. If it finds none,
// the caller holds the lock, unless the store has none or a failure is tolerated.
//
// wanted is nil if the caller wants no stored token. unlock is never nil, and must be called.
func (s *sharedStore) find(
	ctx context.Context, rejected string, wanted func(Token) bool,
) (t Token, unlock func(), err error) {
	noop := func() {}
	if rejected != "" {
		if err := s.delete(ctx, rejected); err != nil {
			return Token{}, noop, s.tolerate("delete", err, rejected)
		}
	}
	if t, err := s.load(ctx, wanted); err != nil || t.AccessToken != "" {
		return t, noop, s.tolerate("load", err, rejected)
	}
	unlock, err = s.lock(ctx)
	if err != nil || unlock == nil {
		return Token{}, noop, s.tolerate("lock", err, rejected)
	}
	t, err = s.load(ctx, wanted) // the last holder of the lock may have stored one
	return t, unlock, s.tolerate("load", err, rejected)
}

// load returns the stored token if it is wanted, and the zero Token otherwise.
func (s *sharedStore) load(ctx context.Context, wanted func(Token) bool) (Token, error) {
	if wanted == nil {
		return Token{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	t, err := s.store.Load(ctx)
	if err != nil || !wanted(t) {
		return Token{}, err
	}
	return t, nil
}

func (s *sharedStore) delete(ctx context.Context, rejected string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.store.Delete(ctx, Token{AccessToken: rejected})
}

func (s *sharedStore) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	return s.store.Lock(ctx)
}

// save stores a token. A failure is logged only: the token is good whether or not other processes learn of it.
func (s *sharedStore) save(ctx context.Context, t Token) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.store.Save(ctx, t); err != nil {
		s.warn("save", redact.New(t.AccessToken).Error(err))
	}
}

// tolerate returns nil if a refresh can go on without the store: processes need not agree on stable tokens. A legacy
// token that is fetched without the store would invalidate the token of all other processes.
func (s *sharedStore) tolerate(op string, err error, rejected string) error {
	if err == nil {
		return nil
	}
	err = redact.New(rejected).Error(err)
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
