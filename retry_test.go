package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// The calls that must not be repeated once they may have reached the platform.
var neverRepeated = []string{"ClearQuota", "ClearQuotaByAppSecret", "ClearAPIQuota", "RefreshToken"}

// TestRepeats is the table of what is repeated: an outcome of the first attempt, and how many requests are sent if
// all attempts end so.
func TestRepeats(t *testing.T) {
	const always, unlessNever, never = 3, -3, 1
	tests := []struct {
		name    string
		outcome reply
		want    int
	}{
		{"refused connection", fails(errRefused), always},
		{"reset", fails(errReset), unlessNever},
		{"cut off", fails(io.ErrUnexpectedEOF), unlessNever},
		{"timeout", hangs, unlessNever},
		{"cut body", cutBody, unlessNever},
		{"HTML", answers(200, "<html>"), unlessNever},
		{"null", says("null"), unlessNever},
		{"408", answers(408, ""), unlessNever},
		{"429", answers(429, ""), unlessNever},
		{"500", answers(500, okBody), unlessNever},
		{"502", answers(502, "<html>"), unlessNever},
		{"503", answers(503, "", "Retry-After", "60"), unlessNever},
		{"503 for long", answers(503, "", "Retry-After", "61"), never},
		{"400", answers(400, "<html>"), never},
		{"403", answers(403, ""), never},
		{"404", answers(404, ""), never},
		{"redirect", answers(302, "", "Location", "https://example.com"), never},
		{"-1", refuses(-1), unlessNever},
		{"268487001", refuses(268487001), unlessNever},
		{"268487002", refuses(268487002), unlessNever},
		{"45169", refuses(45169), always},
		{"45171 without a list", refuses(45171), never},
		{"45009", refuses(45009), never},
		{"45011", refuses(45011), never},
		{"45159", refuses(45159), never},
		{"48001", refuses(48001), never},
		{"40003", refuses(40003), never},
		{"unknown code", refuses(12345), never},
	}
	for _, call := range apiCalls {
		if call.legacy {
			continue // as Token
		}
		for _, tt := range tests {
			want := tt.want
			if want == unlessNever {
				want = 3
				if slices.Contains(neverRepeated, call.name) {
					want = 1
				}
			}
			t.Run(call.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := play(slices.Repeat([]reply{tt.outcome}, want)...)
					s.replies = append(s.replies, tagsReply) // for what clears up
					c := call.client(t, s, wechatuser.WithTimeout(time.Second))
					_, err := call.do(t.Context(), c)
					require.Error(t, err)

					same := slices.DeleteFunc(s.requests(), func(r sent) bool { return r.Path != call.path })
					assert.Len(t, same, want)
					assert.Equal(t, want, attemptsOf(t, err))
					for _, r := range same {
						assert.Equal(t, call.body, r.Body, "each attempt sends the whole body")
					}
				})
			})
		}
	}
}

// tagsReply shows the tags 2 and 134, of which the second is what the calls of the tests are about.
var tagsReply = says(`{"tags":[{"id":2,"name":"星标组"},{"id":134,"name":"other"}]}`)

// cutBody is an answer that breaks off.
func cutBody(req *http.Request) (*http.Response, error) {
	resp, err := says(okBody)(req)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(okBody[:5]), brokenReader{}))
	return resp, err
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// attemptsOf reads the Attempts of whatever error it is.
func attemptsOf(t *testing.T, err error) int {
	t.Helper()
	var (
		e  *wechatuser.Error
		te *wechatuser.TransportError
		re *wechatuser.ResponseError
	)
	switch {
	case errors.As(err, &e):
		return e.Attempts
	case errors.As(err, &te):
		return te.Attempts
	case errors.As(err, &re):
		return re.Attempts
	}
	require.Fail(t, "an error of another type", "%T", err)
	return 0
}

