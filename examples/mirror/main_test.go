package main

import (
	"bytes"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv("WECHAT_APPID")
	_ = os.Unsetenv("WECHAT_SECRET")
	goleak.VerifyTestMain(m)
}

// fixture is an account and its mirror. Its clock advances by an hour per run.
type fixture struct {
	*wechatusertest.Server
	file  string
	clock time.Time
	opts  []wechatuser.Option
}

func newFixture(t *testing.T, fans int) *fixture {
	t.Helper()
	f := &fixture{
		file:  filepath.Join(t.TempDir(), "a #1?%20.db"), // needs escaping in a URI
		clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	f.Server = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans),
		wechatusertest.WithClock(func() time.Time { return f.clock }), wechatusertest.WithPageSize(20))
	return f
}

// update runs the mirror once, with batches of 7 openids.
func (f *fixture) update(ctx context.Context, full, profiles bool) (string, error) {
	f.clock = f.clock.Add(time.Hour)
	m := mirror{
		wechat: f.Client(f.opts...), now: func() time.Time { return f.clock }, batch: 7,
		full: full, profiles: profiles,
	}
	var out bytes.Buffer
	err := m.update(ctx, f.file, true, &out)
	return out.String(), err
}

func (f *fixture) mustUpdate(t *testing.T, full, profiles bool) string {
	t.Helper()
	out, err := f.update(t.Context(), full, profiles)
	require.NoError(t, err)
	return out
}

// query returns the rows as lines.
func (f *fixture) query(t *testing.T, query string) (lines []string) {
	t.Helper()
	db, err := open(f.file, f.AppID)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.Query(query)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		cells, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		require.NoError(t, rows.Scan(targets...))
		var line []string
		for _, c := range cells {
			line = append(line, c.String)
		}
		lines = append(lines, strings.Join(line, " "))
	}
	require.NoError(t, rows.Err())
	return lines
}

const following = "SELECT openid FROM followers WHERE left_at = 0 ORDER BY openid"

// assertMirrors asserts that the database equals the account.
func (f *fixture) assertMirrors(t *testing.T) {
	t.Helper()
	var want []string
	for _, u := range f.Users() {
		want = append(want, fmt.Sprintf("%s|%s|%s|%s|%s|%d",
			u.OpenID, u.UnionID, u.Remark, tagsOf(u), u.SubscribeScene, u.SubscribeTime))
	}
	assert.ElementsMatch(t, want, f.query(t,
		"SELECT openid||'|'||unionid||'|'||remark||'|'||tags||'|'||scene||'|'||subscribed_at "+
			"FROM followers WHERE left_at = 0"))
}

