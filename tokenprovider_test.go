package wechatuser_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestOneTokenRequestForAThousandConcurrentCalls(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{TokenDelay: 30 * time.Millisecond, NoOverlap: true}
				c := testutil.NewTokenClient(t, acc, opts...)
				for _, err := range seq.RunConcurrently(1000, func(int) error {
					return testutil.GetTags(t.Context(), c)
				}) {
					require.NoError(t, err)
				}
				require.Len(t, acc.TokenRequests(), 1)
				assert.Equal(t, name == "legacy", acc.TokenRequests()[0].Legacy)
				assert.False(t, acc.TokenRequests()[0].Force)
				assert.Equal(t, 1000, acc.CallCount())
			})
		})
	}
}

// randomPauses returns n pauses shorter than limit.
func randomPauses(seed uint64, n int, limit time.Duration) (pauses []time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		pauses = append(pauses, time.Duration(rng.Int64N(int64(limit))))
	}
	return pauses
}

// A token that is revoked under load costs one token request and fails no call: for each errcode and method, whether or
// not older tokens stay valid, and even if normal mode issues the invalid token again.
func TestInvalidTokenIsReplacedWithoutAFailedCall(t *testing.T) {
	type variant struct {
		family    string
		code      wechatuser.Code
		noOverlap bool
		reissued  bool
		scattered bool // calls start at random times around the revocation
	}
	var variants []variant
	for _, code := range []wechatuser.Code{
		wechatuser.CodeInvalidCredential, wechatuser.CodeInvalidAccessToken, wechatuser.CodeAccessTokenExpired,
	} {
		for family := range testutil.TokenModes {
			for _, noOverlap := range []bool{false, true} {
				for _, scattered := range []bool{false, true} {
					variants = append(variants,
						variant{family: family, code: code, noOverlap: noOverlap, scattered: scattered})
				}
			}
		}
		variants = append(variants, variant{family: "stable", code: code, reissued: true})
	}
	for seed, v := range variants {
		pause := randomPauses(uint64(seed), 500, 100*time.Millisecond)
		t.Run(fmt.Sprintf("%+v", v), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{
					TokenDelay: 30 * time.Millisecond, CallDelay: 10 * time.Millisecond,
					RejectCode: v.code, NoOverlap: v.noOverlap, ReissueRevoked: v.reissued,
				}
				c := testutil.NewTokenClient(t, acc, testutil.TokenModes[v.family]...)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				time.AfterFunc(50*time.Millisecond, acc.Revoke)
				errs := seq.RunConcurrently(500, func(i int) error {
					if v.scattered {
						time.Sleep(pause[i])
					} else {
						time.Sleep(50*time.Millisecond + time.Nanosecond)
					}
					if i%2 == 0 {
						return c.UpdateRemark(t.Context(), testutil.Alice, "x")
					}
					return testutil.GetTags(t.Context(), c)
				})
				for _, err := range errs {
					require.NoError(t, err)
				}
				want := 2 // the first one, and one after the revocation
				if v.reissued {
					want = 3
				}
				assert.Len(t, acc.TokenRequests(), want)
				assert.Equal(t, want-2, acc.ForcedRequests())
			})
		})
	}
}

// A waiting call ends with its own context, and no other call notices.
func TestWaiterEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: 4 * time.Second}
		c := testutil.NewTokenClient(t, acc)
		start := time.Now()
		type outcome struct {
			err   error
			after time.Duration
		}
		call := func(ctx context.Context, to *outcome) func() {
			return func() { *to = outcome{testutil.GetTags(ctx, c), time.Since(start)} }
		}
		withDeadline, cancel1 := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel1()
		cancelled, cancel2 := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel2)

		var first, second, third, fourth outcome
		var wg sync.WaitGroup
		wg.Go(call(t.Context(), &first))
		synctest.Wait() // so that the first call is the one that fetches
		wg.Go(call(withDeadline, &second))
		wg.Go(call(cancelled, &third))
		wg.Go(call(t.Context(), &fourth))
		wg.Wait()

		assert.Equal(t, outcome{nil, 4 * time.Second}, first)
		assert.Equal(t, outcome{nil, 4 * time.Second}, fourth)
		assert.Len(t, acc.TokenRequests(), 1)

		assert.Equal(t, 200*time.Millisecond, second.after)
		assert.ErrorIs(t, second.err, context.DeadlineExceeded)
		assert.Equal(t, 300*time.Millisecond, third.after)
		assert.ErrorIs(t, third.err, context.Canceled)
		for _, err := range []error{second.err, third.err} {
			var te *wechatuser.TransportError
			require.ErrorAs(t, err, &te)
			assert.Equal(t, "getTags", te.API)
			assert.Equal(t, 1, strings.Count(err.Error(), "waiting for an access token"), err)
		}
	})
}

func TestNoFetchForACallWhoseContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, testutil.GetTags(ctx, c), context.Canceled)
		synctest.Wait()
		assert.Empty(t, acc.TokenRequests())
	})
}

