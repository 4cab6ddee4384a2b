package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// smallPages returns a simulated account whose lists have pages of ten, and its client.
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
		want := testutil.OpenIDs(n)
		srv.Unfollow(wechatusertest.OpenID(n), wechatusertest.OpenID(n+1), wechatusertest.OpenID(n+2))
		tag := srv.AddTag("vip", want...)
		srv.Block(want...)
		for prefetch := range 3 {
			ahead := wechatuser.WithPrefetch(prefetch)
			for path, list := range map[string]iter.Seq2[string, error]{
				testutil.PathGetFans:      c.AllFans(t.Context(), ahead),
				testutil.PathGetTagFans:   c.AllTagFans(t.Context(), tag, ahead),
				testutil.PathGetBlacklist: c.AllBlacklist(t.Context(), ahead),
			} {
				before := srv.Calls(path)
				assert.Equal(t, before, srv.Calls(path), "calls before the loop")
				for range 2 {
					got, errs := seq.Collect(list)
					assert.Empty(t, errs)
					assert.Len(t, got, n)
					assert.Subset(t, want, got)
				}
				assert.Equal(t, 2*((n+9)/10+1), srv.Calls(path)-before, "%s: calls for %d openids, twice", path, n)
			}
		}
	}
}

func TestPageForms(t *testing.T) {
	end := testutil.RespondPage(0, "")
	for _, tt := range []struct {
		name  string
		pages []testutil.Reply
		want  []string
		calls int
	}{
		{
			"total too small",
			[]testutil.Reply{
				testutil.RespondPage(1, testutil.Bob, testutil.Alice, testutil.Bob),
				testutil.RespondPage(1, testutil.Carol, testutil.Carol), end,
			},
			[]string{testutil.Alice, testutil.Bob, testutil.Carol},
			3,
		},
		{
			"total too large",
			[]testutil.Reply{
				testutil.RespondPage(9, testutil.Bob, testutil.Alice, testutil.Bob), testutil.RespondPage(9, ""),
			},
			[]string{testutil.Alice, testutil.Bob},
			2,
		},
		{
			"empty cursor",
			[]testutil.Reply{
				testutil.RespondPage(2, "", testutil.Alice, testutil.Bob),
				testutil.RespondPage(2, testutil.Carol, testutil.Carol), end,
			},
			[]string{testutil.Alice, testutil.Bob, testutil.Carol},
			3,
		},
		{
			"empty page with a cursor",
			[]testutil.Reply{
				testutil.RespondPage(9, testutil.Alice, testutil.Alice), testutil.RespondPage(9, testutil.Bob),
			},
			[]string{testutil.Alice},
			2,
		},
		{
			"empty strings",
			[]testutil.Reply{testutil.RespondPage(3, testutil.Bob, "", testutil.Alice, "", testutil.Bob), end},
			[]string{testutil.Alice, testutil.Bob},
			2,
		},
		{
			"only empty strings, then more",
			[]testutil.Reply{
				testutil.RespondPage(3, testutil.Alice, "", ""), testutil.RespondPage(3, testutil.Bob, testutil.Bob),
				end,
			},
			[]string{testutil.Bob},
			3,
		},
		{
			"cursor included",
			[]testutil.Reply{
				testutil.RespondPage(3, testutil.Bob, testutil.Alice, testutil.Bob),
				testutil.RespondPage(3, testutil.Carol, testutil.Bob, testutil.Carol),
				testutil.RespondPage(3, testutil.Carol, testutil.Carol),
			},
			[]string{testutil.Alice, testutil.Bob, testutil.Carol},
			3,
		},
		{
			"cursor included after an empty string",
			[]testutil.Reply{
				testutil.RespondPage(3, testutil.Alice, testutil.Alice),
				testutil.RespondPage(3, testutil.Bob, "", testutil.Alice, testutil.Bob), end,
			},
			[]string{testutil.Alice, testutil.Bob},
			3,
		},
		{
			"no cursor",
			[]testutil.Reply{
				testutil.RespondJSON(
					`{"total":3,"count":2,"data":{"openid":["` + testutil.Alice + `","` + testutil.Bob + `"]}}`),
				testutil.RespondPage(3, testutil.Carol, testutil.Carol), end,
			},
			[]string{testutil.Alice, testutil.Bob, testutil.Carol},
			3,
		},
		{"null cursor", []testutil.Reply{testutil.RespondJSON(`{"total":3,"count":2,"data":{"openid":["` + testutil.Alice + `","` + testutil.Bob + `"]},"next_openid":null}`), testutil.RespondPage(3, testutil.Carol, testutil.Carol), end}, []string{testutil.Alice, testutil.Bob, testutil.Carol}, 3},
		{
			"a mock with one page for every cursor",
			[]testutil.Reply{testutil.RespondPage(2, "", testutil.Alice, testutil.Bob)},
			[]string{testutil.Alice, testutil.Bob},
			2,
		},
	} {
		for prefetch := range 2 {
			s := testutil.Play(tt.pages...)
			got, errs := seq.Collect(testutil.NewClient(t, s).AllFans(t.Context(), wechatuser.WithPrefetch(prefetch)))
			assert.Empty(t, errs, tt.name)
			assert.Equal(t, tt.want, got, tt.name)
			assert.Equal(t, tt.calls, s.Count(), tt.name)
		}
	}
}

