package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestSyncTag(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 1000)
	ids := testutil.OpenIDs(1000)
	tag := srv.AddTag("members", ids[:600]...)
	report, err := c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[500:900]...))
	require.NoError(t, err)
	assert.Equal(t, wechatuser.SyncReport{
		Added:     wechatuser.BulkReport{Total: 300, Applied: 300, Calls: 6, ResumeAfter: ids[899]},
		Removed:   wechatuser.BulkReport{Total: 500, Applied: 500, Calls: 10, ResumeAfter: ids[499]},
		Unchanged: 100,
		Calls:     2 + 6 + 10,
	}, *report)
	assert.Equal(t, ids[500:900], srv.TagFans(tag))
	assert.Equal(t, report.Calls, srv.Calls("*"))
	assert.Equal(t, "added 300 of 300, removed 500 of 500, 100 unchanged, 18 calls", report.String())

	report, err = c.SyncTag(t.Context(), tag, c.AllTagFans(t.Context(), tag))
	require.NoError(t, err)
	assert.Equal(t, wechatuser.SyncReport{Unchanged: 400, Calls: 2}, *report, "it is so already")

	report, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs())
	require.NoError(t, err)
	assert.Equal(t, 400, report.Removed.Applied)
	assert.Empty(t, srv.TagFans(tag), "no member is wanted")
}

func TestSyncBlacklist(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100),
		wechatusertest.WithPageSize(7))
	ids := testutil.OpenIDs(100)
	srv.Block(ids[:60]...)
	report, err := srv.Client().SyncBlacklist(t.Context(), wechatuser.OpenIDs(ids[30:80]...))
	require.NoError(t, err)
	assert.Equal(t, 20, report.Added.Applied)
	assert.Equal(t, 30, report.Removed.Applied)
	assert.Equal(t, 30, report.Unchanged)
	assert.Equal(t, (60+6)/7+1+1+2, report.Calls)
	assert.Equal(t, ids[30:80], srv.Blacklist())
}

func TestSyncAndAListThatRepeatsItself(t *testing.T) {
	s := testutil.Play(testutil.RespondPage(0, testutil.Bob, testutil.Alice, testutil.Bob, testutil.Alice),
		testutil.RespondPage(0, testutil.Carol, testutil.Bob, testutil.Alice, testutil.Carol, testutil.Carol),
		testutil.RespondPage(0, ""), testutil.RespondJSON(testutil.OKBody))
	report, err := testutil.NewClient(t, s).SyncTag(t.Context(), 100,
		wechatuser.OpenIDs(testutil.Alice, testutil.Alice))
	require.NoError(t, err)
	assert.Equal(t, 1, report.Unchanged)
	assert.Equal(t, wechatuser.BulkReport{Total: 2, Applied: 2, Calls: 1, ResumeAfter: testutil.Carol}, report.Removed)
	assert.Zero(t, report.Added)
}

func TestSyncOptions(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 100)
	ids := testutil.OpenIDs(100)
	tag := srv.AddTag("members", ids[:60]...)
	wanted := wechatuser.OpenIDs(slices.Concat(ids[50:80], []string{"no openid"})...)

	report, err := c.SyncTag(t.Context(), tag, wanted, wechatuser.WithDryRun())
	assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument, "what can be known before is told")
	assert.Equal(t, 21, report.Added.Total)
	assert.Zero(t, report.Added.Applied)
	assert.Equal(t, []string{"no openid"}, report.Added.FailedOpenIDs())
	assert.Equal(t, 50, report.Removed.Total)
	assert.Zero(t, report.Removed.Applied)
	assert.Equal(t, ids[60:80], report.ToAdd, "without what is no openid")
	assert.Equal(t, ids[:50], report.ToRemove)
	assert.Equal(t, 10, report.Unchanged)
	assert.Equal(t, 2, report.Calls)
	assert.Equal(t, ids[:60], srv.TagFans(tag), "nothing has changed")

	var progress []wechatuser.Progress
	report, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[50:80]...), wechatuser.WithoutRemoval(),
		wechatuser.WithConcurrency(1),
		wechatuser.WithProgress(func(p wechatuser.Progress) { progress = append(progress, p) }))
	require.NoError(t, err)
	assert.Equal(t, ids[:80], srv.TagFans(tag))
	assert.Equal(t, 20, report.Added.Applied)
	assert.Zero(t, report.Removed)
	assert.Equal(t, 10, report.Unchanged)
	assert.Equal(t, []wechatuser.Progress{{Done: 20, Total: 20}}, progress)

	progress = nil
	_, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[70:]...),
		wechatuser.WithProgress(func(p wechatuser.Progress) { progress = append(progress, p) }))
	require.NoError(t, err)
	assert.Equal(t, []wechatuser.Progress{{Done: 20, Total: 90}, {Done: 70, Total: 90}, {Done: 90, Total: 90}},
		progress)
}

