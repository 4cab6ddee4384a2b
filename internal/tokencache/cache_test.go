package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

func TestFreshTokenIsReadWithoutLockAndAllocation(t *testing.T) {
	c := newCache(t, &platform{})
	want := c.get(t)
	c.Accepted(want.AccessToken)

	c.mu.Lock()
	defer c.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			got, err := c.Get(context.Background())
			c.Accepted(got.AccessToken)
			if got != want || err != nil || c.Current() != want {
				t.Error(got, err)
			}
		}))
	}()
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Error("it waits for the lock")
	}
}

// Whatever changes the cache does so with the lock.
func TestChangesTakeTheLock(t *testing.T) {
	for name, change := range map[string]func(c testCache){
		"allow":    func(c testCache) { _ = c.allow() },
		"Accepted": func(c testCache) { c.Accepted(c.Current().AccessToken) },
		"join":     func(c testCache) { _, _ = c.join(t.Context(), requirement{}) },
		"Forget":   func(c testCache) { c.Forget() },
		"mayForce": func(c testCache) { _ = c.mayForce() },
		"count":    func(c testCache) { c.countForced() },
		"complete": func(c testCache) { _, _ = c.complete(newFlight(requirement{}), result{err: errDown}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, &platform{})
			c.get(t)
			c.mu.Lock()
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				change(c)
			}()
			select {
			case <-changed:
				t.Error("changed without the lock")
			case <-time.After(5 * time.Millisecond):
			}
			c.mu.Unlock()
			<-changed
		})
	}
}

func TestOneFetchForManyCallers(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p := &platform{delay: 30 * time.Millisecond}
		c := newCache(t, p, withKind(kind))
		assert.Zero(t, c.Current(), "Current fetches nothing")
		start := time.Now()
		for _, err := range seq.RunConcurrently(1000, func(int) error {
			got, err := c.Get(t.Context())
			assert.Equal(t, "T1", name(got))
			return err
		}) {
			require.NoError(t, err)
		}
		assert.Equal(t, 30*time.Millisecond, time.Since(start))
		assert.Equal(t, []request{{kind, start}}, p.requests())
	})
}

// A waiter leaves when its own context ends, and disturbs nobody.
func TestWaiterLeavesWithItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: 4 * time.Second}
		c := newCache(t, p)
		cause := errors.New("shutting down")
		deadline, cancel1 := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel1()
		canceled, cancel2 := context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel2(cause) })

		type outcome struct {
			err   error
			after time.Duration
		}
		start := time.Now()
		var outcomes [4]outcome
		var wg sync.WaitGroup
		for i, ctx := range []context.Context{deadline, canceled, t.Context(), t.Context()} {
			wg.Go(func() {
				_, err := c.Get(ctx)
				outcomes[i] = outcome{err, time.Since(start)}
			})
			synctest.Wait() // so that the one with the deadline starts the flight
		}
		wg.Wait()

		assert.Equal(t, 200*time.Millisecond, outcomes[0].after)
		require.EqualError(t, outcomes[0].err, "waiting for an access token: context deadline exceeded")
		require.ErrorIs(t, outcomes[0].err, context.DeadlineExceeded)
		assert.Equal(t, 300*time.Millisecond, outcomes[1].after)
		require.ErrorIs(t, outcomes[1].err, context.Canceled)
		require.ErrorIs(t, outcomes[1].err, cause)
		assert.Equal(t, outcome{nil, 4 * time.Second}, outcomes[2])
		assert.Equal(t, outcome{nil, 4 * time.Second}, outcomes[3])
		assert.Len(t, p.requests(), 1)
	})
}

func TestNoFlightForAnEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newCache(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Get(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.Refresh(ctx, "rejected")
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.ForceRefresh(ctx)
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Empty(t, p.requests())

		want := c.get(t)
		got, err := c.Get(ctx)
		require.NoError(t, err, "a fresh token needs no wait")
		assert.Equal(t, want, got)
	})
}

