package tokencache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// fakeStore is a Store that notes what is done with it, and lets a test interfere.
type fakeStore struct {
	noLock bool
	keeps  bool                                       // Delete deletes nothing
	before func(ctx context.Context, op string) error // runs before each operation, and is its error

	lock chan struct{} // has an element while it is locked

	mu     sync.Mutex
	token  Token
	forced *ForcedLimit // nil if it does not count
	ops    []string
}

func newFakeStore() *fakeStore { return &fakeStore{lock: make(chan struct{}, 1)} }

func (s *fakeStore) note(ctx context.Context, op, token string) error {
	s.mu.Lock()
	s.ops = append(s.ops, op)
	s.mu.Unlock()
	if s.before == nil {
		return nil
	}
	if err := s.before(ctx, op); err != nil {
		return fmt.Errorf("%w: %s", err, token) // a store that says too much
	}
	return nil
}

// did returns the operations since the last call of did.
func (s *fakeStore) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

func (s *fakeStore) set(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = t
}

func (s *fakeStore) Load(ctx context.Context) (Token, error) {
	if err := s.note(ctx, "load", ""); err != nil {
		return Token{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, nil
}

func (s *fakeStore) Save(ctx context.Context, t Token) error {
	if err := s.note(ctx, "save", t.AccessToken); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.token.ExpiresAt.After(t.ExpiresAt) {
		s.token = t
	}
	return nil
}

func (s *fakeStore) Delete(ctx context.Context, rejected Token) error {
	if err := s.note(ctx, "delete "+name(rejected), rejected.AccessToken); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.AccessToken == rejected.AccessToken && !s.keeps {
		s.token = Token{}
	}
	return nil
}

func (s *fakeStore) Lock(ctx context.Context) (func(), error) {
	if s.noLock {
		return nil, nil
	}
	if err := s.note(ctx, "lock", ""); err != nil {
		return nil, err
	}
	select {
	case s.lock <- struct{}{}:
		return func() {
			_ = s.note(ctx, "unlock", "")
			<-s.lock
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeStore) AllowForced(ctx context.Context) (bool, error) {
	if s.forced == nil {
		return true, nil
	}
	if err := s.note(ctx, "allow forced", ""); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	allowed := s.forced.Allowed(time.Now())
	if allowed {
		s.forced.Count(time.Now())
	}
	return allowed, nil
}

var errStore = errors.New("the store is down")

// storeFails makes an operation of a store fail, or hang until its context ends.
func storeFails(which string, hangs bool) func(context.Context, string) error {
	return func(ctx context.Context, op string) error {
		switch {
		case op == "unlock", op != which && which != "all":
			return nil
		case hangs:
			<-ctx.Done()
			return ctx.Err()
		}
		return errStore
	}
}

func TestOperationsOfTheStore(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withKind(kind), withStore(store))
		first := c.get(t)
		assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.did())
		assert.Equal(t, first, store.token)

		c.get(t)
		c.Accepted(first.AccessToken)
		assert.Empty(t, store.did(), "a fresh token needs no store")

		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, []string{"delete T1", "load", "lock", "load", "save", "unlock"}, store.did())

		other := newCache(t, p, withKind(kind), withStore(store))
		assert.Equal(t, "T2", name(other.get(t)))
		assert.Equal(t, []string{"load"}, store.did(), "another process finds the token")

		_, err = c.ForceRefresh(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"lock", "save", "unlock"}, store.did(), "no stored token is wanted")
		assert.Len(t, p.requests(), 3)
	})
}

func TestStoreWithoutALock(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{}, newFakeStore()
		store.noLock = true
		c := newCache(t, p, withKind(kind), withStore(store))
		first := c.get(t)
		assert.Equal(t, []string{"load", "save"}, store.did(), "no second load")
		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, []string{"delete T1", "load", "save"}, store.did())
	})
}

// Another process may have stored a token while this one waited for the lock.
func TestStoreIsReadAgainWithTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		other := tok("other", time.Hour)
		store.before = func(_ context.Context, op string) error {
			if op == "lock" {
				store.set(other)
			}
			return nil
		}
		c := newCache(t, p, withStore(store))
		assert.Equal(t, other, c.get(t))
		assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.did())
		assert.Empty(t, p.requests())
	})
}

