package wechatuser

import (
	"context"
	"errors"
	"fmt"
)

// WithSecretSource asks f for the app secret each time a request needs it, so that the secret can live in a vault or in
// a file and can be changed while the program runs: for each token request, and for [Client.ClearQuotaByAppSecret]. The
// secret given to [New] may be empty then, and is not used.
//
// The client does not keep what f returns. If the platform rejects the secret (40125, or 40001 of a token request), the
// client calls f again at once, and tries again if f returns another secret. The context of f ends after [WithTimeout].
// For a token request it is not that of a caller, because all callers share the request. f must be safe for concurrent
// use.
func WithSecretSource(f func(context.Context) (string, error)) Option {
	return func(c *config) error {
		if f == nil {
			return optionError("WithSecretSource", "nil function: leave the option out to use the secret given to New")
		}
		c.secretSource = f
		return nil
	}
}

// withSecret calls use with the app secret. If the platform rejects one that came from a source, and the source returns
// another one then, it calls use once more. api is the call that needs the secret.
func (c *config) withSecret(ctx context.Context, api string, use func(secret string) error) error {
	if c.secretSource == nil {
		return use(c.secret())
	}
	secret, err := c.askSecret(ctx, api)
	if err != nil {
		return err
	}
	err = use(secret)
	if !isWrongSecret(err) {
		return err
	}
	if other, askErr := c.askSecret(ctx, api); askErr == nil && other != secret {
		return use(other)
	}
	return err
}

// isWrongSecret reports whether the platform rejected a request with the app secret because of the secret.
func isWrongSecret(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == CodeInvalidSecret || e.Code == CodeInvalidCredential)
}

// askSecret asks the source for the app secret.
func (c *config) askSecret(ctx context.Context, api string) (string, error) {
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	secret, err := c.secretSource(timed)
	switch {
	case err != nil:
		secrets := newRedactor(secret, c.secret()).Trusting(context.Cause(timed))
		return "", fmt.Errorf("wechatuser: %s: secret source: %w", api, secrets.Error(err))
	case secret == "":
		return "", fmt.Errorf("wechatuser: %s: secret source: it returned an empty secret and no error", api)
	case !isCredential(secret):
		return "", fmt.Errorf("wechatuser: %s: secret source: the secret %s", api, notACredential)
	}
	return secret, nil
}
