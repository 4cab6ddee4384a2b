package main

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
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// threeFans is an account with what is hard to write down.
func threeFans() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	vip, shanghai := srv.AddTag("VIP"), srv.AddTag("上海")
	srv.AddUsers(
		wechatuser.UserInfo{OpenID: "oFAKE-1", UnionID: "uFAKE-1", SubscribeTime: 1577836800, Remark: `a "b", c`, TagIDList: []int{vip, shanghai}},
		wechatuser.UserInfo{OpenID: "-FAKE-2", SubscribeTime: 1577836801, SubscribeScene: wechatuser.SceneQRCode, QRScene: 7, QRSceneStr: "<7>&", Remark: "=1+1"},
		wechatuser.UserInfo{OpenID: "oFAKE-3", SubscribeTime: 1577836802, Remark: "two\nlines"},
	)
	return srv
}

// refusing answers 40003 to each question about an openid.
func refusing(openID string) func(*http.Request, string) string {
	return func(_ *http.Request, body string) string {
		if strings.Contains(body, openID) {
			return `{"errcode":40003,"errmsg":"invalid openid rid: 5f0000aa-11223344-55667788"}`
		}
		return ""
	}
}

func TestCSV(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")

	out, err := exportFrom(t, &wire{srv: threeFans(), answer: refusing("oFAKE-3")}, "-out", file)

	require.NoError(t, err)
	assert.Equal(t, strings.Join([]string{
		"openid,unionid,subscribe,subscribe_time,subscribe_scene,qr_scene,qr_scene_str,remark,tagid_list,tags,error",
		`oFAKE-1,uFAKE-1,1,2020-01-01 08:00:00,ADD_SCENE_SEARCH,0,,"a ""b"", c",100;101,VIP;上海,`,
		`-FAKE-2,,1,2020-01-01 08:00:01,ADD_SCENE_QR_CODE,7,<7>&,=1+1,,,`,
		`oFAKE-3,,,,,,,,,,40003 invalid openid`,
		"",
	}, "\n"), read(t, file))
	assert.Contains(t, out, "3 followers in "+file+", 1 of them refused, ")
	assert.Contains(t, out, "Excel needs an export with -excel")
}

func TestCSVForExcel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")

	_, err := exportFrom(t, &wire{srv: threeFans()}, "-out", file, "-excel")

	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(read(t, file), "\xef\xbb\xbfopenid,"))
	rows := records(t, file)
	assert.Equal(t, "'=1+1", rows[1]["remark"], "no formula")
	assert.Equal(t, "-FAKE-2", rows[1]["openid"], "an openid is never changed")
	assert.Equal(t, "two\nlines", rows[2]["remark"])
}

func TestJSONLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.jsonl")
	srv := threeFans()

	_, err := exportFrom(t, &wire{srv: srv, answer: refusing("oFAKE-3")}, "-out", file)

	require.NoError(t, err)
	lines := slices.Collect(strings.Lines(read(t, file)))
	require.Len(t, lines, 3)
	for i, user := range srv.Users()[:2] {
		var got struct {
			wechatuser.UserInfo
			Tags []string
		}
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &got))
		assert.Equal(t, user, got.UserInfo, "nothing of the platform's answer is lost")
		assert.Equal(t, [][]string{{"VIP", "上海"}, {}}[i], got.Tags)
	}
	assert.Contains(t, lines[1], `"<7>&"`, "as it is")
	assert.Equal(t, `{"openid":"oFAKE-3","error":"40003 invalid openid"}`+"\n", lines[2])
}

func TestSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a #1?%20.db") // a name that an URI must escape

	_, err := exportFrom(t, &wire{srv: threeFans(), answer: refusing("oFAKE-3")}, "-out", file)

	require.NoError(t, err)
	assert.Equal(t, [][]any{
		{int64(1), "oFAKE-1", "uFAKE-1", int64(1), "2020-01-01 08:00:00", "ADD_SCENE_SEARCH", int64(0), "", `a "b", c`, "100;101", "VIP;上海", ""},
		{int64(2), "-FAKE-2", "", int64(1), "2020-01-01 08:00:01", "ADD_SCENE_QR_CODE", int64(7), "<7>&", "=1+1", "", "", ""},
		{int64(3), "oFAKE-3", nil, nil, nil, nil, nil, nil, nil, nil, nil, "40003 invalid openid"},
	}, table(t, file))
	assert.Equal(t, []string{filepath.Base(file)}, names(t, filepath.Dir(file)), "one file")
}

