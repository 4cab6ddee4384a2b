// Webservice is a small HTTP API for followers and their tags. It shows what such a service needs: one client for all
// requests, HTTP statuses for the SDK's errors, a health check without API calls, and a graceful shutdown.
//
//	go run ./examples/webservice -addr 127.0.0.1:8080
//
// By default it uses an in-memory account; with WECHAT_APPID and WECHAT_SECRET set, it uses the real account. Anyone
// who can reach the port can read and tag followers: put it behind your own authentication.
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

const usage = `Webservice is a small HTTP API for followers and their tags.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

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
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free port")
	grace := flags.Duration("grace", 15*time.Second, "time for requests in flight to complete on shutdown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
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
	fmt.Fprintf(stdout, "http://%s serves the account %s. Press Ctrl-C to stop.\n  %s\n",
		listener.Addr(), svc.wechat.AppID(), strings.Join(paths, "\n  "))
	return serve(ctx, listener, svc.routes(), *grace)
}

// newClient returns a client for the real account, or for an in-memory account.
func newClient(out io.Writer, svc *service, log *slog.Logger) (*wechatuser.Client, error) {
	opts := []wechatuser.Option{wechatuser.WithLogger(log), wechatuser.WithInterceptor(svc.recordOutcome)}
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(10))
		srv.AddTag("会员")
		srv.AddTag("vip")
		fmt.Fprintf(out, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n"+
			"One follower is %s; the tags are 会员 and vip.\n", len(srv.OpenIDs()), srv.OpenIDs()[0])
		return srv.Client(opts...), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret, opts...)
}

// serve serves requests until ctx is done. Requests in flight then have the grace period to complete, after which they
// are canceled.
func serve(ctx context.Context, listener net.Listener, h http.Handler, grace time.Duration) error {
	// Not derived from ctx: the signal must not cancel requests in flight.
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
	graceCtx, stop := context.WithTimeout(requests, grace)
	defer stop()
	if err := srv.Shutdown(graceCtx); err != nil {
		cancel()
		lastCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		if srv.Shutdown(lastCtx) != nil { // lets the canceled requests send a response
			_ = srv.Close()
		}
		return fmt.Errorf("requests in flight were canceled after %v", grace)
	}
	return nil
}
