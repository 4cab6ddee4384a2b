package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// call is the path of every request, that of a token request included: it encodes in, sends it through the
// interceptors, the limiter and the attempts, and returns the payload of the response.
func call[R any, P interface {
	*R
	response
}](ctx context.Context, c *caller, req request, in any) (*R, error) {
	if in != nil {
		body, err := wire.Marshal(in)
		if err != nil {
			return nil, req.ep.argumentError("body", "%v", err)
		}
		req.body = body
	}
	req.newResponse = func() response { return P(new(R)) }
	resp, err := c.do(ctx, req)
	if err != nil {
		return nil, err
	}
	return (*R)(resp.(P)), nil
}

// do sends a request through the whole pipeline. Without an error there is a response.
func (c *caller) do(ctx context.Context, req request) (response, error) {
	if err := checkContext(req.ep.api, ctx); err != nil {
		return nil, err
	}
	if !isTokenAPI(req.ep.api) {
		ctx, req.sent = takeCounter(ctx)
	}
	if len(c.interceptors) > 0 {
		return c.runInterceptors(ctx, req)
	}
	resp, _, err := c.waitLimiter(ctx, req)
	return resp, err
}

// runInterceptors runs the interceptors around the rest of the pipeline. One of them may call next twice, also at the
// same time, or leave it running.
func (c *caller) runInterceptors(ctx context.Context, req request) (response, error) {
	var resp atomic.Pointer[response]
	info := Call{API: req.ep.api, Method: req.ep.method, Path: req.ep.path}
	next := func(ctx context.Context) (Result, error) {
		got, res, err := c.waitLimiter(ctx, req)
		if err == nil {
			resp.Store(&got)
		}
		return res, err
	}
	for i := len(c.interceptors) - 1; i >= 0; i-- {
		interceptor, inner := c.interceptors[i], next
		next = func(ctx context.Context) (Result, error) { return interceptor(ctx, info, inner) }
	}
	if _, err := next(ctx); err != nil {
		return nil, err
	}
	if got := resp.Load(); got != nil {
		return *got, nil
	}
	return nil, fmt.Errorf("wechatuser: %s: an interceptor returned no error although there is no response: it must call next, and return its error", req.ep.api)
}

// waitLimiter waits for the limiter, except with a token request, and then makes the call.
func (c *caller) waitLimiter(ctx context.Context, req request) (response, Result, error) {
	if c.limiter != nil && !isTokenAPI(req.ep.api) {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, Result{}, newTransportError(req.ep, 0, fmt.Errorf("waiting for the limiter: %w", err))
		}
	}
	return c.doWithRetry(ctx, req)
}

// maxRefreshes is how often one call refreshes the token: once, and once more if the token that it got was there
// already and is rejected too.
const maxRefreshes = 2

// doWithRetry makes attempts until the outcome is final: prepare, attempt, renew the token, back off, and again.
//
// It calls itself on the way: prepare and renew fetch a token where there is none, and a token request is a call like
// any other, with its own interceptors and retries. It needs no token, so it goes no deeper.
func (c *caller) doWithRetry(ctx context.Context, req request) (resp response, res Result, err error) {
	var (
		start     = time.Now()
		refreshes int
		last      error // of the last attempt
		applied   bool  // an attempt of a write may have been applied
		partly    bool  // an attempt was applied to some openids, and its 45171 is not the error that is returned
	)
	defer func() {
		res.Duration = time.Since(start)
		err = markAmbiguous(err, applied || partly)
	}()
	for retry := 1; ; {
		// Prepare: the token, and the permission to send.
		token, err := c.prepare(ctx, &req, res.Attempts)
		if err != nil {
			if limit := (*tokenLimitError)(nil); last != nil && errors.As(err, &limit) {
				return nil, res, last // it says what the token requests were used up for
			}
			return nil, res, err
		}

		// Attempt: one request to one host.
		res.Attempts++
		o := c.attempt(ctx, &req, token, &res)
		last = o.err
		applied = applied || req.ep.write && o.mayBeApplied
		partly = partly && o.verdict != partial
		if req.sent != nil && (res.StatusCode != 0 || o.mayBeApplied) {
			req.sent.Add(1)
		}
		if o.err == nil && !req.ep.noAuth {
			c.tokens.accepted(token)
		}

		// Renew: the platform rejected the token, and applied nothing. The next attempt is not a retry.
		if o.verdict == tokenRejected && !req.ep.noAuth && refreshes < maxRefreshes {
			refreshes++
			fetched, err := c.tokens.refresh(ctx, token)
			if fetched {
				refreshes = maxRefreshes
			}
			if err != nil {
				return nil, res, c.refreshError(&req, res.Attempts, err, last)
			}
			continue
		}

		// Back off, or return.
		if retry >= c.retry.MaxAttempts || !o.retryable(req.ep) {
			return o.response, res, o.err
		}
		pause := max(c.retry.delay(retry), o.retryAfter)
		if o.retryAtOnce {
			pause = 0
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
			return nil, res, o.err
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return nil, res, newTransportError(req.ep, res.Attempts, fmt.Errorf("%w while waiting to retry after: %w", err, o.err))
		}
		if o.verdict == partial {
			partly = true
			req.openIDs = o.failed
			if req.body, err = req.bodyFor(o.failed); err != nil {
				return nil, res, err
			}
		}
		retry++
	}
}

// refreshError returns the error of a call whose token was rejected and could not be refreshed.
func (c *caller) refreshError(req *request, attempts int, err, rejection error) error {
	if errors.Is(err, errNoOtherToken) {
		return rejection // it says it best
	}
	if limit := (*tokenLimitError)(nil); errors.As(err, &limit) && limit.Last == nil {
		err = newTokenLimitError(limit.Wait, rejection)
	}
	return tokenError(req.ep, attempts, err)
}

type sentKey struct{}

// countCalls returns a context whose API requests are counted, and the counter.
func countCalls(ctx context.Context) (context.Context, *atomic.Int64) {
	sent := new(atomic.Int64)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

// takeCounter returns the counter of ctx, nil if there is none, and a context without it: calls that an interceptor, a
// limiter or a token source makes of its own, and token requests, do not count.
func takeCounter(ctx context.Context) (context.Context, *atomic.Int64) {
	sent, _ := ctx.Value(sentKey{}).(*atomic.Int64)
	if sent == nil {
		return ctx, nil
	}
	return context.WithValue(ctx, sentKey{}, (*atomic.Int64)(nil)), sent
}
