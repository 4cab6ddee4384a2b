package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts the sandbox on a free port, and gives the URL that it prints.
func serve(t *testing.T, args ...string) (base string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), w, io.Discard) }()
	lines := bufio.NewScanner(r)
	require.True(t, lines.Scan(), "the first line")
	base = lines.Text()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-done, "it stops in peace")
		_ = w.Close()
		<-drained
	})
	return base
}

func get(t *testing.T, url string) (body, contentType string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: tr}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(data), resp.Header.Get("Content-Type")
}

// TestPlainRequests talks to the sandbox as curl would.
func TestPlainRequests(t *testing.T) {
	base := serve(t, "-appid", "wxTEST", "-secret", "TEST_SECRET", "-fans", "3")

	body, contentType := get(t, base+"/cgi-bin/token?grant_type=client_credential&appid=wxTEST&secret=TEST_SECRET")
	assert.Equal(t, "application/json; encoding=utf-8", contentType)
	assert.Regexp(t, `^\{"access_token":"[\w-]{100,}","expires_in":7200\}$`, body)
	token := strings.Split(body, `"`)[3]

	body, _ = get(t, base+"/cgi-bin/user/get?access_token="+token)
	assert.Regexp(t, `^\{"total":3,"count":3,"data":\{"openid":\["o[\w-]{27}","o[\w-]{27}","o[\w-]{27}"\]\},"next_openid":"o[\w-]{27}"\}$`, body)

	body, _ = get(t, base+"/cgi-bin/user/get?access_token=WRONG")
	assert.Regexp(t, `^\{"errcode":40001,"errmsg":"invalid credential.* rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`, body)
}

func TestWithTheSDK(t *testing.T) {
	base := serve(t, "-fans", "12")
	c, err := wechatuser.New("wx0000000000000000", strings.Repeat("0", 32), wechatuser.WithBaseURL(base),
		wechatuser.WithTransport(&http.Transport{DisableKeepAlives: true}))
	require.NoError(t, err)

	page, err := c.GetFans(t.Context(), "")

	require.NoError(t, err)
	assert.Equal(t, 12, page.Total)
}

func TestRefusals(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, args := range map[string][]string{
		"an argument":       {"serve"},
		"an unknown flag":   {"-port", "1"},
		"no app ID":         {"-appid", ""},
		"followers":         {"-fans", "-1"},
		"a port in use":     {"-addr", taken.Addr().String()},
		"no address":        {"-addr", "nowhere"},
		"not even a number": {"-fans", "many"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Error(t, run(t.Context(), args, io.Discard, io.Discard))
		})
	}
}
