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
// [wechatuser.TokenLocker] and a [wechatuser.TokenBudget], and for third-party platforms an authorizer.Store
// (package github.com/wechatuser/wechatuser/authorizer).
//
// A token is stored as the JSON {"access_token":"...","expires_at":"2006-01-02T15:04:05.000Z"}, which other programs
// may read; its key expires with the token. A Store is safe for concurrent use and needs no Close.
//
// Load, Save, Delete and Lock return [ErrUnavailable] if Redis can't be used. For stable tokens they fail fast, since a
// client can continue without the store. For legacy tokens and those of third-party platforms, which must not be
// fetched without the store, they wait for Redis until their context ends.
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
// [WithTimeout] and [WithConnectTimeout] apply whatever the options of the client are. Also set ContextTimeoutEnabled
// in those options, so that the client stops at the same time; otherwise a request without a response continues in the
// background until the client's ReadTimeout. [Store.Check] reports whether the store can be used.
func New(rdb redis.UniversalClient, opts ...Option) (*Store, error) {
	cfg, errs := configure(apiNew, rdb, opts)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Store{config: cfg, rdb: rdb, breaker: newBreaker(cfg, rdb)}, nil
}

// Load returns the token under key, or the zero Token if there is none.
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

// maxSwaps limits the attempts of Save to replace a value that others replace at the same time.
const maxSwaps = 5

// Save stores a token, unless the stored one expires later. The key expires with the token. A value that is not a token
// is replaced; a value that cannot be decrypted is kept.
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
	// If the value has been replaced meanwhile, the stale token is gone too.
	_, err = s.compareAndSwap(ctx, tripFor[bool](key), name, found, "", 0)
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
