package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// maxRenewals is how often one call has the token renewed: once, and once more if that brought one that was there
// already and is dead too.
const maxRenewals = 2

// perform makes attempts until the request is settled.
func (c *Client) perform(ctx context.Context, req request) (ans answer, res Result, err error) {
	start := time.Now()
	defer func() { res.Duration = time.Since(start) }()
	var (
		renewals int  // of the token, after it was refused
		applied  bool // an earlier attempt of a write may have been applied
		partly   bool // an earlier attempt was applied for some openids; only 45171 says for which
	)
	for try := 1; ; {
		token, notReady := c.ready(ctx, &req, res.Attempts)
		if notReady != nil {
			if be := (*budgetError)(nil); err == nil || !errors.As(notReady, &be) { // err tells why the budget was used up
				err = ambiguously(notReady, applied || partly)
			}
			return nil, res, err
		}
		res.Attempts++
		a := c.attempt(ctx, &req, token, &res)
		if (res.StatusCode != 0 || a.maybeApplied) && !isTokenAPI(req.ep.api) {
			countSent(ctx)
		}
		applied = applied || req.ep.write && a.maybeApplied
		err = ambiguously(a.err, applied || partly && a.verdict != partial)

		if err == nil && !req.ep.noAuth {
			c.tokens.worked(token)
		}
		if a.verdict == tokenRefused && !req.ep.noAuth && renewals < maxRenewals {
			renewals++
			fetched, renewErr := c.tokens.renew(ctx, token)
			if fetched {
				renewals = maxRenewals
			}
			if renewErr == nil {
				continue
			}
			if errors.Is(renewErr, errNoOtherToken) {
				return nil, res, err // the refusal says it best
			}
			if be := (*budgetError)(nil); errors.As(renewErr, &be) && be.last == nil {
				renewErr = &budgetError{wait: be.wait, last: err}
			}
			return nil, res, ambiguously(noToken(req.ep.api, res.Attempts, renewErr), applied || partly)
		}
		if try >= c.retry.MaxAttempts || !a.repeatable(req.ep) {
			return a.answer, res, err
		}
		wait := max(c.retry.delay(try), a.retryAfter)
		if a.otherHost {
			wait = 0
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return nil, res, err
		}
		if ctxErr := pause(ctx, wait); ctxErr != nil {
			return nil, res, ambiguously(&TransportError{
				API: req.ep.api, Attempts: res.Attempts, Err: fmt.Errorf("%w while waiting to repeat it after: %w", ctxErr, err),
			}, applied || partly)
		}
		if a.verdict == partial {
			partly = true
			req.openIDs = a.failed
			if req.body, err = req.narrow(a.failed); err != nil {
				return nil, res, err
			}
		}
		try++
	}
}

// ready gives the token for an attempt, the zero Token where the endpoint takes none, or says why nothing can be sent.
func (c *Client) ready(ctx context.Context, req *request, attempts int) (token Token, err error) {
	if !req.ep.noAuth {
		if token, err = c.tokens.get(ctx); err != nil {
			return Token{}, noToken(req.ep.api, attempts, err)
		}
	}
	if ctx.Err() != nil {
		return Token{}, &TransportError{API: req.ep.api, Attempts: attempts, Err: ended(ctx)}
	}
	if req.before != nil {
		err = req.before()
	}
	return token, err
}

// noToken is the error of a call that could not be sent for want of a token, or of another one than that.
func noToken(api string, attempts int, err error) error {
	if te := (*TransportError)(nil); isEnd(err) && !errors.As(err, &te) {
		return &TransportError{API: api, Attempts: attempts, Err: err}
	}
	return err
}

// attempted is the outcome of one attempt.
type attempted struct {
	verdict      verdict
	answer       answer // after a success
	err          error  // otherwise
	maybeApplied bool   // the platform may have applied it
	otherHost    bool   // another address can be tried at once
	retryAfter   time.Duration
	failed       []string // openids that were not processed, where the verdict is partial
}

func (a *attempted) repeatable(ep *endpoint) bool {
	switch a.verdict {
	case notSent, later:
		return true
	case unclear:
		return ep.repeat != repeatNever && (a.otherHost || a.retryAfter <= maxRetryAfter)
	case partial:
		return len(a.failed) > 0
	case settled, tokenRefused:
	}
	return false
}

// attempt sends the request once, to one host, with one token.
func (c *Client) attempt(ctx context.Context, req *request, token Token, res *Result) (a attempted) {
	host := c.sender.hosts.pick()
	start := time.Now()
	base := c.sender.hosts.bases[host]
	*res = Result{Attempts: res.Attempts, Host: base}
	defer func() { c.logAttempt(ctx, req, res, time.Since(start), a.err) }()

	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ex, left, err := c.sender.send(limited, req.ep.method, req.address(base, token), req.body)
	defer ex.release()
	res.StatusCode = ex.status

	switch {
	case err != nil && (ex.status == 0 || limited.Err() != nil):
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err) // net/http gives the cause alone
		}
		a.err = &TransportError{API: req.ep.api, Attempts: res.Attempts, Err: sealed(err, c.secrets(token)...)}
		a.maybeApplied = left
		switch {
		case ctx.Err() != nil: // the caller has gone; it says nothing about the host
			return a
		case left:
			a.verdict = unclear
		default:
			a.verdict = notSent
		}
		a.otherHost = c.sender.hosts.failed(host)
	case err != nil || ex.status < 200 || ex.status > 299:
		a = c.notTheAnswer(req, res, ex, err, token)
		if ex.status >= 500 {
			a.otherHost = c.sender.hosts.failed(host)
		} else {
			c.sender.hosts.worked(host)
		}
	default:
		c.sender.hosts.worked(host)
		a = c.judge(req, res, ex, token)
	}
	return a
}

