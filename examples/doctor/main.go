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

// errFailed makes the exit status 1.
var errFailed = errors.New("there is something to repair")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	base := flags.String("base", wechatuser.BaseURL, "`address` of the API")
	timeout := flags.Duration("timeout", 5*time.Second, "`time` for each step")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	p := patient{
		appID: os.Getenv("WECHAT_APPID"), secret: os.Getenv("WECHAT_SECRET"), base: *base, timeout: *timeout,
		store: nil, // put your store here, such as the one of redisstore, to have it looked at too
	}
	if p.appID == "" && p.secret == "" {
		srv := wechatusertest.NewServer(wechatusertest.WithFans(3))
		defer srv.Close()
		fmt.Fprint(stdout, "This is an account in memory. Set WECHAT_APPID and WECHAT_SECRET to look at your own.\n\n")
		p.appID, p.secret, p.base, p.store = srv.AppID, srv.Secret, srv.URL, wechatuser.NewMemoryTokenStore()
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
