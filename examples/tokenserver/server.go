package main

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

// server hands out the access token of one account.
//
//	GET  /token           the token of now
//	POST /token/refused   the token of now, after {"access_token": …} was refused by WeChat
//
// Both answer {"access_token": …, "expires_in": seconds}, to whoever has the key: Authorization: Bearer KEY.
type server struct {
	wechat *wechatuser.Client
	key    [sha256.Size]byte
	log    *slog.Logger

	trying chan struct{} // holds one element while a token is tried, and guards what follows
	proven string        // the token that WeChat took when it was tried
	at     time.Time     // when
}

// tryPause is how long a token that WeChat took is not tried again, whoever says that it was refused.
const tryPause = 10 * time.Second

func newServer(c *wechatuser.Client, key string, log *slog.Logger) *server {
	return &server{wechat: c, key: sha256.Sum256([]byte(key)), log: log, trying: make(chan struct{}, 1)}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		t, err := s.wechat.Token(r.Context())
		s.reply(w, r, t, err)
	})
	mux.HandleFunc("POST /token/refused", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			AccessToken string `json:"access_token"`
		}
		if json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&in) != nil || in.AccessToken == "" {
			fail(w, http.StatusBadRequest, "the body is not {\"access_token\": …}")
			return
		}
		t, err := s.replace(r.Context(), in.AccessToken)
		s.reply(w, r, t, err)
	})
	return s.authorized(mux)
}

// replace gives another token than the refused one, if that is the token of now and WeChat refuses it indeed. It tries
// it with a small call, and the client does the rest: it renews a token that is refused, once, for all who wait. A client
// that is wrong about a token thus ends it for nobody.
func (s *server) replace(ctx context.Context, refused string) (wechatuser.Token, error) {
	select {
	case s.trying <- struct{}{}:
		defer func() { <-s.trying }()
	case <-ctx.Done():
		return wechatuser.Token{}, ctx.Err()
	}
	t, err := s.wechat.Token(ctx)
	if err != nil || t.AccessToken != refused || s.proven == refused && time.Since(s.at) < tryPause {
		return t, err
	}
	if _, err := s.wechat.GetAPIDomainIP(ctx); err != nil {
		return wechatuser.Token{}, err
	}
	if t, err = s.wechat.Token(ctx); err == nil {
		s.proven, s.at = t.AccessToken, time.Now()
	}
	return t, err
}

// authorized lets in who has the key.
func (s *server) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(key))
		if !found || subtle.ConstantTimeCompare(sum[:], s.key[:]) != 1 {
			fail(w, http.StatusUnauthorized, "wrong key")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) reply(w http.ResponseWriter, r *http.Request, t wechatuser.Token, err error) {
	if err != nil {
		s.log.WarnContext(r.Context(), "no token", "route", r.Pattern, "error", err)
		fail(w, http.StatusBadGateway, err.Error()) // errors of the SDK hold no secret
		return
	}
	seconds := int64(time.Until(t.ExpiresAt) / time.Second)
	write(w, http.StatusOK, map[string]any{"access_token": t.AccessToken, "expires_in": seconds})
}

func fail(w http.ResponseWriter, status int, text string) {
	write(w, status, map[string]string{"error": text})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the caller has gone
}
