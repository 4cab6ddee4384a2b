package test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// If the platform rejects every token, few tokens are fetched, and each call returns its own error.
func TestTokensRejectedForever(t *testing.T) {
	for _, tt := range []struct {
		name     string
		reissue  bool
		opts     []wechatuser.Option
		requests int // for tokens, at most, in 1,000 seconds
		forced   int
	}{
		{"stable", false, nil, 60, 20},
		{"stable, issued again", true, nil, 60, 20},
		{"stable, nothing forced", true, []wechatuser.Option{wechatuser.WithoutForcedRenewal()}, 30, 0},
		{"legacy", false, testutil.TokenModes["legacy"], 30, 0},
		{"legacy, issued again", true, testutil.TokenModes["legacy"], 30, 0},
	} {
		for _, burst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, burst %v", tt.name, burst), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					acc := &testutil.TokenServer{RejectAll: true, ReissueRevoked: tt.reissue}
					c := testutil.NewTokenClient(t, acc, tt.opts...)
					check := func(err error) {
						var e *wechatuser.Error
						require.ErrorAs(t, err, &e)
						assert.Equal(t, "getTags", e.API)
						assert.Equal(t, wechatuser.CodeInvalidCredential, e.Code)
						assert.LessOrEqual(t, e.Attempts, 2)
						assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
						assert.NotErrorIs(t, err, wechatuser.ErrCredential)
					}
					if burst {
						for _, err := range seq.RunConcurrently(1000, func(int) error {
							return testutil.GetTags(t.Context(), c)
						}) {
							check(err)
						}
						assert.LessOrEqual(t, len(acc.TokenRequests()), 4)
						assert.LessOrEqual(t, acc.ForcedRequests(), 1)
						assert.LessOrEqual(t, acc.CallCount(), 2000)
						return
					}
					for range 1000 {
						check(testutil.GetTags(t.Context(), c))
						time.Sleep(time.Second)
					}
					t.Logf("%d token requests, %d forced", len(acc.TokenRequests()), acc.ForcedRequests())
					assert.LessOrEqual(t, len(acc.TokenRequests()), tt.requests)
					assert.LessOrEqual(t, acc.ForcedRequests(), tt.forced)
					forcedApart(t, acc)

					acc.StopRejecting()
					require.NoError(t, testutil.GetTags(t.Context(), c), "the token at hand is still tried")
				})
			})
		}
	}
}

// forcedApart checks the two limits of forced refreshes.
func forcedApart(t *testing.T, acc *testutil.TokenServer) {
	t.Helper()
	var at []time.Time
	for _, in := range acc.TokenRequests() {
		if in.Force {
			at = append(at, in.At)
		}
	}
	for i := range at {
		if i >= 1 {
			assert.GreaterOrEqual(t, at[i].Sub(at[i-1]), 30*time.Second)
		}
		if i >= 20 {
			assert.GreaterOrEqual(t, at[i].Sub(at[i-20]), 24*time.Hour)
		}
	}
}

// If one API rejects every token and the others accept it, not every call fetches a token.
func TestTokensRejectedByOneAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{RejectGetTags: true, ReissueRevoked: true}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithoutForcedRenewal())
		for range 600 {
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.ErrInvalidToken)
			require.NoError(t, c.UpdateRemark(t.Context(), testutil.Alice, "x"))
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, len(acc.TokenRequests()), 20)
		assert.Zero(t, acc.ForcedRequests())
	})
}

// A token that is revoked again and again is replaced up to the limit; then the call returns its own error.
func TestTokenRevokedTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc)
		for i := range 30 {
			err := testutil.GetTags(t.Context(), c)
			if i < 10 {
				require.NoError(t, err)
			} else {
				var e *wechatuser.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, "getTags", e.API)
				assert.ErrorIs(t, err, wechatuser.ErrInvalidToken)
			}
			acc.Revoke()
		}
		assert.Len(t, acc.TokenRequests(), 10)
		time.Sleep(6 * time.Second)
		require.NoError(t, testutil.GetTags(t.Context(), c))
	})
}

// If normal mode issues an invalid token, a refresh is forced, at most once in 30 seconds.
func TestForcedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{ReissueRevoked: true}
		c := testutil.NewTokenClient(t, acc)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		require.Equal(t, 1, acc.ForcedRequests())

		time.Sleep(20 * time.Second)
		acc.Revoke()
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.ErrInvalidToken)
		require.Equal(t, 1, acc.ForcedRequests())
		time.Sleep(10 * time.Second)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		require.Equal(t, 2, acc.ForcedRequests())
	})
}