// The life of a token: no requests, a refresh in the background, then the new token.
func TestEarlyRefresh(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{TokenDelay: 2 * time.Second}
				c := testutil.NewTokenClient(t, acc, opts...)
				first, err := c.Token(t.Context())
				require.NoError(t, err)

				time.Sleep(time.Until(first.ExpiresAt.Add(-5*time.Minute - time.Nanosecond)))
				for _, err := range seq.RunConcurrently(100, func(int) error {
					return testutil.GetTags(t.Context(), c)
				}) {
					require.NoError(t, err)
				}
				synctest.Wait()
				require.Len(t, acc.TokenRequests(), 1, "no refresh earlier than 5 minutes before the token expires")

				time.Sleep(time.Until(first.ExpiresAt.Add(-4 * time.Minute)))
				start := time.Now()
				for range 10 {
					for _, err := range seq.RunConcurrently(100, func(int) error {
						got, err := c.Token(t.Context())
						assert.Equal(t, first, got)
						return err
					}) {
						require.NoError(t, err)
					}
				}
				assert.Zero(t, time.Since(start), "no call waits while the old token serves")
				synctest.Wait()
				require.Len(t, acc.TokenRequests(), 2, "one refresh, not one for each call")

				time.Sleep(2*time.Second + time.Nanosecond)
				second, err := c.Token(t.Context())
				require.NoError(t, err)
				assert.NotEqual(t, first.AccessToken, second.AccessToken)
				assert.Equal(t, start.Add(2*time.Hour).Round(0), second.ExpiresAt)
				assert.Len(t, acc.TokenRequests(), 2)
			})
		})
	}
}

// Processes that fetched their tokens at the same time do not refresh them at the same time.
func TestEarlyRefreshHasJitter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			acc := &testutil.TokenServer{}
			c := testutil.NewTokenClient(t, acc)
			first, err := c.Token(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Until(first.ExpiresAt.Add(-5*time.Minute - time.Second)))
			for len(acc.TokenRequests()) == 1 {
				time.Sleep(time.Second)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				synctest.Wait()
			}
			before := first.ExpiresAt.Sub(acc.TokenRequests()[1].At)
			assert.GreaterOrEqual(t, before, 4*time.Minute-time.Second)
			assert.LessOrEqual(t, before, 5*time.Minute)
			seen[before] = true
		})
	}
	assert.Greater(t, len(seen), 5)
}

func TestCallsWaitForTheRefreshInTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: 2 * time.Second}
		c := testutil.NewTokenClient(t, acc)
		first, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(first.ExpiresAt.Add(-time.Minute)))
		start := time.Now()
		for _, err := range seq.RunConcurrently(100, func(int) error {
			got, err := c.Token(t.Context())
			assert.NotEqual(t, first.AccessToken, got.AccessToken)
			return err
		}) {
			require.NoError(t, err)
		}
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.Len(t, acc.TokenRequests(), 2)
	})
}

// While refreshes fail the old token is used until it expires, and calls share the attempts.
func TestOldTokenIsUsedUntilItExpiresWhileRefreshFails(t *testing.T) {
	for name, failure := range map[string]testutil.Reply{
		"network":       testutil.Fail(testutil.ErrReset),
		"not reachable": testutil.Fail(testutil.ErrRefused),
		"busy":          testutil.RespondCode(wechatuser.CodeSystemBusy),
		"gateway":       testutil.Respond(http.StatusBadGateway, "<html>502 Bad Gateway</html>"),
		"wrong secret":  testutil.RespondCode(wechatuser.CodeInvalidSecret),
		"quota":         testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded),
		"hanging":       testutil.Hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := false
				acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
					if down {
						return failure
					}
					return nil
				}}
				c := testutil.NewTokenClient(t, acc, wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
				tok, err := c.Token(t.Context())
				require.NoError(t, err)
				down = true
				time.Sleep(time.Until(tok.ExpiresAt.Add(-6 * time.Minute)))
				calls, longest := 0, time.Duration(0)
				for time.Until(tok.ExpiresAt) > 100*time.Millisecond {
					start := time.Now()
					if name != "hanging" { // in the last minute a call can outlive the token
						require.NoError(t, testutil.GetTags(t.Context(), c))
					} else if _, err := c.Token(t.Context()); time.Until(tok.ExpiresAt) > 0 {
						require.NoError(t, err)
					}
					longest = max(longest, time.Since(start))
					calls++
					time.Sleep(100 * time.Millisecond)
				}
				assert.Greater(t, calls, 2000)
				assert.LessOrEqual(t, len(acc.TokenRequests())-1, 21, "token requests in 5 minutes")
				if name != "hanging" {
					assert.Less(t, longest, time.Second)
				}

				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Error(t, testutil.GetTags(t.Context(), c))
				down = false
				time.Sleep(time.Minute)
				require.NoError(t, testutil.GetTags(t.Context(), c))
			})
		})
	}
}

