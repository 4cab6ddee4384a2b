package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// threeFans returns an account whose followers have text that needs escaping.
func threeFans() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	vip, shanghai := srv.AddTag("VIP"), srv.AddTag("上海")
	srv.AddUsers(
		wechatuser.UserInfo{
			OpenID: "oFAKE-1", UnionID: "uFAKE-1", SubscribeTime: 1577836800, Remark: `a "b", c`,
			TagIDList: []int{vip, shanghai},
		},
		wechatuser.UserInfo{
			OpenID: "-FAKE-2", SubscribeTime: 1577836801, SubscribeScene: wechatuser.SceneQRCode,
			QRScene: 7, QRSceneStr: "<7>&", Remark: "=1+1",
		},
		wechatuser.UserInfo{OpenID: "oFAKE-3", SubscribeTime: 1577836802, Remark: "two\nlines"},
	)
	return srv
}

// reject responds with 40003 to each request that contains an openid.
func reject(openID string) func(*http.Request, string) string {
	return func(_ *http.Request, body string) string {
		if strings.Contains(body, openID) {
			return `{"errcode":40003,"errmsg":"invalid openid rid: 5f0000aa-11223344-55667788"}`
		}
		return ""
	}
}

func TestCSV(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")

	result, err := exportFrom(t, &accountTransport{srv: threeFans(), respond: reject("oFAKE-3")}, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, strings.Join([]string{
		"openid,unionid,subscribe,subscribe_time,subscribe_scene,qr_scene,qr_scene_str,remark,tagid_list,tags,error",
		`oFAKE-1,uFAKE-1,1,2020-01-01 08:00:00,ADD_SCENE_SEARCH,0,,"a ""b"", c",100;101,VIP;上海,`,
		`-FAKE-2,,1,2020-01-01 08:00:01,ADD_SCENE_QR_CODE,7,<7>&,=1+1,,,`,
		`oFAKE-3,,,,,,,,,,40003 invalid openid`,
		"",
	}, "\n"), read(t, file))
	assert.Equal(t, Result{Rows: 3, Rejected: 1}, result)
}

func TestCSVForExcel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")

	_, err := exportFrom(t, &accountTransport{srv: threeFans()}, Config{File: file, Excel: true})

	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(read(t, file), "\xef\xbb\xbfopenid,"))
	rows := records(t, file)
	assert.Equal(t, "'=1+1", rows[1]["remark"], "not a formula")
	assert.Equal(t, "-FAKE-2", rows[1]["openid"], "openids are never changed")
	assert.Equal(t, "two\nlines", rows[2]["remark"])
}

func TestJSONLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.jsonl")
	srv := threeFans()

	_, err := exportFrom(t, &accountTransport{srv: srv, respond: reject("oFAKE-3")}, Config{File: file})

	require.NoError(t, err)
	lines := slices.Collect(strings.Lines(read(t, file)))
	require.Len(t, lines, 3)
	for i, user := range srv.Users()[:2] {
		var got struct{ Tags []string }
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &got))
		var profile wechatuser.UserInfo
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &profile))
		delete(profile.Extra, "tags")
		assert.Empty(t, profile.Extra)
		profile.Extra = nil
		assert.Equal(t, user, profile, "all fields of the response are kept")
		assert.Equal(t, [][]string{{"VIP", "上海"}, {}}[i], got.Tags)
	}
	assert.Contains(t, lines[1], `"<7>&"`, "not escaped")
	assert.Equal(t, `{"openid":"oFAKE-3","error":"40003 invalid openid"}`+"\n", lines[2])
}

func TestSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a #1?%20.db") // needs escaping in a URI

	_, err := exportFrom(t, &accountTransport{srv: threeFans(), respond: reject("oFAKE-3")}, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, [][]any{
		{
			int64(1), "oFAKE-1", "uFAKE-1", int64(1), "2020-01-01 08:00:00", "ADD_SCENE_SEARCH", int64(0), "",
			`a "b", c`, "100;101", "VIP;上海", "",
		},
		{
			int64(2), "-FAKE-2", "", int64(1), "2020-01-01 08:00:01", "ADD_SCENE_QR_CODE", int64(7), "<7>&",
			"=1+1", "", "", "",
		},
		{int64(3), "oFAKE-3", nil, nil, nil, nil, nil, nil, nil, nil, nil, "40003 invalid openid"},
	}, table(t, file))
	assert.Equal(t, []string{filepath.Base(file)}, names(t, filepath.Dir(file)), "a single file")
}

// A follower who leaves before the profile is fetched is in the file.
func TestUnfollowDuringExport(t *testing.T) {
	srv := threeFans()
	w := &accountTransport{srv: srv}
	w.respond = func(r *http.Request, _ string) string {
		if strings.HasSuffix(r.URL.Path, "/batchget") {
			srv.Unfollow("oFAKE-1")
		}
		return ""
	}
	file := filepath.Join(t.TempDir(), "a.csv")

	_, err := exportFrom(t, w, Config{File: file})

	require.NoError(t, err)
	row := records(t, file)[0]
	assert.Equal(t, "0", row["subscribe"])
	assert.Empty(t, row["subscribe_time"])
	assert.Empty(t, row["error"])
}

// An export uses four APIs that only read.
func TestReadOnly(t *testing.T) {
	w := &accountTransport{srv: newAccount(250)}
	file := filepath.Join(t.TempDir(), "a.csv")

	_, err := exportFrom(t, w, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, map[string]int{
		"/cgi-bin/stable_token": 1,
		"/cgi-bin/tags/get":     1,
		"/cgi-bin/user/get":     3, // the total, the page and the end
		batchGet:                3,
	}, w.paths)
	assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
}

func TestEmptyAccount(t *testing.T) {
	for _, format := range formats {
		file := filepath.Join(t.TempDir(), "a."+format)

		result, err := exportFrom(t, &accountTransport{srv: newAccount(0)}, Config{File: file})

		require.NoError(t, err)
		assert.Equal(t, Result{}, result)
		assert.Empty(t, records(t, file))
	}
}

// newPagedAccount returns an account whose list has pages of 100 openids.
func newPagedAccount(fans int) *wechatusertest.Server {
	return newAccount(fans, wechatusertest.WithPageSize(100))
}

// stopAfter responds with the daily quota error once the list has returned n openids.
func stopAfter(n int) func(*http.Request, string) string {
	return func(r *http.Request, _ string) string {
		if r.URL.Query().Get("next_openid") == wechatusertest.OpenID(n-1) {
			return `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`
		}
		return ""
	}
}

// An export that the platform has stopped resumes after its last row.
func TestResume(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "a."+format)
			w := &accountTransport{srv: newPagedAccount(1000), respond: stopAfter(300)}

			_, err := exportFrom(t, w, Config{File: file})

			require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
			stopped := (*StoppedError)(nil)
			require.ErrorAs(t, err, &stopped)
			assert.Equal(t, 300, stopped.Rows)
			assert.ErrorContains(t, err, "stopped with 300 followers in "+file+".part")
			assert.Equal(t, []string{"a." + format + ".part", "a." + format + ".part.json"}, names(t, dir))

			w.respond, w.paths = nil, nil
			resumed, first, last := "", 0, 0
			result, err := exportFrom(t, w, Config{
				File:    file,
				Resumed: func(rows int, part string) { resumed = fmt.Sprint(rows, " ", part) },
				Progress: func(done, total int) {
					if first == 0 {
						first = done
					}
					assert.Equal(t, 700, total)
					last = done
				},
			})

			require.NoError(t, err)
			assert.Equal(t, Result{Rows: 1000, Resumed: 300}, result)
			assert.Equal(t, "300 "+file+".part", resumed)
			assert.Equal(t, []int{1, 700}, []int{first, last}, "the progress of this run")
			assert.Equal(t, 7, w.paths[batchGet], "none of the 300 is fetched again")
			assert.Equal(t, 1+7+1, w.paths["/cgi-bin/user/get"], "the total, the pages after the 300, and the end")
			assert.Equal(t, []string{"a." + format}, names(t, dir))
			assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))

			whole := filepath.Join(dir, "whole."+format)
			_, err = exportFrom(t, &accountTransport{srv: newAccount(1000)}, Config{File: whole})
			require.NoError(t, err)
			assertSame(t, whole, file)
		})
	}
}