func TestRepeatedCursor(t *testing.T) {
	same := testutil.RespondPage(9, testutil.Bob, testutil.Alice, testutil.Bob)
	for name, pages := range map[string][]testutil.Reply{
		"the same page for ever": {same},
		"a circle": {
			same, testutil.RespondPage(9, testutil.Carol, testutil.Carol),
			testutil.RespondPage(9, testutil.Bob, "oFAKEd", testutil.Bob),
		},
	} {
		s := testutil.Play(pages...)
		got, errs := seq.Collect(testutil.NewClient(t, s).AllFans(t.Context()))
		require.Len(t, errs, 1, name)
		assert.ErrorContains(t, errs[0], "twice", name)
		assert.Equal(t, []string{testutil.Alice, testutil.Bob, testutil.Carol}[:len(got)], got, name)
		assert.LessOrEqual(t, s.Count(), 3, name)
	}
	got, errs := seq.Collect(testutil.NewClient(t, testutil.Play(same)).AllFans(t.Context(),
		wechatuser.StartAfter(testutil.Bob)))
	assert.Empty(t, got)
	assert.Len(t, errs, 1, "the cursor that the walk began with counts")
}

func TestEndlessList(t *testing.T) {
	n := 0
	same := func(next func() string) testutil.RoundTripFunc {
		return func(req *http.Request) (*http.Response, error) {
			n++
			return testutil.RespondPage(2, next(), testutil.Alice, testutil.Bob)(req)
		}
	}
	got, errs := seq.Collect(
		testutil.NewClient(t, same(func() string { return wechatusertest.OpenID(n) })).AllFans(t.Context()))
	assert.Equal(t, []string{testutil.Alice, testutil.Bob}, got)
	require.Len(t, errs, 1)
	assert.ErrorContains(t, errs[0],
		"wechatuser: AllFans: the platform returned a page twice: the list would never end")
	assert.Equal(t, 2, n)

	n = 0
	c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		page := make([]string, 10_000)
		for i := range page {
			page[i] = wechatusertest.OpenID(n*len(page) + i)
		}
		n++
		return testutil.RespondPage(2, page[len(page)-1], page...)(req)
	}))
	got, errs = seq.Collect(c.AllFans(t.Context()))
	assert.Len(t, got, 20_000)
	require.Len(t, errs, 1)
	assert.ErrorContains(t, errs[0],
		"wechatuser: AllFans: the platform returned more than twice the openids that its total says")
}

