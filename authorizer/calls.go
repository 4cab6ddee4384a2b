package authorizer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// tokenParam is the query parameter with the token of the platform. The pages of today name it access_token, and all
// programs that developers have published send this one, which older pages name:
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/ThirdParty/token/component_access_token.html
const tokenParam = "component_access_token"

// post calls an API of the platform with its token.
func (p *Platform) post(ctx context.Context, req wechatuser.Request, out any) error {
	req.TokenParam = tokenParam
	return p.send(ctx, req, out)
}

// send calls an API of the platform. No error shows a part of a response, which may have a token.
func (p *Platform) send(ctx context.Context, req wechatuser.Request, out any) error {
	req.Path = "/cgi-bin/component/" + req.Path
	req.Secrets = append(req.Secrets, p.secret())
	return p.api.Do(ctx, req, out)
}

// missingError reports a response without what it should have.
func missingError(api, field string) error {
	return &wechatuser.ResponseError{
		API: api, StatusCode: http.StatusOK, Attempts: 1, Err: errors.New("the response has no " + field),
	}
}

// tokenOf returns the token of a response to a request that was sent at that time.
func tokenOf(api, field, token string, expiresIn int64, sentAt time.Time) (tokencache.Token, error) {
	switch {
	case !isWord(token):
		return tokencache.Token{}, missingError(api, field)
	case expiresIn <= 0:
		return tokencache.Token{}, missingError(api, "expires_in above 0")
	}
	// Round removes the monotonic clock, which stops while a machine sleeps.
	expires := sentAt.Add(time.Duration(min(expiresIn, 1<<31)) * time.Second).Round(0)
	return tokencache.Token{AccessToken: token, ExpiresAt: expires}, nil
}

type componentTokenRequest struct {
	AppID  string `json:"component_appid"`
	Secret string `json:"component_appsecret"`
	Ticket string `json:"component_verify_ticket"`
}

// getComponentAccessToken fetches the token of the platform, which is valid for two hours.
//
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken
func (p *Platform) getComponentAccessToken(
	ctx context.Context, allow func() error, secret, ticket string,
) (tokencache.Token, error) {
	const api = "getComponentAccessToken"
	if err := allow(); err != nil {
		return tokencache.Token{}, err
	}
	var out struct {
		Token     string `json:"component_access_token"`
		ExpiresIn int64  `json:"expires_in"`
	}
	sentAt := time.Now()
	err := p.send(ctx, wechatuser.Request{
		API: api, Path: "api_component_token", Body: componentTokenRequest{p.appID, secret, ticket},
		WithoutToken: true, Idempotent: true, Secrets: []string{secret, ticket},
	}, &out)
	if err != nil {
		return tokencache.Token{}, err
	}
	return tokenOf(api, "component_access_token", out.Token, out.ExpiresIn, sentAt)
}

type authorizerTokenRequest struct {
	ComponentAppID string `json:"component_appid"`
	AppID          string `json:"authorizer_appid"`
	RefreshToken   string `json:"authorizer_refresh_token"`
}

// getAuthorizerAccessToken exchanges a refresh token for an access token of the account, which is valid for two hours.
// See grant for a result beside an error.
//
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html
func (p *Platform) getAuthorizerAccessToken(ctx context.Context, appID, refresh string) (*grant, error) {
	var out authorizerTokens
	sentAt := time.Now()
	const api = "getAuthorizerAccessToken"
	err := p.post(ctx, wechatuser.Request{
		API: api, Path: "api_authorizer_token", Body: authorizerTokenRequest{p.appID, appID, refresh},
		Idempotent: true, Secrets: []string{refresh},
	}, &out)
	if err != nil {
		return nil, fmt.Errorf("authorizer: %s: %w", appID, err)
	}
	if out.RefreshToken == "" {
		out.RefreshToken = refresh
	}
	return out.grant(api, sentAt)
}

// authorizerTokens are the tokens of an account in a response.
type authorizerTokens struct {
	AccessToken  string `json:"authorizer_access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"authorizer_refresh_token"`
}

// grant returns the grant in a response. With only a refresh token, which may have replaced the one before it, it
// returns a grant without an access token, and an error.
func (t authorizerTokens) grant(api string, sentAt time.Time) (*grant, error) {
	if !isWord(t.RefreshToken) {
		return nil, missingError(api, "authorizer_refresh_token: the account may not have the API")
	}
	token, err := tokenOf(api, "authorizer_access_token", t.AccessToken, t.ExpiresIn, sentAt)
	return &grant{token: token, refresh: t.RefreshToken}, err
}
