// Export writes all followers of an account, with their profiles and tag names, to a CSV, JSON Lines or SQLite file. It
// can be killed at any time, and resumes when it is run again with the same arguments.
//
//	go run . -out followers.csv
//
// By default it uses an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it reads the real account and
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

// config holds the flags.
type config struct {
	out         string
	format      string
	excel       bool
	fans        int
	concurrency int
	force       bool
	quiet       bool
	batch       int // rows per write, and thus the maximum read again after a kill
}

// run runs one export.
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

const usage = `Export writes all followers of an account to a file, with their profiles and tag names.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise. It changes
nothing in the account.

  go run . -out followers.csv     for spreadsheets (add -excel for Excel)
  go run . -out followers.jsonl   one JSON object per line, with the platform's fields
  go run . -out followers.db      SQLite database

It can be stopped or killed at any time, and resumes when it is run again with the same arguments. The name of an
incomplete file ends in ".part".

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
	flags.StringVar(&cfg.format, "format", "", "`format` of the file: csv, jsonl or sqlite (default: by its extension)")
	flags.BoolVar(&cfg.excel, "excel", false,
		"write CSV for Excel: with a byte order mark, and with a ' before text that looks like a formula")
	flags.IntVar(&cfg.fans, "fans", 100_000, "`number` of followers of the in-memory account")
	flags.IntVar(&cfg.concurrency, "concurrency", 4, "`number` of concurrent calls")
	flags.BoolVar(&cfg.force, "force", false, "replace a complete file, or discard the incomplete file of another export")
	flags.BoolVar(&cfg.quiet, "quiet", false, "show no progress bar; there is never one if stderr is not a terminal")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.format == "" {
		cfg.format = formatOf(cfg.out)
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	case cfg.format == "":
		return cfg, fmt.Errorf("-out %s: unknown extension: use .csv, .jsonl or .db, or set -format", cfg.out)
	case cfg.format != "csv" && cfg.format != "jsonl" && cfg.format != "sqlite":
		return cfg, fmt.Errorf("-format %s: must be csv, jsonl or sqlite", cfg.format)
	case cfg.excel && cfg.format != "csv":
		return cfg, errors.New("-excel requires the format csv")
	case cfg.fans < 0 || cfg.concurrency < 1:
		return cfg, errors.New("-fans must not be negative, and -concurrency must be at least 1")
	}
	return cfg, nil
}

// formatOf returns the format for the extension of a file name, or "" if it is unknown.
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
