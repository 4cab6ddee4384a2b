package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

const usage = `Distributed tags any number of followers with any number of worker processes.
The roles use the account of WECHAT_APPID and WECHAT_SECRET, and the passwords of REDIS_PASSWORD and
REDIS_SENTINEL_PASSWORD. Without a role, it runs a demo with an in-memory account.

  go run . [-fans 1000000]                           run the demo on this machine

  go run . producer -job spring -tag 会员            create tasks for all followers
  go run . producer -job spring -tag 会员 -file ids  or for a file with one openid per line
  go run . worker -job spring                        process tasks until SIGTERM; start any number of workers
  go run . report -job spring [-refused]             print the progress, or the rejected openids
  go run . rerun -job spring                         resume after the cause of a failure has been fixed, and
                                                     recreate lost tasks

`

// config holds the flags. Each role has its own.
type config struct {
	// Flags of the roles.
	job, api  string
	redis     redisFlags
	limit     int
	tag, file string
	chunk     int
	tasks     int
	grace     time.Duration
	rejected  bool
	// Flags of the demo.
	fans, workers int
	bad           float64
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
		flags.Float64Var(&cfg.bad, "bad", 0.001, "`share` of openids that the platform rejects")
	} else {
		flags.StringVar(&cfg.job, "job", "tagging", "`name` of the job; use a name only once")
		flags.StringVar(&cfg.redis.addrs, "redis", "127.0.0.1:6379",
			"`address` of Redis; those of Sentinels or Cluster nodes are separated by commas")
		flags.StringVar(&cfg.redis.master, "redis-master", "",
			"`name` of the primary, if the addresses are those of Sentinels")
		flags.StringVar(&cfg.redis.user, "redis-user", "", "`user` of Redis")
		flags.BoolVar(&cfg.redis.tls, "redis-tls", false, "use TLS")
		flags.StringVar(&cfg.redis.ca, "redis-ca", "",
			"PEM `file` with the root certificates for TLS (default: those of the system)")
		flags.StringVar(&cfg.api, "api", "", "base `URL` of the API, for a simulator or a proxy")
	}
	flags.IntVar(&cfg.limit, "limit", limit,
		"calls per minute of all processes together, the same for all; 0 means no limit")
	switch role {
	case "demo":
	case "producer":
		flags.StringVar(&cfg.tag, "tag", "", "`name` of the tag, created if it does not exist")
		flags.StringVar(&cfg.file, "file", "", "`file` with one openid per line (default: all followers)")
		flags.IntVar(&cfg.chunk, "chunk", 1000, "`number` of openids per task")
	case "worker":
		flags.IntVar(&cfg.tasks, "tasks", 2, "`number` of concurrent tasks, each with up to 4 concurrent calls")
		flags.DurationVar(&cfg.grace, "grace", 8*time.Second,
			"time for tasks to complete after SIGTERM before they return to the queue")
	case "report":
		flags.BoolVar(&cfg.rejected, "refused", false, "print the rejected openids, one per line with its errcode")
	case "rerun":
	default:
		return cfg, fmt.Errorf("unknown role %q: must be producer, worker, report or rerun, see -help", role)
	}
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	case cfg.limit < 0:
		return cfg, errors.New("-limit must not be negative")
	case role == "demo" && (cfg.fans < 1 || cfg.workers < 1 || cfg.bad < 0 || cfg.bad > 0.5):
		return cfg, errors.New("-fans and -workers must be at least 1, and -bad must be from 0 to 0.5")
	case role == "producer" && (cfg.tag == "" || cfg.chunk < 1):
		return cfg, errors.New("-tag is required, and -chunk must be at least 1")
	case role == "worker" && cfg.tasks < 1:
		return cfg, errors.New("-tasks must be at least 1")
	}
	return cfg, nil
}
