package main

import (
	"bytes"
	"encoding/csv"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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

var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newAccount returns an account with 300 followers. Follower i subscribed i hours ago; every third one scanned one of
// two QR codes.
func newAccount() (srv *wechatusertest.Server, byShop7 []string) {
	srv = wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithClock(func() time.Time { return today }))
	for i := range 300 {
		followed := today.Add(-time.Duration(i) * time.Hour)
		u := wechatuser.UserInfo{OpenID: wechatusertest.OpenID(i), SubscribeTime: followed.Unix()}
		if i%3 == 0 {
			u.SubscribeScene, u.QRSceneStr = wechatuser.SceneQRCode, []string{"shop-7", "shop-8"}[i%2]
			if i%2 == 0 && i <= 240 {
				byShop7 = append(byShop7, u.OpenID)
			}
		}
		srv.AddUsers(u)
	}
	return srv, byShop7
}

// newCampaign selects the followers who scanned shop-7 in the last 10 days.
func newCampaign(t *testing.T, srv *wechatusertest.Server) *campaign {
	t.Helper()
	return &campaign{
		wechat: srv.Client(), tag: "新客", report: filepath.Join(t.TempDir(), "refused.csv"), out: io.Discard,
		rule: rule{since: today.AddDate(0, 0, -10), scene: wechatuser.SceneQRCode, qr: "shop-7"},
	}
}

func runCampaign(t *testing.T, cp *campaign) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cp.out = &out
	err := cp.run(t.Context())
	return out.String(), err
}

func tagNamed(t *testing.T, srv *wechatusertest.Server, name string) int {
	t.Helper()
	i := slices.IndexFunc(srv.Tags(), func(t wechatuser.Tag) bool { return t.Name == name })
	require.GreaterOrEqual(t, i, 0)
	return srv.Tags()[i].ID
}

func TestDryRun(t *testing.T) {
	srv, want := newAccount()

	out, err := runCampaign(t, newCampaign(t, srv))

	require.NoError(t, err)
	require.Len(t, want, 41)
	assert.Equal(t, "The tag \"新客\" does not exist; -apply creates it.\n  "+
		strings.Join(want[:3], "\n  ")+"\n  and 38 more\n"+
		"41 of 300 followers selected, 0 of them already tagged; 0 without a profile.\n"+
		"Dry run, nothing changed. With -apply: 41 followers to tag, API calls: 1.\n", out)
	assert.Empty(t, srv.Tags())
}

func TestApply(t *testing.T) {
	srv, want := newAccount()
	cp := newCampaign(t, srv)
	cp.apply = true

	out, err := runCampaign(t, cp)

	require.NoError(t, err)
	assert.Equal(t, "41 of 300 followers selected, 0 of them already tagged; "+
		"41 tagged, 0 rejected; 0 without a profile.\n", out)
	assert.Equal(t, want, srv.TagFans(tagNamed(t, srv, "新客")))
	assert.NoFileExists(t, cp.report)

	calls := srv.Calls("/cgi-bin/tags/members/batchtagging")
	cp = newCampaign(t, srv)
	cp.apply = true
	out, err = runCampaign(t, cp)
	require.NoError(t, err)
	assert.Contains(t, out, "41 of them already tagged; 0 tagged")
	assert.Equal(t, calls, srv.Calls("/cgi-bin/tags/members/batchtagging"), "tagged followers are skipped")
}

