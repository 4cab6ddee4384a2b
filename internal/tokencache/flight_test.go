package tokencache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

func TestSatisfies(t *testing.T) {
	of := func(r requirement, token string, err error) *flight {
		return &flight{requirement: r, result: result{token: Token{AccessToken: token}, err: err}}
	}
	force := requirement{force: true}
	no := fmt.Errorf("%w: %w", ErrNoOtherToken, errDown)
	for _, tt := range []struct {
		name string
		f    *flight
		want requirement
		ok   bool
	}{
		{"any token", of(requirement{}, "T1", nil), requirement{}, true},
		{"its failure", of(requirement{}, "", errDown), requirement{}, true},
		{"its failure, for the rejected one", of(requirement{}, "", errDown), requirement{rejected: "T1"}, true},
		{"another token than the rejected one", of(requirement{}, "T2", nil), requirement{rejected: "T1"}, true},
		{"the rejected one again", of(requirement{}, "T1", nil), requirement{rejected: "T1"}, false},
		{"no other token", of(requirement{rejected: "T1"}, "T1", no), requirement{rejected: "T1"}, true},
		{
			"no other token than T0, for T1", of(requirement{rejected: "T0"}, "T0", no),
			requirement{rejected: "T1"},
			false,
		},
		{"no other token, for any", of(requirement{rejected: "T1"}, "T1", no), requirement{}, false},
		{"forced, for any", of(force, "T2", nil), requirement{}, true},
		{"forced, for the rejected one", of(force, "T2", nil), requirement{rejected: "T1"}, true},
		{"forced, the rejected one", of(force, "T1", nil), requirement{rejected: "T1"}, false},
		{"failed to force, for any", of(force, "", errDown), requirement{}, false},
		{"failed to force, for the rejected one", of(force, "", errDown), requirement{rejected: "T1"}, false},
		{"forced, for force", of(force, "T2", nil), force, true},
		{"failed to force, for force", of(force, "", errDown), force, true},
		{"not forced, for force", of(requirement{}, "T2", nil), force, false},
		{"failed without force, for force", of(requirement{}, "", errDown), force, false},
	} {
		assert.Equal(t, tt.ok, tt.f.satisfies(tt.want), tt.name)
	}
}

func TestKindOfEachFetch(t *testing.T) {
	for _, tt := range []struct {
		kind          Kind
		withoutForced bool
		want          []Kind // of Get, Refresh, ForceRefresh
	}{
		{Stable, false, []Kind{Stable, Stable, StableForced}},
		{Stable, true, []Kind{Stable, Stable, StableForced}},
		{Legacy, false, []Kind{Legacy, Legacy, Legacy}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &platform{}
			c := newCache(t, p, withKind(tt.kind), func(cfg *Config) { cfg.WithoutForced = tt.withoutForced })
			first := c.get(t)
			fetched, err := c.Refresh(t.Context(), first.AccessToken)
			require.NoError(t, err)
			assert.True(t, fetched)
			got, err := c.ForceRefresh(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "T3", name(got))
			assert.Equal(t, got, c.get(t))
			var kinds []Kind
			for _, r := range p.requests() {
				kinds = append(kinds, r.kind)
			}
			assert.Equal(t, tt.want, kinds)
		})
	}
}

// The flight has the values of its first caller's context, such as a trace, but neither its end nor its deadline.
func TestFetchHasTheValuesOfTheContextOnly(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: time.Second, reply: func(ctx context.Context, _ Kind) (*Token, error) {
			_, hasDeadline := ctx.Deadline()
			assert.False(t, hasDeadline)
			assert.NoError(t, ctx.Err())
			assert.Equal(t, "trace", ctx.Value(key{}))
			return nil, nil
		}}
		c := newCache(t, p)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "trace"), time.Millisecond)
		defer cancel()
		_, err := c.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, "T1", name(c.Current()), "the fetch went on")
	})
}

