package main

import (
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"slices"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
)

// service is the HTTP side of the platform.
type service struct {
	platform *authorizer.Platform
	push     http.Handler
	url      string // of this server
	options  []wechatuser.Option
	log      *slog.Logger
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/push", s.push)
	mux.HandleFunc("GET /authorize", s.handle(s.authorize))
	mux.HandleFunc("GET /authorized", s.handle(s.authorized))
	mux.HandleFunc("GET /fans", s.handle(s.fans))
	return mux
}

// handle responds with the HTML text that f returns, or with a status for its error. It logs the error, which says what
// to do.
func (s *service) handle(f func(*http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := f(r)
		if err == nil {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintln(w, text)
			return
		}
		s.log.ErrorContext(r.Context(), "request failed", slog.String("path", r.URL.Path), slog.Any("error", err))
		status := http.StatusBadGateway
		switch {
		case errors.Is(err, wechatuser.ErrInvalidArgument):
			status = http.StatusBadRequest
		case errors.Is(err, wechatuser.ErrPermission), errors.Is(err, authorizer.ErrNotAuthorized),
			errors.Is(err, wechatuser.CodeAuthorizationVoided):
			status = http.StatusForbidden // the account has to authorize the platform, again or more of it
		case errors.Is(err, authorizer.ErrNoTicket), errors.Is(err, wechatuser.ErrTemporary):
			status = http.StatusServiceUnavailable
		}
		http.Error(w, http.StatusText(status), status)
	}
}

// authorize returns a page with the link to WeChat's page. WeChat requires a link; a redirect does not work.
func (s *service) authorize(r *http.Request) (string, error) {
	link, err := s.platform.AuthorizationURL(r.Context(), s.url+"/authorized")
	return `<a href="` + html.EscapeString(link) + `">Authorize</a>`, err
}

// authorized is where WeChat sends the browser of an administrator who has authorized the platform.
func (s *service) authorized(r *http.Request) (string, error) {
	a, err := s.platform.ExchangeCode(r.Context(), r.FormValue("auth_code"))
	return html.EscapeString(a.AppID) + " has authorized the platform.", err
}

// fans makes a call for an account.
func (s *service) fans(r *http.Request) (string, error) {
	source := s.platform.Source(r.FormValue("appid"))
	c, err := wechatuser.New(source.AppID(), "", slices.Concat(s.options, []wechatuser.Option{wechatuser.WithTokenSource(source)})...)
	if err != nil {
		return "", err
	}
	page, err := c.GetFans(r.Context(), "")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d followers", page.Total), nil
}
