package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

var formats = []string{"csv", "jsonl", "db"}

// accountTransport is the transport of an account. It counts the requests by path, and can respond in place of the
// account.
type accountTransport struct {
	srv     *wechatusertest.Server
	respond func(r *http.Request, body string) string // "" for the account's response

	mu    sync.Mutex
	paths map[string]int
}

func (w *accountTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paths == nil {
		w.paths = make(map[string]int)
	}
	w.paths[r.URL.Path]++
	if w.respond != nil {
		if text := w.respond(r, string(body)); text != "" {
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
				Request: r,
			}, nil
		}
	}
	return w.srv.Transport().RoundTrip(r)
}

// exportFrom exports an account, in batches of 7 rows and one call at a time.
func exportFrom(t *testing.T, w *accountTransport, args ...string) (stdout string, err error) {
	t.Helper()
	return exportWithin(t.Context(), t, w, args...)
}

func exportWithin(ctx context.Context, t *testing.T, w *accountTransport, args ...string) (stdout string, err error) {
	t.Helper()
	cfg, err := parse(args, io.Discard)
	require.NoError(t, err)
	cfg.batch, cfg.concurrency = 7, 1
	calls, count := countCalls()
	c := w.srv.Client(count, wechatuser.WithTransport(w))
	var out bytes.Buffer
	err = export(ctx, account{c, calls}, cfg, &out, io.Discard)
	return out.String(), err
}

// openIDs returns the openids of a complete export, in the order of the file.
func openIDs(t *testing.T, file string) (ids []string) {
	t.Helper()
	for _, r := range records(t, file) {
		ids = append(ids, r["openid"])
	}
	return ids
}

// records returns the rows of a complete export, by column. Lists of a JSON line are formatted with fmt.Sprint.
func records(t *testing.T, file string) (rows []map[string]string) {
	t.Helper()
	switch formatOf(file) {
	case "csv":
		in := csv.NewReader(strings.NewReader(strings.TrimPrefix(read(t, file), byteOrderMark)))
		all, err := in.ReadAll()
		require.NoError(t, err)
		for _, record := range all[1:] {
			row := make(map[string]string)
			for i, name := range all[0] {
				row[name] = record[i]
			}
			rows = append(rows, row)
		}
	case "jsonl":
		for line := range strings.Lines(read(t, file)) {
			var fields map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &fields))
			row := make(map[string]string)
			for name, value := range fields {
				row[name] = fmt.Sprint(value)
			}
			rows = append(rows, row)
		}
	case "sqlite":
		for _, values := range table(t, file) {
			row := make(map[string]string)
			for i, name := range columnNames() {
				if values[i+1] != nil {
					row[name] = fmt.Sprint(values[i+1])
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// table returns all rows of a database.
func table(t *testing.T, file string) (rows [][]any) {
	t.Helper()
	uri := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(file), RawQuery: "mode=ro"}
	db, err := sql.Open("sqlite", uri.String())
	require.NoError(t, err)
	defer db.Close()
	found, err := db.Query("SELECT * FROM followers ORDER BY n")
	require.NoError(t, err)
	defer found.Close()
	for found.Next() {
		values := make([]any, len(columns)+1)
		targets := make([]any, len(values))
		for i := range values {
			targets[i] = &values[i]
		}
		require.NoError(t, found.Scan(targets...))
		rows = append(rows, values)
	}
	require.NoError(t, found.Err())
	return rows
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}

// names returns the names of the files in a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"an argument":          {"followers.csv"},
		"an unknown flag":      {"-bom"},
		"no extension":         {"-out", "followers"},
		"an unknown extension": {"-out", "followers.xlsx"},
		"an unknown format":    {"-format", "xml"},
		"Excel and not CSV":    {"-out", "followers.db", "-excel"},
		"negative followers":   {"-fans", "-1"},
		"no concurrency":       {"-concurrency", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())

			assert.Error(t, run(t.Context(), args, io.Discard, io.Discard))
			assert.Empty(t, names(t, "."))
		})
	}
	for file, format := range map[string]string{"a.CSV": "csv", "a.ndjson": "jsonl", "a.b.sqlite3": "sqlite"} {
		cfg, err := parse([]string{"-out", file}, io.Discard)
		require.NoError(t, err)
		assert.Equal(t, format, cfg.format)
	}
	cfg, err := parse([]string{"-out", "a.txt", "-format", "jsonl"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, "jsonl", cfg.format, "the flag takes precedence over the extension")
}

func TestHelp(t *testing.T) {
	var out, bad bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &out), flag.ErrHelp)
	require.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Equal(t, out.String(), bad.String(), "main prints the error")

	for _, text := range []string{"go run . -out followers.csv", "-concurrency", "(default 100000)", "WECHAT_APPID"} {
		assert.Contains(t, out.String(), text)
	}
}

func TestIncompleteCredential(t *testing.T) {
	t.Setenv("WECHAT_APPID", "wxTEST")
	t.Chdir(t.TempDir())

	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_SECRET is not")
	t.Setenv("WECHAT_APPID", "")
	t.Setenv("WECHAT_SECRET", "SENTINEL")
	assert.ErrorContains(t, run(t.Context(), nil, io.Discard, io.Discard), "WECHAT_APPID is not")
	assert.Empty(t, names(t, "."))
}

func TestInMemoryAccount(t *testing.T) {
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer

	require.NoError(t, run(t.Context(), []string{"-fans", "30"}, &stdout, &stderr))

	assert.Contains(t, stderr.String(),
		"Using an in-memory account with 30 followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n")
	assert.Contains(t, stdout.String(), "30 followers in followers.csv")
}

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer

	assert.NoError(t, newBar(&out, 40).Add(10))

	assert.Regexp(t, `Followers +25% \|.*\(10/40, \d+ followers/\w+\)`, out.String())
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer file.Close()
	assert.False(t, isTerminal(&out))
	assert.False(t, isTerminal(file))
}
