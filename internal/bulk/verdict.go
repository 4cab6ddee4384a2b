package bulk

import "time"

// Action is what a failed call means for the job.
type Action uint8

const (
	Stop    Action = iota // the job ends with this error
	Split                 // some items are to blame: halve the call; an item that fails alone is Rejected
	Reject                // all items of the call are Rejected
	Retry                 // retry after a delay, up to Gate.MaxRetries times; then Verdict.Exhausted
	Hold                  // let no call through the gate for Verdict.After, then retry; there is no limit
	Persist               // retry with growing pauses for as long as Gate.Patience allows; then Verdict.Exhausted
	Shrink                // the call had too many items: halve it, and make no call of the job as large again
)

// Verdict is how to go on after a failed call. The zero Verdict stops the job.
type Verdict struct {
	Action Action
	// After is the duration of a Hold, and the shortest pause before a Retry.
	After time.Duration
	// Exhausted replaces Retry and Persist when no retries or no time are left: Stop, Split or Reject.
	Exhausted Action
	// Failed are the IDs that the call did not process. With Retry, only they are retried, and the others are Done.
	// They are unknown if Failed is empty, or has no ID of the call. If Failed names every item of the call, there is
	// no progress, and Exhausted applies at once.
	Failed []string
	// MayBeApplied reports that the call may have been applied. It is set on each item of the call.
	MayBeApplied bool
	// Unknown makes items Unknown: with Stop all of the call; with Split an item that fails alone, in place of
	// Rejected.
	Unknown bool
	// Err replaces the error of the call if it is not nil.
	Err error
}
