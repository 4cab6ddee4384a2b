package main

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	testPushToken  = "fakePushToken"
	testPushAESKey = "fakeAESKey0fakeAESKey1fakeAESKey2fakeAESKey"
)

// inTable returns the followers in a table of the default name, in order.
func inTable(t *testing.T, file string) (openIDs []string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT openid FROM wechat_followers WHERE left_at IS NULL ORDER BY openid")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var openID string
		require.NoError(t, rows.Scan(&openID))
		openIDs = append(openIDs, openID)
	}
	require.NoError(t, rows.Err())
	return openIDs
}

func sorted(openIDs []string) []string { return slices.Sorted(slices.Values(openIDs)) }

// The table follows the account from run to run.
func TestMirror(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wechatusertest.WithFans(250))
	in := invocation{env: credentials(srv), dir: t.TempDir()}
	file := filepath.Join(in.dir, "crm.db")
	mirror := func(args ...string) outcome {
		t.Helper()
		in.args = append([]string{"mirror", "--db", "crm.db"}, args...)
		got := in.run(t)
		assert.Zero(t, got.code, got.stderr)
		return got
	}
	got := mirror()
	assert.Contains(t, got.stdout, "250 followers in crm.db: 250 added, 0 removed, 250 profiles read. API calls: 6, ")
	assert.Contains(t, got.stderr, "It takes 3 API calls")
	assert.Equal(t, sorted(srv.OpenIDs()), inTable(t, file))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	srv.Unfollow(srv.OpenIDs()[:3]...)
	srv.Follow(wechatusertest.OpenID(1000))
	got = mirror("--reconcile", "--json")
	var report walkJSON
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
	assert.Equal(t, walkJSON{
		Walk: "reconcile", Database: "crm.db", Complete: true, Followers: 248, Listed: 248, Added: 1, Removed: 3, Calls: 4,
	}, report)
	assert.Equal(t, sorted(srv.OpenIDs()), inTable(t, file))
	assert.Contains(t, mirror().stdout, "0 added, 0 removed, 1 profile read.", "of the one who was added")
	assert.Contains(t, mirror("--profiles", "0s", "--lang", "zh").stdout, "crm.db 中现有 248 个用户：新增 0 个，移除 0 个，读取 248 条用户信息。")

	// Nobody is removed by mistake.
	srv.Unfollow(srv.OpenIDs()[:200]...)
	in.args = []string{"mirror", "--db", "crm.db"}
	failed := in.run(t)
	assert.Equal(t, exitFailed, failed.code)
	assert.Contains(t, failed.stderr, "--force")
	assert.Len(t, inTable(t, file), 248)
	mirror("--force")
	assert.Equal(t, sorted(srv.OpenIDs()), inTable(t, file))

	// A table belongs to one account.
	other := newServer(t, wechatusertest.WithAccount("wxfa4e00000000fa4f", strings.Repeat("0", 32)))
	in.env = credentials(other)
	failed = in.run(t)
	assert.Equal(t, exitFailed, failed.code)
	assert.Contains(t, failed.stderr, "the database crm.db: ")
	in.args = append(in.args, "--prefix", "other_")
	assert.Zero(t, in.run(t).code)
}

