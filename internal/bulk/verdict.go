package bulk

import "time"

// Action is what a failed call means for the job.
type Action uint8

const (
	Stop   Action = iota // the job ends with this error
	Split                // some items are to blame: halve the call until they stand alone; one alone is Rejected
	Reject               // all items of the call are Rejected
	Retry                // call again after a pause, up to Gate.MaxRetries times; then Verdict.Exhausted
	Hold                 // no call through the gate for Verdict.After, then call again, without a limit
)

// Verdict is how to go on after a failed call. The zero Verdict stops the job.
type Verdict struct {
	Action Action
	// After is for how long to Hold.
	After time.Duration
	// Exhausted replaces Retry when no retry is left: Stop, Split or Reject.
	Exhausted Action
	// Failed are the IDs that the call did not process, where it is to be retried for them alone: the others are Done.
	// Empty means all. If it names every item of the call, a retry would not help, and Exhausted applies at once.
	Failed []string
	// MayBeApplied says that the call may have been applied. It is noted on each of its items.
	MayBeApplied bool
	// Unknown makes the items of the call Unknown. It goes with Stop.
	Unknown bool
	// Err replaces the error of the call if it is not nil.
	Err error
}