func TestSyncChangesNothingWhenItsInputFails(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 100)
	ids := testutil.OpenIDs(100)
	tag := srv.AddTag("members", ids[:60]...)
	gone := errors.New("the database has gone")
	report, err := c.SyncTag(t.Context(), tag, seq.ListThen(ids[50:80], gone))
	assert.ErrorIs(t, err, gone)
	var be *wechatuser.BulkError
	require.ErrorAs(t, err, &be)
	assert.Same(t, gone, be.Err)
	assert.Zero(t, *report)
	assert.Zero(t, srv.Calls("*"))
	assert.Equal(t, ids[:60], srv.TagFans(tag))

	srv.FailNext(testutil.PathGetTagFans, wechatuser.CodeAPIUnauthorized, 1)
	_, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[50:80]...))
	assert.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized)
	assert.Equal(t, ids[:60], srv.TagFans(tag), "nor when the list can't be read")

	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.SyncTag(ctx, tag, func(yield func(string, error) bool) {
		for i := 0; yield(ids[i%100], nil); i++ {
			if i == 1000 {
				cancel()
			}
		}
	})
	assert.ErrorIs(t, err, context.Canceled, "an input without end")
	assert.Equal(t, ids[:60], srv.TagFans(tag))
}

// A list that breaks off must not look like a complete one: whoever is missing in it would be removed.
func TestSyncRemovesNobodyAfterAListThatBrokeOff(t *testing.T) {
	const members = 30
	ids := testutil.OpenIDs(members)
	noCursor := regexp.MustCompile(`,"next_openid":"[^"]+"`)
	replace := func(text string) func(testutil.Sent, string) string {
		return func(_ testutil.Sent, body string) string { return noCursor.ReplaceAllString(body, text) }
	}
	for name, tt := range map[string]struct {
		respond func(req testutil.Sent, body string) string
		err     error
	}{
		"no cursor":    {replace(""), nil},
		"null cursor":  {replace(`,"next_openid":null`), nil},
		"empty cursor": {replace(`,"next_openid":""`), nil},
		"a goroutine that ends": {func(req testutil.Sent, body string) string {
			if strings.Contains(req.Query.Get("next_openid")+req.Body, ids[19]) {
				runtime.Goexit()
			}
			return body
		}, errors.New("broke off")},
	} {
		for list := range 2 {
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(members),
				wechatusertest.WithPageSize(10))
			tag := srv.AddTag("members", ids...)
			c := srv.Client(
				wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
					sent := testutil.Sent{Query: req.URL.Query(), Body: testutil.PeekBody(req)}
					resp, err := srv.Transport().RoundTrip(req)
					if err != nil || testutil.IsTokenPath(req.URL.Path) {
						return resp, err
					}
					body, err := io.ReadAll(resp.Body)
					if err != nil {
						return nil, err
					}
					return testutil.RespondJSON(tt.respond(sent, string(body)))(req)
				})))
			input := c.AllFans(t.Context())
			if list == 1 {
				input = c.AllTagFans(t.Context(), tag)
			}
			report, err := c.SyncTag(t.Context(), tag, input)
			if tt.err != nil {
				assert.ErrorContains(t, err, tt.err.Error(), name)
				assert.Zero(t, report.Unchanged, name)
			} else {
				assert.NoError(t, err, name)
				assert.Equal(t, members, report.Unchanged, name)
			}
			assert.Zero(t, report.Removed, name)
			assert.Equal(t, ids, srv.TagFans(tag), name)
		}
	}
}

