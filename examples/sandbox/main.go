// Sandbox serves an in-memory Official Account on a port, for programs in any language, with a web page to inspect it.
//
//	go run ./examples/sandbox -addr 127.0.0.1:8080 -fans 1000 -state account.json -quirks wild -log
//
// It prints the base URL and serves until it is stopped. README.md describes the flags and the page. The command
// "wechatuser sandbox" is the same program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/wechatuser/wechatuser/internal/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

const usage = `Sandbox serves an in-memory Official Account on a port, with a web page to inspect it.

  go run ./examples/sandbox -addr 127.0.0.1:8080

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	config := sandbox.Flags(flags, false)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	return sandbox.Run(ctx, config, stdout, stderr)
}
