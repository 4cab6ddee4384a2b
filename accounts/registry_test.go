package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

var errDown = errors.New("the database is down")

// database is where the tests look accounts up.
type database struct {
	mu    sync.Mutex
	rows  map[string]Account
	err   error
	delay time.Duration
	calls []string // keys
	ended []error  // of the contexts of lookups that were waiting
}

func newDatabase(keys ...string) *database {
	d := &database{rows: make(map[string]Account)}
	for _, key := range keys {
		d.set(key, Account{AppID: "wx" + key, Secret: "s1"})
	}
	return d
}

func (d *database) set(key string, a Account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[key] = a
}

func (d *database) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// lookup reads the row at its beginning, as a query does, and returns it later.
func (d *database) lookup(ctx context.Context, key string) (Account, error) {
	d.mu.Lock()
	d.calls = append(d.calls, key)
	row, ok := d.rows[key]
	err, delay := d.err, d.delay
	d.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			d.mu.Lock()
			defer d.mu.Unlock()
			d.ended = append(d.ended, ctx.Err())
			return Account{}, ctx.Err()
		}
	}
	switch {
	case err != nil:
		return Account{}, err
	case !ok:
		return Account{}, fmt.Errorf("no row for %s: %w", key, ErrUnknownAccount)
	}
	return row, nil
}

func (d *database) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.calls)
}

func newRegistry(t *testing.T, lookup Lookup, opts ...Option) *Registry {
	t.Helper()
	r, err := New(lookup, opts...)
	require.NoError(t, err)
	return r
}

func get(t *testing.T, r *Registry, key string) *wechatuser.Client {
	t.Helper()
	c, err := r.Client(t.Context(), key)
	require.NoError(t, err)
	return c
}

func TestClientIsKept(t *testing.T) {
	db := newDatabase("a", "b")
	r := newRegistry(t, db.lookup)
	a := get(t, r, "a")
	assert.Equal(t, "wxa", a.AppID())
	assert.Same(t, a, get(t, r, "a"))
	assert.NotSame(t, a, get(t, r, "b"))
	assert.Equal(t, []string{"a", "b"}, db.calls)
	assert.Equal(t, 2, r.Len())
}

func TestKeyIsTheAppIDByDefault(t *testing.T) {
	r := newRegistry(t, func(context.Context, string) (Account, error) { return Account{Secret: "s"}, nil })
	assert.Equal(t, "wx1", get(t, r, "wx1").AppID())
}

// One lookup serves all callers, and each of them waits only as long as its own context allows.
func TestOneLookupForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = 5 * time.Second
		r := newRegistry(t, db.lookup)
		cause := errors.New("shutting down")
		first, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		short, stop := context.WithTimeout(t.Context(), 2*time.Second)
		defer stop()
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.Client(first, "a")
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, cause)
			assert.Equal(t, time.Second, time.Since(start))
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := r.Client(short, "a")
			assert.EqualError(t, err, `accounts: waiting for the settings of "a": context deadline exceeded`)
			assert.Equal(t, 2*time.Second, time.Since(start))
		})
		clients := make([]*wechatuser.Client, 100)
		for i := range clients {
			wg.Go(func() {
				c, err := r.Client(t.Context(), "a")
				assert.NoError(t, err)
				clients[i] = c
			})
		}
		wg.Wait()
		for _, c := range clients {
			assert.Same(t, clients[0], c)
		}
		assert.Equal(t, 1, db.count())
		assert.Empty(t, db.ended)
	})
}

// Callers with short deadlines find what an earlier lookup has brought.
func TestLookupOutlivesItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = time.Second
		r := newRegistry(t, db.lookup)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), seenKey{}, "value"), 300*time.Millisecond)
		defer cancel()
		_, err := r.Client(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		get(t, r, "a")
		assert.Equal(t, 1, db.count())

		canceled, stop := context.WithCancel(t.Context())
		stop()
		_, err = r.Client(canceled, "a")
		require.NoError(t, err, "nothing to wait for")
		_, err = r.Client(canceled, "b")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, r.Refresh(canceled, "a"), context.Canceled)
		assert.Equal(t, 1, db.count(), "nobody would wait for this lookup")
	})
}

type seenKey struct{}

func TestContextOfALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, func(ctx context.Context, _ string) (Account, error) {
			assert.Equal(t, "value", ctx.Value(seenKey{}))
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, 3*time.Second, time.Until(deadline))
			return Account{Secret: "s"}, nil
		}, WithLookupTimeout(3*time.Second))
		_, err := r.Client(context.WithValue(t.Context(), seenKey{}, "value"), "a")
		require.NoError(t, err)
	})
}

// A lookup that ignores its context fails in time, and blocks nobody after that.
func TestLookupThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		db := newDatabase("a")
		var lookups atomic.Int32
		r := newRegistry(t, func(ctx context.Context, key string) (Account, error) {
			if lookups.Add(1) == 1 {
				<-stuck
				return Account{AppID: "wxlate", Secret: "late"}, nil
			}
			return db.lookup(ctx, key)
		})
		start := time.Now()
		_, err := r.Client(t.Context(), "a")
		require.EqualError(t, err, `accounts: looking up "a" took longer than 10s: context deadline exceeded`)
		assert.Equal(t, 10*time.Second, time.Since(start))
		c := get(t, r, "a")
		close(stuck)
		synctest.Wait()
		assert.Same(t, c, get(t, r, "a"), "the late result is not used")
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	db := newDatabase("a")
	db.fail(errDown)
	r := newRegistry(t, db.lookup, WithUnknownFor(time.Hour))
	for range 2 {
		_, err := r.Client(t.Context(), "a")
		require.ErrorIs(t, err, errDown)
		require.EqualError(t, err, `accounts: looking up "a": the database is down`)
	}
	db.fail(nil)
	get(t, r, "a")
	assert.Equal(t, 3, db.count())
}

func TestWrongSettings(t *testing.T) {
	db := newDatabase()
	db.set("a", Account{AppID: "wxa"})
	r := newRegistry(t, db.lookup)
	_, err := r.Client(t.Context(), "a")
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	require.ErrorContains(t, err, `accounts: the settings of "a": wechatuser: New: secret: empty`)
	assert.Zero(t, r.Len())
	assert.Empty(t, r.clients.apps)
	db.set("a", Account{AppID: "wxa", Secret: "s"})
	get(t, r, "a")
}

func TestUnknownAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		r := newRegistry(t, db.lookup)
		for range 3 {
			_, err := r.Client(t.Context(), "a")
			require.ErrorIs(t, err, ErrUnknownAccount)
		}
		assert.Equal(t, 3, db.count(), "not remembered by default")

		db = newDatabase()
		r = newRegistry(t, db.lookup, WithUnknownFor(time.Minute))
		ask := func(key string) {
			_, err := r.Client(t.Context(), key)
			require.EqualError(t, err, fmt.Sprintf("accounts: looking up %q: no row for %s: no such account", key, key))
		}
		ask("a")
		time.Sleep(time.Minute - 1)
		ask("a")
		assert.Equal(t, 1, db.count())
		time.Sleep(time.Nanosecond)
		ask("a")
		assert.Equal(t, 2, db.count())

		db.set("a", Account{Secret: "s"})
		ask("a")
		r.Forget("a")
		get(t, r, "a")
		assert.Equal(t, 3, db.count())

		ask("b")
		db.set("b", Account{Secret: "s"})
		require.NoError(t, r.Refresh(t.Context(), "b"))
		get(t, r, "b")
		assert.Equal(t, 5, db.count())
	})
}

// Wrong keys fill no memory, and displace no client.
func TestUnknownKeysAreBounded(t *testing.T) {
	db := newDatabase("a")
	r := newRegistry(t, db.lookup, WithUnknownFor(time.Hour), WithCapacity(1))
	a := get(t, r, "a")
	_, err := r.Client(t.Context(), "wrong0")
	require.ErrorIs(t, err, ErrUnknownAccount)
	assert.Contains(t, r.unknown.keys, "wrong0")
	for now, i := time.Now(), 1; i < maxUnknown+10; i++ {
		r.unknown.add(fmt.Sprint("wrong", i), ErrUnknownAccount, now, now.Add(time.Hour))
	}
	assert.Len(t, r.unknown.keys, maxUnknown)
	assert.Equal(t, maxUnknown, r.unknown.order.Len())
	assert.NotContains(t, r.unknown.keys, "wrong9", "the oldest is forgotten first")
	assert.Contains(t, r.unknown.keys, "wrong10")
	assert.Same(t, a, get(t, r, "a"))

	_, err = r.Client(t.Context(), strings.Repeat("x", maxUnknownKey+1))
	require.ErrorIs(t, err, ErrUnknownAccount)
	assert.Contains(t, r.unknown.keys, "wrong10", "a long key is not remembered")
}

