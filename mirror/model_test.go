package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// seeds returns a number of seeds: all of them with WECHATUSER_FULL=1, and otherwise one in ten.
func seeds(all int) int {
	if os.Getenv("WECHATUSER_FULL") != "" {
		return all
	}
	return all / 10
}

// world is a random history: users follow and leave, pushes arrive in any order, twice, late or never, and processes
// walk over the list and are killed. Whenever a process uses the store, and while the platform answers, anything else
// can happen, another process included. A seed always has the same history.
type world struct {
	srv   *wechatusertest.Server
	store mirror.Store
	lossy bool

	mu      sync.Mutex // the platform answers in goroutines of its own
	rng     *rand.Rand
	clock   time.Time
	users   []string
	pushes  []wechatuserpush.Event
	last    map[string]time.Time
	changes int
	still   bool // nobody follows or leaves anymore
	quiet   bool // nothing else happens anymore
	depth   int  // processes that wait for another one
	walked  bool // a walk has come to its end
	happens map[string]int
}

func newWorld(seed uint64, store mirror.Store) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0)), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), happens: map[string]int{},
		last: map[string]time.Time{}, lossy: seed%2 == 0, store: store,
	}
	fans, others := w.rng.IntN(30), 10
	if w.rng.IntN(2) == 0 { // the same few users all the time
		fans, others = w.rng.IntN(3), 2
	}
	opts := []wechatusertest.Option{
		wechatusertest.WithoutListener(), wechatusertest.WithFans(fans), wechatusertest.WithPageSize(7),
		wechatusertest.WithSeed(seed), wechatusertest.WithRequestLog(0),
		wechatusertest.WithClock(func() time.Time { return w.clock }),
		wechatusertest.WithRequestHook(func(wechatusertest.Request) { w.change() }),
	}
	if w.rng.IntN(3) == 0 {
		opts = append(opts, wechatusertest.WithQuirks(wechatusertest.Quirks{
			ShortPages: 0.3, NoCursor: 0.2, ReorderedBatch: 0.5, SystemBusy: 0.05,
		}))
	}
	w.srv = wechatusertest.NewServer(opts...)
	for i := range fans + others {
		w.users = append(w.users, wechatusertest.OpenID(i))
	}
	return w
}

// newProcess starts a process that mirrors the account. Its clock may be wrong by an hour.
func (w *world) newProcess(t *testing.T) *mirror.Mirror {
	t.Helper()
	wrong := time.Duration(w.rng.IntN(7200)-3600) * time.Second
	c := w.srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
	m, err := mirror.New(c, &busyStore{w.store, w, t}, mirror.WithConcurrency(1))
	require.NoError(t, err)
	mirror.SetBatch(m, 5)
	mirror.SetClock(m, func() time.Time { return w.clock.Add(wrong) })
	return m
}

// change lets some users follow or leave, mostly in the same second, and queues the pushes.
func (w *world) change() {
	w.mu.Lock()
	defer w.mu.Unlock()
	openID := ""
	for !w.still && w.changes < 15 && len(w.pushes) < 15 && w.rng.IntN(6) == 0 {
		w.changes++
		if openID == "" || w.rng.IntN(2) == 0 {
			openID = w.users[w.rng.IntN(len(w.users))]
		}
		if w.rng.IntN(3) == 0 {
			w.clock = w.clock.Add(time.Second)
		}
		h := wechatuserpush.Header{FromUserName: openID, CreateTime: w.clock, MsgType: "event"}
		if w.last[openID].Equal(w.clock) {
			w.happens["same second"]++
		}
		w.last[openID] = w.clock
		if user, known := w.srv.User(openID); known && user.Subscribed() {
			w.srv.Unfollow(openID)
			h.Event = "unsubscribe"
			w.pushes = append(w.pushes, &wechatuserpush.Unsubscribe{Header: h})
		} else {
			w.srv.Follow(openID)
			h.Event = "subscribe"
			w.pushes = append(w.pushes, &wechatuserpush.Subscribe{Header: h})
		}
	}
}

// chance reports true in one of n cases, unless nothing happens anymore.
func (w *world) chance(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.quiet && w.rng.IntN(n) == 0
}

// takePush removes a push from those that have not arrived, often the last one.
func (w *world) takePush() (wechatuserpush.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pushes) == 0 {
		return nil, false
	}
	i := w.rng.IntN(len(w.pushes))
	if w.rng.IntN(2) == 0 {
		i = len(w.pushes) - 1
	}
	e := w.pushes[i]
	w.pushes = slices.Delete(w.pushes, i, i+1)
	return e, true
}

