// Command peers compares this SDK with other Go SDKs for the same API, and prints a Markdown table.
//
//	go run .
//
// Each cell of the table is measured by a process of its own, so that global state, goroutines left running and crashes
// of an SDK do not affect other cells. Nothing is sent to WeChat: requests go to package wechatusertest on loopback.
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
	writeTable(os.Stdout, table)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// writeTable writes the results of measure as a Markdown table.
func writeTable(w io.Writer, table [][]string) {
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
