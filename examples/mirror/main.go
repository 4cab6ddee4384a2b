// Mirror keeps a copy of an account's followers in an SQLite database, for a CRM to read: followers with unionid,
// remark and tags, and a table of all changes. Of a user who has left, only the openid is kept: the platform requires
// an account to delete everything else. A CRM that copies the data has to delete it too.
//
//	go run . -db mirror.db                  # first run: all followers; later: new ones at the end of the list
//	go run . -db mirror.db -full            # also find those who have left or come back
//	go run . -db mirror.db -full -profiles  # also find changed remarks and tags
//
// With n followers, the first run costs about n/100 calls and a later one 1 or 2; -full costs n/10,000, and -profiles
// n/100. The list is not sorted by time, so a run without -full can miss a new follower, whom the next -full finds. Run
// it every few minutes, -full once a day, and -profiles as often as the quota allows. If it is stopped or killed, the
// next run resumes.
//
// By default it uses an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it reads the real account and
// changes nothing there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

const usage = `Mirror keeps a copy of an account's followers in an SQLite database.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise. It changes
nothing in the account.

  go run . -db mirror.db

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("mirror", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	file := flags.String("db", "mirror.db", "SQLite `file`")
	m := mirror{now: time.Now, batch: 1000}
	flags.BoolVar(&m.full, "full", false, "compare the whole list, to find those who have left or come back")
	flags.BoolVar(&m.profiles, "profiles", false, "with -full, also compare remarks and tags")
	verbose := flags.Bool("v", false, "print each change")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	if m.profiles && !m.full {
		return errors.New("-profiles requires -full")
	}
	var err error
	if m.wechat, err = newClient(stderr); err != nil {
		return err
	}
	defer m.wechat.HTTPClient().CloseIdleConnections()
	return m.update(ctx, *file, *verbose, stdout)
}

// newClient returns a client for the real account, or for an in-memory account.
func newClient(stderr io.Writer) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000))
		fmt.Fprintf(stderr, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", len(srv.OpenIDs()))
		return srv.Client(), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret)
}

// update updates the database and prints the changes, including those of a run that is stopped.
func (m *mirror) update(ctx context.Context, file string, verbose bool, out io.Writer) (err error) {
	if m.db, err = open(file, m.wechat.AppID()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer func() { err = errors.Join(err, m.db.Close()) }()
	before, err := m.db.lastChange()
	if err != nil {
		return err
	}
	err = m.run(ctx)
	counts, changesErr := m.db.changesAfter(before, func(openID string, c change) {
		switch {
		case verbose && c.old == c.new:
			fmt.Fprintf(out, "%-7s %s\n", c.kind, openID)
		case verbose:
			fmt.Fprintf(out, "%-7s %s  %q -> %q\n", c.kind, openID, c.old, c.new)
		}
	})
	if changesErr != nil {
		return errors.Join(err, changesErr)
	}
	fmt.Fprintf(out, "%d new, %d back, %d left; %d remarks, %d tags and %d unionids changed; %d rejected.\n",
		counts["new"], counts["back"], counts["left"], counts["remark"], counts["tags"], counts["unionid"], m.rejected)
	if err != nil {
		return fmt.Errorf("stopped, run it again to resume: %w", err)
	}
	return nil
}
