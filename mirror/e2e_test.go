package mirror_test

import (
	"context"
	"database/sql"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// TestEndToEnd lets users of an account follow and leave: the account pushes that over HTTP to a handler, and a mirror
// keeps the table in a database, while another process makes full walks. Pushes come late, twice and in another order,
// and the function of the handler fails. At the end the table equals the account. With WECHATUSER_FULL=1 there are
// 10,000 changes in PostgreSQL and 2,000 in each of the others; otherwise 1,000 in SQLite.
func TestEndToEnd(t *testing.T) {
	if os.Getenv("WECHATUSER_FULL") == "" {
		endToEnd(t, databases[0], 1000)
		return
	}
	forEachDatabase(t, func(t *testing.T, d database) {
		changes := 2_000
		if d.dialect == mirror.PostgreSQL {
			changes = 10_000
		}
		endToEnd(t, d, changes)
	})
}

func endToEnd(t *testing.T, d database, changes int) {
	const fans, others, atOnce = 2000, 1000, 100
	srv := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithFans(fans), wechatusertest.WithPageSize(500),
		wechatusertest.WithRequestLog(0), wechatusertest.WithQuirks(wechatusertest.Quirks{
			Seed: 1, RepeatedPushes: 0.2, ReorderedPushes: 0.2, PushDelay: 20 * time.Second,
			ShortPages: 0.3, ReorderedBatch: 0.5,
		}))
	defer srv.Close()
	db := d.open(t)
	process := func() *mirror.Mirror {
		m, err := mirror.New(srv.Client(), newSQLStore(t, db, d.dialect))
		require.NoError(t, err)
		return m
	}

	f := &failingFunction{apply: process().Apply, seen: map[string]bool{}}
	config := wechatuserpush.Config{
		AppID: srv.AppID, Token: "fakePushToken", EncodingAESKey: "fakeAESKey0fakeAESKey1fakeAESKey2fakeAESKey",
		MaxAge: 100 * time.Hour, // the account's clock is ahead of that of this machine
	}
	handler, err := wechatuserpush.NewHandler(config, f.handle)
	require.NoError(t, err)
	callback := httptest.NewServer(handler)
	defer callback.Close()
	srv.SetPushes(wechatusertest.PushConfig{
		URL: callback.URL + "/wechat", Token: config.Token, EncodingAESKey: config.EncodingAESKey,
		Mode: wechatusertest.PushSafe, Concurrency: 4,
	})
	require.NoError(t, srv.VerifyPushURL(t.Context()))

	var walking sync.WaitGroup
	var settled atomic.Bool
	walks := 0
	walking.Go(func() {
		m := process()
		for ; !settled.Load(); walks++ {
			_, err := m.Full(t.Context())
			if !errors.Is(err, mirror.ErrSuspectList) { // so many have come meanwhile
				assert.NoError(t, err)
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < changes; n += atOnce {
		for _, i := range rng.Perm(fans + others)[:atOnce] {
			openID := wechatusertest.OpenID(i)
			if user, known := srv.User(openID); known && user.Subscribed() {
				srv.Unfollow(openID)
			} else {
				srv.Follow(openID)
			}
		}
		srv.Advance(time.Second) // a push of the same kind in the same second would be taken for a repeat
	}
	srv.Advance(time.Hour) // so that all are due
	require.NoError(t, srv.WaitPushes(t.Context()))
	settled.Store(true)
	walking.Wait()

	totals := srv.PushTotals()
	t.Logf("%s: %d walks, %+v; the function has failed %d times", d.dialect, walks, totals, f.failures.Load())
	assert.GreaterOrEqual(t, totals.Delivered+totals.Failed, changes)
	assert.NotZero(t, f.failures.Load())
	if totals.Failed == 0 { // on a machine that is too busy, three attempts may not be enough
		assertTableEquals(t, srv, db, d)
	}
	report, err := process().Reconcile(t.Context())
	require.NoError(t, err)
	if totals.Failed == 0 {
		assert.Zero(t, report.Added+report.Removed, "nothing was left to do")
	}
	_, err = process().Full(t.Context())
	require.NoError(t, err)
	assertTableEquals(t, srv, db, d)
}

// assertTableEquals compares who follows, since when, and that all have profiles.
func assertTableEquals(t *testing.T, srv *wechatusertest.Server, db *sql.DB, d database) {
	t.Helper()
	type follower struct {
		openID     string
		since      int64
		hasProfile bool
	}
	var want, got []follower
	for _, openID := range srv.OpenIDs() {
		user, _ := srv.User(openID)
		want = append(want, follower{openID, user.SubscribeTime, true})
	}
	for _, u := range followersIn(t, db, d) {
		got = append(got, follower{u.OpenID, u.SubscribeTime, u.Subscribed()})
	}
	byOpenID := func(x, y follower) int { return strings.Compare(x.openID, y.openID) }
	slices.SortFunc(want, byOpenID)
	slices.SortFunc(got, byOpenID)
	require.Equal(t, len(want), len(got))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
	var kept int
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT COUNT(*) FROM wechat_followers WHERE left_at IS NOT NULL AND openid IS NOT NULL").Scan(&kept))
	assert.Zero(t, kept, "openids of those who have left")
}

// failingFunction fails the first attempt at some pushes: before it has done anything, after it has done all, or with a
// panic.
type failingFunction struct {
	apply    func(context.Context, wechatuserpush.Event) error
	failures atomic.Int64

	mu   sync.Mutex
	seen map[string]bool
}

func (f *failingFunction) handle(ctx context.Context, e wechatuserpush.Event) error {
	h := e.PushHeader()
	key := h.FromUserName + h.Event + h.CreateTime.String()
	f.mu.Lock()
	again := f.seen[key]
	f.seen[key] = true
	f.mu.Unlock()
	sum := crc32.ChecksumIEEE([]byte(key)) % 20
	if again || sum > 2 {
		return f.apply(ctx, e)
	}
	f.failures.Add(1)
	switch sum {
	case 0:
		return errors.New("nothing was done")
	case 1:
		return errors.Join(f.apply(ctx, e), errors.New("all was done"))
	default:
		panic("the function panics")
	}
}
