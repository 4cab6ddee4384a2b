package main

import (
	"fmt"
	"sync"
	"time"
)

// ledger is what was found to be wrong, and what the jobs did.
type ledger struct {
	mu       sync.Mutex
	lost     int // openids that were said to be done and are not, or that nothing was said about
	doubled  int // openids that were said to have failed and were done, or that were given twice
	wrong    int // all else
	problems []string

	jobs    map[string]*jobCount
	stops   map[string]int // why jobs were stopped
	slowest time.Duration  // from the end of a job's context to its return
	waits   time.Duration
}

type jobCount struct {
	jobs, resumed int
	openIDs       int
}

func newLedger() *ledger {
	return &ledger{jobs: make(map[string]*jobCount), stops: make(map[string]int)}
}

// maxProblems is how many problems are told in full.
const maxProblems = 20

func (l *ledger) note(count *int, n int, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*count += n
	if len(l.problems) < maxProblems {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) isLost(who []string, format string, args ...any) {
	if len(who) > 0 {
		l.note(&l.lost, len(who), "%s: %s", fmt.Sprintf(format, args...), some(who))
	}
}

func (l *ledger) isDoubled(who []string, format string, args ...any) {
	if len(who) > 0 {
		l.note(&l.doubled, len(who), "%s: %s", fmt.Sprintf(format, args...), some(who))
	}
}

func (l *ledger) isWrong(format string, args ...any) { l.note(&l.wrong, 1, format, args...) }

// some is a few openids and how many there are.
func some(ids []string) string {
	if len(ids) <= 3 {
		return fmt.Sprintf("%q", ids)
	}
	return fmt.Sprintf("%q and %d more", ids[:3], len(ids)-3)
}

func (l *ledger) began(job string, openIDs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jobs[job] == nil {
		l.jobs[job] = new(jobCount)
	}
	l.jobs[job].jobs++
	l.jobs[job].openIDs += openIDs
}

func (l *ledger) stopped(job, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[job].resumed++
	l.stops[why]++
}

func (l *ledger) returned(after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, after)
}

func (l *ledger) waited(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits += d
}
