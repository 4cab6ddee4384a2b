package tokencache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toldKey has what Refreshing put into the context of a refresh.
type toldKey struct{}

// told notes what hooks are told.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (h *told) note(ctx context.Context, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	refresh, _ := ctx.Value(toldKey{}).(string)
	h.lines = append(h.lines, fmt.Sprintf(format, args...)+refresh)
}

// all returns the notes since the last call.
func (h *told) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

func (h *told) hook() Hook {
	n := 0
	return Hook{
		Refreshing: func(ctx context.Context, r Refresh) context.Context {
			n++
			h.note(ctx, "refreshing %s", r.Reason)
			return context.WithValue(ctx, toldKey{}, fmt.Sprintf(" in %d", n))
		},
		Refreshed: func(ctx context.Context, r Refresh) {
			text := fmt.Sprintf("refreshed %s from %s in %v", r.Reason, r.From, r.Duration)
			if r.Forced {
				text += " by force"
			}
			if r.Err == nil {
				text += " until " + r.ExpiresAt.UTC().Format("15:04")
			} else {
				text += ": " + r.Err.Error()
			}
			h.note(ctx, "%s", text)
		},
		StoreFailed: func(ctx context.Context, f StoreFailure) {
			h.note(ctx, "store failed: %s, tolerated: %v, %v", f.Operation, f.Tolerated, f.Err)
		},
		Waited: func(ctx context.Context, w Wait) {
			assert.Nil(h, ctx.Value(toldKey{}), "it is the context of the caller")
			h.note(w.Refresh, "waited %v, error: %v", w.Duration, w.Err)
		},
	}
}

func (h *told) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func withHooks(hooks ...Hook) func(*Config) { return func(cfg *Config) { cfg.Hooks = hooks } }

func TestHooksAreToldOfEachRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, down := &told{}, false
		p := &platform{delay: 2 * time.Second, reply: fails(&down, errDown)}
		c := newCache(t, p, withHooks(Hook{}, h.hook())) // the clock of the bubble starts at midnight
		expect := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			assert.Equal(t, lines, h.all())
		}
		first := c.get(t)
		expect("refreshing cold", "refreshed cold from wechat in 2s until 02:00 in 1", "waited 2s, error: <nil> in 1")
		c.get(t)
		expect()

		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		expect("refreshing rejected", "refreshed rejected from wechat in 2s until 02:00 in 2",
			"waited 2s, error: <nil> in 2")
		forced, err := c.ForceRefresh(t.Context())
		require.NoError(t, err)
		expect("refreshing forced", "refreshed forced from wechat in 2s by force until 02:00 in 3",
			"waited 2s, error: <nil> in 3")

		down = true
		time.Sleep(time.Until(forced.ExpiresAt.Add(-4 * time.Minute))) // nobody waits for this one
		c.get(t)
		time.Sleep(2 * time.Second)
		expect("refreshing expiring", "refreshed expiring from wechat in 2s: the platform is down in 4")
		time.Sleep(time.Until(forced.ExpiresAt))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		expect("refreshing cold", "waited 1s, error: waiting for an access token: context deadline exceeded in 5",
			"refreshed cold from wechat in 2s: the platform is down in 5")
	})
}

func TestHooksAreToldOfAForcedFetchAfterARejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := &told{}, &platform{}
		var first Token
		p.reply = func(_ context.Context, kind Kind) (*Token, error) {
			if kind == StableForced || first.AccessToken == "" {
				first = p.issue()
			}
			return &first, nil
		}
		c := newCache(t, p, withHooks(h.hook()))
		rejected := c.get(t).AccessToken
		h.all()
		_, err := c.Refresh(t.Context(), rejected)
		require.NoError(t, err)
		assert.Contains(t, h.all(), "refreshed rejected from wechat in 0s by force until 02:00 in 2")
	})
}

func TestHooksAreToldOfTheStore(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		h, store := &told{}, newFakeStore()
		store.token = tok("stored", time.Hour)
		c := newCache(t, &platform{}, withKind(kind), withStore(store), withHooks(h.hook()))
		rejected := c.get(t).AccessToken
		assert.Contains(t, h.all(), "refreshed cold from store in 0s until 01:00 in 1")

		store.before = storeFails("all", false)
		_, err := c.Refresh(t.Context(), rejected)
		got := h.all()
		require.GreaterOrEqual(t, len(got), 4)
		if kind == Legacy {
			require.ErrorIs(t, err, errStore)
			assert.Equal(t, []string{
				"refreshing rejected",
				"store failed: delete, tolerated: false, the store is down: *** in 2",
				"refreshed rejected from store in 0s: wechatuser: token store: delete: the store is down: *** in 2",
			}, got[:3])
			return
		}
		require.NoError(t, err)
		assert.Equal(t, []string{
			"refreshing rejected",
			"store failed: delete, tolerated: true, the store is down: *** in 2",
			"store failed: save, tolerated: true, the store is down: *** in 2",
			"refreshed rejected from wechat in 0s until 02:00 in 2",
		}, got[:4])
	})
}

