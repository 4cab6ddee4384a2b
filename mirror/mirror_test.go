package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// fixture is an account and its mirror in memory.
type fixture struct {
	*wechatusertest.Server
	store  *mirror.MemoryStore
	mirror *mirror.Mirror
	clock  time.Time
}

func newFixture(t *testing.T, fans int, opts ...mirror.Option) *fixture {
	t.Helper()
	f := &fixture{store: new(mirror.MemoryStore), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	f.Server = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans),
		wechatusertest.WithClock(func() time.Time { return f.clock }))
	f.mirror = f.process(t, opts...)
	return f
}

// process returns another mirror of the account in the same store.
func (f *fixture) process(t *testing.T, opts ...mirror.Option) *mirror.Mirror {
	t.Helper()
	return f.processWith(t, f.Transport(), opts...)
}

func (f *fixture) processWith(t *testing.T, transport http.RoundTripper, opts ...mirror.Option) *mirror.Mirror {
	t.Helper()
	c := f.Client(wechatuser.WithTransport(transport), wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
	m, err := mirror.New(c, f.store, opts...)
	require.NoError(t, err)
	mirror.SetClock(m, func() time.Time { return f.clock })
	return m
}

// must returns the report of a walk that must not fail.
func must(t *testing.T) func(*mirror.Report, error) mirror.Report {
	return func(report *mirror.Report, err error) mirror.Report {
		t.Helper()
		require.NoError(t, err)
		return *report
	}
}

func (f *fixture) openIDs() (ids []string) {
	for _, u := range f.store.Followers() {
		ids = append(ids, u.OpenID)
	}
	return ids
}

func (f *fixture) assertEqual(t *testing.T) {
	t.Helper()
	assert.Equal(t, slices.Sorted(slices.Values(f.OpenIDs())), f.openIDs())
}

func (f *fixture) header(openID string) wechatuserpush.Header {
	return wechatuserpush.Header{FromUserName: openID, CreateTime: f.clock, MsgType: "event"}
}

func subscribe(h wechatuserpush.Header) wechatuserpush.Event {
	h.Event = "subscribe"
	return &wechatuserpush.Subscribe{Header: h}
}

func unsubscribe(h wechatuserpush.Header) wechatuserpush.Event {
	h.Event = "unsubscribe"
	return &wechatuserpush.Unsubscribe{Header: h}
}

func TestFull(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 250)
	vip := f.AddTag("会员", wechatusertest.OpenID(3))
	f.SetRemark(wechatusertest.OpenID(3), "😀")

	report := must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, mirror.Report{Listed: 250, Added: 250, Profiles: 250, Calls: 3 + 3}, report)
	f.assertEqual(t)
	user := f.store.Followers()[slices.Index(f.openIDs(), wechatusertest.OpenID(3))]
	assert.Equal(t, []int{vip}, user.TagIDList)
	assert.Equal(t, "😀", user.Remark)

	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKEnew"})
	f.Unfollow(wechatusertest.OpenID(0))
	f.SetRemark(wechatusertest.OpenID(4), "new remark")
	report = must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, mirror.Report{Listed: 250, Added: 1, Profiles: 1, Removed: 1, Calls: 3 + 1 + 1}, report)
	f.assertEqual(t)
	assert.Equal(t, "250 listed, 1 added, 1 profiles read, 0 failed, 1 removed, 0 kept, 5 calls", report.String())
	assert.Contains(t, report.LogValue().String(), "removed=1")

	f.clock = f.clock.Add(time.Hour)
	report = must(t)(f.mirror.Full(t.Context(), mirror.WithProfilesOlderThan(2*time.Hour)))
	assert.Zero(t, report.Profiles)
	var progress []mirror.Progress
	report = must(t)(f.mirror.Full(t.Context(), mirror.WithProfilesOlderThan(0),
		mirror.WithProgress(func(p mirror.Progress) { progress = append(progress, p) })))
	assert.Equal(t, 250, report.Profiles)
	assert.Equal(t, []mirror.Progress{{Listed: 250, Profiles: 250}}, progress)
	user = f.store.Followers()[slices.Index(f.openIDs(), wechatusertest.OpenID(4))]
	assert.Equal(t, "new remark", user.Remark)
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 20_001)
	report := must(t)(f.mirror.Reconcile(t.Context()))
	assert.Equal(t, mirror.Report{Listed: 20_001, Added: 20_001, Calls: 5}, report, "one call for 10,000, and two")
	f.assertEqual(t)
	assert.Zero(t, f.Calls("batchUserinfo"))

	report = must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, 20_001, report.Profiles, "Full reads the profiles of those whom Reconcile has added")
	f.Unfollow(wechatusertest.OpenID(7))
	f.Follow(wechatusertest.OpenID(7))
	f.Unfollow(wechatusertest.OpenID(8))
	assert.Equal(t, 1, must(t)(f.mirror.Reconcile(t.Context())).Removed)
	f.assertEqual(t)
}

func TestApply(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	id := wechatusertest.OpenID(1)
	apply := func(e wechatuserpush.Event, want ...string) {
		t.Helper()
		before := f.Calls("*")
		require.NoError(t, f.mirror.Apply(t.Context(), e))
		assert.Equal(t, want, f.openIDs())
		assert.Equal(t, before+1, f.Calls("*"))
	}
	apply(subscribe(f.header(id)), id)
	assert.Equal(t, f.clock.Unix(), f.store.Followers()[0].SubscribeTime)
	apply(subscribe(f.header(id)), id)

	f.clock = f.clock.Add(time.Second)
	left := unsubscribe(f.header(id))
	apply(left, []string(nil)...) // out of date: the profile is from before the user left
	f.Unfollow(id)
	apply(left)
	apply(subscribe(f.header(id))) // late
	f.Follow(id)                   // in the same second
	apply(left, id)
	f.clock = f.clock.Add(time.Second)
	apply(left, id) // late

	before := f.Calls("*")
	for _, e := range []wechatuserpush.Event{
		nil, &wechatuserpush.Scan{Header: f.header(id)}, &wechatuserpush.Raw{Header: f.header(id)},
		&wechatuserpush.Subscribe{},
	} {
		require.NoError(t, f.mirror.Apply(t.Context(), e))
	}
	assert.Equal(t, before, f.Calls("*"))
}

// The platform sends these events in its own name, with the user in a field.
func TestApplyOtherEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	id := wechatusertest.OpenID(0)
	must(t)(f.mirror.Full(t.Context()))
	apply := func(e wechatuserpush.Event) {
		t.Helper()
		require.NoError(t, f.mirror.Apply(t.Context(), e))
	}
	f.SetRemark(id, "remark")
	apply(&wechatuserpush.UserInfoModified{Header: f.header("gh_0"), OpenID: id})
	assert.Equal(t, "remark", f.store.Followers()[0].Remark)
	f.SetRemark(id, "remark 2")
	apply(&wechatuserpush.AuthorizationRevoke{Header: f.header("gh_0"), OpenID: id})
	assert.Equal(t, "remark 2", f.store.Followers()[0].Remark)
	apply(&wechatuserpush.UserInfoModified{Header: f.header("gh_0")}) // some have no openid
	assert.NotEmpty(t, f.openIDs())

	f.clock = f.clock.Add(time.Second)
	closed := &wechatuserpush.AuthorizationCancellation{Header: f.header("gh_0"), OpenID: id}
	apply(closed)
	assert.Empty(t, f.openIDs())
	must(t)(f.mirror.Reconcile(t.Context()))
	assert.NotEmpty(t, f.openIDs(), "the list still has the user")
	f.RefuseProfiles(wechatuser.CodeInvalidOpenID, id)
	apply(&wechatuserpush.UserInfoModified{Header: f.header("gh_0"), OpenID: id})
	assert.Empty(t, f.openIDs(), "there is no such user anymore")
}

