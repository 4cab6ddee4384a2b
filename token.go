package wechatuser

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// Token is an access token. However it is printed, only its expiry is shown.
//
// encoding/json writes all of it, for a [TokenStore]. A JSON log of a struct that contains a Token therefore shows it;
// a Token that is logged as an attribute of its own is safe.
type Token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"` // zero if it is not known
}

// String returns when the token expires.
func (t Token) String() string { return tokencache.Token(t).String() }

// Format writes String, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue returns String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// TokenSource returns access tokens that do not come from WeChat itself; see [WithTokenSource].
//
// Token is called for each attempt of each call, so it should return from memory when it can. It must be safe for
// concurrent use, and return when the context ends. A token with a space or a control character, such as the newline at
// the end of a file, is an error.
type TokenSource interface {
	Token(context.Context) (Token, error)
}

// TokenInvalidator is a [TokenSource] that can be told that the platform rejected a token. The rejected call is then
// retried with the token that the source returns next, if it is another one.
type TokenInvalidator interface {
	// Invalidate drops that token and no other: a newer one may have replaced it already. If it fails, the call fails
	// with the platform's error, and errors.Is finds that of Invalidate too.
	Invalidate(ctx context.Context, rejected Token) error
}

// TokenSourceFunc makes a function a [TokenSource].
type TokenSourceFunc func(context.Context) (Token, error)

// Token calls f.
func (f TokenSourceFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// StaticTokenSource returns a source of one fixed token, for tests and short programs.
func StaticTokenSource(token string) TokenSource {
	return TokenSourceFunc(func(context.Context) (Token, error) { return Token{AccessToken: token}, nil })
}

// tokenProvider returns the tokens for a client's calls. All its methods return when the context ends.
type tokenProvider interface {
	// get returns a token to try.
	get(context.Context) (Token, error)
	// refresh makes get return another token than the rejected one, and fails with errNoOtherToken if there is none for
	// now. If fetched is false the other token was there already, and may be rejected too.
	refresh(ctx context.Context, rejected Token) (fetched bool, err error)
	// accepted is told of each response that shows that a token is good.
	accepted(Token)
	// forceRefresh replaces the token even if it is good.
	forceRefresh(context.Context) (Token, error)
	// forget makes the provider forget why it fetches no token, after something was done about it.
	forget()
}

// errNoOtherToken: the platform rejects a token, and there is no other one for now.
var errNoOtherToken = tokencache.ErrNoOtherToken
