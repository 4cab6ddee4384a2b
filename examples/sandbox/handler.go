package main

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// sandbox is the account with its page.
type sandbox struct {
	account *wechatusertest.Server
	quirks  wechatusertest.Quirks
	state   *stateFile
	guard   *guard

	mu sync.Mutex // one action at a time
}

// handler gives the page "/" and paths below /sandbox/, and all others to the account.
func (s *sandbox) handler() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // it is in the program
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", s.show)
	pages.Handle("GET /sandbox/static/", http.StripPrefix("/sandbox/static/", http.FileServerFS(static)))
	for name, act := range actions {
		pages.HandleFunc("POST /sandbox/"+name, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, act) })
		pages.Handle("GET /sandbox/"+name, http.RedirectHandler("/", http.StatusSeeOther)) // a refused form's address, typed again
	}
	pages.Handle("/", s.account)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := pages.Handler(r); pattern == "/" || !isPagePath(r.URL.Path) {
			s.account.ServeHTTP(w, r)
			return
		}
		if err := s.guard.check(r); err != nil {
			http.Error(w, "Refused: "+err.Error()+".", http.StatusForbidden)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// isPagePath keeps the account's paths as they came, since a ServeMux would redirect those that it finds untidy.
func isPagePath(path string) bool { return path == "/" || strings.HasPrefix(path, "/sandbox/") }

// noteCookie carries what an action has done over the redirect to the page.
const noteCookie = "sandbox-note"

func leaveNote(w http.ResponseWriter, text string) {
	http.SetCookie(w, &http.Cookie{
		Name: noteCookie, Value: base64.RawURLEncoding.EncodeToString([]byte(text)), Path: "/", MaxAge: 60,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func takeNote(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(noteCookie)
	if err != nil {
		return ""
	}
	http.SetCookie(w, &http.Cookie{Name: noteCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return ""
	}
	return string(text)
}