// WeChat issues the same token until 5 minutes before it expires, by its own clock.
func TestEarlyRefreshThatReturnsTheSameTokenIsRetriedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{RenewBefore: 2 * time.Minute}
		c := testutil.NewTokenClient(t, acc)
		first, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(first.ExpiresAt.Add(-5 * time.Minute)))
		refreshed := time.Time{}
		for time.Until(first.ExpiresAt) > 0 {
			got, err := c.Token(t.Context())
			require.NoError(t, err)
			if got.AccessToken != first.AccessToken {
				refreshed = time.Now()
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.False(t, refreshed.IsZero())
		assert.InDelta(t, 2*time.Minute, first.ExpiresAt.Sub(refreshed), float64(16*time.Second))
		asked := acc.TokenRequests()
		assert.LessOrEqual(t, len(asked), 1+180/15+1)
		for i := range asked[2:] {
			assert.GreaterOrEqual(t, asked[i+2].At.Sub(asked[i+1].At), 15*time.Second)
		}
	})
}

// An old token is rejected after a new one has been fetched. The new one stays.
func TestLateRejectionOfAnOldTokenIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: 10 * time.Millisecond}
		slow := &slowFirst{TokenServer: acc, delay: time.Minute}
		c := testutil.NewTokenClient(t, slow, wechatuser.WithTimeout(time.Hour))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		late := make(chan error)
		// rejected at once; the response arrives a minute later
		go func() { late <- c.UpdateRemark(t.Context(), testutil.Alice, "x") }()
		synctest.Wait()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		require.Len(t, acc.TokenRequests(), 2)
		second, err := c.Token(t.Context())
		require.NoError(t, err)

		require.NoError(t, <-late)
		third, err := c.Token(t.Context())
		require.NoError(t, err)
		assert.Equal(t, second, third)
		assert.Len(t, acc.TokenRequests(), 2)
	})
}

// So it does when the new token is about to expire and no other can be fetched.
func TestLateRejectionWhileRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			if down.Load() {
				return testutil.Fail(testutil.ErrReset)
			}
			return nil
		}}
		slow := &slowFirst{TokenServer: acc, delay: 2*time.Hour - 30*time.Second}
		c := testutil.NewTokenClient(t, slow, wechatuser.WithTimeout(3*time.Hour))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		late := make(chan error)
		go func() { late <- c.UpdateRemark(t.Context(), testutil.Alice, "x") }()
		synctest.Wait()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		down.Store(true)
		require.NoError(t, <-late)
		require.NoError(t, testutil.GetTags(t.Context(), c))
	})
}

// slowFirst delays the first error response to updateRemark.
type slowFirst struct {
	*testutil.TokenServer
	delay time.Duration
	once  sync.Once
}

func (s *slowFirst) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.TokenServer.RoundTrip(req)
	if strings.HasSuffix(req.URL.Path, "/updateremark") {
		s.once.Do(func() { time.Sleep(s.delay) })
	}
	return resp, err
}

func TestRefreshToken(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{TokenDelay: time.Second}
				c := testutil.NewTokenClient(t, acc, opts...)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				old, err := c.Token(t.Context())
				require.NoError(t, err)

				for _, err := range seq.RunConcurrently(50, func(int) error {
					got, err := c.RefreshToken(t.Context())
					assert.NotEqual(t, old.AccessToken, got.AccessToken)
					return err
				}) {
					require.NoError(t, err)
				}
				require.Len(t, acc.TokenRequests(), 2, "those who come together share one")
				assert.Equal(t, name == "stable", acc.TokenRequests()[1].Force)

				now, err := c.Token(t.Context())
				require.NoError(t, err)
				assert.NotEqual(t, old.AccessToken, now.AccessToken)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Len(t, acc.TokenRequests(), 2)
			})
		})
	}
}

// A leaked token may outlive the first forced refresh. It does not outlive the second one, 30 seconds later:
// https://developers.weixin.qq.com/doc/channels/API/leagueheadsupplier/getStableAccessToken.html
func TestTwoForcedRefreshesEndALeakedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
			wechatusertest.WithQuirks(wechatusertest.Quirks{TokenOutlivesForce: true}))
		c := srv.Client()
		leaked, err := c.Token(t.Context())
		require.NoError(t, err)
		thief := srv.Client(wechatuser.WithTokenSource(wechatuser.StaticTokenSource(leaked.AccessToken)))
		for i := range 2 {
			time.Sleep(30 * time.Second)
			require.NoError(t, testutil.GetTags(t.Context(), thief), "%d refreshes", i)
			_, err = c.RefreshToken(t.Context())
			require.NoError(t, err)
		}
		require.ErrorIs(t, testutil.GetTags(t.Context(), thief), wechatuser.ErrInvalidToken)
		require.NoError(t, testutil.GetTags(t.Context(), c))
	})
}

// Calls continue during a forced refresh, and those whose token it invalidated are retried.
func TestCallsDuringRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: time.Second, CallDelay: 10 * time.Millisecond}
		c := testutil.NewTokenClient(t, acc)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		pause := randomPauses(1, 500, 2*time.Second)
		errs := seq.RunConcurrently(500, func(i int) error {
			if i == 0 {
				_, err := c.RefreshToken(t.Context())
				return err
			}
			time.Sleep(pause[i])
			return testutil.GetTags(t.Context(), c)
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		assert.Len(t, acc.TokenRequests(), 2)
	})
}

