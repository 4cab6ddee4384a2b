package authorizer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// Store keeps the ticket and the refresh tokens of a platform. Keys contain app IDs and no secret. Encrypt the secrets,
// or restrict who can read the store. redisstore.Store implements it.
//
// It must be safe for concurrent use, and return when the context ends.
type Store interface {
	// LoadSecret returns the secret under key, and the empty string if there is none.
	LoadSecret(ctx context.Context, key string) (string, error)
	// SaveSecret replaces the secret under key. The store may delete it after life; if life is 0, it must keep it until
	// DeleteSecret.
	SaveSecret(ctx context.Context, key, secret string, life time.Duration) error
	// DeleteSecret deletes the secret under key. It is no error if there is none.
	DeleteSecret(ctx context.Context, key string) error
}

// NewMemoryStore returns a Store for one process, which is a [wechatuser.TokenStore] too. After a restart the first
// ticket arrives within ten minutes, and refresh tokens are read with getAuthorizerList.
func NewMemoryStore() Store {
	return &memoryStore{TokenStore: wechatuser.NewMemoryTokenStore(), secrets: make(map[string]string)}
}

type memoryStore struct {
	wechatuser.TokenStore

	mu      sync.Mutex
	secrets map[string]string
}

func (s *memoryStore) LoadSecret(_ context.Context, key string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secrets[key], nil
}

func (s *memoryStore) SaveSecret(_ context.Context, key, secret string, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[key] = secret
	return nil
}

func (s *memoryStore) DeleteSecret(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, key)
	return nil
}

// Lock implements [wechatuser.TokenLocker].
func (s *memoryStore) Lock(ctx context.Context, key string) (func(), error) {
	return s.TokenStore.(wechatuser.TokenLocker).Lock(ctx, key)
}

// AllowForced implements [wechatuser.TokenBudget].
func (s *memoryStore) AllowForced(ctx context.Context, key string) (bool, error) {
	return s.TokenStore.(wechatuser.TokenBudget).AllowForced(ctx, key)
}

// Format keeps the secrets out of whatever prints the store.
func (s *memoryStore) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "authorizer.MemoryStore") }

// The keys of a store, without the app IDs.
const (
	ticketKey         = "wechatuser:ticket:"
	refreshTokenKey   = "wechatuser:refresh:"
	componentTokenKey = "wechatuser:token:component:"
	accountTokenKey   = "wechatuser:token:authorizer:"
)

// ticketLife is how long a ticket is valid, counted from its push.
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/component_verify_ticket.html
const ticketLife = 12 * time.Hour

func (p *Platform) ticketKey() string { return ticketKey + p.appID }

func (s *Source) refreshTokenKey() string { return refreshTokenKey + s.p.appID + ":" + s.appID }

func (s *Source) tokenKey() string { return accountTokenKey + s.p.appID + ":" + s.appID }

// redacted returns an error without secrets and without the app secret.
func (c *config) redacted(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	return redact.New(append(secrets, c.secret())...).Error(err)
}

// storeTime is the time for an operation of the store.
const storeTime = 5 * time.Second

// loadSecret loads a secret from the store. what names it in an error.
func (p *Platform) loadSecret(ctx context.Context, key, what string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	secret, err := p.store.LoadSecret(ctx, key)
	if err != nil {
		return "", fmt.Errorf("authorizer: reading %s: %w", what, p.redacted(err, secret))
	}
	return secret, nil
}

func (p *Platform) saveSecret(ctx context.Context, key, secret, what string, life time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := p.store.SaveSecret(ctx, key, secret, life); err != nil {
		return fmt.Errorf("authorizer: saving %s: %w", what, p.redacted(err, secret))
	}
	return nil
}

// newCache returns the cache of one token of the platform. A token that one process fetches can invalidate those of the
// others, so nothing is fetched while the store fails.
func (p *Platform) newCache(
	key string, fetch func(ctx context.Context, kind tokencache.Kind, allow func() error) (tokencache.Token, error),
) *tokencache.Cache {
	return tokencache.New(tokencache.Config{
		Key: key, Kind: tokencache.Legacy, Fetch: fetch, Store: tokenStore{p.config, key},
		Lasting: isLasting, Logger: p.logger,
	})
}

// tokenStore is one key of the [wechatuser.TokenStore] as the store of a cache. It redacts the errors of the store.
type tokenStore struct {
	*config
	key string
}

func (s *Source) tokenStore() tokenStore { return tokenStore{s.p.config, s.tokenKey()} }

func (s tokenStore) Load(ctx context.Context) (tokencache.Token, error) {
	t, err := s.tokens.Load(ctx, s.key)
	return tokencache.Token(t), s.redacted(err, t.AccessToken)
}

func (s tokenStore) Save(ctx context.Context, t tokencache.Token) error {
	return s.redacted(s.tokens.Save(ctx, s.key, wechatuser.Token(t)), t.AccessToken)
}

func (s tokenStore) Delete(ctx context.Context, rejected tokencache.Token) error {
	return s.redacted(s.tokens.Delete(ctx, s.key, wechatuser.Token(rejected)), rejected.AccessToken)
}

func (s tokenStore) Lock(ctx context.Context) (unlock func(), err error) {
	locker, ok := s.tokens.(wechatuser.TokenLocker)
	if !ok {
		return nil, nil //nolint:nilnil // there is no lock
	}
	unlock, err = locker.Lock(ctx, s.key)
	if err == nil && unlock == nil {
		unlock = func() {}
	}
	return unlock, s.redacted(err)
}

// AllowForced counts a use of a budget of 20 a day.
func (s tokenStore) AllowForced(ctx context.Context) (bool, error) {
	budget, ok := s.tokens.(wechatuser.TokenBudget)
	if !ok {
		return true, nil
	}
	allowed, err := budget.AllowForced(ctx, s.key)
	return allowed, s.redacted(err)
}
