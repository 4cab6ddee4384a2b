package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // SQLite in Go, without a C compiler

	"github.com/wechatuser/wechatuser"
)

// schema has the tables that a CRM reads, and at the end the state for the next run. Times are Unix seconds.
const schema = `
CREATE TABLE IF NOT EXISTS followers (
	openid        TEXT PRIMARY KEY,
	unionid       TEXT NOT NULL,
	remark        TEXT NOT NULL,
	tags          TEXT NOT NULL,              -- JSON array of IDs
	scene         TEXT NOT NULL,
	subscribed_at INTEGER NOT NULL,
	left_at       INTEGER NOT NULL DEFAULT 0, -- when it was detected, and the rest deleted; 0 for a follower
	sweep         INTEGER NOT NULL DEFAULT 0  -- the last sweep that has seen the follower
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS followers_unionid ON followers (unionid);
CREATE INDEX IF NOT EXISTS followers_sweep ON followers (left_at, sweep);
CREATE TABLE IF NOT EXISTS tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
	n      INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	openid TEXT NOT NULL,
	what   TEXT NOT NULL, -- new, back, left, remark, tags, unionid
	old    TEXT NOT NULL,
	new    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS changes_openid ON changes (openid);
CREATE TABLE IF NOT EXISTS place (
	app_id   TEXT PRIMARY KEY,
	last     TEXT NOT NULL DEFAULT '',
	sweep    INTEGER NOT NULL DEFAULT 0,
	sweeping INTEGER NOT NULL DEFAULT 0,
	swept    TEXT NOT NULL DEFAULT ''
);`

// cursor is the progress of the mirror.
type cursor struct {
	last     string // last openid of the list
	sweep    int    // number of the last sweep, which is a comparison with the whole list
	sweeping bool   // the sweep is not complete
	swept    string // last openid of the sweep
}

type database struct {
	*sql.DB
	find, upsert, setLeft, forgetChanges, addChange *sql.Stmt // for one follower
}

func open(file, appID string) (*database, error) {
	// SQLite would create a file that others can read.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	uri := url.URL{Scheme: "file", OmitHost: true, Path: "/" + strings.TrimPrefix(filepath.ToSlash(file), "/"),
		// Concurrent runs wait for each other, and a CRM can read at the same time.
		RawQuery: "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)" +
			"&_pragma=secure_delete(1)"} // deleted data is overwritten in the file
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	d := &database{DB: db}
	if err := d.prepare(appID); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

func (d *database) prepare(appID string) error {
	if _, err := d.Exec(schema); err != nil {
		return err
	}
	var other string
	switch err := d.QueryRow("SELECT app_id FROM place WHERE app_id <> ?", appID).Scan(&other); {
	case err == nil:
		return fmt.Errorf("it is the mirror of %s, not of %s", other, appID)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	if _, err := d.Exec("INSERT OR IGNORE INTO place (app_id) VALUES (?)", appID); err != nil {
		return err
	}
	for stmt, query := range map[**sql.Stmt]string{
		&d.find: "SELECT unionid, remark, tags, subscribed_at, left_at FROM followers WHERE openid = ?",
		&d.upsert: `INSERT INTO followers (openid, unionid, remark, tags, scene, subscribed_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (openid) DO UPDATE SET unionid = excluded.unionid, remark = excluded.remark, tags = excluded.tags,
				scene = excluded.scene, subscribed_at = excluded.subscribed_at, left_at = 0`,
		&d.setLeft: `UPDATE followers SET left_at = ?, unionid = '', remark = '', tags = '[]', scene = '', subscribed_at = 0
			WHERE openid = ?`,
		&d.forgetChanges: "UPDATE changes SET old = '', new = '' WHERE openid = ?",
		&d.addChange:     "INSERT INTO changes (at, openid, what, old, new) VALUES (?, ?, ?, ?, ?)",
	} {
		var err error
		if *stmt, err = d.Prepare(query); err != nil {
			return err
		}
	}
	return nil
}

func (d *database) cursor() (c cursor, err error) {
	err = d.QueryRow("SELECT last, sweep, sweeping, swept FROM place").Scan(&c.last, &c.sweep, &c.sweeping, &c.swept)
	return c, err
}

func (d *database) setCursor(c cursor) error {
	return d.transact(func(tx *sql.Tx) error { return setCursor(tx, c) })
}

func setCursor(tx *sql.Tx, c cursor) error {
	_, err := tx.Exec("UPDATE place SET last = ?, sweep = ?, sweeping = ?, swept = ?",
		c.last, c.sweep, c.sweeping, c.swept)
	return err
}

func (d *database) endSweep() error {
	_, err := d.Exec("UPDATE place SET sweeping = 0, swept = ''")
	return err
}

func (d *database) saveTags(tags []wechatuser.Tag) error {
	return d.transact(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM tags")
		for _, t := range tags {
			if err == nil {
				_, err = tx.Exec("INSERT INTO tags (id, name) VALUES (?, ?)", t.ID, t.Name)
			}
		}
		return err
	})
}

