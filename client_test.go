package wechatuser_test

import (
	"bytes"
	"context"
	"errors"
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

	"github.com/wechatuser/wechatuser"
)

// next is what an interceptor calls.
type next = func(context.Context) (wechatuser.Result, error)

// watch is an interceptor that notes the names of the calls, nil for one that does nothing.
func watch(calls *[]string) wechatuser.Interceptor {
	return func(ctx context.Context, call wechatuser.Call, do next) (wechatuser.Result, error) {
		if calls != nil {
			*calls = append(*calls, call.API)
		}
		return do(ctx)
	}
}

func TestInterceptorsGoAroundACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		step := func(name string) wechatuser.Interceptor {
			return func(ctx context.Context, call wechatuser.Call, do next) (wechatuser.Result, error) {
				steps = append(steps, name+" before")
				res, err := do(context.WithValue(ctx, ctxKey{}, name))
				steps = append(steps, name+" after")
				return res, err
			}
		}
		s := play(refuses(-1), says(tagsBody))
		c := newClient(t, s, wechatuser.WithInterceptor(step("a"), step("b")), wechatuser.WithInterceptor(), wechatuser.WithInterceptor(step("c")))
		require.NoError(t, getTags(t.Context(), c))
		assert.Equal(t, []string{"a before", "b before", "c before", "c after", "b after", "a after"}, steps, "once around both attempts")
		assert.Equal(t, 2, s.count())
	})
}

type ctxKey struct{}

// The context that an interceptor passes on is the one that the request has.
func TestContextOfAnInterceptor(t *testing.T) {
	var seen any
	transport := play(func(req *http.Request) (*http.Response, error) {
		seen = req.Context().Value(ctxKey{})
		return says(tagsBody)(req)
	})
	c := newClient(t, transport, wechatuser.WithInterceptor(func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
		return do(context.WithValue(ctx, ctxKey{}, "span"))
	}))
	require.NoError(t, getTags(t.Context(), c))
	assert.Equal(t, "span", seen)
}

func TestInterceptorSeesCallAndResult(t *testing.T) {
	failed := `{"errcode":48001,"errmsg":"api unauthorized rid: ` + testRID + `"}`
	tests := []struct {
		name    string
		replies []reply
		want    wechatuser.Result
		ok      bool
	}{
		{"success", []reply{says(tagsBody)}, wechatuser.Result{StatusCode: 200, Attempts: 1}, true},
		{"refusal", []reply{says(failed)}, wechatuser.Result{StatusCode: 200, Code: 48001, RID: testRID, Attempts: 1}, false},
		{"no answer", []reply{fails(errReset)}, wechatuser.Result{Attempts: 3}, false},
		{"not the platform", []reply{answers(502, "<html>")}, wechatuser.Result{StatusCode: 502, Attempts: 3}, false},
		{"busy, then refused", []reply{refuses(-1), says(failed)}, wechatuser.Result{StatusCode: 200, Code: 48001, RID: testRID, Attempts: 2}, false},
		{"refused by the name, then success", []reply{says(strings.Replace(failed, "48001", "45169", 1)), says(tagsBody)}, wechatuser.Result{StatusCode: 200, Attempts: 2}, true},
		{"busy, then no answer", []reply{refuses(-1), fails(errReset)}, wechatuser.Result{Attempts: 3}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var (
					gotCall wechatuser.Call
					got     wechatuser.Result
					gotErr  error
				)
				for i, r := range tt.replies {
					tt.replies[i] = after(time.Second, r)
				}
				s := play(tt.replies...)
				c := newClient(t, s, wechatuser.WithInterceptor(func(ctx context.Context, call wechatuser.Call, do next) (wechatuser.Result, error) {
					gotCall = call
					got, gotErr = do(ctx)
					return got, gotErr
				}))
				start := time.Now()
				err := getTags(t.Context(), c)
				assert.Equal(t, wechatuser.Call{API: "getTags", Method: "GET", Path: "/cgi-bin/tags/get"}, gotCall)
				assert.Equal(t, tt.ok, err == nil)
				assert.Equal(t, gotErr, err)
				assert.Equal(t, time.Since(start), got.Duration, "pauses included")
				assert.Equal(t, wechatuser.BaseURL, got.Host)
				got.Duration, got.Host = 0, ""
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

func TestInterceptorCanReplaceTheError(t *testing.T) {
	mine := errors.New("mine")
	c := newClient(t, play(refuses(48001)), wechatuser.WithInterceptor(func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
		res, err := do(ctx)
		return res, errors.Join(mine, err)
	}))
	_, err := c.GetTags(t.Context())
	require.ErrorIs(t, err, mine)
	require.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized)

	s := play(says(tagsBody))
	c = newClient(t, s, wechatuser.WithInterceptor(func(context.Context, wechatuser.Call, next) (wechatuser.Result, error) {
		return wechatuser.Result{}, mine
	}))
	tags, err := c.GetTags(t.Context())
	require.Equal(t, mine, err)
	assert.Nil(t, tags)
	assert.Zero(t, s.count(), "it forbade the call")

	c = newClient(t, s, wechatuser.WithInterceptor(func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
		res, err := do(ctx)
		if err != nil {
			return res, err
		}
		return res, mine
	}))
	tags, err = c.GetTags(t.Context())
	require.Equal(t, mine, err)
	assert.Nil(t, tags, "an error, and nothing else")
}