func TestKeysOfOneAppIDShareAClient(t *testing.T) {
	db := newDatabase()
	for _, key := range []string{"a", "b", "c"} {
		db.set(key, Account{AppID: "wx1", Secret: "s1"})
	}
	r := newRegistry(t, db.lookup)
	clients := make([]*wechatuser.Client, 30)
	for _, err := range seq.RunConcurrently(len(clients), func(i int) (err error) {
		clients[i], err = r.Client(t.Context(), string(rune('a'+i%3)))
		return err
	}) {
		require.NoError(t, err)
	}
	for _, c := range clients {
		assert.Same(t, clients[0], c)
	}
	assert.Equal(t, 3, r.Len())

	// The settings that were looked up last apply to all of them.
	db.set("b", Account{AppID: "wx1", Secret: "s2"})
	require.NoError(t, r.Refresh(t.Context(), "b"))
	assert.NotSame(t, clients[0], get(t, r, "a"))
	assert.Same(t, get(t, r, "a"), get(t, r, "b"))

	r.Forget("c")
	assert.Zero(t, r.Len(), "all keys of the app ID")
}

// A lookup that began earlier and ends later does not bring back old settings.
func TestOlderLookupOfAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.set("a", Account{AppID: "wx1", Secret: "s1"})
		db.delay = 5 * time.Second
		r := newRegistry(t, db.lookup)
		var old *wechatuser.Client
		done := make(chan struct{})
		go func() {
			defer close(done)
			old = get(t, r, "a")
		}()
		synctest.Wait()
		db.delay = time.Second
		db.set("b", Account{AppID: "wx1", Secret: "s2"})
		b := get(t, r, "b")
		<-done
		assert.Same(t, b, old)
		assert.Equal(t, "s2", r.clients.apps["wx1"].account.Secret)
	})
}

func TestKeyOfAnotherAppID(t *testing.T) {
	db := newDatabase("a", "b")
	r := newRegistry(t, db.lookup)
	get(t, r, "a")
	b := get(t, r, "b")
	db.set("a", db.rows["b"])
	require.NoError(t, r.Refresh(t.Context(), "a"))
	assert.Same(t, b, get(t, r, "a"))
	assert.Nil(t, r.clients.apps["wxa"].client, "nothing holds the client of the other one")
	assert.Equal(t, 2, r.Len())
}

func TestRefreshReplacesOnlyWhatDiffers(t *testing.T) {
	source := wechatuser.StaticTokenSource("token")
	ask := func(context.Context) (string, error) { return "s", nil }
	base := Account{AppID: "wx1", Secret: "s1", Version: "1"}
	for name, tt := range map[string]struct {
		change func(*Account)
		differ bool
	}{
		"nothing":       {func(*Account) {}, false},
		"secret":        {func(a *Account) { a.Secret = "s2" }, true},
		"version":       {func(a *Account) { a.Version = "2" }, true},
		"app ID":        {func(a *Account) { a.AppID = "wx2" }, true},
		"secret source": {func(a *Account) { a.SecretSource = ask }, true},
		"token source":  {func(a *Account) { a.TokenSource = source }, true},
		"options":       {func(a *Account) { a.Options = []wechatuser.Option{wechatuser.WithLegacyToken()} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase()
			db.set("a", base)
			r := newRegistry(t, db.lookup)
			before := get(t, r, "a")
			changed := base
			tt.change(&changed)
			db.set("a", changed)
			assert.Same(t, before, get(t, r, "a"), "nobody has said so")
			require.NoError(t, r.Refresh(t.Context(), "a"))
			after := get(t, r, "a")
			assert.Equal(t, tt.differ, before != after)
			require.NoError(t, r.Refresh(t.Context(), "a"))
			assert.Same(t, after, get(t, r, "a"))
		})
	}
}

