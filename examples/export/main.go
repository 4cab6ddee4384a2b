// Export writes all followers of an account, with their profiles and the names of their tags, to a CSV, JSON Lines or
// SQLite file. Killed at any moment and started again with the same arguments, it goes on where it was.
//
//	go run . -out followers.csv
//
// As it is, it works on an account in memory. With WECHAT_APPID and WECHAT_SECRET set it reads the real account, and
// changes nothing there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	out         string
	format      string
	excel       bool
	fans        int
	concurrency int
	force       bool
	quiet       bool
	batch       int // rows that are written at a time, and so fetched again after a kill, at most
}

// run makes one export.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parse(args, stderr)
	if err != nil {
		return err
	}
	acc, err := openAccount(os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"), cfg.fans, stderr)
	if err != nil {
		return err
	}
	defer acc.HTTPClient().CloseIdleConnections()
	return export(ctx, acc, cfg, stdout, stderr)
}

const usage = `Export writes all followers of an account to a file, with their profiles and the names of their tags.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory. It is only read.

  go run . -out followers.csv     a table for spreadsheets (add -excel for Excel)
  go run . -out followers.jsonl   one JSON object a line, with the platform's fields
  go run . -out followers.db      an SQLite database

It may be stopped or killed at any moment: start it again with the same arguments, and it goes on. What is not complete
has a name that ends in ".part".

`

func parse(args []string, stderr io.Writer) (cfg config, err error) {
	cfg.batch = 1000
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&cfg.out, "out", "followers.csv", "`file` to write")
	flags.StringVar(&cfg.format, "format", "", "csv, jsonl or sqlite (default: what the ending of the file says)")
	flags.BoolVar(&cfg.excel, "excel", false, "write CSV for Excel: with a byte order mark, and with a ' before text that Excel would take for a formula")
	flags.IntVar(&cfg.fans, "fans", 100_000, "`number` of followers of the account in memory")
	flags.IntVar(&cfg.concurrency, "concurrency", 4, "calls at once")
	flags.BoolVar(&cfg.force, "force", false, "replace a complete file, or give up the unfinished export of something else")
	flags.BoolVar(&cfg.quiet, "quiet", false, "no progress bar; there is none anyway where stderr is no terminal")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.format == "" {
		cfg.format = formatOf(cfg.out)
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	case cfg.format == "":
		return cfg, fmt.Errorf("-out %s: the ending says no format: use .csv, .jsonl or .db, or give -format", cfg.out)
	case cfg.format != "csv" && cfg.format != "jsonl" && cfg.format != "sqlite":
		return cfg, fmt.Errorf("-format %s: there are csv, jsonl and sqlite", cfg.format)
	case cfg.excel && cfg.format != "csv":
		return cfg, errors.New("-excel is for CSV only")
	case cfg.fans < 0 || cfg.concurrency < 1:
		return cfg, errors.New("-fans must not be below 0, and -concurrency not below 1")
	}
	return cfg, nil
}

// formatOf is the format that a file's name stands for, empty if none.
func formatOf(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return "csv"
	case ".jsonl", ".ndjson":
		return "jsonl"
	case ".db", ".sqlite", ".sqlite3":
		return "sqlite"
	}
	return ""
}
