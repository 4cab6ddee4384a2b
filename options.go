package wechatuser

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// BaseURL is the platform's general address, which a Client uses by default.
const BaseURL = "https://api.weixin.qq.com"

// recoveryURLs are the addresses that the platform publishes: general, disaster recovery, Shanghai, Shenzhen, Hong
// Kong. https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html
var recoveryURLs = []string{
	BaseURL,
	"https://api2.weixin.qq.com",
	"https://sh.api.weixin.qq.com",
	"https://sz.api.weixin.qq.com",
	"https://hk.api.weixin.qq.com",
}

const defaultTimeout = 10 * time.Second

// Option configures a [Client]. An invalid value makes [New] fail; the order of options does not matter.
type Option func(*config) error

// config is what the options set.
type config struct {
	appID  string
	secret func() string // a function, because fmt prints a string field however deep it is

	baseURLs     []string
	recovery     bool
	httpClient   *http.Client
	transport    http.RoundTripper
	timeout      time.Duration
	userAgent    string
	retry        RetryPolicy
	limiter      Limiter
	interceptors []Interceptor
	tokenHooks   []tokencache.Hook
	logger       *slog.Logger

	plainHTTP bool

	secretSource   func(context.Context) (string, error)
	tokenSource    TokenSource
	tokenStore     TokenStore
	legacyToken    bool
	noForced       bool
	cloud          cloud
	cloudTokenFile string
}

// cloudBaseURL is the platform's address inside a container of cloud hosting. The service there takes plain http, and
// has no certificate for TLS.
const cloudBaseURL = "http://api.weixin.qq.com"

// cloud is how calls get their token in cloud hosting.
type cloud int

const (
	noCloud     cloud = iota // not in cloud hosting
	cloudOwn                 // no token; the environment belongs to the account
	cloudShared              // no token; the environment belongs to another account
	cloudToken               // a cloudbase_access_token
)

// tokenFree reports whether calls are sent without a token.
func (c cloud) tokenFree() bool { return c == cloudOwn || c == cloudShared }

// newConfig returns the configuration with these options and the defaults. Its error has an [*ArgumentError] for each
// wrong argument and option.
func newConfig(appID, secret string, opts []Option) (*config, error) {
	cfg := config{
		appID: appID, secret: func() string { return secret },
		retry:  RetryPolicy{}.withDefaults(),
		logger: slog.New(slog.DiscardHandler),
	}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, optionError("opts", "option %d is nil", i+1))
			continue
		}
		errs = append(errs, opt(&cfg))
	}
	errs = append(errs, cfg.check()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	return &cfg, nil
}

// check checks the arguments of New, and options that exclude each other.
func (cfg *config) check() (errs []error) {
	secretElsewhere := cfg.tokenSource != nil || cfg.secretSource != nil || cfg.cloud != noCloud
	for _, arg := range []struct{ field, value string }{{"appID", cfg.appID}, {"secret", cfg.secret()}} {
		switch {
		case arg.value == "" && (arg.field == "appID" || !secretElsewhere):
			errs = append(errs, optionError(arg.field, "empty: you find it in the account's console, "+console))
		case !isCredential(arg.value):
			errs = append(errs, optionError(arg.field, notACredential))
		}
	}
	for _, base := range cfg.baseURLs {
		if isPlainHTTP(base) && !cfg.plainHTTP {
			errs = append(errs, optionError("WithBaseURL", "%s: plain http shows the access token and the app secret to "+
				"everybody on the network: use https, or WithPlainHTTP on a network of your own", hostOf(base)))
		}
	}
	if err := cfg.checkCloud(); err != nil {
		errs = append(errs, err)
	}
	if cfg.tokenSource != nil && (cfg.tokenStore != nil || cfg.legacyToken) {
		errs = append(errs, optionError("WithTokenSource", "the client then fetches no tokens: leave out WithTokenStore and WithLegacyToken"))
	}
	if cfg.recovery && cfg.baseURLs != nil {
		errs = append(errs, optionError("WithDisasterRecovery", "it sets the hosts, as WithBaseURL does: use one of them"))
	}
	return errs
}

// checkCloud checks the options that cloud hosting excludes.
func (c *config) checkCloud() error {
	switch {
	case c.cloud == noCloud:
		return nil
	case c.tokenSource != nil || c.tokenStore != nil || c.legacyToken || c.secretSource != nil:
		return optionError("WithCloudHosting", "the client then has no tokens of its own: leave out WithTokenSource, "+
			"WithTokenStore, WithLegacyToken and WithSecretSource")
	case c.cloud.tokenFree() && c.recovery:
		return optionError("WithCloudHosting", "the service in the container knows one host: leave out WithDisasterRecovery")
	}
	return nil
}