// deliver lets a push arrive. One whose process has failed arrives again, or is lost.
func (w *world) deliver(t *testing.T) {
	t.Helper()
	e, ok := w.takePush()
	if !ok {
		return
	}
	if w.lossy && w.chance(4) {
		w.happens["lost"]++
		return
	}
	err := w.newProcess(t).Apply(t.Context(), e)
	again := err == nil && w.chance(6)
	if err != nil && w.lossy && w.chance(2) {
		w.happens["lost"]++
		return
	}
	if err != nil || again {
		w.happens["pushed twice"]++
		w.mu.Lock()
		w.pushes = append(w.pushes, e)
		w.mu.Unlock()
	}
}

// walk runs over the list once.
func (w *world) walk(t *testing.T) {
	t.Helper()
	m, run := w.newProcess(t), (*mirror.Mirror).Reconcile
	if w.rng.IntN(2) == 0 {
		run = (*mirror.Mirror).Full
	}
	report, err := run(m, t.Context(), mirror.WithMassRemoval())
	if report.Resumed {
		w.happens["resumed"]++
	}
	if err == nil {
		w.walked = true
		w.happens["walked"]++
	}
}

// disturb lets other things happen.
func (w *world) disturb(t *testing.T) {
	t.Helper()
	w.change()
	w.depth++
	defer func() { w.depth-- }()
	for w.depth < 5 && w.chance(6) {
		w.deliver(t)
	}
	if w.depth < 4 && w.chance(40) {
		w.happens["two processes walk"]++
		w.walk(t)
	}
}

var errKilled = errors.New("killed")

// busyStore is a store while other things happen. It returns errKilled to a process that is killed.
type busyStore struct {
	mirror.Store
	w *world
	t *testing.T
}

// around disturbs before and after a use of the store.
func (s *busyStore) around(use func() error) error {
	for _, f := range []func() error{func() error { return nil }, use} {
		if s.w.chance(60) {
			s.w.happens["killed"]++
			return errKilled
		}
		if err := f(); err != nil {
			return err
		}
		s.w.disturb(s.t)
	}
	return nil
}

func (s *busyStore) Ticket(ctx context.Context) (ticket int64, err error) {
	err = s.around(func() (err error) { ticket, err = s.Store.Ticket(ctx); return err })
	return ticket, err
}

func (s *busyStore) Put(ctx context.Context, statements []mirror.Statement) error {
	return s.around(func() error { return s.Store.Put(ctx, statements) })
}

func (s *busyStore) Listed(ctx context.Context, l mirror.Listing) (unknown, stale []string, err error) {
	err = s.around(func() (err error) { unknown, stale, err = s.Store.Listed(ctx, l); return err })
	return unknown, stale, err
}

func (s *busyStore) Unlisted(ctx context.Context, ticket int64, after string, limit int) (openIDs []string, err error) {
	err = s.around(func() (err error) { openIDs, err = s.Store.Unlisted(ctx, ticket, after, min(limit, 3)); return err })
	return openIDs, err
}

func (s *busyStore) SaveWalk(ctx context.Context, kind string, ticket int64, w mirror.Walk) error {
	return s.around(func() error { return s.Store.SaveWalk(ctx, kind, ticket, w) })
}

func (s *busyStore) Purge(ctx context.Context, ticket int64, before time.Time) error {
	return s.around(func() error { return s.Store.Purge(ctx, ticket, before) })
}