func TestSyncReportsFailedAdditions(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 100)
	ids := testutil.OpenIDs(100)
	tag := srv.AddTag("members", ids[:10]...)
	srv.Unfollow(ids[50])
	foreign := wechatusertest.ForeignOpenID(0)
	report, err := c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(slices.Concat(ids[40:60], []string{foreign})...))
	assert.ErrorIs(t, err, wechatuser.CodeUserUnsubscribed)
	assert.ErrorIs(t, err, wechatuser.CodeOpenIDMismatch)
	assert.ErrorContains(t, err, "wechatuser: SyncTag: adding: 19 of 21 applied, 2 failed; first: ")
	assert.Equal(t, []string{ids[50], foreign}, report.Added.FailedOpenIDs())
	assert.Equal(t, 10, report.Removed.Applied, "the rest is removed")
	assert.Len(t, srv.TagFans(tag), 19)
}

func TestSyncRemovesNobodyAfterAddingWasStopped(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 100)
	ids := testutil.OpenIDs(100)
	tag := srv.AddTag("members", ids[:10]...)
	srv.FailNext(testutil.PathBatchTagging, wechatuser.CodeDailyQuotaExceeded, 1)
	report, err := c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[40:60]...))
	assert.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
	assert.Equal(t, wechatuser.SyncReport{Added: wechatuser.BulkReport{Calls: 1}, Calls: 3}, *report)
	assert.Equal(t, ids[:10], srv.TagFans(tag))

	srv.FailNext(testutil.PathBatchUntagging, wechatuser.CodeAPIUnauthorized, 1)
	report, err = c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(slices.Concat(ids[40:60], []string{"no openid"})...))
	assert.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized, "both tell")
	assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	assert.NotContains(t, err.Error(), "\n")
	assert.Equal(t, 20, report.Added.Applied)
	assert.Zero(t, report.Removed.Applied)
}

// A file with the line ends of Windows, or with a byte order mark, must not take the tag off those whom it lists.
func TestSyncKeepsWhoIsMiswritten(t *testing.T) {
	for _, around := range []string{"%s\r", " %s", "\ufeff%s", "%s\u200b\t", "\xff%s"} {
		for _, opts := range [][]wechatuser.SyncOption{nil, {wechatuser.WithDryRun()}} {
			srv, c, _ := testutil.NewAccount(t, 10)
			ids := testutil.OpenIDs(10)
			tag := srv.AddTag("members", ids[:6]...)
			report, err := c.SyncTag(t.Context(), tag,
				wechatuser.OpenIDs(ids[0], fmt.Sprintf(around, ids[1]), "no openid", ""), opts...)
			require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
			assert.Equal(t, []string{fmt.Sprintf(around, ids[1]), "no openid", ""}, report.Added.FailedOpenIDs())
			assert.Equal(t, 1, report.Unchanged)
			if opts == nil {
				assert.Equal(t, 4, report.Removed.Applied, "%q", around)
				assert.Equal(t, ids[:2], srv.TagFans(tag), "%q", around)
			} else {
				assert.Equal(t, ids[2:6], report.ToRemove, "%q", around)
			}
		}
	}
}

func TestSyncWaitsOutQuotasOfTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, _ := testutil.NewAccount(t, 100)
		ids := testutil.OpenIDs(100)
		tag := srv.AddTag("members", ids[:10]...)
		srv.FailNext(testutil.PathGetTagFans, wechatuser.CodeMinuteQuotaExceeded, 1)
		srv.FailNext(testutil.PathGetTagFans, wechatuser.CodeInvalidTagID, 2)
		start := time.Now()
		report, err := c.SyncTag(t.Context(), tag, wechatuser.OpenIDs(ids[:20]...))
		require.NoError(t, err)
		assert.Equal(t, 10, report.Added.Applied)
		assert.Equal(t, 3+2+1+1, report.Calls, "the rejected call, the list, tags/get, the tagging")
		assert.GreaterOrEqual(t, time.Since(start), time.Minute)

		_, err = c.SyncTag(t.Context(), 12345, wechatuser.OpenIDs(ids[:20]...))
		assert.ErrorIs(t, err, wechatuser.CodeInvalidTagID)
		assert.Equal(t, 2, srv.Calls(testutil.PathGetTags), "asked once more, and it does not exist")
	})
}

