package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// Version is the version of this module.
const Version = "0.1.0"

// Client calls the API of one Official Account.
//
// It is immutable and safe for concurrent use; make one for an account and keep it. It has nothing to close.
type Client struct {
	*config
	tokens tokens
	sender *sender
}

// New makes a client for the account with this app ID and secret. It makes no request and starts no goroutine.
//
// What is wrong with the arguments and options comes back as one error that holds an [*ArgumentError] for each.
func New(appID, secret string, opts ...Option) (*Client, error) {
	cfg := config{
		appID: appID, secret: func() string { return secret },
		userAgent: "wechatuser/" + Version,
		retry:     RetryPolicy{}.withDefaults(),
		logger:    slog.New(slog.DiscardHandler),
	}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, optionError("opts", "option %d is nil", i+1))
			continue
		}
		errs = append(errs, opt(&cfg))
	}
	if err := errors.Join(append(errs, cfg.settle()...)...); err != nil {
		return nil, err
	}
	c := &Client{config: &cfg, sender: newSender(&cfg)}
	if cfg.tokenSource != nil {
		c.tokens = foreignTokens{src: cfg.tokenSource, secret: cfg.secret}
	} else {
		c.tokens = newOwnTokens(&cfg, c.fetchToken)
	}
	return c, nil
}

// settle checks what is not one option's matter and fills in the defaults.
func (cfg *config) settle() (errs []error) {
	for _, arg := range []struct{ field, value string }{{"appID", cfg.appID}, {"secret", cfg.secret()}} {
		switch {
		case arg.value == "" && (arg.field == "appID" || cfg.tokenSource == nil):
			errs = append(errs, optionError(arg.field, "empty: the console of the account shows it, https://mp.weixin.qq.com"))
		case strings.ContainsFunc(arg.value, func(r rune) bool { return r <= ' ' || r > '~' }):
			errs = append(errs, optionError(arg.field, "holds a space or another character that none has: was it copied with something around it?"))
		}
	}
	if cfg.tokenSource != nil && (cfg.tokenStore != nil || cfg.legacyToken) {
		errs = append(errs, optionError("WithTokenSource", "the client asks WeChat for no token then: leave out WithTokenStore and WithLegacyToken"))
	}
	if cfg.recovery && cfg.baseURLs != nil {
		errs = append(errs, optionError("WithDisasterRecovery", "it sets the addresses, as WithBaseURL does: choose one"))
	}
	switch {
	case cfg.recovery:
		cfg.baseURLs = recoveryURLs
	case cfg.baseURLs == nil:
		cfg.baseURLs = []string{BaseURL}
	}
	if cfg.timeout == 0 {
		cfg.timeout = defaultTimeout
		if cfg.httpClient != nil && cfg.httpClient.Timeout > 0 {
			cfg.timeout = cfg.httpClient.Timeout
		}
	}
	return errs
}

// AppID is the app ID of the account.
func (c *Client) AppID() string { return c.appID }

// HTTPClient is the client that sends the requests, not a copy: httpmock.ActivateNonDefault(c.HTTPClient()) works on
// it, and CloseIdleConnections.
func (c *Client) HTTPClient() *http.Client { return c.sender.rc.GetClient() }

// String names the account, and no secret.
func (c *Client) String() string {
	if c == nil || c.config == nil {
		return "wechatuser.Client(nil)"
	}
	return "wechatuser.Client(" + c.appID + ")"
}

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// Format prints String for each verb, so that none shows the secret.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String.
func (c *Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// request is one API call on its way through the layers.
type request struct {
	ep    *endpoint
	query string // escaped, without the token
	body  []byte
	// fresh makes the value that an answer is decoded into.
	fresh func() answer
	// openIDs are those in the body, and narrow makes the body for some of them; nil where the platform processes all
	// or none.
	openIDs []string
	narrow  func(openIDs []string) ([]byte, error)
	// before goes ahead of each attempt and can forbid it; nil for none.
	before func() error
}

// answer is a response type: the payload of an endpoint, with wire.Envelope embedded.
type answer interface {
	Head() *wire.Envelope
	// missing names the field that a success must have and that is not there, or is empty.
	missing() string
}

// call is the path of every request. It encodes in, sends it, and returns the payload.
func call[R any, P interface {
	*R
	answer
}](ctx context.Context, c *Client, req request, in any) (*R, error) {
	if in != nil {
		body, err := wire.Marshal(in)
		if err != nil {
			return nil, &ArgumentError{API: req.ep.api, Field: "body", Reason: err.Error()}
		}
		req.body = body
	}
	req.fresh = func() answer { return P(new(R)) }
	ans, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	return (*R)(ans.(P)), nil
}

// do sends a request through the interceptors and the limiter. The answer is not nil without an error.
func (c *Client) do(ctx context.Context, req request) (answer, error) {
	if len(c.interceptors) > 0 {
		return c.intercepted(ctx, req)
	}
	ans, _, err := c.limited(ctx, req)
	return ans, err
}

// limited sends a request through the limiter.
func (c *Client) limited(ctx context.Context, req request) (answer, Result, error) {
	if c.limiter != nil && !isTokenAPI(req.ep.api) {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, Result{}, &TransportError{API: req.ep.api, Err: fmt.Errorf("waiting for the limiter: %w", err)}
		}
	}
	return c.perform(ctx, req)
}

// intercepted sends a request through the interceptors. One of them may call next twice, at a time too, or leave it running.
func (c *Client) intercepted(ctx context.Context, req request) (answer, error) {
	var ans atomic.Pointer[answer]
	info := Call{API: req.ep.api, Method: req.ep.method, Path: req.ep.path}
	next := func(ctx context.Context) (Result, error) {
		got, res, err := c.limited(ctx, req)
		if err == nil {
			ans.Store(&got)
		}
		return res, err
	}
	for i := len(c.interceptors) - 1; i >= 0; i-- {
		around, inner := c.interceptors[i], next
		next = func(ctx context.Context) (Result, error) { return around(ctx, info, inner) }
	}
	if _, err := next(ctx); err != nil {
		return nil, err
	}
	if got := ans.Load(); got != nil {
		return *got, nil
	}
	return nil, fmt.Errorf("wechatuser: %s: an interceptor returned no error, and there is no answer: it must call next, and pass its error on", req.ep.api)
}
