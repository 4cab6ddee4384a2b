// Accounts is a webhook service for many Official Accounts: a shop system reports each order, and the buyer is tagged
// in the account of that shop.
//
//	go run ./examples/accounts
//
// It prints a request to try, and uses in-memory accounts. In your own service, replace lookup with a query of your
// database, and put the webhooks behind your own authentication.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/accounts"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "accounts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("accounts", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 picks a free port")
	if err := flags.Parse(args); err != nil {
		return err
	}
	shops := newDatabase("tea", "books")
	registry, err := accounts.New(shops.lookup,
		accounts.WithMaxAge(5*time.Minute),     // a changed row is noticed
		accounts.WithUnknownFor(5*time.Second), // not every request with a wrong shop reaches the database
		accounts.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "curl -d '{\"openid\":%q}' http://%s/shops/tea/orders\n",
		wechatusertest.OpenID(0), listener.Addr())
	srv := &http.Server{Handler: routes(registry), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() { stopped <- srv.Shutdown(context.WithoutCancel(ctx)) })
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// database holds the accounts of the shops.
type database struct {
	mu   sync.Mutex
	rows map[string]*wechatusertest.Server
}

func newDatabase(shops ...string) *database {
	d := &database{rows: make(map[string]*wechatusertest.Server)}
	for i, shop := range shops {
		d.rows[shop] = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(10),
			wechatusertest.WithAccount(fmt.Sprintf("wxfa4e%012d", i), fmt.Sprintf("%032d", i)))
	}
	return d
}

func (d *database) lookup(_ context.Context, shop string) (accounts.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	row, ok := d.rows[shop]
	if !ok {
		return accounts.Account{}, accounts.ErrUnknownAccount
	}
	return accounts.Account{
		AppID: row.AppID, Secret: row.Secret,
		Options: []wechatuser.Option{wechatuser.WithTransport(row.Transport())}, // omit it for the real platform
	}, nil
}

func routes(registry *accounts.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /shops/{shop}/orders", func(w http.ResponseWriter, req *http.Request) {
		var order struct{ OpenID string }
		err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&order)
		if err != nil || order.OpenID == "" {
			http.Error(w, "the order has no openid", http.StatusBadRequest)
			return
		}
		respond(w, tagBuyer(req.Context(), registry, req.PathValue("shop"), order.OpenID))
	})
	// The shop system calls this when an account has a new secret.
	mux.HandleFunc("POST /shops/{shop}/refresh", func(w http.ResponseWriter, req *http.Request) {
		respond(w, registry.Refresh(req.Context(), req.PathValue("shop")))
	})
	return mux
}

// tagBuyer tags a follower of a shop.
func tagBuyer(ctx context.Context, registry *accounts.Registry, shop, openID string) error {
	client, err := registry.Client(ctx, shop)
	if err != nil {
		return err
	}
	tag, err := client.EnsureTag(ctx, "买家")
	if err != nil {
		return err
	}
	return client.BatchTagging(ctx, tag.ID, []string{openID})
}

func respond(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, accounts.ErrUnknownAccount):
		http.Error(w, "no such shop", http.StatusNotFound)
	case errors.Is(err, wechatuser.ErrNotFollowing), errors.Is(err, wechatuser.CodeInvalidOpenID):
		http.Error(w, "no follower of this shop", http.StatusBadRequest)
	default:
		slog.Error("webhook failed", "error", err)
		http.Error(w, "try again later", http.StatusBadGateway)
	}
}