func TestRepeatThatSucceeds(t *testing.T) {
	for _, call := range apiCalls {
		t.Run(call.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := play(fails(errRefused), refuses(45169), says(call.answer))
				got, err := call.do(t.Context(), call.client(t, s))
				require.NoError(t, err)
				if !call.tokenCall() { // time has passed
					assert.Equal(t, call.want, got)
				}
				assert.Equal(t, 3, s.count())
			})
		})
	}
}

func TestMaxAttempts(t *testing.T) {
	for policy, want := range map[wechatuser.RetryPolicy]int{
		{}:                      3,
		{MaxAttempts: 1}:        1,
		{MaxAttempts: 2}:        2,
		{MaxAttempts: 7}:        7,
		{MinDelay: time.Second}: 3,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := play(refuses(-1))
			err := getTags(t.Context(), newClient(t, s, wechatuser.WithRetry(policy)))
			require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
			assert.Equal(t, want, s.count(), "%+v", policy)
			assert.Equal(t, want, attemptsOf(t, err))
		})
	}
}

// Each pause is a random part of its bound, which doubles up to the maximum.
func TestBackOff(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		policy wechatuser.RetryPolicy
		bounds []time.Duration
	}{
		{wechatuser.RetryPolicy{MaxAttempts: 8}, []time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms}},
		{wechatuser.RetryPolicy{MaxAttempts: 4, MinDelay: 10 * ms, MaxDelay: 15 * ms}, []time.Duration{10 * ms, 15 * ms, 15 * ms}},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MaxDelay: 50 * ms}, []time.Duration{50 * ms, 50 * ms}},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MinDelay: time.Hour}, []time.Duration{time.Hour, time.Hour}},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MinDelay: math.MaxInt64}, []time.Duration{math.MaxInt64, math.MaxInt64}},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MaxDelay: 1}, []time.Duration{1, 1}},
	} {
		t.Run(fmt.Sprintf("%+v", tt.policy), func(t *testing.T) {
			const rounds = 60
			low, high := make([]int, len(tt.bounds)), make([]int, len(tt.bounds))
			for range rounds {
				synctest.Test(t, func(t *testing.T) {
					s := play(refuses(-1))
					require.Error(t, getTags(t.Context(), newClient(t, s, wechatuser.WithRetry(tt.policy))))
					pauses := s.pauses()
					require.Len(t, pauses, len(tt.bounds))
					for i, pause := range pauses {
						assert.Less(t, pause, tt.bounds[i])
						if pause < tt.bounds[i]/2 {
							low[i]++
						} else {
							high[i]++
						}
					}
				})
			}
			if tt.bounds[0] == 1 {
				return // nothing is less than that but zero
			}
			for i := range tt.bounds { // one chance in 2^60 to be wrong
				assert.NotZero(t, low[i], "pause %d is never short", i+1)
				assert.NotZero(t, high[i], "pause %d is never long", i+1)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	inTwentySeconds := time.Date(2000, 1, 1, 0, 0, 20, 0, time.UTC).Format(http.TimeFormat)
	tests := []struct {
		name   string
		header string
		status int
		want   time.Duration // at least; 0 for a common pause, below zero for no repeat
	}{
		{"seconds", "7", 429, 7 * time.Second},
		{"seconds after spaces", " 7 ", 503, 7 * time.Second},
		{"date", inTwentySeconds, 503, 20 * time.Second},
		{"date in the past", "Fri, 31 Dec 1999 23:00:00 GMT", 503, 0},
		{"zero", "0", 503, 0},
		{"negative", "-5", 503, 0},
		{"nonsense", "soon", 503, 0},
		{"a minute", "60", 503, time.Minute},
		{"over a minute", "61", 503, -1},
		{"a century", "3153600000", 503, -1},
		{"more than an int", "99999999999999999999", 503, -1},
		{"date that is far", "Sat, 01 Jan 2000 00:02:00 GMT", 429, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := play(answers(tt.status, "", "Retry-After", tt.header), says(tagsBody))
				err := getTags(t.Context(), newClient(t, s))
				if tt.want < 0 {
					var re *wechatuser.ResponseError
					require.ErrorAs(t, err, &re)
					assert.Greater(t, re.RetryAfter, time.Minute)
					assert.Equal(t, 1, s.count())
					return
				}
				require.NoError(t, err)
				require.Equal(t, 2, s.count())
				if tt.want == 0 {
					assert.Less(t, s.pauses()[0], 200*time.Millisecond)
				} else {
					assert.Equal(t, tt.want, s.pauses()[0])
				}
			})
		})
	}
}

