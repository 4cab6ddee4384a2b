package wechatuser_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestInterceptorsWrapACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		step := func(name string) wechatuser.Interceptor {
			return func(ctx context.Context, call wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
				steps = append(steps, name+" before")
				res, err := do(context.WithValue(ctx, ctxKey{}, name))
				steps = append(steps, name+" after")
				return res, err
			}
		}
		s := testutil.Play(testutil.RespondCode(-1), testutil.RespondJSON(testutil.TagsBody))
		c := testutil.NewClient(t, s, wechatuser.WithInterceptor(step("a"), step("b")), wechatuser.WithInterceptor(),
			wechatuser.WithInterceptor(step("c")))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"a before", "b before", "c before", "c after", "b after", "a after"}, steps,
			"once around both attempts")
		assert.Equal(t, 2, s.Count())
	})
}

type ctxKey struct{}

// The request has the context that an interceptor passes on.
func TestContextOfAnInterceptor(t *testing.T) {
	var seen any
	transport := testutil.Play(func(req *http.Request) (*http.Response, error) {
		seen = req.Context().Value(ctxKey{})
		return testutil.RespondJSON(testutil.TagsBody)(req)
	})
	c := testutil.NewClient(t, transport,
		wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
				return do(context.WithValue(ctx, ctxKey{}, "span"))
			}))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	assert.Equal(t, "span", seen)
}

func TestInterceptorSeesCallAndResult(t *testing.T) {
	failed := `{"errcode":48001,"errmsg":"api unauthorized rid: ` + testutil.RID + `"}`
	tests := []struct {
		name    string
		replies []testutil.Reply
		want    wechatuser.Result
		ok      bool
	}{
		{
			"success",
			[]testutil.Reply{testutil.RespondJSON(testutil.TagsBody)},
			wechatuser.Result{StatusCode: 200, Attempts: 1},
			true,
		},
		{
			"errcode",
			[]testutil.Reply{testutil.RespondJSON(failed)},
			wechatuser.Result{StatusCode: 200, Code: 48001, RID: testutil.RID, Attempts: 1},
			false,
		},
		{"no response", []testutil.Reply{testutil.Fail(testutil.ErrReset)}, wechatuser.Result{Attempts: 3}, false},
		{
			"not the platform",
			[]testutil.Reply{testutil.Respond(502, "<html>")},
			wechatuser.Result{StatusCode: 502, Attempts: 3},
			false,
		},
		{
			"busy, then rejected",
			[]testutil.Reply{testutil.RespondCode(-1), testutil.RespondJSON(failed)},
			wechatuser.Result{StatusCode: 200, Code: 48001, RID: testutil.RID, Attempts: 2},
			false,
		},
		{
			"busy with the openid, then success",
			[]testutil.Reply{
				testutil.RespondJSON(strings.Replace(failed, "48001", "45169", 1)),
				testutil.RespondJSON(testutil.TagsBody),
			},
			wechatuser.Result{StatusCode: 200, Attempts: 2},
			true,
		},
		{
			"busy, then no response",
			[]testutil.Reply{testutil.RespondCode(-1), testutil.Fail(testutil.ErrReset)},
			wechatuser.Result{Attempts: 3},
			false,
		},
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
					tt.replies[i] = testutil.Delay(time.Second, r)
				}
				s := testutil.Play(tt.replies...)
				c := testutil.NewClient(t, s,
					wechatuser.WithInterceptor(
						func(ctx context.Context, call wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
							gotCall = call
							got, gotErr = do(ctx)
							return got, gotErr
						}))
				start := time.Now()
				err := testutil.GetTags(t.Context(), c)
				assert.Equal(t, wechatuser.Call{API: "getTags", Method: "GET", Path: testutil.PathGetTags}, gotCall)
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
	c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(48001)),
		wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
				res, err := do(ctx)
				return res, errors.Join(mine, err)
			}))
	_, err := c.GetTags(t.Context())
	require.ErrorIs(t, err, mine)
	require.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized)

	s := testutil.Play(testutil.RespondJSON(testutil.TagsBody))
	c = testutil.NewClient(t, s,
		wechatuser.WithInterceptor(func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
			return wechatuser.Result{}, mine
		}))
	tags, err := c.GetTags(t.Context())
	require.Equal(t, mine, err)
	assert.Nil(t, tags)
	assert.Zero(t, s.Count(), "it forbade the call")

	c = testutil.NewClient(t, s,
		wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
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

// Without a response there is no success, so that no zero value is taken for a result.
func TestInterceptorSuccessNeedsAResponse(t *testing.T) {
	for _, call := range testutil.APICalls {
		for name, interceptor := range map[string]wechatuser.Interceptor{
			"does not call next": func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
				return wechatuser.Result{}, nil
			},
			"drops the error": func(ctx context.Context, _ wechatuser.Call,
				do testutil.Next,
			) (wechatuser.Result, error) {
				res, _ := do(ctx)
				return res, nil
			},
		} {
			for _, reply := range []testutil.Reply{testutil.RespondCode(48001), testutil.Fail(testutil.ErrRefused)} {
				t.Run(call.Name+"/"+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						got, err := call.Do(t.Context(),
							call.NewClient(t, testutil.Play(reply), wechatuser.WithInterceptor(interceptor)))
						require.EqualError(t, err,
							"wechatuser: "+call.API+": an interceptor returned no error although there is no "+
								"response: it must call next, and return its error")
						assert.Empty(t, got)
					})
				})
			}
		}
	}
}