// The token is kept with the client, and the client of before keeps working.
func TestTokenIsKept(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wx1", "s1"))
	db := newDatabase()
	db.set("a", Account{AppID: "wx1", Secret: "s1"})
	r := newRegistry(t, db.lookup, WithClientOptions(wechatuser.WithTransport(srv.Transport())))
	old := get(t, r, "a")
	call := func(c *wechatuser.Client) {
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
	}
	call(old)
	require.NoError(t, r.Refresh(t.Context(), "a"))
	call(get(t, r, "a"))
	assert.Equal(t, 1, srv.Calls("/cgi-bin/stable_token"))

	r.Forget("a")
	call(get(t, r, "a"))
	assert.Equal(t, 2, srv.Calls("/cgi-bin/stable_token"))
	call(old)
	srv.ExpireTokens()
	call(old)
	assert.Equal(t, 3, srv.Calls("/cgi-bin/stable_token"))
}

func TestRefreshThatFails(t *testing.T) {
	db := newDatabase("a")
	r := newRegistry(t, db.lookup)
	a := get(t, r, "a")
	db.fail(errDown)
	require.ErrorIs(t, r.Refresh(t.Context(), "a"), errDown)
	assert.Same(t, a, get(t, r, "a"))
	db.fail(nil)

	db.set("a", Account{AppID: "wxa"})
	require.ErrorIs(t, r.Refresh(t.Context(), "a"), wechatuser.ErrInvalidArgument)
	assert.Same(t, a, get(t, r, "a"), "wrong settings replace nothing")

	delete(db.rows, "a")
	require.ErrorIs(t, r.Refresh(t.Context(), "a"), ErrUnknownAccount)
	assert.Zero(t, r.Len())
	_, err := r.Client(t.Context(), "a")
	require.ErrorIs(t, err, ErrUnknownAccount)
}

// A lookup that runs when settings change may have read the old ones. Whoever asks after Refresh or Forget gets the new
// ones.
func TestChangeDuringALookup(t *testing.T) {
	for name, change := range map[string]func(ctx context.Context, r *Registry) error{
		"Refresh":     func(ctx context.Context, r *Registry) error { return r.Refresh(ctx, "a") },
		"Forget":      func(_ context.Context, r *Registry) error { r.Forget("a"); return nil },
		"ForgetAppID": func(_ context.Context, r *Registry) error { r.ForgetAppID("wxa"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := newDatabase("a")
				db.delay = time.Second
				r := newRegistry(t, db.lookup)
				var early *wechatuser.Client
				done := make(chan struct{})
				go func() {
					defer close(done)
					early = get(t, r, "a")
				}()
				synctest.Wait()
				db.set("a", Account{AppID: "wxa", Secret: "s2"})
				require.NoError(t, change(t.Context(), r))
				late := get(t, r, "a")
				<-done
				assert.Same(t, late, early)
				assert.Equal(t, "s2", r.clients.apps["wxa"].account.Secret)
				assert.Equal(t, 2, db.count())
			})
		})
	}
}

// A lookup that fails may have begun before the change, like one that returns old settings.
func TestRefreshDuringALookupThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = time.Second
		db.fail(errDown)
		r := newRegistry(t, db.lookup)
		var wg sync.WaitGroup
		wg.Go(func() { get(t, r, "a") })
		synctest.Wait()
		db.fail(nil)
		require.NoError(t, r.Refresh(t.Context(), "a"))
		wg.Wait()
		assert.Equal(t, 2, db.count())
	})
}

// Refreshes that come faster than lookups end do not hold each other up.
func TestManyRefreshesDuringLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = 2 * time.Second
		r := newRegistry(t, db.lookup)
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() {
			get(t, r, "a")
			assert.Equal(t, 4*time.Second, time.Since(start))
		})
		for i := range 100 {
			time.Sleep(time.Second)
			db.set("a", Account{AppID: "wxa", Secret: fmt.Sprint("secret", i)})
			wg.Go(func() {
				start, want := time.Now(), fmt.Sprint("secret", i)
				assert.NoError(t, r.Refresh(t.Context(), "a"))
				assert.LessOrEqual(t, time.Since(start), 6*time.Second)
				r.mu.Lock()
				got := r.clients.apps["wxa"].account.Secret
				r.mu.Unlock()
				assert.False(t, len(got) < len(want) || len(got) == len(want) && got < want, "%s after %s", got, want)
			})
		}
		wg.Wait()
		assert.Empty(t, r.flights)
	})
}

// A lookup for which nobody waits does not bring back what was forgotten.
func TestForgetDuringALookupOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = time.Second
		r := newRegistry(t, db.lookup)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := r.Client(ctx, "a")
		require.Error(t, err)
		r.Forget("a")
		time.Sleep(time.Minute)
		assert.Zero(t, r.Len())
		assert.Equal(t, 1, db.count())
		assert.Empty(t, r.flights)
	})
}

func TestForgetAppIDOfAnotherKeyThatIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("b")
		db.set("a", Account{AppID: "wx1", Secret: "s1"})
		db.delay = time.Second
		r := newRegistry(t, db.lookup)
		var wg sync.WaitGroup
		wg.Go(func() { get(t, r, "a") })
		wg.Go(func() { get(t, r, "b") })
		synctest.Wait()
		r.ForgetAppID("wx1")
		wg.Wait()
		assert.Equal(t, 3, db.count(), "a twice, b once")
	})
}

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase("a")
		db.delay = 2 * time.Second
		var log bytes.Buffer
		r := newRegistry(t, db.lookup, WithMaxAge(time.Minute), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		first := get(t, r, "a")
		same := func(want *wechatuser.Client, lookups int) {
			t.Helper()
			start := time.Now()
			assert.Same(t, want, get(t, r, "a"))
			assert.Zero(t, time.Since(start), "it does not wait")
			synctest.Wait()
			assert.Equal(t, lookups, db.count())
		}
		time.Sleep(time.Minute - 1)
		same(first, 1)
		time.Sleep(time.Nanosecond)
		same(first, 2)
		same(first, 2)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		same(first, 2)
		assert.Empty(t, log.String())

		db.set("a", Account{AppID: "wxa", Secret: "s2"})
		time.Sleep(time.Minute)
		same(first, 3)
		time.Sleep(3 * time.Second)
		synctest.Wait() // for the log
		second := get(t, r, "a")
		assert.NotSame(t, first, second)
		assert.Contains(t, log.String(), "client replaced")
		log.Reset()

		db.fail(errDown)
		time.Sleep(time.Minute)
		same(second, 4)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		same(second, 4)
		assert.Contains(t, log.String(), "lookup failed")
		assert.Contains(t, log.String(), "client_kept=true")
		time.Sleep(10 * time.Second)
		same(second, 5)
		time.Sleep(3 * time.Second)
		db.fail(nil)

		db.set("a", Account{AppID: "wxa", Secret: "s3"})
		time.Sleep(time.Hour) // nobody asks for it
		start := time.Now()
		third := get(t, r, "a")
		assert.NotSame(t, second, third)
		assert.Equal(t, 2*time.Second, time.Since(start), "its settings are too old")

		db.fail(errDown)
		time.Sleep(time.Hour)
		start = time.Now()
		assert.Same(t, third, get(t, r, "a"), "better than none")
		assert.Equal(t, 2*time.Second, time.Since(start))
		db.fail(nil)

		delete(db.rows, "a")
		time.Sleep(time.Hour)
		_, err := r.Client(t.Context(), "a")
		require.ErrorIs(t, err, ErrUnknownAccount)
		assert.Zero(t, r.Len())
	})
}

func TestLeastRecentlyUsedIsDropped(t *testing.T) {
	db := newDatabase("a", "b", "c")
	r := newRegistry(t, db.lookup, WithCapacity(2))
	get(t, r, "a")
	get(t, r, "b")
	get(t, r, "a")
	get(t, r, "c")
	assert.Equal(t, 2, r.Len())
	get(t, r, "a")
	get(t, r, "c")
	assert.Equal(t, 3, db.count())
	get(t, r, "b")
	assert.Equal(t, 4, db.count())
}

func TestIdleKeysAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, newDatabase("a", "b").lookup, WithIdle(time.Hour))
		get(t, r, "a")
		time.Sleep(20 * time.Minute)
		get(t, r, "b")
		time.Sleep(30 * time.Minute)
		get(t, r, "a")
		synctest.Wait()
		assert.Equal(t, 2, r.Len())
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, r.Len())
		time.Sleep(30*time.Minute - 1)
		synctest.Wait()
		assert.Equal(t, 1, r.Len())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Zero(t, r.Len())

		get(t, r, "a")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Zero(t, r.Len(), "again")
	})
}

// A client that is still used is not made twice: two of them would have two tokens and two limits.
func TestClientInUseIsFoundAgain(t *testing.T) {
	db := newDatabase("a", "b")
	r := newRegistry(t, db.lookup, WithCapacity(1))
	a := get(t, r, "a")
	get(t, r, "b")
	runtime.GC()
	assert.Equal(t, 1, r.Len())
	assert.Same(t, a, get(t, r, "a"))
	assert.Equal(t, 3, db.count())

	get(t, r, "b")
	db.set("a", Account{AppID: "wxa", Secret: "s2"})
	assert.NotSame(t, a, get(t, r, "a"), "its settings have changed")
}