func TestRefreshTokenIsNotRetried(t *testing.T) {
	for name, mishap := range map[string]testutil.Reply{
		"no response": testutil.Fail(testutil.ErrReset),
		"gateway":     testutil.Respond(http.StatusBadGateway, "<html>502 Bad Gateway</html>"),
		"busy":        testutil.RespondCode(wechatuser.CodeSystemBusy),
		"hanging":     testutil.Hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{TokenReply: func(in testutil.TokenRequest) testutil.Reply {
					if in.Force {
						return mishap
					}
					return nil
				}}
				c := testutil.NewTokenClient(t, acc)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				_, err := c.RefreshToken(t.Context())
				require.Error(t, err)
				assert.Len(t, acc.TokenRequests(), 2)
				assert.Equal(t, 1, acc.ForcedRequests())
				require.NoError(t, testutil.GetTags(t.Context(), c), "the old token serves on")
			})
		})
	}
}

func TestRefreshTokenWaitsForARunningFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: time.Second}
		c := testutil.NewTokenClient(t, acc)
		go func() { _, _ = c.Token(t.Context()) }()
		synctest.Wait()
		got, err := c.RefreshToken(t.Context())
		require.NoError(t, err)
		require.Len(t, acc.TokenRequests(), 2)
		assert.False(t, acc.TokenRequests()[0].Force)
		assert.True(t, acc.TokenRequests()[1].Force)
		assert.Equal(t, time.Second, acc.TokenRequests()[1].At.Sub(acc.TokenRequests()[0].At))
		now, err := c.Token(t.Context())
		require.NoError(t, err)
		assert.Equal(t, got, now)
	})
}

// A forced refresh that fails fails only its caller; other calls that waited for it fetch a token in normal mode.
func TestFailedRefreshTokenFailsNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenDelay: time.Second}
		acc.TokenReply = func(in testutil.TokenRequest) testutil.Reply {
			if in.Force {
				return testutil.Delay(time.Second, testutil.Fail(testutil.ErrReset))
			}
			return nil
		}
		c := testutil.NewTokenClient(t, acc)
		forced := make(chan error)
		go func() {
			_, err := c.RefreshToken(t.Context())
			forced <- err
		}()
		synctest.Wait()
		go func() { assert.NoError(t, testutil.GetTags(t.Context(), c)) }()
		require.ErrorIs(t, <-forced, testutil.ErrReset)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		assert.Len(t, acc.TokenRequests(), 2)
		assert.Equal(t, 1, acc.CallCount())
	})
}

// Within 30 seconds of the last one a forced refresh returns the current token, which stays valid.
func TestRefreshTokenReturnsTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc)
		first, err := c.RefreshToken(t.Context())
		require.NoError(t, err)
		acc.TokenReply = func(testutil.TokenRequest) testutil.Reply {
			return testutil.RespondJSON(fmt.Sprintf(`{"access_token":%q,"expires_in":7190}`, first.AccessToken))
		}
		time.Sleep(10 * time.Second)
		second, err := c.RefreshToken(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first, second)
		time.Sleep(time.Hour)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Len(t, acc.TokenRequests(), 2)
	})
}

// An invalid response to a token request is a ResponseError. It shows no token, not even a new one.
func TestTokenEndpointBodies(t *testing.T) {
	for name, response := range map[string]testutil.Reply{
		"newline in the token": testutil.RespondJSON(`{"access_token":"SENTINEL-new\n","expires_in":7200}`),
		"empty token":          testutil.RespondJSON(`{"access_token":"","expires_in":7200}`),
		"no token":             testutil.RespondJSON(`{"expires_in":7200}`),
		"no expires_in":        testutil.RespondJSON(`{"access_token":"SENTINEL-new"}`),
		"zero expires_in":      testutil.RespondJSON(`{"access_token":"SENTINEL-new","expires_in":0}`),
		"negative expires_in":  testutil.RespondJSON(`{"access_token":"SENTINEL-new","expires_in":-7200}`),
		"text expires_in":      testutil.RespondJSON(`{"access_token":"SENTINEL-new","expires_in":"soon"}`),
		"upper case":           testutil.RespondJSON(`{"ACCESS_TOKEN":"SENTINEL-new"}`),
		"cut in the token":     testutil.RespondJSON(`{"access_token":"SENTINEL-ne`),
		"cut after the token":  testutil.RespondJSON(`{"access_token":"SENTINEL-new","exp`),
		"cut at the front":     testutil.RespondJSON(`en":"SENTINEL-new","expires_in":7200}`),
		"in a list":            testutil.RespondJSON(`[{"access_token":"SENTINEL-new","expires_in":7200}]`),
		"text":                 testutil.RespondJSON(`"SENTINEL-new"`),
		"null":                 testutil.RespondJSON(`null`),
		"empty object":         testutil.RespondJSON(`{}`),
		"nothing":              testutil.RespondJSON(``),
		"html":                 testutil.Respond(http.StatusOK, `<html><title>sign in</title>`),
		"bad gateway":          testutil.Respond(http.StatusBadGateway, `<html><title>bad gateway</title></html>`),
		"token as text":        testutil.Respond(http.StatusOK, `SENTINEL-new`),
		"XML":                  testutil.Respond(http.StatusOK, `<xml><access_token>SENTINEL-new</access_token></xml>`),
		"form":                 testutil.Respond(http.StatusOK, `access_token=SENTINEL-new&expires_in=7200`),
		"base64": testutil.Respond(http.StatusOK,
			base64.StdEncoding.EncodeToString([]byte(`{"access_token":"SENTINEL-new","expires_in":7200}`))),
		"JSON in HTML": testutil.Respond(http.StatusOK,
			`<html><title>x</title><pre>{"access_token":"SENTINEL-new","expires_in":7200}</pre>`),
		"token in a title": testutil.Respond(http.StatusOK, `<html><title>x SENTINEL-new-0123456789</title>`),
		"token in a type":  testutil.Respond(http.StatusOK, `{}`, "Content-Type", "text/plain; token=SENTINEL-new"),
		"token with 500": testutil.Respond(http.StatusInternalServerError,
			`{"access_token":"SENTINEL-new","expires_in":7200}`),
		"redirect": testutil.Respond(http.StatusFound, ``, "Location",
			"https://example.com/?access_token=SENTINEL-new"),
		"echo of the request": testutil.Respond(http.StatusBadGateway, `<html>POST secret=`+testutil.Secret+`</html>`),
	} {
		for family, opts := range testutil.TokenModes {
			t.Run(name+", "+family, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log strings.Builder
					logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
					acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
						return response
					}}
					c := testutil.NewTokenClient(t, acc,
						append([]wechatuser.Option{wechatuser.WithLogger(logger)}, opts...)...)
					_, err := c.Token(t.Context())
					var re *wechatuser.ResponseError
					require.ErrorAs(t, err, &re)
					assert.Contains(t, []string{"getStableAccessToken", "getAccessToken"}, re.API)
					for _, text := range []string{
						err.Error(), fmt.Sprintf("%+v %#v", err, re), re.Snippet, fmt.Sprint(re.Err), log.String(),
					} {
						assert.NotContains(t, text, testutil.Sentinel)
					}
					assert.NotEmpty(t, log.String())
					assert.Regexp(t, `^(|a body of \d+ bytes(, titled ".*")?)$`, re.Snippet)
					if name == "html" || name == "bad gateway" {
						require.ErrorContains(t, err,
							`, titled "`+map[string]string{"html": "sign in", "bad gateway": "bad gateway"}[name]+`"`)
					}
				})
			})
		}
	}
}