// However many processes share a store: one fetch.
func TestManyCachesShareAStore(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{delay: 30 * time.Millisecond}, newFakeStore()
		caches := make([]testCache, 20)
		for i := range caches {
			caches[i] = newCache(t, p, withKind(kind), withStore(store))
		}
		all := func(want string) {
			t.Helper()
			for _, err := range seq.RunConcurrently(200, func(i int) error {
				got, err := caches[i%len(caches)].Get(t.Context())
				assert.Equal(t, want, name(got))
				return err
			}) {
				require.NoError(t, err)
			}
		}
		all("T1")
		require.Len(t, p.requests(), 1)
		first := caches[0].Current()
		for _, err := range seq.RunConcurrently(200, func(i int) error {
			_, err := caches[i%len(caches)].Refresh(t.Context(), first.AccessToken)
			return err
		}) {
			require.NoError(t, err)
		}
		all("T2")
		require.Len(t, p.requests(), 2)

		time.Sleep(time.Until(caches[0].Current().ExpiresAt.Add(-3 * time.Minute)))
		all("T2") // stale
		synctest.Wait()
		time.Sleep(time.Second)
		all("T3")
		require.Len(t, p.requests(), 3)
	})
}

func TestStoredTokensThatAreNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		token func() Token
		taken bool
	}{
		{"expired", func() Token { return tok("stored", -time.Hour) }, false},
		{"expires within five seconds", func() Token { return tok("stored", 5*time.Second) }, false},
		{"expires later", func() Token { return tok("stored", 5*time.Second+1) }, true},
		{"unknown expiry", func() Token { return Token{AccessToken: sentinel} }, false},
		{"empty, with an expiry", func() Token { return Token{ExpiresAt: time.Now().Add(time.Hour)} }, false},
		{"none", func() Token { return Token{} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, store := &platform{}, newFakeStore()
				store.token = tt.token()
				c := newCache(t, p, withStore(store))
				got := c.get(t)
				assert.Equal(t, tt.taken, got == store.token && len(p.requests()) == 0)
				assert.Equal(t, !tt.taken, name(got) == "T1")
			})
		})
	}
}

// A refresh takes no token that is older than the cached one, or the same.
func TestStoreThatLagsBehind(t *testing.T) {
	bubble(t, map[string]struct {
		stored func(cached Token) Token
		taken  bool
	}{
		"older":  {func(at Token) Token { return tok("other", time.Until(at.ExpiresAt)-1) }, false},
		"as old": {func(at Token) Token { return tok("other", time.Until(at.ExpiresAt)) }, false},
		"newer":  {func(at Token) Token { return tok("other", time.Until(at.ExpiresAt)+1) }, true},
		"same":   {func(at Token) Token { return at }, false},
		"same, expires later": {func(at Token) Token {
			at.ExpiresAt = at.ExpiresAt.Add(time.Second)
			return at
		}, false},
	}, func(t *testing.T, tt struct {
		stored func(cached Token) Token
		taken  bool
	},
	) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withStore(store))
		first := c.get(t)
		store.set(tt.stored(first))
		time.Sleep(time.Until(first.ExpiresAt.Add(-4 * time.Minute)))
		assert.Equal(t, first, c.get(t))
		synctest.Wait()
		if tt.taken {
			assert.Equal(t, "other", name(c.Current()))
			assert.Len(t, p.requests(), 1)
			return
		}
		assert.Equal(t, "T2", name(c.Current()), "the refresh is not put off")
		assert.Equal(t, c.Current(), store.token)
	})
}

// A store that is slow to forget a rejected token offers it in vain.
func TestStoreThatKeepsARejectedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		store.keeps = true
		c := newCache(t, p, withStore(store))
		_, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.Equal(t, "T2", name(c.get(t)))
		assert.Len(t, p.requests(), 2)
	})
}

// Deleting compares: what another process stored after the rejection stays, and is taken.
func TestRejectedTokenThatTheStoreHasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withStore(store))
		first := c.get(t)
		other := tok("other", time.Hour) // expires before the rejected one
		store.set(other)
		store.did()
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.False(t, fetched)
		assert.Equal(t, other, c.get(t))
		assert.Equal(t, []string{"delete T1", "load"}, store.did())
	})
}

type failure struct {
	op    string
	hangs bool
}

func storeFailures(ops ...string) map[string]failure {
	failures := map[string]failure{}
	for _, op := range ops {
		failures[op+" fails"], failures[op+" hangs"] = failure{op, false}, failure{op, true}
	}
	return failures
}

