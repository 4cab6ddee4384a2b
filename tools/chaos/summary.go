package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

var errDiffers = errors.New("the account or a report is not what it should be")

// summary prints what happened, and fails if anything was wrong.
func (ch *chaos) summary() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	watch := ch.watch
	watch.mu.Lock()
	defer watch.mu.Unlock()

	line := func(format string, args ...any) { fmt.Fprintf(ch.out, format+"\n", args...) }
	line("%d followers, seed %d, %v of storm, %v in all", ch.fans, ch.seed, ch.length, time.Since(ch.start).Round(time.Second))
	line("%d calls, of which %d failed; %d repeated requests", watch.calls, watch.failed, watch.repeats)
	line("%d tokens revoked, %d fetched, %d requests for one without success", ch.revoked.Load(), watch.renewals, watch.renewFailed)
	line("%d deaths of %d addresses", ch.deaths.Load(), addresses)

	line("\n%-32s %9s %9s %9s %9s", "fault", "injected", "in effect", "repeated", "ended it")
	row := func(name string, n faultCount) {
		line("%-32s %9d %9d %9d %9d", name, n.injected, n.carriedOut, n.absorbed, n.injected-n.absorbed)
	}
	var sum faultCount
	for i, n := range watch.faults {
		row(faults[i].name, n)
		sum.injected += n.injected
		sum.carriedOut += n.carriedOut
		sum.absorbed += n.absorbed
	}
	row("all", sum)
	line("in effect: carried out all the same; repeated: the call came through; ended it: the job dealt with it, or was resumed")

	line("\n%-32s %9s %9s %9s", "job", "begun", "openids", "resumed")
	for _, name := range slices.Sorted(maps.Keys(ch.jobs)) {
		n := ch.jobs[name]
		line("%-32s %9d %9d %9d", name, n.jobs, n.openIDs, n.resumed)
	}

	line("\n%-64s %9s", "stopped by", "times")
	for _, why := range slices.SortedFunc(maps.Keys(ch.stops), func(a, b string) int {
		return cmp.Or(cmp.Compare(ch.stops[b], ch.stops[a]), cmp.Compare(a, b))
	}) {
		line("%-64s %9d", why, ch.stops[why])
	}

	line("\nwaited before jobs were resumed: %v, all workers together", ch.waits.Round(time.Second))
	line("slowest return after the end of a context: %v", ch.slowest.Round(time.Microsecond))
	line("requests that came when their job was over, not carried out: %d", watch.late)
	line("lines of log and errors: %d, with a secret in them: %d", watch.lines, watch.leaks)
	line("lost %d, doubled %d, otherwise wrong %d", ch.lost, ch.doubled, ch.wrong)
	for _, p := range ch.problems {
		line("WRONG: %s", p)
	}
	if watch.leaks > 0 {
		return errors.New("a secret was in the log or in an error")
	}
	if ch.lost+ch.doubled+ch.wrong > 0 {
		return errDiffers
	}
	line("the account is what it should be")
	return nil
}
