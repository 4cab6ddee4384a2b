package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Classes of errors, for errors.Is. A [Code] knows its classes, and so do the errors of this package.
var (
	// ErrInvalidToken: the platform refused the access token, and renewing it did not help.
	ErrInvalidToken error = classInvalidToken
	// ErrCredential: the platform gives no access token for this app ID, secret or IP address.
	ErrCredential error = classCredential
	// ErrRateLimited: a minute's, day's or month's quota is used up.
	ErrRateLimited error = classRateLimited
	// ErrPermission: the account has no right to make this call.
	ErrPermission error = classPermission
	// ErrNotFollowing: the user does not follow the account.
	ErrNotFollowing error = classNotFollowing
	// ErrInvalidArgument: the request was wrong. An [*ArgumentError] was found before anything was sent.
	ErrInvalidArgument error = classInvalidArgument
	// ErrTemporary: the same call may succeed later.
	ErrTemporary error = classTemporary
	// ErrAmbiguous: the platform may have applied this write, or not; no answer came back that tells.
	ErrAmbiguous error = classAmbiguous
)

// class is a set of error classes, one bit each.
type class uint16

const (
	classInvalidToken class = 1 << iota
	classCredential
	classRateLimited
	classPermission
	classNotFollowing
	classInvalidArgument
	classTemporary
	classAmbiguous
)

// has reports whether target is a class that is in the set.
func (c class) has(target error) bool {
	t, ok := target.(class)
	return ok && c&t != 0
}

var classNames = map[class]string{
	classInvalidToken:    "access token refused",
	classCredential:      "credential refused",
	classRateLimited:     "rate limited",
	classPermission:      "no permission",
	classNotFollowing:    "user does not follow",
	classInvalidArgument: "invalid argument",
	classTemporary:       "temporary failure",
	classAmbiguous:       "outcome unknown",
}

// Error names the class.
func (c class) Error() string { return "wechatuser: " + classNames[c] }

// Error is a refusal by the platform: an answer with an errcode.
//
// errors.Is matches it with its [Code] and with the classes, such as [ErrRateLimited].
type Error struct {
	// API is the official name of the call, such as "batchTagging".
	API string
	// Code is the errcode.
	Code Code
	// Message is the errmsg without rid and hint.
	Message string
	// RID identifies the request at the platform; [Client.GetRIDInfo] looks it up for 7 days.
	RID string
	// Hint is an older identifier of the request.
	Hint string
	// Attempts is how many requests were sent for this call.
	Attempts int
	// FailedOpenIDs lists the openids that were not processed, where Code is [CodeSomeOpenIDsFailed].
	FailedOpenIDs []string

	ambiguous bool
}

// Error is one line that names the call, the code, the platform's text, the rid and what to do.
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
	b.WriteString(ambiguousNote(e.ambiguous))
	if remedy := e.Code.Remedy(); remedy != "" {
		b.WriteString(": " + remedy)
	}
	return oneLine(b.String())
}

// Is matches the Code and the classes.
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return e.Code == code
	}
	return e.class().has(target)
}

func (e *Error) class() class {
	set := e.Code.class()
	// What is sent with the app secret gets 40001 for a wrong one, all else for a dead token.
	if e.Code == CodeInvalidCredential && (isTokenAPI(e.API) || e.API == endpoints[clearQuotaByAppSecret].api) {
		set = classCredential
	}
	if e.ambiguous {
		set |= classAmbiguous
	}
	return set
}

func isTokenAPI(api string) bool {
	return api == endpoints[accessToken].api || api == endpoints[stableToken].api
}

// TransportError is a call that got no answer: the platform could not be reached, or the time was over.
//
// errors.Is with [context.DeadlineExceeded] and [context.Canceled] and errors.As with [net.Error] see through it.
type TransportError struct {
	// API is the official name of the call.
	API string
	// Attempts is how many requests were sent or tried for this call.
	Attempts int
	// Err is the cause. No secret is in it, nor the URL of the request.
	Err error

	ambiguous bool
}

// Error is one line that names the call and the cause.
func (e *TransportError) Error() string {
	return oneLine(fmt.Sprintf("wechatuser: %s: no answer%s%s: %v", e.API, attemptsNote(e.Attempts), ambiguousNote(e.ambiguous), e.Err))
}

