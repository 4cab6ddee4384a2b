package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

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

func TestUpdate(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(50))
	file := filepath.Join(t.TempDir(), "a #1?%20.db") // needs escaping in a URI
	db, err := open(file)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	followers := func() (list []string) {
		rows, err := db.QueryContext(t.Context(), "SELECT openid FROM wechat_followers WHERE left_at IS NULL")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var s string
			require.NoError(t, rows.Scan(&s))
			list = append(list, s)
		}
		require.NoError(t, rows.Err())
		return list
	}
	var out bytes.Buffer
	again := func(openIDsOnly, force bool) error {
		out.Reset()
		return update(t.Context(), srv.Client(), db, 0, openIDsOnly, force, &out)
	}

	require.NoError(t, again(false, false))
	assert.Equal(t, "50 listed, 50 added, 50 profiles read, 0 failed, 0 removed, 0 kept, 4 calls\n", out.String())
	assert.ElementsMatch(t, srv.OpenIDs(), followers())

	srv.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE-1"})
	srv.Unfollow(wechatusertest.OpenID(3))
	require.NoError(t, again(true, false))
	assert.Contains(t, out.String(), "50 listed, 1 added, 0 profiles read, 0 failed, 1 removed")
	assert.ElementsMatch(t, srv.OpenIDs(), followers())

	srv.Unfollow(srv.OpenIDs()...)
	require.ErrorContains(t, again(false, false), "more than half")
	require.NoError(t, again(false, true))
	assert.Empty(t, followers())

	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	file := filepath.Join(t.TempDir(), "mirror.db")
	require.NoError(t, run(t.Context(), []string{"-db", file}, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "1000 listed, 1000 added")
	assert.Contains(t, stderr.String(), "in-memory account")
	require.ErrorIs(t, run(context.Background(), []string{"-help"}, &stdout, &stderr), flag.ErrHelp)
	t.Setenv("WECHAT_APPID", "wx0000000000000001")
	require.Error(t, run(t.Context(), []string{"-db", file}, &stdout, &stderr), "the secret is missing")
}
