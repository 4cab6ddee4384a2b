package mirror

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// SQLStore is a [Store] in a database. The package doc and docs/mirror.md describe its tables.
type SQLStore struct {
	db      *sql.DB
	dialect Dialect
	prefix  string

	followers, walks, state string                    // names of the tables
	migrations              [][]string                // replaced in tests
	pause                   func(n int) time.Duration // before the n-th retry
}

// SQLOption configures a [SQLStore].
type SQLOption func(*SQLStore) error

var prefixes = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// WithTablePrefix sets the beginning of the names of all tables and indexes. Defaults to "wechat_". Each account needs
// tables of its own, so a database with several accounts needs a prefix for each. It has up to 40 lower-case letters,
// digits and underscores.
func WithTablePrefix(prefix string) SQLOption {
	return func(s *SQLStore) error {
		if !prefixes.MatchString(prefix) {
			return fmt.Errorf("mirror: WithTablePrefix: %q: use up to 40 of a-z, 0-9 and _, and no digit first", prefix)
		}
		s.prefix = prefix
		return nil
	}
}

// NewSQLStore returns a store in a database, in a dialect. It does not use the database yet; tables are created by the
// first method of a [Mirror] that needs them. See [SQLStore.Schema] to create them by hand.
//
// Any driver will do. An SQLite database needs a busy timeout, as in the DSN "file:f.db?_pragma=busy_timeout(1000)" of
// modernc.org/sqlite, so that processes wait for each other. The driver may wait for as long even if the context has
// ended, so keep it short: the store tries again. A MySQL connection must have the character set utf8mb4, as it has by
// default.
func NewSQLStore(db *sql.DB, dialect Dialect, opts ...SQLOption) (*SQLStore, error) {
	if db == nil {
		return nil, errors.New("mirror: NewSQLStore: the database must not be nil")
	}
	if dialect != SQLite && dialect != PostgreSQL && dialect != MySQL {
		return nil, fmt.Errorf("mirror: NewSQLStore: unknown dialect %q: use SQLite, PostgreSQL or MySQL", dialect)
	}
	s := &SQLStore{db: db, dialect: dialect, prefix: "wechat_", pause: func(n int) time.Duration {
		return time.Duration(1+rand.IntN(20*n)) * time.Millisecond
	}}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("mirror: NewSQLStore: option %d is nil", i+1)
		}
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	s.followers, s.walks, s.state = s.prefix+"followers", s.prefix+"walks", s.prefix+"mirror"
	s.migrations = dialect.migrations(s.prefix)
	return s, nil
}

// Schema returns the statements that create the tables, for an administrator who does not let programs do so. They end
// with the one that notes the account and the version, so that Open creates nothing.
func (s *SQLStore) Schema(appID string) []string {
	create, _ := s.dialect.bootstrap(s.prefix)
	list := slices.Concat(append([][]string{{create}}, s.migrations...)...)
	return append(list, fmt.Sprintf("INSERT INTO %s (id, version, app_id, ticket) VALUES (1, %d, '%s', 0)",
		s.state, len(s.migrations), strings.ReplaceAll(appID, "'", "''")))
}

// Open implements [Store]. It runs the migrations that the tables lack. Processes that start at once wait for each
// other.
func (s *SQLStore) Open(ctx context.Context, appID string) error {
	if err := s.checkConnection(ctx); err != nil {
		return err
	}
	version, err := s.version(ctx, s.db, appID)
	if err == nil && version < len(s.migrations) || err != nil && !errors.As(err, new(*schemaError)) {
		err = s.retry(ctx, func() error { return s.migrate(ctx, appID) })
	}
	return err
}

// checkConnection finds settings of a DSN with which writes would fail at the first emoji, or be lost.
func (s *SQLStore) checkConnection(ctx context.Context) error {
	if s.dialect != MySQL {
		return nil
	}
	var charset string
	var autocommit bool
	err := s.db.QueryRowContext(ctx, "SELECT @@character_set_client, @@autocommit").Scan(&charset, &autocommit)
	switch {
	case err != nil:
		return err
	case charset != "utf8mb4":
		return fmt.Errorf("the connection has the character set %s: leave charset out of the DSN, or set it to utf8mb4",
			charset)
	case !autocommit:
		return errors.New("the connection has autocommit off: leave it out of the DSN")
	}
	return nil
}

