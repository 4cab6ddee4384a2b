// Doctor explains why calls to an Official Account fail from this machine, and what to do about it. It checks DNS, TCP
// and TLS, the clock, the app ID and secret, the IP whitelist, the quotas, the account's rights, and the store that
// shares the token.
//
//	go run ./examples/doctor
//
// By default it checks an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it checks the real account with
// one token request and 12 calls, and changes nothing: the stable token that it fetches is the one already in use, and
// legacy tokens are not affected.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "doctor:", err)
		os.Exit(1)
	}
}

const usage = `Doctor explains why calls to an Official Account fail from this machine. It changes nothing.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  WECHAT_APPID=… WECHAT_SECRET=… go run ./examples/doctor

`

// errFailed makes the exit status 1 if a check fails.
var errFailed = errors.New("some checks failed")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	base := flags.String("base", "", "base `URL` of the API (default "+wechatuser.BaseURL+")")
	plain := flags.Bool("plain-http", false, "accept a base URL of plain http that is not loopback: the app secret travels in clear text")
	timeout := flags.Duration("timeout", 5*time.Second, "timeout of each step")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	p := target{
		appID: os.Getenv("WECHAT_APPID"), secret: os.Getenv("WECHAT_SECRET"),
		base: cmp.Or(*base, wechatuser.BaseURL), plainHTTP: *plain, timeout: *timeout,
		store: nil, // set your store here, such as that of redisstore, to check it too
	}
	switch {
	case p.appID == "" && p.secret == "":
		if *base != "" {
			return errors.New("-base requires an account of your own: set WECHAT_APPID and WECHAT_SECRET")
		}
		srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
		defer srv.Close()
		fmt.Fprintf(stdout, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
		p.appID, p.secret, p.base, p.store = srv.AppID, srv.Secret, srv.URL, wechatuser.NewMemoryTokenStore()
	case p.appID == "":
		return errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case p.secret == "":
		return errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	d, err := diagnose(ctx, p)
	if err != nil {
		return err
	}
	d.print(stdout)
	if d.count(fail) > 0 {
		return errFailed
	}
	return nil
}
