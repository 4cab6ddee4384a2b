// Authorizer is the server of a third-party platform (第三方平台): it receives what WeChat pushes, lets accounts authorize
// the platform, and makes calls for them.
//
//	go run ./examples/authorizer -addr 127.0.0.1:8080
//
// By default it uses a simulated platform that one account has authorized. With PLATFORM_APPID, PLATFORM_SECRET,
// PLATFORM_TOKEN and PLATFORM_AES_KEY set, it uses the real one; PLATFORM_URL is the address of this server then, below
// the domain that is set in the platform's console. Set http(s)://…/push there as the URL of authorization events.
//
// Anybody who can reach the port can count the followers of an account: put it behind your own authentication.
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
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "authorizer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("authorizer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	svc, err := newService(ctx, stdout, slog.New(slog.NewJSONHandler(stderr, nil)))
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	if svc.url == "" {
		svc.url = "http://" + listener.Addr().String()
	}
	fmt.Fprintf(stdout, "http://%s/authorize starts an authorization. Press Ctrl-C to stop.\n", listener.Addr())
	srv := &http.Server{Handler: svc.routes(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// newService returns the service of the real platform, or of a simulated one.
func newService(ctx context.Context, out io.Writer, log *slog.Logger) (*service, error) {
	appID, secret := os.Getenv("PLATFORM_APPID"), os.Getenv("PLATFORM_SECRET")
	if appID == "" {
		return newSimulated(ctx, out, log)
	}
	// With several processes, or to keep the refresh tokens, use redisstore.New in place of the memory store.
	platform, err := authorizer.New(appID, secret, authorizer.NewMemoryStore(), authorizer.WithLogger(log))
	if err != nil {
		return nil, err
	}
	push, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID: appID, Token: os.Getenv("PLATFORM_TOKEN"), EncodingAESKey: os.Getenv("PLATFORM_AES_KEY"), Logger: log,
	}, platform.Handle)
	if err != nil {
		return nil, err
	}
	return &service{platform: platform, push: push, url: os.Getenv("PLATFORM_URL"), log: log}, nil
}

// newSimulated returns the service of a simulated platform, whose tickets come without a push.
func newSimulated(ctx context.Context, out io.Writer, log *slog.Logger) (*service, error) {
	wechat := wechatusertest.NewPlatform(wechatusertest.WithoutListener())
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(10))
	simulated := wechatuser.WithTransport(wechat.Transport())
	platform, err := authorizer.New(wechat.AppID, wechat.Secret, authorizer.NewMemoryStore(),
		authorizer.WithLogger(log), authorizer.WithClientOptions(simulated))
	if err != nil {
		return nil, err
	}
	if err := platform.SaveTicket(ctx, wechat.Ticket()); err != nil {
		return nil, err
	}
	if _, err := platform.ExchangeCode(ctx, wechat.Authorize(account)); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Using a simulated platform. Set PLATFORM_APPID and others to use your own.\n"+
		"/fans?appid=%s counts the followers of an account that has authorized it.\n", account.AppID)
	return &service{
		platform: platform, push: http.NotFoundHandler(), log: log, options: []wechatuser.Option{simulated},
	}, nil
}
