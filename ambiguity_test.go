package wechatuser_test

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
)

// end is how one request ends.
type end struct {
	name     string
	strike   strike
	doubtful bool // no answer tells whether it was carried out
}

var ends = []end{
	{"not sent", instead(fails(errRefused)), false},
	{"lost", instead(fails(errReset)), true},
	{"done, and lost", lostAfter(fails(errReset)), true},
	{"busy", instead(refuses(-1)), true},
	{"done, and busy", lostAfter(refuses(-1)), true},
	{"done, and 502", lostAfter(answers(502, "<html>")), true},
	{"429", instead(answers(429, "")), false},
	{"45169", instead(refuses(45169)), false},
	{"48001", instead(refuses(48001)), false},
	{"revoked", tokenEnds, false},
	{"done, lost and revoked", carriedOutThenRevoked, true},
}

// lostAfter lets the platform carry the request out, and answers something else.
func lostAfter(r reply) strike {
	return func(s *scene, req *http.Request) (*http.Response, error) {
		if _, err := s.carryOut(req); err != nil {
			return nil, err
		}
		return r(req)
	}
}

// writeCalls are the calls of the matrix that change the account.
func writeCalls(t *testing.T) (some []apiCall) {
	t.Helper()
	for _, calls := range matrixCalls(t) {
		some = append(some, slices.DeleteFunc(slices.Clone(calls), func(a apiCall) bool { return !a.write })...)
	}
	require.Len(t, some, 11)
	return some
}

// The writes that have the same effect twice as once.
var repeatedAsTheyAre = []string{"UpdateRemark", "UpdateTag", "BatchTagging", "BatchUntagging", "BatchBlacklist", "BatchUnblacklist"}

// Whatever becomes of the requests of a write, in each order: a success is applied once, an error without ErrAmbiguous
// is not applied, and what is never repeated is carried out at most once.
func TestEveryWayAWriteCanEnd(t *testing.T) {
	total := 0
	for _, call := range writeCalls(t) {
		t.Run(call.name, func(t *testing.T) {
			v := withoutFault(t, call)
			depth := 3
			if underRace || call.name != "BatchTagging" && slices.Contains(repeatedAsTheyAre, call.name) {
				depth = 2 // these differ in nothing but their bodies
			}
			for _, lookUp := range []reply{nil, refuses(48001)} {
				if lookUp != nil && call.name != "CreateTag" && call.name != "DeleteTag" {
					continue
				}
				var try func(script []end)
				try = func(script []end) {
					asked := 0
					synctest.Test(t, func(t *testing.T) { asked = playEnds(t, call, v, script, lookUp) })
					total++
					if asked > len(script) && len(script) < depth {
						for _, e := range ends {
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

// playEnds makes a call whose requests end as the script says, and well after that. It gives how many there were.
func playEnds(t *testing.T, call apiCall, v scenery, script []end, lookUp reply) (asked int) {
	s := newScene(t, call)
	doubt := false
	s.times = -1
	s.strike = func(s *scene, req *http.Request) (*http.Response, error) {
		if asked++; asked > len(script) {
			return altered(says)(s, req)
		}
		doubt = doubt || script[asked-1].doubtful
		return script[asked-1].strike(s, req)
	}
	if lookUp != nil {
		s.elsewhere = lookUp
	}
	got, err := s.call.do(t.Context(), s.client)

	var names []string
	for _, e := range script {
		names = append(names, e.name)
	}
	way := fmt.Sprintf("%s, with a look-up: %t, gave %v", strings.Join(names, "; "), lookUp == nil, err)
	switch {
	case err == nil:
		assert.Equal(t, v.got, got, way)
		assert.Equal(t, v.after, s.state(t), way)
	case errors.Is(err, wechatuser.ErrAmbiguous):
		assert.True(t, doubt, "nothing was in doubt: %s", way)
		assert.Contains(t, []accountState{v.before, v.after}, s.state(t), way)
	default:
		assert.Equal(t, v.before, s.state(t), way)
	}
	if err != nil {
		assert.Empty(t, got, way)
		assert.Equal(t, asked, attemptsOf(t, err), way)
	}
	if slices.Contains(neverRepeated, call.name) {
		assert.LessOrEqual(t, s.done, 1, way)
	}
	return asked
}

// Without repeats a doubt comes back at once, and nothing is looked up.
func TestDoubtWithoutRepeats(t *testing.T) {
	for _, call := range writeCalls(t) {
		for _, e := range ends {
			if e.name == "revoked" {
				continue // a renewal of the token is no repeat
			}
			t.Run(call.name+"/"+e.name, func(t *testing.T) {
				s := newScene(t, call, noRepeats)
				s.strike, s.times = e.strike, -1
				_, err := s.call.do(t.Context(), s.client)
				require.Error(t, err)
				assert.Equal(t, e.doubtful, errors.Is(err, wechatuser.ErrAmbiguous), err)
				assert.Equal(t, 1, s.calls)
				assert.Equal(t, strings.HasPrefix(e.name, "done"), s.done == 1)
			})
		}
	}
}

// However many attempts and addresses there are, a call that clears a quota is not sent again once it may have arrived.
func TestClearingAQuotaIsNeverRepeated(t *testing.T) {
	for _, call := range writeCalls(t) {
		if !slices.Contains(neverRepeated, call.name) {
			continue
		}
		for _, e := range ends {
			if !e.doubtful {
				continue
			}
			t.Run(call.name+"/"+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScene(t, call, wechatuser.WithDisasterRecovery(), wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 10}))
					s.times = -1
					n := 0
					s.strike = func(s *scene, req *http.Request) (*http.Response, error) {
						if n++; n <= 3 {
							return nil, errRefused // which is repeated
						}
						return e.strike(s, req)
					}
					_, err := s.call.do(t.Context(), s.client)
					require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
					assert.Equal(t, 4, s.calls)
				})
			})
		}
	}
}

// A server that carries out each write and closes the connection without a byte. On a connection that was used before,
// net/http could take that for a connection that had ended earlier, and send the request again by itself.
func TestNothingIsRepeatedBehindTheClientsBack(t *testing.T) {
	for _, call := range writeCalls(t) {
		t.Run(call.name, func(t *testing.T) {
			v := withoutFault(t, call)
			s := newScene(t, call)
			var mu sync.Mutex
			arrived := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != call.path {
					s.srv.ServeHTTP(w, r)
					return
				}
				mu.Lock()
				arrived++
				mu.Unlock()
				s.srv.ServeHTTP(httptest.NewRecorder(), r)
				conn, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					conn.Close()
				}
			}))
			defer srv.Close()
			for _, attempts := range []int{1, 3} {
				c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithBaseURL(srv.URL), wechatuser.WithTransport(srv.Client().Transport),
					wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: attempts, MinDelay: 1, MaxDelay: 1}))
				require.NoError(t, err)
				require.NoError(t, getTags(t.Context(), c), "the connection is used")
				arrived = 0
				_, err = s.call.do(t.Context(), c)
				want := attempts
				if slices.Contains(neverRepeated, call.name) {
					want = 1
				}
				switch {
				case attempts == 3 && (call.name == "CreateTag" || call.name == "DeleteTag"):
					require.NoError(t, err, "it was looked up")
				default:
					require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
				}
				mu.Lock()
				assert.Equal(t, want, arrived)
				mu.Unlock()
				assert.Equal(t, v.after, s.state(t))
			}
		})
	}
}