// Processes need not agree on stable tokens: a refresh goes on without the store.
func TestStableTokenWithoutItsStore(t *testing.T) {
	delays := map[string]time.Duration{ // of a first fetch and a refresh, where the operation hangs
		"load": 2 * storeTimeout, "save": 2 * storeTimeout, "lock": 2 * lockTimeout, "delete T1": storeTimeout,
		"all": 4 * storeTimeout, // load and save, delete and save
	}
	bubble(t, storeFailures("load", "save", "lock", "delete T1", "all"), func(t *testing.T, f failure) {
		p, store := &platform{}, newFakeStore()
		store.before = storeFails(f.op, f.hangs)
		c := newCache(t, p, withStore(store))
		start := time.Now()
		fetched, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched)
		assert.Len(t, p.requests(), 2)
		if f.hangs {
			assert.Equal(t, delays[f.op], time.Since(start))
		} else {
			assert.Zero(t, time.Since(start))
		}
		assert.Contains(t, c.logged.String(),
			`level=WARN msg="wechatuser: token store failed, going on without it" key=`+testKey+" operation=")
		assert.Empty(t, store.lock)
	})
}

func TestStepsAfterAFailureOfTheStore(t *testing.T) {
	bubble(t, map[string][]string{ // the last step but one fails
		"load":   {"delete T1", "load", "save"},
		"lock":   {"delete T1", "load", "lock", "save"},
		"delete": {"delete T1", "save"},
		"save":   {"delete T1", "load", "lock", "load", "save", "unlock"},
	}, func(t *testing.T, steps []string) {
		failing := steps[len(steps)-2]
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withStore(store))
		first := c.get(t)
		store.did()
		store.before = storeFails(failing, false)
		_, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, steps, store.did())
		op, _, _ := strings.Cut(failing, " ")
		assert.Contains(t, c.logged.String(), "operation="+op+` failures=1 error="the store is down: `)
	})
}

// A legacy token that is fetched without agreement would invalidate the token of all others. So nothing is fetched.
func TestLegacyTokenWithoutItsStore(t *testing.T) {
	bubble(t, storeFailures("load", "lock", "delete T1", "all"), func(t *testing.T, f failure) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withKind(Legacy), withStore(store))
		first := c.get(t)
		store.before = storeFails(f.op, f.hangs)
		if f.op != "delete T1" {
			for time.Sleep(time.Until(first.ExpiresAt.Add(-6 * time.Minute))); time.Until(
				first.ExpiresAt) > 20*time.Second; {
				assert.Equal(t, first, c.get(t), "the cached token serves until it expires")
				time.Sleep(time.Second)
			}
		}
		synctest.Wait()
		check := func(err error) {
			t.Helper()
			if f.hangs {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			} else {
				require.ErrorIs(t, err, errStore)
			}
			require.ErrorContains(t, err, "wechatuser: token store: ")
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), sentinel)
		}
		_, err := c.Refresh(t.Context(), first.AccessToken)
		check(err)
		if f.op != "delete T1" {
			_, err = newCache(t, p, withKind(Legacy), withStore(store)).Get(t.Context())
			check(err)
		}
		assert.Len(t, p.requests(), 1)
		assert.Empty(t, store.lock, "the lock is released")

		store.before = nil
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched)
	})
}

// A store that is required may be slow: without it a refresh fails.
func TestSlowStoreOfLegacyTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		stored := tok("stored", time.Hour)
		store.set(stored)
		store.before = func(ctx context.Context, _ string) error {
			select {
			case <-time.After(requiredTime - time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		legacy := newCache(t, &platform{}, withStore(store), withKind(Legacy))
		assert.Equal(t, stored, legacy.get(t))
		start := time.Now()
		stable := newCache(t, &platform{}, withStore(store))
		assert.Equal(t, "T1", name(stable.get(t)), "it goes on without the store")
		assert.Equal(t, 2*storeTimeout, time.Since(start), "load and save")
	})
}

func TestLegacyTokenThatCannotBeReadWithTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		loads := 0
		store.before = func(_ context.Context, op string) error {
			if op == "load" {
				if loads++; loads == 2 {
					return errStore
				}
			}
			return nil
		}
		_, err := newCache(t, p, withKind(Legacy), withStore(store)).Get(t.Context())
		require.ErrorIs(t, err, errStore)
		require.ErrorContains(t, err, "load")
		assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.did())
		assert.Empty(t, p.requests())

		loads = 0
		c := newCache(t, p, withStore(store))
		assert.Equal(t, "T1", name(c.get(t)), "a stable token is fetched nonetheless, with the lock")
		assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.did())
	})
}

