// Sync makes the members of a tag those that a file names. It says what it would change, and changes it with -apply.
//
//	go run ./examples/sync                                         # on an account in memory, with demo.txt
//	go run ./examples/sync -tag 会员 -file members.txt         # says what it would do
//	go run ./examples/sync -tag 会员 -file members.txt -apply  # does it
//
// As it is, it works on an account in memory. With WECHAT_APPID and WECHAT_SECRET set it works on the real one.
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

const usage = `Sync makes the members of a tag those that a file names.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

  go run ./examples/sync -tag 会员 -file members.txt          says what it would do
  go run ./examples/sync -tag 会员 -file members.txt -apply   does it

The file has one openid a line, or in the first column of a CSV. Blank lines and lines that begin with # are passed over.
The exit status is 1 if the file is broken, or if anybody was refused.

`

// config is what the flags say.
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
		return errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	case cfg.tag == "" || cfg.file == "":
		return errors.New("say which tag and which file: -tag 会员 -file members.txt")
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
	flags.StringVar(&cfg.tag, "tag", "", "`name` of the tag; one that does not exist is made")
	flags.StringVar(&cfg.file, "file", "", "`file` of openids")
	flags.BoolVar(&cfg.apply, "apply", false, "change the account; without it the program only says what it would do")
	flags.BoolVar(&cfg.keep, "keep", false, "remove nobody")
	flags.BoolVar(&cfg.force, "force", false, "remove more than half of the members")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	return cfg, nil
}
