// Tokenserver hands out the access token of an account to the other programs of a company. It alone has the app secret
// and a place in the IP whitelist; package tokenclient is what the others use.
//
//	TOKENSERVER_KEY=… go run ./examples/tokenserver -addr 127.0.0.1:8081
//
// Beyond loopback it needs a certificate: -addr :8443 -cert cert.pem -certkey key.pem. As it is, it has the token of an
// account in memory; with WECHAT_APPID and WECHAT_SECRET set, of the real one. Where a Redis is at hand, redisstore
// shares the token without a service of its own.
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

// minKey is the least length of the key, which gives as much as the app secret does.
const minKey = 32

const usage = `Tokenserver hands out the access token of an account to the other programs of a company, who have TOKENSERVER_KEY.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

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
	addr := flags.String("addr", "127.0.0.1:8081", "address to listen on; port 0 picks a free one")
	cert := flags.String("cert", "", "`file` of the certificate")
	certKey := flags.String("certkey", "", "`file` of its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	key := os.Getenv("TOKENSERVER_KEY")
	if len(key) < minKey {
		return fmt.Errorf("set TOKENSERVER_KEY to at least %d characters, such as those of: openssl rand -hex 32", minKey)
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
		return errors.New("the token must not travel in the clear: give -cert and -certkey, or a loopback -addr")
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
	fmt.Fprintf(stdout, "%s has the token of the account %s. Ctrl-C stops it.\n", listener.Addr(), c.AppID())
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
	return nil
}

// newClient is the client of the real account, or of one in memory.
func newClient(out io.Writer, opts ...wechatuser.Option) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		fmt.Fprintln(out, "An account in memory without followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.")
		return wechatusertest.NewServer(wechatusertest.WithoutListener()).Client(opts...), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret, opts...)
}
