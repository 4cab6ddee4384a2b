package wechatuser_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch returns an interceptor that records the names of the calls, unless calls is nil.
func watch(calls *[]string) wechatuser.Interceptor {
	return func(ctx context.Context, call wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
		if calls != nil {
			*calls = append(*calls, call.API)
		}
		return do(ctx)
	}
}

func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log,
			&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
		rejection := testutil.RespondJSON(`{"errcode":40003,"errmsg":"invalid openid rid: ` + testutil.RID + `"}`)
		c := testutil.NewClient(t,
			testutil.Play(testutil.Delay(time.Second, testutil.Respond(502, "<html>"+testutil.Alice)), rejection,
				testutil.RespondJSON(testutil.AliceBody)), wechatuser.WithLogger(logger),
			wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: 1}))
		_, err := c.GetUserInfo(t.Context(), testutil.Alice)
		require.Error(t, err)
		_, err = c.GetUserInfo(t.Context(), testutil.Alice)
		require.NoError(t, err)

		common := `level=DEBUG msg="wechatuser: attempt" api=userInfo app_id=` + testutil.AppID +
			` host=https://api.weixin.qq.com `
		assert.Equal(t, common+`attempt=1 duration=1s status=502 error="wechatuser: userInfo: not a response of the platform: HTTP status 502: Bad Gateway"`+"\n"+
			common+`attempt=2 duration=0s status=200 errcode=40003 rid=`+testutil.RID+` error="`+
			strings.ReplaceAll(
				(&wechatuser.Error{
					API: "userInfo", Code: 40003, Message: "invalid openid", RID: testutil.RID, Attempts: 2,
				}).Error(), `"`, `\"`)+`"`+"\n"+
			common+"attempt=1 duration=0s status=200 errcode=0\n", log.String())
	})
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// No openid is logged, whatever a proxy or a transport writes into its errors.
func TestLogContainsNoOpenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		for _, reply := range []testutil.Reply{
			testutil.RespondJSON(`{"user_info_list":[` + testutil.AliceBody[:len(testutil.AliceBody)-9]),
			func(req *http.Request) (*http.Response, error) {
				return testutil.Respond(404, "no such page: "+req.URL.String())(req)
			},
			func(req *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("GET %s: connection reset", req.URL)
			},
			func(req *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("bad proxy: %q", req.URL.RawQuery)
			},
			testutil.RespondCode(40003), testutil.RespondJSON(testutil.AliceBody),
		} {
			_, _ = testutil.NewClient(t, testutil.Play(reply), wechatuser.WithLogger(logger)).GetUserInfo(t.Context(),
				testutil.Alice)
		}
		assert.Positive(t, log.Len())
		assert.NotContains(t, log.String(), testutil.Alice)
		assert.NotContains(t, log.String(), testutil.Sentinel)
	})
}

// Without WithLogger a client writes neither to the default logger nor to stdout or stderr.
func TestNoOutputWithoutALogger(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(old)
	written := captured(t, func() {
		synctest.Test(t, func(t *testing.T) {
			c := testutil.NewTokenClient(t,
				testutil.Play(testutil.RespondCode(-1), testutil.Fail(testutil.ErrReset),
					testutil.Respond(502, "<html>"), testutil.RespondCode(40001)))
			require.Error(t, testutil.GetTags(t.Context(), c))
			require.Error(t,
				testutil.GetTags(t.Context(),
					testutil.NewClient(t,
						testutil.Play(testutil.RespondCode(40001), testutil.Fail(testutil.ErrReset),
							testutil.Respond(302, "", "Location", "/"), testutil.Hang))))
		})
	})
	assert.Empty(t, written)
	assert.Empty(t, log.String())
}

// captured returns what f writes to stdout and stderr.
func captured(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	f()
	os.Stdout, os.Stderr = stdout, stderr
	require.NoError(t, w.Close())
	written, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(written)
}

// Concurrent calls of one client each get their own response.
func TestConcurrentUse(t *testing.T) {
	echo := testutil.Play(func(req *http.Request) (*http.Response, error) {
		return testutil.RespondJSON(`{"subscribe":1,"openid":"` + req.URL.Query().Get("openid") + `"}`)(req)
	})
	c := testutil.NewClient(t, echo)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 20 {
				id := fmt.Sprintf("oFAKE-%d-%d", i, j)
				info, err := c.GetUserInfo(t.Context(), id)
				if assert.NoError(t, err) {
					assert.Equal(t, id, info.OpenID)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 32*20, echo.Count())
}