func TestTokenThatCannotBeSavedIsUsed(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{}, newFakeStore()
		store.before = storeFails("save", false)
		c := newCache(t, p, withKind(kind), withStore(store))
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Equal(t, []string{"load", "lock", "load", "save", "unlock"}, store.did())
		assert.Contains(t, c.logged.String(), "operation=save")
		c.get(t)
		assert.Len(t, p.requests(), 1)
	})
}

// A dead holder of the lock stops nobody for ever. A caller waits for it only as long as its own context allows.
func TestWaitForTheLockEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		defer unlock()
		c := newCache(t, p, withStore(store))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err = c.Get(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 200*time.Millisecond, time.Since(start))
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Equal(t, 15*time.Second, time.Since(start))
		assert.Len(t, p.requests(), 1)
	})
}

func TestLockIsReleasedAfterAFailedFetch(t *testing.T) {
	bubble(t, map[string]error{"passing": errDown, "lasting": errSecret}, func(t *testing.T, failure error) {
		on, store := true, newFakeStore()
		c := newCache(t, &platform{reply: fails(&on, failure)}, withStore(store))
		_, err := c.Get(t.Context())
		require.ErrorIs(t, err, failure)
		assert.Equal(t, []string{"load", "lock", "load", "unlock"}, store.did()[:4])
		assert.Empty(t, store.lock)
	})
}

// A store that returns an unlock and an error has not locked anything.
func TestUnlockOfAFailedLockIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := failingLock{newFakeStore()}
		c := newCache(t, &platform{}, withStore(store))
		assert.Equal(t, "T1", name(c.get(t)))
		assert.Contains(t, c.logged.String(), "operation=lock")
	})
}

type failingLock struct{ *fakeStore }

func (failingLock) Lock(context.Context) (func(), error) {
	return func() { panic("unlocks what is not locked") }, errStore
}

// Values of the caller's context reach the store too.
func TestStoreHasTheValuesOfTheContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		deadlines := map[string]time.Duration{}
		var contexts []context.Context
		store.before = func(ctx context.Context, op string) error {
			if op == "unlock" {
				return nil
			}
			assert.Equal(t, "trace", ctx.Value(key{}), op)
			end, ok := ctx.Deadline()
			assert.True(t, ok, op)
			deadlines[op] = time.Until(end)
			contexts = append(contexts, ctx)
			return ctx.Err()
		}
		c := newCache(t, &platform{}, withStore(store))
		ctx := context.WithValue(t.Context(), key{}, "trace")
		first, err := c.Get(ctx)
		require.NoError(t, err)
		_, err = c.Refresh(ctx, first.AccessToken)
		require.NoError(t, err)
		assert.Equal(t, map[string]time.Duration{
			"load": 2 * time.Second, "save": 2 * time.Second, "delete T1": 2 * time.Second, "lock": 15 * time.Second,
		}, deadlines)
		for _, ctx := range contexts {
			assert.ErrorIs(t, ctx.Err(), context.Canceled, "it ends with its operation")
		}
	})
}

// Many processes want the token that one of them fetches. They find it in the store, and do not queue for the lock.
func TestTokenIsFoundWhileWaitingForTheLock(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		const unlockTime = 100 * time.Millisecond // a queue of 40 would take 4 seconds
		p, store := &platform{delay: time.Second}, newFakeStore()
		store.before = func(_ context.Context, op string) error {
			if op == "unlock" {
				time.Sleep(unlockTime)
			}
			return nil
		}
		caches := make([]testCache, 40)
		for i := range caches {
			caches[i] = newCache(t, p, withKind(kind), withStore(store))
		}
		start := time.Now()
		for _, err := range seq.RunConcurrently(len(caches), func(i int) error {
			_, err := caches[i].Get(t.Context())
			return err
		}) {
			require.NoError(t, err)
		}
		// The longest pause between two looks, or the lock just before its end.
		assert.LessOrEqual(t, time.Since(start), time.Second+pollMax*3/2+unlockTime)
		assert.Len(t, p.requests(), 1)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		assert.Empty(t, store.lock, "a lock that came too late is released")
		loads := 0
		for _, op := range store.did() {
			if op == "load" {
				loads++
			}
		}
		assert.Less(t, loads, 40*8, "about one more every half second")
	})
}

