package test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// ending is how one request ends.
type ending struct {
	name      string
	inject    testutil.Injector
	ambiguous bool // no response tells whether it was applied
}

var endings = []ending{
	{"not sent", testutil.RespondInstead(testutil.Fail(testutil.ErrRefused)), false},
	{"lost", testutil.RespondInstead(testutil.Fail(testutil.ErrReset)), true},
	{"done, and lost", applyThen(testutil.Fail(testutil.ErrReset)), true},
	{"busy", testutil.RespondInstead(testutil.RespondCode(-1)), true},
	{"done, and busy", applyThen(testutil.RespondCode(-1)), true},
	{"done, and 502", applyThen(testutil.Respond(502, "<html>")), true},
	{"429", testutil.RespondInstead(testutil.Respond(429, "")), false},
	{"45169", testutil.RespondInstead(testutil.RespondCode(45169)), false},
	{"48001", testutil.RespondInstead(testutil.RespondCode(48001)), false},
	{"revoked", revokeBefore, false},
	{"done, lost and revoked", applyThenRevoke, true},
}

// applyThen lets the platform apply the request, and replies something else.
func applyThen(r testutil.Reply) testutil.Injector {
	return func(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
		if _, err := s.Apply(req); err != nil {
			return nil, err
		}
		return r(req)
	}
}

// writeCalls are the calls of the matrix that change the account.
func writeCalls(t *testing.T) (some []testutil.APICall) {
	t.Helper()
	for _, calls := range matrixCalls(t) {
		some = append(some, slices.DeleteFunc(slices.Clone(calls), func(a testutil.APICall) bool {
			return !a.Write
		})...)
	}
	require.Len(t, some, 11)
	return some
}

// retriedAsTheyAre are the writes that have the same effect twice as once.
var retriedAsTheyAre = []string{
	"UpdateRemark", "UpdateTag", "BatchTagging", "BatchUntagging", "BatchBlacklist", "BatchUnblacklist",
}

// However the requests of a write end, and in which order: a success is applied once, an error without ErrAmbiguous is
// not applied, and what is never retried is applied at most once. At full size these are all orders of three endings;
// by default all orders of two, each followed by a third of the endings in turn.
func TestEveryOutcomeOfAWrite(t *testing.T) {
	t.Parallel()
	total := 0
	for _, call := range writeCalls(t) {
		t.Run(call.Name, func(t *testing.T) {
			v := withoutFault(t, call)
			depth := 3
			if testutil.RaceEnabled || call.Name != "BatchTagging" && slices.Contains(retriedAsTheyAre, call.Name) {
				depth = 2 // these differ in nothing but their bodies
			}
			for _, lookUp := range []testutil.Reply{nil, testutil.RespondCode(48001)} {
				if lookUp != nil && call.Name != "CreateTag" && call.Name != "DeleteTag" {
					continue
				}
				var try func(script []ending)
				pairs := 0
				try = func(script []ending) {
					asked := 0
					synctest.Test(t, func(t *testing.T) { asked = playEndings(t, call, v, script, lookUp) })
					total++
					if asked <= len(script) || len(script) == depth {
						return
					}
					if len(script) == 2 {
						pairs++
					}
					for i, e := range endings {
						if len(script) < 2 || testutil.Full() || (i+pairs)%5 == 0 {
							try(append(slices.Clip(script), e))
						}
					}
				}
				try(nil)
			}
		})
	}
	t.Log(total, "ways")
}