// assertSame asserts that two exports are equal: byte by byte, or row by row.
func assertSame(t *testing.T, want, got string) {
	t.Helper()
	if FormatOf(want) == "sqlite" {
		assert.Equal(t, table(t, want), table(t, got))
	} else if read(t, want) != read(t, got) {
		assert.Fail(t, "the files differ")
	}
}

// Users who follow or leave between two runs do not shift the others.
func TestChangesBetweenRuns(t *testing.T) {
	srv := newPagedAccount(500)
	file := filepath.Join(t.TempDir(), "a.csv")
	_, err := exportFrom(t, &accountTransport{srv: srv, respond: stopAfter(200)}, Config{File: file})
	require.Error(t, err)

	all := srv.OpenIDs()
	srv.Unfollow(all[10], all[199], all[300]) // all[199] is the last row in the file
	srv.Follow("oFAKE-new")
	_, err = exportFrom(t, &accountTransport{srv: srv}, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, slices.Concat(all[:300], all[301:], []string{"oFAKE-new"}), openIDs(t, file))
}

// The platform does not document how long a cursor is valid.
func TestExpiredCursor(t *testing.T) {
	for name, response := range map[string]string{
		"the cursor is rejected": `{"errcode":40003,"errmsg":"invalid openid"}`,
		"the list is empty":      `{"total":500,"count":0,"next_openid":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			srv := newPagedAccount(500)
			file := filepath.Join(t.TempDir(), "a.csv")
			_, err := exportFrom(t, &accountTransport{srv: srv, respond: stopAfter(200)}, Config{File: file})
			require.Error(t, err)

			requests := 0
			w := &accountTransport{srv: srv, respond: func(r *http.Request, _ string) string {
				if r.URL.Query().Get("next_openid") == wechatusertest.OpenID(199) {
					if requests++; requests == 1 {
						return response
					}
				}
				return ""
			}}
			_, err = exportFrom(t, w, Config{File: file})

			require.NoError(t, err)
			assert.Equal(t, srv.OpenIDs(), openIDs(t, file))
			assert.Equal(t, 3, w.paths[batchGet], "only the other 300 are fetched")
		})
	}
}

// A follower who is listed twice is in the file once.
func TestDuplicatesInList(t *testing.T) {
	srv := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithFans(250), wechatusertest.WithPageSize(200))
	w := &accountTransport{srv: srv, respond: func(r *http.Request, _ string) string {
		if r.URL.Query().Get("next_openid") != wechatusertest.OpenID(199) {
			return ""
		}
		ids := append(srv.OpenIDs()[200:], wechatusertest.OpenID(3), wechatusertest.OpenID(249))
		list, _ := json.Marshal(ids)
		return fmt.Sprintf(`{"total":252,"count":%d,"data":{"openid":%s},"next_openid":""}`, len(ids), list)
	}}
	file := filepath.Join(t.TempDir(), "a.db")

	_, err := exportFrom(t, w, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, srv.OpenIDs(), openIDs(t, file))
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &accountTransport{srv: newAccount(500)}
	w.respond = func(*http.Request, string) string {
		if w.paths[batchGet] == 3 {
			cancel()
		}
		return ""
	}
	file := filepath.Join(t.TempDir(), "a.jsonl")

	_, err := exportWithin(ctx, t, w, Config{File: file})

	require.ErrorIs(t, err, context.Canceled)
	w.respond = nil
	_, err = exportFrom(t, w, Config{File: file})
	require.NoError(t, err)
	assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
}

// After a stop, what is in flight is written, and none of it is read again.
func TestStop(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			stop := make(chan struct{})
			closeStop := sync.OnceFunc(func() { close(stop) })
			w := &accountTransport{srv: newPagedAccount(1000)}
			w.respond = func(*http.Request, string) string {
				if w.paths[batchGet] == 3 {
					closeStop()
				}
				return ""
			}
			file := filepath.Join(t.TempDir(), "a."+format)

			result, err := exportFrom(t, w, Config{File: file, Stop: stop})

			require.ErrorIs(t, err, ErrStop)
			require.ErrorAs(t, err, new(*StoppedError))
			assert.GreaterOrEqual(t, result.Rows, 300)
			assert.Less(t, result.Rows, 1000)
			w.respond = nil
			_, err = exportFrom(t, w, Config{File: file})
			require.NoError(t, err)
			assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
			assert.LessOrEqual(t, w.paths[batchGet], 11, "10, and one that the stop has made smaller")
		})
	}
}

func TestUnknownFormat(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.xml")

	_, err := exportFrom(t, &accountTransport{srv: newAccount(5)}, Config{File: file})

	require.ErrorContains(t, err, "unknown format")
	assert.Empty(t, names(t, filepath.Dir(file)))
}

// A complete file is kept until Force replaces it.
func TestCompleteFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	w := &accountTransport{srv: newPagedAccount(300)}
	_, err := exportFrom(t, w, Config{File: file})
	require.NoError(t, err)
	before := read(t, file)
	w.srv.Follow("oFAKE-new")
	w.paths = nil

	result, err := exportFrom(t, w, Config{File: file})

	require.NoError(t, err)
	assert.Equal(t, Result{Complete: true}, result)
	assert.Empty(t, w.paths)
	assert.Equal(t, before, read(t, file))
	assert.Equal(t, []string{"a.csv"}, names(t, dir))

	w.respond = stopAfter(200)
	_, err = exportFrom(t, w, Config{File: file, Force: true})
	require.Error(t, err)
	assert.Equal(t, before, read(t, file), "it is kept until the new one is complete")

	w.respond, w.paths = nil, nil
	_, err = exportFrom(t, w, Config{File: file, Force: true})
	require.NoError(t, err)
	assert.Equal(t, 2, w.paths[batchGet], "Force resumes as well")
	assert.Len(t, openIDs(t, file), 301)
}

// The states that a kill can leave between the last row and the end of the program.
func TestKilledAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	w := &accountTransport{srv: newAccount(20)}
	_, err := exportFrom(t, w, Config{File: file})
	require.NoError(t, err)
	whole := read(t, file)
	meta, err := json.Marshal(identityOf(w.srv.AppID, Config{Format: "csv"}))
	require.NoError(t, err)

	t.Run("all rows are written, not renamed", func(t *testing.T) {
		require.NoError(t, os.Rename(file, file+".part"))
		require.NoError(t, os.WriteFile(file+".part.json", meta, 0o600))
		_, err := exportFrom(t, w, Config{File: file})
		require.NoError(t, err)
		assert.Equal(t, whole, read(t, file))
		assert.Equal(t, []string{"a.csv"}, names(t, dir))
	})
	t.Run("renamed, and the meta file still exists", func(t *testing.T) {
		require.NoError(t, os.WriteFile(file+".part.json", meta, 0o600))
		result, err := exportFrom(t, w, Config{File: file})
		require.NoError(t, err)
		assert.True(t, result.Complete)
		assert.Equal(t, []string{"a.csv"}, names(t, dir))
	})
	t.Run("an incomplete meta file and no part file", func(t *testing.T) {
		require.NoError(t, os.Remove(file))
		require.NoError(t, os.WriteFile(file+".part.json", meta[:9], 0o600))
		_, err := exportFrom(t, w, Config{File: file})
		require.NoError(t, err)
		assert.Equal(t, whole, read(t, file))
	})
}

// A part file is resumed only by an export with the same identity.
func TestAnotherExport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	first := &accountTransport{srv: newPagedAccount(500), respond: stopAfter(200)}
	_, err := exportFrom(t, first, Config{File: file})
	require.Error(t, err)
	part := read(t, file+".part")
	assert.NotContains(t, read(t, file+".part.json"), first.srv.Secret)

	for name, other := range map[string]struct {
		srv *wechatusertest.Server
		cfg Config
	}{
		"another account": {newAccount(501), Config{File: file}},
		"another format":  {first.srv, Config{File: file, Format: "sqlite"}},
		"for Excel":       {first.srv, Config{File: file, Excel: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &accountTransport{srv: other.srv}
			_, err := exportFrom(t, w, other.cfg)

			require.ErrorContains(t, err, "another export")
			require.ErrorAs(t, err, new(*OtherError))
			assert.Contains(t, err.Error(), `"app_id":"wxfa4e000000000500"`)
			assert.Empty(t, w.paths)
			assert.Equal(t, part, read(t, file+".part"))
		})
	}

	t.Run("with Force", func(t *testing.T) {
		w := &accountTransport{srv: newAccount(501)}
		_, err := exportFrom(t, w, Config{File: file, Force: true})

		require.NoError(t, err)
		assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
	})
}

// Force removes all files of a discarded export, including the SQLite journal.
func TestForceRemovesAllFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	first := &accountTransport{srv: newPagedAccount(500), respond: stopAfter(200)}
	_, err := exportFrom(t, first, Config{File: file, Format: "sqlite"})
	require.Error(t, err)
	require.NoError(t, os.WriteFile(file+".part-journal", []byte("a journal"), 0o600))

	_, err = exportFrom(t, &accountTransport{srv: newAccount(20)}, Config{File: file, Force: true})

	require.NoError(t, err)
	assert.Equal(t, []string{"a.csv"}, names(t, filepath.Dir(file)))
}

func TestConcurrentExportIsRejected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	first, err := openOutput(file, identity{}, false)
	require.NoError(t, err)
	if _, err := openOutput(file, identity{}, false); err == nil {
		t.Skip("no file locks on this system")
	}

	_, err = exportFrom(t, &accountTransport{srv: newAccount(5)}, Config{File: file})
	assert.ErrorIs(t, err, ErrRunning)

	first.close()
	_, err = exportFrom(t, &accountTransport{srv: newAccount(5)}, Config{File: file})
	assert.NoError(t, err)
}

// Only the owner may read a file of followers.
func TestFileMode(t *testing.T) {
	for _, format := range formats {
		file := filepath.Join(t.TempDir(), "a."+format)
		_, err := exportFrom(t, &accountTransport{srv: newAccount(5)}, Config{File: file})
		require.NoError(t, err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		if os.PathSeparator == '/' {
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}
}

func TestInvalidDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	w := &accountTransport{srv: newPagedAccount(500), respond: stopAfter(200)}
	_, err := exportFrom(t, w, Config{File: file})
	require.Error(t, err)
	require.NoError(t, os.WriteFile(file+".part", []byte(strings.Repeat("not a database", 100)), 0o600))

	_, err = exportFrom(t, w, Config{File: file})

	assert.ErrorAs(t, err, new(*UnreadableError))
	assert.ErrorContains(t, err, "remove it to start over")
}

// A file that cannot be created is an error.
func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "missing", "a.csv")

	_, err := exportFrom(t, &accountTransport{srv: newAccount(5)}, Config{File: file})

	assert.True(t, errors.Is(err, os.ErrNotExist))
}