// schemaError says that the tables are not for this program.
type schemaError struct{ error }

// version returns the version of the schema.
func (s *SQLStore) version(ctx context.Context, db querier, appID string) (version int, err error) {
	var owner string
	err = db.QueryRowContext(ctx, "SELECT version, app_id FROM "+s.state+" WHERE id = 1").Scan(&version, &owner)
	switch {
	case err != nil:
		return 0, err
	case owner != appID:
		return 0, &schemaError{otherAccount(owner, appID)}
	case version > len(s.migrations):
		return 0, &schemaError{fmt.Errorf("the tables have version %d, and this program knows version %d: update it",
			version, len(s.migrations))}
	}
	return version, nil
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// migrate runs the migrations that the tables lack, under a lock.
func (s *SQLStore) migrate(ctx context.Context, appID string) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = conn.ExecContext(ctx, query, args...)
		}
	}
	finish := func(query string, args ...any) { // also if ctx has ended
		_, finishErr := conn.ExecContext(context.WithoutCancel(ctx), query, args...)
		err = errors.Join(err, finishErr)
	}
	lock := "wechatuser mirror " + s.prefix
	switch s.dialect {
	case SQLite:
		exec("BEGIN IMMEDIATE")
	case PostgreSQL:
		exec("BEGIN")
		exec("SELECT pg_advisory_xact_lock(hashtext($1))", lock)
	case MySQL:
		var locked sql.NullInt64
		err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(SHA1(CONCAT(DATABASE(), ?)), 60)", lock).Scan(&locked)
		if err == nil && locked.Int64 != 1 {
			err = errors.New("the tables are being migrated by another process")
		}
	}
	if err != nil {
		if s.dialect == PostgreSQL {
			finish("ROLLBACK")
		}
		return err
	}
	defer func() {
		switch {
		case s.dialect == MySQL:
			finish("DO RELEASE_LOCK(SHA1(CONCAT(DATABASE(), ?)))", lock)
		case err != nil:
			finish("ROLLBACK")
		default:
			finish("COMMIT")
		}
	}()
	create, insert := s.dialect.bootstrap(s.prefix)
	exec(create)
	exec(insert, appID)
	if err != nil {
		return err
	}
	version, err := s.version(ctx, conn, appID)
	if err != nil {
		return err
	}
	for ; version < len(s.migrations) && err == nil; version++ {
		for _, statement := range s.migrations[version] {
			exec(statement)
		}
		exec("UPDATE " + s.state + " SET version = " + strconv.Itoa(version+1) + " WHERE id = 1")
	}
	return err
}

// Ticket implements [Store].
func (s *SQLStore) Ticket(ctx context.Context) (ticket int64, err error) {
	err = s.retry(ctx, func() (err error) {
		if s.dialect == MySQL {
			var res sql.Result
			res, err = s.db.ExecContext(ctx, "UPDATE "+s.state+" SET ticket = LAST_INSERT_ID(ticket + 1) WHERE id = 1")
			if err == nil {
				ticket, err = res.LastInsertId()
			}
			return err
		}
		return s.db.QueryRowContext(ctx,
			"UPDATE "+s.state+" SET ticket = ticket + 1 WHERE id = 1 RETURNING ticket").Scan(&ticket)
	})
	return ticket, err
}

// rowsAtOnce is how many rows a statement writes. SQLite takes 32,766 arguments, the others more.
const rowsAtOnce = 500

