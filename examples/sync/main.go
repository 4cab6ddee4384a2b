// Sync makes the members of a tag match a file of openids. It is a dry run unless -apply is given.
//
//	go run ./examples/sync                                     # in-memory account, with demo.txt
//	go run ./examples/sync -tag 会员 -file members.txt         # dry run
//	go run ./examples/sync -tag 会员 -file members.txt -apply  # change the account
//
// With WECHAT_APPID and WECHAT_SECRET set, it uses the real account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/wechatuser/wechatuser"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sync:", err)
		os.Exit(1)
	}
}

const usage = `Sync makes the members of a tag match a file of openids.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  go run ./examples/sync -tag 会员 -file members.txt          dry run
  go run ./examples/sync -tag 会员 -file members.txt -apply   change the account

The file has one openid per line, or is a CSV file with the openids in its first column. Blank lines and lines that
begin with # are skipped. The exit status is 1 if the file is invalid or an openid is rejected.

`

// config holds the flags.
type config struct {
	tag, file          string
	apply, keep, force bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parse(args, stderr)
	if err != nil {
		return err
	}
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		return demo(ctx, cfg, stdout)
	case appID == "":
		return errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	case cfg.tag == "" || cfg.file == "":
		return errors.New("-tag and -file are required, such as -tag 会员 -file members.txt")
	}
	members, err := openMembers(cfg.file)
	if err != nil {
		return err
	}
	c, err := wechatuser.New(appID, secret)
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	return synchronize(ctx, c, cfg, members, stdout)
}

func parse(args []string, stderr io.Writer) (cfg config, err error) {
	flags := flag.NewFlagSet("sync", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&cfg.tag, "tag", "", "`name` of the tag, created if it does not exist")
	flags.StringVar(&cfg.file, "file", "", "`file` of openids")
	flags.BoolVar(&cfg.apply, "apply", false, "change the account; without it, the run is a dry run")
	flags.BoolVar(&cfg.keep, "keep", false, "do not remove members")
	flags.BoolVar(&cfg.force, "force", false, "allow removing more than half of the members")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	return cfg, nil
}
