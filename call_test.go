package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// If a delay would outlast the context, the call returns the last error at once.
func TestNoRetryPastTheDeadline(t *testing.T) {
	for name, reply := range map[string]testutil.Reply{
		"Retry-After": testutil.Respond(503, "", "Retry-After", "10"),
		"partial": testutil.RespondJSON(
			`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + testutil.Alice + `"]}`),
		"busy": testutil.RespondCode(-1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				s := testutil.Play(testutil.Delay(5*time.Second-1, reply))
				c := testutil.NewClient(t, s, wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1 << 60}))
				err := c.BatchTagging(ctx, 100, []string{testutil.Alice, testutil.Bob})
				require.Error(t, err)
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 1, testutil.Attempts(t, err))
				assert.Equal(t, 1, s.Count())
				assert.Equal(t, 5*time.Second-1, time.Since(start))
			})
		})
	}
}

func TestCancelDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the shop has closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := testutil.Play(testutil.Respond(503, "", "Retry-After", "30"))
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		err := testutil.NewClient(t, s).UpdateRemark(ctx, testutil.Alice, "r")

		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.Equal(t, 1, s.Count())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous, "the first request may have been applied")
		var te *wechatuser.TransportError
		require.ErrorAs(t, err, &te)
		var re *wechatuser.ResponseError
		require.ErrorAs(t, err, &re, "the last error is there too")
		assert.Equal(t, 503, re.StatusCode)
		assert.EqualError(t, err,
			"wechatuser: updateRemark: no response to POST /cgi-bin/user/info/updateremark (the platform may have "+
				"applied it): context canceled: the shop has closed while waiting to retry after: "+
				"wechatuser: updateRemark: not a response of the platform: HTTP status 503: Service Unavailable")
	})
}

// With a context that has ended nothing is sent, even if the transport ignores contexts.
func TestEndedContextSendsNothing(t *testing.T) {
	for _, call := range testutil.APICalls {
		t.Run(call.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				s := testutil.Play(testutil.RespondJSON(call.Response))
				got, err := call.Do(ctx, call.NewClient(t, s))
				require.ErrorIs(t, err, context.Canceled)
				assert.Empty(t, got)
				assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
				if !call.IsTokenCall() { // a token is fetched for the next caller too
					assert.Zero(t, s.Count())
					assert.Zero(t, testutil.Attempts(t, err))
				}
				synctest.Wait()
			})
		})
	}
}

func TestFreshTokenForEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		source := wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			n++
			return wechatuser.Token{AccessToken: fmt.Sprint("FAKE", n)}, nil
		})
		s := testutil.Play(testutil.RespondCode(-1), testutil.RespondCode(-1), testutil.RespondJSON(testutil.TagsBody))
		require.NoError(t, testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithTokenSource(source))))
		var used []string
		for _, r := range s.Requests() {
			used = append(used, r.Query.Get("access_token"))
		}
		assert.Equal(t, []string{"FAKE1", "FAKE2", "FAKE3"}, used)
	})
}

// A rejected token costs one retry, which does not count as an attempt.
func TestRejectedTokenIsReplacedOnce(t *testing.T) {
	for _, code := range []int{40001, 40014, 42001} {
		for _, call := range testutil.APICalls {
			if call.OwnAuth {
				continue
			}
			t.Run(fmt.Sprint(call.Name, "/", code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					source := &countingSource{}
					s := testutil.Play(testutil.RespondCode(code), testutil.Fail(testutil.ErrRefused),
						testutil.Fail(testutil.ErrRefused), testutil.RespondJSON(call.Response))
					got, err := call.Do(t.Context(), testutil.NewClient(t, s, wechatuser.WithTokenSource(source)))
					require.NoError(t, err)
					assert.Equal(t, call.Want, got)
					assert.Equal(t, []string{"FAKE1"}, source.rejected)

					s = testutil.Play(testutil.RespondCode(code))
					_, err = call.Do(t.Context(),
						testutil.NewClient(t, s, wechatuser.WithTokenSource(&countingSource{})))
					require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
					assert.Equal(t, 2, testutil.Attempts(t, err), "one token fetch, then the error")
				})
			})
		}
	}
}