func TestRetryAfterIsInTheError(t *testing.T) {
	_, err := newClient(t, play(answers(429, "", "Retry-After", "30")), noRepeats).GetTags(t.Context())
	var re *wechatuser.ResponseError
	require.ErrorAs(t, err, &re)
	assert.Equal(t, 30*time.Second, re.RetryAfter)
	assert.ErrorIs(t, err, wechatuser.ErrRateLimited)
}

// A pause that would outlast the context is not begun: the caller gets the last error at once.
func TestNeverPastTheDeadline(t *testing.T) {
	for name, reply := range map[string]reply{
		"Retry-After": answers(503, "", "Retry-After", "10"),
		"partial":     says(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + alice + `"]}`),
		"busy":        refuses(-1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				s := play(after(5*time.Second-1, reply))
				c := newClient(t, s, wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1 << 60}))
				err := c.BatchTagging(ctx, 100, []string{alice, bob})
				require.Error(t, err)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 1, attemptsOf(t, err))
				assert.Equal(t, 1, s.count())
				assert.Equal(t, 5*time.Second-1, time.Since(start))
			})
		})
	}
}

func TestCancelDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the shop has closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := play(answers(503, "", "Retry-After", "30"))
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		err := newClient(t, s).UpdateRemark(ctx, alice, "r")

		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.Equal(t, 1, s.count())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous, "the first request may have been applied")
		var te *wechatuser.TransportError
		require.ErrorAs(t, err, &te)
		var re *wechatuser.ResponseError
		require.ErrorAs(t, err, &re, "the last error is there too")
		assert.Equal(t, 503, re.StatusCode)
		assert.EqualError(t, err, "wechatuser: updateRemark: no answer: context canceled: the shop has closed while waiting to repeat it after: "+
			"wechatuser: updateRemark: not an answer of the platform: HTTP status 503 (the platform may have applied it): Service Unavailable")
	})
}

// A context that has ended already sends nothing, whatever the transport thinks of it.
func TestContextThatHasEnded(t *testing.T) {
	for _, call := range apiCalls {
		t.Run(call.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				s := play(says(call.answer))
				got, err := call.do(ctx, call.client(t, s))
				require.ErrorIs(t, err, context.Canceled)
				assert.Empty(t, got)
				assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
				if !call.tokenCall() { // a token is fetched for the next caller too
					assert.Zero(t, s.count())
					assert.Zero(t, attemptsOf(t, err))
				}
				synctest.Wait()
			})
		})
	}
}

func TestCancelDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		s := play(hangs)
		err := newClient(t, s).BatchTagging(ctx, 100, []string{alice})
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, 1, s.count())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
		assert.NotErrorIs(t, err, wechatuser.ErrTemporary)
	})
}

// The timeout of an attempt goes for the body as well, and is no end of the caller's context.
func TestTimeoutOfAnAttempt(t *testing.T) {
	slowBody := func(req *http.Request) (*http.Response, error) {
		resp, err := says(tagsBody)(req)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(tagsBody[:9]), ctxReader{req.Context()}))
		return resp, err
	}
	for name, reply := range map[string]reply{"no answer": hangs, "no end of the body": slowBody} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := getTags(t.Context(), newClient(t, play(reply), noRepeats))
				assert.Equal(t, 10*time.Second, time.Since(start), "the default")
				var te *wechatuser.TransportError
				require.ErrorAs(t, err, &te)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.True(t, te.Timeout())
				assert.ErrorIs(t, err, wechatuser.ErrTemporary)

				start = time.Now()
				s := play(reply, says(tagsBody))
				require.NoError(t, getTags(t.Context(), newClient(t, s, wechatuser.WithTimeout(2*time.Second))))
				assert.Less(t, time.Since(start), 2*time.Second+200*time.Millisecond)
			})
		})
	}
}

