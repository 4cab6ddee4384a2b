package accounts

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Option configures a [Registry].
type Option func(*config) error

type config struct {
	clientOptions []wechatuser.Option
	store         wechatuser.TokenStore
	limiter       func(appID string) wechatuser.Limiter
	logger        *slog.Logger
	capacity      int
	idle          time.Duration
	maxAge        time.Duration
	unknownFor    time.Duration
	lookupTimeout time.Duration
}

const (
	defaultCapacity      = 10_000
	defaultIdle          = 2 * time.Hour // as long as a token lives
	defaultLookupTimeout = 10 * time.Second
)

// WithClientOptions makes all clients with these options. Leave out [wechatuser.WithTokenStore] and
// [wechatuser.WithLimiter]: the registry has options of its own for them. Without a transport here, all clients share
// the connection pool of package wechatuser.
func WithClientOptions(opts ...wechatuser.Option) Option {
	return func(c *config) error {
		c.clientOptions = append(c.clientOptions, opts...)
		return nil
	}
}

// WithTokenStore shares the tokens of all accounts with other processes; see [wechatuser.WithTokenStore]. One store
// serves all accounts, since its keys contain the app ID. Accounts with a TokenSource do not use it.
//
// With a store, a client that is made again does not fetch a token again. Accounts that use
// [wechatuser.WithLegacyToken] need one: each fetch invalidates their previous token.
func WithTokenStore(store wechatuser.TokenStore) Option {
	return func(c *config) error {
		if store == nil {
			return optionError("WithTokenStore", "nil store: leave the option out for none")
		}
		c.store = store
		return nil
	}
}

// WithLimiter gives each account the limiter that f returns, or none if f returns nil; see [wechatuser.WithLimiter]. An
// account keeps its limiter when its client is replaced because its settings have changed. f must be safe for
// concurrent use.
func WithLimiter(f func(appID string) wechatuser.Limiter) Option {
	return func(c *config) error {
		if f == nil {
			return optionError("WithLimiter", "nil function: leave the option out for no limit")
		}
		c.limiter = f
		return nil
	}
}

// WithLogger logs what callers of [Registry.Client] are not told: at Info that a client was replaced, and at Warn that
// a lookup failed, so that the client stays. No line contains a secret. The clients do not use this logger.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return optionError("WithLogger", "nil logger: leave the option out for no log")
		}
		c.logger = l
		return nil
	}
}

// WithCapacity limits how many keys are kept. It defaults to 10,000. Beyond it the least recently used key is dropped,
// and looked up again when it is needed.
func WithCapacity(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return optionError("WithCapacity", "%d is not a capacity: it must be above zero", n)
		}
		c.capacity = n
		return nil
	}
}

// WithIdle drops a key that [Registry.Client] was not asked for during d. It defaults to two hours, after which the
// token has expired anyway.
func WithIdle(d time.Duration) Option {
	return func(c *config) error {
		c.idle = d
		return positive("WithIdle", d)
	}
}

// WithMaxAge looks the settings of a key up again after d, when its client is asked for. By default they are not looked
// up again.
//
// The lookup runs in the background while callers receive the current client; only if the settings are older than 2d
// because nobody asked for them, do callers wait for it. If the lookup fails, the current client stays, a warning is
// logged, and the next lookup starts after d or 10 seconds, whichever is less. If the account is unknown, the key is
// dropped.
func WithMaxAge(d time.Duration) Option {
	return func(c *config) error {
		c.maxAge = d
		return positive("WithMaxAge", d)
	}
}

// WithUnknownFor remembers for d that a key is unknown, so that requests with wrong keys do not each reach the
// database. By default each of them does. Refresh and Forget forget it.
//
// At most 10,000 keys of at most 256 bytes are remembered, apart from those that are known, which they do not displace.
// It does not help against requests that each have another key: authenticate these before they come here. Failures
// other than [ErrUnknownAccount] are never remembered.
func WithUnknownFor(d time.Duration) Option {
	return func(c *config) error {
		c.unknownFor = d
		return positive("WithUnknownFor", d)
	}
}

// WithLookupTimeout limits a lookup. It defaults to 10 seconds. Then its context ends and its callers receive an error
// that matches [context.DeadlineExceeded], even if it does not return.
func WithLookupTimeout(d time.Duration) Option {
	return func(c *config) error {
		c.lookupTimeout = d
		return positive("WithLookupTimeout", d)
	}
}

func positive(option string, d time.Duration) error {
	if d <= 0 {
		return optionError(option, "%v is not a duration that works: it must be above zero", d)
	}
	return nil
}

func optionError(option, format string, args ...any) error {
	return argumentError("accounts.New", option, fmt.Sprintf(format, args...))
}

func argumentError(function, field, reason string) error {
	return &wechatuser.ArgumentError{API: function, Field: field, Reason: reason}
}
