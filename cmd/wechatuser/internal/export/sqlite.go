package export

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // SQLite in Go, without a C compiler
)

// database is a sink for SQLite. It has one table, "followers", in which n is the position in the list.
type database struct {
	db *sql.DB
}

func openSQLite(path string) (*database, error) {
	// SQLite would create a file that others can read.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	// With a rollback journal, not a write-ahead log, a closed database is a single file.
	uri := url.URL{
		Scheme: "file", OmitHost: true, Path: path,
		RawQuery: "_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)",
	}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &database{db: db}, nil
}

// resume finds complete rows only: SQLite rolls an interrupted transaction back.
func (d *database) resume(add func(openID string, rejected bool)) error {
	defs := make([]string, len(columns))
	for i, c := range columns {
		defs[i] = c.name + " " + c.sqlType
	}
	_, err := d.db.Exec("CREATE TABLE IF NOT EXISTS followers (n INTEGER PRIMARY KEY, " + strings.Join(defs, ", ") + ")")
	if err != nil {
		return err
	}
	rows, err := d.db.Query("SELECT openid, error <> '' FROM followers ORDER BY n")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r scannedRow
		if err := rows.Scan(&r.openID, &r.rejected); err != nil {
			return err
		}
		add(r.openID, r.rejected)
	}
	return rows.Err()
}

func (d *database) write(rows []row) error {
	tx, err := d.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // a no-op after Commit
	insert, err := tx.Prepare(fmt.Sprintf("INSERT INTO followers (%s) VALUES (?%s)",
		strings.Join(columnNames(), ", "), strings.Repeat(", ?", len(columns)-1)))
	if err != nil {
		return err
	}
	defer insert.Close()
	values := make([]any, len(columns))
	for _, r := range rows {
		for i := range columns {
			values[i] = r.value(i)
		}
		if _, err := insert.Exec(values...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (d *database) close() error { return d.db.Close() }