func TestUnfollowsDuringAList(t *testing.T) {
	srv, c := smallPages(t, wechatusertest.WithFans(60))
	gone := map[string]bool{}
	var got []string
	for id, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(0)) {
		require.NoError(t, err)
		got = append(got, id)
		if n := len(got); n%10 == 0 && n < 50 {
			// The cursor, an openid already seen, one not yet seen.
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
	for _, id := range testutil.OpenIDs(60) {
		assert.True(t, seen[id] || gone[id], "%s stayed and is missing", id)
	}
}

func TestListsResume(t *testing.T) {
	_, c := smallPages(t, wechatusertest.WithFans(25))
	want := testutil.OpenIDs(25)
	for i := range want {
		got, errs := seq.Collect(c.AllFans(t.Context(), wechatuser.StartAfter(want[i])))
		assert.Empty(t, errs)
		assert.Equal(t, want[i+1:], append([]string{}, got...))
	}
	got, _ := seq.Collect(c.AllFans(t.Context(), wechatuser.StartAfter("")))
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
			srv.FailNext(testutil.PathGetFans, wechatuser.CodeDailyQuotaExceeded, 1)
		}
	}
	assert.ErrorIs(t, last, wechatuser.CodeDailyQuotaExceeded)
	assert.Equal(t, 10, seen)
	assert.Equal(t, 2, srv.Calls(testutil.PathGetFans))
}

func TestPrefetchRunsAheadOfTheLoop(t *testing.T) {
	for prefetch := range 4 {
		synctest.Test(t, func(t *testing.T) {
			srv, c := smallPages(t, wechatusertest.WithFans(100))
			n := 0
			for _, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(prefetch)) {
				require.NoError(t, err)
				synctest.Wait()
				page := n/10 + 1
				assert.Equal(t, min(page+prefetch, 11), srv.Calls(testutil.PathGetFans), "in page %d", page)
				n++
			}
			assert.Equal(t, 100, n)
		})
	}
}

func TestBreakCancelsThePrefetch(t *testing.T) {
	before := goleak.IgnoreCurrent()
	started, cancelled := make(chan struct{}, 2), make(chan error, 2)
	s := testutil.Play(func(req *http.Request) (*http.Response, error) {
		if !req.URL.Query().Has("next_openid") {
			return testutil.RespondPage(2, testutil.Bob, testutil.Alice, testutil.Bob)(req)
		}
		started <- struct{}{}
		<-req.Context().Done()
		cancelled <- req.Context().Err()
		return nil, req.Context().Err()
	})
	c := testutil.NewClient(t, s)
	for range c.AllFans(t.Context()) {
		<-started
		break
	}
	require.Len(t, cancelled, 1, "the loop has waited for it")
	assert.ErrorIs(t, <-cancelled, context.Canceled)
	require.NoError(t, goleak.Find(before))
	assert.Equal(t, 2, s.Count())

	assert.Panics(t, func() {
		for range c.AllFans(t.Context()) {
			<-started
			panic("in the loop")
		}
	})
	require.Len(t, cancelled, 1, "after a panic too")
	require.NoError(t, goleak.Find(before))
}

// foreignContext is a context of a foreign type: a context derived from it leaks a goroutine unless it is canceled.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

func TestListLeavesNothingOnTheContext(t *testing.T) {
	before := goleak.IgnoreCurrent()
	srv, c := smallPages(t, wechatusertest.WithFans(25))
	tag := srv.AddTag("vip")
	ctx := foreignContext{t.Context(), make(chan struct{})}
	for prefetch := range 2 {
		got, errs := seq.Collect(c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)))
		assert.Len(t, got, 25)
		assert.Empty(t, errs)
		for range c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)) {
			break
		}
	}
	_, err := c.BulkTagging(ctx, tag, c.AllFans(ctx))
	require.NoError(t, err)
	users, errs := seq.Collect(c.BulkUserInfo(ctx, c.AllTagFans(ctx, tag)))
	assert.Len(t, users, 25)
	assert.Empty(t, errs)
	_, err = c.SyncTag(ctx, tag, wechatuser.OpenIDs())
	require.NoError(t, err)
	require.NoError(t, goleak.Find(before))
}

