package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

var errMismatch = errors.New("the account or a report differs from what is expected")

// summary prints the results. It returns an error if any check failed.
func (ch *chaos) summary() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	m := ch.monitor
	m.mu.Lock()
	defer m.mu.Unlock()

	line := func(format string, args ...any) { fmt.Fprintf(ch.out, format+"\n", args...) }
	line("%d followers, seed %d, %v with faults, %v in all",
		ch.fans, ch.seed, ch.length, time.Since(ch.start).Round(time.Second))
	line("%d calls, %d of them failed; %d retries", m.calls, m.failed, m.retries)
	line("%d times all tokens revoked, %d of them a stable and %d a legacy token before its first use",
		ch.revoked.Load(), m.revokedUnused[stable], m.revokedUnused[legacy])
	line("%d stable and %d legacy tokens fetched, %d token fetches failed",
		m.tokensFetched[stable], m.tokensFetched[legacy], m.tokenFetchFailed)
	line("%d outages of %d hosts, %d times connections died", ch.outages.Load(), hostCount, ch.deaths.Load())

	line("\n%-32s %9s %9s %9s %9s", "fault", "injected", "applied", "recovered", "failed")
	row := func(name string, n faultCount) {
		line("%-32s %9d %9d %9d %9d", name, n.injected, n.applied, n.recovered, n.injected-n.recovered)
	}
	var sum faultCount
	for i, n := range m.faults {
		row(faults[i].name, n)
		sum.injected += n.injected
		sum.applied += n.applied
		sum.recovered += n.recovered
	}
	row("all", sum)
	line("applied: the account is known to have carried out the request; recovered: the call succeeded in the end;")
	line("failed: the call failed, and its job continued or was resumed")

	line("\n%-32s %9s %9s %9s", "job", "started", "openids", "resumed")
	for _, name := range slices.Sorted(maps.Keys(ch.jobs)) {
		n := ch.jobs[name]
		line("%-32s %9d %9d %9d", name, n.jobs, n.openIDs, n.resumed)
	}

	line("\n%-64s %9s", "stopped by", "times")
	for _, reason := range slices.SortedFunc(maps.Keys(ch.stops), func(a, b string) int {
		return cmp.Or(cmp.Compare(ch.stops[b], ch.stops[a]), cmp.Compare(a, b))
	}) {
		line("%-64s %9d", reason, ch.stops[reason])
	}

	line("\ntime waited before resuming jobs, all workers together: %v", ch.waited.Round(time.Second))
	line("slowest return after the end of a context: %v", ch.slowestStop.Round(time.Microsecond))
	line("requests that arrived after their job had ended, not carried out: %d", m.late)
	line("lines of logs and errors: %d, of which with a secret: %d", m.lines, m.leaks)
	line("lost %d, doubled %d, hung %d, unexpected %d, other mismatches %d",
		ch.lost, ch.doubled, ch.hung, ch.unexpected, ch.mismatches)
	for _, p := range ch.problems {
		line("WRONG: %s", p)
	}
	if m.leaks > 0 {
		return errors.New("a log line or an error contains a secret")
	}
	if ch.lost+ch.doubled+ch.hung+ch.unexpected+ch.mismatches > 0 {
		return errMismatch
	}
	line("the account and all reports are as expected")
	return nil
}
