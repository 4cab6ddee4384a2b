package authorizer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"unicode"

	"github.com/wechatuser/wechatuser"
)

// Platform is a third-party platform (第三方平台). It is safe for concurrent use and needs no Close.
type Platform struct {
	*config
	api       *wechatuser.Client
	component *component

	mu      sync.Mutex
	sources map[string]*Source // by app ID
}

// Option configures a [Platform].
type Option func(*config) error

// config is what the options set.
type config struct {
	appID        string
	secret       func() string // a function, because fmt prints a string field however deep it is
	secretSource func(context.Context) (string, error)
	store        Store
	tokens       wechatuser.TokenStore
	logger       *slog.Logger
	client       []wechatuser.Option
}

// WithTokenStore sets the store of access tokens and locks. It defaults to the [Store] given to [New] if that is a
// [wechatuser.TokenStore] too. It should be a [wechatuser.TokenLocker] and a [wechatuser.TokenBudget]: without a lock,
// processes that refresh a token at the same time replace each other's.
func WithTokenStore(tokens wechatuser.TokenStore) Option {
	return func(c *config) error {
		if isNil(tokens) {
			return argumentError("WithTokenStore", "nil store: leave the option out for the default")
		}
		c.tokens = tokens
		return nil
	}
}

// WithSecretSource asks f for the app secret of the platform each time a request needs it, so that the secret can live
// in a vault. The secret given to [New] may be empty then, and is not used. If WeChat rejects the secret, f is called
// once more.
func WithSecretSource(f func(context.Context) (string, error)) Option {
	return func(c *config) error {
		if f == nil {
			return argumentError("WithSecretSource", "nil function: leave the option out to use the secret given to New")
		}
		c.secretSource = f
		return nil
	}
}

// WithLogger logs refreshes at Info, what needs attention at Warn, and the requests of the platform at Debug. No line
// contains a token, a ticket or a secret.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return argumentError("WithLogger", "nil logger: leave the option out for no log")
		}
		c.logger = l
		return nil
	}
}

// WithClientOptions configures the client that sends the requests of the platform: its address, transport, timeout,
// retries and interceptors. Options for tokens and for cloud hosting are an error of [New].
//
// The calls of an account wait for requests of this client, so do not give both the same limiter, nor an interceptor
// that limits how many calls run at once.
func WithClientOptions(opts ...wechatuser.Option) Option {
	return func(c *config) error {
		c.client = append(c.client, opts...)
		return nil
	}
}

// New returns the platform with this app ID and secret, which are those of the third-party platform and not of an
// account. It sends no request and starts no goroutine.
//
// If arguments or options are wrong it returns one error, which wraps a [*wechatuser.ArgumentError] for each of them.
func New(appID, secret string, store Store, opts ...Option) (*Platform, error) {
	cfg := &config{
		appID: appID, secret: func() string { return secret }, store: store, logger: slog.New(slog.DiscardHandler),
	}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, argumentError("opts", "option %d is nil", i+1))
			continue
		}
		errs = append(errs, opt(cfg))
	}
	errs = append(errs, cfg.check()...)
	p := &Platform{config: cfg, sources: make(map[string]*Source)}
	p.component = newComponent(p)
	api, err := wechatuser.New(appID, secret, append([]wechatuser.Option{wechatuser.WithLogger(cfg.logger)},
		append(cfg.client, wechatuser.WithTokenSource(p.component))...)...)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	p.api = api
	return p, nil
}

// check checks what wechatuser.New does not, and sets the default of tokens.
func (c *config) check() (errs []error) {
	if c.secretSource == nil && c.secret() == "" {
		errs = append(errs, argumentError("secret", "empty: pass that of the third-party platform, or WithSecretSource"))
	}
	if isNil(c.store) {
		return append(errs, argumentError("store", "nil store: pass NewMemoryStore() for a single process"))
	}
	if c.tokens == nil {
		tokens, ok := c.store.(wechatuser.TokenStore)
		if !ok {
			return append(errs, argumentError("store", "%T is no TokenStore: pass one with WithTokenStore", c.store))
		}
		c.tokens = tokens
	}
	return errs
}

// AppID returns the app ID of the platform.
func (p *Platform) AppID() string { return p.appID }

// Client returns the client that sends the requests of the platform. Use its Do method to call other APIs of the
// platform, with component_access_token as the [wechatuser.Request.TokenParam].
func (p *Platform) Client() *wechatuser.Client { return p.api }

// Source returns the token source of an account. For the same app ID it always returns the same Source.
func (p *Platform) Source(appID string) *Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sources[appID]
	if s == nil {
		s = newSource(p, appID)
		p.sources[appID] = s
	}
	return s
}

// String returns the name of the type and the app ID, and no secret.
func (p *Platform) String() string {
	if p == nil || p.config == nil {
		return "authorizer.Platform(nil)"
	}
	return "authorizer.Platform(" + p.appID + ")"
}

// Format writes String, whatever the verb, so that none shows a secret.
func (p *Platform) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue returns String.
func (p *Platform) LogValue() slog.Value { return slog.StringValue(p.String()) }

func argumentError(field, format string, args ...any) error {
	return &wechatuser.ArgumentError{API: "authorizer.New", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// isNil reports whether v is nil, or a nil pointer in an interface.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// isWord reports whether a text can be an app ID, a code or a ticket.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