// The data of a user who has left is deleted even if the platform cannot be asked, or the time for the push is over.
func TestApplyDuringAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2)
	must(t)(f.mirror.Full(t.Context()))
	id, other := wechatusertest.OpenID(0), wechatusertest.OpenID(1)

	f.Fault(wechatusertest.Fault{Path: "*", Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy})
	require.ErrorIs(t, f.mirror.Apply(t.Context(), subscribe(f.header(id))), wechatuser.CodeSystemBusy)
	assert.Len(t, f.openIDs(), 2)
	err := f.mirror.Apply(t.Context(), unsubscribe(f.header(id)))
	require.ErrorIs(t, err, wechatuser.CodeSystemBusy, "the platform has to send the push again")
	assert.NotContains(t, err.Error(), id)
	assert.Equal(t, []string{other}, f.openIDs())

	f.ClearFaults()
	ctx, cancel := context.WithCancel(t.Context())
	m := f.processWith(t, transport(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/user/info") {
			cancel()
			return nil, ctx.Err()
		}
		return f.Transport().RoundTrip(r)
	}))
	require.ErrorIs(t, m.Apply(ctx, unsubscribe(f.header(other))), context.Canceled)
	assert.Empty(t, f.openIDs())

	must(t)(f.mirror.Reconcile(t.Context()))
	f.assertEqual(t)
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// cutList returns a transport where the list of followers ends after n openids; the total is true.
func (f *fixture) cutList(n int) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		res, err := f.Transport().RoundTrip(r)
		if err != nil || !strings.HasSuffix(r.URL.Path, "/user/get") {
			return res, err
		}
		var page struct {
			Total int `json:"total"`
			Count int `json:"count"`
			Data  struct {
				OpenID []string `json:"openid"`
			} `json:"data"`
			Next string `json:"next_openid"`
		}
		if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
			return nil, err
		}
		_ = res.Body.Close()
		if r.URL.Query().Get("next_openid") != "" {
			page.Data.OpenID = nil
		}
		page.Data.OpenID = page.Data.OpenID[:min(n, len(page.Data.OpenID))]
		if page.Count, page.Next = len(page.Data.OpenID), ""; page.Count > 0 {
			page.Next = page.Data.OpenID[page.Count-1]
		}
		body, _ := json.Marshal(page)
		res.Body, res.ContentLength = io.NopCloser(strings.NewReader(string(body))), int64(len(body))
		return res, nil
	})
}

func TestSuspectListRemovesNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	must(t)(f.mirror.Full(t.Context()))
	f.Unfollow(wechatusertest.OpenID(5))

	report, err := f.processWith(t, f.cutList(80)).Reconcile(t.Context())
	require.ErrorIs(t, err, mirror.ErrSuspectList)
	assert.EqualError(t, err, "mirror: Reconcile: the list of followers is incomplete: it has 80 openids of 99")
	assert.Zero(t, report.Removed)
	assert.Len(t, f.openIDs(), 100)

	// Too little is missing to be noticed: the profiles tell who has left.
	found := must(t)(f.processWith(t, f.cutList(95)).Reconcile(t.Context()))
	assert.Equal(t, 1, found.Removed)
	assert.Equal(t, 4, found.Kept)
	f.assertEqual(t)
}

func TestBrokenListRemovesNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 50)
	must(t)(f.mirror.Full(t.Context()))
	f.Unfollow(wechatusertest.OpenID(5))
	for after := range 2 {
		f.Fault(wechatusertest.Fault{Path: "getFans", Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy,
			After: after})
		_, err := f.mirror.Reconcile(t.Context())
		require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
		assert.Len(t, f.openIDs(), 50)
		f.ClearFaults()
	}
	report := must(t)(f.mirror.Reconcile(t.Context()))
	assert.True(t, report.Resumed)
	f.assertEqual(t)
}

func TestMassRemoval(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	must(t)(f.mirror.Full(t.Context()))
	f.Unfollow(f.OpenIDs()[:51]...)
	report, err := f.mirror.Full(t.Context())
	require.ErrorIs(t, err, mirror.ErrMassRemoval)
	assert.Zero(t, report.Removed)
	assert.Len(t, f.openIDs(), 100)
	assert.Equal(t, 51, must(t)(f.mirror.Full(t.Context(), mirror.WithMassRemoval())).Removed)
	f.assertEqual(t)
}

