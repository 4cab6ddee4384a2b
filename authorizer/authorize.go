package authorizer

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// StartTicketPush asks WeChat to push tickets, if it has stopped doing so.
//
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_startpushticket.html
func (p *Platform) StartTicketPush(ctx context.Context) error {
	secret, err := p.askSecret(ctx)
	if err != nil {
		return err
	}
	return p.send(ctx, wechatuser.Request{
		API: "startPushTicket", Path: "api_start_push_ticket", Idempotent: true, WithoutToken: true,
		Body:    map[string]string{"component_appid": p.appID, "component_secret": secret},
		Secrets: []string{secret},
	}, nil)
}

// AuthorizationURL returns the address of the page on which the administrator of an Official Account authorizes the
// platform. It is valid for one authorization within 30 minutes. WeChat accepts a browser only if it follows a link on
// a page of the domain that is set in the platform's console. After the authorization WeChat redirects the browser to
// redirect, with the parameters auth_code and expires_in: pass auth_code to [Platform.ExchangeCode].
//
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getpreauthcode
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Authorization_Process_Technical_Description.html
func (p *Platform) AuthorizationURL(ctx context.Context, redirect string) (string, error) {
	const api = "getPreAuthCode"
	if u, err := url.Parse(redirect); err != nil || u.Host == "" {
		return "", &wechatuser.ArgumentError{API: api, Field: "redirect", Reason: "it is not an absolute URL"}
	}
	var out struct {
		Code string `json:"pre_auth_code"`
	}
	err := p.post(ctx, wechatuser.Request{
		API: api, Path: "api_create_preauthcode", Body: map[string]string{"component_appid": p.appID}, Idempotent: true,
	}, &out)
	if err == nil && !isWord(out.Code) {
		err = missingError(api, "pre_auth_code")
	}
	if err != nil {
		return "", err
	}
	return "https://mp.weixin.qq.com/cgi-bin/componentloginpage?" + url.Values{
		"component_appid": {p.appID}, "pre_auth_code": {out.Code}, "redirect_uri": {redirect}, "auth_type": {"1"},
	}.Encode(), nil
}

// Authorization is what an account has authorized.
type Authorization struct {
	// AppID is that of the account.
	AppID string
	// Permissions are the IDs of the permission sets (权限集) that the account granted. Without 2 or 100, calls of user
	// management fail with 61007.
	Permissions []int
}

// ExchangeCode exchanges the authorization_code of an account that has authorized the platform, or has done so again.
// It stores the tokens of the account. The code is the auth_code of the redirect, or the AuthorizationCode of the push
// authorized or updateauthorized. It can be used once, within an hour.
//
// The authorization is not lost if ExchangeCode fails after WeChat has accepted the code. If no response arrived, the
// error matches [wechatuser.ErrAmbiguous], and the [Source] of the account reads the refresh token with
// getAuthorizerList. If the store is unavailable, the Source keeps the tokens and saves them later; the Authorization
// is returned together with the error then.
//
// https://developers.weixin.qq.com/doc/oplatform/OpenApiDoc/thirdparty/ticket-token/api_query_auth.html
func (p *Platform) ExchangeCode(ctx context.Context, code string) (Authorization, error) {
	const api = "queryAuthInfo"
	if !isWord(code) {
		return Authorization{}, &wechatuser.ArgumentError{API: api, Field: "code", Reason: "it is empty or has a space"}
	}
	var out struct {
		Info struct {
			authorizerTokens
			AppID       string `json:"authorizer_appid"`
			Permissions []struct {
				Category struct {
					ID int `json:"id"`
				} `json:"funcscope_category"`
			} `json:"func_info"`
		} `json:"authorization_info"`
	}
	sentAt := time.Now()
	err := p.post(ctx, wechatuser.Request{
		API: api, Path: "api_query_auth", Secrets: []string{code},
		Body: map[string]string{"component_appid": p.appID, "authorization_code": code},
	}, &out)
	if err == nil && !isWord(out.Info.AppID) {
		err = missingError(api, "authorizer_appid")
	}
	if err != nil {
		return Authorization{}, err
	}
	a := Authorization{AppID: out.Info.AppID}
	for _, permission := range out.Info.Permissions {
		a.Permissions = append(a.Permissions, permission.Category.ID)
	}
	g, err := out.Info.grant(api, sentAt)
	if g == nil {
		return a, err
	}
	return a, p.Source(a.AppID).take(ctx, g) // if there is no access token, it refreshes one
}

// take stores a new grant of the account. The code was used up for it, so that it is stored even if ctx has ended or
// the limit of token requests is reached.
func (s *Source) take(ctx context.Context, g *grant) error {
	s.keep(g)
	detached := context.WithoutCancel(ctx)
	if stored, err := s.loadRefreshToken(detached); err == nil {
		s.mu.Lock()
		g.replaces = &stored
		s.mu.Unlock()
	}
	s.cache.Forget()
	if ctx.Err() == nil {
		_, err := s.cache.ForceRefresh(ctx)
		if _, limited := err.(*tokencache.LimitError); !limited { //nolint:errorlint // a limit of this cache
			return cacheError(err)
		}
	}
	return s.saveKept(detached)
}