// There is no success without an answer, so that nobody takes a zero value for one.
func TestInterceptorCannotMakeUpASuccess(t *testing.T) {
	for _, call := range apiCalls {
		for name, interceptor := range map[string]wechatuser.Interceptor{
			"does not call next": func(context.Context, wechatuser.Call, next) (wechatuser.Result, error) {
				return wechatuser.Result{}, nil
			},
			"drops the error": func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
				res, _ := do(ctx)
				return res, nil
			},
		} {
			for _, reply := range []reply{refuses(48001), fails(errRefused)} {
				t.Run(call.name+"/"+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						got, err := call.do(t.Context(), call.client(t, play(reply), wechatuser.WithInterceptor(interceptor)))
						require.EqualError(t, err, "wechatuser: "+call.api+": an interceptor returned no error, and there is no answer: it must call next, and pass its error on")
						assert.Empty(t, got)
					})
				})
			}
		}
	}
}

// A policy of one's own can be to wait and try once more.
func TestInterceptorCanCallNextTwice(t *testing.T) {
	again := wechatuser.WithInterceptor(func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
		res, err := do(ctx)
		if err == nil {
			return res, nil
		}
		return do(ctx)
	})
	synctest.Test(t, func(t *testing.T) {
		s := play(refuses(45011), says(tagsBody))
		tags, err := newClient(t, s, again).GetTags(t.Context())
		require.NoError(t, err)
		assert.Len(t, tags, 2)

		partial := says(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + bob + `"]}`)
		s = play(partial, refuses(45011), says(okBody))
		require.NoError(t, newClient(t, s, again).BatchTagging(t.Context(), 100, []string{alice, bob}))
		require.Equal(t, 3, s.count())
		assert.Equal(t, `{"openid_list":["`+bob+`"],"tagid":100}`, s.requests()[1].Body)
		assert.Equal(t, `{"openid_list":["`+alice+`","`+bob+`"],"tagid":100}`, s.requests()[2].Body, "the call as it was made")
	})
}

// The answer is that of the last run that had one.
// An interceptor that gives up, as a circuit breaker does, leaves its call running for a while.
func TestInterceptorMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := errors.New("left")
		c := newClient(t, play(after(time.Second, says(aliceBody))), wechatuser.WithInterceptor(
			func(ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error)) (wechatuser.Result, error) {
				if call.API != "userInfo" {
					return next(ctx)
				}
				go func() { _, _ = next(ctx) }()
				return wechatuser.Result{}, left
			}))
		_, err := c.GetUserInfo(t.Context(), alice)
		require.ErrorIs(t, err, left)
		time.Sleep(time.Minute) // until the call has its answer
	})
}

func TestInterceptorCanPreferTheFirstAnswer(t *testing.T) {
	c := newClient(t, play(says(tagsBody), refuses(48001)), wechatuser.WithInterceptor(func(ctx context.Context, _ wechatuser.Call, do next) (wechatuser.Result, error) {
		first, err := do(ctx)
		if err == nil {
			_, _ = do(ctx) // for good measure
		}
		return first, err
	}))
	tags, err := c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Len(t, tags, 2)
}

// Requests for tokens are calls of their own, inside the call that needs one.
func TestInterceptorSeesTokenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu    sync.Mutex
			calls []wechatuser.Call
		)
		c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithTransport(play(says(tokenBody), says(tagsBody))),
			wechatuser.WithInterceptor(func(ctx context.Context, call wechatuser.Call, do next) (wechatuser.Result, error) {
				mu.Lock()
				calls = append(calls, call)
				mu.Unlock()
				return do(ctx)
			}))
		require.NoError(t, err)
		require.NoError(t, getTags(t.Context(), c))
		assert.Equal(t, []wechatuser.Call{
			{API: "getTags", Method: "GET", Path: "/cgi-bin/tags/get"},
			{API: "getStableAccessToken", Method: "POST", Path: "/cgi-bin/stable_token"},
		}, calls)
	})
}

