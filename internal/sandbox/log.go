package sandbox

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// callLog writes one line per call.
type callLog struct {
	secret string

	mu sync.Mutex
	w  io.Writer
}

// write is a hook for [wechatusertest.WithRequestHook]:
//
//	2026-03-10 12:00:00.000 batchTagging errcode=45159 POST /cgi-bin/tags/members/batchtagging rid=69af… 812µs
func (l *callLog) write(r wechatusertest.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s ", r.Time.In(beijing).Format("2006-01-02 15:04:05.000"), apiOf(r))
	switch {
	case r.Status == 0:
		b.WriteString("no-response ")
	case r.Status != 200:
		fmt.Fprintf(&b, "http=%d ", r.Status)
	}
	fmt.Fprintf(&b, "errcode=%d %s %s", r.Errcode, r.Method, pathOf(r, l.secret))
	if r.RID != "" {
		fmt.Fprintf(&b, " rid=%s", r.RID)
	}
	if r.Fault != "" {
		fmt.Fprintf(&b, " fault=%q", r.Fault)
	}
	fmt.Fprintf(&b, " %s\n", formatDuration(r.Duration))
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.w, b.String())
}

// beijing is the time zone of the platform, whose quotas are reset at midnight.
var beijing = time.FixedZone("UTC+8", 8*60*60)

func apiOf(r wechatusertest.Request) string {
	if r.API == "" {
		return "(unknown)"
	}
	return r.API
}

// pathOf returns the path of a call, redacted and quoted unless it is that of an API: a caller may send anything.
func pathOf(r wechatusertest.Request, secret string) string {
	if r.API != "" {
		return r.Path
	}
	path := strconv.Quote(redact(r.Path, secret))
	path = path[1 : len(path)-1]
	if len(path) > 200 {
		path = path[:200] + "…"
	}
	return path
}

var tokenForm = regexp.MustCompile(`\d+_[\w-]{100,}`)

// redact removes the secret and access tokens from places where they do not belong. Where they do belong, the account
// has redacted them.
func redact(text, secret string) string {
	return tokenForm.ReplaceAllString(strings.ReplaceAll(text, secret, "xxxx"), "xxxx")
}

func formatDuration(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