// A follower whose profile the platform does not return is in the table without one, and is tried again.
func TestProfilesThatFail(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 10)
	f.RefuseProfiles(wechatuser.CodeInvalidOpenID, wechatusertest.OpenID(3))
	report := must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, 9, report.Added, "40003 says that there is no such user")
	f.ClearFaults()
	report = must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, 1, report.Profiles)
	f.assertEqual(t)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0, mirror.WithFields(mirror.FieldScene))
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", UnionID: "uFAKE1", Remark: "a", QRScene: 3, Language: "en"})
	must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, []wechatuser.UserInfo{{OpenID: "oFAKE1", Subscribe: 1, SubscribeTime: f.clock.Unix(),
		SubscribeScene: wechatuser.SceneSearch}}, f.store.Followers())

	f = newFixture(t, 3, mirror.WithoutProfiles())
	report := must(t)(f.mirror.Full(t.Context()))
	assert.Equal(t, mirror.Report{Listed: 3, Added: 3, Calls: 3}, report)

	c := f.Client()
	for _, opts := range [][]mirror.Option{
		{nil}, {mirror.WithFields("nickname")}, {mirror.WithPatience(-1)}, {mirror.WithConcurrency(0)},
	} {
		_, err := mirror.New(c, f.store, opts...)
		require.ErrorContains(t, err, "mirror: ")
	}
	_, err := mirror.New(nil, f.store)
	require.Error(t, err)
	for _, opts := range [][]mirror.WalkOption{{nil}, {mirror.WithProfilesOlderThan(-1)}, {mirror.WithProgress(nil)}} {
		_, err := f.mirror.Full(t.Context(), opts...)
		require.ErrorContains(t, err, "mirror: ")
	}
}

// A table belongs to one account.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	must(t)(f.mirror.Full(t.Context()))
	other := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithAccount("wx0000000000000009", "0"))
	m, err := mirror.New(other.Client(), f.store)
	require.NoError(t, err)
	_, err = m.Full(t.Context())
	assert.ErrorContains(t, err, "wx0000000000000009")
	assert.Zero(t, other.Calls("*"))
}

// It resumes where it was, for a day.
func TestResume(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1000)
	mirror.SetBatch(f.mirror, 100)
	stop := func() {
		t.Helper()
		f.Fault(wechatusertest.Fault{Path: "batchUserinfo", Kind: wechatusertest.FaultErrcode,
			Code: wechatuser.CodeDailyQuotaExceeded, After: 5})
		report, err := f.mirror.Full(t.Context(), mirror.WithProfilesOlderThan(0))
		require.Error(t, err)
		assert.Equal(t, 500, report.Listed)
		f.ClearFaults()
	}
	stop()
	f.clock = f.clock.Add(23 * time.Hour)
	report := must(t)(f.mirror.Full(t.Context(), mirror.WithProfilesOlderThan(0)))
	assert.True(t, report.Resumed)
	assert.Equal(t, 1000, report.Listed)
	assert.LessOrEqual(t, report.Profiles, 600)
	f.assertEqual(t)

	f.clock = f.clock.Add(time.Hour)
	stop()
	f.clock = f.clock.Add(25 * time.Hour)
	report = must(t)(f.mirror.Full(t.Context()))
	assert.False(t, report.Resumed, "the platform is known to return nothing for an old cursor")
}

