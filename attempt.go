package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/transport"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// caller is the pipeline of all calls. call.go has its outer part, from the interceptors to the retries, and this file
// the inner one: a single attempt.
type caller struct {
	*config
	sender *transport.Transport
	tokens tokenProvider
}

// outcome is the outcome of one attempt.
type outcome struct {
	verdict      verdict
	response     response // after a success
	err          error    // otherwise
	mayBeApplied bool     // the platform may have applied it
	otherHost    bool     // another host can be tried at once
	retryAfter   time.Duration
	failed       []string // openids that were not processed, if the verdict is partial
}

// verdict is what an attempt means for the next one.
type verdict int

const (
	final         verdict = iota // a success, or an error that a retry would not change
	notSent                      // the request was not sent: DNS, dial, TLS handshake
	unknown                      // sent, and no response tells whether it was applied
	retryLater                   // rejected for now, and not applied
	tokenRejected                // not applied; another token may work
	partial                      // some openids were not processed
)

// classify returns the verdict on a response with an errcode other than 0.
func classify(code Code) verdict {
	switch code {
	case CodeInvalidCredential, CodeInvalidAccessToken, CodeAccessTokenExpired:
		return tokenRejected
	case CodeSystemBusy, CodeSystemBusy1, CodeSystemBusy2:
		return unknown
	case CodeConcurrentTagging:
		return retryLater
	case CodeSomeOpenIDsFailed:
		return partial
	}
	return final
}

func (o *outcome) retryable(ep *endpoint) bool {
	switch o.verdict {
	case notSent, retryLater:
		return true
	case unknown:
		return ep.retry != retryNever && (o.otherHost || o.retryAfter <= maxRetryAfter)
	case partial:
		return len(o.failed) > 0
	case final, tokenRejected:
	}
	return false
}

// prepare returns the token for an attempt, the zero Token if the endpoint takes none, or why nothing can be sent.
func (c *caller) prepare(ctx context.Context, req *request, attempts int) (token Token, err error) {
	if !req.ep.noAuth {
		if token, err = c.tokens.get(ctx); err != nil {
			return Token{}, tokenError(req.ep, attempts, err)
		}
	}
	if ctx.Err() != nil {
		return Token{}, newTransportError(req.ep, attempts, backoff.ContextErr(ctx))
	}
	if req.beforeSend != nil {
		err = req.beforeSend()
	}
	return token, err
}

// tokenError returns the error of a call that could not be sent because there was no token for it.
func tokenError(ep *endpoint, attempts int, err error) error {
	if te := (*TransportError)(nil); backoff.IsContextErr(err) && !errors.As(err, &te) {
		return newTransportError(ep, attempts, err)
	}
	return err
}

// attempt sends the request once, to one host, with one token.
func (c *caller) attempt(ctx context.Context, req *request, token Token, res *Result) (o outcome) {
	host := c.sender.Hosts.Pick()
	start := time.Now()
	base := c.sender.Hosts.BaseURL(host)
	*res = Result{Attempts: res.Attempts, Host: base}
	defer func() { c.logAttempt(ctx, req, res, time.Since(start), o.err) }()

	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	auth, value := c.authParam(req.ep, token)
	resp, sent, err := c.sender.Send(timed, req.ep.method, req.url(base, auth, value), req.body)
	defer resp.Release()
	res.StatusCode = resp.Status
	secrets := redact.New(c.secret(), req.secret, token.AccessToken)

	switch {
	case err != nil && (resp.Status == 0 || timed.Err() != nil):
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err) // net/http returns the cause alone
		}
		o.err = newTransportError(req.ep, res.Attempts, secrets.Error(err))
		o.mayBeApplied = sent
		switch {
		case ctx.Err() != nil: // the caller has left; it says nothing about the host
			return o
		case sent:
			o.verdict = unknown
		default:
			o.verdict = notSent
		}
		o.otherHost = c.sender.Hosts.MarkDown(host)
	case err != nil || resp.Status < 200 || resp.Status > 299:
		if err == nil {
			err = c.explainStatus(resp.Status, req.ep)
		}
		o = foreignResponse(req, res, &resp, err, secrets)
		if resp.Status >= 500 {
			o.otherHost = c.sender.Hosts.MarkDown(host)
		} else {
			c.sender.Hosts.MarkUp(host)
		}
	default:
		c.sender.Hosts.MarkUp(host)
		o = decode(req, res, &resp, secrets)
	}
	return o
}

// decode returns the outcome of an attempt with a success status.
func decode(req *request, res *Result, resp *transport.Response, secrets redact.Redactor) outcome {
	decoded := req.newResponse()
	if whole, ok := decoded.(wholeResponse); ok {
		return decodeWhole(req, res, resp, whole, secrets)
	}
	if err := wire.CheckObject(resp.Body); err != nil {
		return foreignResponse(req, res, resp, err, secrets)
	}
	err := wire.Unmarshal(resp.Body, decoded)
	env := decoded.ResponseEnvelope()
	if code, _ := env.Code(); code != 0 { // whatever is wrong with the rest of the response
		return rejection(req, res, Code(code), env, secrets)
	}
	if err != nil {
		return foreignResponse(req, res, resp, fmt.Errorf("the body is not the platform's JSON: %w", err), secrets)
	}
	if field := decoded.missingField(); field != "" {
		return foreignResponse(req, res, resp, fmt.Errorf("the response has no %s", field), secrets)
	}
	return outcome{response: decoded}
}

