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

// Store keeps access tokens in Redis, for any number of accounts and processes. It is a [wechatuser.TokenStore] and a
// [wechatuser.TokenLocker].
//
// A token is the JSON {"access_token":"...","expires_at":"2006-01-02T15:04:05.000Z"}, which other programs may read,
// and its key goes away when it ends. It is safe for concurrent use and has nothing to close.
type Store struct {
	*config // a pointer, so that printing a copy of a Store shows nothing either
	rdb     redis.UniversalClient
	link    *link
}

var (
	_ wechatuser.TokenStore  = (*Store)(nil)
	_ wechatuser.TokenLocker = (*Store)(nil)
)

// New makes a store on a client of one Redis server, of Sentinel or of Cluster. It makes no request and starts no
// goroutine. What is wrong with the options comes back as one error that holds a [*wechatuser.ArgumentError] for each.
//
// The timeout of [WithTimeout] holds whatever the client's options are. Set ContextTimeoutEnabled in them as well, so
// that the client itself gives up then; without it a request that Redis does not answer goes on in the background
// until the client's ReadTimeout.
func New(rdb redis.UniversalClient, opts ...Option) (*Store, error) {
	cfg, errs := configure(forStore, rdb, opts)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Store{config: cfg, rdb: rdb, link: &link{timeout: cfg.timeout}}, nil
}

// Load gives the token under key, the zero Token where there is none.
func (s *Store) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	name := s.prefix + key
	value, err := s.get(ctx, name)
	if err != nil {
		return wechatuser.Token{}, err
	}
	if value == "" {
		return s.loadForeign(ctx, key)
	}
	return s.seal.decode(name, value)
}

// swapTries is how often Save looks at a value that changes under its hands.
const swapTries = 5

// Save writes a token, unless one is there that expires later. The key lives as long as the token.
func (s *Store) Save(ctx context.Context, key string, t wechatuser.Token) error {
	if t.AccessToken == "" || t.ExpiresAt.IsZero() {
		return errors.New("redisstore: a token can't be shared without its text and its end")
	}
	t.ExpiresAt = t.ExpiresAt.UTC().Truncate(time.Millisecond)
	ttl := time.Until(t.ExpiresAt)
	if ttl <= 0 {
		return nil
	}
	name := s.prefix + key
	value, err := s.seal.encode(name, t)
	if err != nil {
		return err
	}
	for range swapTries {
		found, err := s.get(ctx, name)
		if err != nil {
			return err
		}
		if found != "" {
			old, err := s.seal.decode(name, found)
			if err != nil {
				return err
			}
			if old.ExpiresAt.After(t.ExpiresAt) {
				return nil
			}
		}
		if saved, err := s.swap(ctx, name, found, value, ttl); saved || err != nil {
			return err
		}
	}
	return fmt.Errorf("redisstore: others write %q all the time", name)
}

// Delete drops the token under key if it is stale, and no other.
func (s *Store) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	name := s.prefix + key
	found, err := s.get(ctx, name)
	if err != nil || found == "" {
		return err
	}
	t, err := s.seal.decode(name, found)
	if err != nil || t.AccessToken != stale.AccessToken {
		return err
	}
	_, err = s.swap(ctx, name, found, "", 0) // if somebody replaced it meanwhile, that is as good
	return err
}

// String names the key prefix, and nothing secret.
func (s *Store) String() string {
	if s == nil || s.config == nil {
		return "redisstore.Store(nil)"
	}
	return fmt.Sprintf("redisstore.Store(%q)", s.prefix)
}

// GoString is String.
func (s *Store) GoString() string { return s.String() }

// Format prints String for each verb.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.String()) }
