// Command peers measures this SDK and other Go SDKs for the same API side by side, and prints a table in Markdown.
//
//	go run .
//
// Each cell of the table comes from a process of its own, so that what an SDK keeps globally, leaves running or breaks
// stays in its cell. Nothing is sent to WeChat: the requests go to package wechatusertest on loopback.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

func main() {
	if runCell() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	table, err := measure(ctx, peers, measurements)
	stop()
	fmt.Printf("%s, %s/%s, %s\n\n", time.Now().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.Version())
	write(os.Stdout, table)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes what measure has found as a table.
func write(w io.Writer, table [][]string) {
	head := []string{""}
	for _, p := range peers {
		head = append(head, p.name)
	}
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	row(head)
	fmt.Fprintln(w, strings.Repeat("|---", len(head))+"|")
	for i, m := range measurements {
		row(append([]string{m.name}, table[i]...))
	}
}
