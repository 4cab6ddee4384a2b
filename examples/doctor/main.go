// Doctor says in words why calls to an Official Account fail from this machine, and what to do about it. It looks at
// DNS, TCP and TLS, the clock, the app ID and secret, the IP whitelist, the quotas, the account's rights, and the store
// that shares the token.
//
//	go run ./examples/doctor
//
// As it is, it looks at an account in memory. With WECHAT_APPID and WECHAT_SECRET set it looks at the real one, with one
// request for a token and 12 calls, and changes nothing: the stable token that it asks for is the one that is in use,
// and legacy tokens are not touched by it.
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

const usage = `Doctor says in words why calls to an Official Account fail from this machine, and changes nothing.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

  WECHAT_APPID=… WECHAT_SECRET=… go run ./examples/doctor

`

// errFailed makes the exit status 1.
var errFailed = errors.New("there is something to repair")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	base := flags.String("base", "", "`address` of the API (default "+wechatuser.BaseURL+")")
	timeout := flags.Duration("timeout", 5*time.Second, "`time` for each step")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	p := patient{
		appID: os.Getenv("WECHAT_APPID"), secret: os.Getenv("WECHAT_SECRET"), base: cmp.Or(*base, wechatuser.BaseURL), timeout: *timeout,
		store: nil, // put your store here, such as the one of redisstore, to have it looked at too
	}
	switch {
	case p.appID == "" && p.secret == "":
		if *base != "" {
			return errors.New("-base is for your own account: set WECHAT_APPID and WECHAT_SECRET")
		}
		srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
		defer srv.Close()
		fmt.Fprintf(stdout, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
		p.appID, p.secret, p.base, p.store = srv.AppID, srv.Secret, srv.URL, wechatuser.NewMemoryTokenStore()
	case p.appID == "":
		return errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case p.secret == "":
		return errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
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
