package wechatuser

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/wechatuser/wechatuser/internal/transport"
)

// Client calls the API of one Official Account.
//
// It is immutable and safe for concurrent use. Create one per account and reuse it; it needs no Close.
type Client struct{ caller }

// New returns a client for the account with this app ID and secret. It makes no request and starts no goroutine.
//
// If arguments or options are wrong it returns one error, which wraps an [*ArgumentError] for each of them.
func New(appID, secret string, opts ...Option) (*Client, error) {
	cfg, err := newConfig(appID, secret, opts)
	if err != nil {
		return nil, err
	}
	c := &Client{caller{config: cfg, sender: transport.New(transport.Config{
		BaseURLs: cfg.baseURLs, RoundTripper: cfg.transport, Client: cfg.httpClient,
		UserAgent: cmp.Or(cfg.userAgent, "wechatuser/"+Version),
	})}}
	c.tokens = newTokenProvider(&c.caller)
	cfg.warnOfPlainHTTP()
	return c, nil
}

// AppID returns the app ID of the account.
func (c *Client) AppID() string { return c.appID }

// HTTPClient returns the client that sends the requests, not a copy, so that httpmock.ActivateNonDefault and
// CloseIdleConnections work on it.
func (c *Client) HTTPClient() *http.Client { return c.sender.HTTPClient() }

// Token returns the access token that the next call would use, for requests that another program or library sends;
// [Client.Do] sends a request to any endpoint itself. Treat the token as a secret.
//
// It fetches a token only if it has no valid one.
//
// getStableAccessToken, POST /cgi-bin/stable_token, or getAccessToken, GET /cgi-bin/token, with [WithLegacyToken],
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) Token(ctx context.Context) (Token, error) {
	if err := checkContext("Token", ctx); err != nil {
		return Token{}, err
	}
	t, err := c.tokens.get(ctx)
	switch {
	case err != nil:
		return t, tokenError(&endpoint{api: "Token"}, 0, err)
	case t.AccessToken == "":
		return t, argumentError("Token", "WithCloudHosting", "calls need no access token there, so the client has none")
	}
	return t, nil
}

// RefreshToken replaces the access token for all programs of the account, even if it is still valid. Use it only if a
// token has leaked; expired and rejected tokens are replaced automatically.
//
// After a leak call it twice, at least 30 seconds apart: after a single call the leaked token may still work.
// https://developers.weixin.qq.com/doc/channels/API/leagueheadsupplier/getStableAccessToken.html
//
// WeChat allows 20 forced refreshes per account and day, so RefreshToken is never retried. Within 30 seconds of the
// last forced refresh it returns the current token. With [WithLegacyToken] it fetches a token as usual, and the old one
// expires after five minutes. With [WithTokenSource] the source must be a [TokenInvalidator].
//
// getStableAccessToken, POST /cgi-bin/stable_token with force_refresh,
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) RefreshToken(ctx context.Context) (Token, error) {
	if err := checkContext("RefreshToken", ctx); err != nil {
		return Token{}, err
	}
	t, err := c.tokens.forceRefresh(ctx)
	return t, tokenError(&endpoint{api: "RefreshToken"}, 0, err)
}

// String returns the name of the type and the app ID, and no secret.
func (c *Client) String() string {
	if c == nil || c.config == nil {
		return "wechatuser.Client(nil)"
	}
	return "wechatuser.Client(" + c.appID + ")"
}

// Format writes String, whatever the verb, so that none shows the secret.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns String.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }
