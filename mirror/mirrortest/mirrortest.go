// Package mirrortest checks that a [mirror.Store] does what package mirror needs, for those who write their own.
//
//	func TestStore(t *testing.T) {
//		mirrortest.Run(t, mirrortest.Config{New: func(t *testing.T) mirror.Store { return newStore(t) }})
//	}
package mirrortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Config says which store to check.
type Config struct {
	// New returns an empty store. Run opens it. It is called once for each subtest.
	New func(t *testing.T) mirror.Store
	// Followers returns the followers in a store with their profiles, in any order; nil if the store cannot tell.
	// A follower without a profile has only the openid.
	Followers func(t *testing.T, store mirror.Store) []wechatuser.UserInfo
}

// AppID is the account that Run opens stores for.
const AppID = "wx0000000000000001"

// Run runs all checks, each as a subtest. It uses synthetic openids.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	for _, c := range []struct {
		name string
		f    func(*fixture)
	}{
		{"empty", (*fixture).empty},
		{"account", (*fixture).account},
		{"tickets", (*fixture).tickets},
		{"newer wins", (*fixture).newerWins},
		{"bare statement", (*fixture).bareStatement},
		{"late profile", (*fixture).lateProfile},
		{"case", (*fixture).letterCase},
		{"listed", (*fixture).listed},
		{"stale profiles", (*fixture).staleProfiles},
		{"unlisted", (*fixture).unlisted},
		{"purge", (*fixture).purge},
		{"walks", (*fixture).walks},
		{"texts", (*fixture).texts},
		{"many", (*fixture).many},
		{"concurrent", (*fixture).concurrent},
		{"context", (*fixture).endedContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{T: t, cfg: cfg, Store: cfg.New(t), ctx: t.Context()}
			f.must(f.Open(f.ctx, AppID))
			c.f(f)
		})
	}
}

type fixture struct {
	*testing.T
	mirror.Store
	cfg Config
	ctx context.Context
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.FixedZone("", 8*3600))

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) equal(what string, want, got any) {
	f.Helper()
	if !reflect.DeepEqual(want, got) {
		f.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// follows, left and bare return statements.
func follows(ticket int64, openID string) mirror.Statement {
	s := bare(ticket, openID)
	s.Profile = &wechatuser.UserInfo{OpenID: openID, Subscribe: 1, SubscribeTime: 1_700_000_000 + ticket,
		Remark: fmt.Sprint("remark ", ticket)}
	return s
}

func bare(ticket int64, openID string) mirror.Statement {
	return mirror.Statement{Ticket: ticket, OpenID: openID, At: start.Add(time.Duration(ticket) * time.Second)}
}

func left(ticket int64, openID string) mirror.Statement {
	s := bare(ticket, openID)
	s.LeftAt = s.At.Add(-time.Minute)
	return s
}

func (f *fixture) put(statements ...mirror.Statement) {
	f.Helper()
	f.must(f.Put(f.ctx, statements))
}

const newest = int64(1) << 60

// followers returns the openids of all followers, sorted.
func (f *fixture) followers() []string {
	f.Helper()
	list, err := f.Unlisted(f.ctx, newest, "", 1_000_000)
	f.must(err)
	slices.Sort(list)
	n, unlisted, err := f.Count(f.ctx, newest)
	f.must(err)
	f.equal("number of followers", len(list), n)
	f.equal("number of unlisted followers", len(list), unlisted)
	return list
}

// profiles returns what is known of the followers, sorted by openid, or false if the store cannot tell.
func (f *fixture) profiles() ([]wechatuser.UserInfo, bool) {
	f.Helper()
	if f.cfg.Followers == nil {
		return nil, false
	}
	users := f.cfg.Followers(f.T, f.Store)
	slices.SortFunc(users, func(a, b wechatuser.UserInfo) int { return strings.Compare(a.OpenID, b.OpenID) })
	return users, true
}

func openIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = wechatusertest.OpenID(i)
	}
	return ids
}