// A Lock that does not return when its context ends counts as one that failed.
func TestLockThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := hang(t)
		store := newFakeStore()
		store.before = func(_ context.Context, op string) error {
			if op == "lock" {
				hangs()
			}
			return nil
		}
		stable, legacy := newCache(t, &platform{}, withStore(store)),
			newCache(t, &platform{}, withStore(store), withKind(Legacy))
		start := time.Now()
		_, err := legacy.Get(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.LessOrEqual(t, time.Since(start), lockTimeout+lockGrace+pollMax*3/2)
		assert.Equal(t, "T1", name(stable.get(t)))
		assert.LessOrEqual(t, time.Since(start), 2*(lockTimeout+lockGrace+pollMax*3/2))
	})
}

// A lasting failure is no reason not to look at the store. That is done at most once a second.
func TestRememberedFailureAndTokenInTheStore(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		on, store := true, newFakeStore()
		p := &platform{reply: fails(&on, errSecret)}
		c := newCache(t, p, withKind(kind), withStore(store))
		for range 3 { // so that it is remembered for 4 seconds
			_, err := c.Get(t.Context())
			require.ErrorIs(t, err, errSecret)
			time.Sleep(2 * time.Second)
		}
		store.did()
		for range 100 {
			_, err := c.Get(t.Context())
			require.Equal(t, &RememberedError{Wait: 2 * time.Second, Err: errSecret}, err)
		}
		assert.Equal(t, []string{"load"}, store.did())
		lines := strings.Count(c.logged.String(), "\n")

		time.Sleep(time.Second)
		stored := tok("stored", time.Hour)
		store.set(stored)
		_, err := c.Refresh(t.Context(), sentinel+"-other")
		require.NoError(t, err)
		assert.Equal(t, stored, c.get(t))
		assert.Equal(t, []string{"delete other", "load"}, store.did())
		assert.Len(t, p.requests(), 3)
		assert.Equal(t, lines+1, strings.Count(c.logged.String(), "\n"), "looks in vain are not logged")
		assert.Contains(t, c.logged.String(), "from=store")
		assert.Zero(t, c.failure)
	})
}

// If the store fails too, the remembered error is the better one.
func TestRememberedFailureWhileTheStoreFails(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		on, store := true, newFakeStore()
		c := newCache(t, &platform{reply: fails(&on, errSecret)}, withKind(kind), withStore(store))
		for range 2 {
			_, err := c.Get(t.Context())
			require.ErrorIs(t, err, errSecret)
			time.Sleep(time.Second)
		}
		store.before = storeFails("all", false)
		_, err := c.Get(t.Context())
		require.ErrorIs(t, err, errSecret)
		assert.NotErrorIs(t, err, errStore)
		assert.Contains(t, c.logged.String(), "operation=load failures=1")
	})
}

// While the cached token is good, nobody waits for a look at the store.
func TestLookInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, store := false, newFakeStore()
		c := newCache(t, &platform{reply: fails(&on, errSecret)}, withStore(store))
		first := c.get(t)
		on = true
		time.Sleep(2*time.Hour - 50*time.Second)
		assert.Equal(t, first, c.get(t))
		for range 6 {
			c.failure.Begin(time.Now()) // for a minute in the end
		}
		time.Sleep(20 * time.Second)
		store.before = func(_ context.Context, op string) error { time.Sleep(time.Second); return nil }
		next := tok("stored", time.Hour)
		store.set(next)
		start := time.Now()
		assert.Equal(t, first, c.get(t))
		assert.Zero(t, time.Since(start))
		time.Sleep(2 * time.Second)
		assert.Equal(t, next, c.get(t))
	})
}

// Tokens with a life of less than a minute are shared too.
func TestShortLivedTokensAreShared(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{life: 40 * time.Second}, newFakeStore()
		for range 20 {
			newCache(t, p, withKind(kind), withStore(store)).get(t)
			time.Sleep(time.Second)
		}
		assert.Len(t, p.requests(), 1)
	})
}

