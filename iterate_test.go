package wechatuser_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	pathFans    = "/cgi-bin/user/get"
	pathTagFans = "/cgi-bin/user/tag/get"
	pathBlocked = "/cgi-bin/tags/members/getblacklist"
)

// openIDs are the first n synthetic openids.
func openIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = wechatusertest.OpenID(i)
	}
	return ids
}

// all reads a list to its end: what it gave, and the errors.
func all[T any](list iter.Seq2[T, error]) (got []T, errs []error) {
	for v, err := range list {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, v)
	}
	return got, errs
}

// smallPages is a server without a socket whose lists have pages of ten, and its client.
func smallPages(t *testing.T, opts ...wechatusertest.Option) (*wechatusertest.Server, *wechatuser.Client) {
	t.Helper()
	srv := wechatusertest.NewServer(append([]wechatusertest.Option{
		wechatusertest.WithoutListener(), wechatusertest.WithPageSize(10),
	}, opts...)...)
	return srv, srv.Client()
}

func TestListsOfAllLengths(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 11, 20, 95} {
		srv, c := smallPages(t, wechatusertest.WithFans(n+3))
		want := openIDs(n)
		srv.Unfollow(wechatusertest.OpenID(n), wechatusertest.OpenID(n+1), wechatusertest.OpenID(n+2))
		tag := srv.AddTag("vip", want...)
		srv.Block(want...)
		for prefetch := range 3 {
			ahead := wechatuser.WithPrefetch(prefetch)
			for path, list := range map[string]iter.Seq2[string, error]{
				pathFans:    c.AllFans(t.Context(), ahead),
				pathTagFans: c.AllTagFans(t.Context(), tag, ahead),
				pathBlocked: c.AllBlacklist(t.Context(), ahead),
			} {
				before := srv.Calls(path)
				assert.Equal(t, before, srv.Calls(path), "calls before the loop")
				for range 2 {
					got, errs := all(list)
					assert.Empty(t, errs)
					assert.Len(t, got, n)
					assert.Subset(t, want, got)
				}
				assert.Equal(t, 2*((n+9)/10+1), srv.Calls(path)-before, "%s: calls for %d openids, twice", path, n)
			}
		}
	}
}

// fanPage is a page that a script answers with.
func fanPage(total int, next string, ids ...string) reply {
	page := map[string]any{"total": total, "count": len(ids), "next_openid": next}
	if len(ids) > 0 {
		page["data"] = map[string]any{"openid": ids}
	}
	body, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return says(string(body))
}

func TestPagesAsThePlatformMayGiveThem(t *testing.T) {
	end := fanPage(0, "")
	for _, tt := range []struct {
		name  string
		pages []reply
		want  []string
		calls int
	}{
		{"total too small", []reply{fanPage(1, bob, alice, bob), fanPage(1, carol, carol), end}, []string{alice, bob, carol}, 3},
		{"total too large", []reply{fanPage(9, bob, alice, bob), fanPage(9, "")}, []string{alice, bob}, 2},
		{"empty cursor", []reply{fanPage(2, "", alice, bob), fanPage(2, carol, carol)}, []string{alice, bob}, 1},
		{"empty page with a cursor", []reply{fanPage(9, alice, alice), fanPage(9, bob)}, []string{alice}, 2},
		{"empty strings", []reply{fanPage(3, bob, "", alice, "", bob), end}, []string{alice, bob}, 2},
		{"only empty strings, then more", []reply{fanPage(3, alice, "", ""), fanPage(3, bob, bob), end}, []string{bob}, 3},
		{"cursor included", []reply{fanPage(3, bob, alice, bob), fanPage(3, carol, bob, carol), fanPage(3, carol, carol)}, []string{alice, bob, carol}, 3},
		{"cursor included after an empty string", []reply{fanPage(3, alice, alice), fanPage(3, bob, "", alice, bob), end}, []string{alice, bob}, 3},
	} {
		for prefetch := range 2 {
			s := play(tt.pages...)
			got, errs := all(newClient(t, s).AllFans(t.Context(), wechatuser.WithPrefetch(prefetch)))
			assert.Empty(t, errs, tt.name)
			assert.Equal(t, tt.want, got, tt.name)
			assert.Equal(t, tt.calls, s.count(), tt.name)
		}
	}
}

