package bulk

import "time"

// Action is what a failed call means for the job.
type Action uint8

const (
	Stop    Action = iota // the job ends with this error
	Split                 // some items are to blame: halve the call until each stands alone; one that does is Rejected
	Reject                // all items of the call are Rejected
	Retry                 // retry after a delay, up to Gate.MaxRetries times; then Verdict.Exhausted
	Hold                  // let no call through the gate for Verdict.After, then retry; there is no limit
	Persist               // retry with growing pauses for as long as Gate.Patience allows; then Verdict.Exhausted
	Shrink                // the call had too many items: halve it, and make no call of the job as large again
)

// Verdict is how to go on after a failed call. The zero Verdict stops the job.
type Verdict struct {
	Action Action
	// After is how long to Hold, and how long at least to pause before a Retry.
	After time.Duration
	// Exhausted replaces Retry and Persist when nothing is left of them: Stop, Split or Reject.
	Exhausted Action
	// Failed are the IDs that the call did not process: with Retry, only they are retried, and the others are Done. Empty
	// means that they are not known; so do IDs that are no items of the call. If Failed names every item of the call,
	// there is no progress, and Exhausted applies at once.
	Failed []string
	// MayBeApplied reports that the call may have been applied. It is noted on each of its items.
	MayBeApplied bool
	// Unknown, with Stop, makes the items of the call Unknown; with Split, the one that stands alone.
	Unknown bool
	// Err replaces the error of the call if it is not nil.
	Err error
}
