// Wechatuser manages the followers of a WeChat Official Account from the command line.
//
//	go install github.com/wechatuser/wechatuser/cmd/wechatuser@latest
//	wechatuser --sandbox fans --limit 3
//
// docs/cli.md describes all commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	a := newApp(os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	go func() {
		<-signals
		a.interrupt() // what is in flight is settled first
		<-signals
		stop()
	}()
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