// A transport that ends its goroutine, as t.FailNow does in a mock, must not make a list look complete.
func TestListThatBreaksOff(t *testing.T) {
	for at := 1; at <= 3; at++ {
		var n int
		srv, _ := smallPages(t, wechatusertest.WithFans(25))
		c := srv.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == testutil.PathGetFans {
					if n++; n == at {
						runtime.Goexit()
					}
				}
				return srv.Transport().RoundTrip(req)
			})))
		got, errs := seq.Collect(c.AllFans(t.Context()))
		assert.Len(t, got, 10*(at-1))
		require.Len(t, errs, 1)
		assert.ErrorContains(t, errs[0],
			"wechatuser: AllFans: the list broke off: the goroutine of the call was ended by runtime.Goexit")
	}
}

func TestListPanicsInItsLoop(t *testing.T) {
	c := testutil.NewClient(t, testutil.RoundTripFunc(func(*http.Request) (*http.Response, error) {
		panic("in the transport")
	}))
	defer func() {
		assert.ErrorContains(t, recover().(error), "in the transport\n\ngoroutine ", "with the stack")
	}()
	for range c.AllFans(t.Context()) {
	}
	assert.Fail(t, "the loop went on")
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

		_, errs = seq.Collect(c.AllFans(ctx, wechatuser.WithPrefetch(prefetch)))
		require.Len(t, errs, 1, "before the first page")
		assert.ErrorIs(t, errs[0], context.Canceled)
	}
}

func TestListArguments(t *testing.T) {
	s := testutil.Play(testutil.Fail(io.ErrUnexpectedEOF))
	c := testutil.NewClient(t, s)
	for name, list := range map[string]iter.Seq2[string, error]{
		"negative prefetch": c.AllFans(t.Context(), wechatuser.WithPrefetch(-1)),
		"huge prefetch":     c.AllBlacklist(t.Context(), wechatuser.WithPrefetch(1<<20)),
		"nil option":        c.AllTagFans(t.Context(), 100, nil),
		"malformed cursor":  c.AllFans(t.Context(), wechatuser.StartAfter("no openid")),
		"negative tag":      c.AllTagFans(t.Context(), -1),
	} {
		got, errs := seq.Collect(list)
		assert.Empty(t, got, name)
		require.Len(t, errs, 1, name)
		var bad *wechatuser.ArgumentError
		require.ErrorAs(t, errs[0], &bad, name)
		assert.NotEmpty(t, bad.API, name)
		assert.NotEmpty(t, bad.Field, name)
	}
	assert.Zero(t, s.Count())
}

func TestOpenIDs(t *testing.T) {
	got, errs := seq.Collect(wechatuser.OpenIDs(testutil.Alice, "", testutil.Alice))
	assert.Empty(t, errs)
	assert.Equal(t, []string{testutil.Alice, "", testutil.Alice}, got, "as they are")
	for range wechatuser.OpenIDs(testutil.Alice, testutil.Bob) {
		break
	}
}

func TestSelectOpenIDs(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 250)
	srv.AddUsers(wechatuser.UserInfo{OpenID: testutil.Alice, Remark: "keep"},
		wechatuser.UserInfo{OpenID: testutil.Bob, Remark: "keep"})
	input := wechatuser.OpenIDs(append(testutil.OpenIDs(250), testutil.Alice, "oNOBODY", testutil.Bob)...)
	keep := func(u wechatuser.UserInfo) bool { return u.Remark == "keep" }
	var skipped []string
	skip := func(one *wechatuser.OpenIDError) { skipped = append(skipped, one.OpenID) }

	got, errs := seq.Collect(wechatuser.SelectOpenIDs(c.BulkUserInfo(t.Context(), input), keep, skip))
	assert.Empty(t, errs)
	assert.Equal(t, []string{testutil.Alice, testutil.Bob}, got)
	assert.Equal(t, []string{"oNOBODY"}, skipped)
	got, errs = seq.Collect(wechatuser.SelectOpenIDs(c.BulkUserInfo(t.Context(), input), nil, nil))
	assert.Empty(t, errs)
	assert.Len(t, got, 252, "all of them, without the rejected one")

	// No call before the loop, and none after a break.
	before := srv.Calls("*")
	list := wechatuser.SelectOpenIDs(c.BulkUserInfo(t.Context(), input), nil, nil)
	assert.Equal(t, before, srv.Calls("*"))
	for range list {
		break
	}
	_, errs = seq.Collect(wechatuser.SelectOpenIDs(nil, nil, nil))
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], wechatuser.ErrInvalidArgument)
}