// Put implements [Store].
func (s *SQLStore) Put(ctx context.Context, statements []Statement) error {
	// In one order everywhere, so that two processes do not lock each other's rows.
	type entry struct {
		hash string
		Statement
	}
	var lists [left + 1][]entry
	for _, st := range statements {
		k := left
		switch {
		case st.Follows() && st.Profile == nil:
			k = bare
		case st.Follows():
			k = profile
		}
		lists[k] = append(lists[k], entry{hashOf(st.OpenID), st})
	}
	for k, list := range lists {
		slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.hash, b.hash) })
		for part := range slices.Chunk(list, rowsAtOnce) {
			args := make([]any, 0, len(part)*len(columns))
			var openIDs []any
			for _, e := range part {
				args = s.appendRow(args, e.hash, e.Statement, kind(k))
				openIDs = append(openIDs, text(e.OpenID, maxID))
			}
			if kind(k) == left {
				// Before the rows, so that a repeat after an error still does both.
				if err := s.forgetPlaces(ctx, openIDs); err != nil {
					return err
				}
			}
			if err := s.exec(ctx, s.dialect.upsert(s.followers, len(part), kind(k)), args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetPlaces makes walks that would resume after a user who has left resume at the beginning: a place is an openid.
func (s *SQLStore) forgetPlaces(ctx context.Context, openIDs []any) error {
	return s.exec(ctx, "UPDATE "+s.walks+" SET place = '', listed = 0 WHERE place IN "+
		s.dialect.params(1, len(openIDs)), openIDs...)
}

// appendRow appends the values of the columns.
func (s *SQLStore) appendRow(args []any, hash string, st Statement, k kind) []any {
	var openID, profileAt any
	var u wechatuser.UserInfo
	profileTicket := st.Ticket
	if k != left {
		openID = st.OpenID
	}
	switch k {
	case bare:
		profileTicket = 0
	case profile:
		u, profileAt = *st.Profile, s.dialect.time(st.At)
	}
	tags := strings.ReplaceAll(fmt.Sprint(u.TagIDList), " ", ",")
	subscribedAt := u.SubscribedAt()
	if subscribedAt.Year() > 9999 { // no database has it
		subscribedAt = time.Time{}
	}
	return append(args, hash, openID, s.dialect.time(st.LeftAt), s.dialect.time(st.At),
		text(u.UnionID, maxID), text(u.Remark, maxText), tags, text(string(u.SubscribeScene), maxText),
		u.QRScene, text(u.QRSceneStr, maxText), s.dialect.time(subscribedAt), profileAt, profileTicket, st.Ticket)
}

// The most characters that a column has room for. What the platform sends is far shorter.
const (
	maxID   = 128
	maxText = 16_000
)

// text returns a text as databases accept it, so that one odd profile does not stop a walk.
func text(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:min(limit, len(runes))])
}

// hashOf is the key of a user. It remains when the openid is deleted. Openids are random, so the hash does not tell
// them.
func hashOf(openID string) string {
	sum := sha256.Sum256([]byte(openID))
	return hex.EncodeToString(sum[:16])
}

// Listed implements [Store].
func (s *SQLStore) Listed(ctx context.Context, l Listing) (unknown, stale []string, err error) {
	for part := range slices.Chunk(l.OpenIDs, 2*rowsAtOnce) {
		hashes := make([]string, len(part))
		for i, openID := range part {
			hashes[i] = hashOf(openID)
		}
		sorted := slices.Sorted(slices.Values(hashes))
		args := []any{l.Ticket, s.dialect.time(l.At), l.Ticket}
		for _, h := range sorted {
			args = append(args, h)
		}
		p := s.dialect.param
		err := s.exec(ctx, "UPDATE "+s.followers+" SET ticket = "+p(1)+", seen_at = "+p(2)+
			" WHERE ticket < "+p(3)+" AND left_at IS NULL AND hash IN "+s.dialect.params(4, len(sorted)), args...)
		if err != nil {
			return nil, nil, err
		}
		// A row is no answer if it says that the user has left and is older than the list.
		args = append([]any{s.dialect.time(cmp.Or(l.StaleBefore, time.Unix(0, 0))), l.Ticket}, args[3:]...)
		isStale, err := s.flags(ctx, "SELECT hash, CASE WHEN left_at IS NULL AND (profile_at IS NULL OR profile_at < "+p(1)+
			") THEN 1 ELSE 0 END FROM "+s.followers+" WHERE (left_at IS NULL OR ticket >= "+p(2)+") AND hash IN "+
			s.dialect.params(3, len(sorted)), args...)
		if err != nil {
			return nil, nil, err
		}
		for i, openID := range part {
			switch is, known := isStale[hashes[i]]; {
			case !known:
				unknown = append(unknown, openID)
			case is:
				stale = append(stale, openID)
			}
		}
	}
	return unknown, stale, nil
}

