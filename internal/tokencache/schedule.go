package tokencache

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	staleAhead    = 5 * time.Minute  // before expiry, or up to a minute later: the token is stale
	expiringAhead = 1 * time.Minute  // before expiry: the token is expiring
	deferral      = 15 * time.Second // between refreshes that return no new token
)

// cachedToken is a token with its schedule.
type cachedToken struct {
	Token
	staleAt    time.Time
	expiringAt time.Time
	accepted   atomic.Bool // by the platform, in a call
}

// schedule sets the times of a new token: it becomes stale late in its life, and proportionally earlier if its life is
// short. Processes that got the token together refresh it at different times, because staleAt is partly random.
func schedule(t Token, now time.Time) *cachedToken {
	life := max(t.ExpiresAt.Sub(now), 0)
	stale, expiring := min(staleAhead, life/2), min(expiringAhead, life/10)
	jitter := rand.N(stale/5 + 1)
	return &cachedToken{Token: t, staleAt: t.ExpiresAt.Add(jitter - stale), expiringAt: t.ExpiresAt.Add(-expiring)}
}

// extended returns the schedule of a token that was returned again: that of t, moved to the new expiry.
func (t *cachedToken) extended(again Token) *cachedToken {
	shift := again.ExpiresAt.Sub(t.ExpiresAt)
	e := &cachedToken{Token: again, staleAt: t.staleAt.Add(shift), expiringAt: t.expiringAt.Add(shift)}
	e.accepted.Store(t.accepted.Load())
	return e
}

// deferred returns the same schedule with the next refresh no sooner than after a short pause, or at expiry.
func (t *cachedToken) deferred(now time.Time) *cachedToken {
	next := now.Round(0).Add(deferral) // wall clock, as in ExpiresAt: the monotonic one stops during sleep
	if next.After(t.ExpiresAt) {
		next = t.ExpiresAt
	}
	d := t.extended(t.Token)
	d.staleAt, d.expiringAt = later(d.staleAt, next), later(d.expiringAt, next)
	return d
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
