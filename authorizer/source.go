package authorizer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// Source returns the access tokens of one account, its authorizer_access_token. It is safe for concurrent use.
//
// The token is cached, and replaced before it expires and when WeChat rejects it. Errors of the platform are
// [*wechatuser.Error]: after 42007 and 61003 the account has to authorize the platform again.
type Source struct {
	p     *Platform
	appID string
	cache *tokencache.Cache
	seen  atomic.Pointer[seenToken]

	mu      sync.Mutex // guards the fields below, and replaces and tried of grants
	unsaved *grant     // its refresh token is not in the store yet; nil for none
	lists   tokencache.ForcedLimit
}

var (
	_ wechatuser.TokenSource      = (*Source)(nil)
	_ wechatuser.TokenInvalidator = (*Source)(nil)
)

// grant is what WeChat returns for a refresh token or for an authorization code.
type grant struct {
	token    tokencache.Token
	refresh  string  // the refresh token to use from now on
	replaces *string // the refresh token that was in the store, empty for none; nil if that is not known
	tried    bool    // saving it was tried and failed, though the store may have it
}

// seenToken is a token and when it was returned first.
type seenToken struct {
	token string
	since time.Time
}

// acceptedAfter is how long a token must have been used for it to count as one that WeChat accepted.
const acceptedAfter = time.Minute

func newSource(p *Platform, appID string) *Source {
	s := &Source{p: p, appID: appID}
	s.cache = p.newCache(s.tokenKey(), s.fetch)
	return s
}

// AppID returns the app ID of the account.
func (s *Source) AppID() string { return s.appID }

// Token returns the access token of the account. It waits for WeChat only if there is no valid one. A refresh that has
// begun goes on when ctx ends.
func (s *Source) Token(ctx context.Context) (wechatuser.Token, error) {
	t, err := s.cache.Get(ctx)
	if err != nil {
		return wechatuser.Token{}, cacheError(err)
	}
	if seen := s.seen.Load(); seen == nil || seen.token != t.AccessToken {
		s.seen.Store(&seenToken{t.AccessToken, time.Now()})
	}
	return wechatuser.Token(t), nil
}

// Invalidate replaces a token that WeChat rejected, for all processes. If new tokens are rejected too, it replaces one
// only after a pause, so that an account whose tokens are rejected for another reason does not use up the daily quota.
func (s *Source) Invalidate(ctx context.Context, rejected wechatuser.Token) error {
	seen := s.seen.Load()
	if seen != nil && seen.token == rejected.AccessToken && time.Since(seen.since) >= acceptedAfter {
		s.cache.Accepted(rejected.AccessToken)
	}
	return invalidate(ctx, s.cache, rejected)
}

// fetch fetches an access token with the refresh token in the store, and saves the refresh token that comes with it.
// This process holds the lock of the token.
func (s *Source) fetch(ctx context.Context, _ tokencache.Kind, allow func() error) (tokencache.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	stored, err := s.loadRefreshToken(ctx)
	if err != nil {
		return tokencache.Token{}, err
	}
	if kept := s.keptGrant(stored); kept != nil {
		if err := s.save(ctx, kept, stored); err != nil {
			return tokencache.Token{}, err
		}
		if time.Until(kept.token.ExpiresAt) > minLife {
			return kept.token, nil
		}
		stored = kept.refresh // the access token expired while the store was unavailable
	}
	g, err := s.exchange(ctx, stored, allow)
	if g == nil {
		return tokencache.Token{}, err
	}
	if newer := s.keepUnlessNewer(g); newer != g {
		g, err = newer, nil
	}
	if err := s.save(ctx, g, stored); err != nil {
		return tokencache.Token{}, err
	}
	return g.token, err
}

// minLife is how long a token that was kept must still be valid for it to be used.
const minLife = time.Minute