// Processes walk and apply pushes at once, in a real database.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	forEachDatabase(t, func(t *testing.T, d database) {
		const fans, changes = 300, 200
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans),
			wechatusertest.WithPageSize(100))
		db := d.open(t)
		process := func() *mirror.Mirror {
			m, err := mirror.New(srv.Client(), newSQLStore(t, db, d.dialect))
			require.NoError(t, err)
			mirror.SetBatch(m, 50)
			return m
		}
		var wg sync.WaitGroup
		errs := make(chan error, changes+20)
		for i := range 4 {
			m := process()
			wg.Go(func() {
				run := []func(context.Context, ...mirror.WalkOption) (*mirror.Report, error){m.Full, m.Reconcile}[i%2]
				for range 3 {
					_, err := run(t.Context())
					if !errors.Is(err, mirror.ErrSuspectList) { // many change while the list is read
						errs <- err
					}
				}
			})
		}
		for i := range 4 {
			m := process()
			wg.Go(func() {
				for j := range changes / 4 {
					openID := wechatusertest.OpenID(i + 4*(j%20))
					h := wechatuserpush.Header{FromUserName: openID, CreateTime: srv.Now().Truncate(time.Second)}
					e := unsubscribe(h)
					if user, _ := srv.User(openID); user.Subscribed() {
						srv.Unfollow(openID)
					} else {
						srv.Follow(openID)
						e = subscribe(h)
					}
					errs <- m.Apply(t.Context(), e)
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var openIDs []string
		for _, u := range followersIn(t, db, d) {
			openIDs = append(openIDs, u.OpenID)
		}
		assert.ElementsMatch(t, srv.OpenIDs(), openIDs)
	})
}

// Of a former follower, the table has a hash and times, and after two days nothing.
func TestNothingIsKeptOfAFormerFollower(t *testing.T) {
	t.Parallel()
	forEachDatabase(t, func(t *testing.T, d database) {
		clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(2),
			wechatusertest.WithClock(func() time.Time { return clock }))
		id := wechatusertest.OpenID(9)
		srv.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: "uFAKE9", Remark: "remark", QRScene: 77, QRSceneStr: "scene",
			TagIDList: []int{100}})
		db := d.open(t)
		process := func(opts ...mirror.Option) *mirror.Mirror {
			m, err := mirror.New(srv.Client(), newSQLStore(t, db, d.dialect), opts...)
			require.NoError(t, err)
			mirror.SetClock(m, func() time.Time { return clock })
			return m
		}
		m := process(mirror.WithDepartures())
		_, err := m.Full(t.Context())
		require.NoError(t, err)
		srv.Unfollow(id)
		h := wechatuserpush.Header{FromUserName: id, CreateTime: clock}
		require.NoError(t, m.Apply(t.Context(), unsubscribe(h)))

		row := func() []string {
			rows, err := db.QueryContext(t.Context(), "SELECT * FROM wechat_followers WHERE left_at IS NOT NULL")
			require.NoError(t, err)
			defer rows.Close()
			names, err := rows.Columns()
			require.NoError(t, err)
			var values []string
			for rows.Next() {
				cells, targets := make([]any, len(names)), make([]any, len(names))
				for i := range cells {
					targets[i] = &cells[i]
				}
				require.NoError(t, rows.Scan(targets...))
				for i, cell := range cells {
					if b, ok := cell.([]byte); ok {
						cell = string(b)
					}
					switch cell {
					case nil, "", "[]", int64(0), "0":
					default:
						values = append(values, names[i])
					}
				}
			}
			require.NoError(t, rows.Err())
			return values
		}
		assert.Equal(t, []string{"hash", "left_at", "seen_at", "profile_ticket", "ticket"}, row())
		clock = clock.Add(100 * time.Hour)
		_, err = m.Reconcile(t.Context())
		require.NoError(t, err)
		assert.NotEmpty(t, row(), "departures are kept")
		_, err = process().Reconcile(t.Context())
		require.NoError(t, err)
		assert.Empty(t, row())
	})
}

// All columns of time have the time in UTC, whatever the zones of the server and of this machine are.
func TestTimesAreInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -5*3600))
	forEachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		s := newSQLStore(t, db, d.dialect)
		require.NoError(t, s.Open(t.Context(), "wx0000000000000001"))
		require.NoError(t, s.Put(t.Context(), []mirror.Statement{
			{Ticket: 1, At: at, OpenID: "oFAKE1", Profile: &wechatuser.UserInfo{OpenID: "oFAKE1", SubscribeTime: at.Unix()}},
			{Ticket: 1, At: at, OpenID: "oFAKE2", LeftAt: at},
		}))
		for _, column := range []string{"seen_at", "subscribed_at", "profile_at", "left_at"} {
			var seconds int64
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT MAX("+fmt.Sprintf(d.seconds, column)+
				") FROM wechat_followers").Scan(&seconds))
			assert.Equal(t, at.Unix(), seconds, column)
		}
	})
}