// address is the URL of a request, in which the token is.
func (r *request) address(base string, token Token) string {
	switch {
	case r.ep.noAuth && r.query == "":
		return base + r.ep.path
	case r.ep.noAuth:
		return base + r.ep.path + "?" + r.query
	case r.query == "":
		return base + r.ep.path + "?access_token=" + url.QueryEscape(token.AccessToken)
	default:
		return base + r.ep.path + "?access_token=" + url.QueryEscape(token.AccessToken) + "&" + r.query
	}
}

// secrets are what no error of an attempt with this token may show.
func (c *Client) secrets(token Token) []string { return []string{c.secret(), token.AccessToken} }

// judge reads an answer with a success status.
func (c *Client) judge(req *request, res *Result, ex exchange, token Token) attempted {
	if err := wire.CheckObject(ex.body); err != nil {
		return c.notTheAnswer(req, res, ex, err, token)
	}
	ans := req.fresh()
	err := wire.Unmarshal(ex.body, ans)
	env := ans.Head()
	if code, _ := env.Code(); code != 0 { // whatever is wrong with the rest of the answer
		return refusal(req, res, Code(code), env, c.secrets(token))
	}
	if err != nil {
		return c.notTheAnswer(req, res, ex, fmt.Errorf("the body is not the platform's JSON: %w", err), token)
	}
	if field := ans.missing(); field != "" {
		return c.notTheAnswer(req, res, ex, fmt.Errorf("the answer has no %s", field), token)
	}
	return attempted{answer: ans}
}

// refusal is the outcome of an attempt that the platform answered with an errcode.
func refusal(req *request, res *Result, code Code, env *wire.Envelope, secrets []string) attempted {
	msg := wire.ParseMessage(masked(env.ErrMsg, secrets...))
	res.Code, res.RID = code, msg.RID
	// Nobody else than those who were sent, whatever the answer says.
	failed := slices.DeleteFunc(env.FailOpenIDList, func(id string) bool { return !slices.Contains(req.openIDs, id) })
	v := judgeCode(code)
	return attempted{
		verdict: v,
		err: &Error{
			API: req.ep.api, Code: code, Message: msg.Text, RID: msg.RID, Hint: msg.Hint,
			Attempts: res.Attempts, FailedOpenIDs: failed,
		},
		maybeApplied: v == unclear,
		failed:       failed,
	}
}

// snippetLength is how much of a body an error shows.
const snippetLength = 200

// notTheAnswer is the outcome of an attempt that something else than the platform's API answered.
func (c *Client) notTheAnswer(req *request, res *Result, ex exchange, cause error, token Token) attempted {
	secrets := c.secrets(token)
	retryAfter := parseRetryAfter(ex.header.Get("Retry-After"))
	snippet := ex.body[:min(len(ex.body), maxBody>>6)]
	text := masked(strings.ToValidUTF8(string(snippet), "\uFFFD"), secrets...)
	if isTokenAPI(req.ep.api) && (strings.Contains(text, "access_token") || strings.Contains(text, `"`) && !strings.HasPrefix(strings.TrimSpace(text), "<")) {
		text = "" // what looks like JSON, or a part of it, may hold a token that nobody knows yet
	}
	if runes := []rune(text[:min(len(text), 4*(snippetLength+1))]); len(runes) > snippetLength {
		text = string(runes[:snippetLength]) + "…"
	}
	if cause == nil {
		cause = errors.New(statusText(ex.status))
	}
	a := attempted{
		err: &ResponseError{
			API: req.ep.api, StatusCode: ex.status, Attempts: res.Attempts, RetryAfter: retryAfter,
			ContentType: masked(ex.header.Get("Content-Type"), secrets...),
			Snippet:     text, Err: sealed(cause, secrets...),
		},
		retryAfter: retryAfter,
	}
	if errors.Is(a.err, ErrTemporary) {
		a.verdict = unclear
	}
	// Status 4xx, 429 among them, and redirects say that the request got no further.
	a.maybeApplied = ex.status < 300 || ex.status >= 500
	return a
}

func statusText(status int) string {
	if status >= 300 && status < 400 {
		return "a redirect, which is not followed: it would carry secrets elsewhere"
	}
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "unknown status"
}

// parseRetryAfter reads both forms of the header; 0 where there is none.
func parseRetryAfter(v string) time.Duration {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(max(0, min(seconds, 1<<31))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// logAttempt writes what an attempt came to, and no secret or openid.
func (c *Client) logAttempt(ctx context.Context, req *request, res *Result, d time.Duration, err error) {
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
	if res.Code != 0 || err == nil { // an answer of the platform
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

// errorForLog is the text of an error without what can show an openid: the body of a stranger's answer, and a URL.
func errorForLog(err error) string {
	if re, ok := err.(*ResponseError); ok { //nolint:errorlint // an attempt's own error is not wrapped
		brief := *re
		brief.Snippet = ""
		err = &brief
	}
	return maskParam(err.Error(), "openid=")
}