// An interceptor can retry with a policy of its own.
func TestInterceptorCanCallNextTwice(t *testing.T) {
	again := wechatuser.WithInterceptor(
		func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
			res, err := do(ctx)
			if err == nil {
				return res, nil
			}
			return do(ctx)
		})
	synctest.Test(t, func(t *testing.T) {
		s := testutil.Play(testutil.RespondCode(45011), testutil.RespondJSON(testutil.TagsBody))
		tags, err := testutil.NewClient(t, s, again).GetTags(t.Context())
		require.NoError(t, err)
		assert.Len(t, tags, 2)

		partial := testutil.RespondJSON(
			`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + testutil.Bob + `"]}`)
		s = testutil.Play(partial, testutil.RespondCode(45011), testutil.RespondJSON(testutil.OKBody))
		require.NoError(t,
			testutil.NewClient(t, s, again).BatchTagging(t.Context(), 100, []string{testutil.Alice, testutil.Bob}))
		require.Equal(t, 3, s.Count())
		assert.Equal(t, `{"openid_list":["`+testutil.Bob+`"],"tagid":100}`, s.Requests()[1].Body)
		assert.Equal(t, `{"openid_list":["`+testutil.Alice+`","`+testutil.Bob+`"],"tagid":100}`, s.Requests()[2].Body,
			"the call as it was made")
	})
}

// The result is the last response that there was.
// An interceptor that gives up, as a circuit breaker does, may leave its call running.
func TestInterceptorMayReturnEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := errors.New("left")
		c := testutil.NewClient(t, testutil.Play(testutil.Delay(time.Second, testutil.RespondJSON(testutil.AliceBody))),
			wechatuser.WithInterceptor(
				func(ctx context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
					if call.API != "userInfo" {
						return next(ctx)
					}
					go func() { _, _ = next(ctx) }()
					return wechatuser.Result{}, left
				}))
		_, err := c.GetUserInfo(t.Context(), testutil.Alice)
		require.ErrorIs(t, err, left)
		time.Sleep(time.Minute) // until the call has its response
	})
}

func TestInterceptorCanReturnTheFirstResponse(t *testing.T) {
	c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody), testutil.RespondCode(48001)),
		wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
				first, err := do(ctx)
				if err == nil {
					_, _ = do(ctx) // once more
				}
				return first, err
			}))
	tags, err := c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Len(t, tags, 2)
}

// Token requests are calls of their own, inside the call that needs the token.
func TestInterceptorSeesTokenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu    sync.Mutex
			calls []wechatuser.Call
		)
		c := testutil.NewTokenClient(t,
			testutil.Play(testutil.RespondJSON(testutil.TokenBody), testutil.RespondJSON(testutil.TagsBody)),
			wechatuser.WithInterceptor(
				func(ctx context.Context, call wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
					mu.Lock()
					calls = append(calls, call)
					mu.Unlock()
					return do(ctx)
				}))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []wechatuser.Call{
			{API: "getTags", Method: "GET", Path: testutil.PathGetTags},
			{API: "getStableAccessToken", Method: "POST", Path: testutil.PathStableToken},
		}, calls)
	})
}

// limiter counts its calls.
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
		s := testutil.Play(testutil.RespondJSON(testutil.TokenBody), testutil.RespondCode(-1), testutil.RespondCode(-1),
			testutil.RespondJSON(testutil.TagsBody))
		c := testutil.NewTokenClient(t, s, wechatuser.WithLimiter(l))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, 4, s.Count())
		assert.Equal(t, 1, l.waited, "once a call, whatever its attempts and the token need")
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, 2, l.waited)
	})
}

func TestLimiterError(t *testing.T) {
	l := &limiter{err: errors.New("would exceed the deadline")}
	s := testutil.Play(testutil.RespondJSON(testutil.TokenBody))
	c := testutil.NewTokenClient(t, s, wechatuser.WithLimiter(l))
	err := c.UpdateRemark(t.Context(), testutil.Alice, "r")
	var te *wechatuser.TransportError
	require.ErrorAs(t, err, &te)
	require.ErrorIs(t, err, l.err)
	assert.EqualError(t, err,
		"wechatuser: updateRemark: no response to POST /cgi-bin/user/info/updateremark: waiting for the limiter: "+
			"would exceed the deadline")
	assert.Zero(t, te.Attempts)
	assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
	assert.Zero(t, s.Count())

	_, err = c.Token(t.Context())
	require.NoError(t, err, "a request for a token does not wait")
}