// Processes that start at the same time create the tables once.
func TestMigrations(t *testing.T) {
	t.Parallel()
	const appID = "wx0000000000000001"
	forEachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		open := func(versions int) error {
			s := newSQLStore(t, db, d.dialect)
			for range versions - 1 {
				mirror.AddMigration(s, "INSERT INTO wechat_migrated VALUES (1)")
			}
			return s.Open(t.Context(), appID)
		}
		_, err := db.ExecContext(t.Context(), "CREATE TABLE wechat_migrated (n integer)")
		require.NoError(t, err)
		for _, versions := range []int{1, 3} {
			var wg sync.WaitGroup
			errs := make([]error, 6)
			for i := range errs {
				wg.Go(func() { errs[i] = open(versions) })
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM wechat_migrated").Scan(&n))
			assert.Equal(t, versions-1, n, "each migration runs once")
		}
		assert.ErrorContains(t, open(1), "version 3")
		require.NoError(t, newSQLStore(t, db, d.dialect, mirror.WithTablePrefix("other_")).Open(t.Context(), "wx2"))
	})
}

// What an administrator creates by hand is not created again.
func TestSchema(t *testing.T) {
	t.Parallel()
	forEachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		s := newSQLStore(t, db, d.dialect)
		for _, statement := range s.Schema("wx0000000000000001") {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		require.NoError(t, s.Open(t.Context(), "wx0000000000000001"))
		require.Error(t, newSQLStore(t, db, d.dialect).Open(t.Context(), "wx2"))
		ticket, err := s.Ticket(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, ticket)
	})
}

func TestSQLOptions(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	for _, prefix := range []string{"", "a b", "A_", "1_", `a"`, strings.Repeat("a", 41)} {
		_, err := mirror.NewSQLStore(db, mirror.SQLite, mirror.WithTablePrefix(prefix))
		require.ErrorContains(t, err, "mirror: WithTablePrefix")
	}
	_, err := mirror.NewSQLStore(db, "Oracle")
	require.ErrorContains(t, err, "Oracle")
	_, err = mirror.NewSQLStore(nil, mirror.SQLite)
	require.Error(t, err)
	_, err = mirror.NewSQLStore(db, mirror.SQLite, nil)
	require.Error(t, err)
}

// blockedStore is a store that cannot be opened before its context ends.
type blockedStore struct{ *mirror.MemoryStore }

func (blockedStore) Open(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// While the store cannot be opened, each push and walk takes the time that its context has, and not that of the others.
func TestNobodyWaitsForOthersToOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
		m, err := mirror.New(srv.Client(), blockedStore{new(mirror.MemoryStore)})
		require.NoError(t, err)
		start := time.Now()
		var walk sync.WaitGroup
		walk.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := m.Full(ctx)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		for n := range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			h := wechatuserpush.Header{FromUserName: wechatusertest.OpenID(0)}
			assert.ErrorIs(t, m.Apply(ctx, subscribe(h)), context.DeadlineExceeded)
			assert.Equal(t, time.Duration(n+1)*time.Second, time.Since(start))
			cancel()
		}
		walk.Wait()
	})
}

// The place of a walk that broke off is an openid too.
func TestPlaceOfAFormerFollower(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 30)
	mirror.SetBatch(f.mirror, 10)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := f.mirror.Full(ctx, mirror.WithProgress(func(p mirror.Progress) {
		if p.Listed == 20 {
			cancel()
		}
	}))
	require.ErrorIs(t, err, context.Canceled)
	place, err := f.store.LoadWalk(t.Context(), "full")
	require.NoError(t, err)
	require.Equal(t, 20, place.Listed)

	f.Unfollow(place.Place)
	require.NoError(t, f.mirror.Apply(t.Context(), unsubscribe(f.header(place.Place))))
	place, err = f.store.LoadWalk(t.Context(), "full")
	require.NoError(t, err)
	assert.Empty(t, place.Place)

	report := must(t)(f.mirror.Full(t.Context()))
	assert.True(t, report.Resumed)
	assert.Equal(t, 29, report.Listed)
	assert.Equal(t, 10, report.Profiles, "none is read twice")
	f.assertEqual(t)
}