// A request that times out is not sent again before another look at the store: another process may have got the lock,
// and stored a token.
func TestRetryLongAfterTheLockWasTaken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pause  time.Duration
		stored bool
		ops    []string
		result string
		sent   int
	}{
		{"soon", 5 * time.Second, true, []string{"load", "lock", "load", "save", "unlock"}, "T1", 2},
		{
			"nothing new", 10 * time.Second, false,
			[]string{"load", "lock", "load", "unlock", "lock", "load", "save", "unlock"},
			"T1", 2,
		},
		{
			"another token", 10 * time.Second, true,
			[]string{"load", "lock", "load", "unlock", "lock", "load", "unlock"},
			"stored", 1,
		},
	} {
		bubble(t, map[string]Kind{tt.name + ", stable": Stable, tt.name + ", legacy": Legacy},
			func(t *testing.T, kind Kind) {
				p, store := &platform{}, newFakeStore()
				c := newCache(t, p, withKind(kind), withStore(store))
				sent := 0
				c.cfg.Fetch = func(context.Context, Kind, func() error) (Token, error) { panic("unused") }
				c.cfg.Fetch = func(ctx context.Context, k Kind, allow func() error) (Token, error) {
					require.NoError(t, allow())
					sent++
					time.Sleep(tt.pause) // the process is stopped, or the request times out
					if tt.stored {
						store.set(tok("stored", time.Hour))
					}
					if err := allow(); err != nil {
						require.Equal(t, err, allow(), "and not the one after that either")
						return Token{}, fmt.Errorf("in a call: %w", err)
					}
					sent++
					return p.issue(), nil
				}
				assert.Equal(t, tt.result, name(c.get(t)))
				assert.Equal(t, tt.sent, sent)
				assert.Equal(t, tt.ops, store.did())
				assert.Empty(t, store.lock)
			})
	}
}

// Where the lock cannot be taken again, a legacy token is not requested again.
func TestRetryWithoutTheLock(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p, store := &platform{}, newFakeStore()
		c := newCache(t, p, withKind(kind), withStore(store))
		c.cfg.Fetch = func(ctx context.Context, k Kind, allow func() error) (Token, error) {
			require.NoError(t, allow())
			time.Sleep(10 * time.Second)
			store.before = storeFails("lock", false)
			return p.fetch(ctx, k, allow)
		}
		_, err := c.Get(t.Context())
		if kind == Legacy {
			require.ErrorIs(t, err, errStore)
			assert.Empty(t, p.requests())
		} else {
			require.NoError(t, err)
		}
	})
}

// Forced fetches are limited for all processes together.
func TestForcedFetchesAreCountedInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		store.forced = &ForcedLimit{}
		stubborn(p)
		var forced []time.Time
		start := time.Now()
		for time.Since(start) < 25*time.Hour {
			c := newCache(t, p, withStore(store)) // a new process each time
			before := p.forced()
			_, _ = c.Refresh(t.Context(), c.get(t).AccessToken)
			if p.forced() > before {
				forced = append(forced, time.Now())
			}
			if since := time.Since(start); since < 20*time.Minute || since > 23*time.Hour+50*time.Minute {
				time.Sleep(20 * time.Second)
			} else {
				time.Sleep(10 * time.Minute)
			}
		}
		assert.Len(t, forced, 40)
		for i, at := range forced {
			if i > 0 {
				assert.GreaterOrEqual(t, at.Sub(forced[i-1]), 30*time.Second)
			}
			if i >= 20 {
				assert.GreaterOrEqual(t, at.Sub(forced[i-20]), 24*time.Hour)
			}
		}
	})
}

// ForceRefresh is what a person asked for: it is counted, and never held back.
func TestForceRefreshIsCountedInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		store.forced = &ForcedLimit{}
		c, other := newCache(t, p, withStore(store)), newCache(t, p, withStore(store))
		for range 2 {
			_, err := c.ForceRefresh(t.Context())
			require.NoError(t, err)
		}
		stubborn(p)
		_, err := other.Refresh(t.Context(), other.get(t).AccessToken)
		require.NoError(t, err, "a stubborn platform that has another token yet")
		_, err = other.Refresh(t.Context(), other.Current().AccessToken)
		require.ErrorIs(t, err, ErrNoOtherToken)
		assert.Equal(t, 2, p.forced())
		assert.True(t, store.forced.Allowed(time.Now().Add(30*time.Second)))
		assert.False(t, store.forced.Allowed(time.Now().Add(30*time.Second-1)))
	})
}