// With --listen, pushes change the table at once. Nothing secret is printed, and no openid.
func TestMirrorListens(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wechatusertest.WithFans(50))
	in := invocation{
		args: []string{"mirror", "--listen", "127.0.0.1:0", "--path", "/push"}, dir: t.TempDir(),
		env: append(credentials(srv), "WECHAT_PUSH_TOKEN="+testPushToken, "WECHAT_PUSH_AES_KEY="+testPushAESKey,
			"WECHATUSER_DB=crm.db"),
	}
	file := filepath.Join(in.dir, "crm.db")
	s := in.start(t, os.Interrupt)
	url := s.line(t)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/push$`, url)
	assert.Contains(t, s.line(t), "50 followers in crm.db: 50 added, ")

	srv.SetPushes(wechatusertest.PushConfig{
		URL: url, Token: testPushToken, EncodingAESKey: testPushAESKey, Mode: wechatusertest.PushSafe,
	})
	require.NoError(t, srv.VerifyPushURL(t.Context()))
	left := srv.OpenIDs()[7]
	srv.Unfollow(left)
	for i := range 20 {
		srv.Follow(wechatusertest.OpenID(100 + i))
	}
	require.NoError(t, srv.WaitPushes(t.Context()))
	assert.Equal(t, wechatusertest.PushTotals{Delivered: 21, Attempts: 21}, srv.PushTotals())
	assert.Equal(t, sorted(srv.OpenIDs()), inTable(t, file))
	assert.NotContains(t, inTable(t, file), left)

	// What is forged, plain or elsewhere is refused.
	srv.SetPushes(wechatusertest.PushConfig{URL: url, Token: testPushToken})
	srv.Follow(wechatusertest.OpenID(200))
	srv.Advance(10 * time.Second) // for the three attempts
	require.NoError(t, srv.WaitPushes(t.Context()))
	assert.Equal(t, 1, srv.PushTotals().Failed, "it is not encrypted")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"": http.StatusForbidden, "/more": http.StatusNotFound} {
		resp, err := client.Post(url+path, "text/xml", strings.NewReader("<xml/>"))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, want, resp.StatusCode)
	}

	rest, code := s.stop()
	assert.Equal(t, exitOK, code, "Ctrl-C is how a server ends: %s", s.stderr)
	assert.Contains(t, s.stderr.String(), `"a push was applied","event":"unsubscribe"`)
	for _, hidden := range []string{
		testPushToken, testPushAESKey, srv.Secret, srv.AccessToken(), left, wechatusertest.OpenID(100),
	} {
		assert.NotContains(t, rest+s.stderr.String(), hidden)
	}
}

// A comparison that fails does not end the service.
func TestMirrorListensThoughAWalkFails(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wechatusertest.WithFans(5), wechatusertest.WithQuota("/cgi-bin/user/get", 1, 0))
	in := invocation{
		args: []string{"mirror", "--listen", "127.0.0.1:0", "--over-quota", "--plain"}, dir: t.TempDir(),
		env: append(credentials(srv), "WECHAT_PUSH_TOKEN="+testPushToken),
	}
	s := in.start(t, os.Interrupt)
	url := s.line(t)
	assert.Contains(t, s.line(t), "0 followers in followers.db: 0 added, ")
	srv.SetPushes(wechatusertest.PushConfig{URL: url, Token: testPushToken})
	srv.Follow(wechatusertest.OpenID(9))
	require.NoError(t, srv.WaitPushes(t.Context()))
	assert.Equal(t, []string{wechatusertest.OpenID(9)}, inTable(t, filepath.Join(in.dir, "followers.db")))
	_, code := s.stop()
	assert.Equal(t, exitOK, code)
	assert.Contains(t, s.stderr.String(), "the table was not compared with the list of followers")
	assert.Contains(t, s.stderr.String(), "45009")

	srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeInvalidSecret, 1)
	got := in.run(t)
	assert.Equal(t, exitFailed, got.code, "no token: it does not begin")
	assert.Empty(t, got.stdout)
}

// In one command, an account in memory pushes to the listener, and users come and go.
func TestMirrorSandboxListens(t *testing.T) {
	t.Parallel()
	for lang, want := range map[string]string{"en": "followers in followers.db: ", "zh": "followers.db 中现有 "} {
		dir := t.TempDir()
		s := invocation{
			args: []string{"--sandbox", "--lang", lang, "mirror", "--listen", "127.0.0.1:0", "--every", "10ms"}, dir: dir,
		}.start(t, syscall.SIGTERM)
		assert.Regexp(t, `^http://127\.0\.0\.1:\d+/wechat$`, s.line(t))
		for range 3 {
			assert.Contains(t, s.line(t), want)
		}
		_, code := s.stop()
		assert.Contains(t, []int{exitOK, exitStopped}, code, "4 if it was within a comparison")
		assert.Contains(t, s.stderr.String(), "the platform has verified the URL")
		assert.InDelta(t, 1000, len(inTable(t, filepath.Join(dir, "followers.db"))), 5)
	}
}

// With --profiles, they are read again each time, and not only those of newcomers.
func TestMirrorListenProfiles(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"--profiles 0s": {"full", "full", "full"},
		"--no-profiles": {"full", "reconcile", "reconcile"},
	} {
		s := invocation{args: append([]string{
			"--sandbox", "--sandbox-fans", "20", "--json", "mirror", "--listen", "127.0.0.1:0", "--every", "10ms",
		}, strings.Fields(args)...)}.start(t, os.Interrupt)
		s.line(t)
		for _, walk := range want {
			var report walkJSON
			require.NoError(t, json.Unmarshal([]byte(s.line(t)), &report))
			assert.Equal(t, walk, report.Walk)
			assert.True(t, report.Complete)
			assert.InDelta(t, 20, report.Followers, 2)
			assert.Equal(t, args != "--no-profiles", report.Profiles >= 18)
		}
		s.stop()
	}
}

