package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// someRows are rows with all that could be mistaken for the end of one.
func someRows() []row {
	remarks := []string{"", "two\nlines", `"`, "\"\n\"", "a,b\r\n,c\r", `\`, "\\\"\n", " x ", "=1+1", "'", "🍵"}
	var rows []row
	for i, remark := range remarks {
		rows = append(rows, row{
			user: wechatuser.UserInfo{OpenID: fmt.Sprintf("oFAKE-%d", i), Subscribe: 1, SubscribeTime: 1577836800, Remark: remark, TagIDList: []int{100 + i}},
			tags: []string{"tag\n" + remark},
		})
	}
	return append(rows,
		row{user: wechatuser.UserInfo{OpenID: "oFAKE-refused"}, err: "40003 invalid openid"},
		row{user: wechatuser.UserInfo{OpenID: "oFAKE-refused-too"}, err: "with a\nnew line,"},
		rows[0])
}

// TestResumeAnywhere cuts a file at each of its bytes, as a kill can, and goes on: the file is as if nothing had
// happened. So it is if the power failed, and what was not on the disk has become zeros.
func TestResumeAnywhere(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	for name, cfg := range map[string]config{
		"csv":   {format: "csv"},
		"excel": {format: "csv", excel: true},
		"jsonl": {format: "jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "part")
			require.Equal(t, 0, goOn(t, cfg, path, rows), "nothing is there in the beginning")
			whole, err := os.ReadFile(path)
			require.NoError(t, err)

			kept := make(map[int]bool)
			for cut := range len(whole) + 1 {
				for _, torn := range [][]byte{
					whole[:cut],
					append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...),
					append(bytes.Clone(whole[:cut]), make([]byte, 3)...),
				} {
					require.NoError(t, os.WriteFile(path, torn, 0o600))
					kept[goOn(t, cfg, path, rows)] = true
					got, err := os.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, string(whole), string(got), "cut at %d of %d", cut, len(whole))
				}
			}
			require.Len(t, kept, len(rows)+1, "each row is kept as soon as it is whole")
		})
	}
}

// TestHole: what follows a block that never came to the disk is not trusted.
func TestHole(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	for _, format := range []string{"csv", "jsonl"} {
		cfg := config{format: format}
		path := filepath.Join(t.TempDir(), "part")
		goOn(t, cfg, path, rows)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		for from := 0; from < len(whole); from += 7 {
			for _, size := range []int{1, 64, 256} {
				torn := bytes.Clone(whole)
				clear(torn[from:min(from+size, len(torn))])
				require.NoError(t, os.WriteFile(path, torn, 0o600))
				goOn(t, cfg, path, rows)
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(whole), string(got), "%d zeros at %d", size, from)
			}
		}
	}
}

// goOn writes those of rows that are not in a file yet, and tells how many were.
func goOn(t *testing.T, cfg config, path string, rows []row) (found int) {
	t.Helper()
	s, err := openSink(cfg, path)
	require.NoError(t, err)
	require.NoError(t, s.resume(func(openID string, refused bool) {
		require.Equal(t, rows[found].user.OpenID, openID)
		require.Equal(t, rows[found].err != "", refused)
		found++
	}))
	require.NoError(t, s.write(rows[found:]))
	require.NoError(t, s.(*textFile).file.Close()) // close would wait for the disk, thousands of times
	return found
}

// TestResumeSQLite: a database has whole rows only, and goes on behind them.
func TestResumeSQLite(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	cfg := config{format: "sqlite"}
	path := filepath.Join(t.TempDir(), "part")
	for n := range rows {
		s, err := openSink(cfg, path)
		require.NoError(t, err)
		found := 0
		require.NoError(t, s.resume(func(openID string, refused bool) {
			require.Equal(t, rows[found].user.OpenID, openID)
			require.Equal(t, rows[found].err != "", refused)
			found++
		}))
		require.Equal(t, n, found)
		require.Error(t, s.write([]row{rows[n], rows[n]}), "one of them twice: none is written")
		require.NoError(t, s.write(rows[n:n+1]))
		require.NoError(t, s.close())
	}
	for i, values := range table(t, path) {
		require.Equal(t, int64(i+1), values[0])
		require.Equal(t, rows[i].user.OpenID, values[1])
	}
}