// isCredential reports whether s has only characters that an app ID, an app secret or a token can have.
func isCredential(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

const notACredential = "contains a space or another character that is not allowed: copy it without the text around it"

func (cfg *config) setDefaults() {
	switch {
	case cfg.recovery:
		cfg.baseURLs = recoveryURLs
	case cfg.baseURLs == nil && cfg.cloud.tokenFree():
		cfg.baseURLs = []string{cloudBaseURL}
	case cfg.baseURLs == nil:
		cfg.baseURLs = []string{BaseURL}
	}
	if cfg.timeout == 0 {
		cfg.timeout = defaultTimeout
		if cfg.httpClient != nil && cfg.httpClient.Timeout > 0 {
			cfg.timeout = cfg.httpClient.Timeout
		}
	}
}

// warnOfPlainHTTP logs a warning if tokens are sent to a host that is neither https nor loopback.
func (cfg *config) warnOfPlainHTTP() {
	for _, base := range cfg.baseURLs {
		if isPlainHTTP(base) && !cfg.cloud.tokenFree() {
			cfg.logger.Warn("wechatuser: access token and app secret travel in clear text: the address is plain http",
				slog.String("host", base), slog.String("app_id", cfg.appID))
			return
		}
	}
}

func optionError(option, format string, args ...any) error {
	return argumentError("New", option, format, args...)
}

// WithHTTPClient uses the transport and the timeout of an existing client.
//
// The client is never modified. Its transport is read for each request, so a transport that a test sets later takes
// effect. Its cookies and its redirect policy are not used: the SDK follows no redirect. Its idle connections are
// closed as described at [WithTransport].
func WithHTTPClient(hc *http.Client) Option {
	return func(c *config) error {
		if hc == nil {
			return optionError("WithHTTPClient", "nil client: leave the option out for the default")
		}
		c.httpClient = hc
		return nil
	}
}

// WithTransport sends all requests through rt. It takes precedence over the transport of [WithHTTPClient].
//
// Middleware around a transport sees the URL of each request, and the access token in it: make sure that it does not
// record the token.
//
// rt should have a CloseIdleConnections method, as [http.Transport] has. The SDK calls it when a reused connection
// turns out to be dead, so that the retry uses a new one. If rt has no such method, requests that may be sent twice
// have an Idempotency-Key header without a value: it lets net/http retry them, and it is not sent.
func WithTransport(rt http.RoundTripper) Option {
	return func(c *config) error {
		if isNil(rt) {
			return optionError("WithTransport", "nil transport: leave the option out for the default")
		}
		c.transport = rt
		return nil
	}
}

// WithBaseURL replaces [BaseURL], for a proxy or a test server. The fallbacks are used, in order, while the primary
// host cannot be reached. The addresses must be https; plain http is accepted for loopback addresses, and for others
// with [WithPlainHTTP].
func WithBaseURL(primary string, fallbacks ...string) Option {
	return func(c *config) error {
		c.baseURLs = nil
		for _, raw := range append([]string{primary}, fallbacks...) {
			base, err := parseBaseURL(raw)
			if err != nil {
				return err
			}
			c.baseURLs = append(c.baseURLs, base)
		}
		return nil
	}
}

// WithPlainHTTP accepts addresses of plain http that are not loopback in [WithBaseURL]: a sidecar, a proxy of your own
// network, or the sandbox in another container.
//
// The access token and the app secret then travel in clear text, so the network must be one that you trust. With
// [WithLogger], [New] logs a warning that says so.
func WithPlainHTTP() Option {
	return func(c *config) error {
		c.plainHTTP = true
		return nil
	}
}

// WithDisasterRecovery adds the fallback hosts that the platform publishes. While the general host cannot be reached,
// the client uses api2, then Shanghai, Shenzhen and Hong Kong. An errcode never changes the host.
func WithDisasterRecovery() Option {
	return func(c *config) error {
		c.recovery = true
		return nil
	}
}

// WithTimeout limits each attempt of a call, including the reading of the response. It defaults to the timeout of the
// client given to [WithHTTPClient], or else to 10 seconds. The context limits the whole call.
func WithTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return optionError("WithTimeout", "%v is not a timeout: it must be above zero", d)
		}
		c.timeout = d
		return nil
	}
}