func TestStaleTokenIsRefreshedInTheBackground(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p := &platform{delay: 2 * time.Second}
		c := newCache(t, p, withKind(kind))
		first := c.get(t)

		time.Sleep(time.Until(first.ExpiresAt.Add(-5*time.Minute - time.Nanosecond)))
		assert.Equal(t, first, c.get(t))
		synctest.Wait()
		require.Len(t, p.requests(), 1, "fresh until five minutes before expiry")

		time.Sleep(time.Until(first.ExpiresAt.Add(-4 * time.Minute)))
		start := time.Now()
		for range 10 {
			for _, err := range seq.RunConcurrently(100, func(int) error {
				got, err := c.Get(t.Context())
				assert.Equal(t, first, got)
				return err
			}) {
				require.NoError(t, err)
			}
		}
		assert.Zero(t, time.Since(start), "no caller waits for the refresh")
		synctest.Wait()
		require.Len(t, p.requests(), 2, "one refresh for all")

		time.Sleep(2*time.Second + time.Nanosecond)
		second := c.get(t)
		assert.Equal(t, "T2", name(second))
		assert.Equal(t, second, c.Current())
		assert.Len(t, p.requests(), 2)
	})
}

// A token is stale at its staleAt, and expiring at its expiringAt, not only after them.
func TestBoundariesOfTheStates(t *testing.T) {
	for _, tt := range []struct {
		name    string
		at      func(*cachedToken) time.Time
		fetches bool
		waits   bool
	}{
		{"last of fresh", func(t *cachedToken) time.Time { return t.staleAt.Add(-1) }, false, false},
		{"first of stale", func(t *cachedToken) time.Time { return t.staleAt }, true, false},
		{"last of stale", func(t *cachedToken) time.Time { return t.expiringAt.Add(-1) }, true, false},
		{"first of expiring", func(t *cachedToken) time.Time { return t.expiringAt }, true, true},
		{"expired", func(t *cachedToken) time.Time { return t.ExpiresAt }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{}
				c := newCache(t, p)
				first := c.get(t)
				p.delay = time.Second
				time.Sleep(time.Until(tt.at(c.current.Load())))
				start := time.Now()
				got := c.get(t)
				assert.Equal(t, tt.waits, time.Since(start) == time.Second)
				assert.Equal(t, tt.waits, got != first)
				synctest.Wait()
				assert.Equal(t, tt.fetches, len(p.requests()) == 2)
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestExpiringTokenServesWhileRefreshesFail(t *testing.T) {
	bubble(t, map[string]error{"passing": errDown, "lasting": errSecret}, func(t *testing.T, failure error) {
		down := false
		p := &platform{reply: fails(&down, failure)}
		c := newCache(t, p)
		first := c.get(t)
		down = true
		time.Sleep(time.Until(first.ExpiresAt.Add(-6 * time.Minute)))
		for time.Until(first.ExpiresAt) > 0 {
			got, err := c.Get(t.Context())
			require.NoError(t, err)
			require.Equal(t, first, got)
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, len(p.requests())-1, 21, "callers share the cost of new attempts")
		assert.Greater(t, len(p.requests()), 8)

		_, err := c.Get(t.Context())
		require.ErrorIs(t, err, failure, "an expired token serves nobody")
		down = false
		time.Sleep(time.Minute)
		assert.Equal(t, "T2", name(c.get(t)))
	})
}

// A stable token stays the same until five minutes before it expires by the platform's clock. It is asked for again
// after 15 seconds.
func TestSameTokenFromAnEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first Token
		p := &platform{reply: func(context.Context, Kind) (*Token, error) {
			if time.Until(first.ExpiresAt) > 2*time.Minute {
				return &first, nil
			}
			return nil, nil
		}}
		c := newCache(t, p)
		first = c.get(t)
		time.Sleep(time.Until(first.ExpiresAt.Add(-5 * time.Minute)))
		for c.get(t) == first {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		assert.InDelta(t, 2*time.Minute, time.Until(first.ExpiresAt), float64(16*time.Second))
		sent := p.requests()[1:]
		assert.LessOrEqual(t, len(sent), 14)
		for i := range sent[1:] {
			assert.GreaterOrEqual(t, sent[i+1].at.Sub(sent[i].at), 15*time.Second)
		}
	})
}

// The clock of a machine can jump. A token that seems to have expired and is handed out again is good for as long as
// the platform says, and is not fetched for each call.
func TestTokenAfterAJumpOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{reply: func(context.Context, Kind) (*Token, error) {
			again := tok("T1", 2*time.Hour)
			return &again, nil
		}}
		c := newCache(t, p)
		c.current.Store(schedule(tok("T1", -time.Hour), time.Now().Add(-3*time.Hour)))
		for range 100 {
			assert.True(t, c.get(t).ExpiresAt.After(time.Now()))
		}
		assert.Len(t, p.requests(), 1)
	})
}

