package authorizer

import (
	"errors"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/tokencache"
)

// ErrNoTicket reports that there is no component_verify_ticket yet, so that the platform has no token.
var ErrNoTicket = errors.New("authorizer: there is no component_verify_ticket: WeChat pushes one every 10 minutes " +
	"to the event URL of the third-party platform; check that the pushes arrive there, or call StartTicketPush")

// ErrNotAuthorized reports that WeChat does not list an account among those that have authorized the platform.
var ErrNotAuthorized = errors.New("authorizer: the account has not authorized the third-party platform, or does not " +
	"anymore: ask its administrator to authorize it")

// isLasting reports whether a fetch would fail again until somebody acts or the day is over.
func isLasting(err error) bool {
	for _, target := range []error{
		wechatuser.ErrCredential, wechatuser.ErrPermission, wechatuser.CodeDailyQuotaExceeded, ErrNoTicket, ErrNotAuthorized,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// temporaryError is a failure of a cache that passes, with its classes.
type temporaryError struct {
	error
	limited bool
}

func (e *temporaryError) Unwrap() error { return e.error }

// Is matches [wechatuser.ErrTemporary], and [wechatuser.ErrRateLimited] for the limit of token requests.
func (e *temporaryError) Is(target error) bool {
	return target == wechatuser.ErrTemporary || //nolint:errorlint // as errors.Is calls it
		e.limited && target == wechatuser.ErrRateLimited //nolint:errorlint // as errors.Is calls it
}

// cacheError adds the classes to the errors of a cache's own.
func cacheError(err error) error {
	switch err.(type) { //nolint:errorlint // one that is wrapped came through here already
	case *tokencache.LimitError:
		return &temporaryError{err, true}
	case *tokencache.AbandonedError:
		return &temporaryError{err, false}
	}
	return err
}
