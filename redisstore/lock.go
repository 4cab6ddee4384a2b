package redisstore

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	lockPollMin = 10 * time.Millisecond // between attempts to get the lock, doubled each time
	lockPollMax = 200 * time.Millisecond
	maxHold     = 2 * time.Minute // longer than any token request with its retries
)

// Lock waits until it gets the lock of a key. The lock has a lease, which is renewed until unlock is called, for at
// most 2 minutes. A holder that dies blocks the others no longer than the lease. The context limits only the wait.
//
// unlock makes at most two round trips and may be called more than once. It releases the lock only if this caller
// still holds it.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	c := &lockClaim{Store: s, name: s.prefix + key + ":lock", owner: crand.Text()}
	for wait := lockPollMin; ; wait = min(2*wait, lockPollMax) {
		acquired, err := c.try(ctx, tripFor[bool](key))
		if err == nil && !acquired {
			timer := time.NewTimer(wait/2 + rand.N(wait))
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
				err = ctx.Err()
			}
		}
		switch {
		case c.decide(err == nil):
			return c.renewLease(), nil
		case err == ctx.Err(): //nolint:errorlint // a wrapped one reports that Redis was unavailable
			return nil, fmt.Errorf("redisstore: waiting for the lock: %w", err)
		}
		return nil, err
	}
}

// lockClaim is an attempt to acquire a lock. A round trip may acquire it after the caller has given up.
type lockClaim struct {
	*Store
	name, owner string

	mu       sync.Mutex
	acquired bool
	over     bool // the caller has given up, or has released the lock
}

// try makes one attempt to acquire the lock.
func (c *lockClaim) try(ctx context.Context, trip tripFunc[bool]) (bool, error) {
	return runScript(ctx, c.breaker, trip, compareAndSwapScript, c.rdb, c.name,
		[]any{"", c.owner, c.lease.Milliseconds()}, func(cmd *redis.Cmd) (bool, error) {
			acquired, err := cmd.Bool()
			if acquired && c.acquire() {
				ctx, cancel := context.WithTimeout(context.Background(), c.timeout+c.connectTimeout)
				defer cancel()
				return false, compareAndSwapScript.Run(ctx, c.rdb, []string{c.name}, c.owner, "", 1).Err()
			}
			return acquired, err
		})
}

// acquire records that the lock is acquired. It reports whether the caller has given up, so that the lock must be
// released.
func (c *lockClaim) acquire() (late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acquired = true
	return c.over
}

// decide is called once, when the caller has the lock or gives up. It reports whether the lock is acquired; that may
// happen just as the caller gives up.
func (c *lockClaim) decide(acquired bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	acquired = acquired || c.acquired
	c.over = !acquired
	return acquired
}

// renewLease renews the lease until unlock is called, maxHold has passed, or another owner has the lock.
func (c *lockClaim) renewLease() (unlock func()) {
	ctx, cancel := context.WithTimeout(context.Background(), maxHold)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(c.lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			renewed, err := c.compareAndSwap(ctx, doOnce[bool], c.name, c.owner, c.owner, c.lease)
			if err == nil && !renewed {
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
		// If this fails, the lease releases the lock.
		_, _ = c.compareAndSwap(context.Background(), do[bool], c.name, c.owner, "", 0)
	})
}
