package authorizer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// HTTP is the platform itself.
type HTTP struct {
	// ComponentAppID is the app ID of the open platform.
	ComponentAppID string
	// Component gives its component_access_token. To get that takes the component_verify_ticket that WeChat pushes to
	// the platform's server every ten minutes, so that it is a matter of that server:
	// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken.html.
	// Where it is a [wechatuser.TokenInvalidator] too, it hears of a token that was refused.
	Component wechatuser.TokenSource
	// BaseURL defaults to wechatuser.BaseURL.
	BaseURL string
	// Transport defaults to http.DefaultTransport.
	Transport http.RoundTripper
}

const api = "getAuthorizerAccessToken"

// Exchange makes the call, and a second one where a new component_access_token is to be had for one that was refused.
//
// getAuthorizerAccessToken,
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html.
func (h HTTP) Exchange(ctx context.Context, appID, refreshToken string) (Grant, error) {
	component, err := h.Component.Token(ctx)
	if err != nil {
		return Grant{}, fmt.Errorf("component_access_token: %w", err)
	}
	g, err := h.post(ctx, component.AccessToken, appID, refreshToken)
	inv, ok := h.Component.(wechatuser.TokenInvalidator)
	if !ok || !errors.Is(err, wechatuser.ErrInvalidToken) {
		return g, err
	}
	if err := inv.Invalidate(ctx, component); err != nil {
		return Grant{}, fmt.Errorf("component_access_token: %w", err)
	}
	next, renewErr := h.Component.Token(ctx)
	if renewErr != nil || next.AccessToken == component.AccessToken {
		return g, errors.Join(err, renewErr)
	}
	return h.post(ctx, next.AccessToken, appID, refreshToken)
}

func (h HTTP) post(ctx context.Context, component, appID, refreshToken string) (Grant, error) {
	body, err := json.Marshal(map[string]string{
		"component_appid": h.ComponentAppID, "authorizer_appid": appID, "authorizer_refresh_token": refreshToken,
	})
	if err != nil {
		return Grant{}, err
	}
	// The page above calls it access_token, and the pages on component_access_token by that name:
	// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/ThirdParty/token/component_access_token.html.
	address := cmp.Or(h.BaseURL, wechatuser.BaseURL) + "/cgi-bin/component/api_authorizer_token?" +
		url.Values{"component_access_token": {component}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Grant{}, errors.New("the base URL can't be used") // the error holds the address
	}
	req.Header.Set("Content-Type", "application/json")
	hc := http.Client{
		Transport: h.Transport,
		// A redirect would carry the tokens elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err // without the address
		}
		return Grant{}, fmt.Errorf("%s: no answer: %w", api, err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken  string          `json:"authorizer_access_token"`
		RefreshToken string          `json:"authorizer_refresh_token"`
		ExpiresIn    int64           `json:"expires_in"`
		Code         wechatuser.Code `json:"errcode"`
		Message      string          `json:"errmsg"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&out)
	switch {
	case err == nil && out.Code != 0:
		// What the platform writes into its text is not ours to know.
		text := strings.NewReplacer(component, "***", refreshToken, "***").Replace(out.Message)
		return Grant{}, &wechatuser.Error{API: api, Code: out.Code, Message: text, Attempts: 1}
	case err != nil || out.AccessToken == "" || out.ExpiresIn <= 0:
		return Grant{}, fmt.Errorf("%s: status %d, and the answer is no token", api, resp.StatusCode) // and must not be shown
	}
	return Grant{
		AccessToken: out.AccessToken, RefreshToken: cmp.Or(out.RefreshToken, refreshToken),
		ExpiresIn: time.Duration(out.ExpiresIn) * time.Second,
	}, nil
}
