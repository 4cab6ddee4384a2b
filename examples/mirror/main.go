// Mirror keeps a copy of an account's followers in an SQLite database, for a CRM to read: who follows and who has left,
// with unionid, remark and tags, and a table of all that has changed.
//
//	go run . -db mirror.db                  # the first time: everybody; then: who is new at the end of the list
//	go run . -db mirror.db -full            # who has left and who is back, too
//	go run . -db mirror.db -full -profiles  # whose remark or tags have changed, too
//
// Over n followers these cost about n/100 calls the first time and 1 or 2 later, n/10,000, and n/100. The list is not in
// the order of time, so that a run without -full can miss somebody whom the next -full finds: run it every few
// minutes, -full once a day, and -profiles as often as the quota allows. Stopped or killed, it goes on where it was.
//
// As it is, it works on an account in memory. With WECHAT_APPID and WECHAT_SECRET set it reads the real one, and changes
// nothing there.
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
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory. It is only read.

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
	flags.BoolVar(&m.full, "full", false, "compare the whole list")
	flags.BoolVar(&m.profiles, "profiles", false, "with -full, compare remarks and tags too")
	verbose := flags.Bool("v", false, "print each change")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	if m.profiles && !m.full {
		return errors.New("-profiles needs -full")
	}
	var err error
	if m.wechat, err = newClient(stderr); err != nil {
		return err
	}
	defer m.wechat.HTTPClient().CloseIdleConnections()
	return m.update(ctx, *file, *verbose, stdout)
}

// newClient is the client of the real account, or of one in memory.
func newClient(stderr io.Writer) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000))
		fmt.Fprintf(stderr, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", len(srv.OpenIDs()))
		return srv.Client(), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret)
}

// update brings the database up to date, and says what has changed, also where it was stopped half-way.
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
			fmt.Fprintf(out, "%-7s %s\n", c.what, openID)
		case verbose:
			fmt.Fprintf(out, "%-7s %s  %q -> %q\n", c.what, openID, c.old, c.new)
		}
	})
	if changesErr != nil {
		return errors.Join(err, changesErr)
	}
	fmt.Fprintf(out, "%d new, %d back, %d left; %d remarks, %d tags and %d unionids changed; %d refused.\n",
		counts["new"], counts["back"], counts["left"], counts["remark"], counts["tags"], counts["unionid"], m.refused)
	if err != nil {
		return fmt.Errorf("stopped, start it again to go on: %w", err)
	}
	return nil
}
