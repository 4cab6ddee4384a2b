package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/wechatuser/wechatuser"
)

// Account holds the settings of one account. However it is printed, only the app ID is shown.
type Account struct {
	// AppID is the app ID of the account. If empty, the key is the app ID.
	AppID string
	// Secret is the app secret. It may be empty if there is a SecretSource or a TokenSource.
	Secret string `json:"-"`
	// SecretSource returns the app secret each time it is needed; see [wechatuser.WithSecretSource].
	SecretSource func(context.Context) (string, error) `json:"-"`
	// TokenSource returns the access tokens, such as those of an account that has authorized a third-party platform;
	// see [wechatuser.WithTokenSource]. The store of [WithTokenStore] is not used for this account then.
	TokenSource wechatuser.TokenSource `json:"-"`
	// Options are more options of this client. They take precedence over those of the registry.
	Options []wechatuser.Option `json:"-"`
	// Version is any text that changes with the settings, such as the time at which the row was written. Functions
	// cannot be compared, so a change of SecretSource, TokenSource or Options is noticed by it alone. It is not needed
	// if only AppID and Secret change.
	Version string
}

// Lookup returns the settings of the account with this key. If there is no such account, its error must match
// [ErrUnknownAccount].
//
// It runs once at a time for each key, in a goroutine of its own, for all callers that need it. No caller's context
// ends it: ctx has the values of the first caller's context, and ends after [WithLookupTimeout]. A Lookup that does not
// return by then is given up, and the next caller starts another one.
type Lookup func(ctx context.Context, key string) (Account, error)

// ErrUnknownAccount is matched by the error of a [Lookup] if there is no account with this key.
var ErrUnknownAccount = errors.New("no such account")

// String returns the name of the type and the app ID, and no secret.
func (a Account) String() string { return "accounts.Account(" + a.AppID + ")" }

// Format writes String, whatever the verb, so that none shows the secret.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue returns String.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// equals reports whether a client with the settings a can serve as one with the settings b.
func (a Account) equals(b Account) bool {
	return a.AppID == b.AppID && a.Secret == b.Secret && a.Version == b.Version &&
		(a.SecretSource == nil) == (b.SecretSource == nil) && (a.TokenSource == nil) == (b.TokenSource == nil) &&
		len(a.Options) == len(b.Options)
}