// WithTokenSource takes access tokens from elsewhere: a central token service, the authorizer token of a third-party
// platform, a fixed token. The client then never fetches one from WeChat, and the secret given to [New] may be empty.
func WithTokenSource(src TokenSource) Option {
	return func(c *config) error {
		if isNil(src) {
			return optionError("WithTokenSource", "nil source: leave the option out for the default")
		}
		c.tokenSource = src
		return nil
	}
}

// WithTokenStore shares the access token with other clients and processes. If the store is a [TokenLocker] too, only
// one client at a time fetches a token.
func WithTokenStore(store TokenStore) Option {
	return func(c *config) error {
		if isNil(store) {
			return optionError("WithTokenStore", "nil store: leave the option out for the default")
		}
		c.tokenStore = store
		return nil
	}
}

// WithLegacyToken fetches tokens with getAccessToken instead of getStableAccessToken. Each legacy token invalidates the
// one before it after five minutes, so all programs of the account must share one token.
func WithLegacyToken() Option {
	return func(c *config) error {
		c.legacyToken = true
		return nil
	}
}

// WithoutForcedRenewal makes the client never force a refresh by itself. By default it forces one when the platform
// rejects a token and still returns the same token. WeChat allows 20 forced refreshes per account and day.
func WithoutForcedRenewal() Option {
	return func(c *config) error {
		c.noForced = true
		return nil
	}
}

// WithRetry configures the retries of failed calls; see [RetryPolicy].
func WithRetry(p RetryPolicy) Option {
	return func(c *config) error {
		if p.MaxAttempts < 0 || p.MinDelay < 0 || p.MaxDelay < 0 {
			return optionError("WithRetry", "a field of the policy is negative: 0 means the default, and MaxAttempts 1 means no retries")
		}
		p = p.withDefaults()
		if p.MinDelay > p.MaxDelay {
			return optionError("WithRetry", "MinDelay %v is above MaxDelay %v", p.MinDelay, p.MaxDelay)
		}
		c.retry = p
		return nil
	}
}

// WithLimiter makes each call wait for l before it is sent. Token requests do not wait.
func WithLimiter(l Limiter) Option {
	return func(c *config) error {
		if isNil(l) {
			return optionError("WithLimiter", "nil limiter: leave the option out for none")
		}
		c.limiter = l
		return nil
	}
}

// WithInterceptor wraps each call in these functions, the first outermost. If the option is given twice, the functions
// of the second are inside those of the first.
func WithInterceptor(chain ...Interceptor) Option {
	return func(c *config) error {
		for i, f := range chain {
			if f == nil {
				return optionError("WithInterceptor", "interceptor %d is nil", i+1)
			}
		}
		c.interceptors = append(c.interceptors, chain...)
		return nil
	}
}

// WithTokenHook tells h what happens to the access token. If the option is given twice, both hooks are told, the first
// one first.
func WithTokenHook(h TokenHook) Option {
	return func(c *config) error {
		if h.Refreshing == nil && h.Refreshed == nil && h.StoreFailed == nil && h.Waited == nil {
			return optionError("WithTokenHook", "a hook without functions: leave the option out for none")
		}
		c.tokenHooks = append(c.tokenHooks, h.forCache())
		return nil
	}
}

// WithLogger logs attempts at Debug, token refreshes at Info, and what needs attention at Warn. Nothing is logged
// without it. No line contains a token, a secret or an openid.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return optionError("WithLogger", "nil logger: leave the option out for no log")
		}
		c.logger = l
		return nil
	}
}

// WithUserAgent replaces the User-Agent header, which defaults to "wechatuser/" and [Version].
func WithUserAgent(ua string) Option {
	return func(c *config) error {
		if strings.TrimSpace(ua) == "" || strings.ContainsFunc(ua, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			return optionError("WithUserAgent", "a header must be printable ASCII and not empty")
		}
		c.userAgent = ua
		return nil
	}
}

// parseBaseURL returns errors without the text of raw: a URL can contain a password.
func parseBaseURL(raw string) (string, error) {
	const option = "WithBaseURL"
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case raw == "":
		return "", optionError(option, "empty address")
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", optionError(option, "not an absolute URL, such as %s", BaseURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", optionError(option, "%s: leave out user, query and fragment", u.Hostname())
	case u.Scheme != "http" && u.Scheme != "https":
		return "", optionError(option, "%s: the scheme must be https", u.Hostname())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// isPlainHTTP reports whether requests to a base URL can be read on the network.
func isPlainHTTP(base string) bool {
	return strings.HasPrefix(base, "http:") && !isLoopback(hostOf(base))
}

// hostOf returns the host of a base URL that was parsed before.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
