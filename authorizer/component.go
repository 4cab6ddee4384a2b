package authorizer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// component has the component_access_token, as the token source of the client that sends the platform's requests.
type component struct {
	p     *Platform
	cache *tokencache.Cache
}

func newComponent(p *Platform) *component {
	c := &component{p: p}
	c.cache = p.newCache(componentTokenKey+p.appID, c.fetch)
	return c
}

// Token implements [wechatuser.TokenSource].
func (c *component) Token(ctx context.Context) (wechatuser.Token, error) {
	t, err := c.cache.Get(ctx)
	return wechatuser.Token(t), cacheError(err)
}

// Invalidate implements [wechatuser.TokenInvalidator].
func (c *component) Invalidate(ctx context.Context, rejected wechatuser.Token) error {
	return invalidate(ctx, c.cache, rejected)
}

// invalidate replaces a rejected token of a cache. It is no error if there is no other one for now: the caller sees
// that.
func invalidate(ctx context.Context, cache *tokencache.Cache, rejected wechatuser.Token) error {
	_, err := cache.Refresh(ctx, rejected.AccessToken)
	if errors.Is(err, tokencache.ErrNoOtherToken) {
		return nil
	}
	return cacheError(err)
}

// SaveTicket saves a component_verify_ticket, which WeChat pushes to the event URL of the platform every 10 minutes.
// If SaveTicket fails, respond to the push with an error. A ticket is valid for 12 hours, and only the latest is kept.
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/component_verify_ticket.html
func (p *Platform) SaveTicket(ctx context.Context, ticket string) error {
	if !isWord(ticket) {
		return &wechatuser.ArgumentError{
			API: "SaveTicket", Field: "ticket", Reason: "it is empty or has a space: pass the ComponentVerifyTicket of the push",
		}
	}
	if err := p.saveSecret(ctx, p.ticketKey(), ticket, "the component_verify_ticket", ticketLife); err != nil {
		return err
	}
	p.component.cache.Forget()
	return nil
}

func (p *Platform) ticket(ctx context.Context) (string, error) {
	ticket, err := p.loadSecret(ctx, p.ticketKey(), "the component_verify_ticket")
	if err == nil && ticket == "" {
		err = ErrNoTicket
	}
	return ticket, err
}

// fetchTime is the time for a fetch, with all its requests and retries. It is shorter than the time for which a process
// can hold the lock of redisstore.
const fetchTime = 100 * time.Second

// fetch fetches a component_access_token. If WeChat rejects the ticket or the secret, and there is another one by then,
// it tries once more.
func (c *component) fetch(ctx context.Context, _ tokencache.Kind, allow func() error) (tokencache.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	ticket, err := c.p.ticket(ctx)
	if err != nil {
		return tokencache.Token{}, err
	}
	secret, err := c.p.askSecret(ctx)
	if err != nil {
		return tokencache.Token{}, err
	}
	t, err := c.p.getComponentAccessToken(ctx, allow, secret, ticket)
	if !errors.Is(err, wechatuser.ErrCredential) {
		return t, err
	}
	nextTicket, ticketErr := c.p.ticket(ctx)
	nextSecret, secretErr := c.p.askSecret(ctx)
	if ticketErr != nil || secretErr != nil || nextTicket == ticket && nextSecret == secret {
		return t, err
	}
	return c.p.getComponentAccessToken(ctx, allow, nextSecret, nextTicket)
}

// askSecret returns the app secret of the platform.
func (p *Platform) askSecret(ctx context.Context) (string, error) {
	if p.secretSource == nil {
		return p.secret(), nil
	}
	secret, err := p.secretSource(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("authorizer: secret source: %w", p.redacted(err, secret))
	case !isWord(secret):
		return "", errors.New("authorizer: secret source: it returned no secret, or one with a space")
	}
	return secret, nil
}