// playEndings makes a call whose requests end as the script says, and well after that. It returns how many there were.
func playEndings(t *testing.T, call testutil.APICall, v baseline, script []ending, lookUp testutil.Reply) (asked int) {
	s := testutil.NewFixture(t, call)
	ambiguous := false
	s.Times = -1
	s.Inject = func(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
		if asked++; asked > len(script) {
			return testutil.AlterResponse(testutil.RespondJSON)(s, req)
		}
		ambiguous = ambiguous || script[asked-1].ambiguous
		return script[asked-1].inject(s, req)
	}
	if lookUp != nil {
		s.Otherwise = lookUp
	}
	got, err := s.Call.Do(t.Context(), s.Client)

	var names []string
	for _, e := range script {
		names = append(names, e.name)
	}
	way := fmt.Sprintf("%s, with a look-up: %t, gave %v", strings.Join(names, "; "), lookUp == nil, err)
	switch {
	case err == nil:
		assert.Equal(t, v.got, got, way)
		assert.Equal(t, v.after, s.State(t), way)
	case errors.Is(err, wechatuser.ErrAmbiguous):
		assert.True(t, ambiguous, "no ending was ambiguous: %s", way)
		assert.Contains(t, []testutil.AccountState{v.before, v.after}, s.State(t), way)
	default:
		assert.Equal(t, v.before, s.State(t), way)
	}
	if err != nil {
		assert.Empty(t, got, way)
		assert.Equal(t, asked, testutil.Attempts(t, err), way)
	}
	if slices.Contains(testutil.NeverRetried, call.Name) {
		assert.LessOrEqual(t, s.Applied, 1, way)
	}
	return asked
}

// Without retries an unknown outcome is returned at once, and nothing is looked up.
func TestAmbiguityWithoutRetries(t *testing.T) {
	for _, call := range writeCalls(t) {
		for _, e := range endings {
			if e.name == "revoked" {
				continue // replacing a rejected token does not count as a retry
			}
			t.Run(call.Name+"/"+e.name, func(t *testing.T) {
				s := testutil.NewFixture(t, call, testutil.NoRetry)
				s.Inject, s.Times = e.inject, -1
				_, err := s.Call.Do(t.Context(), s.Client)
				require.Error(t, err)
				assert.Equal(t, e.ambiguous, errors.Is(err, wechatuser.ErrAmbiguous), err)
				assert.Equal(t, 1, s.Calls)
				assert.Equal(t, strings.HasPrefix(e.name, "done"), s.Applied == 1)
			})
		}
	}
}

// Whatever the number of attempts and hosts, a call that clears a quota is not retried once it may have arrived.
func TestClearingAQuotaIsNeverRetried(t *testing.T) {
	for _, call := range writeCalls(t) {
		if !slices.Contains(testutil.NeverRetried, call.Name) {
			continue
		}
		for _, e := range endings {
			if !e.ambiguous {
				continue
			}
			t.Run(call.Name+"/"+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.NewFixture(t, call, wechatuser.WithDisasterRecovery(),
						wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 10}))
					s.Times = -1
					n := 0
					s.Inject = func(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
						if n++; n <= 3 {
							return nil, testutil.ErrRefused // which is retried
						}
						return e.inject(s, req)
					}
					_, err := s.Call.Do(t.Context(), s.Client)
					require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
					assert.Equal(t, 4, s.Calls)
				})
			})
		}
	}
}

// The server applies each write and closes the connection without a byte. On a reused connection net/http could take
// that for a connection that was closed earlier, and retry the request itself.
func TestNetHTTPDoesNotRetryWrites(t *testing.T) {
	for _, call := range writeCalls(t) {
		t.Run(call.Name, func(t *testing.T) {
			v := withoutFault(t, call)
			s := testutil.NewFixture(t, call)
			var mu sync.Mutex
			arrived := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != call.Path {
					s.Server.ServeHTTP(w, r)
					return
				}
				mu.Lock()
				arrived++
				mu.Unlock()
				s.Server.ServeHTTP(httptest.NewRecorder(), r)
				conn, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					conn.Close()
				}
			}))
			defer srv.Close()
			for _, attempts := range []int{1, 3} {
				c, err := wechatuser.New(testutil.AppID, testutil.Secret, wechatuser.WithBaseURL(srv.URL),
					wechatuser.WithTransport(srv.Client().Transport),
					wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: attempts, MinDelay: 1, MaxDelay: 1}))
				require.NoError(t, err)
				require.NoError(t, testutil.GetTags(t.Context(), c), "the connection is used")
				arrived = 0
				_, err = s.Call.Do(t.Context(), c)
				want := attempts
				if slices.Contains(testutil.NeverRetried, call.Name) {
					want = 1
				}
				switch {
				case attempts == 3 && (call.Name == "CreateTag" || call.Name == "DeleteTag"):
					require.NoError(t, err, "it was looked up")
				default:
					require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
				}
				mu.Lock()
				assert.Equal(t, want, arrived)
				mu.Unlock()
				assert.Equal(t, v.after, s.State(t))
			}
		})
	}
}