// Unwrap is the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Is matches [ErrTemporary], unless the caller cancelled the call, and [ErrAmbiguous].
func (e *TransportError) Is(target error) bool {
	var set class
	if !errors.Is(e.Err, context.Canceled) {
		set |= classTemporary
	}
	if e.ambiguous {
		set |= classAmbiguous
	}
	return set.has(target)
}

// Timeout reports whether the time was over, as [net.Error] does.
func (e *TransportError) Timeout() bool {
	var ne net.Error
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &ne) && ne.Timeout()
}

// ResponseError is an answer that is not the platform's: no JSON, no success status, a redirect, a body that is cut,
// empty or too large, or one that lacks what the call asked for.
type ResponseError struct {
	// API is the official name of the call.
	API string
	// StatusCode is the HTTP status.
	StatusCode int
	// ContentType is the header of the answer.
	ContentType string
	// Snippet is the beginning of the body, in which token and secret are masked.
	Snippet string
	// Err is what was wrong with the answer.
	Err error
	// Attempts is how many requests were sent for this call.
	Attempts int
	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration

	ambiguous bool
}

// Error is one line that names the call, the status, what was wrong and how the body begins.
func (e *ResponseError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wechatuser: %s: not an answer of the platform: HTTP status %d", e.API, e.StatusCode)
	if e.ContentType != "" {
		b.WriteString(" " + e.ContentType)
	}
	b.WriteString(attemptsNote(e.Attempts))
	b.WriteString(ambiguousNote(e.ambiguous))
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Snippet != "" {
		fmt.Fprintf(&b, ": %q", e.Snippet)
	}
	return oneLine(b.String())
}

// Unwrap is what was wrong with the answer.
func (e *ResponseError) Unwrap() error { return e.Err }

// Is matches [ErrTemporary] for what may pass, [ErrRateLimited] for status 429, and [ErrAmbiguous].
func (e *ResponseError) Is(target error) bool {
	var set class
	if repeatableStatus(e.StatusCode) && !errors.Is(e.Err, errBodyTooLarge) {
		set |= classTemporary
	}
	if e.StatusCode == http.StatusTooManyRequests {
		set |= classRateLimited
	}
	if e.ambiguous {
		set |= classAmbiguous
	}
	return set.has(target)
}

// ArgumentError is an argument that was refused before anything was sent.
type ArgumentError struct {
	// API is the official name of the call, or the Go name of the function where there is no call.
	API string
	// Field is the platform's name of the argument.
	Field string
	// Reason says what is wrong with it, and what to do.
	Reason string
}

// Error is one line that names the call, the argument and what is wrong with it.
func (e *ArgumentError) Error() string {
	return oneLine(fmt.Sprintf("wechatuser: %s: %s: %s", e.API, e.Field, e.Reason))
}

// Is matches [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return classInvalidArgument.has(target) }

// OpenIDError is what went wrong with one openid of many.
type OpenIDError struct {
	OpenID string
	Err    error
}

// Error names the openid and the cause.
func (e *OpenIDError) Error() string { return oneLine(fmt.Sprintf("openid %q: %v", e.OpenID, e.Err)) }

// Unwrap is the cause.
func (e *OpenIDError) Unwrap() error { return e.Err }

// ambiguously marks the error of a call whose write may have been applied by one of its attempts.
func ambiguously(err error, applied bool) error {
	if err == nil || !applied || errors.Is(err, ErrAmbiguous) {
		return err
	}
	switch e := err.(type) { //nolint:errorlint // an error of this call's own is not wrapped
	case *Error:
		if !isTokenAPI(e.API) {
			marked := *e
			marked.ambiguous = true
			return &marked
		}
	case *TransportError:
		if !isTokenAPI(e.API) {
			marked := *e
			marked.ambiguous = true
			return &marked
		}
	case *ResponseError:
		if !isTokenAPI(e.API) {
			marked := *e
			marked.ambiguous = true
			return &marked
		}
	}
	return fmt.Errorf("%w; of an earlier attempt: %w", err, ErrAmbiguous)
}

func attemptsNote(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (after %d attempts)", n)
}

func ambiguousNote(ambiguous bool) string {
	if !ambiguous {
		return ""
	}
	return " (the platform may have applied it)"
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