func TestFlightOutlivesItsCallers(t *testing.T) {
	bubble(t, map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		},
		"cancellation": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		},
	}, func(t *testing.T, end func(context.Context) (context.Context, context.CancelFunc)) {
		p := &platform{delay: 4 * time.Second, reply: func(ctx context.Context, _ Kind) (*Token, error) {
			return nil, ctx.Err()
		}}
		c := newCache(t, p)
		ctx, cancel := end(t.Context())
		defer cancel()
		start := time.Now()
		_, err := c.Get(ctx)
		require.ErrorIs(t, err, ctx.Err())
		assert.Equal(t, 200*time.Millisecond, time.Since(start))

		time.Sleep(4 * time.Second)
		start = time.Now()
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Zero(t, time.Since(start))
		assert.Len(t, p.requests(), 1)
	})
}

// failAt makes a fetch or an operation of the store call fail, such as runtime.Goexit, as t.FailNow does.
func failAt(op string, off *bool, fail func()) (
	reply func(context.Context, Kind) (*Token, error), before func(context.Context, string) error,
) {
	reply = func(context.Context, Kind) (*Token, error) {
		if op == "fetch" && !*off {
			fail()
		}
		return nil, nil
	}
	before = func(_ context.Context, did string) error {
		if op == did && !*off {
			fail()
		}
		return nil
	}
	return reply, before
}

func TestGoexitLeavesNobodyWaiting(t *testing.T) {
	for _, op := range []string{"fetch", "load", "lock", "save"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				off := false
				p, store := &platform{delay: time.Second}, newFakeStore()
				p.reply, store.before = failAt(op, &off, runtime.Goexit)
				c := newCache(t, p, withStore(store))
				for _, err := range seq.RunConcurrently(3, func(int) error {
					_, err := c.Get(t.Context())
					return err
				}) {
					if op == "lock" { // which runs in a goroutine of its own
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, errInterrupted)
					}
				}
				assert.Contains(t, c.logged.String(), "ended without a result")
				assert.Empty(t, store.lock, "the lock is released")
				off = true
				assert.NotZero(t, c.get(t))
			})
		})
	}
}

// A panic of Fetch or the store is one of each caller that waits, with its first stack, and shows no value in the log.
func TestPanicIsPassedOn(t *testing.T) {
	for _, op := range []string{"fetch", "load", "lock", "save"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				off := false
				p, store := &platform{delay: time.Second}, newFakeStore()
				p.reply, store.before = failAt(op, &off, func() { panic("value of the panic") })
				c := newCache(t, p, withStore(store))
				seq.RunConcurrently(3, func(int) error {
					defer func() {
						p, ok := recover().(*guard.Panic)
						if assert.True(t, ok, "no panic") {
							assert.Equal(t, "value of the panic", p.Value)
							assert.Contains(t, string(p.Stack), "failAt")
						}
					}()
					_, err := c.Get(t.Context())
					return err
				})
				assert.Contains(t, c.logged.String(), "ended without a result")
				assert.Contains(t, c.logged.String(), "failAt")
				assert.NotContains(t, c.logged.String(), "value of the panic")
				assert.Empty(t, store.lock, "the lock is released")
				off = true
				assert.NotZero(t, c.get(t))
			})
		})
	}
}

// A panic of a flight that was abandoned finds nobody who waits, and ends no program.
func TestLatePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int32
		p := &platform{}
		p.reply = func(context.Context, Kind) (*Token, error) {
			if fetches.Add(1) > 1 {
				return nil, nil
			}
			time.Sleep(10 * time.Minute) // whatever becomes of its context
			panic("late")
		}
		c := newCache(t, p)
		_, err := c.Get(t.Context())
		require.ErrorAs(t, err, new(*AbandonedError))
		require.Equal(t, "T1", name(c.get(t)))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Contains(t, c.logged.String(), "panic=")
		require.Equal(t, "T1", name(c.get(t)))
	})
}

// stubborn makes a platform hand out its last token again, also when it is rejected, unless the fetch is forced.
func stubborn(p *platform) {
	var last Token
	p.reply = func(_ context.Context, kind Kind) (*Token, error) {
		if last.AccessToken == "" || kind == StableForced {
			last = p.issue()
		}
		return &last, nil
	}
}

func TestRejectedTokenThatIsHandedOutAgainIsForcedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p)
		fetched, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched)
		second := c.get(t)
		assert.Equal(t, "T2", name(second))
		assert.Len(t, p.requests(), 3, "first, again, forced")
		require.Equal(t, 1, p.forced())
		c.Accepted(second.AccessToken)

		time.Sleep(30*time.Second - 1)
		_, err = c.Refresh(t.Context(), second.AccessToken)
		require.ErrorIs(t, err, ErrNoOtherToken)
		require.Equal(t, 1, p.forced(), "not before 30 seconds are over")
		assert.Equal(t, second, c.get(t), "calls try the token at hand")

		time.Sleep(time.Second)
		_, err = c.Refresh(t.Context(), second.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, 2, p.forced())
		assert.Equal(t, "T3", name(c.get(t)))
		assertRequestLimits(t, p.requests())
	})
}