// exchange exchanges a refresh token, empty if the store has none. If WeChat does not know it, it exchanges the one of
// getAuthorizerList. With an error it returns a grant if the response has a refresh token but no valid access token.
func (s *Source) exchange(ctx context.Context, stored string, allow func() error) (*grant, error) {
	refresh := stored
	rejection := error(ErrNotAuthorized)
	if stored != "" {
		g, err := s.exchangeOnce(ctx, stored, refresh, allow)
		if !errors.Is(err, wechatuser.CodeInvalidRefreshToken) {
			return g, err
		}
		rejection = err
	}
	refresh, err := s.readAgain(ctx, stored)
	if err != nil {
		if err == ErrNotAuthorized && rejection == err { //nolint:errorlint // not wrapped
			return nil, fmt.Errorf("%s: %w", s.appID, err)
		}
		return nil, fmt.Errorf("%w; %s: %w", rejection, s.appID, err)
	}
	return s.exchangeOnce(ctx, stored, refresh, allow)
}

func (s *Source) exchangeOnce(ctx context.Context, stored, refresh string, allow func() error) (*grant, error) {
	if err := allow(); err != nil {
		return nil, err
	}
	g, err := s.p.getAuthorizerAccessToken(ctx, s.appID, refresh)
	if g != nil {
		g.replaces = &stored
	}
	return g, err
}

// errListLimit reports that getAuthorizerList was called for the account not long ago.
var errListLimit = errors.New(
	"authorizer: getAuthorizerList is called for an account at most every 30 s and 20 times a day")

// readAgain returns the account's refresh token from getAuthorizerList. It fails if that is the known one.
func (s *Source) readAgain(ctx context.Context, known string) (string, error) {
	if !s.mayList(ctx) {
		return "", errListLimit
	}
	for a, err := range s.p.Authorizers(ctx) {
		switch {
		case err != nil:
			return "", err
		case a.AppID != s.appID:
			continue
		case *a.refreshToken == "":
			return "", errors.New("authorizer: getAuthorizerList has no refresh token of the account: " +
				"pass the authorization_code of the latest push to ExchangeCode")
		case *a.refreshToken == known:
			return "", errors.New("authorizer: getAuthorizerList has no other refresh token of the account")
		}
		s.p.logger.InfoContext(ctx, "authorizer: refresh token read again", slog.String("app_id", s.appID))
		return *a.refreshToken, nil
	}
	return "", ErrNotAuthorized
}

// mayList counts a call of getAuthorizerList for the account, in this process and in all of them.
func (s *Source) mayList(ctx context.Context) bool {
	s.mu.Lock()
	now := time.Now()
	allowed := s.lists.Allowed(now)
	if allowed {
		s.lists.Count(now)
	}
	s.mu.Unlock()
	if !allowed {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	allowed, err := s.tokenStore().AllowForced(ctx)
	return allowed || err != nil // the limit of this process is enough
}

// keep keeps a grant until its refresh token is saved.
func (s *Source) keep(g *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = g
}

// keepUnlessNewer keeps the grant of a refresh and returns it. If the account authorized the platform again during the
// refresh, it returns that grant, which has made the other one void.
func (s *Source) keepUnlessNewer(g *grant) *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved == nil {
		s.unsaved = g
	}
	return s.unsaved
}

// keptGrant returns the grant whose refresh token is to be saved, nil for none. It drops the grant if another process
// has saved a refresh token in the meantime.
func (s *Source) keptGrant(stored string) *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.unsaved
	if g == nil || g.replaces == nil || *g.replaces == stored || g.tried && g.refresh == stored {
		return g
	}
	s.unsaved = nil
	return nil
}

// save saves the refresh token of a grant, if it is another one than the stored one.
func (s *Source) save(ctx context.Context, g *grant, stored string) error {
	if g.refresh != stored {
		err := s.p.saveSecret(ctx, s.refreshTokenKey(), g.refresh, "the refresh token of "+s.appID, 0)
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			g.tried = true
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved == g {
		s.unsaved = nil
	}
	return nil
}

func (s *Source) loadRefreshToken(ctx context.Context) (string, error) {
	return s.p.loadSecret(ctx, s.refreshTokenKey(), "the refresh token of "+s.appID)
}

// String returns the name of the type and the app ID, and no token.
func (s *Source) String() string {
	if s == nil {
		return "authorizer.Source(nil)"
	}
	return "authorizer.Source(" + s.appID + ")"
}

// Format writes String, whatever the verb, so that none shows a token.
func (s *Source) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns String.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }
