package tokencache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSatisfies(t *testing.T) {
	of := func(r requirement, token string, err error) *flight {
		return &flight{requirement: r, token: Token{AccessToken: token}, err: err}
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
		{"no other token than T0, for T1", of(requirement{rejected: "T0"}, "T0", no), requirement{rejected: "T1"}, false},
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
		p := &platform{delay: 4 * time.Second}
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

// goexitAt makes a fetch or an operation of the store end its goroutine, as t.FailNow does.
func goexitAt(op string, off *bool) (
	reply func(context.Context, Kind) (*Token, error), before func(context.Context, string) error,
) {
	reply = func(context.Context, Kind) (*Token, error) {
		if op == "fetch" && !*off {
			runtime.Goexit()
		}
		return nil, nil
	}
	before = func(_ context.Context, did string) error {
		if op == did && !*off {
			runtime.Goexit()
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
				p.reply, store.before = goexitAt(op, &off)
				c := newCache(t, p, withStore(store))
				for _, err := range runConcurrently(3, func(int) error {
					_, err := c.Get(t.Context())
					return err
				}) {
					require.ErrorIs(t, err, errInterrupted)
				}
				assert.Contains(t, c.logged.String(), "ended without a result")
				assert.Empty(t, store.lock, "the lock is released")
				off = true
				assert.NotZero(t, c.get(t))
			})
		})
	}
}

// A panic goes on, and the flight is completed nonetheless.
func TestPanicCompletesTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		p := &platform{reply: func(context.Context, Kind) (*Token, error) { panic("in a transport") }}
		c := newCache(t, p, withStore(store))
		f := &flight{done: make(chan struct{})}
		c.running = f
		require.PanicsWithValue(t, "in a transport", func() { c.run(t.Context(), f) })
		<-f.done
		require.ErrorIs(t, f.err, errInterrupted)
		assert.Nil(t, c.running)
		assert.Empty(t, store.lock, "the lock is released")
		p.reply = nil
		assert.Equal(t, "T1", name(c.get(t)))
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
				"wechatuser: token refreshed", testKey, reason, c.Current().ExpiresAt.Format("2006-01-02T15:04:05.000Z07:00"))
		}
		failed := func(reason string) string {
			return fmt.Sprintf("level=WARN msg=%q key=%s reason=%s from=wechat duration=1.5s error=%q",
				"wechatuser: token refresh failed", testKey, reason, errDown)
		}
		first := c.get(t)
		expect(renewed("due"))
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
		expect(failed("due"))
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

// A flight is complete, and its line in the log, when its callers return.
func TestCallersReturnAfterTheirFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, &platform{})
		c.cfg.Logger = slog.New(handlerFunc(func() { time.Sleep(time.Second) }))
		start := time.Now()
		c.get(t)
		assert.Equal(t, time.Second, time.Since(start))
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