// Any error but that of one openid ends the list with it: what comes after it must not be taken for the whole.
func TestSelectOpenIDsEndsWithAnError(t *testing.T) {
	one := &wechatuser.OpenIDError{OpenID: testutil.Bob, Err: wechatuser.CodeInvalidOpenID}
	for name, cause := range map[string]error{
		"other error": io.ErrUnexpectedEOF,
		"stopped job with a rejected openid": &wechatuser.BulkError{
			Err: io.EOF, Report: &wechatuser.BulkReport{Failed: []wechatuser.OpenIDError{*one}},
		},
		"complete job with a rejected one": &wechatuser.BulkError{
			Report: &wechatuser.BulkReport{Failed: []wechatuser.OpenIDError{*one}},
		},
		"wrapped": fmt.Errorf("page 7: %w", one),
	} {
		t.Run(name, func(t *testing.T) {
			users := func(yield func(wechatuser.UserInfo, error) bool) {
				_ = yield(wechatuser.UserInfo{OpenID: testutil.Alice}, nil) && yield(wechatuser.UserInfo{}, one) &&
					yield(wechatuser.UserInfo{}, cause) && yield(wechatuser.UserInfo{OpenID: testutil.Carol}, nil)
			}
			got, errs := seq.Collect(wechatuser.SelectOpenIDs(users, nil, func(*wechatuser.OpenIDError) {}))
			assert.Equal(t, []string{testutil.Alice}, got)
			assert.Equal(t, []error{cause}, errs)
		})
	}
}

// An openid that is kept does not keep the block of its page in memory.
func TestSelectedOpenIDsAreCopies(t *testing.T) {
	page := strings.Repeat(testutil.Alice, 2)
	users := func(yield func(wechatuser.UserInfo, error) bool) {
		yield(wechatuser.UserInfo{OpenID: page[:len(testutil.Alice)]}, nil)
	}
	for openID := range wechatuser.SelectOpenIDs(users, nil, nil) {
		assert.Equal(t, testutil.Alice, openID)
		assert.NotSame(t, unsafe.StringData(page), unsafe.StringData(openID))
	}
}

// A cursor of the platform is not an argument of the caller.
func TestListWithAMalformedCursor(t *testing.T) {
	for name, pages := range map[string][]testutil.Reply{
		"cursor":      {testutil.RespondPage(9, "no openid", testutil.Alice, testutil.Bob)},
		"last openid": {testutil.RespondPage(9, "", testutil.Alice, "no openid")},
	} {
		s := testutil.Play(pages...)
		got, errs := seq.Collect(testutil.NewClient(t, s).AllFans(t.Context()))
		assert.Len(t, got, 2, "%s: the page itself is good", name)
		require.Len(t, errs, 1, name)
		var re *wechatuser.ResponseError
		require.ErrorAs(t, errs[0], &re, name)
		assert.NotErrorIs(t, errs[0], wechatuser.ErrInvalidArgument, name)
		assert.ErrorContains(t, errs[0], `"no openid"`, name)
		assert.Equal(t, "getFans", re.API, name)
		assert.Equal(t, 1, s.Count(), name)
	}
	_, errs := seq.Collect(testutil.NewClient(t, testutil.Play(testutil.Hang)).AllFans(t.Context(),
		wechatuser.StartAfter("no openid")))
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], wechatuser.ErrInvalidArgument, "that of StartAfter is")
}