// What nobody uses is freed.
func TestClientsAreFreed(t *testing.T) {
	r := newRegistry(t, newDatabase("a", "b").lookup, WithCapacity(1))
	get(t, r, "a")
	get(t, r, "b")
	for apps := 2; apps > 1; {
		runtime.GC()
		runtime.Gosched()
		r.mu.Lock()
		apps = len(r.clients.apps)
		r.mu.Unlock()
	}
	r.Forget("b")
	assert.Empty(t, r.clients.apps)
}

// A registry that a program drops is freed with its clients, without a Close. The timer for idle keys would hold it
// until the last of them is idle, so there is none here.
func TestRegistryIsFreed(t *testing.T) {
	freed := make(chan struct{})
	func() {
		r := newRegistry(t, newDatabase("a").lookup)
		r.armed = true
		runtime.AddCleanup(get(t, r, "a"), func(int) { close(freed) }, 0)
	}()
	for {
		select {
		case <-freed:
			return
		default:
			runtime.GC()
			runtime.Gosched()
		}
	}
}

func TestStoreAndSources(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wx1", "s1"))
	token := srv.AccessToken
	db := newDatabase()
	db.set("own", Account{AppID: "wx1", Secret: "s1"})
	db.set("vault", Account{AppID: "wx1", SecretSource: func(context.Context) (string, error) { return "s1", nil }})
	store := wechatuser.NewMemoryTokenStore()
	r := newRegistry(t, db.lookup, WithClientOptions(wechatuser.WithTransport(srv.Transport())), WithTokenStore(store))
	for _, key := range []string{"own", "vault"} {
		_, err := get(t, r, key).GetTags(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, srv.Calls("/cgi-bin/stable_token"), "the store has the token")
	}
	db.set("authorized", Account{AppID: "wx1", TokenSource: wechatuser.TokenSourceFunc(
		func(context.Context) (wechatuser.Token, error) {
			return wechatuser.Token{AccessToken: token()}, nil
		})})
	_, err := get(t, r, "authorized").GetTags(t.Context())
	require.NoError(t, err, "a store and a source exclude each other")
}

// An account keeps its limiter when its client is replaced, so that a change of settings is no way around the limit.
func TestLimiterIsKept(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wx1", "s1"))
	db := newDatabase()
	db.set("a", Account{AppID: "wx1", Secret: "s1"})
	db.set("free", Account{AppID: "wxfree", Secret: "s1"})
	limits := map[string]*countingLimiter{}
	r := newRegistry(t, db.lookup, WithClientOptions(wechatuser.WithTransport(srv.Transport())),
		WithLimiter(func(appID string) wechatuser.Limiter {
			if appID == "wxfree" {
				return nil
			}
			assert.NotContains(t, limits, appID)
			limits[appID] = &countingLimiter{}
			return limits[appID]
		}))
	for i, version := range []string{"1", "2"} {
		db.set("a", Account{AppID: "wx1", Secret: "s1", Version: version})
		require.NoError(t, r.Refresh(t.Context(), "a"))
		_, err := get(t, r, "a").GetTags(t.Context())
		require.NoError(t, err)
		assert.Equal(t, i+1, limits["wx1"].calls)
	}
	get(t, r, "free")
	assert.Len(t, limits, 1)
}

type countingLimiter struct{ calls int }

func (l *countingLimiter) Wait(context.Context) error {
	l.calls++
	return nil
}

func TestLookupThatPanics(t *testing.T) {
	r := newRegistry(t, func(context.Context, string) (Account, error) { panic("no driver") })
	for range 2 {
		require.PanicsWithError(t, "no driver", func() {
			defer func() {
				p := recover().(*guard.Panic)
				panic(errors.New(p.Value.(string)))
			}()
			_, _ = r.Client(t.Context(), "a")
		})
	}
	assert.Empty(t, r.flights)
}

// So can a function that makes limiters. The registry works after that.
func TestLimiterThatPanics(t *testing.T) {
	r := newRegistry(t, newDatabase("a", "b").lookup, WithLimiter(func(appID string) wechatuser.Limiter {
		if appID == "wxa" {
			panic("no limiter")
		}
		return nil
	}))
	for range 2 {
		require.Panics(t, func() { _, _ = r.Client(t.Context(), "a") })
	}
	get(t, r, "b")
	assert.Equal(t, 1, r.Len())
}

