package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/tokencache"
	"github.com/wechatuser/wechatuser/internal/transport"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// Classes of errors, for errors.Is. A [Code] matches its classes, and so do the errors of this package.
var (
	// ErrInvalidToken: the platform rejected the access token, and refreshing it did not help.
	ErrInvalidToken error = classInvalidToken
	// ErrCredential: the platform issues no access token for this app ID, secret or IP address.
	ErrCredential error = classCredential
	// ErrRateLimited: the quota of a minute, a day or a month is used up, or the client's own limit of token requests,
	// or the HTTP status is 429.
	ErrRateLimited error = classRateLimited
	// ErrPermission: the account may not make this call.
	ErrPermission error = classPermission
	// ErrNotFollowing: the user does not follow the account.
	ErrNotFollowing error = classNotFollowing
	// ErrInvalidArgument: the request was wrong. An [*ArgumentError] was found before anything was sent.
	ErrInvalidArgument error = classInvalidArgument
	// ErrTemporary: the same call may succeed later.
	ErrTemporary error = classTemporary
	// ErrAmbiguous: the platform may have applied this write; no response says whether it did.
	ErrAmbiguous error = classAmbiguous
	// ErrUnproven: the response to [Client.BatchUserInfo] may have profiles, or UnionIDs, that belong to other users.
	// [Client.BulkUserInfo] finds out which are right.
	ErrUnproven error = classUnproven
)

// mark is what the errors of calls share: whether the platform may have applied the call in spite of the error.
type mark struct{ ambiguous bool }

func (m mark) class() class {
	if m.ambiguous {
		return classAmbiguous
	}
	return 0
}

func (m mark) note() string {
	if m.ambiguous {
		return " (the platform may have applied it)"
	}
	return ""
}

// Error is a response of the platform with an errcode.
//
// errors.Is matches it with its [Code] and with classes such as [ErrRateLimited].
type Error struct {
	// API is the official name of the call, such as "batchTagging".
	API string
	// Code is the errcode.
	Code Code
	// Message is the errmsg without rid and hint.
	Message string
	// RID is the platform's ID of the request. [Client.GetRIDInfo] returns what the platform knows about it, for 7
	// days.
	RID string
	// Hint is an older identifier of the request.
	Hint string
	// Attempts is the number of requests that were sent for this call.
	Attempts int
	// FailedOpenIDs are the openids that were not processed, if Code is [CodeSomeOpenIDsFailed].
	FailedOpenIDs []string

	withoutToken bool // a request of Do that had no access token

	mark
}

// Error returns one line with the call, the code, the platform's text, the rid and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wechatuser: %s: %d", e.API, int(e.Code))
	text := e.Message
	if text == "" {
		text = e.Code.Text()
	}
	if text != "" {
		b.WriteString(" " + text)
	}
	if e.RID != "" {
		b.WriteString(" (rid " + e.RID + ")")
	} else if e.Hint != "" {
		b.WriteString(" (hint " + e.Hint + ")")
	}
	b.WriteString(attemptsNote(e.Attempts))
	b.WriteString(e.note())
	if remedy := e.Remedy(); remedy != "" {
		b.WriteString(": " + remedy)
	}
	return oneLine(b.String())
}

// Remedy returns what to do about the error, in English: that of its Code, or a better one for this call. It is empty
// for an unknown code.
func (e *Error) Remedy() string {
	switch {
	case e.Code == CodeDailyQuotaExceeded && isTokenAPI(e.API): // ClearQuota needs a token
		return "wait for the next day (Beijing time), or call ClearQuotaByAppSecret"
	case e.Code == CodeInvalidCredential && e.class()&classCredential != 0:
		return "check the app secret"
	}
	return e.Code.Remedy()
}

// ClientIP returns the IP address that the request came from, as the platform saw it. The message of [CodeIPNotAllowed]
// contains it, and perhaps that of other codes. If there is none, ClientIP returns the zero Addr, which is not valid.
func (e *Error) ClientIP() netip.Addr {
	for _, word := range strings.FieldsFunc(e.Message, func(r rune) bool { return r == ' ' || r == ',' || r == ';' }) {
		if addr, err := netip.ParseAddr(word); err == nil {
			return addr.Unmap()
		}
	}
	return netip.Addr{}
}

// Is reports whether target is the Code or a class of the error.
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return e.Code == code
	}
	return e.class().has(target)
}

func (e *Error) class() class {
	set := e.Code.class()
	// A request with the app secret gets 40001 for a wrong secret, and any other request for a rejected token.
	if e.Code == CodeInvalidCredential && (e.withoutToken || needsSecret(e.API)) {
		set = classCredential
	}
	return set | e.mark.class()
}

