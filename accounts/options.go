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

// WithClientOptions creates all clients with these options. Use [WithTokenStore] and [WithLimiter] of this package
// instead of those of package wechatuser. Unless an option sets a transport, all clients share the connection pool of
// package wechatuser.
func WithClientOptions(opts ...wechatuser.Option) Option {
	return func(c *config) error {
		c.clientOptions = append(c.clientOptions, opts...)
		return nil
	}
}

// WithTokenStore shares the tokens of all accounts with other processes; see [wechatuser.WithTokenStore]. One store
// serves all accounts, since its keys contain the app ID. Accounts with a TokenSource do not use it. By default there
// is no store.
//
// With a store, a client that is created again does not fetch a new token. Accounts that use
// [wechatuser.WithLegacyToken] need a store, because each fetch invalidates their previous token.
func WithTokenStore(store wechatuser.TokenStore) Option {
	return func(c *config) error {
		if store == nil {
			return optionError("WithTokenStore", "nil store: leave the option out for none")
		}
		c.store = store
		return nil
	}
}

// WithLimiter limits the calls of each account with the limiter that f returns, or not at all if f returns nil; see
// [wechatuser.WithLimiter]. An account keeps its limiter when its client is replaced because its settings have changed.
// f must be safe for concurrent use. By default there is no limiter.
func WithLimiter(f func(appID string) wechatuser.Limiter) Option {
	return func(c *config) error {
		if f == nil {
			return optionError("WithLimiter", "nil function: leave the option out for no limit")
		}
		c.limiter = f
		return nil
	}
}

// WithLogger logs what callers of [Registry.Client] are not told: at level Info that a client was replaced, and at
// level Warn that a lookup failed although the client is kept or nobody waits. No line contains a secret. The clients
// do not use this logger; see [wechatuser.WithLogger]. By default nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return optionError("WithLogger", "nil logger: leave the option out for no log")
		}
		c.logger = l
		return nil
	}
}

// WithCapacity sets the maximum number of keys that are kept. It defaults to 10,000. Beyond that the least recently
// used key is dropped, and looked up again when it is needed.
func WithCapacity(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return optionError("WithCapacity", "%d is not a capacity: it must be at least 1", n)
		}
		c.capacity = n
		return nil
	}
}

// WithIdle drops a key when [Registry.Client] has not been called with it for d. It defaults to two hours, after which
// the token has expired anyway.
func WithIdle(d time.Duration) Option {
	return func(c *config) error {
		c.idle = d
		return positive("WithIdle", d)
	}
}

// WithMaxAge makes [Registry.Client] look the settings of a key up again if they are older than d. By default they are
// not looked up again.
//
// The lookup runs in the background, and callers receive the current client. Callers wait for the lookup only if the
// settings are older than 2d, because nobody has asked for the client since. If the lookup fails, the current client is
// kept, a warning is logged, and the settings are looked up again after d or 10 seconds, whichever is less. If the
// account is unknown, the key is dropped.
func WithMaxAge(d time.Duration) Option {
	return func(c *config) error {
		c.maxAge = d
		return positive("WithMaxAge", d)
	}
}

// WithUnknownFor remembers for d that a key has no account ([ErrUnknownAccount]), so that not every request with a
// wrong key reaches the database. By default it is not remembered. [Registry.Refresh] and [Registry.Forget] forget it.
// Other failures are never remembered.
//
// At most 10,000 such keys are remembered, of at most 256 bytes each. They do not count towards [WithCapacity]. This
// does not help against a flood of requests with different keys: authenticate requests before you look their keys up.
func WithUnknownFor(d time.Duration) Option {
	return func(c *config) error {
		c.unknownFor = d
		return positive("WithUnknownFor", d)
	}
}

// WithLookupTimeout limits the duration of a lookup. It defaults to 10 seconds. After that its context ends, and its
// callers receive an error that matches [context.DeadlineExceeded], even if the lookup does not return.
func WithLookupTimeout(d time.Duration) Option {
	return func(c *config) error {
		c.lookupTimeout = d
		return positive("WithLookupTimeout", d)
	}
}

func positive(option string, d time.Duration) error {
	if d <= 0 {
		return optionError(option, "%v: the duration must be positive", d)
	}
	return nil
}

func optionError(option, format string, args ...any) error {
	return argumentError("accounts.New", option, fmt.Sprintf(format, args...))
}

func argumentError(function, field, reason string) error {
	return &wechatuser.ArgumentError{API: function, Field: field, Reason: reason}
}
