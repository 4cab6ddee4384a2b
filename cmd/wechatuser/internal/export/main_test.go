package export

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
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
	if file := os.Getenv(childEnv); file != "" {
		os.Exit(child(file))
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

// batchGet is the path of the calls that fetch profiles.
const batchGet = "/cgi-bin/user/info/batchget"

// exportFrom exports an account, in batches of 7 rows and one call at a time. The format is that of the file name.
func exportFrom(t *testing.T, w *accountTransport, cfg Config) (Result, error) {
	t.Helper()
	return exportWithin(t.Context(), t, w, cfg)
}

func exportWithin(ctx context.Context, t *testing.T, w *accountTransport, cfg Config) (Result, error) {
	t.Helper()
	cfg.Format = cmp.Or(cfg.Format, FormatOf(cfg.File))
	cfg.Batch, cfg.Concurrency = 7, 1
	return Run(ctx, w.srv.Client(wechatuser.WithTransport(w)), cfg)
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
	switch FormatOf(file) {
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

func TestFormatOf(t *testing.T) {
	for file, format := range map[string]string{
		"a.CSV": "csv", "a.ndjson": "jsonl", "a.b.sqlite3": "sqlite", "a.db": "sqlite", "csv": "", "a.xlsx": "",
	} {
		assert.Equal(t, format, FormatOf(file), file)
	}
}
