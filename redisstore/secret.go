package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// storedSecret is a secret as it is stored in Redis: either in plain text or encrypted.
type storedSecret struct {
	Secret    string `json:"secret,omitempty"`
	Encrypted []byte `json:"sealed,omitempty"` // as in storedToken
}

// LoadSecret returns the secret under key, and the empty string if there is none. With [Store.SaveSecret] and
// [Store.DeleteSecret] it makes the Store an authorizer.Store.
//
// Secrets are encrypted as tokens are, see [WithEncryption]. If Redis does not respond, the methods for secrets try
// again until their context ends.
func (s *Store) LoadSecret(ctx context.Context, key string) (string, error) {
	name := s.prefix + key
	value, err := s.get(ctx, doRequired[string], name)
	if err != nil || value == "" {
		return "", err
	}
	return s.codec.decodeSecret(name, value)
}

// SaveSecret replaces the secret under key. The key expires after life, or never if life is 0: then configure Redis so
// that it keeps its data when it restarts (appendonly), and evicts none of it (noeviction, or volatile-… policies).
func (s *Store) SaveSecret(ctx context.Context, key, secret string, life time.Duration) error {
	if secret == "" {
		return errors.New("redisstore: can't save an empty secret")
	}
	name := s.prefix + key
	value, err := s.codec.encodeSecret(name, secret)
	if err != nil {
		return err
	}
	_, err = doRequired(ctx, s.breaker, func(ctx context.Context) (string, error) {
		return s.rdb.Set(ctx, name, value, life).Result()
	})
	return err
}

// DeleteSecret deletes the secret under key. It is no error if there is none.
func (s *Store) DeleteSecret(ctx context.Context, key string) error {
	_, err := doRequired(ctx, s.breaker, func(ctx context.Context) (int64, error) {
		return s.rdb.Del(ctx, s.prefix+key).Result()
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func (c codec) encodeSecret(name, secret string) (string, error) {
	stored := storedSecret{Secret: secret}
	if len(c) > 0 {
		stored = storedSecret{Encrypted: c[0].Seal(nil, nil, []byte(secret), []byte(name))}
	}
	value, err := json.Marshal(stored)
	return string(value), err
}

// decodeSecret decodes a value. Its errors contain no part of it.
func (c codec) decodeSecret(name, value string) (string, error) {
	var stored storedSecret
	err := error(nil)
	switch {
	case json.Unmarshal([]byte(value), &stored) != nil || stored.Secret == "" && stored.Encrypted == nil:
		err = errors.New("no Store wrote it")
	case stored.Encrypted == nil && len(c) > 0:
		err = errors.New("not encrypted")
	case stored.Encrypted != nil && len(c) == 0:
		err = errors.New("encrypted, but the store has no key: see WithEncryption")
	case stored.Encrypted != nil:
		return c.openSecret(name, stored.Encrypted)
	}
	if err != nil {
		return "", fmt.Errorf("redisstore: invalid secret under %q: %w", name, err)
	}
	return stored.Secret, nil
}

func (c codec) openSecret(name string, encrypted []byte) (string, error) {
	for _, aead := range c {
		if plain, err := aead.Open(nil, nil, encrypted, []byte(name)); err == nil {
			return string(plain), nil
		}
	}
	return "", fmt.Errorf(
		"redisstore: invalid secret under %q: encrypted with another key or for another name, or modified", name)
}
