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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("webservice", flag.ContinueOnError)
	flags.SetOutput(stderr)
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
	if svc.wechat, err = newClient(svc, log); err != nil {
		return err
	}
	defer svc.wechat.HTTPClient().CloseIdleConnections()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s serves %s. Ctrl-C stops it.\n", listener.Addr(), svc.wechat)
	return serve(ctx, listener, svc.routes(), *grace)
}

func newClient(svc *service, log *slog.Logger) (*wechatuser.Client, error) {
	opts := []wechatuser.Option{wechatuser.WithLogger(log), wechatuser.WithInterceptor(svc.remember)}
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	if appID != "" || secret != "" {
		return wechatuser.New(appID, secret, opts...)
	}
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(10))
	account.AddTag("会员")
	return account.Client(opts...), nil
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