func (f *fixture) empty() {
	f.equal("followers", 0, len(f.followers()))
	w, err := f.LoadWalk(f.ctx, "full")
	f.must(err)
	f.equal("walk", mirror.Walk{}, w)
	f.put()
	unknown, stale, err := f.Listed(f.ctx, mirror.Listing{Ticket: 1, At: start})
	f.must(err)
	f.equal("unknown and stale", 0, len(unknown)+len(stale))
}

func (f *fixture) account() {
	f.put(follows(1, "oFAKE1"))
	f.must(f.Open(f.ctx, AppID))
	f.equal("followers after the second Open", []string{"oFAKE1"}, f.followers())
	if f.Open(f.ctx, "wx0000000000000002") == nil {
		f.Error("Open has accepted another account")
	}
}

func (f *fixture) tickets() {
	var mu sync.Mutex
	var all []int64
	f.concurrently(8, func(int) error {
		last := int64(0)
		for range 20 {
			ticket, err := f.Ticket(f.ctx)
			if err != nil {
				return err
			}
			if ticket <= last {
				return fmt.Errorf("ticket %d after %d", ticket, last)
			}
			last = ticket
			mu.Lock()
			all = append(all, ticket)
			mu.Unlock()
		}
		return nil
	})
	slices.Sort(all)
	f.equal("different tickets", 160, len(slices.Compact(all)))
	next, err := f.Ticket(f.ctx)
	f.must(err)
	if next <= all[len(all)-1] {
		f.Errorf("ticket %d after %d", next, all[len(all)-1])
	}
}

// concurrently runs f n times at once.
func (f *fixture) concurrently(n int, run func(i int) error) {
	f.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = run(i) })
	}
	wg.Wait()
	for _, err := range errs {
		f.must(err)
	}
}

func (f *fixture) newerWins() {
	is := func(step string, want ...string) {
		f.Helper()
		if got := f.followers(); !slices.Equal(want, got) {
			f.Errorf("%s: got %v, want %v", step, got, want)
		}
	}
	f.put(follows(5, "oFAKE1"))
	is("new", "oFAKE1")
	f.put(left(4, "oFAKE1"))
	is("an older statement", "oFAKE1")
	f.put(left(5, "oFAKE1"))
	is("an equal ticket")
	f.put(follows(4, "oFAKE1"), bare(3, "oFAKE2"))
	is("older than that the user has left", "oFAKE2")
	f.put(follows(6, "oFAKE1"))
	is("back", "oFAKE1", "oFAKE2")
	f.put(left(9, "oFAKE3"))
	is("left, and was never there", "oFAKE1", "oFAKE2")
	f.put(follows(8, "oFAKE3"))
	is("older than what was never there", "oFAKE1", "oFAKE2")
	f.put(follows(10, "oFAKE3"), left(10, "oFAKE2"), bare(2, "oFAKE1"))
	is("three at once", "oFAKE1", "oFAKE3")
	if users, ok := f.profiles(); ok {
		f.equal("profiles", []wechatuser.UserInfo{*follows(6, "oFAKE1").Profile, *follows(10, "oFAKE3").Profile}, users)
	}
}

func (f *fixture) bareStatement() {
	lacking := func(step string, ticket int64, want ...string) {
		f.Helper()
		unknown, stale, err := f.Listed(f.ctx, mirror.Listing{Ticket: ticket, At: start, OpenIDs: []string{"oFAKE1"}})
		f.must(err)
		f.equal(step+": unknown", 0, len(unknown))
		f.equal(step+": without a profile", want, stale)
	}
	f.put(bare(1, "oFAKE1"))
	lacking("new", 1, "oFAKE1")
	f.put(follows(2, "oFAKE1"))
	lacking("with a profile", 2)
	f.put(bare(3, "oFAKE1"))
	lacking("a bare statement leaves the profile", 3)
	f.put(left(4, "oFAKE1"))
	f.put(bare(5, "oFAKE1"))
	lacking("nothing is left of a former follower", 5, "oFAKE1")
	if users, ok := f.profiles(); ok {
		f.equal("profiles", []wechatuser.UserInfo{{OpenID: "oFAKE1"}}, users)
	}
}

