package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wechatuser/wechatuser"
)

// Store keeps access tokens in Redis, for any number of accounts and processes. It is a [wechatuser.TokenStore], a
// [wechatuser.TokenLocker] and a [wechatuser.TokenBudget].
//
// A token is stored as the JSON {"access_token":"...","expires_at":"2006-01-02T15:04:05.000Z"}, which other programs
// may read; its key expires with the token. A Store is safe for concurrent use and needs no Close.
//
// Load, Save, Delete and Lock fail with [ErrUnavailable] if Redis can't be used. A client continues without a stable
// token's store then, so for stable tokens they fail soon. For legacy tokens, which the client can't fetch on its own,
// they wait for Redis until their context ends.
type Store struct {
	*config // a pointer, so that printing a copy of a Store shows no secret
	rdb     redis.UniversalClient
	breaker *breaker
}

var (
	_ wechatuser.TokenStore  = (*Store)(nil)
	_ wechatuser.TokenLocker = (*Store)(nil)
	_ wechatuser.TokenBudget = (*Store)(nil)
)

// New returns a store that uses a client of a single Redis server, of Sentinel or of Cluster. It sends no request and
// starts no goroutine. Its error joins a [*wechatuser.ArgumentError] for each invalid argument or option.
//
// The times of [WithTimeout] and [WithConnectTimeout] apply whatever the options of the client are. Set
// ContextTimeoutEnabled in them as well, so that the client too gives up then; otherwise a request without a response
// stays in the background until the client's ReadTimeout. [Store.Check] reports whether the store can be used.
func New(rdb redis.UniversalClient, opts ...Option) (*Store, error) {
	cfg, errs := configure(apiNew, rdb, opts)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Store{config: cfg, rdb: rdb, breaker: newBreaker(cfg, rdb)}, nil
}

// Load returns the token under key, the zero Token if there is none.
func (s *Store) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	name := s.prefix + key
	value, err := s.get(ctx, tripFor[string](key), name)
	if err != nil {
		return wechatuser.Token{}, err
	}
	if value == "" {
		return s.loadFromLayouts(ctx, key)
	}
	return s.codec.decode(name, value)
}

// maxSwaps limits how often Save reads the value and tries to replace it, if others replace it at the same time.
const maxSwaps = 5

// Save stores a token, unless the stored one expires later. The key expires with the token. A value that is not a token
// is replaced, and one that cannot be decrypted is not.
func (s *Store) Save(ctx context.Context, key string, t wechatuser.Token) error {
	if t.AccessToken == "" || t.ExpiresAt.IsZero() {
		return errors.New("redisstore: can't save a token without its text and its expiry")
	}
	t.ExpiresAt = t.ExpiresAt.UTC().Truncate(time.Millisecond)
	ttl := time.Until(t.ExpiresAt)
	if ttl <= 0 {
		return nil
	}
	name := s.prefix + key
	value, err := s.codec.encode(name, t)
	if err != nil {
		return err
	}
	for range maxSwaps {
		found, err := s.get(ctx, tripFor[string](key), name)
		if err != nil {
			return err
		}
		if found != "" {
			switch stored, err := s.codec.decode(name, found); {
			case errors.Is(err, wechatuser.ErrUnreadableToken): // replace it
			case err != nil:
				return err
			case stored.ExpiresAt.After(t.ExpiresAt):
				return nil
			}
		}
		if saved, err := s.compareAndSwap(ctx, tripFor[bool](key), name, found, value, ttl); saved || err != nil {
			return err
		}
	}
	return fmt.Errorf("redisstore: can't save a token under %q: the value changed %d times meanwhile", name, maxSwaps)
}

// Delete removes the token under key if it is stale. It keeps any other token.
func (s *Store) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	name := s.prefix + key
	found, err := s.get(ctx, tripFor[string](key), name)
	if err != nil || found == "" {
		return err
	}
	t, err := s.codec.decode(name, found)
	if err != nil && !errors.Is(err, wechatuser.ErrUnreadableToken) {
		return err
	}
	if t.AccessToken != stale.AccessToken {
		return nil
	}
	_, err = s.compareAndSwap(ctx, tripFor[bool](key), name, found, "", 0) // if the value has been replaced, the stale token is gone too
	return err
}

// String returns the key prefix and nothing secret.
func (s *Store) String() string {
	if s == nil || s.config == nil {
		return "redisstore.Store(nil)"
	}
	return fmt.Sprintf("redisstore.Store(%q)", s.prefix)
}

// Format prints the result of String for every verb.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns the result of String.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.String()) }
