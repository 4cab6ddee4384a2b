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

// HTTP is the [Platform] that calls WeChat over HTTP.
type HTTP struct {
	// ComponentAppID is the app ID of the open platform.
	ComponentAppID string
	// Component returns its component_access_token. It takes a component_verify_ticket to fetch one, which WeChat pushes
	// to the platform's server every ten minutes, so that this server has to fetch it:
	// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken.html.
	// If it is a [wechatuser.TokenInvalidator], it is told about a rejected token.
	Component wechatuser.TokenSource
	// BaseURL defaults to wechatuser.BaseURL.
	BaseURL string
	// Transport defaults to http.DefaultTransport.
	Transport http.RoundTripper
}

const api = "getAuthorizerAccessToken"

// Exchange calls the platform. If the component_access_token is rejected and Component returns another one, it retries
// once.
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
	next, refreshErr := h.Component.Token(ctx)
	if refreshErr != nil || next.AccessToken == component.AccessToken {
		return g, errors.Join(err, refreshErr)
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
	// The page above names the parameter access_token. The pages on component_access_token name it as here:
	// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/ThirdParty/token/component_access_token.html.
	address := cmp.Or(h.BaseURL, wechatuser.BaseURL) + "/cgi-bin/component/api_authorizer_token?" +
		url.Values{"component_access_token": {component}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Grant{}, errors.New("the base URL is invalid") // err contains the URL
	}
	req.Header.Set("Content-Type", "application/json")
	hc := http.Client{
		Transport: h.Transport,
		// A redirect would send the tokens elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err // without the URL, which contains the token
		}
		return Grant{}, fmt.Errorf("%s: no response: %w", api, err)
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
		// The platform may quote a token in its text.
		text := strings.NewReplacer(component, "***", refreshToken, "***").Replace(out.Message)
		return Grant{}, &wechatuser.Error{API: api, Code: out.Code, Message: text, Attempts: 1}
	case err != nil || out.AccessToken == "" || out.ExpiresIn <= 0:
		return Grant{}, fmt.Errorf("%s: status %d, no token in the response", api, resp.StatusCode) // the body may hold one
	}
	return Grant{
		AccessToken: out.AccessToken, RefreshToken: cmp.Or(out.RefreshToken, refreshToken),
		ExpiresIn: time.Duration(out.ExpiresIn) * time.Second,
	}, nil
}
