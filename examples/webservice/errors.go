package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/wechatuser/wechatuser"
)

var (
	errNotFollower = errors.New("the user does not follow the account")
	errNoTag       = errors.New("there is no tag with this name")
)

// problem is the body of an error response. Code and RID are those of the platform.
type problem struct {
	Error string          `json:"error"`
	Class string          `json:"class,omitempty"` // empty if the request was at fault
	Code  wechatuser.Code `json:"errcode,omitempty"`
	RID   string          `json:"rid,omitempty"`

	retryAfter time.Duration
}

// describe maps an error to an HTTP status and a body. For problems between this service and WeChat, the body has only
// what the caller needs to report them, with errcode and rid; the full error is logged.
func (s *service) describe(err error) (status int, p problem) {
	var apiErr *wechatuser.Error
	if errors.As(err, &apiErr) {
		p.Code, p.RID = apiErr.Code, apiErr.RID
	}
	switch {
	case errors.Is(err, errNoTag), errors.Is(err, errNotFollower):
		p.Error = err.Error()
		return http.StatusNotFound, p
	case errors.Is(err, wechatuser.ErrNotFollowing), errors.Is(err, wechatuser.CodeInvalidOpenID),
		errors.Is(err, wechatuser.CodeOpenIDMismatch):
		p.Error = errNotFollower.Error()
		return http.StatusNotFound, p
	case errors.Is(err, wechatuser.CodeTooManyTagsOnUser):
		p.Error = p.Code.Meaning()
		return http.StatusConflict, p
	case errors.Is(err, wechatuser.CodeDailyQuotaExceeded):
		p.Error, p.Class, p.retryAfter = "the daily quota is exhausted", "quota", s.untilTomorrow()
		return http.StatusServiceUnavailable, p
	case errors.Is(err, wechatuser.ErrRateLimited):
		p.Error, p.Class, p.retryAfter = "too many calls", "quota", time.Minute
		if re := (*wechatuser.ResponseError)(nil); errors.As(err, &re) && re.RetryAfter > 0 {
			p.retryAfter = re.RetryAfter
		}
		return http.StatusTooManyRequests, p
	case errors.Is(err, context.Canceled):
		p.Error = "the request was canceled"
		return http.StatusServiceUnavailable, p
	case errors.Is(err, context.DeadlineExceeded):
		p.Error, p.Class = "WeChat did not respond in time", "unreachable"
		return http.StatusGatewayTimeout, p
	case errors.Is(err, wechatuser.ErrTemporary):
		p.Error, p.Class = "WeChat cannot be reached or is busy", "unreachable"
		return http.StatusBadGateway, p
	case errors.As(err, new(*wechatuser.ArgumentError)):
		p.Error = "the openid or the tag is malformed"
		return http.StatusBadRequest, p
	}
	p.Error, p.Class = "WeChat rejected the call of this service", "refused" // secret, whitelist or the account's rights
	return http.StatusBadGateway, p
}

// untilTomorrow returns the time until midnight in Beijing, when the daily quotas are reset.
func (s *service) untilTomorrow() time.Duration {
	now := s.now().In(time.FixedZone("UTC+8", 8*60*60))
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
	return midnight.Sub(now)
}

func (s *service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, p := s.describe(err)
	if status >= http.StatusInternalServerError {
		s.log.WarnContext(r.Context(), "request failed", "route", r.Pattern, "status", status, "error", err)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter/time.Second)+1))
	}
	writeJSON(w, status, p)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the client has disconnected
}
