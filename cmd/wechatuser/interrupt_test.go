package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Ctrl-C while a plan is prepared leaves the account as it is, --yes or not.
func TestInterruptBeforeAChange(t *testing.T) {
	var a *app
	srv := wechatusertest.NewServer(wechatusertest.WithRequestHook(func(r wechatusertest.Request) {
		if r.Path == "/cgi-bin/openapi/quota/get" {
			a.interrupt()
		}
	}))
	srv.AddTag("vip")
	a = testApp(t, srv)

	got := inProcess(t, a, "tags", "delete", "vip", "--yes")

	assert.Equal(t, exitDeclined, got.code)
	assert.Contains(t, got.stderr, "nothing was changed: interrupted")
	assert.Len(t, srv.Tags(), 1)
}

// Ctrl-C ends a wait for stdin.
func TestInterruptWhileReading(t *testing.T) {
	for _, args := range [][]string{{"tags", "add", "vip", "-f", "-"}, {"call", "/cgi-bin/x", "-d", "-"}} {
		stdin, other := io.Pipe()
		a := newApp(stdin, new(bytes.Buffer), new(bytes.Buffer), func(string) string { return "" })
		a.interrupt()
		got := inProcess(t, a, append(args, "--sandbox", "--lang", "zh")...)
		assert.Equal(t, exitStopped, got.code)
		assert.Equal(t, "wechatuser: 已中断\n", got.stderr)

		assert.False(t, a.ask("Go on?"))
		require.NoError(t, other.Close()) // ends what still reads
	}
}

func TestInterruptIsExplained(t *testing.T) {
	a := testApp(t, nil)
	a.chinese = true
	failed := errors.Join(errors.New("getTags: no response"), context.Canceled)
	assert.NotEqual(t, "已中断", a.explain(failed), "not by the user")
	a.interrupt()
	assert.Equal(t, "已中断", a.explain(failed))
}

// A list that stops says where to go on, in both languages.
func TestListGoesOn(t *testing.T) {
	for lang, want := range map[string]string{"en": "\nTo go on, add: --after ", "zh": "\n如需继续，请添加：--after "} {
		srv := newServer(t, wechatusertest.WithFans(25), wechatusertest.WithPageSize(10),
			wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0))
		got := onServer(t, srv, "--lang", lang, "fans")
		assert.Equal(t, exitFailed, got.code)
		assert.Contains(t, got.stderr, want+srv.OpenIDs()[9])
		assert.Contains(t, got.stderr, "45009")
	}
	got := run(t, "--sandbox", "fans", "--after", "bogus")
	assert.NotContains(t, got.stderr, "To go on", "it would fail again")
}

// A result that cannot be written is a failure.
func TestLostResult(t *testing.T) {
	a := testApp(t, newServer(t, wechatusertest.WithFans(1)))
	a.out = brokenWriter{}
	assert.Equal(t, exitFailed, a.run(t.Context(), []string{"tags", "add", "vip", wechatusertest.OpenID(0), "--yes"}))
	assert.Contains(t, a.err.(*bytes.Buffer).String(), "no space left")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// Ctrl-C ends a command that only reads at once, even in a call that hangs, and says what is so.
func TestInterruptWhileACallHangs(t *testing.T) {
	for _, c := range []struct{ args, path, want string }{
		{"fans", "/cgi-bin/user/get", "interrupted\n"},
		{"fans --count", "/cgi-bin/user/get", "interrupted\n"},
		{"user " + wechatusertest.OpenID(0), "/cgi-bin/user/info/batchget", "interrupted\n"},
		{"tags", "/cgi-bin/tags/get", "interrupted\n"},
		{"blacklist", "/cgi-bin/tags/members/getblacklist", "interrupted\n"},
		{"quota", "/cgi-bin/openapi/quota/get", "interrupted\n"},
		{"rid 61725984-6126f6f9-040f19c4", "/cgi-bin/openapi/rid/get", "interrupted\n"},
		{"call /cgi-bin/tags/get", "/cgi-bin/tags/get", "interrupted\n"},
		{"campaign vip", "/cgi-bin/user/get", "Nothing was changed. To go on, run it again.\n"},
		{"campaign vip", "/cgi-bin/user/info/batchget", "Nothing was changed. To go on, run it again.\n"},
		{"sync vip /dev/null --force", "/cgi-bin/user/tag/get", "Nothing was changed. To go on, run it again.\n"},
	} {
		t.Run(c.args+" "+c.path, func(t *testing.T) {
			srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
			srv.AddTag("vip")
			a := testApp(t, srv)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != c.path {
					srv.ServeHTTP(w, r)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client is gone
				a.interrupt()
				<-r.Context().Done()
			}))
			defer front.Close()
			env := a.env
			a.env = func(name string) string {
				if name == "WECHAT_BASE_URL" {
					return front.URL
				}
				return env(name)
			}
			got := inProcess(t, a, append(strings.Fields(c.args), "--yes")...)
			assert.Equal(t, exitStopped, got.code, got.stderr)
			assert.Contains(t, got.stderr, c.want)
			assert.Empty(t, got.stdout)
		})
	}
}