// callingSource makes an API call for each token.
type callingSource struct{ *wechatuser.Client }

func (s callingSource) Token(ctx context.Context) (wechatuser.Token, error) {
	if _, err := s.GetTags(ctx); err != nil {
		return wechatuser.Token{}, err
	}
	return s.Client.Token(ctx)
}

// Calls of a report counts what the job sends, also what an interceptor sends twice. Calls that an interceptor, a
// limiter or a token source makes with the context of the job are not of the job.
func TestCallsOfOthersAreNotOfTheJob(t *testing.T) {
	srv, other, tag := testutil.NewAccount(t, 200)
	twice := func(ctx context.Context, _ wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
		if _, err := other.GetTags(ctx); err != nil {
			return wechatuser.Result{}, err
		}
		if _, err := next(ctx); err != nil {
			return wechatuser.Result{}, err
		}
		return next(ctx)
	}
	limiter := waits(func(ctx context.Context) error {
		_, err := other.GetTags(ctx)
		return err
	})
	c := srv.Client(wechatuser.WithInterceptor(twice), wechatuser.WithLimiter(limiter),
		wechatuser.WithTokenSource(callingSource{other}))
	all := wechatuser.OpenIDs(testutil.OpenIDs(200)...)
	tagging, err := c.BulkTagging(t.Context(), tag, all)
	require.NoError(t, err)
	assert.Equal(t, 2*200/50, tagging.Calls)
	assert.Equal(t, tagging.Calls, srv.Calls(testutil.PathBatchTagging))
	sync, err := c.SyncTag(t.Context(), tag, wechatuser.OpenIDs())
	require.NoError(t, err)
	assert.Equal(t, srv.Calls(testutil.PathGetTagFans)+srv.Calls(testutil.PathBatchUntagging), sync.Calls)
}

// An interceptor that lets four calls through at a time holds back the token request that they wait for. It goes on
// without the interceptor, and no call fails.
func TestInterceptorThatLimitsConcurrentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		acc := &testutil.TokenServer{CallDelay: 10 * time.Millisecond, TokenDelay: 10 * time.Millisecond}
		places := make(chan struct{}, 4)
		limit := func(
			ctx context.Context, _ wechatuser.Call, next testutil.Next,
		) (wechatuser.Result, error) {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				return next(ctx)
			case <-ctx.Done():
				return wechatuser.Result{}, ctx.Err()
			}
		}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithInterceptor(limit),
			wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.NotContains(t, log.String(), "without the interceptors")
		acc.Revoke()
		var ids []string
		for i := range 1600 {
			ids = append(ids, wechatusertest.OpenID(i))
		}
		start := time.Now()
		report, err := c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(ids...), wechatuser.WithConcurrency(16))
		require.NoError(t, err)
		assert.Equal(t, 1600, report.Applied)
		assert.Len(t, acc.TokenRequests(), 2)
		assert.LessOrEqual(t, time.Since(start), 6*time.Second)
		assert.Equal(t, 1, strings.Count(log.String(), `level=WARN msg="wechatuser: token request sent without the interceptors, which held it back" api=getStableAccessToken`))
		assert.Empty(t, places)
	})
}

// An interceptor that never lets a token request through fails no call, and cannot send the request afterwards.
func TestInterceptorThatHoldsTokenRequests(t *testing.T) {
	for name, hold := range map[string]func(ctx context.Context, end <-chan struct{}){
		"until its context ends": func(ctx context.Context, _ <-chan struct{}) { <-ctx.Done() },
		"whatever happens":       func(_ context.Context, end <-chan struct{}) { <-end },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc, end := &testutil.TokenServer{}, make(chan struct{})
				var late error
				c := testutil.NewTokenClient(t, acc, wechatuser.WithInterceptor(func(
					ctx context.Context, call wechatuser.Call, next testutil.Next,
				) (wechatuser.Result, error) {
					if call.API != "getStableAccessToken" {
						return next(ctx)
					}
					hold(ctx, end)
					res, err := next(ctx)
					late = err
					return res, err
				}))
				start := time.Now()
				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Equal(t, 5*time.Second, time.Since(start))
				close(end)
				synctest.Wait()
				assert.ErrorContains(t, late, "without the interceptors")
				assert.Len(t, acc.TokenRequests(), 1)
			})
		})
	}
}