func TestTokenOfAnyLife(t *testing.T) {
	for _, life := range []time.Duration{20 * time.Second, time.Minute, 10 * time.Minute, 1000 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{life: life}
				c := newCache(t, p)
				start := time.Now()
				for time.Since(start) < 20*life {
					assert.True(t, c.get(t).ExpiresAt.After(time.Now()))
					synctest.Wait()
					time.Sleep(life / 10)
				}
				assert.InDelta(t, 30, len(p.requests()), 12)
			})
		})
	}
}

func TestRejectedTokenIsReplacedOnceForAll(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p := &platform{delay: 30 * time.Millisecond}
		c := newCache(t, p, withKind(kind))
		first := c.get(t)
		for _, err := range seq.RunConcurrently(500, func(i int) error {
			if i%2 == 0 {
				got, err := c.Get(t.Context())
				assert.Contains(t, []string{"T1", "T2"}, name(got))
				return err
			}
			fetched, err := c.Refresh(t.Context(), first.AccessToken)
			assert.True(t, fetched)
			return err
		}) {
			require.NoError(t, err)
		}
		assert.Equal(t, "T2", name(c.get(t)))
		require.Len(t, p.requests(), 2)

		// A late rejection of the first one drops nothing.
		start := time.Now()
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.False(t, fetched, "another one is there")
		assert.Zero(t, time.Since(start))
		assert.Len(t, p.requests(), 2)
	})
}

// A rejected token is dropped at once: no caller gets it any more, also where the refresh fails.
func TestRejectedTokenIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		p := &platform{reply: fails(&down, errDown)}
		c := newCache(t, p)
		first := c.get(t)
		down = true
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.ErrorIs(t, err, errDown)
		assert.False(t, fetched)
		assert.Zero(t, c.Current())
		_, err = c.Get(t.Context())
		require.ErrorIs(t, err, errDown)
		down = false
		assert.Equal(t, "T2", name(c.get(t)))
	})
}

// Even where the new token is about to expire, and there is no other one.
func TestLateRejectionWhileRefreshesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		p := &platform{reply: fails(&down, errDown)}
		c := newCache(t, p)
		first := c.get(t)
		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		second := c.get(t)
		down = true
		time.Sleep(time.Until(second.ExpiresAt.Add(-30 * time.Second)))
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched, "it tried")
		assert.Equal(t, second, c.get(t))
	})
}

// A caller that joins a flight for another requirement waits for the next one.
func TestCallersWithDifferentRequirements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: time.Second}
		c := newCache(t, p)
		go func() { assert.Equal(t, "T1", name(c.get(t))) }()
		synctest.Wait()
		got, err := c.ForceRefresh(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "T2", name(got))
		assert.Equal(t, got, c.get(t))
		sent := p.requests()
		require.Len(t, sent, 2)
		assert.Equal(t, []Kind{Stable, StableForced}, []Kind{sent[0].kind, sent[1].kind})
		assert.Equal(t, time.Second, sent[1].at.Sub(sent[0].at), "one flight at a time")
	})
}

func TestFailedForceRefreshFailsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: time.Second, reply: func(_ context.Context, kind Kind) (*Token, error) {
			if kind == StableForced {
				return nil, errSecret
			}
			return nil, nil
		}}
		c := newCache(t, p)
		forced := make(chan error)
		go func() {
			_, err := c.ForceRefresh(t.Context())
			forced <- err
		}()
		synctest.Wait()
		other := make(chan Token)
		go func() { other <- c.get(t) }()
		require.ErrorIs(t, <-forced, errSecret)
		first := <-other
		assert.Equal(t, "T1", name(first), "the failure is not remembered")

		_, err := c.ForceRefresh(t.Context())
		require.ErrorIs(t, err, errSecret, "no old token in place of a new one")
		assert.Equal(t, first, c.get(t), "the old token serves on")
		assert.Len(t, p.requests(), 3)
	})
}

// A remembered failure does not stop ForceRefresh.
func TestForceRefreshAfterALastingFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := true
		p := &platform{reply: fails(&wrong, errSecret)}
		c := newCache(t, p)
		_, err := c.Get(t.Context())
		require.ErrorIs(t, err, errSecret)
		wrong = false
		_, err = c.Get(t.Context())
		require.ErrorIs(t, err, errSecret, "remembered")
		got, err := c.ForceRefresh(t.Context())
		require.NoError(t, err)
		assert.Equal(t, got, c.get(t))
	})
}

// A forced fetch within the platform's limit of 30 seconds returns the current token, which is as good as before.
func TestForceRefreshThatReturnsTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newCache(t, p)
		first := c.get(t)
		p.reply = func(context.Context, Kind) (*Token, error) { return &first, nil }
		got, err := c.ForceRefresh(t.Context())
		require.NoError(t, err)
		assert.Equal(t, first, got)
		time.Sleep(time.Hour)
		assert.Equal(t, first, c.get(t))
		assert.Len(t, p.requests(), 2)
	})
}

// Where each new token is rejected too, there are growing pauses between the fetches.
func TestTokensThatAreRejectedFromTheStart(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p := &platform{}
		c := newCache(t, p, withKind(kind))
		c.get(t)
		start := time.Now()
		for range 200 {
			at := c.get(t)
			fetched, err := c.Refresh(t.Context(), at.AccessToken)
			if err != nil {
				require.Equal(t, ErrNoOtherToken, err)
				assert.Equal(t, at, c.Current(), "the token at hand is still tried")
			}
			assert.Equal(t, err == nil, fetched)
			time.Sleep(time.Second)
		}
		var at []time.Duration
		for _, r := range p.requests()[1:] {
			at = append(at, r.at.Sub(start)/time.Second)
		}
		assert.Equal(t, []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183}, at)

		c.Accepted("another")
		_, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.ErrorIs(t, err, ErrNoOtherToken)
		c.Accepted(c.get(t).AccessToken)
		fetched, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err, "an accepted token that is rejected was revoked, and heals at once")
		assert.True(t, fetched)
	})
}

// A revoked token heals at once, each time.
func TestRevocationsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &platform{})
		for range 10 {
			at := c.get(t)
			c.Accepted(at.AccessToken)
			_, err := c.Refresh(t.Context(), at.AccessToken)
			if name(at) == "T10" {
				var le *LimitError
				require.ErrorAs(t, err, &le, "up to the limit")
				break
			}
			require.NoError(t, err)
		}
	})
}