// A token may expire in any number of seconds.
func TestTokenLifetimes(t *testing.T) {
	for _, life := range []time.Duration{20 * time.Second, time.Minute, 10 * time.Minute, 1000 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{Lifetime: life, RenewBefore: life / 2}
				c := testutil.NewTokenClient(t, acc)
				start := time.Now()
				for time.Since(start) < 20*life {
					require.NoError(t, testutil.GetTags(t.Context(), c))
					synctest.Wait()
					time.Sleep(life / 10)
				}
				assert.InDelta(t, 30, len(acc.TokenRequests()), 12)
			})
		})
	}
}

func TestTokenSource(t *testing.T) {
	errDown := errors.New("the token service is down")

	t.Run("its errors are wrapped", func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(
			func(context.Context) (wechatuser.Token, error) { return wechatuser.Token{}, errDown })))
		err := testutil.GetTags(t.Context(), c)
		require.ErrorIs(t, err, errDown)
		assert.Contains(t, err.Error(), "token source")
		_, err = c.Token(t.Context())
		require.ErrorIs(t, err, errDown)
		assert.Zero(t, acc.CallCount())
	})
	t.Run("its errors show no secret", func(t *testing.T) {
		c := testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(
			func(context.Context) (wechatuser.Token, error) {
				return wechatuser.Token{},
					fmt.Errorf("Get %q: %w", "http://127.0.0.1/?secret="+testutil.Secret, errDown)
			})))
		for _, err := range []error{
			testutil.GetTags(t.Context(), c), second(c.Token(t.Context())), second(c.RefreshToken(t.Context())),
		} {
			require.Error(t, err)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), testutil.Sentinel)
		}
	})
	t.Run("an empty token is an error", func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(wechatuser.StaticTokenSource("")))
		require.ErrorContains(t, testutil.GetTags(t.Context(), c), "empty token")
		assert.Zero(t, acc.CallCount())
	})
	for name, token := range map[string]string{
		"a newline at the end": "SENTINEL\n", "a space in front": " SENTINEL", "a tab inside": "SENTI\tNEL",
		"a NUL": "SENTINEL\x00", "a no-break space": "SENTINEL\u00a0", "a newline alone": "\n",
	} {
		t.Run("a token with "+name+" is an error", func(t *testing.T) {
			acc := &testutil.TokenServer{}
			c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(wechatuser.StaticTokenSource(token)))
			for _, err := range []error{testutil.GetTags(t.Context(), c), second(c.Token(t.Context()))} {
				require.ErrorContains(t, err, "a token with a space or a control character")
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), testutil.Sentinel)
			}
			assert.Zero(t, acc.CallCount())
		})
	}
	t.Run("a rejected static token is used once", func(t *testing.T) {
		acc := &testutil.TokenServer{}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(wechatuser.StaticTokenSource("dead")))
		var e *wechatuser.Error
		require.ErrorAs(t, testutil.GetTags(t.Context(), c), &e)
		assert.Equal(t, "getTags", e.API)
		assert.Equal(t, 1, e.Attempts)
		assert.ErrorIs(t, e, wechatuser.ErrInvalidToken)
		assert.Equal(t, 1, acc.CallCount())
		assert.Empty(t, acc.TokenRequests(), "the SDK itself fetches none")
	})
	t.Run("it ends with the caller's context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := testutil.NewTokenClient(t, &testutil.TokenServer{},
				wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(
					func(ctx context.Context) (wechatuser.Token, error) {
						<-ctx.Done()
						return wechatuser.Token{}, ctx.Err()
					})))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := testutil.GetTags(ctx, c)
			var te *wechatuser.TransportError
			require.ErrorAs(t, err, &te)
			assert.Equal(t, "getTags", te.API)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	})
}

