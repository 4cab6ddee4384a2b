package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
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

// follower returns the profile of one follower.
func (s *service) follower(ctx context.Context, r *http.Request) (any, error) {
	user, err := s.wechat.GetUserInfo(ctx, r.PathValue("openid"))
	if err == nil && !user.Subscribed() {
		err = errNotFollower
	}
	return user, err
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