func (d *database) transact(f func(*sql.Tx) error) error {
	tx, err := d.Begin()
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// notFollowing returns the openids that are not in the database as followers.
func (d *database) notFollowing(openIDs []string) (others []string, err error) {
	list, err := json.Marshal(openIDs)
	if err != nil {
		return nil, err
	}
	return d.strings(`SELECT value FROM json_each(?) AS listed
		WHERE NOT EXISTS (SELECT 1 FROM followers WHERE openid = listed.value AND left_at = 0) ORDER BY listed.key`, string(list))
}

// unseen returns up to n followers whom the sweep has not seen.
func (d *database) unseen(n int) ([]string, error) {
	return d.strings("SELECT openid FROM followers WHERE left_at = 0 AND sweep < (SELECT sweep FROM place) LIMIT ?", n)
}

func (d *database) strings(query string, args ...any) (values []string, err error) {
	rows, err := d.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		values = append(values, s)
	}
	return values, rows.Err()
}

// save saves profiles, marks openids as seen, and advances the cursor, all in one transaction.
func (d *database) save(now time.Time, users []wechatuser.UserInfo, seen []string, c cursor) error {
	list, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	return d.transact(func(tx *sql.Tx) error {
		for _, u := range users {
			if err := d.saveUser(tx, now.Unix(), u); err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE followers SET sweep = ? WHERE openid IN (SELECT value FROM json_each(?))",
			c.sweep, string(list))
		if err != nil {
			return err
		}
		return setCursor(tx, c)
	})
}

// saveUser updates the row of a user, and adds the changes.
func (d *database) saveUser(tx *sql.Tx, now int64, u wechatuser.UserInfo) error {
	old := wechatuser.UserInfo{OpenID: u.OpenID}
	var oldTags string
	var leftAt int64
	err := tx.Stmt(d.find).QueryRow(u.OpenID).Scan(&old.UnionID, &old.Remark, &oldTags, &old.SubscribeTime, &leftAt)
	known := err == nil
	if !known && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var changes []change
	switch {
	case !u.Subscribed() && (!known || leftAt != 0):
		return nil
	case !u.Subscribed():
		changes = append(changes, change{kind: "left"})
		// The platform requires an account to delete its data of a user who has left. The openid is kept, so that the
		// CRM can find the user and delete its own data.
		if _, err = tx.Stmt(d.setLeft).Exec(now, u.OpenID); err == nil {
			_, err = tx.Stmt(d.forgetChanges).Exec(u.OpenID)
		}
	default:
		tags := tagsOf(u)
		switch {
		case !known:
			changes = append(changes, change{kind: "new"})
		case leftAt != 0 || old.SubscribeTime != u.SubscribeTime: // a new time: left and came back between two runs
			changes = append(changes, change{kind: "back"})
		}
		for _, c := range []change{
			{"unionid", old.UnionID, u.UnionID}, {"remark", old.Remark, u.Remark}, {"tags", oldTags, tags},
		} {
			if known && leftAt == 0 && c.old != c.new {
				changes = append(changes, c)
			}
		}
		_, err = tx.Stmt(d.upsert).Exec(u.OpenID, u.UnionID, u.Remark, tags, string(u.SubscribeScene), u.SubscribeTime)
	}
	for _, c := range changes {
		if err != nil {
			return err
		}
		_, err = tx.Stmt(d.addChange).Exec(now, u.OpenID, c.kind, c.old, c.new)
	}
	return err
}

// change is a change of a user.
type change struct{ kind, old, new string }

// tagsOf returns the tag IDs of a user as a sorted JSON array.
func tagsOf(u wechatuser.UserInfo) string {
	ids := slices.Sorted(slices.Values(u.TagIDList))
	return strings.ReplaceAll(fmt.Sprint(ids), " ", ",")
}

func (d *database) lastChange() (n int64, err error) {
	err = d.QueryRow("SELECT coalesce(max(n), 0) FROM changes").Scan(&n)
	return n, err
}

// changesAfter calls each with every change after number n, and returns their counts by kind.
func (d *database) changesAfter(n int64, each func(openID string, c change)) (map[string]int, error) {
	rows, err := d.Query("SELECT openid, what, old, new FROM changes WHERE n > ? ORDER BY n", n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := make(map[string]int)
	for rows.Next() {
		var openID string
		var c change
		if err := rows.Scan(&openID, &c.kind, &c.old, &c.new); err != nil {
			return nil, err
		}
		counts[c.kind]++
		each(openID, c)
	}
	return counts, rows.Err()
}