func TestNoMoreThanTwentyForcedFetchesADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p)
		refresh := func() error {
			at := c.get(t)
			c.Accepted(at.AccessToken)
			_, err := c.Refresh(t.Context(), at.AccessToken)
			time.Sleep(2 * time.Minute)
			return err
		}
		start := time.Now()
		for range 20 {
			require.NoError(t, refresh())
		}
		for time.Since(start) < 24*time.Hour {
			require.ErrorIs(t, refresh(), ErrNoOtherToken)
		}
		assert.Equal(t, 20, p.forced())
		require.NoError(t, refresh())
		assert.Equal(t, 21, p.forced())
		assertRequestLimits(t, p.requests())
	})
}

// ForceRefresh ignores the limits of forced fetches, which the platform holds, and counts for them.
func TestForceRefreshCountsAsAForcedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p)
		for range 2 {
			_, err := c.ForceRefresh(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 2, p.forced())
		_, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.ErrorIs(t, err, ErrNoOtherToken)
		assert.Equal(t, 2, p.forced())
		time.Sleep(30 * time.Second)
		_, err = c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.Equal(t, 3, p.forced())
	})
}

func TestNothingIsForced(t *testing.T) {
	bubble(t, map[string]func(*Config){
		"WithoutForced": withoutForced, "Legacy": withKind(Legacy),
	}, func(t *testing.T, option func(*Config)) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p, option)
		first := c.get(t)
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		assert.Equal(t, ErrNoOtherToken, err)
		assert.False(t, fetched)
		assert.Equal(t, first, c.get(t))
		assert.Len(t, p.requests(), 2)
		assert.Zero(t, p.forced())
	})
}

// Whatever comes of a forced fetch after a rejected token: the caller learns that there is no other token.
func TestForcedFetchInVain(t *testing.T) {
	bubble(t, map[string]error{
		"the same token": nil, "failure": errDown, "lasting failure": errSecret, "limit": &LimitError{},
	}, func(t *testing.T, failure error) {
		p := &platform{}
		var first Token
		p.reply = func(_ context.Context, kind Kind) (*Token, error) {
			switch {
			case first.AccessToken == "":
				first = p.issue()
			case kind == StableForced && failure != nil:
				return nil, failure
			}
			return &first, nil
		}
		c := newCache(t, p)
		c.get(t)
		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.ErrorIs(t, err, ErrNoOtherToken)
		if failure != nil {
			require.ErrorIs(t, err, failure)
		}
		assert.Equal(t, 1, p.forced())
		assert.Equal(t, first, c.get(t), "no failure is remembered: the token is tried")
		assert.Contains(t, c.logged.String(), "there is no other access token")
	})
}

func TestForcedFetchIsLimitedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		stubborn(p)
		c := newCache(t, p)
		first := c.get(t)
		for range 8 {
			require.NoError(t, c.allow())
		}
		_, err := c.Refresh(t.Context(), first.AccessToken) // its first fetch is the tenth request
		require.ErrorIs(t, err, ErrNoOtherToken)
		var le *LimitError
		require.ErrorAs(t, err, &le)
		assert.Equal(t, 6*time.Second, le.Wait)
		assert.Zero(t, p.forced())
	})
}

func TestEachRefreshIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		p := &platform{delay: 1500 * time.Millisecond, reply: fails(&down, errDown)}
		c := newCache(t, p)
		var log strings.Builder
		dropTime := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		c.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: dropTime}))
		expect := func(line string) {
			t.Helper()
			assert.Equal(t, line+"\n", log.String())
			assert.NotContains(t, log.String(), sentinel)
			log.Reset()
		}
		renewed := func(reason string) string {
			return fmt.Sprintf("level=INFO msg=%q key=%s reason=%s from=wechat duration=1.5s expires=%s",
				"wechatuser: token refreshed", testKey, reason,
				c.Current().ExpiresAt.Format("2006-01-02T15:04:05.000Z07:00"))
		}
		failed := func(reason string) string {
			return fmt.Sprintf("level=WARN msg=%q key=%s reason=%s from=wechat duration=1.5s error=%q",
				"wechatuser: token refresh failed", testKey, reason, errDown)
		}
		first := c.get(t)
		expect(renewed("cold"))
		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		expect(renewed("rejected"))
		forced, err := c.ForceRefresh(t.Context())
		require.NoError(t, err)
		expect(renewed("forced"))

		down = true
		_, err = c.ForceRefresh(t.Context())
		require.ErrorIs(t, err, errDown)
		expect(failed("forced"))
		time.Sleep(time.Until(forced.ExpiresAt.Add(-30 * time.Second)))
		assert.Equal(t, forced, c.get(t))
		expect(failed("expiring"))
		_, err = c.Refresh(t.Context(), forced.AccessToken)
		require.ErrorIs(t, err, errDown)
		expect(failed("rejected"))
	})
}

func TestTokenOfTheStoreIsLoggedAsSuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.token = tok("stored", time.Hour)
		c := newCache(t, &platform{}, withStore(store))
		fetched, err := c.Refresh(t.Context(), "another")
		require.NoError(t, err)
		assert.False(t, fetched)
		assert.Contains(t, c.logged.String(), "reason=rejected from=store")
	})
}

// A log handler that needs a token, such as one that sends alerts, gets one: the lock is free by then.
func TestLogHandlerMayUseTheCache(t *testing.T) {
	bubble(t, map[string]error{"success": nil, "failure": errDown}, func(t *testing.T, failure error) {
		on := failure != nil
		c := newCache(t, &platform{reply: fails(&on, failure)})
		var inner error
		calls := 0
		c.cfg.Logger = slog.New(handlerFunc(func() {
			if calls++; calls > 1 {
				return
			}
			on = false
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, inner = c.Get(ctx)
		}))
		_, err := c.Get(t.Context())
		require.Equal(t, failure, err)
		require.NoError(t, inner)
	})
}

// A flight is complete, and its line in the log, when its callers return. They wait a second for the line, no longer.
func TestCallersReturnAfterTheirFlight(t *testing.T) {
	bubble(t, map[string]time.Duration{"slow": time.Second / 2, "stuck": time.Hour},
		func(t *testing.T, takes time.Duration) {
			c := newCache(t, &platform{})
			c.cfg.Logger = slog.New(handlerFunc(func() { time.Sleep(takes) }))
			start := time.Now()
			c.get(t)
			assert.Equal(t, min(takes, time.Second), time.Since(start))
			c.get(t)
			assert.Equal(t, min(takes, time.Second), time.Since(start))
			time.Sleep(takes)
		})
}

// So a log handler that uses the cache when the store fails does not wait for the flight that waits for it.
func TestLogHandlerMayUseTheCacheWhileTheStoreFails(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		store := newFakeStore()
		store.before = storeFails("save", false)
		c := newCache(t, &platform{}, withKind(kind), withStore(store), withLimit(time.Hour))
		var inner []error
		c.cfg.Logger = slog.New(handlerFunc(func() {
			_, err := c.Get(t.Context())
			inner = append(inner, err)
		}))
		start := time.Now()
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Zero(t, time.Since(start))
		assert.Equal(t, []error{nil, nil}, inner, "the store's line, and that of the refresh")
	})
}

type handlerFunc func()

func (h handlerFunc) Enabled(context.Context, slog.Level) bool { return true }
func (h handlerFunc) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h handlerFunc) WithGroup(string) slog.Handler            { return h }
func (h handlerFunc) Handle(context.Context, slog.Record) error {
	h()
	return nil
}

// An error that Fetch returns is the error of the callers, as it is.
func TestErrorOfTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("no answer")
		on := true
		c := newCache(t, &platform{reply: fails(&on, cause)})
		_, err := c.Get(t.Context())
		assert.Same(t, cause, err)
		_, err = c.Refresh(t.Context(), "rejected")
		assert.Same(t, cause, err)
		_, err = c.ForceRefresh(t.Context())
		assert.Same(t, cause, err)
	})
}

// hang returns a function that does not return before the test ends, whatever happens to its context.
func hang(t *testing.T) func() {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func() { <-end }
}