// saveKept saves the kept grant, if there is one, without a refresh.
func (s *Source) saveKept(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	stored, err := s.loadRefreshToken(ctx)
	if err != nil {
		return err
	}
	g := s.keptGrant(stored)
	if g == nil {
		return nil
	}
	if err := s.save(ctx, g, stored); err != nil || g.token.AccessToken == "" {
		return err
	}
	if err := s.tokenStore().Save(ctx, g.token); err != nil {
		return fmt.Errorf("authorizer: saving the access token of %s: %w", s.appID, err)
	}
	return nil
}

// lock takes the lock of the account's token. unlock is not nil if there is no error.
func (s *Source) lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = s.tokenStore().Lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("authorizer: the lock of %s: %w", s.appID, err)
	}
	if unlock == nil {
		unlock = func() {}
	}
	return unlock, nil
}

// Remove deletes the tokens of an account that has withdrawn its authorization; call it for the push unauthorized. Calls
// of clients that have its token in memory fail with 61003. If a refresh is under way for more than 5 seconds, Remove fails
// and deletes nothing.
//
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
func (p *Platform) Remove(ctx context.Context, appID string) error {
	s := p.Source(appID)
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	unlock, err := s.lock(ctx) // a refresh that is under way saves a refresh token at its end
	if err != nil {
		return err
	}
	defer unlock()
	s.keep(nil)
	if err := p.store.DeleteSecret(ctx, s.refreshTokenKey()); err != nil {
		return fmt.Errorf("authorizer: deleting the refresh token of %s: %w", appID, p.redacted(err))
	}
	store := s.tokenStore()
	t, err := store.Load(ctx)
	if err == nil && t.AccessToken != "" {
		err = store.Delete(ctx, t)
	}
	if err != nil {
		return fmt.Errorf("authorizer: deleting the access token of %s: %w", appID, p.redacted(err, t.AccessToken))
	}
	return nil
}

// Authorizer is an account that has authorized the platform.
type Authorizer struct {
	AppID        string
	AuthorizedAt time.Time

	refreshToken *string // never nil; a pointer, because fmt prints a string field however deep it is
}

// String returns the app ID.
func (a Authorizer) String() string { return a.AppID }

// Format writes String, whatever the verb, so that none shows the refresh token.
func (a Authorizer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.AppID)) }

// maxAuthorizers is the number of accounts that one call of getAuthorizerList returns.
const maxAuthorizers = 500

// Authorizers lists the accounts that have authorized the platform, 500 with a call. After an error it yields nothing
// more.
//
// https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerlist.html
func (p *Platform) Authorizers(ctx context.Context) iter.Seq2[Authorizer, error] {
	return func(yield func(Authorizer, error) bool) {
		for offset := 0; ; {
			total, page, err := p.getAuthorizerList(ctx, offset)
			if err != nil {
				yield(Authorizer{}, err)
				return
			}
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
			}
			offset += len(page)
			if len(page) == 0 || offset >= total {
				return
			}
		}
	}
}

// Restore saves the refresh tokens of getAuthorizerList for accounts of which the store has none, such as after the
// store was lost, and returns how many it saved. Without it, each account reads the list by itself at its next refresh.
func (p *Platform) Restore(ctx context.Context) (saved int, err error) {
	for a, err := range p.Authorizers(ctx) {
		if err != nil {
			return saved, err
		}
		if *a.refreshToken == "" {
			continue
		}
		ok, err := p.Source(a.AppID).restore(ctx, *a.refreshToken)
		if err != nil {
			return saved, err
		}
		if ok {
			saved++
		}
	}
	return saved, nil
}

// restore saves a refresh token if the store has none. It takes the lock of the account's token, since a process that
// is refreshing it may save a newer one.
func (s *Source) restore(ctx context.Context, refresh string) (saved bool, err error) {
	if stored, err := s.loadRefreshToken(ctx); err != nil || stored != "" {
		return false, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if stored, err := s.loadRefreshToken(ctx); err != nil || stored != "" {
		return false, err
	}
	return true, s.p.saveSecret(ctx, s.refreshTokenKey(), refresh, "the refresh token of "+s.appID, 0)
}

type authorizerListRequest struct {
	ComponentAppID string `json:"component_appid"`
	Offset         int    `json:"offset"`
	Count          int    `json:"count"`
}

func (p *Platform) getAuthorizerList(ctx context.Context, offset int) (total int, page []Authorizer, err error) {
	var out struct {
		Total *int `json:"total_count"`
		List  []struct {
			AppID        string `json:"authorizer_appid"`
			RefreshToken string `json:"refresh_token"`
			AuthTime     int64  `json:"auth_time"`
		} `json:"list"`
	}
	const api = "getAuthorizerList"
	err = p.post(ctx, wechatuser.Request{
		API: api, Path: "api_get_authorizer_list", Body: authorizerListRequest{p.appID, offset, maxAuthorizers},
		Idempotent: true,
	}, &out)
	switch {
	case err != nil:
		return 0, nil, err
	case out.Total == nil:
		return 0, nil, missingError(api, "total_count")
	}
	for _, a := range out.List {
		page = append(page, Authorizer{a.AppID, time.Unix(a.AuthTime, 0), &a.RefreshToken})
	}
	return *out.Total, page, nil
}