// run plays a history and returns how the table differs from the account, an empty string if it does not.
func (w *world) run(t *testing.T, followers func() []wechatuser.UserInfo) string {
	t.Helper()
	for range 8 {
		w.still, w.changes = false, 0
		for range 4 + w.rng.IntN(4) {
			w.disturb(t)
			w.clock = w.clock.Add(time.Duration(w.rng.IntN(3)) * time.Second)
			if w.rng.IntN(8) == 0 {
				w.walk(t)
			}
		}
		w.still = true
		for !w.walked {
			w.walk(t)
		}
		if w.lossy {
			continue
		}
		for len(w.pushes) > 0 { // until all have arrived; nobody looks after them
			w.deliver(t)
		}
		if diff := w.diff(followers(), false); diff != "" {
			return diff
		}
	}
	if !w.lossy {
		return ""
	}
	w.quiet = true
	late := len(w.pushes) / 2
	for len(w.pushes) > late {
		w.takePush()
	}
	finish := func(run func(m *mirror.Mirror) (*mirror.Report, error)) {
		for {
			if _, err := run(w.newProcess(t)); err == nil {
				return
			}
		}
	}
	// A walk that others have begun may have begun before the last change; the one after it has not.
	for range 2 {
		finish(func(m *mirror.Mirror) (*mirror.Report, error) {
			return m.Reconcile(t.Context(), mirror.WithMassRemoval())
		})
	}
	for len(w.pushes) > 0 {
		w.deliver(t)
	}
	if diff := w.diff(followers(), true); diff != "" {
		return diff
	}
	for range 2 {
		finish(func(m *mirror.Mirror) (*mirror.Report, error) {
			return m.Full(t.Context(), mirror.WithMassRemoval())
		})
	}
	if slices.ContainsFunc(followers(), func(u wechatuser.UserInfo) bool { return u.SubscribeTime == 0 }) {
		return "a profile is missing after Full"
	}
	return w.diff(followers(), true)
}

// diff returns how the table differs from the account. Without lost pushes, the time of the last follow is right too.
func (w *world) diff(followers []wechatuser.UserInfo, onlyOpenIDs bool) string {
	state := func(users []wechatuser.UserInfo, known map[string]bool) map[string]int64 {
		m := map[string]int64{}
		for _, u := range users {
			if m[u.OpenID] = 0; !onlyOpenIDs && known[u.OpenID] {
				m[u.OpenID] = u.SubscribeTime
			}
		}
		return m
	}
	known := map[string]bool{}
	for _, u := range followers {
		known[u.OpenID] = u.SubscribeTime != 0
	}
	want, got := state(w.srv.Users(), known), state(followers, known)
	if maps.Equal(want, got) {
		return ""
	}
	var lines []string
	for _, openID := range w.users {
		if fmt.Sprint(want[openID], hasKey(want, openID)) != fmt.Sprint(got[openID], hasKey(got, openID)) {
			lines = append(lines, fmt.Sprintf("%s: account %v %d, table %v %d", openID,
				hasKey(want, openID), want[openID], hasKey(got, openID), got[openID]))
		}
	}
	return strings.Join(lines, "\n")
}

func hasKey(m map[string]int64, key string) bool { _, ok := m[key]; return ok }

// At the end the table equals the account: after the last Reconcile where pushes were lost, and without one where none
// was.
func TestModel(t *testing.T) {
	t.Parallel()
	happened := map[string]int{}
	for seed := range uint64(seeds(2000)) {
		store := new(mirror.MemoryStore)
		w := newWorld(seed, store)
		if diff := w.run(t, store.Followers); !assert.Empty(t, diff, "seed %d", seed) {
			return
		}
		for what, n := range w.happens {
			happened[what] += n
		}
	}
	t.Log(happened)
	for _, what := range []string{
		"same second", "lost", "pushed twice", "resumed", "walked", "two processes walk", "killed",
	} {
		assert.Greater(t, happened[what], 20, "%s: a model in which it hardly happens proves nothing about it", what)
	}
}

func TestModelSQLite(t *testing.T) {
	t.Parallel()
	d := databases[0]
	for seed := range uint64(seeds(60)) {
		db := openDB(t, "sqlite", sqliteDSN(filepath.Join(t.TempDir(), fmt.Sprint(seed))))
		w := newWorld(seed, newSQLStore(t, db, d.dialect))
		diff := w.run(t, func() []wechatuser.UserInfo { return followersIn(t, db, d) })
		require.NoError(t, db.Close())
		if !assert.Empty(t, diff, "seed %d", seed) {
			return
		}
	}
}

// lastWriteWins is a store without the rule.
type lastWriteWins struct{ *mirror.MemoryStore }

func (s lastWriteWins) Put(ctx context.Context, statements []mirror.Statement) error {
	ticket, err := s.Ticket(ctx)
	if err != nil {
		return err
	}
	statements = slices.Clone(statements)
	for i := range statements {
		statements[i].Ticket = ticket
	}
	return s.MemoryStore.Put(ctx, statements)
}

// The model finds that the rule is missing.
func TestModelFindsAMissingRule(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		store := lastWriteWins{new(mirror.MemoryStore)}
		if newWorld(seed, store).run(t, store.Followers) != "" {
			t.Log("found by seed", seed)
			return
		}
	}
	t.Error("the model finds nothing wrong with a store where the last write wins")
}
