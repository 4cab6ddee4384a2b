package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/tokencache"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// call is the path of every request, token requests included: it encodes in, if it is not nil, sends it through the
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
	if req.newResponse == nil {
		req.newResponse = func() response { return P(new(R)) }
	}
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
		ctx, req.job = takeJob(ctx)
	}
	if len(c.interceptors) > 0 {
		return c.intercept(ctx, req)
	}
	resp, _, err := c.waitLimiter(ctx, req)
	return resp, err
}

// intercept sends a request through the interceptors, and then through the rest of the pipeline.
func (c *caller) intercept(ctx context.Context, req request) (response, error) {
	send := func(ctx context.Context) (response, Result, error) { return c.waitLimiter(ctx, req) }
	if isTokenAPI(req.ep.api) {
		return c.passInterceptors(ctx, &req, send)
	}
	return c.runInterceptors(ctx, &req, send)
}

// send is the pipeline behind the interceptors.
type send func(context.Context) (response, Result, error)

// interceptorPatience is how long a token request waits for the interceptors to let it through.
const interceptorPatience = 5 * time.Second

// How a token request is sent.
const (
	undecided int32 = iota
	intercepted
	passed
)

// passInterceptors is runInterceptors for a token request. A request that the interceptors have not let through after a
// while goes on without them: an interceptor that limits how many calls run at once holds the request back while the
// calls that it has let through wait for the token.
func (c *caller) passInterceptors(ctx context.Context, req *request, send send) (response, error) {
	type result struct {
		resp       response
		err, ended error
	}
	var way atomic.Int32
	held, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan result, 1)
	go func() {
		r := result{err: fmt.Errorf("wechatuser: %s: an interceptor ended without a result", req.ep.api)} // runtime.Goexit
		guard.Run(func() {
			r.resp, r.err = c.runInterceptors(held, req, func(ctx context.Context) (response, Result, error) {
				if !way.CompareAndSwap(undecided, intercepted) && way.Load() == passed {
					return nil, Result{}, errPassed
				}
				return send(ctx)
			})
		}, func(ended error) {
			if way.Load() == passed {
				guard.Rethrow(ended) // nobody else will
			}
			r.ended = ended
			done <- r
		})
	}()
	wait := func(patience <-chan time.Time) *result {
		select {
		case r := <-done:
			guard.Rethrow(r.ended)
			return &r
		case <-patience:
			return nil
		}
	}
	r := wait(time.After(interceptorPatience))
	if r == nil && !way.CompareAndSwap(undecided, passed) {
		r = wait(nil)
	}
	if r != nil {
		return r.resp, r.err
	}
	cancel(errPassed)
	tokencache.Later(ctx, func() {
		c.logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelWarn,
			"wechatuser: token request sent without the interceptors, which held it back",
			slog.String("api", req.ep.api), slog.String("app_id", c.appID), slog.Duration("after", interceptorPatience))
	})
	resp, _, err := send(ctx)
	return resp, err
}

var errPassed = errors.New("wechatuser: the token request was sent without the interceptors, which held it back: calls wait for it")

// runInterceptors runs the interceptors around the rest of the pipeline. An interceptor may call next twice, even at
// the same time, or return while next is still running.
func (c *caller) runInterceptors(ctx context.Context, req *request, send send) (response, error) {
	var resp atomic.Pointer[response]
	info := Call{API: req.ep.api, Method: req.ep.method, Path: req.ep.path}
	next := func(ctx context.Context) (Result, error) {
		got, res, err := send(ctx)
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
		wait := req.job.waiting(ctx)
		defer wait.end()
		if err := c.limiter.Wait(wait.context()); err != nil {
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
// It can call itself: prepare and renew may fetch a token, and a token request is a call like any other, with its own
// interceptors and retries. A token request needs no token, so the recursion ends there.
func (c *caller) doWithRetry(ctx context.Context, req request) (resp response, res Result, err error) {
	var (
		start     = time.Now()
		refreshes int
		last      error // of the last attempt
		applied   bool  // an attempt of a write may have been applied
		partly    bool  // an attempt was applied to some openids, and its 45171 is not the error that is returned
	)
	wait := req.job.waiting(ctx)
	defer func() {
		wait.end()
		res.Duration = time.Since(start)
		err = markAmbiguous(err, applied || partly)
	}()
	for retry := 1; ; {
		// Prepare: the token, and the permission to send.
		token, err := c.prepare(ctx, &wait, &req, res.Attempts)
		if err != nil {
			limit := (*tokenLimitError)(nil)
			if last != nil && (errors.As(err, &limit) || req.job.isStopped(ctx)) {
				return nil, res, last // it says more: what used up the token requests, or what was to be retried
			}
			return nil, res, err
		}

		// Attempt: one request to one host.
		res.Attempts++
		req.job.addAttempt()
		sentAt := time.Now()
		o := c.attempt(ctx, &req, token, &res)
		if o.err == nil && req.received != nil {
			req.received(o.response, sentAt)
		}
		last = o.err
		applied = applied || req.ep.write && o.mayBeApplied
		partly = partly && o.verdict != partial
		if res.StatusCode != 0 || o.mayBeApplied {
			req.job.addSent()
		}
		if !req.ep.noAuth && showsGoodToken(&o, res.Code) {
			c.tokens.accepted(token)
		}

		// Renew: the platform rejected the token, and applied nothing. The next attempt is not a retry.
		if o.verdict == tokenRejected && !req.ep.noAuth && refreshes < maxRefreshes {
			refreshes++
			fetched, err := c.tokens.refresh(wait.context(), token)
			if fetched {
				refreshes = maxRefreshes
			}
			switch {
			case err != nil && req.job.isStopped(ctx):
				return nil, res, last
			case err != nil:
				return nil, res, c.refreshError(ctx, &req, res.Attempts, err, last)
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
		if err := backoff.Sleep(wait.context(), pause); err != nil {
			if req.job.isStopped(ctx) {
				return nil, res, o.err
			}
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

// showsGoodToken reports whether the platform accepted the token of an attempt. A response that rejects something else,
// such as an openid, shows that too.
func showsGoodToken(o *outcome, code Code) bool {
	return o.err == nil ||
		code != 0 && o.verdict != tokenRejected && o.verdict != unknown && code.class()&(classInvalidToken|classCredential) == 0
}

// refreshError returns the error of a call whose token was rejected and could not be refreshed.
func (c *caller) refreshError(ctx context.Context, req *request, attempts int, err, rejection error) error {
	if errors.Is(err, errNoOtherToken) {
		return rejection // it says it best
	}
	fromSource := c.tokenSource != nil || c.cloud == cloudToken
	if isOfAPI(err, isAuthorizerAPI) && errors.Is(err, ErrTemporary) {
		fromSource = false // the token will be there again, as one that the client fetches itself
	}
	if fromSource && ctx.Err() == nil {
		return fmt.Errorf("%w; there is no other token: %w", rejection, err)
	}
	if limit := (*tokenLimitError)(nil); errors.As(err, &limit) && limit.Last == nil {
		err = newTokenLimitError(limit.Wait, rejection)
	}
	return tokenError(req.ep, attempts, err)
}