func second[A any](_ A, err error) error { return err }

// A source that returns a newer token by itself needs no TokenInvalidator.
func TestTokenSourceReplacesTheTokenItself(t *testing.T) {
	acc := &testutil.TokenServer{}
	issuer := testutil.NewTokenClient(t, acc) // a client as the source of another
	c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(issuer.Token)))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	acc.Revoke()
	require.NoError(t, testutil.GetTags(t.Context(), issuer))
	require.NoError(t, testutil.GetTags(t.Context(), c))
	require.Len(t, acc.TokenRequests(), 2)

	calls := 0
	rotating := wechatuser.TokenSourceFunc(func(ctx context.Context) (wechatuser.Token, error) {
		if calls++; calls == 1 {
			return wechatuser.Token{AccessToken: "dead"}, nil
		}
		return issuer.Token(ctx)
	})
	require.NoError(t,
		testutil.GetTags(t.Context(), testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(rotating))))
}

// invalidator is a source that returns the next token once the current one is invalidated.
type invalidator struct {
	mu      sync.Mutex
	tokens  []string
	dropped []string
	err     error
}

func (s *invalidator) Token(context.Context) (wechatuser.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wechatuser.Token{AccessToken: s.tokens[0]}, nil
}

func (s *invalidator) Invalidate(_ context.Context, rejected wechatuser.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = append(s.dropped, rejected.AccessToken)
	if s.err != nil {
		return fmt.Errorf("%w: %s", s.err, rejected.AccessToken)
	}
	if s.tokens[0] == rejected.AccessToken && len(s.tokens) > 1 {
		s.tokens = s.tokens[1:]
	}
	return nil
}

func TestTokenInvalidator(t *testing.T) {
	alive := func(names ...string) *testutil.TokenServer {
		acc := &testutil.TokenServer{}
		for _, name := range names {
			acc.Accept(name)
		}
		return acc
	}
	t.Run("it is told which token was rejected", func(t *testing.T) {
		src := &invalidator{tokens: []string{"dead", "good"}}
		acc := alive("good")
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(src))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Equal(t, []string{"dead"}, src.dropped)
		assert.Equal(t, 3, acc.CallCount())
		assert.Empty(t, acc.TokenRequests())
	})
	t.Run("one retry for a call", func(t *testing.T) {
		src := &invalidator{tokens: []string{"dead", "dead too", "good"}}
		c := testutil.NewTokenClient(t, alive("good"), wechatuser.WithTokenSource(src))
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.ErrInvalidToken)
		assert.Equal(t, []string{"dead"}, src.dropped)
	})
	t.Run("its error is added to the call's", func(t *testing.T) {
		src := &invalidator{tokens: []string{testutil.Sentinel}, err: errors.New("it is down")}
		acc := alive()
		err := testutil.GetTags(t.Context(), testutil.NewTokenClient(t, acc, wechatuser.WithTokenSource(src)))
		require.ErrorIs(t, err, src.err)
		require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
		require.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
		var e *wechatuser.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "getTags", e.API)
		assert.Contains(t, err.Error(), "it is down")
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), testutil.Sentinel)
		assert.Equal(t, 1, acc.CallCount())
	})
	t.Run("its timeout is no timeout of the call", func(t *testing.T) {
		src := &invalidator{tokens: []string{"dead"}, err: context.DeadlineExceeded}
		err := testutil.GetTags(t.Context(), testutil.NewTokenClient(t, alive(), wechatuser.WithTokenSource(src)))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, wechatuser.CodeInvalidCredential)
	})
	t.Run("it may return nothing once the old token is invalid", func(t *testing.T) {
		errDown := errors.New("the token service is down")
		calls := 0
		src := wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			if calls++; calls > 1 {
				return wechatuser.Token{}, errDown
			}
			return wechatuser.Token{AccessToken: "dead"}, nil
		})
		err := testutil.GetTags(t.Context(), testutil.NewTokenClient(t, alive(), wechatuser.WithTokenSource(src)))
		require.ErrorIs(t, err, errDown)
		require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
	})
	t.Run("RefreshToken drops the current token", func(t *testing.T) {
		src := &invalidator{tokens: []string{"first", "second"}}
		c := testutil.NewTokenClient(t, alive("first", "second"), wechatuser.WithTokenSource(src))
		got, err := c.RefreshToken(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "second", got.AccessToken)
		assert.Equal(t, []string{"first"}, src.dropped)
	})
	t.Run("RefreshToken needs an invalidator", func(t *testing.T) {
		c := testutil.NewTokenClient(t, alive("first"),
			wechatuser.WithTokenSource(wechatuser.StaticTokenSource("first")))
		_, err := c.RefreshToken(t.Context())
		var ae *wechatuser.ArgumentError
		require.ErrorAs(t, err, &ae)
		assert.Contains(t, ae.Reason, "TokenInvalidator")
	})
	t.Run("RefreshToken fails where the source has no other token", func(t *testing.T) {
		src := &invalidator{tokens: []string{"only"}}
		c := testutil.NewTokenClient(t, alive("only"), wechatuser.WithTokenSource(src))
		_, err := c.RefreshToken(t.Context())
		require.Error(t, err)
	})
}

