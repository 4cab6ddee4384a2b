package sandbox

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"strings"
)

// handler returns a handler that serves the page at "/" and below /sandbox/, and the account at all other paths.
func (s *sandbox) handler() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", s.show)
	pages.Handle("GET /sandbox/static/", http.StripPrefix("/sandbox/static/", http.FileServerFS(static)))
	for name, act := range actions {
		pages.HandleFunc("POST /sandbox/"+name, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, act) })
		// The browser shows this URL after a failed form; reloading it leads back to the page.
		pages.Handle("GET /sandbox/"+name, http.RedirectHandler("/", http.StatusSeeOther))
	}
	pages.Handle("/", s.account)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := pages.Handler(r); pattern == "/" || !isPagePath(r.URL.Path) {
			s.account.ServeHTTP(w, r)
			return
		}
		if err := s.guard.check(r); err != nil {
			l := preferred(r.Header.Get("Accept-Language"))
			http.Error(w, say("Rejected: %v.", "已拒绝：%v。", err).in(l), http.StatusForbidden)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// isPagePath reports whether a path may belong to the page. All others go to the account as they are, since a ServeMux
// would redirect paths that are not clean.
func isPagePath(path string) bool { return path == "/" || strings.HasPrefix(path, "/sandbox/") }

// flashCookie passes the result of an action to the page across the redirect.
const flashCookie = "sandbox-note"

func setFlash(w http.ResponseWriter, text string) {
	http.SetCookie(w, &http.Cookie{
		Name: flashCookie, Value: base64.RawURLEncoding.EncodeToString([]byte(text)), Path: "/", MaxAge: 60,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func takeFlash(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(flashCookie)
	if err != nil {
		return ""
	}
	http.SetCookie(w, &http.Cookie{
		Name: flashCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return ""
	}
	return string(text)
}
