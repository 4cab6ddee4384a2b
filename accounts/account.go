package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/wechatuser/wechatuser"
)

// Account holds the settings of one account. Printing it shows only the app ID.
type Account struct {
	// AppID is the app ID of the account. If empty, the key is the app ID.
	AppID string
	// Secret is the app secret. It may be empty if SecretSource or TokenSource is set.
	Secret string `json:"-"`
	// SecretSource returns the app secret each time it is needed; see [wechatuser.WithSecretSource].
	SecretSource func(context.Context) (string, error) `json:"-"`
	// TokenSource returns the access tokens, for example of an account that has authorized a third-party platform; see
	// [wechatuser.WithTokenSource]. An account with a TokenSource does not use the store of [WithTokenStore].
	TokenSource wechatuser.TokenSource `json:"-"`
	// Options are additional options of the client. They take precedence over those of the registry.
	Options []wechatuser.Option `json:"-"`
	// Version is any string that changes when the settings change, such as the time of the last update of the row. It
	// is required if SecretSource, TokenSource or Options can change, since functions cannot be compared. It may be
	// empty if only AppID and Secret change.
	Version string
}

// Lookup returns the settings of the account with this key. If there is no such account, it must return an error that
// matches [ErrUnknownAccount]. It must be safe for concurrent use.
//
// For each key one lookup runs at a time, in its own goroutine, and all callers wait for that one. ctx has the values
// of the first caller's context, but does not end with it; it ends after [WithLookupTimeout]. If the lookup has not
// returned by then, its result is ignored, and the next caller starts another lookup.
type Lookup func(ctx context.Context, key string) (Account, error)

// ErrUnknownAccount is the error to return, or to wrap, from a [Lookup] if there is no account with the key.
var ErrUnknownAccount = errors.New("no such account")

// String returns the name of the type and the app ID, and no secret.
func (a Account) String() string { return "accounts.Account(" + a.AppID + ")" }

// Format writes String for all verbs, so that none of them shows the secret.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue returns String as a log value.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// equals reports whether two accounts have the same settings, as far as they can be compared.
func (a Account) equals(b Account) bool {
	return a.AppID == b.AppID && a.Secret == b.Secret && a.Version == b.Version &&
		(a.SecretSource == nil) == (b.SecretSource == nil) && (a.TokenSource == nil) == (b.TokenSource == nil) &&
		len(a.Options) == len(b.Options)
}