// The platform keeps a token that some of its APIs reject. That others accept it does not end the pauses.
func TestKeptTokenThatSomeCallsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p, withoutForced)
		for range 600 {
			at := c.get(t)
			_, err := c.Refresh(t.Context(), at.AccessToken)
			require.ErrorIs(t, err, ErrNoOtherToken)
			c.Accepted(at.AccessToken)
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, len(p.requests()), 20)
	})
}

// A token that was there already does not start the pauses: nothing was fetched.
func TestTokenOfTheStoreStartsNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withStore(store))
		store.token = tok("stored", time.Hour)
		fetched, err := c.Refresh(t.Context(), "rejected")
		require.NoError(t, err)
		assert.False(t, fetched)
		fetched, err = c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched)
	})
}

// A lasting failure is remembered for 1 s, 2 s, 4 s, up to a minute.
func TestLastingFailureIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := true
		p := &platform{reply: fails(&wrong, fmt.Errorf("wrapped: %w", errSecret))}
		c := newCache(t, p)
		start := time.Now()
		for time.Since(start) < 5*time.Minute {
			now := time.Now()
			_, err := c.Get(t.Context())
			require.ErrorIs(t, err, errSecret)
			_, err = c.Refresh(t.Context(), "rejected")
			require.ErrorIs(t, err, errSecret)
			require.Zero(t, time.Since(now))
			time.Sleep(100 * time.Millisecond)
		}
		var at []time.Duration
		for _, r := range p.requests() {
			at = append(at, r.at.Sub(start)/time.Second)
		}
		assert.Equal(t, []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}, at)
		assert.Equal(t, len(at), strings.Count(c.logged.String(), "\n"))

		wrong = false
		time.Sleep(time.Minute)
		first := c.get(t)

		// The success ended the memory: the pauses start at a second again.
		wrong = true
		sent := len(p.requests())
		for range 10 {
			_, err := c.Refresh(t.Context(), first.AccessToken)
			require.ErrorIs(t, err, errSecret)
			time.Sleep(time.Second)
		}
		assert.Equal(t, sent+4, len(p.requests()), "after 0, 1, 3 and 7 seconds")
	})
}

func TestOtherFailuresAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		p := &platform{reply: fails(&down, errDown)}
		c := newCache(t, p)
		_, err := c.Get(t.Context())
		require.ErrorIs(t, err, errDown)
		down = false
		assert.Equal(t, "T1", name(c.get(t)))
	})
}

// Where requests have reached their limit, callers get the error of the last one, without a flight.
func TestLimitOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		p, store := &platform{reply: fails(&down, errDown)}, newFakeStore()
		c := newCache(t, p, withStore(store))
		for range 10 {
			_, err := c.Get(t.Context())
			require.Equal(t, errDown, err)
		}
		store.did()
		for range 100 {
			_, err := c.Get(t.Context())
			require.Equal(t, &LimitError{Wait: 6 * time.Second, Last: errDown}, err)
			_, err = c.ForceRefresh(t.Context())
			require.Equal(t, &LimitError{Wait: 6 * time.Second, Last: errDown}, err)
		}
		assert.Len(t, p.requests(), 10)
		assert.Equal(t, []string{"load"}, store.did(), "another process may have stored a token: one look a second")
		assert.Equal(t, 10, strings.Count(c.logged.String(), "\n"))

		time.Sleep(6*time.Second - 1)
		_, err := c.Get(t.Context())
		require.Equal(t, &LimitError{Wait: 1, Last: errDown}, err)
		time.Sleep(time.Nanosecond)
		down = false
		assert.Equal(t, "T1", name(c.get(t)))
	})
}