// A flight that does not end is abandoned, wherever it hangs: callers learn why, and the next one starts another.
func TestFlightIsAbandoned(t *testing.T) {
	for op, step := range map[string]string{
		"fetch": "requesting a token", "load": "reading from the token store",
		"delete none": "deleting a token from the token store", "save": "writing to the token store",
	} {
		bubble(t, map[string]Kind{op + ", stable": Stable, op + ", legacy": Legacy}, func(t *testing.T, kind Kind) {
			stuck, hangs := true, hang(t)
			p, store := &platform{}, newFakeStore()
			p.reply = func(context.Context, Kind) (*Token, error) {
				if op == "fetch" && stuck {
					hangs()
				}
				return nil, nil
			}
			store.before = func(_ context.Context, did string) error {
				if op == did && stuck {
					hangs()
				}
				return nil
			}
			c := newCache(t, p, withKind(kind), withStore(store), withLimit(40*time.Second))
			start := time.Now()
			for _, err := range seq.RunConcurrently(3, func(int) error {
				_, err := c.Refresh(t.Context(), sentinel+"-none")
				return err
			}) {
				require.Equal(t, &AbandonedError{After: 40 * time.Second, Step: step}, err)
			}
			assert.Equal(t, 40*time.Second, time.Since(start))
			assert.Contains(t, c.logged.String(), "abandoned after 40s of "+step)
			synctest.Wait()
			assert.Empty(t, store.lock, "the lock is released")

			stuck = false
			assert.NotZero(t, c.get(t))
			assert.Equal(t, 40*time.Second, time.Since(start))
		})
	}
}

// The limit is for each step, so that a fetch may wait as long as the platform asks.
func TestSlowFlightIsNotAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: 50 * time.Second}
		c := newCache(t, p, withLimit(time.Minute))
		c.cfg.Fetch = func(ctx context.Context, k Kind, allow func() error) (Token, error) {
			for range 5 {
				if _, err := p.fetch(ctx, k, allow); err != nil {
					return Token{}, err
				}
			}
			return p.fetch(ctx, k, allow)
		}
		assert.Equal(t, "T6", name(c.get(t)))
	})
}

// The context of an abandoned flight ends, and so does its permission to send requests.
func TestAbandonedFlightSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &platform{}, withLimit(time.Minute))
		var allowed, ended error
		c.cfg.Fetch = func(ctx context.Context, _ Kind, allow func() error) (Token, error) {
			<-ctx.Done()
			ended, allowed = context.Cause(ctx), allow()
			return Token{}, allowed
		}
		_, err := c.Get(t.Context())
		require.ErrorAs(t, err, new(*AbandonedError))
		synctest.Wait()
		assert.Equal(t, err, ended)
		assert.Equal(t, err, allowed)
	})
}

// While the cached token is good, an abandoned flight fails nobody.
func TestAbandonedFlightWhileTheTokenIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hangs := &platform{}, hang(t)
		c := newCache(t, p, withLimit(20*time.Second))
		first := c.get(t)
		p.reply = func(context.Context, Kind) (*Token, error) { hangs(); return nil, nil }
		time.Sleep(2*time.Hour - 50*time.Second)
		start := time.Now()
		assert.Equal(t, first, c.get(t))
		assert.Equal(t, 20*time.Second, time.Since(start))
		assert.Equal(t, first, c.get(t))
		assert.Equal(t, 20*time.Second, time.Since(start), "the next refresh is later")
	})
}

// An abandoned flight can still deliver a token. It is used if it is better than the cached one.
func TestLateTokenOfAnAbandonedFlight(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(t *testing.T, c testCache, late Token) // what happens before it comes
		used bool
	}{
		{"nothing", func(*testing.T, testCache, Token) {}, true},
		{"an older token", func(t *testing.T, c testCache, late Token) {
			c.current.Store(schedule(tok("older", time.Until(late.ExpiresAt)-time.Second), time.Now()))
		}, true},
		{"a newer token", func(t *testing.T, c testCache, late Token) {
			c.current.Store(schedule(tok("newer", time.Until(late.ExpiresAt)+time.Second), time.Now()))
		}, false},
		{"it was rejected meanwhile", func(t *testing.T, c testCache, late Token) {
			c.current.Store(schedule(late, time.Now()))
			f, err := c.join(t.Context(), requirement{rejected: late.AccessToken})
			require.NoError(t, err)
			<-f.done
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{}
				late := tok("late", 2*time.Hour)
				var fetches atomic.Int32
				p.reply = func(context.Context, Kind) (*Token, error) {
					if fetches.Add(1) > 1 {
						return nil, errDown
					}
					time.Sleep(time.Hour)
					return &late, nil
				}
				c := newCache(t, p, withLimit(time.Minute))
				_, err := c.Get(t.Context())
				require.ErrorAs(t, err, new(*AbandonedError))
				tt.then(t, c, late)
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Equal(t, tt.used, c.Current() == late, "%v", c.Current())
				assert.Equal(t, tt.used, strings.Contains(c.logged.String(), "token refreshed"))
			})
		})
	}
}

