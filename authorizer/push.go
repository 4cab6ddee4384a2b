package authorizer

import (
	"context"
	"errors"
	"fmt"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// Handle handles the events of the platform: it saves a ticket, exchanges the code of an account that has authorized the
// platform, and removes an account that has withdrawn its authorization. It ignores all other events. Pass it to
// [wechatuserpush.NewHandler], or call it from a function that handles other events itself.
//
// WeChat also sends the code of an authorization to the redirect of [Platform.AuthorizationURL], and the code can be
// used only once. If it has been used already, Handle returns nil as long as the account's token is available.
func (p *Platform) Handle(ctx context.Context, event wechatuserpush.Event) error {
	switch e := event.(type) {
	case *wechatuserpush.VerifyTicket:
		return p.handle(e.AppID, func() error { return p.SaveTicket(ctx, e.Ticket) })
	case *wechatuserpush.Authorized:
		return p.handle(e.AppID, func() error { return p.exchange(ctx, e.AuthorizerAppID, e.AuthorizationCode) })
	case *wechatuserpush.UpdateAuthorized:
		return p.handle(e.AppID, func() error { return p.exchange(ctx, e.AuthorizerAppID, e.AuthorizationCode) })
	case *wechatuserpush.Unauthorized:
		return p.handle(e.AppID, func() error { return p.Remove(ctx, e.AuthorizerAppID) })
	}
	return nil
}

// handle calls f if an event is meant for this platform.
func (p *Platform) handle(appID string, f func() error) error {
	if appID != p.appID {
		return fmt.Errorf("authorizer: the event is for another platform, %q", appID)
	}
	return f()
}

// exchange exchanges the code of a push. If the code was used before, or that is not known, the account's token shows
// whether the authorization was stored.
func (p *Platform) exchange(ctx context.Context, appID, code string) error {
	_, err := p.ExchangeCode(ctx, code)
	if errors.Is(err, wechatuser.CodeAuthCodeExpired) || errors.Is(err, wechatuser.ErrAmbiguous) {
		if _, tokenErr := p.Source(appID).Token(ctx); tokenErr == nil {
			return nil
		}
	}
	return err
}
