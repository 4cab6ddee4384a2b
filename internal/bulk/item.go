package bulk

import "slices"

// Status is what is known about an item.
type Status uint8

const (
	Pending  Status = iota // not applied, as far as is known
	Done                   // applied, or has its result
	Rejected               // by the platform; see Item.Err
	Invalid                // not an ID, and never sent
	Unknown                // no response tells whether it was applied
)

// Item is an ID of the input with its outcome.
type Item[R any] struct {
	ID     string
	Status Status
	// Err is why the item is Rejected, Invalid or Unknown; nil otherwise.
	Err error
	// MayBeApplied reports that a call with the item failed but may have been applied. A later call may have decided
	// its outcome: see Status.
	MayBeApplied bool
	// Delivered reports that the item was delivered before: its ID is in the input more than once.
	Delivered bool
	// Shared reports that the ID is in the input more than once while the item is in flight: the item is delivered once
	// for each. It is final when the item is delivered, and must not be read before.
	Shared bool
	// Result is set by Job.Send.
	Result R
}

func setStatus[R any](items []*Item[R], status Status, err error) {
	for _, item := range items {
		item.Status, item.Err = status, err
	}
}

// named returns the items with these IDs, and the others.
func named[R any](items []*Item[R], ids []string) (named, others []*Item[R]) {
	for _, item := range items {
		if slices.Contains(ids, item.ID) {
			named = append(named, item)
		} else {
			others = append(others, item)
		}
	}
	return named, others
}
