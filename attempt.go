package wechatuser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/tokencache"
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
	retryAtOnce  bool     // on another host, or on a new connection
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
		return ep.retry != retryNever && (o.retryAtOnce || o.retryAfter <= maxRetryAfter)
	case partial:
		return len(o.failed) > 0
	case final, tokenRejected:
	}
	return false
}

// prepare returns the token for an attempt, the zero Token if the endpoint takes none, or why nothing can be sent.
func (c *caller) prepare(
	ctx context.Context, wait *waiting, req *request, attempts int,
) (token Token, err error) {
	if !req.ep.noAuth {
		var cached bool
		if token, cached = c.tokens.cached(); !cached {
			token, err = c.tokens.get(wait.context())
		}
		if err != nil {
			return Token{}, tokenError(req.ep, attempts, err)
		}
	}
	switch {
	case ctx.Err() != nil:
		return Token{}, newTransportError(req.ep, attempts, backoff.ContextErr(ctx))
	case req.job.isStopped(ctx):
		return Token{}, newTransportError(req.ep, attempts, errStopped)
	}
	if req.beforeSend != nil {
		err = req.beforeSend()
	}
	return token, err
}

// tokenError returns the error of a call that could not be sent because there was no token for it.
func tokenError(ep *endpoint, attempts int, err error) error {
	_, abandoned := err.(*tokencache.AbandonedError) //nolint:errorlint // not as the reason of another error
	if te := (*TransportError)(nil); (abandoned || backoff.IsContextErr(err)) && !errors.As(err, &te) {
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
	resp, sent, err := c.sender.Send(timed, req.ep.method, req.url(base, auth, value), req.body, c.repeatable(req.ep))
	defer resp.Release()
	defer func() { o.mayBeApplied = o.mayBeApplied || resp.Repeated }()
	res.StatusCode = resp.Status
	secrets := newRedactor(c.secret(), req.secret, token.AccessToken)
	if len(req.secrets) > 0 {
		secrets = newRedactor(append([]string{c.secret(), token.AccessToken}, req.secrets...)...)
	}

	switch {
	case err != nil && (resp.Status == 0 || timed.Err() != nil):
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err) // net/http returns the cause alone
		}
		o.err = newTransportError(req.ep, res.Attempts, secrets.Trusting(context.Cause(ctx)).Error(err))
		o.mayBeApplied = sent
		switch {
		case ctx.Err() != nil: // the caller has left; it says nothing about the host
			return o
		case sent:
			o.verdict = unknown
		default:
			o.verdict = notSent
		}
		o.retryAtOnce = resp.Broken || c.sender.Hosts.MarkDown(host)
	case err == nil && !isSuccess(resp.Status) && hasErrcode(resp.Body): // it is the platform's, whatever the status
		c.sender.Hosts.MarkUp(host)
		o = decode(req, res, &resp, secrets)
		o.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"))
	case err != nil || !isSuccess(resp.Status):
		if err == nil {
			err = c.explainStatus(resp.Status, req.ep)
		}
		o = foreignResponse(req, res, &resp, err, secrets)
		if resp.Status >= 500 {
			o.retryAtOnce = c.sender.Hosts.MarkDown(host)
		} else {
			c.sender.Hosts.MarkUp(host)
		}
	default:
		c.sender.Hosts.MarkUp(host)
		o = decode(req, res, &resp, secrets)
	}
	return o
}

// repeatable reports whether net/http may send a request again within an attempt that got no byte of a response. By
// itself it does so with any GET, which a retry policy does not turn off.
func (c *caller) repeatable(ep *endpoint) bool {
	return ep.retry != retryNever && (c.retry.MaxAttempts > 1 || ep.method == http.MethodGet)
}

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// hasErrcode reports whether a body is the platform's, with an errcode other than 0.
func hasErrcode(body []byte) bool {
	var env wire.Envelope
	if wire.CheckObject(body) != nil {
		return false
	}
	_ = wire.Unmarshal(body, &env) // the errcode counts, whatever is wrong with the rest
	code, _ := env.Code()
	return code != 0
}

// decode returns the outcome of an attempt whose response is the platform's, or has a success status.
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
		return brokenList(req, resp, foreignResponse(req, res, resp, err, secrets))
	}
	if field := decoded.missingField(); field != "" {
		return foreignResponse(req, res, resp, fmt.Errorf("the response has no %s", field), secrets)
	}
	if req.check != nil {
		if err := req.check(req.subject, decoded, resp.Body); err != nil {
			o := foreignResponse(req, res, resp, err, secrets)
			if re, ok := o.err.(*ResponseError); ok && errors.Is(err, errUnproven) { //nolint:errorlint // just made
				re.unproven, re.Snippet = true, ""
				o.verdict = final // it would be the same again
			}
			return o
		}
	}
	if r, ok := decoded.(redactable); ok {
		r.redact(secrets.Prepared())
	}
	return outcome{response: decoded}
}