// A rejected secret is no rejected token: it is not retried.
func TestRejectedSecretIsNoRejectedToken(t *testing.T) {
	s := testutil.Play(testutil.RespondCode(40001))
	err := testutil.NewClient(t, s).ClearQuotaByAppSecret(t.Context())
	require.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
	assert.Equal(t, 1, s.Count())
}

// If a list was applied in part, only the openids that failed are sent again.
func TestPartialFailureRetriesTheRest(t *testing.T) {
	partial := func(openIDs string) testutil.Reply {
		return testutil.RespondJSON(`{"errcode":45171,"errmsg":"some openid fail rid: ` + testutil.RID + `","fail_openid_list":` + openIDs + `}`)
	}
	calls := map[string]func(*wechatuser.Client, context.Context, int, []string) error{
		"batchtagging": (*wechatuser.Client).BatchTagging, "batchuntagging": (*wechatuser.Client).BatchUntagging,
	}
	tests := []struct {
		name    string
		replies []testutil.Reply
		bodies  []string // of the retries
		failed  []string // nil for a success
	}{
		{
			"then all",
			[]testutil.Reply{partial(`["` + testutil.Bob + `"]`), testutil.RespondJSON(testutil.OKBody)},
			[]string{`["` + testutil.Bob + `"]`},
			nil,
		},
		{
			"fewer and fewer",
			[]testutil.Reply{
				partial(`["` + testutil.Bob + `","` + testutil.Carol + `"]`), partial(`["` + testutil.Carol + `"]`),
				testutil.RespondJSON(testutil.OKBody),
			},
			[]string{`["` + testutil.Bob + `","` + testutil.Carol + `"]`, `["` + testutil.Carol + `"]`},
			nil,
		},
		{
			"the same for ever",
			[]testutil.Reply{partial(`["` + testutil.Bob + `"]`)},
			[]string{`["` + testutil.Bob + `"]`, `["` + testutil.Bob + `"]`},
			[]string{testutil.Bob},
		},
		{
			"a stranger among them",
			[]testutil.Reply{partial(`["oOTHER","` + testutil.Bob + `",""]`), testutil.RespondJSON(testutil.OKBody)},
			[]string{`["` + testutil.Bob + `"]`},
			nil,
		},
		{
			"one who was done before",
			[]testutil.Reply{partial(`["` + testutil.Bob + `"]`), partial(`["` + testutil.Alice + `"]`)},
			[]string{`["` + testutil.Bob + `"]`},
			[]string{},
		},
		{"a list of something else", []testutil.Reply{partial(`[{"openid":"` + testutil.Bob + `"}]`)}, nil, []string{}},
		{"an empty list", []testutil.Reply{partial(`[]`)}, nil, []string{}},
		{"no list", []testutil.Reply{partial(`null`)}, nil, []string{}},
	}
	for path, call := range calls {
		for _, tt := range tests {
			t.Run(path+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.Play(tt.replies...)
					err := call(testutil.NewClient(t, s), t.Context(), 100,
						[]string{testutil.Alice, testutil.Bob, testutil.Carol})
					assert.Equal(t, 1+len(tt.bodies), s.Count())
					for i, r := range s.Requests()[1:] {
						assert.Equal(t, "/cgi-bin/tags/members/"+path, r.Path)
						assert.Equal(t, `{"openid_list":`+tt.bodies[i]+`,"tagid":100}`, r.Body)
						assert.Less(t, s.Pauses()[i], 400*time.Millisecond)
					}
					if tt.failed == nil {
						require.NoError(t, err)
						return
					}
					var e *wechatuser.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, wechatuser.CodeSomeOpenIDsFailed, e.Code)
					assert.Equal(t, testutil.RID, e.RID)
					assert.ElementsMatch(t, tt.failed, e.FailedOpenIDs)
				})
			})
		}
	}
}

// Other calls ignore such a list.
func TestPartialFailureOfOtherCalls(t *testing.T) {
	s := testutil.Play(
		testutil.RespondJSON(
			`{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["` + testutil.Alice + `"]}`))
	err := testutil.NewClient(t, s).BatchBlacklist(t.Context(), []string{testutil.Alice})
	require.ErrorIs(t, err, wechatuser.CodeSomeOpenIDsFailed)
	assert.Equal(t, 1, s.Count())
}

