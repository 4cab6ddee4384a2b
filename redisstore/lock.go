package redisstore

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lockPollMin = 10 * time.Millisecond // between attempts to get the lock, doubled each time
	lockPollMax = 200 * time.Millisecond
	maxHold     = 2 * time.Minute // longer than any token request with its retries
)

// Lock waits until it gets the lock of a key. The lock has a lease, which is renewed until unlock is called, so that a
// holder that dies blocks the others no longer than the lease. The context limits the wait only.
//
// unlock makes at most two round trips and may be called more than once. It releases the lock only if this caller
// still holds it.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	name, owner := s.prefix+key+":lock", crand.Text()
	for wait := lockPollMin; ; wait = min(2*wait, lockPollMax) {
		switch acquired, err := s.tryLock(ctx, name, owner); {
		case err != nil && ctx.Err() != nil:
			return nil, lockWaitError(ctx)
		case err != nil:
			return nil, err
		case acquired:
			return s.renewLease(name, owner), nil
		}
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, lockWaitError(ctx)
		}
	}
}

func lockWaitError(ctx context.Context) error {
	return fmt.Errorf("redisstore: waiting for the lock: %w", ctx.Err())
}

// tryLock tries once to get the lock. If it gets the lock after the caller has given up, it releases it.
func (s *Store) tryLock(caller context.Context, name, owner string) (bool, error) {
	var decided atomic.Bool // set by whichever is first: the lock is acquired, or the caller gives up
	acquired, err := do(caller, s.breaker, func(ctx context.Context) (bool, error) {
		acquired, err := s.runCompareAndSwap(ctx, name, "", owner, s.lease)
		if acquired && !decided.CompareAndSwap(false, true) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
			defer cancel()
			return s.runCompareAndSwap(ctx, name, owner, "", 0)
		}
		return acquired, err
	})
	if err != nil && !decided.CompareAndSwap(false, true) {
		return true, nil // the lock was acquired at the last moment
	}
	return acquired, err
}

// renewLease renews the lease until unlock is called, maxHold is over, or another owner has the lock.
func (s *Store) renewLease(name, owner string) (unlock func()) {
	ctx, cancel := context.WithTimeout(context.Background(), maxHold)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(s.lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if renewed, err := s.compareAndSwap(ctx, name, owner, owner, s.lease); err == nil && !renewed {
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
		_, _ = s.compareAndSwap(context.Background(), name, owner, "", 0) // if this fails, the lease releases the lock
	})
}
