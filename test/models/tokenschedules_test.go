package models

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// schedule is a random run of clients that share a store. Some of them cannot fetch tokens, since their address is not
// in the whitelist; tokens are revoked, at times twice in a row; the limiter fails at times; and there are times when
// the platform rejects what the calls ask for, and thus each call.
type schedule struct {
	t       *testing.T
	rng     *rand.Rand
	acc     *testutil.TokenServer
	clients []*wechatuser.Client
	blocked []bool
	limiter *failingLimiter // nil for none

	mu        sync.Mutex
	revoked   []time.Time
	rejecting bool
	goodAt    time.Time // when a client that can fetch tokens last had a good one
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{t: t, rng: rand.New(rand.NewPCG(seed, 15))}
	s.acc = &testutil.TokenServer{
		NoOverlap: s.rng.IntN(2) == 0, ReissueRevoked: false,
		TokenDelay: s.delay(500), CallDelay: s.delay(50),
		Accepted: func(req *http.Request) (*http.Response, error) {
			s.mu.Lock()
			code := wechatuser.Code(0)
			if s.rejecting {
				code = wechatuser.CodeInvalidOpenID
			}
			s.mu.Unlock()
			if code != 0 {
				return testutil.RespondCode(code)(req)
			}
			return testutil.RespondJSON(testutil.TagsBody)(req)
		},
	}
	opts := []wechatuser.Option{wechatuser.WithTokenStore(wechatuser.NewMemoryTokenStore())}
	if s.rng.IntN(4) == 0 {
		s.limiter = &failingLimiter{rng: rand.New(rand.NewPCG(seed, 16))}
		opts = append(opts, wechatuser.WithLimiter(s.limiter))
	}
	if s.rng.IntN(2) == 0 {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	n := 2 + s.rng.IntN(7)
	for i := range n {
		blocked := i > 0 && s.rng.IntN(3) == 0
		s.blocked = append(s.blocked, blocked)
		s.clients = append(s.clients, testutil.NewTokenClient(t, testutil.RoundTripFunc(
			func(req *http.Request) (*http.Response, error) {
				if !testutil.IsTokenPath(req.URL.Path) {
					return s.acc.RoundTrip(req)
				}
				if blocked {
					return testutil.RespondCode(wechatuser.CodeIPNotAllowed)(req)
				}
				return s.acc.RoundTrip(req)
			}), slices.Clone(opts)...))
	}
	return s
}

func (s *schedule) delay(ms int) time.Duration {
	return time.Duration(1+s.rng.IntN(ms)) * time.Millisecond
}

func (s *schedule) revoke() {
	s.mu.Lock()
	s.revoked = append(s.revoked, time.Now())
	s.mu.Unlock()
	s.acc.Revoke()
}

// revokedSince returns how often tokens were revoked since then.
func (s *schedule) revokedSince(then time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.revoked {
		if !at.Before(then) {
			n++
		}
	}
	return n
}

// call makes a call. It may fail for its token only if tokens were revoked twice, shortly before it or during it, or
// more often within ten seconds: a token that is revoked before a call succeeds with it lengthens the pause. That of a
// client that cannot fetch tokens must succeed if another client had a good token a second before, which is how often
// the store is looked at.
func (s *schedule) call(client int) {
	start := time.Now()
	s.mu.Lock()
	stored := start.Sub(s.goodAt) > time.Second && start.Sub(s.goodAt) < time.Minute
	goodAt := s.goodAt
	s.mu.Unlock()
	err := testutil.GetTags(s.t.Context(), s.clients[client])
	good := err == nil || errors.Is(err, wechatuser.CodeInvalidOpenID)
	switch {
	case good && !s.blocked[client] && s.revokedSince(start) == 0:
		s.mu.Lock()
		s.goodAt = time.Now()
		s.mu.Unlock()
	case good:
	case errors.Is(err, errLimiter): // nothing was sent
	case s.revokedSince(start.Add(-time.Minute)) >= 10: // the client may have reached its limit of requests
	case s.revokedSince(start.Add(-2*time.Second)) >= 2, s.revokedSince(start.Add(-10*time.Second)) >= 3:
		require.True(s.t, errors.Is(err, wechatuser.ErrInvalidToken) || s.blocked[client], "%v", err)
	case s.blocked[client] && (!stored || s.revokedSince(goodAt) > 0):
		require.True(s.t, errors.Is(err, wechatuser.ErrInvalidToken) || errors.Is(err, wechatuser.CodeIPNotAllowed),
			"%v", err)
	default:
		require.NoError(s.t, err, "client %d (blocked: %v) after %v", client, s.blocked[client], time.Since(start))
	}
}

// burst makes calls of random clients at about the same time, and at least one of a client that can fetch tokens.
func (s *schedule) burst() {
	var wg sync.WaitGroup
	for i := range 2 + s.rng.IntN(12) {
		client := 0
		if i > 0 {
			client = s.rng.IntN(len(s.clients))
		}
		pause := s.delay(200)
		wg.Go(func() {
			time.Sleep(pause)
			s.call(client)
		})
	}
	wg.Wait()
}

func (s *schedule) run() {
	for range 12 {
		switch s.rng.IntN(8) {
		case 0, 1, 2:
			s.revoke()
		case 3: // in the middle of the burst
			time.AfterFunc(s.delay(400), s.revoke)
		case 4: // twice
			time.AfterFunc(s.delay(100), s.revoke)
			time.AfterFunc(s.delay(1500), s.revoke)
		case 5:
			s.mu.Lock()
			s.rejecting = !s.rejecting
			s.mu.Unlock()
		case 6:
			time.Sleep(2*time.Hour - s.delay(400_000))
		}
		s.burst()
		time.Sleep(s.delay(5000))
	}
	time.Sleep(5 * time.Second)
	s.limiter.stop()
	s.burst()
	for _, c := range s.clients {
		err := testutil.GetTags(s.t.Context(), c)
		require.True(s.t, err == nil || errors.Is(err, wechatuser.CodeInvalidOpenID), "in the end all is well: %v", err)
	}
	time.Sleep(time.Minute) // refreshes in the background end
}

// check checks that the clients have fetched no more tokens than they needed: one for the first call, for each
// revocation and for each expiry.
func (s *schedule) check() {
	expiries := int(time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) / (100 * time.Minute))
	issued := len(s.acc.TokenRequests())
	require.LessOrEqual(s.t, issued, 1+len(s.revoked)+expiries)
}

func TestSchedulesOfClientsThatShareAStore(t *testing.T) {
	seeds := uint64(150)
	if testutil.Full() {
		seeds = 4000
	}
	for seed := range seeds {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule(t, seed)
				s.run()
				s.check()
			})
		})
		if !ok {
			return
		}
	}
}
