// Command chaos runs bulk jobs, lists and single calls against a simulated account while requests fail at random, and
// checks that no change is lost and none happens that was not reported.
//
//	go run ./tools/chaos [-fans 50000] [-for 2m] [-seed 1] [-faults 0.1] [-revoke 1s] [-lull 20s] [-deaths 2s] [-v]
//
// By default one response in ten is a fault, and the limiter fails one call in 500. The tokens, stable and legacy, are
// revoked about once a second for 10 seconds out of every 30; often the next one is revoked too, before its first use.
// About every two seconds connections die, the idle ones or all, by a reset or in silence. The account's three hosts go
// down and come back. Meanwhile several workers, each with a tag of its own or the blacklist, add and remove openids,
// synchronize, list and read profiles, and resume the jobs that were stopped.
//
// When the time is up, all running jobs are canceled, and new clients finish them without faults. After each job and at
// the end, the account is compared with a model: sets of the openids that a worker requested, except those that the
// platform must reject. The program exits with status 1 if they differ, if a report does not match what happened to the
// openids in it, if an openid is sent again after a call for it succeeded, or if a job does not end with its context.
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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg := config{
		network: loopback{}, pageSize: 1000,
		latency: 20 * time.Millisecond, timeout: time.Second, resumeDelay: time.Second, limiterRate: 0.002,
	}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&cfg.fans, "fans", 50_000, "number of followers")
	flags.DurationVar(&cfg.length, "for", 2*time.Minute, "how long to inject faults")
	flags.Uint64Var(&cfg.seed, "seed", 1, "seed of the jobs and faults; their timing differs from run to run")
	flags.Float64Var(&cfg.faultRate, "faults", 0.1, "share of responses that are faults, 0 to 0.5")
	flags.DurationVar(&cfg.revoke, "revoke", time.Second, "average time between two revocations of the token")
	flags.DurationVar(&cfg.lull, "lull", 20*time.Second,
		"time without revocations after every 10s with them; 0 for none")
	flags.DurationVar(&cfg.death, "deaths", 2*time.Second, "average time between two deaths of connections; 0 for none")
	flags.BoolVar(&cfg.verbose, "v", false, "print a line for each job")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	case cfg.fans < minFans:
		return fmt.Errorf("-fans must be at least %d", minFans)
	case cfg.length <= 0 || cfg.revoke <= 0:
		return errors.New("-for and -revoke must be positive")
	case cfg.lull < 0 || cfg.death < 0:
		return errors.New("-lull and -deaths must not be negative")
	case !(cfg.faultRate >= 0 && cfg.faultRate <= 0.5):
		return errors.New("-faults must be between 0 and 0.5")
	}
	return newChaos(cfg, stdout).run(ctx)
}
