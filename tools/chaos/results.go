package main

import (
	"fmt"
	"sync"
	"time"
)

// results collects the errors found and statistics of the jobs.
type results struct {
	mu         sync.Mutex
	lost       int // openids reported as done that are not, or missing from the report
	doubled    int // openids delivered twice, or sent again though the first call succeeded
	hung       int // jobs that went on long after the end of their context
	unexpected int // openids changed though reported as failed or never requested
	mismatches int // everything else
	problems   []string

	jobs        map[string]*jobCount
	stops       map[string]int // number of stopped jobs by reason
	slowestStop time.Duration  // longest time from the end of a job's context to its return
	waited      time.Duration
}

type jobCount struct {
	jobs, resumed int
	openIDs       int
}

func newResults() *results {
	return &results{jobs: make(map[string]*jobCount), stops: make(map[string]int)}
}

// maxProblems is how many problems are printed.
const maxProblems = 20

func (r *results) add(count *int, n int, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*count += n
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, fmt.Sprintf(format, args...))
	}
}

func (r *results) addLost(openIDs []string, format string, args ...any) {
	if len(openIDs) > 0 {
		r.add(&r.lost, len(openIDs), "%s: %s", fmt.Sprintf(format, args...), abbreviate(openIDs))
	}
}

func (r *results) addUnexpected(openIDs []string, format string, args ...any) {
	if len(openIDs) > 0 {
		r.add(&r.unexpected, len(openIDs), "%s: %s", fmt.Sprintf(format, args...), abbreviate(openIDs))
	}
}

func (r *results) addDoubled(openIDs []string, format string, args ...any) {
	if len(openIDs) > 0 {
		r.add(&r.doubled, len(openIDs), "%s: %s", fmt.Sprintf(format, args...), abbreviate(openIDs))
	}
}

func (r *results) addMismatch(format string, args ...any) { r.add(&r.mismatches, 1, format, args...) }

// abbreviate formats up to three openids and the number of the others.
func abbreviate(ids []string) string {
	if len(ids) <= 3 {
		return fmt.Sprintf("%q", ids)
	}
	return fmt.Sprintf("%q and %d more", ids[:3], len(ids)-3)
}

func (r *results) jobStarted(job string, openIDs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs[job] == nil {
		r.jobs[job] = new(jobCount)
	}
	r.jobs[job].jobs++
	r.jobs[job].openIDs += openIDs
}

func (r *results) jobStopped(job, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[job].resumed++
	r.stops[reason]++
}

// hangTime is how long after the end of its context a job may take to return.
const hangTime = time.Minute

func (r *results) addStopTime(job string, d time.Duration) {
	if d > hangTime {
		r.add(&r.hung, 1, "%s: returned %v after the end of its context", job, d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slowestStop = max(r.slowestStop, d)
}

func (r *results) addWait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waited += d
}