func TestRejectedOpenIDs(t *testing.T) {
	srv, want := newAccount()
	full := wechatuser.UserInfo{
		OpenID: want[5], SubscribeTime: today.Unix(), SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7",
	}
	for i := range 20 {
		full.TagIDList = append(full.TagIDList, srv.AddTag(string(rune('a'+i))))
	}
	srv.AddUsers(full)
	cp := newCampaign(t, srv)
	cp.apply = true

	out, err := runCampaign(t, cp)

	assert.ErrorIs(t, err, wechatuser.CodeTooManyTagsOnUser)
	assert.Contains(t, out, "40 tagged, 1 rejected")
	assert.Contains(t, out, "The rejected openids are in "+cp.report)
	assert.NotContains(t, out, "-after", "the job completed")
	rows := readCSV(t, cp.report)
	require.Len(t, rows, 2)
	assert.Equal(t, []string{"openid", "errcode", "meaning", "含义", "rid"}, rows[0])
	code := wechatuser.CodeTooManyTagsOnUser
	assert.Equal(t, []string{want[5], "45059", code.Meaning(), code.MeaningZH()}, rows[1][:4])
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, rows[1][4])
	assert.Len(t, srv.TagFans(tagNamed(t, srv, "新客")), 40)
}

func readCSV(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	return rows
}

func TestResume(t *testing.T) {
	srv, _ := newAccount()
	srv.AddTag("新客")
	all := srv.OpenIDs()
	cp := newCampaign(t, srv)
	cp.apply, cp.rule = true, rule{}
	quota := &quotaTransport{next: srv.Transport(), before: []string{all[0], all[50], all[100]}, fail: all[150]}
	quota.wait.Add(len(quota.before))
	cp.wechat = srv.Client(wechatuser.WithTransport(quota))

	out, err := runCampaign(t, cp)

	require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
	assert.Contains(t, out, "The job was stopped. To resume it, add: -after "+all[149]+"\n")
	assert.NotContains(t, srv.TagFans(tagNamed(t, srv, "新客")), all[150])

	read := srv.Calls("/cgi-bin/user/info/batchget")
	cp = newCampaign(t, srv)
	cp.apply, cp.rule, cp.after = true, rule{}, all[149]
	out, err = runCampaign(t, cp)

	require.NoError(t, err, out)
	assert.Equal(t, all, srv.TagFans(tagNamed(t, srv, "新客")))
	assert.Equal(t, read+2, srv.Calls("/cgi-bin/user/info/batchget"),
		"150 profiles; the earlier ones are not read again")
}

// quotaTransport responds with the daily quota error to the call that tags fail, after those that tag before.
type quotaTransport struct {
	next   http.RoundTripper
	before []string
	fail   string
	wait   sync.WaitGroup
}

func (q *quotaTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/cgi-bin/tags/members/batchtagging" {
		return q.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(body, []byte(q.fail)) {
		q.wait.Wait()
		text := `{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 5f0000aa-11223344-55667788"}`
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		}, nil
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := q.next.RoundTrip(r)
	for _, openID := range q.before {
		if bytes.Contains(body, []byte(openID)) {
			q.wait.Done()
		}
	}
	return resp, err
}

func TestRunInMemory(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-apply"}, &out, io.Discard))
	assert.Contains(t, out.String(),
		"Using an in-memory account with 2500 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n")
	assert.Contains(t, out.String(), "1000 done\n2000 done\n2500 of 2500 followers selected")
	assert.Error(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard))
	assert.ErrorContains(t, run(t.Context(), []string{"-days", "-3"}, io.Discard, io.Discard),
		"-days must not be negative")
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Campaign (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`, help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
}

// All scenes of the SDK are known; another one gets a warning, since the platform may have it.
func TestUnknownScene(t *testing.T) {
	source, err := os.ReadFile("../../types.go")
	require.NoError(t, err)
	for _, scene := range regexp.MustCompile(`"ADD_SCENE_\w+"`).FindAllString(string(source), -1) {
		var stderr bytes.Buffer
		require.NoError(t, run(t.Context(), []string{"-scene", strings.Trim(scene, `"`)}, io.Discard, &stderr))
		assert.Empty(t, stderr.String())
	}
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-scene", "NOPE"}, &stdout, &stderr))
	assert.Regexp(t, `^warning: unknown scene NOPE may match nobody.* ADD_SCENE_QR_CODE .*\n$`, stderr.String())
	assert.Contains(t, stdout.String(), "0 of 2500 followers selected")
}
