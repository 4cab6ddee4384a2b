package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/bulk"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/paging"
)

const (
	// quotaPause is how long a job makes no call after a minute's quota is used up. A minute is enough, wherever the
	// platform's minutes begin.
	quotaPause = time.Minute
	// maxJobRetries is how often a chunk or a page is retried after an error that should pass by itself.
	maxJobRetries = 5
	// tokenPause is the pause before such a retry if the platform rejects a token and has no other one. Five of them
	// outlast the 30 seconds in which it ignores a forced refresh.
	tokenPause = 10 * time.Second
)

// policy is what each error means for a bulk job, a sync or a list. The calls of one of them share a gate, and what is
// known about its tag.
type policy struct {
	c     *Client
	tagID int // the tag that the calls are about, negative for none
	gate  *bulk.Gate

	broken atomic.Int32 // items in a row, each in a call of its own, whose response was broken

	asking   chan struct{} // has one element while a call asks for the tags
	tagKnown bool          // tagFound is valid
	tagFound bool
}

func newPolicy(c *Client, tagID int, patience time.Duration) *policy {
	return &policy{c: c, tagID: tagID, asking: make(chan struct{}, 1), gate: &bulk.Gate{
		MaxRetries: maxJobRetries,
		// The first pause is longer than the last one between the attempts of a call.
		Delay:    func(retry int) time.Duration { return c.retry.delay(min(c.retry.MaxAttempts, 100) + retry - 1) },
		Patience: patience,
	}}
}

// unsentError is the error of a call that made no attempt: it waited for a limiter, a token or an interceptor.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// makeCall makes a call of a job, which begins no attempt once stopped ends. If the call fails before its first
// attempt, the error is an [*unsentError].
func makeCall(ctx, stopped context.Context, call func(context.Context) error) error {
	ctx, n := startCall(ctx, stopped)
	err := call(ctx)
	if err != nil && n.attempts.Load() == 0 {
		return &unsentError{err}
	}
	return err
}

// classify returns what the error of [makeCall] means for the job. ctx is the context of the call, and stopped ends
// when no new call may be made.
func (p *policy) classify(ctx, stopped context.Context, err error) bulk.Verdict {
	unsent, isUnsent := err.(*unsentError) //nolint:errorlint // as makeCall returned it
	if isUnsent {
		err = unsent.err
	}
	v := p.classifyCall(ctx, stopped, err)
	if isUnsent {
		v.Err = cmp.Or(v.Err, err)
		if v.Action == bulk.Persist && !isTokenError(err) {
			v.Action = v.Exhausted // the failure is not the platform's
		}
	}
	return v
}

// classifyCall returns what the error of a call means.
func (p *policy) classifyCall(ctx, stopped context.Context, err error) bulk.Verdict {
	if errors.Is(err, errSuspect) {
		return bulk.Verdict{Action: bulk.Hold} // for no time at all
	}
	v := bulk.Verdict{MayBeApplied: errors.Is(err, ErrAmbiguous)}
	if hold := holdAfter(err); hold > 0 {
		v.Action, v.After = bulk.Hold, hold
		return v
	}
	var e *Error
	switch {
	case blamesOpenID(err):
		v.Action = bulk.Split
	case passes(err):
		v.Action = bulk.Persist
	}
	if !errors.As(err, &e) {
		return v
	}
	switch e.Code {
	case CodeInvalidOpenIDListSize, CodeMigrationTooManyOpenIDs:
		v.Action = bulk.Shrink
	case CodeSomeOpenIDsFailed:
		v.Exhausted, v.Action, v.Failed = v.Action, bulk.Retry, e.FailedOpenIDs
		if len(v.Failed) > 0 {
			v.Exhausted = bulk.Reject // the call has retried them already
		}
	case CodeConcurrentTagging:
		v.Exhausted, v.Action = v.Action, bulk.Retry
	case CodeInvalidCredential, CodeInvalidAccessToken, CodeAccessTokenExpired:
		if !errors.Is(err, ErrInvalidToken) {
			break // the secret, and not a token
		}
		if e.Attempts > 1 { // the next token was rejected too: it was revoked in the meantime
			v.Action = bulk.Retry
		} else if p.c.tokenSource == nil {
			v.Action, v.After = bulk.Retry, tokenPause
		}
	case CodeInvalidTagID: // believed only if the list of tags does not have it
		exists, findErr := p.tagExists(ctx, stopped)
		if findErr != nil {
			v.Err = fmt.Errorf("%w; could not check whether the tag exists: %w", err, findErr)
		}
		if exists {
			v.Exhausted, v.Action = v.Action, bulk.Retry
		}
	}
	return v
}

// holdAfter returns for how long no call can succeed after this error, 0 if that is not the reason.
func holdAfter(err error) time.Duration {
	var limit *tokenLimitError
	switch {
	case errors.As(err, &limit) && !errors.Is(err, ErrCredential):
		return limit.Wait
	case errors.Is(err, CodeMinuteQuotaExceeded):
		return quotaPause
	}
	return 0
}

