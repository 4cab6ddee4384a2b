package mirror

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Dialect is the SQL dialect of a database.
type Dialect string

// The dialects that [NewSQLStore] supports.
const (
	SQLite     Dialect = "SQLite"     // 3.35 or later
	PostgreSQL Dialect = "PostgreSQL" // 12 or later
	MySQL      Dialect = "MySQL"      // 8.0 or later; also MariaDB 10.6 or later
)

// columns has the columns of the table of followers. The tickets are last, because MySQL assigns from left to right,
// and the conditions of the other assignments need the old tickets.
var columns = []string{
	"hash", "openid", "left_at", "seen_at",
	"unionid", "remark", "tags", "scene", "qr_scene", "qr_scene_str", "subscribed_at", "profile_at",
	"profile_ticket", "ticket",
}

// ofProfile has the columns that a statement without a profile does not change.
var ofProfile = map[string]bool{
	"unionid": true, "remark": true, "tags": true, "scene": true, "qr_scene": true, "qr_scene_str": true,
	"subscribed_at": true, "profile_at": true, "profile_ticket": true,
}

// migrations returns, for each version of the schema, the SQL statements that lead to the next one. Add a version; do
// not change one that has been released. The SQL may run twice, because MySQL does not run it in a transaction.
func (d Dialect) migrations(prefix string) [][]string {
	followers, walks := prefix+"followers", prefix+"walks"
	walkRows := "INSERT INTO " + walks + " (kind) SELECT kind FROM (SELECT 'full' AS kind UNION SELECT 'reconcile') AS k" +
		" WHERE NOT EXISTS (SELECT 1 FROM " + walks + ")"
	switch d {
	case PostgreSQL:
		return [][]string{{
			// A walk updates the ticket of every row. Since no index has it and pages have room, no index is written.
			`CREATE TABLE IF NOT EXISTS ` + followers + ` (
	hash           char(32) COLLATE "C" PRIMARY KEY,
	openid         varchar(128) COLLATE "C",
	left_at        timestamptz,
	seen_at        timestamptz NOT NULL,
	unionid        varchar(128) COLLATE "C" NOT NULL,
	remark         text NOT NULL,
	tags           text NOT NULL,
	scene          text NOT NULL,
	qr_scene       bigint NOT NULL,
	qr_scene_str   text NOT NULL,
	subscribed_at  timestamptz,
	profile_at     timestamptz,
	profile_ticket bigint NOT NULL,
	ticket         bigint NOT NULL
) WITH (fillfactor = 80)`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_openid ON ` + followers + ` (openid)`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_unionid ON ` + followers + ` (unionid) WHERE unionid <> ''`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_left_at ON ` + followers + ` (left_at) WHERE left_at IS NOT NULL`,
			`CREATE TABLE IF NOT EXISTS ` + walks + ` (
	kind       varchar(16) PRIMARY KEY,
	ticket     bigint NOT NULL DEFAULT 0,
	started_at bigint NOT NULL DEFAULT 0,
	place      varchar(128) NOT NULL DEFAULT '',
	listed     bigint NOT NULL DEFAULT 0
)`, walkRows,
		}}
	case MySQL:
		return [][]string{{
			`CREATE TABLE IF NOT EXISTS ` + followers + ` (
	hash           char(32) NOT NULL PRIMARY KEY,
	openid         varchar(128),
	left_at        datetime(6),
	seen_at        datetime(6) NOT NULL,
	unionid        varchar(128) NOT NULL,
	remark         text NOT NULL,
	tags           text NOT NULL,
	scene          text NOT NULL,
	qr_scene       bigint NOT NULL,
	qr_scene_str   text NOT NULL,
	subscribed_at  datetime(6),
	profile_at     datetime(6),
	profile_ticket bigint NOT NULL,
	ticket         bigint NOT NULL,
	INDEX ` + followers + `_openid (openid),
	INDEX ` + followers + `_unionid (unionid),
	INDEX ` + followers + `_left_at (left_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
			`CREATE TABLE IF NOT EXISTS ` + walks + ` (
	kind       varchar(16) NOT NULL PRIMARY KEY,
	ticket     bigint NOT NULL DEFAULT 0,
	started_at bigint NOT NULL DEFAULT 0,
	place      varchar(128) NOT NULL DEFAULT '',
	listed     bigint NOT NULL DEFAULT 0
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`, walkRows,
		}}
	default:
		return [][]string{{
			`CREATE TABLE IF NOT EXISTS ` + followers + ` (
	hash           TEXT PRIMARY KEY,
	openid         TEXT,
	left_at        TEXT,
	seen_at        TEXT NOT NULL,
	unionid        TEXT NOT NULL,
	remark         TEXT NOT NULL,
	tags           TEXT NOT NULL,
	scene          TEXT NOT NULL,
	qr_scene       INTEGER NOT NULL,
	qr_scene_str   TEXT NOT NULL,
	subscribed_at  TEXT,
	profile_at     TEXT,
	profile_ticket INTEGER NOT NULL,
	ticket         INTEGER NOT NULL
) WITHOUT ROWID`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_openid ON ` + followers + ` (openid)`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_unionid ON ` + followers + ` (unionid) WHERE unionid <> ''`,
			`CREATE INDEX IF NOT EXISTS ` + followers + `_left_at ON ` + followers + ` (left_at) WHERE left_at IS NOT NULL`,
			`CREATE TABLE IF NOT EXISTS ` + walks + ` (
	kind       TEXT PRIMARY KEY,
	ticket     INTEGER NOT NULL DEFAULT 0,
	started_at INTEGER NOT NULL DEFAULT 0,
	place      TEXT NOT NULL DEFAULT '',
	listed     INTEGER NOT NULL DEFAULT 0
)`, walkRows,
		}}
	}
}

// bootstrap returns the SQL that creates the table with the version of the schema, the account and the last ticket, and
// its only row.
func (d Dialect) bootstrap(prefix string) (create, insert string) {
	create = `CREATE TABLE IF NOT EXISTS ` + prefix + `mirror (
	id      integer NOT NULL PRIMARY KEY,
	version integer NOT NULL,
	app_id  varchar(64) NOT NULL,
	ticket         bigint NOT NULL
)`
	insert = `INTO ` + prefix + `mirror (id, version, app_id, ticket) VALUES (1, 0, ` + d.param(1) + `, 0)`
	switch d {
	case MySQL:
		return create + ` ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`, "INSERT IGNORE " + insert
	default:
		return create, "INSERT " + insert + " ON CONFLICT DO NOTHING"
	}
}

// param returns the placeholder of the n-th argument, from 1.
func (d Dialect) param(n int) string {
	if d == PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// params returns n placeholders in parentheses, beginning with that of argument first.
func (d Dialect) params(first, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(", "[:min(2*i, 2)])
		b.WriteString(d.param(first + i))
	}
	return "(" + b.String() + ")"
}

// kind is the kind of a [Statement].
type kind int

const (
	bare    kind = iota // the user follows; the profile is not known
	profile             // the user follows and has this profile
	left                // the user has left
)

// upsert returns the SQL that stores n statements of a kind, unless the table has larger tickets. The profile ticket of
// a row is never larger than its ticket, and equal to it for a former follower. So if a profile in a statement is newer
// than that of the row, the row is that of a follower or older than the statement.
func (d Dialect) upsert(table string, n int, k kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", "))
	for i := range n {
		b.WriteString(", "[:min(2*i, 2)])
		b.WriteString(d.params(1+i*len(columns), len(columns)))
	}
	limit := "ticket"
	if k == profile {
		limit = "profile_ticket"
	}
	if d == MySQL {
		b.WriteString(" ON DUPLICATE KEY UPDATE ")
	} else {
		b.WriteString(" ON CONFLICT (hash) DO UPDATE SET ")
	}
	own := table + "."
	comma := ""
	for _, c := range columns[1:] {
		switch {
		case ofProfile[c] && k == bare:
			continue
		case c == "ticket" && d == MySQL:
			fmt.Fprintf(&b, "%sticket = GREATEST(ticket, VALUES(ticket))", comma)
		case c == "ticket", c == "seen_at" && d != MySQL:
			fmt.Fprintf(&b, "%s%s = CASE WHEN %sticket <= excluded.ticket THEN excluded.%[2]s ELSE %[3]s%[2]s END",
				comma, c, own)
		case c == "seen_at":
			fmt.Fprintf(&b, "%sseen_at = IF(VALUES(ticket) >= ticket, VALUES(seen_at), seen_at)", comma)
		case d == MySQL:
			fmt.Fprintf(&b, "%s%s = IF(VALUES(ticket) >= %s, VALUES(%[2]s), %[2]s)", comma, c, limit)
		default:
			fmt.Fprintf(&b, "%s%s = excluded.%[2]s", comma, c)
		}
		comma = ", "
	}
	if d != MySQL {
		fmt.Fprintf(&b, " WHERE %s%s <= excluded.ticket", own, limit)
	}
	return b.String()
}

// time returns a time as an argument: a text in UTC, which does not depend on the configuration of the connection and
// the driver. In SQLite, texts sort in the order of the times.
func (d Dialect) time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02 15:04:05.000000")
	if d == PostgreSQL {
		text += "+00"
	}
	return text
}