func TestCursorThatRepeats(t *testing.T) {
	same := fanPage(9, bob, alice, bob)
	for name, pages := range map[string][]reply{
		"the same page for ever": {same},
		"a circle":               {same, fanPage(9, carol, carol), fanPage(9, bob, "oFAKEd", bob)},
	} {
		s := play(pages...)
		got, errs := all(newClient(t, s).AllFans(t.Context()))
		require.Len(t, errs, 1, name)
		assert.ErrorContains(t, errs[0], "twice", name)
		assert.Equal(t, []string{alice, bob, carol}[:len(got)], got, name)
		assert.LessOrEqual(t, s.count(), 3, name)
	}
	got, errs := all(newClient(t, play(same)).AllFans(t.Context(), wechatuser.StartAfter(bob)))
	assert.Empty(t, got)
	assert.Len(t, errs, 1, "the cursor that the walk began with counts")
}

func TestPeopleLeaveDuringAWalk(t *testing.T) {
	srv, c := smallPages(t, wechatusertest.WithFans(60))
	gone := map[string]bool{}
	var got []string
	for id, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(0)) {
		require.NoError(t, err)
		got = append(got, id)
		if n := len(got); n%10 == 0 && n < 50 {
			// The cursor, one who was seen, one who was not yet.
			for _, i := range []int{n - 1, n - 5, n + 5} {
				srv.Unfollow(wechatusertest.OpenID(i))
				gone[wechatusertest.OpenID(i)] = true
			}
		}
	}
	seen := map[string]bool{}
	for _, id := range got {
		assert.False(t, seen[id], "twice")
		seen[id] = true
	}
	for _, id := range openIDs(60) {
		assert.True(t, seen[id] || gone[id], "%s stayed and is missing", id)
	}
}

func TestListsResume(t *testing.T) {
	_, c := smallPages(t, wechatusertest.WithFans(25))
	want := openIDs(25)
	for i := range want {
		got, errs := all(c.AllFans(t.Context(), wechatuser.StartAfter(want[i])))
		assert.Empty(t, errs)
		assert.Equal(t, want[i+1:], append([]string{}, got...))
	}
	got, _ := all(c.AllFans(t.Context(), wechatuser.StartAfter("")))
	assert.Equal(t, want, got)
}

func TestListEndsWithItsFirstError(t *testing.T) {
	srv, c := smallPages(t, wechatusertest.WithFans(25))
	seen := 0
	var last error
	for id, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(0)) {
		assert.NoError(t, last, "nothing comes after an error")
		if last = err; err != nil {
			assert.Empty(t, id)
			continue // as a careless loop does
		}
		if seen++; seen == 10 {
			srv.FailNext(pathFans, wechatuser.CodeDailyQuotaExceeded, 1)
		}
	}
	assert.ErrorIs(t, last, wechatuser.CodeDailyQuotaExceeded)
	assert.Equal(t, 10, seen)
	assert.Equal(t, 2, srv.Calls(pathFans))
}

func TestPrefetchIsAheadOfTheLoop(t *testing.T) {
	for prefetch := range 4 {
		synctest.Test(t, func(t *testing.T) {
			srv, c := smallPages(t, wechatusertest.WithFans(100))
			n := 0
			for _, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(prefetch)) {
				require.NoError(t, err)
				synctest.Wait()
				page := n/10 + 1
				assert.Equal(t, min(page+prefetch, 11), srv.Calls(pathFans), "in page %d", page)
				n++
			}
			assert.Equal(t, 100, n)
		})
	}
}

