package export

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// someRows returns rows with text that could be mistaken for the end of a row.
func someRows() []row {
	remarks := []string{"", "two\nlines", `"`, "\"\n\"", "a,b\r\n,c\r", `\`, "\\\"\n", " x ", "=1+1", "'", "🍵"}
	var rows []row
	for i, remark := range remarks {
		rows = append(rows, row{
			user: wechatuser.UserInfo{
				OpenID: fmt.Sprintf("oFAKE-%d", i), Subscribe: 1, SubscribeTime: 1577836800, Remark: remark,
				TagIDList: []int{100 + i},
			},
			tags: []string{"tag\n" + remark},
		})
	}
	return append(rows,
		row{user: wechatuser.UserInfo{OpenID: "oFAKE-rejected"}, err: "40003 invalid openid"},
		row{user: wechatuser.UserInfo{OpenID: "oFAKE-rejected-too"}, err: "with a\nnew line,"},
		rows[0])
}

// A file that is truncated at any byte, as by a kill, is the same after resuming. So is one whose tail was replaced by
// zeros, as by a power failure.
func TestResumeAnywhere(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	for name, cfg := range map[string]Config{
		"csv":   {Format: "csv"},
		"excel": {Format: "csv", Excel: true},
		"jsonl": {Format: "jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "part")
			require.Equal(t, 0, resumeRows(t, cfg, path, rows), "the file is empty at first")
			whole, err := os.ReadFile(path)
			require.NoError(t, err)

			kept := make(map[int]bool)
			for cut := range len(whole) + 1 {
				for _, damaged := range [][]byte{
					whole[:cut],
					append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...),
					append(bytes.Clone(whole[:cut]), make([]byte, 3)...),
				} {
					require.NoError(t, os.WriteFile(path, damaged, 0o600))
					kept[resumeRows(t, cfg, path, rows)] = true
					got, err := os.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, string(whole), string(got), "cut at %d of %d", cut, len(whole))
				}
			}
			require.Len(t, kept, len(rows)+1, "each complete row is kept")
		})
	}
}

// What follows a block of zeros, which was not written before a power failure, is discarded.
func TestResumeAfterHole(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	for _, format := range []string{"csv", "jsonl"} {
		cfg := Config{Format: format}
		path := filepath.Join(t.TempDir(), "part")
		resumeRows(t, cfg, path, rows)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		for from := 0; from < len(whole); from += 7 {
			for _, size := range []int{1, 64, 256} {
				damaged := bytes.Clone(whole)
				clear(damaged[from:min(from+size, len(damaged))])
				require.NoError(t, os.WriteFile(path, damaged, 0o600))
				resumeRows(t, cfg, path, rows)
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(whole), string(got), "%d zeros at %d", size, from)
			}
		}
	}
}

// resumeRows writes the rows that are not in the file yet, and returns how many there were.
func resumeRows(t *testing.T, cfg Config, path string, rows []row) (found int) {
	t.Helper()
	s, err := openSink(cfg, path)
	require.NoError(t, err)
	require.NoError(t, s.resume(func(openID string, rejected bool) {
		require.Equal(t, rows[found].user.OpenID, openID)
		require.Equal(t, rows[found].err != "", rejected)
		found++
	}))
	require.NoError(t, s.write(rows[found:]))
	require.NoError(t, s.(*textFile).file.Close()) // close would sync thousands of times
	return found
}

// A database contains complete rows only, and is resumed after the last one.
func TestResumeSQLite(t *testing.T) {
	rows := someRows()
	rows[len(rows)-1].user.OpenID = "oFAKE-last"
	cfg := Config{Format: "sqlite"}
	path := filepath.Join(t.TempDir(), "part")
	for n := range rows {
		s, err := openSink(cfg, path)
		require.NoError(t, err)
		found := 0
		require.NoError(t, s.resume(func(openID string, rejected bool) {
			require.Equal(t, rows[found].user.OpenID, openID)
			require.Equal(t, rows[found].err != "", rejected)
			found++
		}))
		require.Equal(t, n, found)
		require.Error(t, s.write([]row{rows[n], rows[n]}), "with a duplicate, none is written")
		require.NoError(t, s.write(rows[n:n+1]))
		require.NoError(t, s.close())
	}
	for i, values := range table(t, path) {
		require.Equal(t, int64(i+1), values[0])
		require.Equal(t, rows[i].user.OpenID, values[1])
	}
}
