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

	lastErr atomic.Pointer[error] // of the last call, for the health check; nil before it

	mu     sync.Mutex
	tagIDs map[string]int // by name, as the platform last told
}

func newService(log *slog.Logger) *service { return &service{log: log, now: time.Now} }

// requestTimeout is below what load balancers usually allow, so that the answer says what happened.
const requestTimeout = 20 * time.Second

// The paths of the API.
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
				s.fail(w, r, err)
				return
			}
			reply(w, http.StatusOK, body)
		})
	}
	mux.HandleFunc(healthPath, s.health)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string][]string{"paths": paths})
	})
	return mux
}

var (
	errNotFollower = errors.New("this openid is not a follower's")
	errNoTag       = errors.New("there is no tag of this name")
)

// follower gives the profile of one follower.
func (s *service) follower(ctx context.Context, r *http.Request) (any, error) {
	user, err := s.wechat.GetUserInfo(ctx, r.PathValue("openid"))
	if err == nil && !user.Subscribed() {
		err = errNotFollower
	}
	return user, err
}

// tag gives a follower a tag. It makes no tag, so that a typing error does not take one of the account's
// 100; where any name will do, use EnsureTag.
func (s *service) tag(ctx context.Context, r *http.Request) (any, error) {
	openID, name := r.PathValue("openid"), r.PathValue("name")
	id, err := s.tagID(ctx, name)
	if err != nil {
		return nil, err
	}
	err = s.wechat.BatchTagging(ctx, id, []string{openID})
	if errors.Is(err, wechatuser.CodeInvalidTagID) {
		s.forgetTags() // somebody has deleted it
		err = errNoTag
	}
	return map[string]any{"openid": openID, "tag": name}, err
}

// tagID asks the platform only for a name that it has not told before.
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

// remember is an interceptor that keeps the outcome of the last call.
func (s *service) remember(
	ctx context.Context, _ wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	res, err := next(ctx)
	s.lastErr.Store(&err)
	return res, err
}

// health makes no call: an orchestrator asks every few seconds, and the platform counts calls. It
// says what the last call met, with status 200 all the same, since a restart would mend nothing.
func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	state := "not called yet"
	if last := s.lastErr.Load(); last != nil {
		if state = "ok"; *last != nil {
			_, p := s.describe(*last)
			state = cmp.Or(p.Class, "ok") // a wrong openid is no trouble
		}
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok", "wechat": state})
}

// problem is the body of an answer that is no success. Code and RID are the platform's.
type problem struct {
	Error string          `json:"error"`
	Class string          `json:"class,omitempty"` // of troubles that are not the request's
	Code  wechatuser.Code `json:"errcode,omitempty"`
	RID   string          `json:"rid,omitempty"`

	retryAfter time.Duration
}

// describe turns an error into an HTTP status. What it says of troubles between this service and WeChat is for the
// caller to report, with the errcode and the rid; the error as it is goes to the log.
func (s *service) describe(err error) (status int, p problem) {
	var refused *wechatuser.Error
	if errors.As(err, &refused) {
		p.Code, p.RID = refused.Code, refused.RID
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
		p.Error, p.Class, p.retryAfter = "the day's calls are used up", "quota", s.untilTomorrow()
		return http.StatusServiceUnavailable, p
	case errors.Is(err, wechatuser.ErrRateLimited):
		p.Error, p.Class, p.retryAfter = "too many calls at the moment", "quota", time.Minute
		if re := (*wechatuser.ResponseError)(nil); errors.As(err, &re) && re.RetryAfter > 0 {
			p.retryAfter = re.RetryAfter
		}
		return http.StatusTooManyRequests, p
	case errors.Is(err, context.Canceled):
		p.Error = "the request was cancelled"
		return http.StatusServiceUnavailable, p
	case errors.Is(err, context.DeadlineExceeded):
		p.Error, p.Class = "WeChat did not answer in time", "unreachable"
		return http.StatusGatewayTimeout, p
	case errors.Is(err, wechatuser.ErrTemporary):
		p.Error, p.Class = "WeChat can't be reached or is busy", "unreachable"
		return http.StatusBadGateway, p
	case errors.As(err, new(*wechatuser.ArgumentError)):
		p.Error = "the openid or the tag is malformed"
		return http.StatusBadRequest, p
	}
	p.Error, p.Class = "WeChat refuses this service", "refused" // the secret, the whitelist, the account's rights
	return http.StatusBadGateway, p
}

// untilTomorrow is the time to midnight in Beijing, when the day's quotas begin anew.
func (s *service) untilTomorrow() time.Duration {
	now := s.now().In(time.FixedZone("UTC+8", 8*60*60))
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
	return midnight.Sub(now)
}

func (s *service) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, p := s.describe(err)
	if status >= http.StatusInternalServerError {
		s.log.WarnContext(r.Context(), "request failed", "route", r.Pattern, "status", status, "error", err)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter/time.Second)+1))
	}
	reply(w, status, p)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the caller has gone
}