var (
	// errSuspect: the profiles of a response may be mixed up, and the same openids have to be asked for once more, in
	// another order.
	errSuspect = errors.New("the profiles of the platform's response may be mixed up")
	// errMixedUp: the profiles of both responses may be mixed up.
	errMixedUp = errors.New("the profiles of the platform's response are mixed up: one of its openids may belong to another account")
)

// passes reports whether a call failed because the platform or the network is out of order, which may last for minutes.
func passes(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return classify(e.Code) == unknown
	}
	return errors.Is(err, ErrTemporary)
}

// errNotInResponse: a response does not tell which result is whose. The platform is known to leave out openids that it
// does not know, and then to mix up the others.
var errNotInResponse = errors.New("the platform's response has no result for this openid, which may belong to another account")

// blamesOpenID reports whether a call failed because of some of its openids. The others are good then.
func blamesOpenID(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		var response *ResponseError
		return errors.Is(err, errNotInResponse) || errors.Is(err, errMixedUp) || errors.Is(err, errNoSubscribe) ||
			errors.As(err, &response) && response.broken
	}
	switch e.Code {
	case CodeInvalidOpenID, CodeInvalidOpenIDList, CodeOpenIDMismatch, CodeUserNotFound, CodeRequireSubscribe,
		CodeUserUnsubscribed, CodeTooManyTagsOnUser, CodeConcurrentTagging, CodeSomeOpenIDsFailed:
		return true
	}
	return false
}

// isLost reports whether a write was sent and no response tells what it did.
func isLost(ctx context.Context, err error) bool {
	var e *Error
	switch unsent := (*unsentError)(nil); {
	case errors.As(err, &unsent), isTokenError(err):
		return false
	case errors.Is(err, guard.ErrGoexit):
		return true
	case errors.As(err, &e) && e.Code == CodeSomeOpenIDsFailed:
		return len(e.FailedOpenIDs) == 0 // it does not say to whom it was applied
	case errors.As(err, &e) && classify(e.Code) != unknown:
		return false
	}
	return ctx.Err() == nil || errors.Is(err, ErrAmbiguous)
}

// isTokenError reports whether a call failed because it got no token, so that it was not sent.
func isTokenError(err error) bool {
	return isOfAPI(err, func(api string) bool { return isTokenAPI(api) || isAuthorizerAPI(api) })
}

// tagExists asks the platform, once in a job, whether the tag exists: it is known to reject the IDs of tags that do.
func (p *policy) tagExists(ctx, stopped context.Context) (bool, error) {
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-stopped.Done():
		return false, backoff.ContextErr(stopped)
	}
	if p.tagKnown || p.tagID < 0 {
		return p.tagFound, nil
	}
	noRetries := 0
	_, err := p.gate.Do(stopped, &noRetries, func() (bulk.Verdict, error) {
		tag, err := p.c.findTag(withStop(ctx, stopped), func(t Tag) bool { return t.ID == p.tagID })
		if err == nil {
			p.tagKnown, p.tagFound = true, tag != nil
		}
		switch hold := holdAfter(err); {
		case hold > 0:
			return bulk.Verdict{Action: bulk.Hold, After: hold}, err
		case err != nil && passes(err):
			return bulk.Verdict{Action: bulk.Persist}, err
		}
		return bulk.Verdict{}, err
	})
	return p.tagFound, err
}

// list is one of the platform's lists of openids.
type list struct {
	ep    *endpoint
	tagID int // negative if there is none
	page  func(ctx context.Context, cursor string) (*OpenIDPage, error)
}

// walk returns the pages of a list after an openid, with the holds and retries of a job.
func (p *policy) walk(ctx context.Context, l list, after string) iter.Seq2[[]string, error] {
	return paging.Walk(ctx, after, func(ctx context.Context, cursor string) (paging.Page, error) {
		if err := l.ep.checkCursor("", cursor); err != nil && cursor != after {
			return paging.Page{}, &ResponseError{
				API: l.ep.api, StatusCode: http.StatusOK,
				Err: fmt.Errorf("the list goes on after %q, which is not an openid: it has a space or a control character", cursor),
			}
		}
		var page *OpenIDPage
		retries := maxJobRetries
		_, err := p.gate.Do(ctx, &retries, func() (bulk.Verdict, error) {
			err := makeCall(ctx, ctx, func(ctx context.Context) (err error) {
				page, err = l.page(ctx, cursor)
				return err
			})
			if err != nil {
				return p.classify(ctx, ctx, err), err
			}
			return bulk.Verdict{}, nil
		})
		if err != nil {
			return paging.Page{}, err
		}
		return paging.Page{Items: page.OpenIDs, Next: page.NextOpenID, Total: page.Total}, nil
	})
}
