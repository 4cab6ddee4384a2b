// Package database opens the database that a user names: an SQLite file, or a URL or DSN of PostgreSQL or MySQL.
package database

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // SQLite in Go, without a C compiler

	"github.com/wechatuser/wechatuser/mirror"
)

// ErrUnreadable is the error of a text that names no database. It does not show the text, which may have a password.
var ErrUnreadable = errors.New("not a file, or a URL or DSN of PostgreSQL or MySQL")

// Database is a database that was named, and not opened yet.
type Database struct {
	Dialect mirror.Dialect
	// Name is the file of SQLite, or the host and the name of the database, without user and password.
	Name string
	// HasPassword reports whether the text that named it has a password.
	HasPassword bool

	postgres *pgx.ConnConfig
	mysql    *mysql.Config
}

var (
	keywords   = regexp.MustCompile(`(^|\s)(host|dbname|user|service)\s*=`)
	password   = regexp.MustCompile(`(^|[\s?&])(password|sslpassword)\s*=`)
	mysqlDSN   = regexp.MustCompile(`(^|@)(tcp6?|unix)\(.*\)/`)
	withScheme = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*)://`)
)

// Parse returns the database that a text names. Its errors do not show the text.
func Parse(text string) (*Database, error) {
	scheme := ""
	if m := withScheme.FindStringSubmatch(text); m != nil {
		scheme = strings.ToLower(m[1])
		text = scheme + text[len(scheme):]
	}
	switch {
	case text == "" || text == "-" || strings.Contains(text, "\x00"):
		return nil, ErrUnreadable
	case scheme == "postgres" || scheme == "postgresql":
		u, err := url.Parse(text)
		if err != nil {
			return nil, ErrUnreadable
		}
		_, has := u.User.Password()
		return parsePostgres(text, has)
	case scheme == "mysql" || scheme == "mariadb":
		return parseMySQLURL(text)
	case scheme != "":
		return nil, ErrUnreadable
	case mysqlDSN.MatchString(text):
		config, err := mysql.ParseDSN(text)
		if err != nil {
			return nil, ErrUnreadable
		}
		return newMySQL(config)
	case keywords.MatchString(text):
		return parsePostgres(text, false)
	default:
		return &Database{Dialect: mirror.SQLite, Name: text}, nil
	}
}

func parsePostgres(text string, hasPassword bool) (*Database, error) {
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, ErrUnreadable
	}
	return &Database{
		Dialect: mirror.PostgreSQL, Name: config.Host + "/" + config.Database, postgres: config,
		HasPassword: hasPassword || password.MatchString(text),
	}, nil
}

// parseMySQLURL reads a URL as that of PostgreSQL; the driver itself knows only DSNs. Parameters are those of a DSN.
func parseMySQLURL(text string) (*Database, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, ErrUnreadable
	}
	config, err := mysql.ParseDSN("/?" + u.RawQuery)
	if err != nil {
		return nil, ErrUnreadable
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.DBName = strings.TrimPrefix(u.Path, "/")
	if u.Host != "" {
		config.Net, config.Addr = "tcp", u.Host
		if u.Port() == "" {
			config.Addr += ":3306"
		}
	}
	return newMySQL(config)
}

func newMySQL(config *mysql.Config) (*Database, error) {
	if config.DBName == "" {
		return nil, ErrUnreadable
	}
	config.Logger = new(mysql.NopLogger) // errors are returned too
	return &Database{
		Dialect: mirror.MySQL, Name: config.Addr + "/" + config.DBName, mysql: config, HasPassword: config.Passwd != "",
	}, nil
}

// connectLimit is how long a server may take until it accepts a connection.
const connectLimit = 15 * time.Second

// Open opens the database and makes sure that it can be reached. An SQLite file is created if there is none, for its
// owner only.
func (d *Database) Open(ctx context.Context) (*sql.DB, error) {
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (d *Database) open() (*sql.DB, error) {
	switch d.Dialect {
	case mirror.PostgreSQL:
		return stdlib.OpenDB(*d.postgres), nil
	case mirror.MySQL:
		connector, err := mysql.NewConnector(d.mysql)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}
	f, err := os.OpenFile(d.Name, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would let others read it
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	file, err := filepath.Abs(d.Name)
	if err != nil {
		return nil, err
	}
	uri := url.URL{
		Scheme: "file", OmitHost: true, Path: "/" + strings.TrimPrefix(filepath.ToSlash(file), "/"),
		// Others can read at the same time, and deleted data is overwritten. Concurrent runs wait for each other; the wait
		// is short because an interrupt does not end it, and the store tries again.
		RawQuery: "_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=secure_delete(1)",
	}
	return sql.Open("sqlite", uri.String())
}
