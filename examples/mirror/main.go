// Mirror keeps a table of an account's followers in an SQLite database, with package mirror.
//
//	go run . -db mirror.db               # all followers, with their profiles; later: who is new, who has left
//	go run . -db mirror.db -profiles 24h # also read the profiles again that are older than a day
//	go run . -db mirror.db -reconcile    # openids only, at one call for each 10,000 followers
//
// If it is stopped or killed, the next run resumes. docs/mirror.md shows how pushes keep the table true between two
// runs, and the columns of the table.
//
// By default it uses an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it reads the real account and
// changes nothing there.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // SQLite in Go, without a C compiler

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("mirror", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("db", "mirror.db", "SQLite `file`")
	age := flags.Duration("profiles", -1, "also read the profiles again that are older than this")
	openIDsOnly := flags.Bool("reconcile", false, "read openids only")
	force := flags.Bool("force", false, "allow removing more than half of the followers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, err := newClient(stderr)
	if err != nil {
		return err
	}
	defer client.HTTPClient().CloseIdleConnections()
	db, err := open(*file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return update(ctx, client, db, *age, *openIDsOnly, *force, stdout)
}

// update runs the mirror once and prints what it has done.
func update(
	ctx context.Context, client *wechatuser.Client, db *sql.DB, age time.Duration, openIDsOnly, force bool, out io.Writer,
) error {
	store, err := mirror.NewSQLStore(db, mirror.SQLite)
	if err != nil {
		return err
	}
	m, err := mirror.New(client, store, mirror.WithPatience(10*time.Minute))
	if err != nil {
		return err
	}
	var opts []mirror.WalkOption
	if age >= 0 {
		opts = append(opts, mirror.WithProfilesOlderThan(age))
	}
	if force {
		opts = append(opts, mirror.WithMassRemoval())
	}
	walk := m.Full
	if openIDsOnly {
		walk = m.Reconcile
	}
	report, err := walk(ctx, opts...)
	fmt.Fprintln(out, report)
	if err != nil {
		return fmt.Errorf("stopped, run it again: %w", err)
	}
	return nil
}

// open opens a database, and creates it if there is none.
func open(file string) (*sql.DB, error) {
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
		// Concurrent runs wait for each other, others can read at the same time, and deleted data is overwritten.
		RawQuery: "_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=secure_delete(1)"}
	return sql.Open("sqlite", uri.String())
}

// newClient returns a client for the real account, or for an in-memory account.
func newClient(stderr io.Writer) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	if appID == "" && secret == "" {
		fmt.Fprintln(stderr, "Using an in-memory account with 1000 followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.")
		return wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000)).Client(), nil
	}
	return wechatuser.New(appID, secret)
}