// needsSecret reports whether a request has the app secret and no access token.
func needsSecret(api string) bool {
	return isTokenAPI(api) || api == endpoints[clearQuotaByAppSecret].api
}

func isTokenAPI(api string) bool {
	return api == endpoints[accessToken].api || api == endpoints[stableToken].api
}

// isAuthorizerAPI reports whether a call is a token request of package authorizer.
func isAuthorizerAPI(api string) bool {
	return api == "getAuthorizerAccessToken" || api == "getComponentAccessToken"
}

// isOfAPI reports whether err is the error of such a call.
func isOfAPI(err error, is func(api string) bool) bool {
	var (
		refusal   *Error
		transport *TransportError
		response  *ResponseError
	)
	return errors.As(err, &refusal) && is(refusal.API) ||
		errors.As(err, &transport) && is(transport.API) ||
		errors.As(err, &response) && is(response.API)
}

// TransportError is a call without a response: the platform could not be reached, or the time ran out.
//
// It unwraps to its cause: errors.Is finds [context.DeadlineExceeded] and [context.Canceled], and errors.As
// [net.Error], [*net.OpError] and others of the standard library, but not [*url.Error]. An error of any other type can
// hold the request, so only its text is kept, and the sentinel errors that errors.Is finds in it.
type TransportError struct {
	// API is the official name of the call.
	API string
	// Method and Path are those of the request, such as GET and "/cgi-bin/tags/get". They are empty in the error of
	// [Client.Token] and [Client.RefreshToken] if nothing was sent.
	Method, Path string
	// Attempts is the number of requests that were sent or tried for this call.
	Attempts int
	// Err is the cause. It contains no secret, however it is printed or unwrapped.
	Err error

	mark
}

// Error returns one line with the call, the method and path of its request, and the cause.
func (e *TransportError) Error() string {
	var to string
	if e.Path != "" {
		to = " to " + e.Method + " " + e.Path
	}
	notes := to + attemptsNote(e.Attempts) + e.note()
	return oneLine(fmt.Sprintf("wechatuser: %s: no response%s: %v", e.API, notes, e.Err))
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Is matches [ErrTemporary], unless the caller canceled the call, and [ErrAmbiguous].
func (e *TransportError) Is(target error) bool {
	set := e.mark.class()
	if !errors.Is(e.Err, context.Canceled) {
		set |= classTemporary
	}
	return set.has(target)
}

// Timeout reports whether the time ran out, as [net.Error] does.
func (e *TransportError) Timeout() bool {
	var ne net.Error
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &ne) && ne.Timeout()
}

// ResponseError is a response that is not the platform's: not JSON, an HTTP status other than 2xx, a redirect, or a
// body that is truncated, empty, too large or without what the call asked for.
type ResponseError struct {
	// API is the official name of the call.
	API string
	// StatusCode is the HTTP status.
	StatusCode int
	// ContentType is the Content-Type of the response, without parameters for a token request.
	ContentType string
	// Snippet is the beginning of the body, in which secrets are redacted. Of a token request and one with
	// [Request.Secrets], whose response may hold a token, it is only the length of the body and the title of an HTML
	// page.
	Snippet string
	// Err is what was wrong with the response.
	Err error
	// Attempts is the number of requests that were sent for this call.
	Attempts int
	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration

	described bool // Snippet describes the body, because of Request.Secrets

	unfit    bool // the platform's JSON, which does not fit the out of [Client.Do]
	broken   bool // a list that is broken JSON: a part of it may be sound
	unproven bool // see ErrUnproven

	mark
}

// Error returns one line with the call, the status, what was wrong and the beginning of the body.
func (e *ResponseError) Error() string {
	var b strings.Builder
	what := "not a response of the platform"
	switch {
	case e.unfit:
		what = "a response of another form"
	case e.unproven:
		what = "a response that cannot be trusted"
	}
	fmt.Fprintf(&b, "wechatuser: %s: %s: HTTP status %d", e.API, what, e.StatusCode)
	if e.ContentType != "" {
		b.WriteString(" " + e.ContentType)
	}
	b.WriteString(attemptsNote(e.Attempts))
	b.WriteString(e.note())
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	switch {
	case e.Snippet == "":
	case e.described || isTokenAPI(e.API):
		b.WriteString(": " + e.Snippet)
	default:
		fmt.Fprintf(&b, ": %q", e.Snippet)
	}
	return oneLine(b.String())
}

// Unwrap returns what was wrong with the response.
func (e *ResponseError) Unwrap() error { return e.Err }