// A list has said that the user follows after the profile was asked for, and before it is stored.
func (f *fixture) lateProfile() {
	is := func(step string, ticket int64) {
		f.Helper()
		if users, ok := f.profiles(); ok {
			f.equal(step, []wechatuser.UserInfo{*follows(ticket, "oFAKE1").Profile}, users)
		}
	}
	f.put(follows(1, "oFAKE1"))
	_, _, err := f.Listed(f.ctx, mirror.Listing{Ticket: 10, At: start, OpenIDs: []string{"oFAKE1"}})
	f.must(err)
	f.put(follows(5, "oFAKE1"))
	is("newer than the profile in the row", 5)
	f.put(follows(3, "oFAKE1"))
	is("older than the profile in the row", 5)
	f.put(left(9, "oFAKE1"))
	is("the row still has the ticket of the list", 5)
	f.put(left(11, "oFAKE1"))
	f.put(follows(10, "oFAKE1"))
	f.equal("followers", 0, len(f.followers()))
	f.put(bare(12, "oFAKE1"))
	f.put(follows(10, "oFAKE1"))
	_, stale, err := f.Listed(f.ctx, mirror.Listing{Ticket: 12, At: start, OpenIDs: []string{"oFAKE1"}})
	f.must(err)
	f.equal("a profile from before the user left", []string{"oFAKE1"}, stale)
}

func (f *fixture) letterCase() {
	ids := []string{"oFAKE-A_", "oFAKE-a_", "ofake-a_"}
	for i, id := range ids {
		f.put(follows(int64(i+1), id))
	}
	f.equal("followers", ids, f.followers())
	f.put(left(9, ids[1]))
	f.equal("followers", []string{ids[0], ids[2]}, f.followers())
}

func (f *fixture) listed() {
	f.put(follows(1, "oFAKE1"), follows(20, "oFAKE2"), left(1, "oFAKE3"), left(20, "oFAKE4"), left(10, "oFAKE5"),
		bare(1, "oFAKE6"), follows(1, "oFAKE7"))
	l := mirror.Listing{Ticket: 10, At: start,
		OpenIDs: []string{"oFAKE8", "oFAKE6", "oFAKE5", "oFAKE4", "oFAKE3", "oFAKE2", "oFAKE1"}}
	for range 2 { // with the same result
		unknown, stale, err := f.Listed(f.ctx, l)
		f.must(err)
		slices.Sort(unknown)
		f.equal("unknown", []string{"oFAKE3", "oFAKE8"}, unknown)
		f.equal("without a profile", []string{"oFAKE6"}, stale)
	}
	unlisted, err := f.Unlisted(f.ctx, 10, "", 10)
	f.must(err)
	f.equal("unlisted", []string{"oFAKE7"}, unlisted)
	n, count, err := f.Count(f.ctx, 10)
	f.must(err)
	f.equal("followers and unlisted", []int{4, 1}, []int{n, count})
	f.put(left(9, "oFAKE1")) // older than the list
	f.put(left(15, "oFAKE2"))
	f.equal("followers", []string{"oFAKE1", "oFAKE2", "oFAKE6", "oFAKE7"}, f.followers())
}

func (f *fixture) staleProfiles() {
	f.put(follows(1, "oFAKE1"), follows(50, "oFAKE2"), bare(2, "oFAKE3"))
	_, stale, err := f.Listed(f.ctx, mirror.Listing{Ticket: 60, At: start, OpenIDs: []string{"oFAKE1", "oFAKE2", "oFAKE3"},
		StaleBefore: start.Add(50 * time.Second)})
	f.must(err)
	slices.Sort(stale)
	f.equal("stale", []string{"oFAKE1", "oFAKE3"}, stale)
	_, stale, err = f.Listed(f.ctx, mirror.Listing{Ticket: 60, At: start, OpenIDs: []string{"oFAKE2"},
		StaleBefore: start.Add(50*time.Second + time.Microsecond)})
	f.must(err)
	f.equal("stale by a microsecond", []string{"oFAKE2"}, stale)
}