// decodeWhole is decode for a response that takes a body of any form.
func decodeWhole(req *request, res *Result, resp *transport.Response, decoded wholeResponse, secrets redact.Redactor) outcome {
	if wire.CheckObject(resp.Body) == nil {
		env := decoded.ResponseEnvelope()
		_ = wire.Unmarshal(resp.Body, env) // the errcode counts, whatever is wrong with the rest
		if code, _ := env.Code(); code != 0 {
			return rejection(req, res, Code(code), env, secrets)
		}
	}
	err := decoded.takeBody(resp.Body)
	if err == nil {
		return outcome{response: decoded}
	}
	o := foreignResponse(req, res, resp, err, secrets)
	if re, ok := o.err.(*ResponseError); ok && errors.As(err, new(*wire.FitError)) { //nolint:errorlint // just made
		// It would be the same again. The body is the platform's, and can hold what is as secret as a token.
		re.unfit, re.Snippet, o.verdict = true, "", final
	}
	return o
}

// rejection returns the outcome of an attempt whose response has an errcode.
func rejection(req *request, res *Result, code Code, env *wire.Envelope, secrets redact.Redactor) outcome {
	msg := wire.ParseMessage(secrets.Text(env.ErrMsg))
	res.Code, res.RID = code, msg.RID
	// Only openids that were sent can have failed, whatever the response says.
	failed := slices.DeleteFunc(env.FailOpenIDList, func(id string) bool { return !slices.Contains(req.openIDs, id) })
	v := classify(code)
	return outcome{
		verdict: v,
		err: &Error{
			API: req.ep.api, Code: code, Message: msg.Text, RID: msg.RID, Hint: msg.Hint,
			Attempts: res.Attempts, FailedOpenIDs: failed,
		},
		mayBeApplied: v == unknown,
		failed:       failed,
	}
}

// foreignResponse returns the outcome of an attempt whose response is not the platform's.
func foreignResponse(req *request, res *Result, resp *transport.Response, cause error, secrets redact.Redactor) outcome {
	err := newResponseError(req.ep.api, res.Attempts, resp, cause, secrets)
	o := outcome{
		err:        err,
		retryAfter: err.RetryAfter,
		// Status 4xx, 429 among them, and redirects mean that the request got no further.
		mayBeApplied: resp.Status < 300 || resp.Status >= 500,
	}
	if errors.Is(err, ErrTemporary) {
		o.verdict = unknown
	}
	return o
}

// maxSnippet is the number of characters of a body that an error shows.
const maxSnippet = 200

func newResponseError(api string, attempts int, resp *transport.Response, cause error, secrets redact.Redactor) *ResponseError {
	if cause == nil {
		cause = errors.New(statusText(resp.Status))
	}
	return &ResponseError{
		API: api, StatusCode: resp.Status, Attempts: attempts,
		RetryAfter:  parseRetryAfter(resp.Header.Get("Retry-After")),
		ContentType: secrets.Text(resp.Header.Get("Content-Type")),
		Snippet:     snippet(api, resp.Body, secrets),
		Err:         secrets.Error(cause),
	}
}

// snippet returns the beginning of a body, without secrets.
func snippet(api string, body []byte, secrets redact.Redactor) string {
	body = body[:min(len(body), transport.MaxBody>>6)]
	text := secrets.Text(strings.ToValidUTF8(string(body), "\uFFFD"))
	isHTML := strings.HasPrefix(strings.TrimSpace(text), "<")
	if isTokenAPI(api) && (strings.Contains(text, "access_token") || strings.Contains(text, `"`) && !isHTML) {
		return "" // what looks like JSON, or a part of it, may contain a token that nobody knows yet
	}
	if runes := []rune(text[:min(len(text), 4*(maxSnippet+1))]); len(runes) > maxSnippet {
		return string(runes[:maxSnippet]) + "…"
	}
	return text
}

func statusText(status int) string {
	if status >= 300 && status < 400 {
		return "a redirect, which is not followed: it would send secrets to another address"
	}
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "unknown status"
}

// parseRetryAfter reads both forms of the header. It returns 0 if there is none.
func parseRetryAfter(v string) time.Duration {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(max(0, min(seconds, 1<<31))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// logAttempt logs an attempt, without secrets and openids.
func (c *caller) logAttempt(ctx context.Context, req *request, res *Result, d time.Duration, err error) {
	if !c.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("api", req.ep.api), slog.String("app_id", c.appID), slog.String("host", res.Host),
		slog.Int("attempt", res.Attempts), slog.Duration("duration", d),
	}
	if res.StatusCode != 0 {
		attrs = append(attrs, slog.Int("status", res.StatusCode))
	}
	if res.Code != 0 || err == nil { // a response of the platform
		attrs = append(attrs, slog.Int("errcode", int(res.Code)))
	}
	if res.RID != "" {
		attrs = append(attrs, slog.String("rid", res.RID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", errorForLog(err)))
	}
	c.logger.LogAttrs(ctx, slog.LevelDebug, "wechatuser: attempt", attrs...)
}

// errorForLog returns the text of an error without what can show an openid: the body of a foreign response, and a URL.
func errorForLog(err error) string {
	if re, ok := err.(*ResponseError); ok { //nolint:errorlint // an attempt's own error is not wrapped
		brief := *re
		brief.Snippet = ""
		err = &brief
	}
	return redact.Param(err.Error(), "openid=")
}