// TestLeavers: somebody who is in the list and leaves before the profile is asked for is in the file.
func TestLeavers(t *testing.T) {
	srv := threeFans()
	w := &wire{srv: srv}
	w.answer = func(r *http.Request, _ string) string {
		if strings.HasSuffix(r.URL.Path, "/batchget") {
			srv.Unfollow("oFAKE-1")
		}
		return ""
	}
	file := filepath.Join(t.TempDir(), "a.csv")

	_, err := exportFrom(t, w, "-out", file)

	require.NoError(t, err)
	row := records(t, file)[0]
	assert.Equal(t, "0", row["subscribe"])
	assert.Empty(t, row["subscribe_time"])
	assert.Empty(t, row["error"])
}

// TestReadsOnly: an export asks four questions, and nothing else.
func TestReadsOnly(t *testing.T) {
	w := &wire{srv: newAccount(250)}
	file := filepath.Join(t.TempDir(), "a.csv")

	out, err := exportFrom(t, w, "-out", file)

	require.NoError(t, err)
	assert.Equal(t, map[string]int{
		"/cgi-bin/stable_token":       1,
		"/cgi-bin/tags/get":           1,
		"/cgi-bin/user/get":           3, // the total, the page, the end
		"/cgi-bin/user/info/batchget": 3,
	}, w.paths)
	assert.Contains(t, out, " 7 calls,")
	assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
}

func TestNobody(t *testing.T) {
	for _, format := range formats {
		file := filepath.Join(t.TempDir(), "a."+format)

		out, err := exportFrom(t, &wire{srv: newAccount(0)}, "-out", file)

		require.NoError(t, err)
		assert.Contains(t, out, "0 followers in ")
		assert.Empty(t, records(t, file))
	}
}

// pages is an account whose list comes in pages of 100.
func pages(fans int) *wechatusertest.Server {
	return newAccount(fans, wechatusertest.WithPageSize(100))
}

// stopAfter is the platform's answer when the day's calls for the list are used up after so many openids.
func stopAfter(n int) func(*http.Request, string) string {
	return func(r *http.Request, _ string) string {
		if r.URL.Query().Get("next_openid") == wechatusertest.OpenID(n-1) {
			return `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`
		}
		return ""
	}
}

// TestGoesOn: an export that the platform stopped goes on where it was.
func TestGoesOn(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "a."+format)
			w := &wire{srv: pages(1000), answer: stopAfter(300)}

			_, err := exportFrom(t, w, "-out", file)

			require.ErrorIs(t, err, wechatuser.CodeDailyQuotaExceeded)
			assert.ErrorContains(t, err, "stopped with 300 followers in "+file+".part")
			assert.Equal(t, []string{"a." + format + ".part", "a." + format + ".part.json"}, names(t, dir))

			w.answer, w.paths = nil, nil
			out, err := exportFrom(t, w, "-out", file)

			require.NoError(t, err)
			assert.Contains(t, out, "1000 followers in ")
			assert.Equal(t, 7, w.paths["/cgi-bin/user/info/batchget"], "none of the 300 is asked for again")
			assert.Equal(t, 1+7+1, w.paths["/cgi-bin/user/get"], "the total, the pages behind the 300, and the end")
			assert.Equal(t, []string{"a." + format}, names(t, dir))
			assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))

			whole := filepath.Join(dir, "whole."+format)
			_, err = exportFrom(t, &wire{srv: newAccount(1000)}, "-out", whole)
			require.NoError(t, err)
			assertSame(t, whole, file)
		})
	}
}

// assertSame compares two exports: byte for byte, or row for row.
func assertSame(t *testing.T, want, got string) {
	t.Helper()
	if formatOf(want) == "sqlite" {
		assert.Equal(t, table(t, want), table(t, got))
	} else if read(t, want) != read(t, got) {
		assert.Fail(t, "the files are not the same")
	}
}

// TestComingAndGoing: who comes and who leaves between two runs does not shift the others.
func TestComingAndGoing(t *testing.T) {
	srv := pages(500)
	file := filepath.Join(t.TempDir(), "a.csv")
	_, err := exportFrom(t, &wire{srv: srv, answer: stopAfter(200)}, "-out", file)
	require.Error(t, err)

	all := srv.OpenIDs()
	srv.Unfollow(all[10], all[199], all[300]) // the last one in the file is among them
	srv.Follow("oFAKE-new")
	_, err = exportFrom(t, &wire{srv: srv}, "-out", file)

	require.NoError(t, err)
	assert.Equal(t, slices.Concat(all[:300], all[301:], []string{"oFAKE-new"}), openIDs(t, file))
}

// TestForgottenPlace: the platform does not promise to know a place in the list for ever.
func TestForgottenPlace(t *testing.T) {
	for name, answer := range map[string]string{
		"it refuses the openid": `{"errcode":40003,"errmsg":"invalid openid"}`,
		"it finds nobody":       `{"total":500,"count":0,"next_openid":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			srv := pages(500)
			file := filepath.Join(t.TempDir(), "a.csv")
			_, err := exportFrom(t, &wire{srv: srv, answer: stopAfter(200)}, "-out", file)
			require.Error(t, err)

			asked := 0
			w := &wire{srv: srv, answer: func(r *http.Request, _ string) string {
				if r.URL.Query().Get("next_openid") == wechatusertest.OpenID(199) {
					if asked++; asked == 1 {
						return answer
					}
				}
				return ""
			}}
			_, err = exportFrom(t, w, "-out", file)

			require.NoError(t, err)
			assert.Equal(t, srv.OpenIDs(), openIDs(t, file))
			assert.Equal(t, 3, w.paths["/cgi-bin/user/info/batchget"], "only the other 300 are asked for")
		})
	}
}

// TestTwiceInTheList: each follower once.
func TestTwiceInTheList(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(250), wechatusertest.WithPageSize(200))
	w := &wire{srv: srv, answer: func(r *http.Request, _ string) string {
		if r.URL.Query().Get("next_openid") != wechatusertest.OpenID(199) {
			return ""
		}
		ids := append(srv.OpenIDs()[200:], wechatusertest.OpenID(3), wechatusertest.OpenID(249))
		list, _ := json.Marshal(ids)
		return fmt.Sprintf(`{"total":252,"count":%d,"data":{"openid":%s},"next_openid":""}`, len(ids), list)
	}}
	file := filepath.Join(t.TempDir(), "a.db")

	_, err := exportFrom(t, w, "-out", file)

	require.NoError(t, err)
	assert.Equal(t, srv.OpenIDs(), openIDs(t, file))
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &wire{srv: newAccount(500)}
	w.answer = func(*http.Request, string) string {
		if w.paths["/cgi-bin/user/info/batchget"] == 3 {
			cancel()
		}
		return ""
	}
	file := filepath.Join(t.TempDir(), "a.jsonl")

	_, err := exportWithin(ctx, t, w, "-out", file)

	require.ErrorIs(t, err, context.Canceled)
	w.answer = nil
	_, err = exportFrom(t, w, "-out", file)
	require.NoError(t, err)
	assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
}

// TestComplete: a file that is there stays, until -force replaces it.
func TestComplete(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	w := &wire{srv: pages(300)}
	_, err := exportFrom(t, w, "-out", file)
	require.NoError(t, err)
	before := read(t, file)
	w.srv.Follow("oFAKE-new")
	w.paths = nil

	out, err := exportFrom(t, w, "-out", file)

	require.NoError(t, err)
	assert.Contains(t, out, "complete")
	assert.Empty(t, w.paths)
	assert.Equal(t, before, read(t, file))
	assert.Equal(t, []string{"a.csv"}, names(t, dir))

	w.answer = stopAfter(200)
	_, err = exportFrom(t, w, "-out", file, "-force")
	require.Error(t, err)
	assert.Equal(t, before, read(t, file), "it stays until the new one is complete")

	w.answer, w.paths = nil, nil
	_, err = exportFrom(t, w, "-out", file, "-force")
	require.NoError(t, err)
	assert.Equal(t, 2, w.paths["/cgi-bin/user/info/batchget"], "-force does not begin anew after a kill")
	assert.Len(t, openIDs(t, file), 301)
}

// TestKilledAtTheEnd: the states between the last row and the end of the program.
func TestKilledAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	w := &wire{srv: newAccount(20)}
	_, err := exportFrom(t, w, "-out", file)
	require.NoError(t, err)
	whole := read(t, file)
	cfg, err := parse([]string{"-out", file}, os.Stderr)
	require.NoError(t, err)
	note, err := json.Marshal(identityOf(w.srv.AppID, cfg))
	require.NoError(t, err)

	t.Run("all rows and no name", func(t *testing.T) {
		require.NoError(t, os.Rename(file, file+".part"))
		require.NoError(t, os.WriteFile(file+".part.json", note, 0o600))
		_, err := exportFrom(t, w, "-out", file)
		require.NoError(t, err)
		assert.Equal(t, whole, read(t, file))
		assert.Equal(t, []string{"a.csv"}, names(t, dir))
	})
	t.Run("a name, and the note is still there", func(t *testing.T) {
		require.NoError(t, os.WriteFile(file+".part.json", note, 0o600))
		out, err := exportFrom(t, w, "-out", file)
		require.NoError(t, err)
		assert.Contains(t, out, "complete")
		assert.Equal(t, []string{"a.csv"}, names(t, dir))
	})
	t.Run("a torn note and no part", func(t *testing.T) {
		require.NoError(t, os.Remove(file))
		require.NoError(t, os.WriteFile(file+".part.json", note[:9], 0o600))
		_, err := exportFrom(t, w, "-out", file)
		require.NoError(t, err)
		assert.Equal(t, whole, read(t, file))
	})
}

// TestAnotherExport: a part goes on only as what it was begun as.
func TestAnotherExport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	begin := &wire{srv: pages(500), answer: stopAfter(200)}
	_, err := exportFrom(t, begin, "-out", file)
	require.Error(t, err)
	part := read(t, file+".part")
	assert.NotContains(t, read(t, file+".part.json"), begin.srv.Secret)

	for name, other := range map[string]struct {
		srv  *wechatusertest.Server
		args []string
	}{
		"another account": {newAccount(501), nil},
		"another format":  {begin.srv, []string{"-format", "sqlite"}},
		"for Excel":       {begin.srv, []string{"-excel"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{srv: other.srv}
			_, err := exportFrom(t, w, append(other.args, "-out", file)...)

			require.ErrorContains(t, err, "another export")
			assert.Contains(t, err.Error(), `"app_id":"wxfa4e000000000500"`)
			assert.Empty(t, w.paths)
			assert.Equal(t, part, read(t, file+".part"))
		})
	}

	t.Run("with -force", func(t *testing.T) {
		w := &wire{srv: newAccount(501)}
		_, err := exportFrom(t, w, "-out", file, "-force")

		require.NoError(t, err)
		assert.Equal(t, w.srv.OpenIDs(), openIDs(t, file))
	})
}

// TestNothingIsLeft: an export that is given up leaves nothing, not even the journal of a database.
func TestNothingIsLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	_, err := exportFrom(t, &wire{srv: pages(500), answer: stopAfter(200)}, "-out", file, "-format", "sqlite")
	require.Error(t, err)
	require.NoError(t, os.WriteFile(file+".part-journal", []byte("a journal"), 0o600))

	_, err = exportFrom(t, &wire{srv: newAccount(20)}, "-out", file, "-force")

	require.NoError(t, err)
	assert.Equal(t, []string{"a.csv"}, names(t, filepath.Dir(file)))
}

func TestTwoAtATime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	first, err := takePlace(file, identity{}, false)
	require.NoError(t, err)
	if _, err := takePlace(file, identity{}, false); err == nil {
		t.Skip("no file locks on this system")
	}

	_, err = exportFrom(t, &wire{srv: newAccount(5)}, "-out", file)
	assert.ErrorContains(t, err, "another export to this file is running")

	first.leave()
	_, err = exportFrom(t, &wire{srv: newAccount(5)}, "-out", file)
	assert.NoError(t, err)
}

// TestPrivate: a file of followers is for its owner only.
func TestPrivate(t *testing.T) {
	for _, format := range formats {
		file := filepath.Join(t.TempDir(), "a."+format)
		_, err := exportFrom(t, &wire{srv: newAccount(5)}, "-out", file)
		require.NoError(t, err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		if os.PathSeparator == '/' {
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}
}

func TestNotADatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	w := &wire{srv: pages(500), answer: stopAfter(200)}
	_, err := exportFrom(t, w, "-out", file)
	require.Error(t, err)
	require.NoError(t, os.WriteFile(file+".part", []byte(strings.Repeat("not a database", 100)), 0o600))

	_, err = exportFrom(t, w, "-out", file)

	assert.ErrorContains(t, err, "remove it to begin anew")
}

// TestUnwritable: what cannot be written is an error, and no complete file.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "missing", "a.csv")

	_, err := exportFrom(t, &wire{srv: newAccount(5)}, "-out", file)

	assert.True(t, errors.Is(err, os.ErrNotExist))
}