// Forced refreshes have limits of their own: normal mode works beyond them. RefreshToken counts too. Where a forced
// refresh fails, a call returns the error for its rejected token.
func TestForcedRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{ReissueRevoked: true}
		acc.TokenReply = func(in testutil.TokenRequest) testutil.Reply {
			if in.Force {
				return testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded)
			}
			return nil
		}
		c := testutil.NewTokenClient(t, acc)
		_, err := c.RefreshToken(t.Context())
		require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		for _, forced := range []int{1, 2} {
			var e *wechatuser.Error
			require.ErrorAs(t, testutil.GetTags(t.Context(), c), &e)
			assert.Equal(t, "getTags", e.API)
			assert.Equal(t, wechatuser.CodeInvalidCredential, e.Code)
			assert.Equal(t, forced, acc.ForcedRequests())
			time.Sleep(30 * time.Second)
		}
	})
}

// Whatever fails, a client sends at most 20 token requests in a minute.
func TestTokenRequestLimit(t *testing.T) {
	mishaps := map[string]testutil.Reply{
		"not reachable": testutil.Fail(testutil.ErrRefused),
		"no response":   testutil.Fail(testutil.ErrReset),
		"busy":          testutil.RespondCode(wechatuser.CodeSystemBusy),
		"gateway":       testutil.Respond(http.StatusBadGateway, "<html>502 Bad Gateway</html>"),
		"empty":         testutil.RespondJSON(""),
		"no token":      testutil.RespondJSON(`{"expires_in":7200}`),
		"cut":           testutil.RespondJSON(`{"access_token":"SENTI`),
		"throttled":     testutil.Respond(http.StatusTooManyRequests, "slow down"),
		"minute quota":  testutil.RespondCode(wechatuser.CodeMinuteQuotaExceeded),
		"none works":    nil, // but all calls are rejected
		"short lived":   nil,
		"revoked often": nil,
	}
	for name, mishap := range mishaps {
		for family, opts := range testutil.TokenModes {
			t.Run(name+", "+family, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					acc := &testutil.TokenServer{
						TokenReply: func(testutil.TokenRequest) testutil.Reply { return mishap },
						RejectAll:  name == "none works",
					}
					if name == "short lived" {
						acc.Lifetime = time.Second
					}
					c := testutil.NewTokenClient(t, acc, opts...)
					start := time.Now()
					rng := rand.New(rand.NewPCG(1, 2))
					longest := 0
					for time.Since(start) < 10*time.Minute {
						if name == "revoked often" {
							acc.Revoke()
						}
						err := testutil.GetTags(t.Context(), c)
						if mishap != nil {
							require.Error(t, err)
						}
						if err != nil {
							longest = max(longest, len(err.Error()))
						}
						switch rng.IntN(4) {
						case 0:
							time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
						case 1:
							_, _ = c.RefreshToken(t.Context())
						default:
							time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
						}
					}
					asked := acc.TokenRequests()
					require.Greater(t, len(asked), 10)
					for i := range asked {
						if i >= 20 {
							require.GreaterOrEqual(t, asked[i].At.Sub(asked[i-20].At), time.Minute)
						}
					}
					assert.Less(t, longest, 1000, "errors do not grow")
				})
			})
		}
	}
}

// If the limit ends the retries of a token request, the error is still that of the request.
func TestTokenRequestLimitEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			return testutil.Fail(testutil.ErrRefused)
		}}
		c := testutil.NewTokenClient(t, acc,
			wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 30, MaxDelay: 200 * time.Millisecond}))
		var te *wechatuser.TransportError
		err := testutil.GetTags(t.Context(), c)
		require.ErrorAs(t, err, &te)
		assert.Equal(t, 10, te.Attempts)
		assert.ErrorIs(t, te.Err, testutil.ErrRefused)
		assert.NotContains(t, err.Error(), "no more token requests")
		assert.Len(t, acc.TokenRequests(), 10)
	})
}

