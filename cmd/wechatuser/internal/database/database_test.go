package database

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/mirror"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	const host = "db.example"
	for text, want := range map[string]Database{
		"followers.db":                                {Dialect: mirror.SQLite, Name: "followers.db"},
		"a dir/f?x=1#2.db":                            {Dialect: mirror.SQLite, Name: "a dir/f?x=1#2.db"},
		"postgres://crm@db.example/crm":               {Dialect: mirror.PostgreSQL, Name: host + "/crm"},
		"PostgreSQL://crm:p%40ss@db.example:5433/crm": {Dialect: mirror.PostgreSQL, Name: host + "/crm", HasPassword: true},
		"postgres://crm@db.example/crm?password=x":    {Dialect: mirror.PostgreSQL, Name: host + "/crm", HasPassword: true},
		"host=db.example dbname=crm user=crm":         {Dialect: mirror.PostgreSQL, Name: host + "/crm"},
		"host=db.example dbname=crm password=x":       {Dialect: mirror.PostgreSQL, Name: host + "/crm", HasPassword: true},
		"mysql://crm@db.example/crm":                  {Dialect: mirror.MySQL, Name: host + ":3306/crm"},
		"mariadb://crm:a%2Fb@db.example:3307/crm?tls=true": {
			Dialect: mirror.MySQL, Name: host + ":3307/crm", HasPassword: true,
		},
		"crm@tcp(db.example)/crm":          {Dialect: mirror.MySQL, Name: host + ":3306/crm"},
		"crm:x@unix(/run/mysqld/sock)/crm": {Dialect: mirror.MySQL, Name: "/run/mysqld/sock/crm", HasPassword: true},
	} {
		d, err := Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, Database{Dialect: d.Dialect, Name: d.Name, HasPassword: d.HasPassword}, text)
	}
	d, err := Parse("mysql://crm:a%2Fb@db.example/crm")
	require.NoError(t, err)
	assert.Equal(t, "a/b", d.mysql.Passwd)
}

// What cannot be read is not shown: it may have a password.
func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		"", "-", "oracle://u:hidden@h/d", "postgres://u:hidden@h:port/d", "mysql://u:hidden@h/", "mysql://u:hidden@h:p/d",
		"u:hidden@tcp(h)/d?timeout=x", "mysql://u:hidden@h/d?timeout=x", "host=h password=hidden port=x",
	} {
		_, err := Parse(text)
		assert.Equal(t, ErrUnreadable, err, text)
	}
}

func TestOpenSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "名 #?.db")
	d, err := Parse(file)
	require.NoError(t, err)
	db, err := d.Open(t.Context())
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE t (x)")
	require.NoError(t, err)
	var mode string
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode))
	assert.Equal(t, "wal", mode)
	require.NoError(t, db.Close())
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	d.Name = filepath.Join(file, "below-a-file")
	_, err = d.Open(t.Context())
	assert.Error(t, err)
}

func TestOpenUnreachable(t *testing.T) {
	for _, text := range []string{"postgres://crm@127.0.0.1:1/crm?sslmode=disable", "mysql://crm@127.0.0.1:1/crm"} {
		d, err := Parse(text)
		require.NoError(t, err)
		_, err = d.Open(t.Context())
		assert.Error(t, err, text)
	}
}
