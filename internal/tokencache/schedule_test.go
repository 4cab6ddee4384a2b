package tokencache

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSchedule(t *testing.T) {
	now := time.Now().Round(0)
	for _, tt := range []struct {
		name                  string
		life                  time.Duration
		earliest, latestStale time.Duration // before expiry
		expiring              time.Duration // before expiry
	}{
		{"usual life", 2 * time.Hour, 5 * time.Minute, 4 * time.Minute, time.Minute},
		{"long life", 1000 * time.Hour, 5 * time.Minute, 4 * time.Minute, time.Minute},
		{"ten minutes", 10 * time.Minute, 5 * time.Minute, 4 * time.Minute, time.Minute},
		{"one minute", time.Minute, 30 * time.Second, 24 * time.Second, 6 * time.Second},
		{"one second", time.Second, 500 * time.Millisecond, 400 * time.Millisecond, 100 * time.Millisecond},
		{"no life", 0, 0, 0, 0},
		{"expired", -time.Hour, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expiry := now.Add(tt.life)
			seen := map[time.Time]bool{}
			for range 100 {
				s := schedule(Token{AccessToken: "T1", ExpiresAt: expiry}, now)
				assert.Equal(t, Token{AccessToken: "T1", ExpiresAt: expiry}, s.Token)
				assert.False(t, s.accepted.Load())
				assert.Equal(t, tt.expiring, expiry.Sub(s.expiringAt))
				assert.LessOrEqual(t, expiry.Sub(s.staleAt), tt.earliest)
				assert.GreaterOrEqual(t, expiry.Sub(s.staleAt), tt.latestStale)
				seen[s.staleAt] = true
			}
			if tt.life > 0 {
				assert.Greater(t, len(seen), 50, "processes do not refresh together")
			}
		})
	}
}

// Whatever the life of a token and the time of the deferral: fresh, stale, expiring, expired, in this order.
func TestScheduleKeepsTheOrderOfTheStates(t *testing.T) {
	now := time.Now().Round(0)
	inOrder := func(s *cachedToken) bool {
		return !s.expiringAt.Before(s.staleAt) && !s.ExpiresAt.Before(s.expiringAt)
	}
	for range 10_000 {
		life := rand.N(3 * time.Hour)
		s := schedule(tokenAt(now.Add(life)), now)
		if !inOrder(s) || s.staleAt.Before(now.Add(life/2)) {
			require.FailNow(t, "schedule", "life %v: %+v", life, s)
		}
		at := now.Add(rand.N(3 * time.Hour))
		d := s.deferred(at)
		if !inOrder(d) || d.staleAt.Before(s.staleAt) || d.staleAt.Sub(at) < min(s.ExpiresAt.Sub(at), deferral) {
			require.FailNow(t, "deferred", "life %v, after %v: %+v", life, at.Sub(now), d)
		}
		e := s.extended(tokenAt(s.ExpiresAt.Add(rand.N(time.Hour) - time.Minute)))
		if !inOrder(e) || e.ExpiresAt.Sub(e.staleAt) != s.ExpiresAt.Sub(s.staleAt) {
			require.FailNow(t, "extended", "life %v: %+v", life, e)
		}
	}
}

func tokenAt(expiry time.Time) Token { return Token{AccessToken: "T1", ExpiresAt: expiry} }

func TestExtendedMovesTheSchedule(t *testing.T) {
	now := time.Now().Round(0)
	for _, shift := range []time.Duration{time.Hour, 0, -time.Minute} {
		old := schedule(tokenAt(now.Add(2*time.Hour)), now)
		again := tokenAt(old.ExpiresAt.Add(shift))
		got := old.extended(again)
		assert.Equal(t, again, got.Token)
		assert.Equal(t, old.staleAt.Add(shift), got.staleAt)
		assert.Equal(t, old.expiringAt.Add(shift), got.expiringAt)
		assert.False(t, got.accepted.Load())
		old.accepted.Store(true)
		assert.True(t, old.extended(again).accepted.Load())
		assert.True(t, old.deferred(now).accepted.Load())
	}
}

func TestDeferredPutsTheNextRefreshOff(t *testing.T) {
	expiry := time.Now().Round(0).Add(time.Hour)
	before := func(d time.Duration) time.Time { return expiry.Add(-d) }
	old := &cachedToken{Token: tokenAt(expiry), staleAt: before(4 * time.Minute), expiringAt: before(time.Minute)}
	for _, tt := range []struct {
		name            string
		now             time.Duration // before expiry
		stale, expiring time.Duration // before expiry
	}{
		{"fresh", 10 * time.Minute, 4 * time.Minute, time.Minute},
		{"just stale", 4 * time.Minute, 4*time.Minute - 15*time.Second, time.Minute},
		{"nearly expiring", 62 * time.Second, 47 * time.Second, 47 * time.Second},
		{"expiring", 30 * time.Second, 15 * time.Second, 15 * time.Second},
		{"nearly expired", 10 * time.Second, 0, 0},
		{"expired", -time.Minute, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := old.deferred(before(tt.now))
			assert.Equal(t, old.Token, got.Token)
			assert.Equal(t, tt.stale, expiry.Sub(got.staleAt))
			assert.Equal(t, tt.expiring, expiry.Sub(got.expiringAt))
		})
	}
	assert.NotContains(t, old.deferred(time.Now().Add(time.Hour-time.Minute)).staleAt.String(), "m=", "wall clock only")
}