// flags returns the rows of a query for a text and a number.
func (s *SQLStore) flags(ctx context.Context, query string, args ...any) (flags map[string]bool, err error) {
	err = s.retry(ctx, func() error {
		flags = make(map[string]bool)
		rows, err := s.db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			var n int
			if err := rows.Scan(&key, &n); err != nil {
				return err
			}
			flags[key] = n != 0
		}
		return rows.Err()
	})
	return flags, err
}

// Count implements [Store].
func (s *SQLStore) Count(ctx context.Context, ticket int64) (followers, unlisted int, err error) {
	err = s.retry(ctx, func() error {
		return s.db.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(CASE WHEN ticket < "+s.dialect.param(1)+
			" THEN 1 END) FROM "+s.followers+" WHERE left_at IS NULL", ticket).Scan(&followers, &unlisted)
	})
	return followers, unlisted, err
}

// Unlisted implements [Store].
func (s *SQLStore) Unlisted(ctx context.Context, ticket int64, after string, limit int) (openIDs []string, err error) {
	if after != "" {
		after = hashOf(after)
	}
	p := s.dialect.param
	err = s.retry(ctx, func() error {
		openIDs = nil
		rows, err := s.db.QueryContext(ctx, "SELECT openid FROM "+s.followers+" WHERE left_at IS NULL AND ticket < "+p(1)+
			" AND hash > "+p(2)+" ORDER BY hash LIMIT "+strconv.Itoa(limit), ticket, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var openID string
			if err := rows.Scan(&openID); err != nil {
				return err
			}
			openIDs = append(openIDs, openID)
		}
		return rows.Err()
	})
	return openIDs, err
}

// Purge implements [Store].
func (s *SQLStore) Purge(ctx context.Context, ticket int64, before time.Time) error {
	p := s.dialect.param
	return s.exec(ctx, "DELETE FROM "+s.followers+" WHERE left_at IS NOT NULL AND ticket < "+p(1)+" AND seen_at < "+p(2),
		ticket, s.dialect.time(before))
}

// LoadWalk implements [Store].
func (s *SQLStore) LoadWalk(ctx context.Context, kind string) (w Walk, err error) {
	var started int64
	err = s.retry(ctx, func() error {
		return s.db.QueryRowContext(ctx, "SELECT ticket, started_at, place, listed FROM "+s.walks+" WHERE kind = "+
			s.dialect.param(1), kind).Scan(&w.Ticket, &started, &w.Place, &w.Listed)
	})
	if w.Ticket != 0 {
		w.Started = time.UnixMicro(started)
	}
	return w, err
}

// SaveWalk implements [Store].
func (s *SQLStore) SaveWalk(ctx context.Context, kind string, ticket int64, w Walk) error {
	var started int64
	if w.Ticket != 0 {
		started = w.Started.UnixMicro()
	}
	p := s.dialect.param
	return s.exec(ctx, "UPDATE "+s.walks+" SET ticket = "+p(1)+", started_at = "+p(2)+", place = "+p(3)+", listed = "+p(4)+
		" WHERE kind = "+p(5)+" AND ticket = "+p(6)+
		" AND NOT EXISTS (SELECT 1 FROM "+s.followers+" WHERE hash = "+p(7)+" AND left_at IS NOT NULL)",
		w.Ticket, started, w.Place, w.Listed, kind, ticket, hashOf(w.Place))
}

func (s *SQLStore) exec(ctx context.Context, query string, args ...any) error {
	return s.retry(ctx, func() error {
		_, err := s.db.ExecContext(ctx, query, args...)
		return err
	})
}

const maxTries = 20

// retry runs f until it does not fail because of what others do at the same time. Everything that the store does may be
// done twice.
func (s *SQLStore) retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == maxTries || !isTransient(err) {
			return err
		}
		timer := time.NewTimer(s.pause(n))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// isTransient reports whether a database has refused a statement because of another one: a deadlock, a conflict of
// transactions, or a lock that is held for too long. The package imports no driver, so it reads texts.
func isTransient(err error) bool {
	if pg := (interface{ SQLState() string })(nil); errors.As(err, &pg) {
		return pg.SQLState() == "40001" || pg.SQLState() == "40P01"
	}
	return slices.ContainsFunc([]string{
		"Error 1020 ", "Error 1205 ", "Error 1213 ", // MySQL and MariaDB
		"database is locked", "database table is locked", // SQLite
	}, func(text string) bool { return strings.Contains(err.Error(), text) })
}
