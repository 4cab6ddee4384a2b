// Webservice puts followers and their tags behind a small HTTP API of one's own. It shows what such a service needs: one
// client for all requests, HTTP statuses for the errors of the SDK, a health check that costs no call, and an end that
// waits for the requests under way.
//
//	go run ./examples/webservice -addr 127.0.0.1:8080
//
// As it is, it serves an account in memory. With WECHAT_APPID and WECHAT_SECRET set it serves the real one. Whoever
// reaches the port may read and tag followers: put it behind your own authentication.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webservice:", err)
		os.Exit(1)
	}
}

const usage = `Webservice puts followers and their tags behind a small HTTP API of one's own.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

  go run ./examples/webservice -addr 127.0.0.1:8080

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("webservice", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	addr := flags.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	grace := flags.Duration("grace", 15*time.Second, "`time` that requests under way have to end when the service is stopped")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	svc := newService(log)
	var err error
	if svc.wechat, err = newClient(stdout, svc, log); err != nil {
		return err
	}
	defer svc.wechat.HTTPClient().CloseIdleConnections()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s serves the account %s. Ctrl-C stops it.\n  %s\n",
		listener.Addr(), svc.wechat.AppID(), strings.Join(paths, "\n  "))
	return serve(ctx, listener, svc.routes(), *grace)
}

// newClient is the client of the real account, or of one in memory.
func newClient(out io.Writer, svc *service, log *slog.Logger) (*wechatuser.Client, error) {
	opts := []wechatuser.Option{wechatuser.WithLogger(log), wechatuser.WithInterceptor(svc.remember)}
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(10))
		srv.AddTag("会员")
		srv.AddTag("vip")
		fmt.Fprintf(out, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n"+
			"One follower is %s; the tags are 会员 and vip.\n", len(srv.OpenIDs()), srv.OpenIDs()[0])
		return srv.Client(opts...), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret, opts...)
}

// serve serves until ctx ends. Requests under way then have some time to end by themselves.
func serve(ctx context.Context, listener net.Listener, h http.Handler, grace time.Duration) error {
	// Not ctx: a signal must not cancel the calls that it lets end.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, stop := context.WithTimeout(requests, grace)
	defer stop()
	if err := srv.Shutdown(patience); err != nil {
		cancel()
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		if srv.Shutdown(last) != nil { // to answer those that were cancelled
			_ = srv.Close()
		}
		return fmt.Errorf("requests under way were cancelled after %v", grace)
	}
	return nil
}