// A late token does not end the flight that runs by then.
func TestLateTokenWhileAnotherFlightRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		pauses := make(chan time.Duration, 2)
		pauses <- 90 * time.Second
		pauses <- 50 * time.Second
		p.reply = func(context.Context, Kind) (*Token, error) {
			time.Sleep(<-pauses)
			return nil, nil
		}
		c := newCache(t, p, withLimit(time.Minute))
		_, err := c.Get(t.Context())
		require.ErrorAs(t, err, new(*AbandonedError))
		start := time.Now()
		assert.Equal(t, "T2", name(c.get(t)))
		assert.Equal(t, 50*time.Second, time.Since(start))
		assert.Equal(t, "T2", name(c.get(t)))
		assert.Len(t, p.requests(), 2)
	})
}

// A call for a token from inside a flight would wait for itself.
func TestCallFromInsideAFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := newCache(t, &platform{})
		c := newCache(t, &platform{})
		var inside, elsewhere, later error
		plain := c.cfg.Fetch
		c.cfg.Fetch = func(ctx context.Context, k Kind, allow func() error) (Token, error) {
			_, inside = c.Get(ctx)
			_, elsewhere = other.Get(ctx)
			Later(ctx, func() { _, later = c.Get(ctx) })
			return plain(ctx, k, allow)
		}
		start := time.Now()
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Zero(t, time.Since(start))
		assert.Equal(t, errInside, inside)
		assert.NoError(t, elsewhere, "the token of another account")
		assert.NoError(t, later, "it runs once the flight is complete")
	})
}

func TestLaterOutsideAFlight(t *testing.T) {
	called := 0
	Later(t.Context(), func() { called++ })
	assert.Equal(t, 1, called)
	w := &worker{}
	w.land()
	Later(context.WithValue(t.Context(), workerKey{}, w), func() { called++ })
	assert.Equal(t, 2, called)
}

// A fetch that fails in a lasting way waits a moment for the token of a process that may fetch one.
func TestLastingFailureHereAndTokenFromElsewhere(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		good, bad := &platform{delay: 300 * time.Millisecond}, &platform{delay: 100 * time.Millisecond}
		on, store := true, newFakeStore()
		bad.reply = fails(&on, errSecret)
		here := newCache(t, bad, withKind(kind), withStore(store))
		elsewhere := newCache(t, good, withKind(kind), withStore(store))
		errs := seq.RunConcurrently(2, func(i int) error {
			time.Sleep(time.Duration(i) * time.Millisecond) // here is first
			_, err := []testCache{here, elsewhere}[i].Get(t.Context())
			return err
		})
		assert.Equal(t, []error{nil, nil}, errs)
		assert.Equal(t, elsewhere.Current(), here.Current())
		assert.Len(t, bad.requests(), 1)
		assert.Contains(t, here.logged.String(), "from=store")
	})
}

// An interceptor may run a request twice at once.
func TestRequestsAtOnceInOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		c := newCache(t, &platform{}, withStore(store), withKind(Legacy))
		c.cfg.Fetch = func(_ context.Context, _ Kind, allow func() error) (Token, error) {
			time.Sleep(time.Minute)
			return tok("T1", time.Hour), errors.Join(seq.RunConcurrently(8, func(int) error { return allow() })...)
		}
		c.get(t)
		assert.Len(t, c.requests.sent, 8)
		assert.Equal(t, []string{"load", "lock", "load", "unlock", "lock", "load", "save", "unlock"}, store.did())
	})
}