// If a transport or a store ends its goroutine, as t.FailNow does, no call waits forever.
func TestAbortedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			if broken {
				runtime.Goexit()
			}
			return nil
		}}
		c := testutil.NewTokenClient(t, acc)
		require.ErrorContains(t, testutil.GetTags(t.Context(), c), "ended without a result")
		broken = false
		require.NoError(t, testutil.GetTags(t.Context(), c))
	})
}

func TestFetchesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		acc := &testutil.TokenServer{ReissueRevoked: true}
		c := testutil.NewTokenClient(t, acc, wechatuser.WithLogger(slog.New(slog.NewJSONHandler(&log, nil))))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Contains(t, log.String(),
			`"level":"INFO","msg":"wechatuser: token refreshed","key":"wechatuser:token:stable:`+testutil.AppID+
				`","reason":"cold","from":"wechat",`)
		acc.Revoke()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		require.Error(t, testutil.GetTags(t.Context(), c))
		assert.Contains(t, log.String(), `"level":"WARN","msg":"wechatuser: token refresh failed"`)
		assert.Contains(t, log.String(), `"reason":"rejected"`)
		_, err := c.RefreshToken(t.Context())
		require.NoError(t, err)
		assert.Contains(t, log.String(), `"reason":"forced"`)
		assert.NotContains(t, log.String(), testutil.Sentinel)
	})
}

// A fetch has the context values of the call that started it, for its trace, but not its cancellation.
func TestFetchHasTheContextValuesOfItsFirstCaller(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		var got any
		c := testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithInterceptor(
			func(inner context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
				if call.API == "getStableAccessToken" {
					cancel()
					got = inner.Value(key{})
				}
				return next(inner)
			}))
		require.ErrorIs(t, testutil.GetTags(ctx, c), context.Canceled)
		synctest.Wait()
		assert.Equal(t, "trace", got)
		_, err := c.Token(t.Context())
		require.NoError(t, err)
	})
}

// A log handler may make calls itself.
func TestLogHandlerMayUseTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *wechatuser.Client
		var inner error
		h := handlerFunc(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			inner = second(c.Token(ctx))
		})
		c = testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithLogger(slog.New(h)))
		require.NoError(t, testutil.GetTags(t.Context(), c))
		synctest.Wait()
		assert.NoError(t, inner)
	})
}

type handlerFunc func()

func (h handlerFunc) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h handlerFunc) WithGroup(string) slog.Handler { return h }

func (h handlerFunc) Handle(context.Context, slog.Record) error {
	h()
	return nil
}

// While a lasting failure is remembered, its error says so, and when the next request is.
func TestRememberedFailureSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
			return testutil.RespondCode(wechatuser.CodeIPNotAllowed)
		}}
		c := testutil.NewTokenClient(t, acc)
		for i := range 5 {
			err := testutil.GetTags(t.Context(), c)
			require.ErrorIs(t, err, wechatuser.CodeIPNotAllowed)
			assert.NotContains(t, err.Error(), "remembered")
			err = testutil.GetTags(t.Context(), c)
			require.ErrorIs(t, err, wechatuser.CodeIPNotAllowed)
			require.ErrorIs(t, err, wechatuser.ErrCredential)
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "getStableAccessToken", e.API)
			wait := time.Second << i
			assert.True(t, strings.HasSuffix(err.Error(), fmt.Sprintf(" (remembered; next try in %v)", wait)), "%v",
				err)
			time.Sleep(wait)
		}
	})
}

// ClearQuotaByAppSecret is what the error of a token request without quota names. After it tokens are requested again.
func TestRememberedFailureEndsWithTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acc := &testutil.TokenServer{}
		cleared := wechatuser.CodeClearQuotaLimit
		acc.TokenReply = func(testutil.TokenRequest) testutil.Reply {
			if cleared != 0 {
				return testutil.RespondCode(wechatuser.CodeDailyQuotaExceeded)
			}
			return nil
		}
		c := testutil.NewTokenClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/cgi-bin/clear_quota/v2" {
				return testutil.RespondCode(cleared)(req)
			}
			return acc.RoundTrip(req)
		}))
		for range 5 {
			err := testutil.GetTags(t.Context(), c)
			require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
			assert.Contains(t, err.Error(), "or call ClearQuotaByAppSecret")
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Remedy(), "or call ClearQuotaByAppSecret")
		}
		require.Len(t, acc.TokenRequests(), 1)
		require.ErrorIs(t, c.ClearQuotaByAppSecret(t.Context()), wechatuser.CodeClearQuotaLimit)
		require.Error(t, testutil.GetTags(t.Context(), c))
		require.Len(t, acc.TokenRequests(), 1, "nothing was cleared")
		cleared = 0
		require.NoError(t, c.ClearQuotaByAppSecret(t.Context()))
		require.NoError(t, testutil.GetTags(t.Context(), c))
	})
}

