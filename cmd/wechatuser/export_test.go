package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const profilesPath = "/cgi-bin/user/info/batchget"

// linesOf returns the number of lines of a file.
func linesOf(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Count(string(text), "\n")
}

func TestExport(t *testing.T) {
	took := regexp.MustCompile(`(time: |用时 )[^。\n]+`)
	for _, c := range []struct {
		lang, name, stdout, hint string
		args                     []string
	}{
		{
			"en", "a.csv", "30 followers in FILE, 0 of them rejected. API calls: 5, time: T\n",
			"For Excel, export with --excel.\n", nil,
		},
		{"zh", "a.csv", "已导出 30 个用户到 FILE，其中 0 个被拒绝。接口调用 5 次，用时 T。\n", "可用 Excel 打开。\n", []string{"--excel"}},
		{"en", "a.jsonl", "30 followers in FILE, ", `head -n 3 "FILE"`, nil},
		{"zh", "a.txt", "已导出 30 个用户到 FILE，", `sqlite3 "FILE" "SELECT `, []string{"--format", "sqlite"}},
	} {
		t.Run(c.lang+" "+c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.name)
			args := append([]string{"--sandbox", "--sandbox-fans", "30", "--lang", c.lang, "export", file}, c.args...)

			got := inProcess(t, testApp(t, nil), args...)

			require.Equal(t, exitOK, got.code, got.stderr)
			stdout := took.ReplaceAllString(strings.ReplaceAll(got.stdout, file, "FILE"), "${1}T")
			assert.True(t, strings.HasPrefix(stdout, c.stdout), stdout)
			assert.Contains(t, strings.ReplaceAll(got.stderr, file, "FILE"), c.hint)
			assert.FileExists(t, file)

			got = inProcess(t, testApp(t, nil), args...)
			assert.Equal(t, exitOK, got.code)
			assert.Contains(t, got.stdout, "--force", "it is complete")
		})
	}
}

func TestExportJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	args := []string{"--sandbox", "--sandbox-fans", "30", "--json", "export", file}

	got := inProcess(t, testApp(t, nil), args...)
	require.Equal(t, exitOK, got.code, got.stderr)
	assert.JSONEq(t, `{"file":"`+file+`","format":"csv","complete":true,"existing":false,"followers":30,"rejected":0,
		"resumed":0,"calls":5}`, got.stdout)
	assert.Equal(t, 1+30, linesOf(t, file))

	got = inProcess(t, testApp(t, nil), args...)
	require.Equal(t, exitOK, got.code, got.stderr)
	assert.JSONEq(t, `{"file":"`+file+`","format":"csv","complete":true,"existing":true,"followers":0,"rejected":0,
		"resumed":0,"calls":0}`, got.stdout)
}