func TestFirstRun(t *testing.T) {
	f := newFixture(t, 50)
	vip := f.AddTag("会员", wechatusertest.OpenID(3))
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-1", UnionID: "uFAKE-1", Remark: `"a", b`, TagIDList: []int{vip}})

	out := f.mustUpdate(t, false, false)

	assert.Contains(t, out, "51 new, 0 back, 0 left; 0 remarks, 0 tags and 0 unionids changed; 0 rejected.\n")
	f.assertMirrors(t)
	assert.Contains(t, f.query(t, "SELECT id, name FROM tags"), fmt.Sprint(vip, " 会员"))
	info, err := os.Stat(f.file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestIncrementalRun(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-new"})
	lists, profiles := f.Calls("/cgi-bin/user/get"), f.Calls("/cgi-bin/user/info/batchget")

	out := f.mustUpdate(t, false, false)

	assert.Equal(t, "new     oFAKE-new\n"+
		"1 new, 0 back, 0 left; 0 remarks, 0 tags and 0 unionids changed; 0 rejected.\n", out)
	assert.Equal(t, lists+2, f.Calls("/cgi-bin/user/get"), "the page and the end of the list")
	assert.Equal(t, profiles+1, f.Calls("/cgi-bin/user/info/batchget"))
	f.assertMirrors(t)
}

func TestLeaversAndReturners(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	a, b, c := wechatusertest.OpenID(10), wechatusertest.OpenID(20), wechatusertest.OpenID(49)

	f.Unfollow(a, b, c)
	assert.Contains(t, f.mustUpdate(t, false, false), "0 new, 0 back, 0 left;", "only -full detects them")
	profiles := f.Calls("/cgi-bin/user/info/batchget")
	out := f.mustUpdate(t, true, false)
	assert.Contains(t, out, "left    "+a+"\n")
	assert.Contains(t, out, "0 new, 0 back, 3 left;")
	assert.Equal(t, profiles+1, f.Calls("/cgi-bin/user/info/batchget"), "only missing followers are fetched")
	f.assertMirrors(t)

	f.clock = f.clock.Add(time.Minute)
	f.Follow(b)
	out = f.mustUpdate(t, true, false)
	assert.Equal(t, "back    "+b+"\n"+
		"0 new, 1 back, 0 left; 0 remarks, 0 tags and 0 unionids changed; 0 rejected.\n", out)
	f.assertMirrors(t)

	f.Unfollow(b)
	f.clock = f.clock.Add(time.Minute)
	f.Follow(b)
	assert.Contains(t, f.mustUpdate(t, true, true), "0 new, 1 back, 0 left;", "left and came back between two runs")
	assert.Equal(t, []string{a, c}, f.query(t, "SELECT openid FROM followers WHERE left_at > 0 ORDER BY openid"))
	assert.Equal(t, []string{"new", "left", "back", "back"},
		f.query(t, "SELECT what FROM changes WHERE openid = '"+b+"' ORDER BY n"))
}

// The platform requires an account to delete what it keeps of a user who has left.
func TestNothingIsKeptOfALeaver(t *testing.T) {
	f := newFixture(t, 0)
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", UnionID: "uFAKE1", Remark: "first", TagIDList: []int{100}})
	f.mustUpdate(t, false, false)
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", UnionID: "uFAKE1", Remark: "second", TagIDList: []int{100}})
	f.mustUpdate(t, true, true)
	f.Unfollow("oFAKE1")
	assert.Contains(t, f.mustUpdate(t, true, false), "1 left;")
	assert.Equal(t, []string{""},
		f.query(t, "SELECT unionid || remark || scene FROM followers WHERE openid = 'oFAKE1' AND left_at > 0"))
	assert.Equal(t, []string{"new", "remark", "left"},
		f.query(t, "SELECT what || old || new FROM changes WHERE openid = 'oFAKE1' ORDER BY n"))

	f.clock = f.clock.Add(time.Minute)
	f.Follow("oFAKE1")
	assert.Contains(t, f.mustUpdate(t, true, false), "1 back, 0 left; 0 remarks, 0 tags and 0 unionids changed")
	assert.Equal(t, []string{"uFAKE1"},
		f.query(t, "SELECT unionid FROM followers WHERE openid = 'oFAKE1' AND left_at = 0"))
}

func TestEverybodyLeft(t *testing.T) {
	f := newFixture(t, 5)
	f.mustUpdate(t, false, false)
	f.Unfollow(f.OpenIDs()...)

	assert.Contains(t, f.mustUpdate(t, true, false), "0 new, 0 back, 5 left;")
	assert.Empty(t, f.query(t, following))
}

// The platform rejects the cursor.
func TestInvalidCursor(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	f.query(t, "UPDATE place SET last = 'oFAKE-gone', sweep = sweep + 1, sweeping = 1, swept = 'oFAKE-gone'")
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-new"})
	f.Unfollow(wechatusertest.OpenID(7))

	assert.Contains(t, f.mustUpdate(t, false, false), "1 new, 0 back, 0 left;")
	assert.Contains(t, f.mustUpdate(t, true, false), "0 new, 0 back, 1 left;")
	f.assertMirrors(t)
}

func TestProfileChanges(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	id := wechatusertest.OpenID(5)
	c := f.Client()
	require.NoError(t, c.UpdateRemark(t.Context(), id, "金牌"))
	vip := f.AddTag("vip", id)

	assert.Contains(t, f.mustUpdate(t, true, false), "0 remarks, 0 tags", "profiles of known followers are not fetched")
	out := f.mustUpdate(t, true, true)

	assert.Contains(t, out, "remark  "+id+`  "" -> "金牌"`)
	assert.Contains(t, out, "tags    "+id+fmt.Sprintf(`  "[]" -> "[%d]"`, vip))
	assert.Contains(t, out, "1 remarks, 1 tags and 0 unionids changed")
	f.assertMirrors(t)
}

// cancelTransport cancels a run after a number of requests, during the next one.
type cancelTransport struct {
	next   http.RoundTripper
	left   atomic.Int32
	cancel context.CancelFunc
}

// cancelAfter makes the next runs of the fixture stop after a number of requests.
func (f *fixture) cancelAfter(requests int, cancel context.CancelFunc) {
	c := &cancelTransport{next: f.Transport(), cancel: cancel}
	c.left.Store(int32(requests))
	f.opts = []wechatuser.Option{wechatuser.WithTransport(c)}
}

func (c *cancelTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.left.Add(-1) < 0 {
		c.cancel()
		return nil, r.Context().Err()
	}
	return c.next.RoundTrip(r)
}

// Runs are stopped after 1, 2, 3… requests until they complete, and the account changes in between.
func TestStoppedAtEachRequest(t *testing.T) {
	change := func(f *fixture) {
		f.Unfollow(wechatusertest.OpenID(3), wechatusertest.OpenID(33))
		f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-new", Remark: "new"})
	}
	uninterrupted := newFixture(t, 60)
	uninterrupted.mustUpdate(t, false, false)
	change(uninterrupted)
	uninterrupted.mustUpdate(t, true, true)

	f := newFixture(t, 60)
	stops := 0
	finish := func(full, profiles bool) {
		for requests := 1; ; requests++ {
			ctx, cancel := context.WithCancel(t.Context())
			f.cancelAfter(requests, cancel)
			out, err := f.update(ctx, full, profiles)
			cancel()
			if err == nil {
				return
			}
			stops++
			require.ErrorIs(t, err, context.Canceled, out)
			require.ErrorContains(t, err, "stopped, run it again to resume")
		}
	}
	finish(false, false)
	f.assertMirrors(t)
	change(f)
	finish(true, true)

	f.assertMirrors(t)
	const history = "SELECT openid, what, old, new FROM changes ORDER BY openid, n"
	assert.Equal(t, uninterrupted.query(t, history), f.query(t, history), "no change is lost or recorded twice")
	assert.Greater(t, stops, 6)
}

// A run resumes where the previous one was stopped.
func TestResume(t *testing.T) {
	f := newFixture(t, 60)
	ctx, cancel := context.WithCancel(t.Context())
	f.cancelAfter(9, cancel)
	_, err := f.update(ctx, false, false)
	cancel()
	require.Error(t, err)
	done := len(f.query(t, following))
	require.Positive(t, done)
	f.opts = nil

	out := f.mustUpdate(t, false, false)

	assert.Contains(t, out, fmt.Sprintf("%d new,", 60-done))
	f.assertMirrors(t)
}

// A sweep resumes at the third page, where it was stopped.
func TestResumeSweep(t *testing.T) {
	f := newFixture(t, 60)
	f.mustUpdate(t, false, false)
	f.Unfollow(wechatusertest.OpenID(3), wechatusertest.OpenID(57))
	var pages atomic.Int32
	f.opts = []wechatuser.Option{wechatuser.WithInterceptor(
		func(
			ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
		) (wechatuser.Result, error) {
			if call.API == "getFans" && pages.Add(1) == 3 {
				return wechatuser.Result{}, &wechatuser.Error{API: call.API, Code: wechatuser.CodeDailyQuotaExceeded}
			}
			return next(ctx)
		})}
	out, err := f.update(t.Context(), true, false)
	require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
	assert.Contains(t, out, " 0 left;", "nobody is marked as left before the list is complete")
	f.opts = nil
	before := f.Calls("/cgi-bin/user/get")

	out = f.mustUpdate(t, true, false)

	assert.Contains(t, out, " 2 left;")
	assert.Equal(t, before+3, f.Calls("/cgi-bin/user/get"), "the two remaining pages and the end")
	f.assertMirrors(t)
}

// rewriteTransport changes response bodies.
type rewriteTransport struct {
	next    http.RoundTripper
	rewrite func(path, body string) string
}

func (w rewriteTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	text := w.rewrite(r.URL.Path, string(body))
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, err
}

func TestIncompleteList(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	id := wechatusertest.OpenID(5)
	var removed atomic.Int32
	rewrite := func(path, body string) string {
		if path == "/cgi-bin/user/get" && strings.Contains(body, `"`+id+`",`) {
			removed.Add(1)
			return strings.Replace(body, `"`+id+`",`, "", 1)
		}
		return body
	}
	f.opts = []wechatuser.Option{wechatuser.WithTransport(rewriteTransport{f.Transport(), rewrite})}

	out := f.mustUpdate(t, true, false)

	assert.Contains(t, out, " 0 left;", "the profile shows that the user follows")
	assert.EqualValues(t, 1, removed.Load())
	f.assertMirrors(t)
}

func TestRejectedProfiles(t *testing.T) {
	f := newFixture(t, 50)
	f.mustUpdate(t, false, false)
	gone := wechatusertest.OpenID(5)
	f.Unfollow(gone)
	f.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-odd"})
	f.RefuseProfiles(wechatuser.CodeInvalidOpenID, gone, "oFAKE-odd")

	out := f.mustUpdate(t, true, false)

	assert.Contains(t, out, "left    "+gone, "the account does not know the openid anymore")
	assert.Contains(t, out, "0 new, 0 back, 1 left;")
	assert.Contains(t, out, "1 rejected.", "listed, without a profile")
	f.ClearFaults()
	assert.Contains(t, f.mustUpdate(t, true, false), "new     oFAKE-odd")
	f.assertMirrors(t)
}

func TestAnotherAccount(t *testing.T) {
	f := newFixture(t, 3)
	f.mustUpdate(t, false, false)
	other := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithAccount("wxOTHER", "secret"))
	m := mirror{wechat: other.Client(), now: time.Now, batch: 7}

	err := m.update(t.Context(), f.file, false, io.Discard)

	assert.ErrorContains(t, err, "it is the mirror of "+f.AppID+", not of wxOTHER")
	assert.Zero(t, other.Calls("*"))
}

func TestRun(t *testing.T) {
	var out, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-db", filepath.Join(t.TempDir(), "m.db")}, &out, &stderr))
	assert.Equal(t, "Using an in-memory account with 1000 followers. "+
		"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", stderr.String())
	assert.Equal(t, "1000 new, 0 back, 0 left; 0 remarks, 0 tags and 0 unionids changed; 0 rejected.\n", out.String())
	assert.Error(t, run(t.Context(), []string{"-profiles"}, io.Discard, io.Discard))
	assert.Error(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard))
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Mirror (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}