// A response that rejects an argument shows that the token is good. So a token that is revoked after such responses
// alone is replaced at once.
func TestRejectedArgumentShowsAGoodToken(t *testing.T) {
	for code, shows := range map[wechatuser.Code]bool{
		wechatuser.CodeInvalidOpenID: true, 45157: true, 48001: true, wechatuser.CodeMinuteQuotaExceeded: true,
		wechatuser.CodeSystemBusy: false, wechatuser.CodeIPNotAllowed: false, wechatuser.CodeAccessTokenMissing: false,
	} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acc := &testutil.TokenServer{Accepted: testutil.RespondCode(code)}
				c := testutil.NewTokenClient(t, acc)
				failed := 0
				for range 10 {
					if err := testutil.GetTags(t.Context(), c); !errors.Is(err, code) {
						require.ErrorIs(t, err, wechatuser.ErrInvalidToken)
						failed++
					}
					acc.Revoke()
					time.Sleep(100 * time.Millisecond)
				}
				assert.Equal(t, shows, failed == 0, "%d of 10 calls failed", failed)
			})
		})
	}
}

// The platform's expires_in is believed up to a bound, above which it would overflow.
func TestEndlessExpiry(t *testing.T) {
	for _, seconds := range []string{"2147483649", "9223372036854775807"} {
		synctest.Test(t, func(t *testing.T) {
			acc := &testutil.TokenServer{TokenReply: func(testutil.TokenRequest) testutil.Reply {
				return testutil.RespondJSON(`{"access_token":"FAKE","expires_in":` + seconds + `}`)
			}}
			got, err := testutil.NewTokenClient(t, acc).Token(t.Context())
			require.NoError(t, err)
			assert.Equal(t, (1<<31)*time.Second, time.Until(got.ExpiresAt))
		})
	}
}

// A transport that does not return when its context ends holds up no call for ever, and no later one at all.
func TestTransportThatIgnoresItsContext(t *testing.T) {
	for name, opts := range testutil.TokenModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end)
				var stuck atomic.Bool
				stuck.Store(true)
				acc := &testutil.TokenServer{}
				acc.TokenReply = func(testutil.TokenRequest) testutil.Reply {
					if stuck.Load() {
						<-end
					}
					return nil
				}
				c := testutil.NewTokenClient(t, acc,
					append(slices.Clone(opts), wechatuser.WithTokenStore(wechatuser.NewMemoryTokenStore()))...)
				start := time.Now()
				err := testutil.GetTags(t.Context(), c)
				assert.Equal(t, 80*time.Second, time.Since(start))
				require.ErrorContains(t, err, "abandoned after 1m20s of requesting a token")
				assert.ErrorIs(t, err, wechatuser.ErrTemporary)
				var te *wechatuser.TransportError
				require.ErrorAs(t, err, &te)
				assert.Equal(t, "getTags", te.API)
				assert.True(t, te.Timeout())
				stuck.Store(false)
				require.NoError(t, testutil.GetTags(t.Context(), c))
				assert.Equal(t, 80*time.Second, time.Since(start))
			})
		})
	}
}

// How long a refresh may stand still follows the timeout and the retry policy, whatever they are.
func TestLimitOfARefresh(t *testing.T) {
	for _, tt := range []struct {
		timeout, maxDelay, limit time.Duration
	}{
		{time.Second, time.Second, 71 * time.Second},
		{time.Minute, time.Second, 130 * time.Second},
		{time.Second, time.Hour, time.Hour + 11*time.Second},
		{math.MaxInt64, math.MaxInt64, 48*time.Hour + 10*time.Second},
	} {
		c := testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithTimeout(tt.timeout),
			wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: tt.maxDelay}))
		assert.Equal(t, tt.limit, wechatuser.RefreshLimit(c))
	}
}

// The lines about the attempts of a token request are written when the refresh is complete, so that a handler may use
// the client there too.
func TestDebugLogHandlerMayUseTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *wechatuser.Client
		var mu sync.Mutex
		errs := map[string]error{}
		h := debugHandler(func(r slog.Record) {
			mu.Lock()
			_, seen := errs[r.Message]
			errs[r.Message] = nil
			mu.Unlock()
			if !seen {
				err := second(c.Token(t.Context()))
				mu.Lock()
				errs[r.Message] = err
				mu.Unlock()
			}
		})
		c = testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithLogger(slog.New(h)))
		start := time.Now()
		require.NoError(t, testutil.GetTags(t.Context(), c))
		assert.Zero(t, time.Since(start))
		assert.Equal(t, map[string]error{"wechatuser: attempt": nil, "wechatuser: token refreshed": nil}, errs)
	})
}

type debugHandler func(slog.Record)

func (h debugHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h debugHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h debugHandler) WithGroup(string) slog.Handler { return h }

func (h debugHandler) Handle(_ context.Context, r slog.Record) error {
	h(r)
	return nil
}