// Wrong arguments are reported before a file is created or a call is made.
func TestExportArguments(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"no file":              {},
		"two files":            {"a.csv", "b.csv"},
		"stdout":               {"-"},
		"no extension":         {"followers"},
		"an unknown extension": {"followers.xlsx"},
		"an unknown format":    {"a.csv", "--format", "xml"},
		"Excel and not CSV":    {"followers.db", "--excel"},
		"no concurrency":       {"a.csv", "--concurrency", "0"},
		"an unknown flag":      {"a.csv", "--bom"},
	} {
		t.Run(name, func(t *testing.T) {
			if len(args) > 0 && args[0] != "-" {
				args[0] = filepath.Join(dir, args[0])
			}
			got := inProcess(t, testApp(t, nil), append([]string{"--sandbox", "export"}, args...)...)
			assert.Equal(t, exitUsage, got.code, got.stderr)
			assert.Empty(t, got.stdout)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
	assert.Equal(t, exitUsage, inProcess(t, testApp(t, nil), "export", filepath.Join(dir, "a.csv")).code, "no account")
}

// An export that a quota has stopped says how to go on, and goes on.
func TestExportStops(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {
			"stopped with 300 followers in FILE.part: ", "To go on, run it again with the same arguments.",
			"Resuming after the 300 followers in FILE.part.",
		},
		"zh": {
			"已停止，FILE.part 中已有 300 个用户：", "如需继续，请以相同的参数重新执行。",
			"FILE.part 中已有 300 个用户，从其后继续。",
		},
	} {
		t.Run(lang, func(t *testing.T) {
			srv := wechatusertest.NewServer(wechatusertest.WithFans(1000), wechatusertest.WithQuota(profilesPath, 3, 0))
			file := filepath.Join(t.TempDir(), "a.csv")
			args := []string{"--lang", lang, "--concurrency", "1", "export", file}

			got := inProcess(t, testApp(t, srv), args...)
			require.Equal(t, exitStopped, got.code, got.stderr)
			assert.Empty(t, got.stdout)
			for _, text := range texts[:2] {
				assert.Contains(t, strings.ReplaceAll(got.stderr, file, "FILE"), text)
			}
			assert.NoFileExists(t, file)

			got = inProcess(t, testApp(t, srv), append(args, "--json")...)
			require.Equal(t, exitStopped, got.code, got.stderr)
			var report exportJSON
			require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
			assert.Equal(t, exportJSON{File: file, Format: "csv", Rows: 300, Resumed: 300, Calls: report.Calls}, report)

			srv.Advance(24 * time.Hour)
			got = inProcess(t, testApp(t, srv), args...)
			assert.Contains(t, strings.ReplaceAll(got.stderr, file, "FILE"), texts[2])
			for got.code == exitStopped {
				srv.Advance(24 * time.Hour)
				got = inProcess(t, testApp(t, srv), args...)
			}
			assert.Equal(t, exitOK, got.code, got.stderr)
			assert.Equal(t, 1+1000, linesOf(t, file))
		})
	}
}

// An export that has nothing yet just says what is wrong.
func TestExportFails(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(10))
	srv.FailNext("/cgi-bin/tags/get", wechatuser.CodeAPIUnauthorized, 1)
	file := filepath.Join(t.TempDir(), "a.csv")

	got := inProcess(t, testApp(t, srv), "export", file)

	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "48001")
	assert.NotContains(t, got.stderr, "To go on")
}

// An interrupt ends an export after what is in flight, and the next run reads the rest.
func TestExportIsInterrupted(t *testing.T) {
	for _, name := range []string{"a.csv", "a.jsonl", "a.db"} {
		t.Run(name, func(t *testing.T) {
			var onCall func(wechatusertest.Request)
			srv := wechatusertest.NewServer(wechatusertest.WithFans(3000), wechatusertest.WithPageSize(100),
				wechatusertest.WithRequestHook(func(r wechatusertest.Request) { onCall(r) }))
			a := testApp(t, srv)
			fifth := make(chan struct{}, 5)
			var asked atomic.Int64 // profiles; a call that an interrupt cuts short has fewer than 100
			interrupt := sync.OnceFunc(a.interrupt)
			onCall = func(r wechatusertest.Request) {
				if r.Path != profilesPath {
					return
				}
				users, _ := r.Body["user_list"].([]any)
				asked.Add(int64(len(users)))
				select {
				case fifth <- struct{}{}:
				default:
					interrupt()
				}
			}
			file := filepath.Join(t.TempDir(), name)

			got := inProcess(t, a, "--json", "export", file)

			require.Equal(t, exitStopped, got.code, got.stderr)
			assert.Contains(t, got.stderr, ": interrupted\n")
			var report exportJSON
			require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
			assert.False(t, report.Complete)
			assert.GreaterOrEqual(t, report.Rows, 500, "what was in flight is written")
			assert.Less(t, report.Rows, 3000)
			assert.EqualValues(t, asked.Load(), report.Rows)

			got = inProcess(t, testApp(t, srv), "export", file)
			require.Equal(t, exitOK, got.code, got.stderr)
			assert.Contains(t, got.stdout, "3000 followers in ")
			assert.EqualValues(t, 3000, asked.Load(), "none is read again")
		})
	}
}

func TestExportOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.csv")
	require.NoError(t, os.WriteFile(file+".part", []byte("openid\n"), 0o600))
	for lang, text := range map[string]string{"en": "belongs to another export", "zh": "属于另一次导出"} {
		got := inProcess(t, testApp(t, nil), "--sandbox", "--lang", lang, "export", file)
		assert.Equal(t, exitUsage, got.code)
		assert.Contains(t, got.stderr, text)
		assert.Contains(t, got.stderr, "--force")
	}
	got := inProcess(t, testApp(t, nil), "--sandbox", "export", file, "--force")
	assert.Equal(t, exitOK, got.code, got.stderr)
}
