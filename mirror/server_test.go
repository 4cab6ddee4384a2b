package mirror_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/wechatuser/wechatuser/mirror"
)

// database is a kind of database that the tests use.
type database struct {
	dialect mirror.Dialect
	open    func(t *testing.T) *sql.DB // an empty database
	// seconds is an expression for a time as Unix seconds.
	seconds string
}

var databases = []database{
	{mirror.SQLite, openSQLite, "CAST(strftime('%%s', %s) AS INTEGER)"},
	{mirror.PostgreSQL, openPostgreSQL, "CAST(EXTRACT(EPOCH FROM %s) AS bigint)"},
	{mirror.MySQL, openMariaDB, "TIMESTAMPDIFF(SECOND, '1970-01-01', %s)"},
}

// forEachDatabase runs a test on each kind of database.
func forEachDatabase(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	for _, d := range databases {
		t.Run(string(d.dialect), func(t *testing.T) {
			t.Parallel()
			f(t, d)
		})
	}
}

func openSQLite(t *testing.T) *sql.DB {
	t.Helper()
	return openDB(t, "sqlite", sqliteDSN(filepath.Join(t.TempDir(), "mirror.db")))
}

func sqliteDSN(file string) string {
	return "file:" + file + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
}

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(10)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// databaseServer is a server on a Unix socket in a temporary folder. All tests share it, each with tables of its own.
type databaseServer struct {
	dir  string
	done chan struct{} // closed when it has ended
	proc *os.Process
	next atomic.Int64
}

var (
	running      sync.Mutex
	servers      []*databaseServer
	postgreSQL   = sync.OnceValues(startPostgreSQL)
	mariaDB      = sync.OnceValues(startMariaDB)
	serverBinary = map[string]string{
		"postgres": "/usr/lib/postgresql/*/bin/postgres", "initdb": "/usr/lib/postgresql/*/bin/initdb",
		"mariadbd": "/usr/sbin/mariadbd", "mariadb-install-db": "/usr/bin/mariadb-install-db",
	}
)

func openPostgreSQL(t *testing.T) *sql.DB {
	t.Helper()
	s := needServer(t, postgreSQL)
	db := openDB(t, "pgx", s.postgresDSN(url.Values{}))
	name := s.create(t, db, "SCHEMA") // a database takes longer
	return openDB(t, "pgx", s.postgresDSN(url.Values{"search_path": {name}}))
}

func (s *databaseServer) postgresDSN(params url.Values) string {
	params.Set("host", s.dir)
	params.Set("user", "postgres")
	params.Set("sslmode", "disable")
	return "postgres:///postgres?" + params.Encode()
}

func openMariaDB(t *testing.T) *sql.DB {
	t.Helper()
	return openMariaDBWith(t, "")
}

// openMariaDBWith is openMariaDB with parameters of the DSN.
func openMariaDBWith(t *testing.T, params string) *sql.DB {
	t.Helper()
	s := needServer(t, mariaDB)
	// The character set of the connection is that of the driver; the tables have their own.
	dsn := func(name string) string { return "root@unix(" + filepath.Join(s.dir, "sock") + ")/" + name }
	name := s.create(t, openDB(t, "mysql", dsn("")), "DATABASE")
	return openDB(t, "mysql", dsn(name)+params)
}

func needServer(t *testing.T, start func() (*databaseServer, error)) *databaseServer {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a database server")
	}
	s, err := start()
	require.NoError(t, err)
	return s
}

func (s *databaseServer) create(t *testing.T, admin *sql.DB, what string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.next.Add(1))
	_, err := admin.ExecContext(t.Context(), "CREATE "+what+" "+name)
	require.NoError(t, err)
	return name
}

func startPostgreSQL() (*databaseServer, error) {
	const install = "install PostgreSQL (Debian: apt-get install postgresql), or use go test -short"
	initdb, err := find("initdb", install)
	if err != nil {
		return nil, err
	}
	postgres, err := find("postgres", install)
	if err != nil {
		return nil, err
	}
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	err = s.run(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return nil, err
	}
	// A time zone and a date style that would be wrong if the store relied on them.
	return s, s.start("pgx", s.postgresDSN(url.Values{}), postgres, "-D", data, "-k", s.dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "timezone=Asia/Shanghai", "-c", "datestyle=SQL, DMY")
}

func startMariaDB() (*databaseServer, error) {
	const install = "install MariaDB (Debian: apt-get install mariadb-server), or use go test -short"
	installDB, err := find("mariadb-install-db", install)
	if err != nil {
		return nil, err
	}
	mariadbd, err := find("mariadbd", install)
	if err != nil {
		return nil, err
	}
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	data, socket := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "sock")
	err = s.run(installDB, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db")
	if err != nil {
		return nil, err
	}
	// Its default character set cannot hold Chinese: the tables have to say theirs.
	return s, s.start("mysql", "root@unix("+socket+")/", mariadbd, "--no-defaults", "--datadir="+data, "--socket="+socket,
		"--pid-file="+filepath.Join(s.dir, "pid"), "--skip-networking", "--character-set-server=latin1",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--default-time-zone=+08:00",
		"--max-connections=500")
}

func find(name, install string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if paths, _ := filepath.Glob(serverBinary[name]); len(paths) > 0 {
		return slices.Max(paths), nil
	}
	return "", fmt.Errorf("%s is not installed: %s", name, install)
}

// newServer returns a server with a folder that it may write to. The path is short, since that of a socket has to be.
func newServer() (*databaseServer, error) {
	dir, err := os.MkdirTemp("", "db")
	if err != nil {
		return nil, err
	}
	s := &databaseServer{dir: dir, done: make(chan struct{})}
	running.Lock()
	servers = append(servers, s)
	running.Unlock()
	if who := credential(); who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	return s, err
}

// credential returns a user for servers if the tests run as root, which database servers refuse to do.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *databaseServer) command(name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd, out := exec.Command(name, args...), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, s.dir
	cmd.SysProcAttr = endWithTest(&syscall.SysProcAttr{Credential: credential()})
	return cmd, out
}

func (s *databaseServer) run(name string, args ...string) error {
	cmd, out := s.command(name, args...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// start starts the server and waits until it accepts connections.
func (s *databaseServer) start(driver, dsn, name string, args ...string) error {
	cmd, out := s.command(name, args...)
	started := make(chan error)
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // the server would end with the thread that has started it
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.proc = cmd.Process
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for end := time.Now().Add(2 * time.Minute); ; {
		if err = db.Ping(); err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s has ended:\n%s", name, out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			return errors.Join(errors.New(name+" does not answer"), err)
		}
	}
}

// stopServers stops all servers and deletes their folders.
func stopServers() {
	running.Lock()
	defer running.Unlock()
	for _, s := range servers {
		if s.proc != nil {
			_ = s.proc.Signal(syscall.SIGQUIT) // at once
			if s.isMariaDB() {
				_ = s.proc.Kill() // it would write a core
			}
			<-s.done
		}
		_ = os.RemoveAll(s.dir)
	}
}

func (s *databaseServer) isMariaDB() bool {
	_, err := os.Stat(filepath.Join(s.dir, "sock"))
	return err == nil
}