// A program may use the registry in its log handler, options and limiters.
func TestRegistryIsUsedByWhatItCalls(t *testing.T) {
	var r *Registry
	db := newDatabase("a")
	option := func() wechatuser.Option { return wechatuser.WithLogger(slog.New(usingHandler{func() { _ = r.Len() }})) }
	r = newRegistry(t, db.lookup, WithLogger(slog.New(usingHandler{func() { r.Forget("b") }})),
		WithClientOptions(option(), wechatuser.WithBaseURL("http://proxy"), wechatuser.WithPlainHTTP()), // it logs a warning
		WithLimiter(func(string) wechatuser.Limiter { r.Forget("b"); return nil }))
	a := get(t, r, "a")
	db.set("a", Account{AppID: "wxa", Secret: "s2"})
	require.NoError(t, r.Refresh(t.Context(), "a"))
	assert.NotSame(t, a, get(t, r, "a"))
}

// usingHandler is a log handler that uses the registry.
type usingHandler struct{ use func() }

func (usingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h usingHandler) Handle(context.Context, slog.Record) error {
	h.use()
	return nil
}

func (h usingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h usingHandler) WithGroup(string) slog.Handler { return h }

func TestHitAllocatesNothing(t *testing.T) {
	r := newRegistry(t, newDatabase("a").lookup, WithMaxAge(time.Hour))
	get(t, r, "a")
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = r.Client(context.Background(), "a") }))
}

func TestLookupThatEndsItsGoroutine(t *testing.T) {
	r := newRegistry(t, func(context.Context, string) (Account, error) {
		runtime.Goexit()
		return Account{}, nil
	})
	_, err := r.Client(t.Context(), "a")
	require.ErrorIs(t, err, guard.ErrGoexit)
}

// Nobody receives this failure.
func TestFailureOfALookupWithoutCallersIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.fail(errDown)
		db.delay = time.Second
		var log bytes.Buffer
		r := newRegistry(t, db.lookup, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := r.Client(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Contains(t, log.String(), `msg="accounts: lookup failed" key=a client_kept=false`)
		assert.Contains(t, log.String(), errDown.Error())
	})
}

// It would wait for itself. Other accounts can be asked for.
func TestClientInsideItsOwnLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *Registry
		db := newDatabase("b")
		r = newRegistry(t, func(ctx context.Context, key string) (Account, error) {
			if key == "b" {
				return db.lookup(ctx, key)
			}
			_, err := r.Client(ctx, "b")
			assert.NoError(t, err)
			assert.ErrorIs(t, r.Refresh(ctx, key), errInside)
			_, err = r.Client(ctx, key)
			return Account{}, err
		})
		start := time.Now()
		_, err := r.Client(t.Context(), "a")
		require.ErrorIs(t, err, errInside)
		assert.Zero(t, time.Since(start))
	})
}

func TestWrongArguments(t *testing.T) {
	_, err := New(nil, nil, WithCapacity(0), WithIdle(0), WithMaxAge(-1), WithUnknownFor(0), WithLookupTimeout(0),
		WithTokenStore(nil), WithLimiter(nil), WithLogger(nil))
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	for _, field := range []string{"lookup", "option 1 is nil", "WithCapacity", "WithIdle", "WithMaxAge",
		"WithUnknownFor", "WithLookupTimeout", "WithTokenStore", "WithLimiter", "WithLogger"} {
		assert.ErrorContains(t, err, field)
	}
	r := newRegistry(t, newDatabase().lookup)
	var none context.Context
	_, err = r.Client(none, "a")
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	require.ErrorIs(t, r.Refresh(none, "a"), wechatuser.ErrInvalidArgument)
}

func TestPrinting(t *testing.T) {
	r := newRegistry(t, newDatabase("a").lookup)
	get(t, r, "a")
	assert.Equal(t, "accounts.Registry(1 keys)", fmt.Sprintf("%+v", r))
	assert.Equal(t, "accounts.Registry(nil)", (*Registry)(nil).String())
	assert.Equal(t, "accounts.Account(wxa)", fmt.Sprintf("%#v", Account{AppID: "wxa", Secret: "s"}))
}