// An error tells whether the platform may have applied the write.
func TestAmbiguity(t *testing.T) {
	outcomes := []struct {
		name    string
		replies []testutil.Reply
		want    bool // for a write
	}{
		{"never sent", []testutil.Reply{testutil.Fail(testutil.ErrRefused)}, false},
		{"rejected", []testutil.Reply{testutil.RespondCode(40003)}, false},
		{"busy with this openid", []testutil.Reply{testutil.RespondCode(45169)}, false},
		{"forbidden by a proxy", []testutil.Reply{testutil.Respond(403, "<html>")}, false},
		{"too many requests", []testutil.Reply{testutil.Respond(429, "")}, false},
		{"redirect", []testutil.Reply{testutil.Respond(307, "", "Location", "/x")}, false},
		{"reset", []testutil.Reply{testutil.Fail(testutil.ErrReset)}, true},
		{"timeout", []testutil.Reply{testutil.Hang}, true},
		{"bad gateway", []testutil.Reply{testutil.Respond(502, "")}, true},
		{"HTML", []testutil.Reply{testutil.Respond(200, "<html>")}, true},
		{"cut", []testutil.Reply{cutBody}, true},
		{"system error", []testutil.Reply{testutil.RespondCode(-1)}, true},
		{
			"reset, then not sent",
			[]testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrRefused)},
			true,
		},
		{"reset, then rejected", []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.RespondCode(48001)}, true},
		{"reset, then forbidden", []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Respond(403, "")}, true},
		{
			"not sent, then rejected",
			[]testutil.Reply{testutil.Fail(testutil.ErrRefused), testutil.RespondCode(48001)},
			false,
		},
	}
	for _, call := range testutil.APICalls {
		if call.IsTokenCall() || call.Name == "CreateTag" || call.Name == "DeleteTag" {
			continue // these look up the outcome
		}
		for _, tt := range outcomes {
			if len(tt.replies) > 1 && slices.Contains(testutil.NeverRetried, call.Name) {
				continue
			}
			t.Run(call.Name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					_, err := call.Do(t.Context(), call.NewClient(t, testutil.Play(tt.replies...)))
					require.Error(t, err)
					want := tt.want && call.Write
					assert.Equal(t, want, errors.Is(err, wechatuser.ErrAmbiguous))
					assert.Equal(t, want, strings.Contains(err.Error(), "(the platform may have applied it)"),
						err.Error())
					assert.NotContains(t, err.Error(), "\n")
				})
			})
		}
	}
}

// The token source can fail before a retry of a write.
func TestAmbiguityWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the token service is down")
		n := 0
		source := wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			if n++; n > 1 {
				return wechatuser.Token{}, down
			}
			return wechatuser.Token{AccessToken: testutil.Token}, nil
		})
		err := testutil.NewClient(t, testutil.Play(testutil.Fail(testutil.ErrReset)),
			wechatuser.WithTokenSource(source)).UpdateRemark(t.Context(), testutil.Alice, "r")
		require.ErrorIs(t, err, down)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
	})
}

// A pause that would end exactly at the deadline is not begun either.
func TestPauseUpToTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		s := testutil.Play(testutil.Respond(503, "", "Retry-After", "5"))
		err := testutil.GetTags(ctx, testutil.NewClient(t, s))

		var re *wechatuser.ResponseError
		require.ErrorAs(t, err, &re, "the error of the attempt, not that of the context")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, time.Since(start))
	})
}

// The write may have been applied, but not the token request whose error ends the call.
func TestAmbiguityIsNotThatOfATokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, refresh := range map[string]testutil.Reply{
			"errcode":     testutil.RespondCode(wechatuser.CodeInvalidSecret),
			"no response": testutil.Fail(testutil.ErrRefused),
			"a page":      testutil.Respond(403, "<html>"),
		} {
			s := testutil.Play(
				testutil.RespondJSON(`{"access_token":"`+testutil.Token+`","expires_in":7200}`),
				testutil.Fail(testutil.ErrReset), // perhaps applied
				testutil.RespondCode(wechatuser.CodeInvalidCredential),
				refresh,
			)
			err := testutil.NewTokenClient(t, s).UpdateRemark(t.Context(), testutil.Alice, "r")

			require.ErrorIs(t, err, wechatuser.ErrAmbiguous, name)
			assert.NotContains(t, err.Error(), "may have applied it", "%s: said of the token request", name)
			assert.ErrorContains(t, err, "of an earlier attempt", name)
		}
	})
}
