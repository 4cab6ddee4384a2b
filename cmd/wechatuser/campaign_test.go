package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// campaignAccount is an account with 300 followers. Follower i subscribed i hours ago; every third one scanned one of
// two QR codes. byShop7 scanned shop-7 in the last 10 days.
func campaignAccount() (srv *wechatusertest.Server, byShop7 []string) {
	srv = wechatusertest.NewServer()
	for i := range 300 {
		u := wechatuser.UserInfo{
			OpenID: wechatusertest.OpenID(i), SubscribeTime: time.Now().Add(-time.Duration(i)*time.Hour - time.Minute).Unix(),
		}
		if i%3 == 0 {
			u.SubscribeScene, u.QRSceneStr = wechatuser.SceneQRCode, []string{"shop-7", "shop-8"}[i%2]
			if i%2 == 0 && i < 240 {
				byShop7 = append(byShop7, u.OpenID)
			}
		}
		srv.AddUsers(u)
	}
	return srv, byShop7
}

var shop7 = []string{"campaign", "new", "--days", "10", "--scene", "ADD_SCENE_QR_CODE", "--qr", "shop-7"}

func TestCampaign(t *testing.T) {
	srv, want := campaignAccount()
	got := inProcess(t, testApp(t, srv), append(shop7, "--dry-run", "--json")...)
	require.Zero(t, got.code, got.stderr)
	var found segment
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &found))
	assert.Equal(t, segment{Read: 300, Selected: len(want), ToTag: want}, found)
	assert.Empty(t, srv.Tags())

	got = inProcess(t, testApp(t, srv), append(shop7, "--yes")...)
	require.Zero(t, got.code, got.stderr)
	assert.Equal(t, want, srv.TagFans(srv.Tags()[0].ID))

	calls := srv.Calls("/cgi-bin/tags/members/batchtagging")
	got = inProcess(t, testApp(t, srv), append(shop7, "--yes")...)
	assert.Zero(t, got.code)
	assert.Contains(t, got.stderr, "40 of 300 followers match, 40 of them have the tag already")
	assert.Equal(t, calls, srv.Calls("/cgi-bin/tags/members/batchtagging"))
}

// A campaign that the quota ends goes on where it says, and reads the earlier profiles no more.
func TestCampaignGoesOn(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(300),
		wechatusertest.WithQuota("/cgi-bin/tags/members/batchtagging", 3, 0))
	got := inProcess(t, testApp(t, srv), "campaign", "new", "--yes")
	assert.Equal(t, exitDeclined, got.code, "today's quota is too small")

	got = inProcess(t, testApp(t, srv), "campaign", "new", "--yes", "--over-quota")
	assert.Equal(t, exitStopped, got.code)
	again := []string{"campaign", "new", "--yes"}
	after := afterOf(t, got.stdout)
	if after != "" { // the first of the calls that ran side by side was among those that the quota allowed
		again = append(again, "--after", after)
	}

	srv.Advance(24 * time.Hour)
	got = inProcess(t, testApp(t, srv), again...)
	require.Zero(t, got.code, got.stderr)
	assert.Len(t, srv.TagFans(srv.Tags()[0].ID), 300)
	if i := slices.Index(srv.OpenIDs(), after); i >= 0 {
		assert.Contains(t, got.stderr, fmt.Sprintf(" of %d followers match", 300-1-i), "the others are not read again")
	}
}

// afterOf returns where a stopped run says to go on, "" if at the beginning.
func afterOf(t *testing.T, stdout string) string {
	t.Helper()
	require.Contains(t, stdout, "Stopped. To go on, ")
	if m := regexp.MustCompile(`add: --after (\S+)`).FindStringSubmatch(stdout); m != nil {
		return m[1]
	}
	return ""
}

// All scenes of the SDK are known; another one gets a warning, since the platform may have it.
func TestUnknownScene(t *testing.T) {
	source, err := os.ReadFile("../../types.go")
	require.NoError(t, err)
	for _, scene := range regexp.MustCompile(`"ADD_SCENE_\w+"`).FindAllString(string(source), -1) {
		assert.Contains(t, knownScenes, wechatuser.SubscribeScene(strings.Trim(scene, `"`)))
	}
	assert.Equal(t, exitUsage, inProcess(t, testApp(t, nil), "campaign", "new", "--days", "-3").code)
}