// A good token needs no request: also where it should be refreshed, it serves until it expires.
func TestLimitOfRequestsWithAGoodToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newCache(t, p)
		first := c.get(t)
		time.Sleep(time.Until(first.ExpiresAt.Add(-time.Second)))
		for c.allow() == nil {
		}
		assert.Equal(t, first, c.get(t))
		fetched, err := c.Refresh(t.Context(), "another")
		require.NoError(t, err)
		assert.False(t, fetched)

		time.Sleep(time.Second)
		_, err = c.Get(t.Context())
		var le *LimitError
		require.ErrorAs(t, err, &le)
		require.NoError(t, le.Last, "the last refresh succeeded")
		_, err = c.Refresh(t.Context(), first.AccessToken)
		require.ErrorAs(t, err, &le)
		assert.Equal(t, first, c.Current(), "dropped only by a flight")
	})
}

// A Fetch may send many requests, each of which counts. The error names the failure behind the limit, not another
// LimitError, and does not grow.
func TestLimitErrorsDoNotNest(t *testing.T) {
	bubble(t, map[string]error{"failing": errDown, "no failure": nil}, func(t *testing.T, failure error) {
		p := &platform{}
		down := failure != nil
		p.reply = fails(&down, failure)
		c := newCache(t, p)
		if failure == nil {
			c.cfg.Fetch = func(_ context.Context, _ Kind, allow func() error) (Token, error) {
				for {
					if err := allow(); err != nil {
						return Token{}, fmt.Errorf("wrapped: %w", err)
					}
				}
			}
		}
		limited := 0
		for range 1000 {
			_, err := c.Get(t.Context())
			var le *LimitError
			if errors.As(err, &le) {
				limited++
				require.Equal(t, failure, le.Last)
			} else {
				require.Equal(t, failure, err)
			}
			time.Sleep(time.Second / 10)
		}
		assert.Greater(t, limited, 500)
	})
}

// Nothing makes a cache send more than 20 requests in a minute, or more forced ones than the platform allows.
func TestRequestLimitsHoldWhateverHappens(t *testing.T) {
	for kindName, kind := range kinds {
		bubble(t, map[string]func(p *platform){
			kindName + ", failing":       func(p *platform) { on := true; p.reply = fails(&on, errDown) },
			kindName + ", wrong secret":  func(p *platform) { on := true; p.reply = fails(&on, errSecret) },
			kindName + ", stubborn":      stubborn,
			kindName + ", short lived":   func(p *platform) { p.life = time.Second },
			kindName + ", revoked often": func(*platform) {},
			kindName + ", slow":          func(p *platform) { p.delay = time.Second },
		}, func(t *testing.T, setUp func(p *platform)) {
			p := &platform{}
			setUp(p)
			c := newCache(t, p, withKind(kind))
			for range 1000 {
				got, _ := c.Get(t.Context())
				if rand.N(2) == 0 {
					c.Accepted(got.AccessToken)
				}
				if rand.N(2) == 0 {
					_, err := c.Refresh(t.Context(), got.AccessToken)
					if err != nil {
						require.Less(t, len(err.Error()), 300, "errors do not grow")
					}
				}
				time.Sleep(rand.N(2 * time.Second))
			}
			synctest.Wait()
			assert.Greater(t, len(p.requests()), 10)
			assertRequestLimits(t, p.requests())
		})
	}
}

// A remembered failure says that it is one, and when the next fetch is.
func TestRememberedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := true
		p := &platform{reply: fails(&on, errSecret)}
		c := newCache(t, p)
		_, err := c.Get(t.Context())
		require.Equal(t, errSecret, err)
		time.Sleep(100 * time.Millisecond)
		_, err = c.Get(t.Context())
		require.ErrorIs(t, err, errSecret)
		assert.EqualError(t, err, "invalid secret (remembered; next try in 1s)")
		for range 5 {
			time.Sleep(time.Minute)
			_, err = c.Get(t.Context())
			require.Equal(t, errSecret, err)
		}
		_, err = c.Get(t.Context())
		assert.EqualError(t, err, "invalid secret (remembered; next try in 32s)")

		c.Forget()
		_, err = c.Get(t.Context())
		require.Equal(t, errSecret, err)
		assert.Len(t, p.requests(), 7)
	})
}