// Is matches [ErrTemporary] if a retry may help, [ErrRateLimited] for status 429, [ErrAmbiguous] and [ErrUnproven].
func (e *ResponseError) Is(target error) bool {
	set := e.mark.class()
	if e.unproven {
		return (set | classUnproven).has(target)
	}
	if retryableStatus(e.StatusCode) && !e.unfit && !errors.Is(e.Err, transport.ErrBodyTooLarge) && !errors.Is(e.Err, wire.ErrType) {
		set |= classTemporary
	}
	if e.StatusCode == http.StatusTooManyRequests {
		set |= classRateLimited
	}
	return set.has(target)
}

// ArgumentError is a wrong argument that was found before anything was sent.
type ArgumentError struct {
	// API is the official name of the call, or the Go name of the function if there is no call.
	API string
	// Field is the platform's name of the argument.
	Field string
	// Reason is what is wrong with it, and what to do.
	Reason string
}

// Error returns one line with the call, the argument and what is wrong with it.
func (e *ArgumentError) Error() string {
	return oneLine(fmt.Sprintf("wechatuser: %s: %s: %s", e.API, e.Field, e.Reason))
}

// Is matches [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return classInvalidArgument.has(target) }

// OpenIDError is the error of one openid of many.
type OpenIDError struct {
	OpenID string
	Err    error
}

// Error returns one line with the openid and the cause.
func (e *OpenIDError) Error() string { return oneLine(fmt.Sprintf("openid %q: %v", e.OpenID, e.Err)) }

// Unwrap returns the cause.
func (e *OpenIDError) Unwrap() error { return e.Err }

// tokenLimitError is the limit of token requests, with its classes.
type tokenLimitError struct{ *tokencache.LimitError }

func newTokenLimitError(wait time.Duration, last error) error {
	return &tokenLimitError{&tokencache.LimitError{Wait: wait, Last: last}}
}

func (e *tokenLimitError) Unwrap() error { return e.LimitError }

func (e *tokenLimitError) Is(target error) bool {
	return (classTemporary | classRateLimited).has(target)
}

// newTransportError returns the error of a call of the endpoint without a response.
func newTransportError(ep *endpoint, attempts int, err error) *TransportError {
	return &TransportError{API: ep.api, Method: ep.method, Path: ep.path, Attempts: attempts, Err: err}
}

// newRedactor returns a Redactor that keeps the errors of this package, which may come from another client.
func newRedactor(secrets ...string) redact.Redactor {
	return redact.New(secrets...).Rebuilding(rebuildError)
}

// rebuildError returns a copy of an error of this package without secrets.
func rebuildError(r redact.Redactor, err error) (error, bool) {
	switch e := err.(type) { //nolint:errorlint // r walks the chain
	case Code, class:
		return err, true
	case *Error:
		c := *e
		c.API, c.Message, c.RID, c.Hint = r.Text(e.API), r.Text(e.Message), r.Text(e.RID), r.Text(e.Hint)
		return &c, true
	case *TransportError:
		c := *e
		c.API, c.Err = r.Text(e.API), r.Error(e.Err)
		return &c, true
	case *ResponseError:
		c := *e
		c.API, c.ContentType, c.Snippet, c.Err = r.Text(e.API), r.Text(e.ContentType), r.Text(e.Snippet), r.Error(e.Err)
		return &c, true
	case *ArgumentError:
		return &ArgumentError{API: r.Text(e.API), Field: r.Text(e.Field), Reason: r.Text(e.Reason)}, true
	case *tokenLimitError:
		return newTokenLimitError(e.Wait, r.Error(e.Last)), true
	case *tokencache.LimitError: // of package authorizer
		return newTokenLimitError(e.Wait, r.Error(e.Last)), true
	}
	return nil, false
}

// argumentError returns the error for an argument that is wrong.
func argumentError(api, field, format string, args ...any) error {
	return &ArgumentError{API: api, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// markAmbiguous marks the error of a call that may have been applied by one of its attempts.
func markAmbiguous(err error, mayBeApplied bool) error {
	if err == nil || !mayBeApplied || errors.Is(err, ErrAmbiguous) {
		return err
	}
	// A copy is marked: others may hold the same error. That of a token request is not the error of the write itself.
	var marked error
	switch e := err.(type) { //nolint:errorlint // a call's own error is not wrapped
	case *Error:
		if !isTokenAPI(e.API) {
			c := *e
			c.ambiguous, marked = true, &c
		}
	case *TransportError:
		if !isTokenAPI(e.API) {
			c := *e
			c.ambiguous, marked = true, &c
		}
	case *ResponseError:
		if !isTokenAPI(e.API) {
			c := *e
			c.ambiguous, marked = true, &c
		}
	}
	if marked == nil {
		marked = fmt.Errorf("%w; of an earlier attempt: %w", err, ErrAmbiguous)
	}
	return marked
}

func attemptsNote(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (after %d attempts)", n)
}

// oneLine keeps an error on one line of a log, whatever the platform or a proxy wrote into it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
