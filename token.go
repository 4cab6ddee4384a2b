package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// Token is an access token. Printing it in any way shows when it ends, and not what it is.
//
// encoding/json writes it whole, for a [TokenStore]. A JSON log of a struct that holds a Token shows it therefore; a
// Token that is logged as an attribute of its own is safe.
type Token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"` // zero where it is not known
}

// String tells when the token ends.
func (t Token) String() string {
	switch {
	case t.AccessToken == "":
		return "Token(none)"
	case t.ExpiresAt.IsZero():
		return "Token(***)"
	default:
		return "Token(***, expires " + t.ExpiresAt.UTC().Format(time.RFC3339) + ")"
	}
}

// GoString is String.
func (t Token) GoString() string { return t.String() }

// Format prints String for each verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// TokenSource is where access tokens come from if not from WeChat itself; see [WithTokenSource].
//
// Token is called for each attempt of each call, so it should answer from memory when it can. It must be safe for
// concurrent use, and return when the context ends.
type TokenSource interface {
	Token(context.Context) (Token, error)
}

// TokenInvalidator is a [TokenSource] that can be told that the platform refused a token. The call that was refused is
// then repeated with the token that the source gives next, if it is another one.
type TokenInvalidator interface {
	// Invalidate drops that token and no other: by the time it is called, a newer one may be there.
	Invalidate(ctx context.Context, refused Token) error
}

// TokenSourceFunc is a function as a [TokenSource].
type TokenSourceFunc func(context.Context) (Token, error)

// Token calls f.
func (f TokenSourceFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// StaticTokenSource always gives the same token, for tests and short programs.
func StaticTokenSource(token string) TokenSource {
	return TokenSourceFunc(func(context.Context) (Token, error) { return Token{AccessToken: token}, nil })
}

// tokens is where a client's calls get their tokens. All its methods return when the context ends.
type tokens interface {
	// get gives a token to try.
	get(context.Context) (Token, error)
	// renew sees to it that get gives another token than the refused one, and fails with errNoOtherToken where there
	// is none for now. Where fetched is false the other one was there already, and may be as dead.
	renew(ctx context.Context, refused Token) (fetched bool, err error)
	// worked is told of each call that succeeded.
	worked(Token)
	// force replaces the token even if it is good.
	force(context.Context) (Token, error)
}

// errNoOtherToken: the platform refuses a token, and there is no other one for now.
var errNoOtherToken = errors.New("wechatuser: there is no other access token")

// Token gives the access token that the next call would use, for calls that this package does not make. Treat it as
// the secret it is.
//
// It asks WeChat only when there is none that is good: getStableAccessToken,
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) Token(ctx context.Context) (Token, error) {
	t, err := c.tokens.get(ctx)
	if err != nil {
		return t, noToken("Token", 0, err)
	}
	return t, nil
}

// RefreshToken replaces the access token even if it is good, and ends it at once for everybody. No call needs it: a
// token that ends or is refused is renewed without. It is for a token that has become known to others.
//
// WeChat allows 20 of them a day and account, so that it is never repeated; within 30 seconds of the last one it gives
// the current token again. With [WithLegacyToken] it fetches a token as usual, and the old one ends after five minutes.
// With [WithTokenSource] the source must be a [TokenInvalidator].
//
// getStableAccessToken with force_refresh,
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html.
func (c *Client) RefreshToken(ctx context.Context) (Token, error) {
	t, err := c.tokens.force(ctx)
	return t, noToken("RefreshToken", 0, err)
}

// foreignTokens are tokens of a TokenSource.
type foreignTokens struct {
	src    TokenSource
	secret func() string // what its errors must not show
}

func (f foreignTokens) get(ctx context.Context) (Token, error) {
	t, err := f.src.Token(ctx)
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("wechatuser: token source: %w", sealed(err, f.secret(), t.AccessToken))
	case t.AccessToken == "":
		return Token{}, errors.New("wechatuser: token source: it gave an empty token and no error")
	}
	return t, nil
}

func (f foreignTokens) renew(ctx context.Context, refused Token) (fetched bool, err error) {
	if inv, ok := f.src.(TokenInvalidator); ok {
		if err := inv.Invalidate(ctx, refused); err != nil {
			return true, fmt.Errorf("wechatuser: token source: dropping a refused token: %w", sealed(err, f.secret(), refused.AccessToken))
		}
	}
	t, err := f.get(ctx)
	if err == nil && t.AccessToken == refused.AccessToken {
		err = errNoOtherToken
	}
	return true, err
}

func (f foreignTokens) worked(Token) {}

func (f foreignTokens) force(ctx context.Context) (Token, error) {
	if _, ok := f.src.(TokenInvalidator); !ok {
		return Token{}, &ArgumentError{API: "RefreshToken", Field: "TokenSource", Reason: "it can't renew a token: implement TokenInvalidator, or renew it where it comes from"}
	}
	t, err := f.get(ctx)
	if err != nil {
		return Token{}, err
	}
	if _, err := f.renew(ctx, t); err != nil {
		return Token{}, err
	}
	return f.get(ctx)
}

// tokenResponse is the answer of both token endpoints.
type tokenResponse struct {
	wire.Envelope
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

func (r *tokenResponse) missing() string {
	switch {
	case r.AccessToken == "":
		return "access_token"
	case r.ExpiresIn <= 0:
		return "expires_in above zero"
	}
	return ""
}

// fetchToken asks WeChat for a token, in one of its three ways. spend goes ahead of each attempt and can forbid it.
func (c *Client) fetchToken(ctx context.Context, way endpointID, spend func() error) (Token, error) {
	var asked time.Time // the token's time runs from then, not from when the answer was read
	req := request{ep: &endpoints[way], before: func() error {
		asked = time.Now()
		return spend()
	}}
	var in any
	if way == accessToken {
		req.query = url.Values{"grant_type": {"client_credential"}, "appid": {c.appID}, "secret": {c.secret()}}.Encode()
	} else {
		in = struct {
			GrantType    string `json:"grant_type"`
			AppID        string `json:"appid"`
			Secret       string `json:"secret"`
			ForceRefresh bool   `json:"force_refresh"`
		}{"client_credential", c.appID, c.secret(), way == forcedToken}
	}
	res, err := call[tokenResponse](ctx, c, req, in)
	if err != nil {
		return Token{}, err
	}
	// Round takes off the monotonic clock, which stands still while a machine sleeps.
	end := asked.Add(time.Duration(min(res.ExpiresIn, 1<<31)) * time.Second).Round(0)
	return Token{AccessToken: res.AccessToken, ExpiresAt: end}, nil
}