func (f *fixture) unlisted() {
	ids := openIDs(25)
	for i, id := range ids {
		f.put(follows(int64(i+1), id))
	}
	var got []string
	for after := ""; ; {
		part, err := f.Unlisted(f.ctx, 21, after, 7)
		f.must(err)
		if len(part) == 0 {
			break
		}
		if len(part) > 7 || len(got) > 20 {
			f.Fatalf("%d openids, and %d before", len(part), len(got))
		}
		after = part[len(part)-1]
		f.put(left(30, after), left(30, part[0])) // the place stays, although its row changes
		got = append(got, part...)
	}
	slices.Sort(got)
	f.equal("unlisted", slices.Sorted(slices.Values(ids[:20])), got)
}

func (f *fixture) purge() {
	f.put(left(1, "oFAKE1"), left(20, "oFAKE2"), left(5, "oFAKE3"), follows(1, "oFAKE4"))
	back := func(want ...string) {
		f.Helper()
		// A row that is gone does not stop an old statement.
		unknown, _, err := f.Listed(f.ctx,
			mirror.Listing{Ticket: 1, At: start, OpenIDs: []string{"oFAKE1", "oFAKE2", "oFAKE3"}})
		f.must(err)
		f.equal("purged", want, unknown)
	}
	f.must(f.Purge(f.ctx, 10, start))
	back()
	f.must(f.Purge(f.ctx, 10, start.Add(5*time.Second)))
	back("oFAKE1")
	f.must(f.Purge(f.ctx, 10, start.Add(time.Hour)))
	back("oFAKE1", "oFAKE3")
	f.equal("followers", []string{"oFAKE4"}, f.followers())
}

func (f *fixture) walks() {
	is := func(kind string, want mirror.Walk) {
		f.Helper()
		w, err := f.LoadWalk(f.ctx, kind)
		f.must(err)
		if !w.Started.Equal(want.Started) {
			f.Errorf("started: got %v, want %v", w.Started, want.Started)
		}
		w.Started = want.Started
		f.equal("walk", want, w)
	}
	first := mirror.Walk{Ticket: 3, Started: start}
	f.must(f.SaveWalk(f.ctx, "full", 0, first))
	is("full", first)
	is("reconcile", mirror.Walk{})
	f.must(f.SaveWalk(f.ctx, "full", 0, mirror.Walk{Ticket: 4, Started: start})) // another process was first
	is("full", first)
	first.Place, first.Listed = "oFAKE1", 1000
	f.must(f.SaveWalk(f.ctx, "full", 3, first))
	is("full", first)
	f.must(f.SaveWalk(f.ctx, "full", 3, first)) // changes nothing
	f.put(left(5, "oFAKE2"), follows(5, "oFAKE1"))
	is("full", first)
	f.put(left(6, "oFAKE1")) // nothing may be kept of somebody who has left
	is("full", mirror.Walk{Ticket: 3, Started: start})
	f.must(f.SaveWalk(f.ctx, "full", 3, first)) // the walk has read the list before that
	is("full", mirror.Walk{Ticket: 3, Started: start})
	f.put(bare(7, "oFAKE1")) // back again
	f.must(f.SaveWalk(f.ctx, "full", 3, first))
	is("full", first)
	second := mirror.Walk{Ticket: 9, Started: start.Add(time.Hour)}
	f.must(f.SaveWalk(f.ctx, "full", 3, second))
	f.must(f.SaveWalk(f.ctx, "full", 3, first))
	is("full", second)
	f.must(f.SaveWalk(f.ctx, "full", 9, mirror.Walk{}))
	is("full", mirror.Walk{})
}