func TestEnsureTag(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	c := srv.Client()
	made, err := c.EnsureTag(t.Context(), "vip")
	require.NoError(t, err)
	assert.Equal(t, 1, srv.Calls(testutil.PathCreateTag))
	found, err := c.EnsureTag(t.Context(), "vip")
	require.NoError(t, err)
	assert.Equal(t, *made, *found)
	assert.Equal(t, 1, srv.Calls(testutil.PathCreateTag), "it is there already")
	assert.Equal(t, 2, srv.Calls(testutil.PathGetTags))

	_, err = c.EnsureTag(t.Context(), "")
	assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	assert.Equal(t, 2, srv.Calls(testutil.PathGetTags), "nothing was sent")
}

func TestEnsureTagCreatedConcurrently(t *testing.T) {
	const noTags, hasVIP = `{"tags":[]}`, `{"tags":[{"id":134,"name":"vip"}]}`
	tests := []struct {
		name string
		tags []testutil.Reply
		want error
	}{
		{
			"created by another program",
			[]testutil.Reply{testutil.RespondJSON(noTags), testutil.RespondJSON(hasVIP)},
			nil,
		},
		{
			"a name that is not allowed",
			[]testutil.Reply{testutil.RespondJSON(noTags), testutil.RespondJSON(noTags)},
			wechatuser.CodeInvalidTagName,
		},
		{
			"and no list",
			[]testutil.Reply{testutil.RespondJSON(noTags), testutil.RespondCode(48001)},
			wechatuser.CodeInvalidTagName,
		},
		{"no list to begin with", []testutil.Reply{testutil.RespondCode(48001)}, wechatuser.CodeAPIUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tags := testutil.Play(tt.tags...)
			c := testutil.NewClient(t,
				testutil.ByPath{
					testutil.PathGetTags: tags, testutil.PathCreateTag: testutil.Play(testutil.RespondCode(45157)),
				})
			tag, err := c.EnsureTag(t.Context(), "vip")
			assert.Equal(t, len(tt.tags), tags.Count())
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
				assert.Nil(t, tag)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, 134, tag.ID)
		})
	}
}

// A sync keeps openids, and not the pages that they came from: an input that is filtered from a list of all followers
// has one openid of each 10,000.
func TestSyncDoesNotRetainPages(t *testing.T) {
	const pages, pageSize, perPage, limit = 20, 10_000, 50, 300_000
	var held uint64
	base := liveHeap()
	c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == testutil.PathGetTagFans {
			held = liveHeap()
			return testutil.RespondPage(0, "")(req)
		}
		return million{}.RoundTrip(req)
	}))
	n := 0
	report, err := c.SyncTag(t.Context(), 100, func(yield func(string, error) bool) {
		for id, err := range c.AllFans(t.Context(), wechatuser.WithPrefetch(0)) {
			if n++; n > pages*pageSize || (n%(pageSize/perPage) == 0 || err != nil) && !yield(id, err) {
				return
			}
		}
	}, wechatuser.WithDryRun())
	require.NoError(t, err)
	assert.Len(t, report.ToAdd, pages*perPage)
	assert.Less(t, int64(held)-int64(base), int64(limit), "bytes for %d openids", pages*perPage)

	// Nor of the members.
	s := testutil.Play(testutil.RespondPage(0, testutil.Bob, testutil.Alice, testutil.Bob), testutil.RespondPage(0, ""),
		testutil.RespondJSON(testutil.OKBody))
	report, err = testutil.NewClient(t, s).SyncTag(t.Context(), 100, wechatuser.OpenIDs(), wechatuser.WithDryRun())
	require.NoError(t, err)
	assert.Equal(t, []string{testutil.Alice, testutil.Bob}, report.ToRemove)
}
