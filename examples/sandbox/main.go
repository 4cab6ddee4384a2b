// Sandbox serves an account in memory on a port, for programs in any language.
//
//	go run ./examples/sandbox -addr 127.0.0.1:8080 -appid wx0000000000000000 -secret 00000000000000000000000000000000 -fans 1000
//
// It prints the base URL, and serves until it is stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "address to listen on; port 0 picks a free one")
	appID := flags.String("appid", "wx0000000000000000", "app ID of the account")
	secret := flags.String("secret", strings.Repeat("0", 32), "app secret of the account")
	fans := flags.Int("fans", 1000, "number of followers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	if *appID == "" || *secret == "" || *fans < 0 {
		return errors.New("-appid and -secret must not be empty, and -fans not below 0")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	account := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(*appID, *secret), wechatusertest.WithFans(*fans))
	srv := &http.Server{Handler: account, ReadHeaderTimeout: 10 * time.Second}

	base := "http://" + listener.Addr().String()
	fmt.Fprintf(stdout, "%s\n\nAn Official Account in memory: app ID %s, %d followers. Try it:\n\n", base, *appID, *fans)
	fmt.Fprintf(stdout, "  curl '%s/cgi-bin/token?grant_type=client_credential&appid=%s&secret=%s'\n", base, *appID, *secret)
	fmt.Fprintf(stdout, "  curl '%s/cgi-bin/user/get?access_token=ACCESS_TOKEN'\n\n", base)
	fmt.Fprintln(stdout, "In an SDK, put the base URL in the place of https://api.weixin.qq.com. Ctrl-C stops it.")

	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
