package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// perform makes attempts until the request is settled.
func (c *Client) perform(ctx context.Context, req *request) (res Result, err error) {
	start := time.Now()
	defer func() { res.Duration = time.Since(start) }()
	var (
		renewed bool // the one repeat with another token is spent
		applied bool // an earlier attempt of a write may have been applied
	)
	for try := 1; ; {
		var token Token
		if !req.ep.noAuth {
			if token, err = c.tokens.get(ctx); err != nil {
				return res, ambiguously(c.noToken(req, res, err), applied)
			}
		}
		if req.before != nil {
			if err := req.before(); err != nil {
				return res, err
			}
		}
		res.Attempts++
		a := c.attempt(ctx, req, token, &res)
		applied = applied || req.ep.write && a.maybeApplied
		err = ambiguously(a.err, applied)

		if a.verdict == tokenRefused && !req.ep.noAuth && !renewed {
			renewed = true
			renewErr := c.tokens.renew(ctx, token)
			if renewErr == nil {
				continue
			}
			if errors.Is(renewErr, errNoOtherToken) {
				return res, err // the refusal says it best
			}
			return res, ambiguously(c.noToken(req, res, renewErr), applied)
		}
		if try >= c.retry.MaxAttempts || !a.repeatable(req) {
			return res, err
		}
		if a.verdict == partial {
			if req.body, err = req.narrow(a.failed); err != nil {
				return res, err
			}
		}
		wait := max(c.retry.delay(try), a.retryAfter)
		if a.otherHost {
			wait = 0
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return res, err
		}
		if ctxErr := pause(ctx, wait); ctxErr != nil {
			return res, ambiguously(&TransportError{
				API: req.ep.api, Attempts: res.Attempts, Err: fmt.Errorf("%w while waiting to repeat it after: %w", ctxErr, err),
			}, applied)
		}
		try++
	}
}

// attempted is the outcome of one attempt. err is nil after a success.
type attempted struct {
	verdict      verdict
	err          error
	maybeApplied bool // the platform may have applied it
	otherHost    bool // another address can be tried at once
	retryAfter   time.Duration
	failed       []string // openids that were not processed, where the verdict is partial
}

func (a *attempted) repeatable(req *request) bool {
	switch a.verdict {
	case notSent, later:
		return true
	case unclear:
		return req.ep.repeat != repeatNever && a.retryAfter <= maxRetryAfter
	case partial:
		return req.narrow != nil && len(a.failed) > 0
	case settled, tokenRefused:
	}
	return false
}

// attempt sends the request once, to one host, with one token.
func (c *Client) attempt(ctx context.Context, req *request, token Token, res *Result) (a attempted) {
	host := c.sender.hosts.pick()
	start := time.Now()
	*res = Result{Attempts: res.Attempts}
	defer func() { c.logAttempt(ctx, req, res, host, time.Since(start), a.err) }()

	query := req.query
	if !req.ep.noAuth {
		query = url.Values{"access_token": {token.AccessToken}}
		for name, values := range req.query {
			query[name] = values
		}
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ex, left, err := c.sender.send(limited, c.sender.hosts.bases[host], req.ep, query, req.body)
	res.StatusCode = ex.status

	secrets := []string{c.secret, token.AccessToken}
	switch {
	case err != nil && (ex.status == 0 || ctx.Err() != nil || limited.Err() != nil):
		a.err = &TransportError{API: req.ep.api, Attempts: res.Attempts, Err: sealed(err, secrets)}
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
		a = c.notTheAnswer(req, res, ex, err, secrets)
		if ex.status >= 500 {
			a.otherHost = c.sender.hosts.failed(host)
		}
	default:
		c.sender.hosts.worked(host)
		a = c.judge(req, res, ex, secrets)
	}
	return a
}

// judge reads an answer with a success status.
func (c *Client) judge(req *request, res *Result, ex exchange, secrets []string) attempted {
	if err := wire.CheckObject(ex.body); err != nil {
		return c.notTheAnswer(req, res, ex, err, secrets)
	}
	ans, err := req.decode(ex.body)
	if err != nil {
		return c.notTheAnswer(req, res, ex, fmt.Errorf("the body is not the platform's JSON: %w", err), secrets)
	}
	env := ans.Head()
	code, _ := env.Code()
	res.Code = Code(code)
	if code != 0 {
		msg := wire.ParseMessage(wire.Mask(env.ErrMsg, secrets...))
		res.RID = msg.RID
		v := judgeCode(Code(code))
		return attempted{
			verdict: v,
			err: &Error{
				API: req.ep.api, Code: Code(code), Message: msg.Text, RID: msg.RID, Hint: msg.Hint,
				Attempts: res.Attempts, FailedOpenIDs: env.FailOpenIDList,
			},
			maybeApplied: v == unclear,
			failed:       env.FailOpenIDList,
		}
	}
	if field := ans.missing(); field != "" {
		return c.notTheAnswer(req, res, ex, fmt.Errorf("the answer has no %s", field), secrets)
	}
	return attempted{}
}

// snippetLength is how much of a body an error shows.
const snippetLength = 200

// notTheAnswer is the outcome of an attempt that something else than the platform's API answered.
func (c *Client) notTheAnswer(req *request, res *Result, ex exchange, cause error, secrets []string) attempted {
	retryAfter := parseRetryAfter(ex.header.Get("Retry-After"))
	snippet := ex.body[:min(len(ex.body), maxBody>>6)]
	text := wire.Mask(strings.ToValidUTF8(string(snippet), "\uFFFD"), secrets...)
	if isTokenAPI(req.ep.api) && strings.Contains(text, "access_token") {
		text = "" // a token that nobody knows yet can't be masked
	}
	if runes := []rune(text[:min(len(text), 4*snippetLength)]); len(runes) > snippetLength {
		text = string(runes[:snippetLength]) + "…"
	}
	if cause == nil {
		cause = errors.New(statusText(ex.status))
	}
	a := attempted{
		err: &ResponseError{
			API: req.ep.api, StatusCode: ex.status, Attempts: res.Attempts, RetryAfter: retryAfter,
			ContentType: wire.Mask(ex.header.Get("Content-Type"), secrets...),
			Snippet:     text, Err: sealed(cause, secrets),
		},
		retryAfter: retryAfter,
	}
	if repeatableStatus(ex.status) && !errors.Is(cause, errBodyTooLarge) {
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
	if seconds, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		return time.Duration(max(0, min(seconds, 1<<31))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// noToken is the error of a call that could not be sent for want of a token.
func (c *Client) noToken(req *request, res Result, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		if te := (*TransportError)(nil); !errors.As(err, &te) {
			return &TransportError{API: req.ep.api, Attempts: res.Attempts, Err: fmt.Errorf("waiting for an access token: %w", err)}
		}
	}
	return err
}

// logAttempt writes what an attempt came to. Its arguments hold no secret and no openid.
func (c *Client) logAttempt(ctx context.Context, req *request, res *Result, host int, d time.Duration, err error) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("api", req.ep.api), slog.String("app_id", c.appID), slog.String("host", c.sender.hosts.bases[host]),
		slog.Int("attempt", res.Attempts), slog.Int("status", res.StatusCode), slog.Int("errcode", int(res.Code)),
		slog.Duration("duration", d),
	}
	if res.RID != "" {
		attrs = append(attrs, slog.String("rid", res.RID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.log.LogAttrs(ctx, slog.LevelDebug, "wechatuser: attempt", attrs...)
}
