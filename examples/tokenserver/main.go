// Tokenserver serves the access token of an account to the other programs of a company. Only this server needs the app
// secret; the other programs use package tokenclient. All of them need an entry in the IP whitelist, since WeChat checks
// it for calls with a token too.
//
//	TOKENSERVER_KEY=… go run ./examples/tokenserver -addr 127.0.0.1:8081
//
// An address other than loopback requires a certificate: -addr :8443 -cert cert.pem -certkey key.pem. By default it
// serves the token of an in-memory account; with WECHAT_APPID and WECHAT_SECRET set, that of the real account. If there
// is a Redis server, redisstore shares the token without a service of its own.
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
		fmt.Fprintln(os.Stderr, "tokenserver:", err)
		os.Exit(1)
	}
}

// minKey is the minimum length of the key, which protects as much as the app secret does.
const minKey = 32

const usage = `Tokenserver serves the access token of an account to other programs that have TOKENSERVER_KEY.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  TOKENSERVER_KEY=… go run ./examples/tokenserver -addr 127.0.0.1:8081

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tokenserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	addr := flags.String("addr", "127.0.0.1:8081", "`address` to listen on; port 0 picks a free port")
	cert := flags.String("cert", "", "`file` with the TLS certificate")
	certKey := flags.String("certkey", "", "`file` with its private key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	key := os.Getenv("TOKENSERVER_KEY")
	if len(key) < minKey {
		return fmt.Errorf("set TOKENSERVER_KEY to at least %d characters, such as the output of: openssl rand -hex 32",
			minKey)
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	c, err := newClient(stdout, wechatuser.WithLogger(log))
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	if at, ok := listener.Addr().(*net.TCPAddr); *cert == "" && (!ok || !at.IP.IsLoopback()) {
		_ = listener.Close()
		return errors.New("the token must not be sent in plain text: set -cert and -certkey, or a loopback -addr")
	}
	srv := &http.Server{
		Handler: newServer(c, key, log).routes(), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() {
		if *cert != "" {
			served <- srv.ServeTLS(listener, *cert, *certKey)
		} else {
			served <- srv.Serve(listener)
		}
	}()
	fmt.Fprintf(stdout, "%s serves the token of the account %s. Press Ctrl-C to stop.\n", listener.Addr(), c.AppID())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(shutdownCtx); err != nil {
		return srv.Close()
	}
	return nil
}

// newClient returns a client for the real account, or for an in-memory account.
func newClient(out io.Writer, opts ...wechatuser.Option) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		fmt.Fprintln(out, "Using an in-memory account without followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.")
		return wechatusertest.NewServer(wechatusertest.WithoutListener()).Client(opts...), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret, opts...)
}
