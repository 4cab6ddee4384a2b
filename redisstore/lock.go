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
	lockPollMin = 10 * time.Millisecond // between looks at a lock that is taken, doubled each time
	lockPollMax = 200 * time.Millisecond
	maxHold     = 2 * time.Minute // longer than any token request with its repeats
)

// Lock waits until nobody else holds the lock of this key. The lock has a lease, which is renewed until unlock, so
// that a holder that died blocks the others no longer than that. The context bounds the waiting and nothing else.
//
// unlock takes no more than two round trips and may be called more than once. It frees the lock only if it is still
// its own.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	name, owner := s.prefix+key+":lock", crand.Text()
	for wait := lockPollMin; ; wait = min(2*wait, lockPollMax) {
		switch taken, err := s.take(ctx, name, owner); {
		case err != nil && ctx.Err() != nil:
			return nil, waiting(ctx)
		case err != nil:
			return nil, err
		case taken:
			return s.hold(name, owner), nil
		}
		pause := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, waiting(ctx)
		}
	}
}

func waiting(ctx context.Context) error {
	return fmt.Errorf("redisstore: waiting for the lock: %w", ctx.Err())
}

// take tries once to get the lock. One that is got when the caller has left is given back.
func (s *Store) take(caller context.Context, name, owner string) (bool, error) {
	var settled atomic.Bool // by the first of the two: the lock that was got, and the caller who left
	taken, err := over(caller, s.link, func(ctx context.Context) (bool, error) {
		taken, err := s.runSwap(ctx, name, "", owner, s.lease)
		if taken && !settled.CompareAndSwap(false, true) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
			defer cancel()
			return s.runSwap(ctx, name, owner, "", 0)
		}
		return taken, err
	})
	if err != nil && !settled.CompareAndSwap(false, true) {
		return true, nil // it was got in the last moment
	}
	return taken, err
}

// hold renews the lease until unlock is called or maxHold is over, or until the lock is another's.
func (s *Store) hold(name, owner string) (unlock func()) {
	ctx, cancel := context.WithTimeout(context.Background(), maxHold)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if kept, err := s.swap(ctx, name, owner, owner, s.lease); err == nil && !kept {
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
		_, _ = s.swap(context.Background(), name, owner, "", 0) // the lease ends what this can't
	})
}
