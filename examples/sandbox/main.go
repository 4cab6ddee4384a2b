// Sandbox serves an in-memory Official Account on a port, for programs in any language, with a web page to inspect it.
//
//	go run ./examples/sandbox -addr 127.0.0.1:8080 -fans 1000 -state account.json -quirks wild -log
//
// It prints the base URL and serves until it is stopped. README.md describes the flags and the page.
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
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, and then saves the account.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set, err := parse(args, stderr)
	if err != nil {
		return err
	}
	account, err := set.account(stderr)
	if err != nil {
		return err
	}
	state := &stateFile{path: set.state, account: account}
	if err := state.open(); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", set.addr)
	if err != nil {
		return err
	}
	sb := &sandbox{account: account, quirks: set.quirks, state: state, guard: newGuard(set.addr, listener.Addr())}
	if sb.guard.exposed {
		fmt.Fprintln(stderr, exposedWarning)
	}
	printBanner(stdout, listener.Addr(), sb)
	err = serve(ctx, listener, sb.handler())
	if saveErr := state.save(); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	if state.path != "" {
		fmt.Fprintln(stdout, "Saved the account to", state.path)
	}
	return err
}

const exposedWarning = "warning: not a loopback address: anyone who can reach it can read and change the account"

func printBanner(w io.Writer, addr net.Addr, sb *sandbox) {
	base, appID, secret := "http://"+dialAddress(addr), sb.account.AppID, sb.account.Secret
	fmt.Fprintf(w, "%s\n\nIn-memory Official Account: app ID %s, %d followers. The web page is at %s/\n\n",
		base, appID, sb.account.Totals().Followers, base)
	fmt.Fprintf(w, "  curl '%s/cgi-bin/token?grant_type=client_credential&appid=%s&secret=%s'\n", base, appID, secret)
	fmt.Fprintf(w, "  curl '%s/cgi-bin/user/get?access_token=ACCESS_TOKEN'\n\n", base)
	fmt.Fprintln(w, "In an SDK, replace https://api.weixin.qq.com with the base URL. Press Ctrl-C to stop.")
}

// dialAddress returns the address to connect to: loopback if the listener uses all addresses of the machine.
func dialAddress(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}

// grace is the time for calls in flight to complete when the sandbox stops.
const grace = 5 * time.Second

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	graceCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(graceCtx); err != nil {
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
