package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// result is what a run in the process of the test printed, and its exit code.
type result struct {
	stdout, stderr string
	code           int
}

// inProcess runs a command in this process, so that a test can interrupt it at a moment of its choice.
func inProcess(t *testing.T, a *app, args ...string) result {
	t.Helper()
	code := a.run(t.Context(), args)
	return result{a.out.(*bytes.Buffer).String(), a.err.(*bytes.Buffer).String(), code}
}

// testApp returns an app for an account that a test serves, or for none if srv is nil.
func testApp(t *testing.T, srv *wechatusertest.Server) *app {
	t.Helper()
	env := map[string]string{"XDG_CONFIG_HOME": t.TempDir()}
	if srv != nil {
		t.Cleanup(srv.Close)
		env["WECHAT_APPID"], env["WECHAT_SECRET"], env["WECHAT_BASE_URL"] = srv.AppID, srv.Secret, srv.URL
	}
	getenv := func(name string) string { return env[name] }
	return newApp(strings.NewReader(""), new(bytes.Buffer), new(bytes.Buffer), getenv)
}
