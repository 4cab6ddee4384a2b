package wechatuser_test

import (
	"context"
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
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// TestRetries is the table of what is retried: the outcome of each attempt, and the number of requests.
func TestRetries(t *testing.T) {
	const always, unlessNever, never = 3, -3, 1
	tests := []struct {
		name    string
		outcome testutil.Reply
		want    int
	}{
		{"refused connection", testutil.Fail(testutil.ErrRefused), always},
		{"reset", testutil.Fail(testutil.ErrReset), unlessNever},
		{"cut off", testutil.Fail(io.ErrUnexpectedEOF), unlessNever},
		{"timeout", testutil.Hang, unlessNever},
		{"cut body", cutBody, unlessNever},
		{"HTML", testutil.Respond(200, "<html>"), unlessNever},
		{"null", testutil.RespondJSON("null"), unlessNever},
		{"408", testutil.Respond(408, ""), unlessNever},
		{"429", testutil.Respond(429, ""), unlessNever},
		{"500", testutil.Respond(500, testutil.OKBody), unlessNever},
		{"502", testutil.Respond(502, "<html>"), unlessNever},
		{"503", testutil.Respond(503, "", "Retry-After", "60"), unlessNever},
		{"503 for long", testutil.Respond(503, "", "Retry-After", "61"), never},
		{"400", testutil.Respond(400, "<html>"), never},
		{"403", testutil.Respond(403, ""), never},
		{"404", testutil.Respond(404, ""), never},
		{"redirect", testutil.Respond(302, "", "Location", "https://example.com"), never},
		{"-1", testutil.RespondCode(-1), unlessNever},
		{"268487001", testutil.RespondCode(268487001), unlessNever},
		{"268487002", testutil.RespondCode(268487002), unlessNever},
		{"45169", testutil.RespondCode(45169), always},
		{"45171 without a list", testutil.RespondCode(45171), never},
		{"45009", testutil.RespondCode(45009), never},
		{"45011", testutil.RespondCode(45011), never},
		{"45159", testutil.RespondCode(45159), never},
		{"48001", testutil.RespondCode(48001), never},
		{"40003", testutil.RespondCode(40003), never},
		{"unknown code", testutil.RespondCode(12345), never},
	}
	for _, call := range testutil.APICalls {
		if call.Legacy {
			continue // the same as Token
		}
		for _, tt := range tests {
			want := tt.want
			if want == unlessNever {
				want = 3
				if slices.Contains(testutil.NeverRetried, call.Name) {
					want = 1
				}
			}
			t.Run(call.Name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.Play(slices.Repeat([]testutil.Reply{tt.outcome}, want)...)
					s.Replies = append(s.Replies, tagsReply) // for the look-up
					c := call.NewClient(t, s, wechatuser.WithTimeout(time.Second))
					_, err := call.Do(t.Context(), c)
					require.Error(t, err)

					same := slices.DeleteFunc(s.Requests(), func(r testutil.Sent) bool { return r.Path != call.Path })
					assert.Len(t, same, want)
					assert.Equal(t, want, testutil.Attempts(t, err))
					for _, r := range same {
						assert.Equal(t, call.Body, r.Body, "each attempt sends the whole body")
					}
				})
			})
		}
	}
}

// tagsReply lists the tags 2 and 134; the calls of the tests use the second.
var tagsReply = testutil.RespondJSON(`{"tags":[{"id":2,"name":"星标组"},{"id":134,"name":"other"}]}`)

// cutBody replies with a response that is cut off.
func cutBody(req *http.Request) (*http.Response, error) {
	resp, err := testutil.RespondJSON(testutil.OKBody)(req)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.OKBody[:5]), brokenReader{}))
	return resp, err
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRetrySucceeds(t *testing.T) {
	for _, call := range testutil.APICalls {
		t.Run(call.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testutil.Play(testutil.Fail(testutil.ErrRefused), testutil.RespondCode(45169),
					testutil.RespondJSON(call.Response))
				got, err := call.Do(t.Context(), call.NewClient(t, s))
				require.NoError(t, err)
				if !call.IsTokenCall() { // time has passed
					assert.Equal(t, call.Want, got)
				}
				assert.Equal(t, 3, s.Count())
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
			s := testutil.Play(testutil.RespondCode(-1))
			err := testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithRetry(policy)))
			require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
			assert.Equal(t, want, s.Count(), "%+v", policy)
			assert.Equal(t, want, testutil.Attempts(t, err))
		})
	}
}

// Each delay is a random part of its bound, which doubles up to the maximum.
func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		policy wechatuser.RetryPolicy
		bounds []time.Duration
	}{
		{
			wechatuser.RetryPolicy{MaxAttempts: 8},
			[]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms},
		},
		{
			wechatuser.RetryPolicy{MaxAttempts: 4, MinDelay: 10 * ms, MaxDelay: 15 * ms},
			[]time.Duration{10 * ms, 15 * ms, 15 * ms},
		},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MaxDelay: 50 * ms}, []time.Duration{50 * ms, 50 * ms}},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MinDelay: time.Hour}, []time.Duration{time.Hour, time.Hour}},
		{
			wechatuser.RetryPolicy{MaxAttempts: 3, MinDelay: math.MaxInt64},
			[]time.Duration{math.MaxInt64, math.MaxInt64},
		},
		{wechatuser.RetryPolicy{MaxAttempts: 3, MaxDelay: 1}, []time.Duration{1, 1}},
	} {
		t.Run(fmt.Sprintf("%+v", tt.policy), func(t *testing.T) {
			const rounds = 60
			low, high := make([]int, len(tt.bounds)), make([]int, len(tt.bounds))
			for range rounds {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.Play(testutil.RespondCode(-1))
					require.Error(t,
						testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithRetry(tt.policy))))
					pauses := s.Pauses()
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
				return // only zero is less than that
			}
			for i := range tt.bounds { // wrong once in 2^60 runs
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
		want   time.Duration // at least; 0 for the usual delay, negative for no retry
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
				s := testutil.Play(testutil.Respond(tt.status, "", "Retry-After", tt.header),
					testutil.RespondJSON(testutil.TagsBody))
				err := testutil.GetTags(t.Context(), testutil.NewClient(t, s))
				if tt.want < 0 {
					var re *wechatuser.ResponseError
					require.ErrorAs(t, err, &re)
					assert.Greater(t, re.RetryAfter, time.Minute)
					assert.Equal(t, 1, s.Count())
					return
				}
				require.NoError(t, err)
				require.Equal(t, 2, s.Count())
				if tt.want == 0 {
					assert.Less(t, s.Pauses()[0], 200*time.Millisecond)
				} else {
					assert.Equal(t, tt.want, s.Pauses()[0])
				}
			})
		})
	}
}

func TestRetryAfterIsInTheError(t *testing.T) {
	_, err := testutil.NewClient(t, testutil.Play(testutil.Respond(429, "", "Retry-After", "30")),
		testutil.NoRetry).GetTags(t.Context())
	var re *wechatuser.ResponseError
	require.ErrorAs(t, err, &re)
	assert.Equal(t, 30*time.Second, re.RetryAfter)
	assert.ErrorIs(t, err, wechatuser.ErrRateLimited)
}

// countingSource returns another token after each rejected one.
type countingSource struct{ rejected []string }

func (s *countingSource) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: fmt.Sprint("FAKE", len(s.rejected)+1)}, nil
}

func (s *countingSource) Invalidate(_ context.Context, rejected wechatuser.Token) error {
	s.rejected = append(s.rejected, rejected.AccessToken)
	return nil
}
