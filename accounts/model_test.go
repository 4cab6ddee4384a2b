package accounts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// world is a registry under a random schedule, and what a plain reader expects of it. Two keys share each app ID.
type world struct {
	*Registry
	t        *testing.T
	capacity int
	maxAge   time.Duration
	faulty   bool // lookups fail and their callers have deadlines

	mu       sync.Mutex
	rng      *rand.Rand
	versions map[string][]time.Time                 // when each version of an account's settings was written
	floor    map[string]int                         // the version that calls after a Forget or Refresh may expect
	forgets  map[string]int                         // number of Forgets by app ID and version
	running  map[string]bool                        // lookups in flight by key
	made     map[string]map[*wechatuser.Client]bool // clients by app ID and version; it keeps them in use
}

const modelKeys = 8

func modelAppID(key string) string { return fmt.Sprint("wx", (key[1]-'0')/2) }

func (w *world) int(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *world) pause(limit time.Duration) { time.Sleep(time.Duration(w.int(int(limit)))) }

// lookup reads the settings of a key at a random moment.
func (w *world) lookup(_ context.Context, key string) (Account, error) {
	w.mu.Lock()
	assert.False(w.t, w.running[key], "two lookups of %s at once", key)
	w.running[key] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.running[key] = false
	}()
	w.pause(2 * time.Second)
	appID := modelAppID(key)
	w.mu.Lock()
	version := len(w.versions[appID])
	w.mu.Unlock()
	w.pause(2 * time.Second)
	switch {
	case key == "k9":
		return Account{}, ErrUnknownAccount
	case w.faulty && w.int(5) == 0:
		return Account{}, errDown
	}
	return Account{
		AppID: appID, Secret: "s", Version: fmt.Sprint(version),
		Options: []wechatuser.Option{wechatuser.WithInterceptor(
			func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
				return wechatuser.Result{}, versionError(version)
			})},
	}, nil
}

// versionError is the error of all calls of a client, and says with which version of the settings it was made.
type versionError int

func (v versionError) Error() string { return fmt.Sprint("version ", int(v)) }

// client asks for a client and checks it.
func (w *world) client(key string) {
	appID := modelAppID(key)
	ctx := w.t.Context()
	if w.faulty && w.int(2) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.int(int(5*time.Second))))
		defer cancel()
	}
	w.mu.Lock()
	least := w.floor[appID]
	if w.maxAge > 0 && !w.faulty {
		for i, written := range w.versions[appID] {
			// Settings that are asked for again after the maximum age, and are too old after twice of it. That takes
			// 5 seconds at most, and may be done twice.
			if time.Since(written) > 2*w.maxAge+10*time.Second {
				least = max(least, i+1)
			}
		}
	}
	w.mu.Unlock()

	c, err := w.Client(ctx, key)
	assert.LessOrEqual(w.t, w.Len(), w.capacity)
	if err != nil {
		switch {
		case errors.Is(err, ErrUnknownAccount):
			assert.Equal(w.t, "k9", key)
		case errors.Is(err, errDown):
			assert.True(w.t, w.faulty)
		default:
			assert.Error(w.t, ctx.Err(), "%v", err)
		}
		return
	}
	var version versionError
	_, err = c.GetTags(w.t.Context())
	if !assert.ErrorAs(w.t, err, &version) {
		return
	}
	assert.Equal(w.t, appID, c.AppID())
	assert.GreaterOrEqual(w.t, int(version), least, "settings that had been replaced before")
	w.mu.Lock()
	defer w.mu.Unlock()
	of := fmt.Sprint(appID, " ", int(version))
	if w.made[of] == nil {
		w.made[of] = make(map[*wechatuser.Client]bool)
	}
	w.made[of][c] = true
	assert.LessOrEqual(w.t, len(w.made[of]), 1+w.forgets[of], "clients with the same settings")
}

// change writes new settings, and tells the registry in one of the ways that there are, or does not tell it.
func (w *world) change(key string) {
	appID := modelAppID(key)
	w.mu.Lock()
	w.versions[appID] = append(w.versions[appID], time.Now())
	version := len(w.versions[appID])
	w.mu.Unlock()
	w.tell(key, appID, version)
}

func (w *world) tell(key, appID string, version int) {
	switch w.int(4) {
	case 0:
		if err := w.Refresh(w.t.Context(), key); err != nil {
			assert.True(w.t, w.faulty, "%v", err)
			return
		}
	case 1:
		w.countForget(appID)
		w.ForgetAppID(appID)
	case 2:
		// Forget takes effect for what the registry knows: it can't know that a first lookup of another key is of the
		// same account. ForgetAppID can.
		w.countForget(appID)
		w.Forget(key)
		return
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor[appID] = max(w.floor[appID], version)
}

func (w *world) countForget(appID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgets[fmt.Sprint(appID, " ", len(w.versions[appID]))]++
}

// Callers, changes, failures, idle keys and full memory in any order.
func TestModel(t *testing.T) {
	seeds := 30
	if testutil.Full() {
		seeds = 1000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, uint64(seed)) })
		})
	}
}

func runModel(t *testing.T, seed uint64) {
	t.Helper()
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), faulty: seed%2 == 0,
		versions: map[string][]time.Time{}, floor: map[string]int{}, forgets: map[string]int{},
		running: map[string]bool{}, made: map[string]map[*wechatuser.Client]bool{},
	}
	w.capacity = 1 + w.int(modelKeys+1)
	opts := []Option{WithCapacity(w.capacity), WithIdle(time.Minute), WithLimiter(func(string) wechatuser.Limiter {
		w.pause(time.Second) // while a client is made, others are
		return nil
	})}
	if seed%3 > 0 {
		w.maxAge = time.Duration(5+w.int(40)) * time.Second
		opts = append(opts, WithMaxAge(w.maxAge))
	}
	if seed%5 > 0 {
		opts = append(opts, WithUnknownFor(20*time.Second))
	}
	var err error
	w.Registry, err = New(w.lookup, opts...)
	require.NoError(t, err)

	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 60 {
				w.pause([]time.Duration{time.Second, 5 * time.Second, 2 * time.Minute}[w.int(3)])
				key := fmt.Sprint("k", w.int(modelKeys))
				switch w.int(8) {
				case 0:
					w.change(key)
				case 1:
					w.client("k9")
				default:
					w.client(key)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	assert.Zero(t, w.Len())
	assert.Empty(t, w.flights)
	assert.Zero(t, w.clients.used.Len())
	for _, a := range w.clients.apps {
		assert.Empty(t, a.entries)
		assert.Nil(t, a.client)
	}
	runtime.KeepAlive(w.made)
}