func TestBreakCancelsThePrefetch(t *testing.T) {
	before := goleak.IgnoreCurrent()
	started, cancelled := make(chan struct{}, 2), make(chan error, 2)
	s := play(func(req *http.Request) (*http.Response, error) {
		if !req.URL.Query().Has("next_openid") {
			return fanPage(2, bob, alice, bob)(req)
		}
		started <- struct{}{}
		<-req.Context().Done()
		cancelled <- req.Context().Err()
		return nil, req.Context().Err()
	})
	c := newClient(t, s)
	for range c.AllFans(t.Context()) {
		<-started
		break
	}
	require.Len(t, cancelled, 1, "the loop has waited for it")
	assert.ErrorIs(t, <-cancelled, context.Canceled)
	require.NoError(t, goleak.Find(before))
	assert.Equal(t, 2, s.count())

	assert.Panics(t, func() {
		for range c.AllFans(t.Context()) {
			<-started
			panic("in the loop")
		}
	})
	require.Len(t, cancelled, 1, "after a panic too")
	require.NoError(t, goleak.Find(before))
}

// foreignContext is a context that the standard library does not know, so that each context made from it and not
// cancelled leaves a goroutine behind.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

func TestNothingHangsOnTheContextAfterwards(t *testing.T) {
	before := goleak.IgnoreCurrent()
	srv, c := smallPages(t, wechatusertest.WithFans(25))
	tag := srv.AddTag("vip")
	ctx := foreignContext{t.Context(), make(chan struct{})}
	for prefetch := range 2 {
		got, errs := all(c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)))
		assert.Len(t, got, 25)
		assert.Empty(t, errs)
		for range c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)) {
			break
		}
	}
	_, err := c.BulkTagging(ctx, tag, c.AllFans(ctx))
	require.NoError(t, err)
	users, errs := all(c.BulkUserInfo(ctx, c.AllTagFans(ctx, tag)))
	assert.Len(t, users, 25)
	assert.Empty(t, errs)
	_, err = c.SyncTag(ctx, tag, wechatuser.OpenIDs())
	require.NoError(t, err)
	require.NoError(t, goleak.Find(before))
}

func TestListEndsWithTheContext(t *testing.T) {
	_, c := smallPages(t, wechatusertest.WithFans(25))
	shutdown := errors.New("shutting down")
	for prefetch := range 2 {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		n := 0
		var errs []error
		for _, err := range c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if n++; n == 3 {
				cancel(shutdown)
			}
		}
		assert.Equal(t, 3, n, "in the middle of a page")
		require.Len(t, errs, 1)
		assert.ErrorIs(t, errs[0], context.Canceled)
		assert.ErrorIs(t, errs[0], shutdown)

		_, errs = all(c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)))
		require.Len(t, errs, 1, "before the first page")
		assert.ErrorIs(t, errs[0], context.Canceled)
	}
}

func TestListArguments(t *testing.T) {
	s := play(fails(io.ErrUnexpectedEOF))
	c := newClient(t, s)
	for name, list := range map[string]iter.Seq2[string, error]{
		"negative prefetch": c.AllFans(t.Context(), wechatuser.WithPrefetch(-1)),
		"huge prefetch":     c.AllBlacklist(t.Context(), wechatuser.WithPrefetch(1<<20)),
		"nil option":        c.AllTagFans(t.Context(), 100, nil),
		"malformed cursor":  c.AllFans(t.Context(), wechatuser.StartAfter("no openid")),
		"negative tag":      c.AllTagFans(t.Context(), -1),
	} {
		got, errs := all(list)
		assert.Empty(t, got, name)
		require.Len(t, errs, 1, name)
		var bad *wechatuser.ArgumentError
		require.ErrorAs(t, errs[0], &bad, name)
		assert.NotEmpty(t, bad.API, name)
		assert.NotEmpty(t, bad.Field, name)
	}
	assert.Zero(t, s.count())
}

func TestOpenIDs(t *testing.T) {
	got, errs := all(wechatuser.OpenIDs(alice, "", alice))
	assert.Empty(t, errs)
	assert.Equal(t, []string{alice, "", alice}, got, "as they are")
	for range wechatuser.OpenIDs(alice, bob) {
		break
	}
}