func TestMirrorListenJSON(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config.toml")
	srv := newServer(t, wechatusertest.WithFans(5))
	require.NoError(t, os.WriteFile(config, []byte(`[accounts.shop]
appid = "`+srv.AppID+`"
secret = "`+srv.Secret+`"
base_url = "`+srv.URL+`"
push_token = "`+testPushToken+`"
push_aes_key = "`+testPushAESKey+`"
`), 0o600))
	args := []string{"--config", config, "--json", "mirror", "--listen", "127.0.0.1:0"}
	s := invocation{args: args}.start(t, os.Interrupt)
	var where struct {
		URL      string `json:"url"`
		AppID    string `json:"appid"`
		Database string `json:"database"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.line(t)), &where))
	assert.Equal(t, srv.AppID, where.AppID)
	assert.Equal(t, "followers.db", where.Database)
	var report walkJSON
	require.NoError(t, json.Unmarshal([]byte(s.line(t)), &report))
	assert.Equal(t, 5, report.Profiles)
	srv.SetPushes(wechatusertest.PushConfig{
		URL: where.URL, Token: testPushToken, EncodingAESKey: testPushAESKey, Mode: wechatusertest.PushSafe,
	})
	require.NoError(t, srv.VerifyPushURL(t.Context()))
	_, code := s.stop()
	assert.Equal(t, exitOK, code)
}

// A walk that is interrupted says so, and the next one resumes.
func TestMirrorInterrupted(t *testing.T) {
	var a *app
	batches := 0
	hook := func(r wechatusertest.Request) {
		if r.Path == "/cgi-bin/user/info/batchget" {
			if batches++; batches == 15 {
				a.interrupt()
			}
		}
	}
	srv := wechatusertest.NewServer(wechatusertest.WithFans(2500), wechatusertest.WithRequestHook(hook))
	file := filepath.Join(t.TempDir(), "followers.db")
	a = testApp(t, srv)
	got := inProcess(t, a, "mirror", "--db", file, "--concurrency", "1")
	assert.Equal(t, exitStopped, got.code, got.stderr)
	assert.Contains(t, got.stderr, "wechatuser: interrupted\nTo go on, run it again")
	assert.Contains(t, got.stdout, "1000 followers in ")

	a = testApp(t, srv)
	got = inProcess(t, a, "mirror", "--db", file, "--json")
	assert.Equal(t, exitOK, got.code, got.stderr)
	var report walkJSON
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
	assert.True(t, report.Resumed)
	assert.Equal(t, 1500, report.Profiles)
	assert.Equal(t, sorted(srv.OpenIDs()), inTable(t, file))
}

// A walk that today's quota cannot hold is not begun.
func TestMirrorQuota(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wechatusertest.WithFans(250), wechatusertest.WithQuota("/cgi-bin/user/info/batchget", 2, 0))
	in := invocation{args: []string{"mirror"}, env: credentials(srv), dir: t.TempDir()}
	got := in.run(t)
	assert.Equal(t, exitDeclined, got.code)
	assert.Zero(t, srv.Calls("/cgi-bin/user/info/batchget"))

	in.args = append(in.args, "--over-quota")
	got = in.run(t)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "45009")
}

func TestMirrorArguments(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	with := func(env ...string) []string { return append(credentials(srv), env...) }
	for want, in := range map[string]invocation{
		"--path requires --listen":                {args: []string{"--path", "/x"}},
		"--every 须与 --listen 一起使用":                {args: []string{"--every", "1h", "--lang", "zh"}},
		"--profiles must not be negative":         {args: []string{"--profiles", "-1h"}},
		"--profiles goes with neither":            {args: []string{"--profiles", "1h", "--reconcile"}},
		"--concurrency must be at least 1":        {args: []string{"--concurrency", "0"}},
		"do not go together":                      {args: []string{"--reconcile", "--listen", ":0"}},
		`--listen "8080" must be like`:            {args: []string{"--listen", "8080"}},
		`--path "x" must begin with /`:            {args: []string{"--listen", ":0", "--path", "x"}},
		"--every must be at least 1m0s":           {args: []string{"--listen", ":0", "--every", "1s"}},
		"--db must not have a password":           {args: []string{"--db", "mysql://u:hidden@h/d"}},
		"the database must be a file, or a URL":   {args: []string{"--db", "oracle://u@h/d"}},
		"--prefix must have up to 40":             {args: []string{"--prefix", "a-b"}},
		"set WECHAT_PUSH_TOKEN to the Token":      {args: []string{"--listen", ":0"}},
		"set WECHAT_PUSH_AES_KEY to the Encoding": {args: []string{"--listen", ":0"}, env: with("WECHAT_PUSH_TOKEN=x")},
		"数据库须为文件，或 PostgreSQL、MySQL 的 URL 或 DSN": {
			args: []string{"--lang", "zh"}, env: with("WECHATUSER_DB=oracle://u:hidden@h/d"),
		},
		"EncodingAESKey: ": {
			args: []string{"--listen", ":0"}, env: with("WECHAT_PUSH_TOKEN=x", "WECHAT_PUSH_AES_KEY=hidden"),
		},
	} {
		in.args = append([]string{"mirror"}, in.args...)
		if in.env == nil {
			in.env = credentials(srv)
		}
		got := in.run(t)
		assert.Equal(t, exitUsage, got.code, want)
		assert.Contains(t, got.stderr, want)
		assert.NotContains(t, got.stderr, "hidden")
		assert.Empty(t, got.stdout)
	}
	pushes := with("WECHAT_PUSH_TOKEN="+testPushToken, "WECHAT_PUSH_AES_KEY="+testPushAESKey)
	got := invocation{args: []string{"mirror", "--db", "nowhere/x.db"}, env: pushes}.run(t)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "the database nowhere/x.db: ")
	taken := strings.TrimPrefix(srv.URL, "http://")
	busy := invocation{args: []string{"mirror", "--listen", taken}, env: pushes}.run(t)
	assert.Equal(t, exitFailed, busy.code)
	assert.Contains(t, busy.stderr, "address already in use")
}
