package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv("PLATFORM_APPID")
	goleak.VerifyTestMain(m)
}

// get sends a request to the service, without a socket.
func get(s *service, target string) (int, string) {
	w := httptest.NewRecorder()
	s.routes().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestService(t *testing.T) {
	var out, log bytes.Buffer
	s, err := newService(t.Context(), &out, slog.New(slog.NewJSONHandler(&log, nil)))
	require.NoError(t, err)
	s.url = "https://example.com"
	_, rest, _ := strings.Cut(out.String(), "/fans?appid=")
	appID, _, _ := strings.Cut(rest, " ")

	status, body := get(s, "/fans?appid="+appID)
	assert.Equal(t, 200, status)
	assert.Equal(t, "10 followers", body)
	_, body = get(s, "/authorize")
	assert.Contains(t, body, "componentloginpage")
	assert.Contains(t, body, "https%3A%2F%2Fexample.com%2Fauthorized")
	for target, want := range map[string]int{
		"/fans?appid=wxOTHER": 403, "/fans": 400, "/authorized": 400, "/authorized?auth_code=x": 400, "/push": 404,
	} {
		status, _ := get(s, target)
		assert.Equal(t, want, status, target)
	}
	assert.Contains(t, log.String(), "ask its administrator to authorize it")
}

func TestAuthorized(t *testing.T) {
	wechat := wechatusertest.NewPlatform(wechatusertest.WithoutListener())
	simulated := wechatuser.WithTransport(wechat.Transport())
	platform, err := authorizer.New(wechat.AppID, wechat.Secret, authorizer.NewMemoryStore(),
		authorizer.WithClientOptions(simulated))
	require.NoError(t, err)
	s := &service{platform: platform, push: http.NotFoundHandler(), log: slog.New(slog.DiscardHandler), url: "https://x"}
	status, _ := get(s, "/authorize")
	assert.Equal(t, 503, status, "no ticket yet")
	require.NoError(t, platform.SaveTicket(t.Context(), wechat.Ticket()))
	s.options = append(s.options, simulated)
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wxNEW", "unused"))
	status, body := get(s, "/authorized?auth_code="+wechat.Authorize(account))
	assert.Equal(t, 200, status)
	assert.Equal(t, "wxNEW has authorized the platform.", body)
	status, body = get(s, "/fans?appid=wxNEW")
	assert.Equal(t, 200, status)
	assert.Equal(t, "0 followers", body)
	wechat.ChangePassword("wxNEW")
	status, _ = get(s, "/fans?appid=wxNEW")
	assert.Equal(t, 403, status)
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-addr", "127.0.0.1:0"}, in, io.Discard) }()
	buf := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "Ctrl-C"); {
		n, err := out.Read(buf)
		require.NoError(t, err)
		text += string(buf[:n])
	}
	cancel()
	require.NoError(t, <-done)

	t.Setenv("PLATFORM_APPID", "wx1")
	t.Setenv("PLATFORM_SECRET", "s")
	require.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "EncodingAESKey")
	require.Error(t, run(t.Context(), []string{"-x"}, io.Discard, io.Discard))
}
