// Distributed puts a tag on any number of followers with any number of worker processes, which share a queue, the access
// token and the rate of calls on one Redis.
//
//	go run .
//
// As it is, it starts a Redis server, an account in memory and four workers, kills one of them in the middle, and checks
// the account at the end. The roles are there for a real account too; see -help.
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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "distributed:", err)
		os.Exit(1)
	}
}

const usage = `Distributed puts a tag on any number of followers with any number of worker processes.
The roles take the account from WECHAT_APPID and WECHAT_SECRET, and the password of Redis from REDIS_PASSWORD; without a
role, the account is in memory.

  go run . [-fans 1000000]                           the whole of it on this machine

  go run . producer -job spring -tag 会员            makes tasks of all followers
  go run . producer -job spring -tag 会员 -file ids  or of a file with one openid a line
  go run . worker -job spring                        works on the tasks, until SIGTERM; start as many as you like
  go run . report -job spring [-refused]             says how far the job is, and names the refused openids
  go run . rerun -job spring                         goes on after a cause has been mended

`

// config is what the flags say. Each role has those that it needs.
type config struct {
	// The roles.
	job, redis, api string
	limit           int
	tag, file       string
	chunk           int
	tasks           int
	grace           time.Duration
	refused         bool
	// The demo.
	fans, workers int
	bad           float64
}

// run is one role, or the demo.
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
	j, err := openJob(cfg, os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"), os.Getenv("REDIS_PASSWORD"))
	if err != nil {
		return err
	}
	defer j.close()
	switch role {
	case "producer":
		return produce(ctx, j, cfg, stdout)
	case "worker":
		return work(ctx, j, cfg, stderr)
	case "report":
		return report(ctx, j, cfg.refused, stdout)
	default:
		return j.rerun(ctx)
	}
}

func parse(role string, args []string, stderr io.Writer) (cfg config, err error) {
	flags := flag.NewFlagSet("distributed "+role, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	limit := 600
	if role == "demo" {
		limit = 60_000
		flags.IntVar(&cfg.fans, "fans", 1_000_000, "`number` of openids")
		flags.IntVar(&cfg.workers, "workers", 4, "`number` of worker processes")
		flags.Float64Var(&cfg.bad, "bad", 0.001, "`share` of openids that the platform refuses")
	} else {
		flags.StringVar(&cfg.job, "job", "tagging", "`name` of the job; a name is used once")
		flags.StringVar(&cfg.redis, "redis", "127.0.0.1:6379", "`address` of Redis")
		flags.StringVar(&cfg.api, "api", "", "`URL` in place of the platform's, for a simulator or a proxy")
	}
	flags.IntVar(&cfg.limit, "limit", limit, "calls a minute of all processes together, the same for all; 0 for no limit")
	switch role {
	case "demo":
	case "producer":
		flags.StringVar(&cfg.tag, "tag", "", "`name` of the tag, which is made if there is none")
		flags.StringVar(&cfg.file, "file", "", "`file` with one openid a line (default: all followers)")
		flags.IntVar(&cfg.chunk, "chunk", 1000, "openids in a task")
	case "worker":
		flags.IntVar(&cfg.tasks, "tasks", 2, "tasks at a time, with 4 calls at a time each")
		flags.DurationVar(&cfg.grace, "grace", 8*time.Second, "how long tasks may go on after SIGTERM before they are given back")
	case "report":
		flags.BoolVar(&cfg.refused, "refused", false, "name the refused openids, one a line with its errcode")
	case "rerun":
	default:
		return cfg, fmt.Errorf("%q: there are producer, worker, report and rerun, see -help", role)
	}
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	case cfg.limit < 0:
		return cfg, errors.New("-limit must not be below 0")
	case role == "demo" && (cfg.fans < 1 || cfg.workers < 1 || cfg.bad < 0 || cfg.bad > 0.5):
		return cfg, errors.New("-fans and -workers must be at least 1, and -bad from 0 to 0.5")
	case role == "producer" && (cfg.tag == "" || cfg.chunk < 1):
		return cfg, errors.New("say which tag: -tag 会员; and -chunk must be at least 1")
	case role == "worker" && cfg.tasks < 1:
		return cfg, errors.New("-tasks must be at least 1")
	}
	return cfg, nil
}