// ctxReader is a body that does not come.
type ctxReader struct{ ctx context.Context }

func (r ctxReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

func TestFreshTokenForEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		source := wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			n++
			return wechatuser.Token{AccessToken: fmt.Sprint("FAKE", n)}, nil
		})
		s := play(refuses(-1), refuses(-1), says(tagsBody))
		require.NoError(t, getTags(t.Context(), newClient(t, s, wechatuser.WithTokenSource(source))))
		var used []string
		for _, r := range s.requests() {
			used = append(used, r.Query.Get("access_token"))
		}
		assert.Equal(t, []string{"FAKE1", "FAKE2", "FAKE3"}, used)
	})
}

// A refused token costs one repeat, which is none of the attempts.
func TestRefusedToken(t *testing.T) {
	for _, code := range []int{40001, 40014, 42001} {
		for _, call := range apiCalls {
			if call.ownAuth {
				continue
			}
			t.Run(fmt.Sprint(call.name, "/", code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					source := &countingSource{}
					s := play(refuses(code), fails(errRefused), fails(errRefused), says(call.answer))
					got, err := call.do(t.Context(), newClient(t, s, wechatuser.WithTokenSource(source)))
					require.NoError(t, err)
					assert.Equal(t, call.want, got)
					assert.Equal(t, []string{"FAKE1"}, source.refused)

					s = play(refuses(code))
					_, err = call.do(t.Context(), newClient(t, s, wechatuser.WithTokenSource(&countingSource{})))
					require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
					assert.Equal(t, 2, attemptsOf(t, err), "one renewal, then one error")
				})
			})
		}
	}
}

// countingSource gives another token after each refusal.
type countingSource struct{ refused []string }

func (s *countingSource) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: fmt.Sprint("FAKE", len(s.refused)+1)}, nil
}

func (s *countingSource) Invalidate(_ context.Context, refused wechatuser.Token) error {
	s.refused = append(s.refused, refused.AccessToken)
	return nil
}

// A secret that is refused is not a token that is.
func TestRefusedSecret(t *testing.T) {
	s := play(refuses(40001))
	err := newClient(t, s).ClearQuotaByAppSecret(t.Context())
	require.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
	assert.Equal(t, 1, s.count())
}

// Of a list that was processed in part, only the rest is sent again, and nobody else.
func TestPartialFailure(t *testing.T) {
	partial := func(openIDs string) reply {
		return says(`{"errcode":45171,"errmsg":"some openid fail rid: ` + testRID + `","fail_openid_list":` + openIDs + `}`)
	}
	calls := map[string]func(*wechatuser.Client, context.Context, int, []string) error{
		"batchtagging": (*wechatuser.Client).BatchTagging, "batchuntagging": (*wechatuser.Client).BatchUntagging,
	}
	tests := []struct {
		name    string
		replies []reply
		bodies  []string // of the repeats
		failed  []string // nil for a success
	}{
		{"then all", []reply{partial(`["` + bob + `"]`), says(okBody)}, []string{`["` + bob + `"]`}, nil},
		{
			"fewer and fewer", []reply{partial(`["` + bob + `","` + carol + `"]`), partial(`["` + carol + `"]`), says(okBody)},
			[]string{`["` + bob + `","` + carol + `"]`, `["` + carol + `"]`}, nil,
		},
		{
			"the same for ever", []reply{partial(`["` + bob + `"]`)},
			[]string{`["` + bob + `"]`, `["` + bob + `"]`}, []string{bob},
		},
		{"a stranger among them", []reply{partial(`["oOTHER","` + bob + `",""]`), says(okBody)}, []string{`["` + bob + `"]`}, nil},
		{"one who was done before", []reply{partial(`["` + bob + `"]`), partial(`["` + alice + `"]`)}, []string{`["` + bob + `"]`}, []string{}},
		{"a list of something else", []reply{partial(`[{"openid":"` + bob + `"}]`)}, nil, []string{}},
		{"an empty list", []reply{partial(`[]`)}, nil, []string{}},
		{"no list", []reply{partial(`null`)}, nil, []string{}},
	}
	for path, call := range calls {
		for _, tt := range tests {
			t.Run(path+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := play(tt.replies...)
					err := call(newClient(t, s), t.Context(), 100, []string{alice, bob, carol})
					assert.Equal(t, 1+len(tt.bodies), s.count())
					for i, r := range s.requests()[1:] {
						assert.Equal(t, "/cgi-bin/tags/members/"+path, r.Path)
						assert.Equal(t, `{"openid_list":`+tt.bodies[i]+`,"tagid":100}`, r.Body)
						assert.Less(t, s.pauses()[i], 400*time.Millisecond)
					}
					if tt.failed == nil {
						require.NoError(t, err)
						return
					}
					var e *wechatuser.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, wechatuser.CodeSomeOpenIDsFailed, e.Code)
					assert.Equal(t, testRID, e.RID)
					assert.ElementsMatch(t, tt.failed, e.FailedOpenIDs)
				})
			})
		}
	}
}