// decodeWhole is decode for a response that takes a body of any form.
func decodeWhole(
	req *request, res *Result, resp *transport.Response, decoded wholeResponse, secrets redact.Redactor,
) outcome {
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

// brokenList marks the error of a response that is broken inside a list of items, if the caller will ask for them in
// parts. It is not retried then, unless the item is alone.
//
// What was cut off has no end, and what another server sent has no such list.
func brokenList(req *request, resp *transport.Response, o outcome) outcome {
	re, ok := o.err.(*ResponseError) //nolint:errorlint // just made
	if !ok || req.items == 0 || !bytes.Contains(resp.Body, []byte(`_list"`)) || !bytes.HasSuffix(bytes.TrimSpace(resp.Body), []byte("}")) {
		return o
	}
	re.broken = true
	if req.items > 1 {
		o.verdict = final
	}
	return o
}

// maxErrMsg is how much of an errmsg is searched for secrets. ParseMessage shortens it further, so that a secret that is
// cut here is not seen.
const maxErrMsg = 32 << 10

// rejection returns the outcome of an attempt whose response has an errcode.
func rejection(req *request, res *Result, code Code, env *wire.Envelope, secrets redact.Redactor) outcome {
	msg := wire.ParseMessage(secrets.Text(wire.Shorten(env.ErrMsg, maxErrMsg)))
	res.Code, res.RID = code, msg.RID
	failed := failedOpenIDs(req, env)
	v := classify(code)
	return outcome{
		verdict: v,
		err: &Error{
			API: req.ep.api, Code: code, Message: msg.Text, RID: msg.RID, Hint: msg.Hint,
			Attempts: res.Attempts, FailedOpenIDs: failed, withoutToken: req.ep.noAuth && !needsSecret(req.ep.api),
		},
		// Without a list of those that failed, nobody knows to whom it was applied.
		mayBeApplied: v == unknown || v == partial && req.ep.max > 0 && len(failed) == 0,
		failed:       failed,
	}
}

// failedOpenIDs returns the openids of the request that the response names, in the order of the request. Only those that
// were sent can have failed, whatever the response says.
func failedOpenIDs(req *request, env *wire.Envelope) (failed []string) {
	for _, id := range req.openIDs {
		if slices.Contains(env.FailOpenIDList, id) {
			failed = append(failed, strings.Clone(id)) // one that is kept should not keep its page in memory
		}
	}
	return failed
}

// foreignResponse returns the outcome of an attempt whose response is not the platform's.
func foreignResponse(req *request, res *Result, resp *transport.Response, cause error, secrets redact.Redactor) outcome {
	err := newResponseError(req, res.Attempts, resp, cause, secrets)
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

func newResponseError(
	req *request, attempts int, resp *transport.Response, cause error, secrets redact.Redactor,
) *ResponseError {
	if cause == nil {
		cause = errors.New(statusText(resp.Status))
	}
	secrets = secrets.Prepared()
	e := &ResponseError{
		API: req.ep.api, StatusCode: resp.Status, Attempts: attempts,
		RetryAfter:  parseRetryAfter(resp.Header.Get("Retry-After")),
		ContentType: resp.Header.Get("Content-Type"),
		Err:         secrets.Error(cause),
	}
	if e.described = len(req.secrets) > 0; e.described || isTokenAPI(req.ep.api) {
		e.ContentType, _, _ = mime.ParseMediaType(e.ContentType)
		e.Snippet = describeBody(resp.Body, secrets)
	} else {
		e.Snippet = snippet(resp.Body, secrets)
	}
	e.ContentType = secrets.Text(e.ContentType)
	return e
}

const (
	maxSnippet = 200      // characters of a body that an error shows
	maxTitle   = 100      // characters of a title
	maxLooked  = 64 << 10 // bytes of a body that are looked at
)

// snippet returns the beginning of a body, without secrets.
func snippet(body []byte, secrets redact.Redactor) string {
	text := secrets.Text(strings.ToValidUTF8(string(body[:min(len(body), maxLooked)]), "\uFFFD"))
	return shorten(text, maxSnippet)
}

// describeBody returns what an error can tell of the body of a token request, which may hold a token that nobody knows
// yet, in any form: its length and, of an HTML page, the title.
func describeBody(body []byte, secrets redact.Redactor) string {
	if len(body) == 0 {
		return ""
	}
	text := fmt.Sprintf("a body of %d bytes", len(body))
	if m := htmlTitle.FindSubmatch(body[:min(len(body), maxLooked)]); m != nil {
		title := strings.Join(strings.Fields(strings.ToValidUTF8(string(m[1]), "\uFFFD")), " ")
		text += fmt.Sprintf(", titled %q", shorten(longWord.ReplaceAllString(secrets.Text(title), "***"), maxTitle))
	}
	return text
}

var (
	htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>([^<]*)`)
	longWord  = regexp.MustCompile(`[A-Za-z0-9_+/=-]{20,}`) // as a token is, and no word of a title
)

// shorten returns the first n characters of a text.
func shorten(text string, n int) string {
	if runes := []rune(text[:min(len(text), utf8.UTFMax*(n+1))]); len(runes) > n {
		return string(runes[:n]) + "…"
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
	if !isTokenAPI(req.ep.api) {
		c.logger.LogAttrs(ctx, slog.LevelDebug, "wechatuser: attempt", attrs...)
		return
	}
	// Calls wait for this one. They must not wait for a log handler, which may make calls itself.
	record := slog.NewRecord(time.Now(), slog.LevelDebug, "wechatuser: attempt", 0)
	record.AddAttrs(attrs...)
	tokencache.Later(ctx, func() { _ = c.logger.Handler().Handle(context.WithoutCancel(ctx), record) })
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