// Once a token request is on its way, the interceptor's own result counts, however long it takes.
func TestInterceptorIsSlowAfterATokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{}
		errMine := errors.New("not today")
		c := testutil.NewTokenClient(t, acc, wechatuser.WithInterceptor(func(
			ctx context.Context, _ wechatuser.Call, next testutil.Next,
		) (wechatuser.Result, error) {
			res, _ := next(ctx)
			time.Sleep(time.Minute)
			return res, errMine
		}))
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), errMine)
		assert.Len(t, acc.TokenRequests(), 1)
	})
}

// It may send a token request twice at once. The token's life begins when its own request is sent.
func TestInterceptorSendsATokenRequestTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: 100 * time.Millisecond}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithInterceptor(func(
			ctx context.Context, _ wechatuser.Call, next testutil.Next,
		) (res wechatuser.Result, err error) {
			var wg sync.WaitGroup
			wg.Go(func() { res, err = next(ctx) })
			time.Sleep(time.Millisecond)
			wg.Go(func() { _, _ = next(ctx) })
			wg.Wait()
			return res, err
		}))
		start := time.Now()
		got, err := c.Token(t.Context())
		require.NoError(t, err)
		assert.Len(t, acc.TokenRequests(), 2)
		assert.Contains(t, []time.Duration{2 * time.Hour, 2*time.Hour - time.Second + time.Millisecond},
			got.ExpiresAt.Sub(start).Round(time.Millisecond))
	})
}

// A call that an interceptor makes for a token request would wait for that request. It fails at once instead.
func TestInterceptorCallsTheClientForATokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *wechatuser.Client
		var inner error
		c = testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithInterceptor(func(
			ctx context.Context, call wechatuser.Call, next testutil.Next,
		) (wechatuser.Result, error) {
			if call.API == "getStableAccessToken" {
				inner = testutil.GetTags(ctx, c)
			}
			return next(ctx)
		}))
		start := time.Now()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.ErrorContains(t, inner, "from inside a token request")
		assert.Zero(t, time.Since(start))
	})
}

// An interceptor that ends its goroutine, as t.FailNow does, leaves nobody waiting for a token.
func TestInterceptorEndsTheGoroutineOfATokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithInterceptor(func(
			ctx context.Context, call wechatuser.Call, next testutil.Next,
		) (wechatuser.Result, error) {
			if call.API == "getStableAccessToken" {
				runtime.Goexit()
			}
			return next(ctx)
		}))
		require.ErrorContains(t, testutil.GetTags(t.Context(), c), "an interceptor ended without a result")
	})
}

// A panic in a token request is one of the calls that wait for it, which a server may recover from. It ends no program.
func TestPanicInATokenRequest(t *testing.T) {
	type next = func(context.Context) (wechatuser.Result, error)
	for name, opt := range map[string]wechatuser.Option{
		"transport": wechatuser.WithTransport(testutil.RoundTripFunc(func(*http.Request) (*http.Response, error) {
			panic("broken")
		})),
		"interceptor": wechatuser.WithInterceptor(
			func(ctx context.Context, call wechatuser.Call, next next) (wechatuser.Result, error) {
				if call.API == "getStableAccessToken" {
					panic("broken")
				}
				return next(ctx)
			}),
		"secret source": wechatuser.WithSecretSource(func(context.Context) (string, error) { panic("broken") }),
		"store":         wechatuser.WithTokenStore(brokenStore{}),
	} {
		// With an interceptor, the request runs in a goroutine of its own.
		through := wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, next next) (wechatuser.Result, error) {
				return next(ctx)
			})
		for _, opts := range [][]wechatuser.Option{{opt}, {opt, through}} {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := testutil.NewTokenClient(t, &testutil.TokenServer{},
					append(opts, wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
				for method, call := range map[string]func(){
					"GetTags": func() { _ = testutil.GetTags(t.Context(), c) },
					"BulkTagging": func() {
						_, _ = c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.OpenIDs(500)...))
					},
				} {
					func() {
						defer func() {
							err, ok := recover().(error)
							require.True(t, ok, "%s, %s", name, method)
							assert.ErrorContains(t, err, "broken\n\ngoroutine ", "%s, %s: with the stack", name, method)
							assert.Equal(t, 1, strings.Count(err.Error(), "\n\ngoroutine "), "%s, %s: the first one",
								name, method)
						}()
						call()
						assert.Fail(t, "no panic", "%s, %s", name, method)
					}()
				}
				synctest.Wait() // the line is written after the call has ended
				assert.Contains(t, log.String(), "token refresh failed")
				testutil.AssertClean(t, log.String())
			})
		}
	}
}

// brokenStore panics where the SDK has goroutines of its own.
type brokenStore struct{ wechatuser.TokenStore }

func (brokenStore) Load(context.Context, string) (wechatuser.Token, error) {
	return wechatuser.Token{}, nil
}

func (brokenStore) Lock(context.Context, string) (func(), error) { panic("broken") }