func (f *fixture) texts() {
	users := []wechatuser.UserInfo{
		{OpenID: "oFAKE1", Subscribe: 1, SubscribeTime: 1_700_000_000, UnionID: "oFAKEunion", Remark: "老客户 😀👨‍👩‍👧",
			TagIDList: []int{2, 100, 2_000_000_000}, SubscribeScene: "ADD_SCENE_QR_CODE", QRScene: 1<<32 - 1,
			QRSceneStr: `a'b"c\d%e_f;--`},
		{OpenID: "oFAKE2", Subscribe: 1, SubscribeTime: 1, Remark: strings.Repeat("长", 1000) + "\n\t\x01 ",
			SubscribeScene: wechatuser.SubscribeScene(strings.Repeat("S", 300)), QRSceneStr: strings.Repeat("x", 300)},
		{OpenID: "oFAKE3", Subscribe: 1, SubscribeTime: 2_000_000_000},
	}
	var statements []mirror.Statement
	for i := range users {
		s := bare(1, users[i].OpenID)
		s.Profile = &users[i]
		statements = append(statements, s)
	}
	f.put(statements...)
	if got, ok := f.profiles(); ok {
		f.equal("profiles", users, got)
	}
	s := bare(2, "oFAKE3")
	s.Profile = &wechatuser.UserInfo{OpenID: "oFAKE3", Subscribe: 1, SubscribeTime: 1, Remark: "a\x00b\xffc"}
	f.put(s) // no database has to keep these two, but all of them have to accept the profile
	f.equal("followers", 3, len(f.followers()))
}

func (f *fixture) many() {
	ids := openIDs(2500)
	var statements []mirror.Statement
	for i, id := range ids {
		switch i % 5 {
		case 0:
			statements = append(statements, bare(1, id))
		case 1:
			statements = append(statements, left(1, id))
		default:
			statements = append(statements, follows(1, id))
		}
	}
	f.put(statements...)
	f.equal("followers", 2000, len(f.followers()))
	unknown, stale, err := f.Listed(f.ctx, mirror.Listing{Ticket: 2, At: start, OpenIDs: ids})
	f.must(err)
	f.equal("unknown and stale", []int{500, 500}, []int{len(unknown), len(stale)})
	_, unlisted, err := f.Count(f.ctx, 2)
	f.must(err)
	f.equal("unlisted", 0, unlisted)
}

// Many processes store statements in any order, in batches that overlap: for each openid, the largest ticket wins.
func (f *fixture) concurrent() {
	const processes, rounds = 6, 8
	ids := openIDs(40)
	var mu sync.Mutex
	want := map[string]mirror.Statement{}
	f.concurrently(processes, func(i int) error {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for range rounds {
			ticket, err := f.Ticket(f.ctx)
			if err != nil {
				return err
			}
			var batch []mirror.Statement
			for _, n := range rng.Perm(len(ids))[:25] {
				s := [3]func(int64, string) mirror.Statement{follows, left, bare}[rng.IntN(3)](ticket, ids[n])
				batch = append(batch, s)
				mu.Lock()
				if want[ids[n]].Ticket < ticket {
					want[ids[n]] = s
				}
				mu.Unlock()
			}
			if rng.IntN(3) == 0 { // a list that is older does not matter
				if _, _, err := f.Listed(f.ctx, mirror.Listing{Ticket: 1, At: start, OpenIDs: ids}); err != nil {
					return err
				}
			}
			if err := f.Put(f.ctx, batch); err != nil {
				return err
			}
		}
		return nil
	})
	var following []string
	for id, s := range want {
		if s.Follows() {
			following = append(following, id)
		}
	}
	slices.Sort(following)
	f.equal("followers", following, f.followers())
	if users, ok := f.profiles(); ok {
		for _, u := range users {
			if s := want[u.OpenID]; s.Profile != nil {
				f.equal("profile", *s.Profile, u)
			}
		}
	}
}

func (f *fixture) endedContext() {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if err := f.Put(ctx, []mirror.Statement{follows(1, "oFAKE1")}); err == nil {
		return // a store need not look at it
	}
	f.equal("followers", 0, len(f.followers()))
}