// Elsewhere such a list means nothing.
func TestPartialFailureOfAnotherCall(t *testing.T) {
	s := play(says(`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + alice + `"]}`))
	err := newClient(t, s).BatchBlacklist(t.Context(), []string{alice})
	require.ErrorIs(t, err, wechatuser.CodeSomeOpenIDsFailed)
	assert.Equal(t, 1, s.count())
}

// An error says whether the platform may have applied the write.
func TestAmbiguity(t *testing.T) {
	outcomes := []struct {
		name    string
		replies []reply
		want    bool // for a write
	}{
		{"never sent", []reply{fails(errRefused)}, false},
		{"refused", []reply{refuses(40003)}, false},
		{"busy with this openid", []reply{refuses(45169)}, false},
		{"forbidden by a proxy", []reply{answers(403, "<html>")}, false},
		{"too many requests", []reply{answers(429, "")}, false},
		{"redirect", []reply{answers(307, "", "Location", "/x")}, false},
		{"reset", []reply{fails(errReset)}, true},
		{"timeout", []reply{hangs}, true},
		{"bad gateway", []reply{answers(502, "")}, true},
		{"HTML", []reply{answers(200, "<html>")}, true},
		{"cut", []reply{cutBody}, true},
		{"system error", []reply{refuses(-1)}, true},
		{"reset, then not sent", []reply{fails(errReset), fails(errRefused)}, true},
		{"reset, then refused", []reply{fails(errReset), refuses(48001)}, true},
		{"reset, then forbidden", []reply{fails(errReset), answers(403, "")}, true},
		{"not sent, then refused", []reply{fails(errRefused), refuses(48001)}, false},
	}
	for _, call := range apiCalls {
		if call.tokenCall() || call.name == "CreateTag" || call.name == "DeleteTag" {
			continue // these clear up
		}
		for _, tt := range outcomes {
			if len(tt.replies) > 1 && slices.Contains(neverRepeated, call.name) {
				continue
			}
			t.Run(call.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, err := call.do(t.Context(), call.client(t, play(tt.replies...)))
					require.Error(t, err)
					want := tt.want && call.write
					assert.Equal(t, want, errors.Is(err, wechatuser.ErrAmbiguous))
					assert.Equal(t, want, strings.Contains(err.Error(), "(the platform may have applied it)"), err.Error())
					assert.NotContains(t, err.Error(), "\n")
				})
			})
		}
	}
}

// The token can be gone when a write is to be repeated.
func TestAmbiguityWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the token service is down")
		n := 0
		source := wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			if n++; n > 1 {
				return wechatuser.Token{}, down
			}
			return wechatuser.Token{AccessToken: testToken}, nil
		})
		err := newClient(t, play(fails(errReset)), wechatuser.WithTokenSource(source)).UpdateRemark(t.Context(), alice, "r")
		require.ErrorIs(t, err, down)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
	})
}
