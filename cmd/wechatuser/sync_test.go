package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// syncAccount is an account with a tag, which its first 10 followers have.
func syncAccount() (srv *wechatusertest.Server, vip int) {
	srv = wechatusertest.NewServer(wechatusertest.WithFans(100))
	return srv, srv.AddTag("vip", srv.OpenIDs()[:10]...)
}

func syncWith(t *testing.T, srv *wechatusertest.Server, openIDs []string, args ...string) result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "members.txt")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(openIDs, "\n")), 0o600))
	return inProcess(t, testApp(t, srv), append([]string{"sync", "vip", file, "--yes"}, args...)...)
}

func TestSyncTwice(t *testing.T) {
	srv, vip := syncAccount()

	got := syncWith(t, srv, ids(3, 15))
	assert.Zero(t, got.code, got.stderr)
	assert.Equal(t, ids(3, 15), srv.TagFans(vip))

	before := srv.Calls("/cgi-bin/tags/members/batchtagging")
	got = syncWith(t, srv, ids(3, 15))
	assert.Zero(t, got.code)
	assert.Contains(t, got.stderr, "Nothing to do.")
	assert.Equal(t, before, srv.Calls("/cgi-bin/tags/members/batchtagging"))
}

// Rejected openids are listed with the reason and the line; all others are processed.
func TestSyncWithRejectedOpenIDs(t *testing.T) {
	srv, vip := syncAccount()
	srv.Unfollow(ids(20, 22)...)
	stranger := wechatusertest.ForeignOpenID(1)

	got := syncWith(t, srv, append(append(ids(5, 12), stranger), ids(20, 23)...))

	assert.Equal(t, exitRejected, got.code)
	assert.Equal(t, append(ids(5, 12), wechatusertest.OpenID(22)), srv.TagFans(vip))
	assert.Contains(t, got.stdout, "3 added, 5 removed, 5 unchanged, 3 rejected. API calls: ")
	assert.Contains(t, got.stdout, "1 could not be added: 49003, ")
	assert.Contains(t, got.stdout, "\n  "+stranger+"  line 8\n")
	assert.Contains(t, got.stdout, "2 could not be added: 50005, the user does not follow the account: ")
	assert.Contains(t, got.stdout, "\n  "+wechatusertest.OpenID(20)+"  line 9\n  "+wechatusertest.OpenID(21)+"  line 10\n")
	assert.Less(t, strings.Index(got.stdout, "49003"), strings.Index(got.stdout, "50005"))
}

// Removing more than half, as with the wrong file, takes --force.
func TestRemovingMoreThanHalf(t *testing.T) {
	for _, wanted := range [][]string{ids(6, 10), ids(50, 60), nil} {
		srv, vip := syncAccount()
		got := syncWith(t, srv, wanted)
		assert.Equal(t, exitDeclined, got.code)
		assert.Contains(t, got.stderr, "--force")
		assert.Equal(t, ids(0, 10), srv.TagFans(vip))
		assert.Zero(t, srv.Calls("/cgi-bin/tags/members/batchuntagging"))

		assert.Zero(t, syncWith(t, srv, wanted, "--force").code)
		assert.ElementsMatch(t, wanted, srv.TagFans(vip))
	}
	srv, vip := syncAccount()
	assert.Zero(t, syncWith(t, srv, ids(5, 10)).code, "exactly half is allowed")
	assert.Equal(t, ids(5, 10), srv.TagFans(vip))
	assert.Zero(t, syncWith(t, srv, ids(50, 51), "--keep").code)
	assert.Len(t, srv.TagFans(vip), 6)
}

// Nobody is removed if a list cannot be read or if adding was stopped.
func TestPlatformErrorRemovesNobody(t *testing.T) {
	for _, path := range []string{"/cgi-bin/tags/get", "/cgi-bin/user/tag/get", "/cgi-bin/tags/members/batchtagging"} {
		t.Run(path, func(t *testing.T) {
			srv, vip := syncAccount()
			srv.FailNext(path, wechatuser.CodeDailyQuotaExceeded, 1)

			got := syncWith(t, srv, ids(3, 15))

			assert.Contains(t, []int{exitFailed, exitStopped}, got.code)
			assert.Contains(t, got.stderr, "45009")
			assert.Equal(t, ids(0, 10), srv.TagFans(vip))
		})
	}
}
