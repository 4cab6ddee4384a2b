package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func grep(log *bytes.Buffer, what string) string {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// failNext makes the next call fail with an errcode.
func failNext(code wechatuser.Code) func(*wechatusertest.Server) {
	return func(s *wechatusertest.Server) { s.FailNext("*", code, 1) }
}

func TestErrorResponses(t *testing.T) {
	for name, c := range map[string]struct {
		setup      func(*wechatusertest.Server)
		status     int
		retryAfter string
		errcode    wechatuser.Code
		health     string
	}{
		"minute quota": {failNext(wechatuser.CodeMinuteQuotaExceeded), 429, "61", 45011, "quota"},
		"daily quota":  {failNext(wechatuser.CodeDailyQuotaExceeded), 503, "3601", 45009, "quota"},
		"busy":         {failNext(wechatuser.CodeSystemBusy), 502, "", -1, "unreachable"},
		"no right":     {failNext(wechatuser.CodeAPIUnauthorized), 502, "", 48001, "refused"},
		"unknown code": {failNext(99999), 502, "", 99999, "refused"},
		"whitelist": {func(s *wechatusertest.Server) {
			s.FailNext("/cgi-bin/stable_token", wechatuser.CodeIPNotAllowed, 1)
		}, 502, "", 40164, "refused"},
		"gateway": {func(s *wechatusertest.Server) {
			s.FailNextHTTP("*", 502, "<html>"+secret, 1)
		}, 502, "", 0, "unreachable"},
		"no response": {func(s *wechatusertest.Server) { s.DropAnswers("*", 1) }, 502, "", 0, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.now = func() time.Time { return time.Date(2026, 1, 1, 15, 0, 0, 0, time.UTC) } // 23:00 in Beijing
			c.setup(f.account)

			res := f.do(t, "GET", "/followers/"+openID)

			assert.Equal(t, c.status, res.status)
			assert.Equal(t, c.retryAfter, res.header.Get("Retry-After"))
			assert.NotEmpty(t, res.body["error"])
			if c.errcode != 0 {
				assert.EqualValues(t, c.errcode, res.body["errcode"])
				assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, res.body["rid"])
			}
			assert.Equal(t, c.status >= 500, grep(f.log, "request failed") != "")
			assert.Equal(t, c.health, f.do(t, "GET", "/healthz").body["wechat"])
		})
	}
}