// If the store cannot count, each process keeps its own limit.
func TestForcedFetchesWhileTheStoreFails(t *testing.T) {
	bubble(t, map[string]bool{"fails": false, "hangs": true}, func(t *testing.T, hangs bool) {
		p, store := &platform{}, newFakeStore()
		store.forced = &ForcedLimit{}
		store.before = storeFails("allow forced", hangs)
		stubborn(p)
		c := newCache(t, p, withStore(store))
		_, err := c.Refresh(t.Context(), c.get(t).AccessToken)
		require.NoError(t, err)
		assert.Equal(t, 1, p.forced())
		assert.Contains(t, c.logged.String(), `operation="allow forced"`)
	})
}

// A stored value that is no token is replaced, also where a failing store would end the refresh.
func TestUnreadableValueIsReplaced(t *testing.T) {
	for what, value := range map[string]string{
		"no token": "", "a newline": "SENTINEL\n", "a space inside": "SENTI NEL", "a NUL": "SENTINEL\x00",
		"a no-break space": "\u00a0SENTINEL",
	} {
		bubble(t, map[string]Kind{what + ", stable": Stable, what + ", legacy": Legacy}, func(t *testing.T, kind Kind) {
			p, store := &platform{}, newFakeStore()
			unreadable := value == ""
			store.set(Token{AccessToken: value, ExpiresAt: time.Now().Add(24 * time.Hour)})
			store.before = func(_ context.Context, op string) error {
				switch {
				case op == "save":
					unreadable = false
				case op == "load" && unreadable:
					return ErrUnreadable
				}
				return nil
			}
			if value == "" {
				store.set(Token{})
			}
			c := newCache(t, p, withKind(kind), withStore(store))
			assert.Equal(t, "T1", name(c.get(t)))
			assert.Equal(t, c.Current(), newCache(t, p, withKind(kind), withStore(store)).get(t))
			assert.Len(t, p.requests(), 1)
			assert.Contains(t, c.logged.String(), "not a token")
		})
	}
}

// A store that fails for long is logged once a minute, with the number of failures.
func TestFailingStoreIsLoggedOnceAMinute(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		store := newFakeStore()
		store.before = storeFails("all", false)
		c := newCache(t, &platform{life: 2 * time.Second}, withKind(kind), withStore(store))
		for range 3 * 60 {
			_, _ = c.Get(t.Context())
			time.Sleep(time.Second)
		}
		var failures []string
		for line := range strings.Lines(c.logged.String()) {
			if _, rest, ok := strings.Cut(line, "failures="); ok {
				n, _, _ := strings.Cut(rest, " ")
				failures = append(failures, n)
			}
		}
		require.Len(t, failures, 3)
		assert.Equal(t, "1", failures[0])
		assert.Greater(t, failures[1], "10")
		if kind == Legacy { // each call fails, and writes no other line
			assert.Equal(t, []string{"1", "60", "60"}, failures)
			assert.Equal(t, 3, strings.Count(c.logged.String(), "\n"))
		}
	})
}

// slowLock is a store whose lock succeeds late, whatever happens to its context.
type slowLock struct{ *fakeStore }

func (s slowLock) Lock(ctx context.Context) (func(), error) {
	time.Sleep(3 * time.Second)
	return s.fakeStore.Lock(context.WithoutCancel(ctx))
}

// A lock that is acquired after the token was found is released.
func TestLockThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		c := newCache(t, &platform{}, withStore(slowLock{store}))
		time.AfterFunc(time.Second, func() { store.set(tok("stored", time.Hour)) })
		assert.Equal(t, "stored", name(c.get(t)))
		time.Sleep(3 * time.Second)
		ops := store.did()
		assert.Equal(t, []string{"lock", "unlock"}, ops[len(ops)-2:])
		assert.Empty(t, store.lock)
	})
}

// A look takes any token but the rejected one, also one that expires earlier.
func TestLookForAnotherTokenThanTheRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &platform{}, newFakeStore()
		stubborn(p)
		c := newCache(t, p, withStore(store), withoutForced)
		rejected := c.get(t).AccessToken
		_, err := c.Refresh(t.Context(), rejected)
		require.ErrorIs(t, err, ErrNoOtherToken)
		store.set(tok("other", time.Hour))
		fetched, err := c.Refresh(t.Context(), rejected)
		require.NoError(t, err)
		assert.False(t, fetched)
		assert.Equal(t, "other", name(c.get(t)))
		assert.Len(t, p.requests(), 2)
	})
}
