// Chaos works on an account in memory while much goes wrong, and checks that nothing is lost and nothing doubled.
//
//	go run ./tools/chaos [-fans 50000] [-for 2m] [-seed 1] [-faults 0.1] [-revoke 1s] [-lull 20s] [-v]
//
// One answer in ten is a fault, the access token is revoked every second for ten seconds and then left alone for twenty,
// and the three addresses of the account die and come back. Meanwhile workers tag, untag, block, unblock, sync, list and read, several at a time, each with a tag of its
// own, and resume what was stopped. In the end all jobs under way are stopped, and a new client finishes them in peace.
//
// After each job and at the end the account is compared with a model, which is plain sets of openids: what a worker asked
// for, but for those whom the platform must refuse. The program ends with status 1 if they differ, or if a report does
// not agree with what became of the openids in it.
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
	cfg := config{net: loopback{}, latency: 20 * time.Millisecond, timeout: time.Second, patience: time.Second, pageSize: 1000}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&cfg.fans, "fans", 50_000, "number of followers")
	flags.DurationVar(&cfg.length, "for", 2*time.Minute, "how long it goes on")
	flags.Uint64Var(&cfg.seed, "seed", 1, "chooses the jobs and the faults; their timing differs from run to run")
	flags.Float64Var(&cfg.faults, "faults", 0.1, "share of the answers that are faults")
	flags.DurationVar(&cfg.revoke, "revoke", time.Second, "time between two revocations of the token, on average")
	flags.DurationVar(&cfg.lull, "lull", 20*time.Second, "time without revocations after 10s of them; 0 for none")
	flags.BoolVar(&cfg.verbose, "v", false, "tell of each job")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	case cfg.fans < fewestFans || cfg.length <= 0 || cfg.revoke <= 0 || cfg.lull < 0 || !(cfg.faults >= 0 && cfg.faults <= 0.5):
		return fmt.Errorf("-fans must be %d or more, -for and -revoke above 0, -lull not below 0, and -faults 0 to 0.5", fewestFans)
	}
	return newChaos(cfg, stdout).run(ctx)
}
