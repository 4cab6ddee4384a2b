// Package tokenserver serves the access token of an account to the other programs of a company, so that only this
// server needs the app secret. Package examples/tokenclient is its client.
package tokenserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// server serves the access token of one account.
//
//	GET  /token           returns the current token
//	POST /token/refused   reports that WeChat rejected {"access_token": …}, and returns the current token
//
// Both return {"access_token": …, "expires_in": seconds} and require the key: Authorization: Bearer KEY.
type server struct {
	wechat *wechatuser.Client
	key    [sha256.Size]byte
	log    *slog.Logger

	checking   chan struct{} // has capacity 1; held while a token is checked, and guards the fields below
	verified   string        // the token that WeChat accepted in the last check
	verifiedAt time.Time
}

// recheckInterval is the time after a successful check in which the same token is not checked again.
const recheckInterval = 10 * time.Second

// New returns a handler that serves the token of c to programs that have the key. It logs requests for which there is
// no token, without tokens and keys.
func New(c *wechatuser.Client, key string, log *slog.Logger) http.Handler {
	s := &server{wechat: c, key: sha256.Sum256([]byte(key)), log: log, checking: make(chan struct{}, 1)}
	return s.routes()
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		t, err := s.wechat.Token(r.Context())
		s.respond(w, r, t, err)
	})
	mux.HandleFunc("POST /token/refused", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			AccessToken string `json:"access_token"`
		}
		if json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&in) != nil || in.AccessToken == "" {
			writeError(w, http.StatusBadRequest, "the body must be {\"access_token\": …}")
			return
		}
		t, err := s.replace(r.Context(), in.AccessToken)
		s.respond(w, r, t, err)
	})
	return s.authorized(mux)
}

// replace returns the current token, after refreshing it if it is the rejected one and WeChat really rejects it. It
// checks the token with a small call, and the SDK refreshes a rejected token once for all concurrent calls. A false
// report thus does not invalidate the token for others.
func (s *server) replace(ctx context.Context, rejected string) (wechatuser.Token, error) {
	select {
	case s.checking <- struct{}{}:
		defer func() { <-s.checking }()
	case <-ctx.Done():
		return wechatuser.Token{}, ctx.Err()
	}
	t, err := s.wechat.Token(ctx)
	if err != nil || t.AccessToken != rejected || s.verified == rejected && time.Since(s.verifiedAt) < recheckInterval {
		return t, err
	}
	if _, err := s.wechat.GetAPIDomainIP(ctx); err != nil {
		return wechatuser.Token{}, err
	}
	if t, err = s.wechat.Token(ctx); err == nil {
		s.verified, s.verifiedAt = t.AccessToken, time.Now()
	}
	return t, err
}

// authorized rejects requests without the key. As RFC 9110 has it, the scheme is written in any case.
func (s *server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(strings.TrimLeft(key, " ")))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(sum[:], s.key[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, http.StatusUnauthorized, "wrong key")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) respond(w http.ResponseWriter, r *http.Request, t wechatuser.Token, err error) {
	if err != nil {
		s.log.WarnContext(r.Context(), "no token available", "route", r.Pattern, "error", err)
		writeError(w, http.StatusBadGateway, err.Error()) // errors of the SDK contain no secret
		return
	}
	seconds := int64(time.Until(t.ExpiresAt) / time.Second)
	writeJSON(w, http.StatusOK, map[string]any{"access_token": t.AccessToken, "expires_in": seconds})
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the client has disconnected
}
