package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
)

// service is the HTTP API.
type service struct {
	wechat *wechatuser.Client
	log    *slog.Logger
	now    func() time.Time

	lastErr atomic.Pointer[error] // of the last call, for the health check; nil if there was none

	mu     sync.Mutex
	tagIDs map[string]int // by name, from the last tag list
}

func newService(log *slog.Logger) *service { return &service{log: log, now: time.Now} }

// requestTimeout is below the usual timeout of load balancers, so that the response says what happened.
const requestTimeout = 20 * time.Second

// The routes of the API.
const (
	followerPath = "GET /followers/{openid}"
	tagPath      = "PUT /followers/{openid}/tags/{name}"
	healthPath   = "GET /healthz"
)

var paths = []string{followerPath, tagPath, healthPath}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(context.Context, *http.Request) (any, error){
		followerPath: s.follower,
		tagPath:      s.tag,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
			defer cancel()
			body, err := handle(ctx, r)
			if err != nil {
				s.writeError(w, r, err)
				return
			}
			writeJSON(w, http.StatusOK, body)
		})
	}
	mux.HandleFunc(healthPath, s.health)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string][]string{"paths": paths})
	})
	return mux
}

var (
	errNotFollower = errors.New("the user does not follow the account")
	errNoTag       = errors.New("there is no tag with this name")
)

// follower returns the profile of one follower.
func (s *service) follower(ctx context.Context, r *http.Request) (any, error) {
	user, err := s.wechat.GetUserInfo(ctx, r.PathValue("openid"))
	if err == nil && !user.Subscribed() {
		err = errNotFollower
	}
	return user, err
}

// tag adds a tag to a follower. It does not create tags, so that a typo does not use up one of the account's 100. To
// create missing tags, use EnsureTag.
func (s *service) tag(ctx context.Context, r *http.Request) (any, error) {
	openID, name := r.PathValue("openid"), r.PathValue("name")
	id, err := s.tagID(ctx, name)
	if err != nil {
		return nil, err
	}
	err = s.wechat.BatchTagging(ctx, id, []string{openID})
	if errors.Is(err, wechatuser.CodeInvalidTagID) {
		s.forgetTags() // the tag was deleted
		err = errNoTag
	}
	return map[string]any{"openid": openID, "tag": name}, err
}

// tagID returns the ID of a tag. It reads the tag list only for an unknown name.
func (s *service) tagID(ctx context.Context, name string) (int, error) {
	s.mu.Lock()
	id, known := s.tagIDs[name]
	s.mu.Unlock()
	if known {
		return id, nil
	}
	tags, err := s.wechat.GetTags(ctx)
	if err != nil {
		return 0, err
	}
	ids := make(map[string]int, len(tags))
	for _, t := range tags {
		ids[t.Name] = t.ID
	}
	s.mu.Lock()
	s.tagIDs = ids
	s.mu.Unlock()
	if id, known = ids[name]; !known {
		return 0, errNoTag
	}
	return id, nil
}

func (s *service) forgetTags() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tagIDs = nil
}

// recordOutcome is an interceptor that keeps the error of the last call.
func (s *service) recordOutcome(
	ctx context.Context, _ wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	res, err := next(ctx)
	s.lastErr.Store(&err)
	return res, err
}

// health reports the outcome of the last call. It makes no call, since orchestrators check every few seconds and calls
// are limited. The status is always 200, since a restart would not fix a failing call.
func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	state := "not called yet"
	if last := s.lastErr.Load(); last != nil {
		if state = "ok"; *last != nil {
			_, p := s.describe(*last)
			state = cmp.Or(p.Class, "ok") // an invalid openid is the caller's error
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "wechat": state})
}

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
