package bulk

import "time"

// Action is what a failed call means for the job.
type Action uint8

const (
	Stop   Action = iota // the job ends with this error
	Split                // some items are to blame: halve the call until each stands alone; one that does is Rejected
	Reject               // all items of the call are Rejected
	Retry                // retry after a delay, up to Gate.MaxRetries times; then Verdict.Exhausted
	Hold                 // let no call through the gate for Verdict.After, then retry; there is no limit
)

// Verdict is how to go on after a failed call. The zero Verdict stops the job.
type Verdict struct {
	Action Action
	// After is how long to Hold.
	After time.Duration
	// Exhausted replaces Retry when no retry is left: Stop, Split or Reject.
	Exhausted Action
	// Failed are the IDs that the call did not process: with Retry, only they are retried, and the others are Done. Empty
	// means all. If Failed names every item of the call, there is no progress, and Exhausted applies at once.
	Failed []string
	// MayBeApplied reports that the call may have been applied. It is noted on each of its items.
	MayBeApplied bool
	// Unknown, with Stop, makes the items of the call Unknown.
	Unknown bool
	// Err replaces the error of the call if it is not nil.
	Err error
}