// A look at the store that finds nothing is no refresh.
func TestHooksAreNotToldOfALookInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, wrong, store := &told{}, true, newFakeStore()
		c := newCache(t, &platform{reply: fails(&wrong, errSecret)}, withStore(store), withHooks(h.hook()))
		for range 3 { // so that it is remembered for 4 seconds
			_, err := c.Get(t.Context())
			require.ErrorIs(t, err, errSecret)
			time.Sleep(2 * time.Second)
		}
		h.all()
		_, err := c.Get(t.Context())
		require.ErrorAs(t, err, new(*RememberedError))
		for _, line := range h.all() {
			assert.Contains(t, line, "waited")
		}
		store.set(tok("stored", time.Hour))
		time.Sleep(lookGap)
		c.get(t)
		assert.Contains(t, fmt.Sprint(h.all()), "refreshed cold from store")
	})
}

func TestHooksAreToldOfAnAbandonedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &told{}
		c := newCache(t, &platform{delay: time.Hour}, withHooks(h.hook()), withLimit(time.Minute))
		_, err := c.Get(t.Context())
		require.ErrorAs(t, err, new(*AbandonedError))
		time.Sleep(time.Hour)
		got := h.all()
		require.Len(t, got, 4)
		assert.Contains(t, got[1], "refreshed cold from wechat in 1m0s: wechatuser: the refresh of the access token was abandoned")
		assert.Equal(t, "refreshed cold from wechat in 1h0m0s until 03:00 in 1", got[3])
	})
}

// A hook that panics, ends its goroutine or does not return changes no refresh.
func TestHooksThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		fail  func()
		takes time.Duration // the first call
		log   string
	}{
		"panic":  {func() { panic(sentinel) }, 0, `msg="wechatuser: token hook panicked" panic="goroutine`},
		"Goexit": {runtime.Goexit, 0, ""},
		"hangs":  {func() { time.Sleep(time.Hour) }, hookPatience + logPatience, "token hook held up a refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, store := &told{}, newFakeStore()
				store.before = storeFails("save", false)
				bad := Hook{
					Refreshing:  func(context.Context, Refresh) context.Context { tt.fail(); return nil },
					Refreshed:   func(context.Context, Refresh) { tt.fail() },
					StoreFailed: func(context.Context, StoreFailure) { tt.fail() },
				}
				if name == "panic" {
					bad.Waited = func(context.Context, Wait) { tt.fail() }
				}
				c := newCache(t, &platform{}, withStore(store), withHooks(bad, h.hook()))
				start := time.Now()
				c.get(t)
				assert.Equal(t, tt.takes, time.Since(start))
				assert.Contains(t, c.logged.String(), tt.log)
				if name == "panic" {
					assert.Len(t, h.all(), 4, "the other hook is told of everything")
				}
				c.get(t)
				time.Sleep(3 * time.Hour)
				c.get(t)
				time.Sleep(3 * time.Hour) // until the hooks have returned
			})
		})
	}
}

// A hook may use the cache. Before the refresh has ended, that fails in place of waiting for itself.
func TestHooksMayUseTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c testCache
		var early, late error
		c = newCache(t, &platform{}, withHooks(Hook{
			Refreshing: func(ctx context.Context, _ Refresh) context.Context {
				_, early = c.Get(ctx)
				return ctx
			},
			Refreshed: func(ctx context.Context, _ Refresh) { _, late = c.Get(ctx) },
		}))
		start := time.Now()
		c.get(t)
		assert.Zero(t, time.Since(start))
		require.ErrorIs(t, early, errInside)
		assert.NoError(t, late)
	})
}

// The context of a hook has the values that a refresh uses, and neither its deadline nor its cancellation.
func TestContextOfAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		seen := errors.New("no fetch")
		p := &platform{reply: func(ctx context.Context, _ Kind) (*Token, error) {
			assert.Equal(t, "value", ctx.Value(key{}))
			seen = ctx.Err()
			return nil, nil
		}}
		c := newCache(t, p, withHooks(Hook{Refreshing: func(ctx context.Context, _ Refresh) context.Context {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, "value"))
			cancel()
			return ctx
		}}))
		c.get(t)
		assert.NoError(t, seen)
	})
}
