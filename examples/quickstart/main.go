// Quickstart demonstrates the main operations of the SDK and prints each step.
//
//	go run ./examples/quickstart
//
// By default it uses an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it reads the real account, and
// changes it only if -write is given.
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
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

const usage = `Quickstart demonstrates the main operations of the SDK and prints each step.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  go run ./examples/quickstart

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	write := flags.Bool("write", false, "also write to the real account: tag followers and set a remark, then undo both")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	return start(ctx, stdout, os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"), *write)
}

// start runs the tour on the real account, or on an in-memory account if appID and secret are empty.
func start(ctx context.Context, out io.Writer, appID, secret string, write bool) error {
	switch {
	case appID == "" && secret == "":
		srv := newAccount()
		defer srv.Close()
		fmt.Fprintf(out, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", len(srv.OpenIDs()))
		return tour{
			c: srv.Client(), out: out, write: true, block: true, invalidOpenID: wechatusertest.ForeignOpenID(1),
		}.run(ctx)
	case appID == "":
		return errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	c, err := wechatuser.New(appID, secret)
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	fmt.Fprintf(out, "Using the account %s. ", appID)
	if write {
		fmt.Fprintln(out, "It creates tags and deletes them at the end; nobody is blocked.")
	} else {
		fmt.Fprintln(out, "It is only read; use -write to change it.")
	}
	return tour{c: c, out: out, write: write, invalidOpenID: "oThisIsNobodysOpenID"}.run(ctx)
}

// newAccount returns an in-memory account with profiles and a tag to show.
func newAccount() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1200))
	srv.AddUsers(
		wechatuser.UserInfo{
			OpenID: wechatusertest.OpenID(0), Remark: "金牌客户",
			SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7",
		},
		wechatuser.UserInfo{OpenID: wechatusertest.OpenID(1), SubscribeScene: wechatuser.ScenePaid},
	)
	srv.AddTag("会员", wechatusertest.OpenID(0), wechatusertest.OpenID(2))
	return srv
}
