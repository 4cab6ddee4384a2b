package wechatuser

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// BaseURL is the platform's general address, which a Client uses unless told otherwise.
const BaseURL = "https://api.weixin.qq.com"

// recoveryURLs are the platform's published addresses: general, disaster recovery, Shanghai, Shenzhen, Hong Kong.
// https://developers.weixin.qq.com/doc/service/Basic_Information/Interface_field_description.html
var recoveryURLs = []string{
	BaseURL,
	"https://api2.weixin.qq.com",
	"https://sh.api.weixin.qq.com",
	"https://sz.api.weixin.qq.com",
	"https://hk.api.weixin.qq.com",
}

const defaultTimeout = 10 * time.Second

// Option changes what [New] makes. A wrong value makes New fail; the order of options does not matter.
type Option func(*config) error

// config is what the options write and New reads.
type config struct {
	appID  string
	secret func() string // printing shows the text of a field, however deep it is, and none of a function

	baseURLs     []string
	recovery     bool
	httpClient   *http.Client
	transport    http.RoundTripper
	timeout      time.Duration
	userAgent    string
	retry        RetryPolicy
	limiter      Limiter
	interceptors []Interceptor
	logger       *slog.Logger

	tokenSource TokenSource
	tokenStore  TokenStore
	legacyToken bool
	noForced    bool
}

func optionError(option, format string, args ...any) error {
	return &ArgumentError{API: "New", Field: option, Reason: fmt.Sprintf(format, args...)}
}

// WithHTTPClient takes the transport and the timeout of an existing client.
//
// The client is never modified, and its transport is looked up at each request, so that what a test puts there later
// takes effect. Cookies and redirects of the client are not used: the SDK follows no redirect.
func WithHTTPClient(hc *http.Client) Option {
	return func(c *config) error {
		if hc == nil {
			return optionError("WithHTTPClient", "nil client: leave the option out for the default")
		}
		c.httpClient = hc
		return nil
	}
}

// WithTransport sends all requests through rt. It goes before the transport of [WithHTTPClient].
//
// Middleware around a transport sees the request's URL, and the access token in it: see that it records none.
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
// can't be reached. The addresses must be https; plain http is accepted for loopback addresses.
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

// WithDisasterRecovery uses the platform's published addresses one after the other: when the general one can't be
// reached, api2, then Shanghai, Shenzhen and Hong Kong. An errcode never changes the address.
func WithDisasterRecovery() Option {
	return func(c *config) error {
		c.recovery = true
		return nil
	}
}

// WithTimeout limits each attempt of a call, the reading of the answer included. Defaults to the timeout of the
// client given to [WithHTTPClient], or else to 10 seconds. The context limits the call as a whole.
func WithTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return optionError("WithTimeout", "%v is not a time to wait: give one above zero", d)
		}
		c.timeout = d
		return nil
	}
}

// WithTokenSource takes access tokens from elsewhere: a central token service, a platform's authorizer token, a fixed
// token. The client then never asks WeChat for one, and the secret given to [New] may be empty.
func WithTokenSource(src TokenSource) Option {
	return func(c *config) error {
		if isNil(src) {
			return optionError("WithTokenSource", "nil source: leave the option out for the default")
		}
		c.tokenSource = src
		return nil
	}
}

// WithTokenStore shares the access token with other clients and processes. A store that is a [TokenLocker] too makes
// sure that only one of them asks WeChat for a new one.
func WithTokenStore(store TokenStore) Option {
	return func(c *config) error {
		if isNil(store) {
			return optionError("WithTokenStore", "nil store: leave the option out for the default")
		}
		c.tokenStore = store
		return nil
	}
}

// WithLegacyToken takes tokens from getAccessToken in place of getStableAccessToken. There each request for a token
// ends the one before it after five minutes, so that all users of the account must share one token.
func WithLegacyToken() Option {
	return func(c *config) error {
		c.legacyToken = true
		return nil
	}
}

// WithoutForcedRenewal keeps the client from asking for a forced renewal by itself, where the platform refuses a token
// and goes on handing it out. WeChat allows 20 of them a day and account.
func WithoutForcedRenewal() Option {
	return func(c *config) error {
		c.noForced = true
		return nil
	}
}

// WithRetry changes how failed calls are repeated; see [RetryPolicy].
func WithRetry(p RetryPolicy) Option {
	return func(c *config) error {
		if p.MaxAttempts < 0 || p.MinDelay < 0 || p.MaxDelay < 0 {
			return optionError("WithRetry", "a field of the policy is below zero: zero means the default, MaxAttempts 1 no repeats")
		}
		p = p.withDefaults()
		if p.MinDelay > p.MaxDelay {
			return optionError("WithRetry", "MinDelay %v is above MaxDelay %v", p.MinDelay, p.MaxDelay)
		}
		c.retry = p
		return nil
	}
}

// WithLimiter makes each call wait for l before it is sent. Requests for tokens do not wait.
func WithLimiter(l Limiter) Option {
	return func(c *config) error {
		if isNil(l) {
			return optionError("WithLimiter", "nil limiter: leave the option out for none")
		}
		c.limiter = l
		return nil
	}
}

// WithInterceptor puts functions around each call, the first outermost. Given twice, the later ones go inside.
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

// WithLogger logs attempts at Debug, renewals at Info, and what needs attention at Warn. There is no log without it.
// Neither token nor secret nor openid is in any line.
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
			return optionError("WithUserAgent", "a header takes printable ASCII, and not nothing")
		}
		c.userAgent = ua
		return nil
	}
}

// parseBaseURL never repeats the text that it was given: a URL can hold a password.
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
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", optionError(option, "%s: plain http would show the access token to everybody on the way: use https", u.Hostname())
	case u.Scheme != "http" && u.Scheme != "https":
		return "", optionError(option, "%s: the scheme must be https", u.Hostname())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// isNil finds the nil pointer in an interface too, which would panic at the first call.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan, reflect.Slice, reflect.Interface:
		return rv.IsNil()
	default:
		return false
	}
}