// limiter counts those who wait.
type limiter struct {
	waited int
	err    error
}

func (l *limiter) Wait(context.Context) error {
	l.waited++
	return l.err
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{}
		s := play(says(tokenBody), refuses(-1), refuses(-1), says(tagsBody))
		c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithTransport(s), wechatuser.WithLimiter(l))
		require.NoError(t, err)
		require.NoError(t, getTags(t.Context(), c))
		assert.Equal(t, 4, s.count())
		assert.Equal(t, 1, l.waited, "once a call, whatever its attempts and the token need")
		require.NoError(t, getTags(t.Context(), c))
		assert.Equal(t, 2, l.waited)
	})
}

func TestLimiterThatFails(t *testing.T) {
	l := &limiter{err: errors.New("would exceed the deadline")}
	s := play(says(tokenBody))
	c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithTransport(s), wechatuser.WithLimiter(l))
	require.NoError(t, err)
	err = c.UpdateRemark(t.Context(), alice, "r")
	var te *wechatuser.TransportError
	require.ErrorAs(t, err, &te)
	require.ErrorIs(t, err, l.err)
	assert.EqualError(t, err, "wechatuser: updateRemark: no answer: waiting for the limiter: would exceed the deadline")
	assert.Zero(t, te.Attempts)
	assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
	assert.Zero(t, s.count())

	_, err = c.Token(t.Context())
	require.NoError(t, err, "a request for a token does not wait")
}

func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
		refusal := says(`{"errcode":40003,"errmsg":"invalid openid rid: ` + testRID + `"}`)
		c := newClient(t, play(after(time.Second, answers(502, "<html>"+alice)), refusal, says(aliceBody)), wechatuser.WithLogger(logger),
			wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: 1}))
		_, err := c.GetUserInfo(t.Context(), alice)
		require.Error(t, err)
		_, err = c.GetUserInfo(t.Context(), alice)
		require.NoError(t, err)

		common := `level=DEBUG msg="wechatuser: attempt" api=userInfo app_id=` + testAppID + ` host=https://api.weixin.qq.com `
		assert.Equal(t, common+`attempt=1 duration=1s status=502 error="wechatuser: userInfo: not an answer of the platform: HTTP status 502: Bad Gateway"`+"\n"+
			common+`attempt=2 duration=0s status=200 errcode=40003 rid=`+testRID+` error="`+
			strings.ReplaceAll((&wechatuser.Error{API: "userInfo", Code: 40003, Message: "invalid openid", RID: testRID, Attempts: 2}).Error(), `"`, `\"`)+`"`+"\n"+
			common+"attempt=1 duration=0s status=200 errcode=0\n", log.String())
	})
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Nobody's openid is in a log, whatever a proxy or a transport writes into its errors.
func TestLogHoldsNoOpenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		for _, reply := range []reply{
			says(`{"user_info_list":[` + aliceBody[:len(aliceBody)-9]),
			func(req *http.Request) (*http.Response, error) {
				return answers(404, "no such page: "+req.URL.String())(req)
			},
			func(req *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("GET %s: connection reset", req.URL)
			},
			func(req *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("bad proxy: %q", req.URL.RawQuery)
			},
			refuses(40003), says(aliceBody),
		} {
			_, _ = newClient(t, play(reply), wechatuser.WithLogger(logger)).GetUserInfo(t.Context(), alice)
		}
		assert.Positive(t, log.Len())
		assert.NotContains(t, log.String(), alice)
		assert.NotContains(t, log.String(), sentinel)
	})
}

// A client that was given no logger writes nowhere: not to the default logger, not to the standard files.
func TestSilentWithoutALogger(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(old)
	written := captured(t, func() {
		synctest.Test(t, func(t *testing.T) {
			c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithTransport(play(refuses(-1), fails(errReset), answers(502, "<html>"), refuses(40001))))
			require.NoError(t, err)
			require.Error(t, getTags(t.Context(), c))
			require.Error(t, getTags(t.Context(), newClient(t, play(refuses(40001), fails(errReset), answers(302, "", "Location", "/"), hangs))))
		})
	})
	assert.Empty(t, written)
	assert.Empty(t, log.String())
}

// captured is what f writes to the standard files.
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

// One client serves many goroutines, and mixes nothing up.
func TestConcurrentUse(t *testing.T) {
	echo := play(func(req *http.Request) (*http.Response, error) {
		return says(`{"subscribe":1,"openid":"` + req.URL.Query().Get("openid") + `"}`)(req)
	})
	c := newClient(t, echo)
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
	assert.Equal(t, 32*20, echo.count())
}
