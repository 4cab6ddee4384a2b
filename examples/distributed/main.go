// Distributed tags any number of followers with any number of worker processes, which share a queue, the access token
// and the rate limit on one Redis server.
//
//	go run .
//
// By default it runs a demo: it starts a Redis server, an in-memory account and four workers, kills one of them in the
// middle, and checks the account at the end. For a real account, run the roles separately; see -help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "distributed:", err)
		os.Exit(1)
	}
}

// run runs a role or the demo.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	role := "demo"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		role, args = args[0], args[1:]
	}
	cfg, err := parse(role, args, stderr)
	if err != nil {
		return err
	}
	if role == "demo" {
		return demo(ctx, cfg, stdout, stderr)
	}
	for _, name := range []string{"WECHAT_APPID", "WECHAT_SECRET"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set", name)
		}
	}
	j, err := openJob(cfg, os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"))
	if err != nil {
		return err
	}
	defer j.close()
	if err := j.store.Check(ctx); err != nil {
		return err
	}
	switch role {
	case "producer":
		return produce(ctx, j, cfg, stdout)
	case "worker":
		return work(ctx, j, cfg, stderr)
	case "report":
		return report(ctx, j, cfg.rejected, stdout)
	default:
		return j.rerun(ctx, stdout)
	}
}