// A client at its limit does not use the store or the log either.
func TestNoFetchAtTheTokenRequestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		acc, store := &testutil.TokenServer{
			TokenReply: func(testutil.TokenRequest) testutil.Reply { return testutil.Fail(testutil.ErrRefused) },
		}, testutil.NewSpyStore()
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenStore(store),
			wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for range 1000 {
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), testutil.ErrRefused)
		}
		assert.LessOrEqual(t, strings.Count(log.String(), "\n"), 10)
		assert.LessOrEqual(t, len(store.Ops()), 40)
	})
}

// After an outage of the token endpoint under load the first token arrives within seconds.
func TestRecoveryAfterAnOutage(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Second, 50 * time.Second, 10 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := true
				acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
					if down {
						return testutil.Fail(testutil.ErrRefused)
					}
					return nil
				}}
				c := testutil.NewTokenClient(t, acc)
				start := time.Now()
				var err error
				for time.Since(start) < outage {
					err = testutil.GetTags(t.Context(), c)
					require.Error(t, err)
					assert.ErrorIs(t, err, wechatuser.ErrTemporary)
					time.Sleep(10 * time.Millisecond)
				}
				assert.ErrorIs(t, err, testutil.ErrRefused, "the error says why there is no token")
				down = false
				back := time.Now()
				for testutil.GetTags(t.Context(), c) != nil {
					time.Sleep(10 * time.Millisecond)
				}
				assert.LessOrEqual(t, time.Since(back), 6*time.Second+20*time.Millisecond)
			})
		})
	}
}

// A failure that only a person can fix is remembered, each time for longer.
func TestPermanentFailuresAreRemembered(t *testing.T) {
	t.Parallel()
	var asks []time.Duration // the times: at once, then after 1, 2, 4 … 60 seconds
	for at, pause := time.Duration(0), time.Second; at < 10*time.Minute; at, pause = at+
		pause, min(2*pause, time.Minute) {
		asks = append(asks, at)
	}
	for _, code := range []wechatuser.Code{
		40001, 40013, 40125, 40164, 40243, 41002, 41004, 50004, 50007, 89501, 89502, 89503, 89504, 89505, 89506, 89507,
	} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wrong := true
				acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
					if wrong {
						return testutil.RespondCode(code)
					}
					return nil
				}}
				c := testutil.NewTokenClient(t, acc)
				interval := 100 * time.Millisecond
				if code == wechatuser.CodeInvalidSecret {
					if interval = 10 * time.Millisecond; testutil.Full() {
						interval = time.Millisecond
					}
				}
				start := time.Now()
				for time.Since(start) < 10*time.Minute {
					before := time.Now()
					err := testutil.GetTags(t.Context(), c)
					if !errors.Is(err, code) || !errors.Is(err, wechatuser.ErrCredential) ||
						errors.Is(err, wechatuser.ErrInvalidToken) || time.Since(before) != 0 {
						t.Fatalf("%v after %v", err, time.Since(before))
					}
					time.Sleep(interval)
				}
				var at []time.Duration
				for _, in := range acc.TokenRequests() {
					at = append(at, in.At.Sub(start))
				}
				assert.Equal(t, asks, at)
				assert.Zero(t, acc.CallCount())

				wrong = false
				fixed := time.Now()
				for testutil.GetTags(t.Context(), c) != nil {
					time.Sleep(interval)
				}
				assert.LessOrEqual(t, time.Since(fixed), time.Minute)
			})
		})
	}
}

// So is an exhausted daily quota of token requests.
func TestExhaustedTokenQuotaIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			return testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded)
		}}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithLegacyToken())
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.ErrRateLimited)
			time.Sleep(time.Second)
		}
		assert.Less(t, len(acc.TokenRequests()), 20)
	})
}

// After a success the next failure is remembered for the shortest time again.
func TestSuccessResetsRememberedFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := true
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			if wrong {
				return testutil.RespondCode(wechatuser.CodeIPNotAllowed)
			}
			return nil
		}}
		c := testutil.NewTokenClient(t, acc)
		for range 100 {
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.CodeIPNotAllowed)
			time.Sleep(time.Second)
		}
		wrong = false
		time.Sleep(time.Minute)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		wrong = true
		acc.Revoke()
		before := len(acc.TokenRequests())
		for range 10 {
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.CodeIPNotAllowed)
			time.Sleep(time.Second)
		}
		assert.Equal(t, before+4, len(acc.TokenRequests())) // after 0, 1, 3 and 7 seconds
	})
}
