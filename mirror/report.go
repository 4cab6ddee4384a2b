package mirror

import (
	"errors"
	"fmt"
	"log/slog"
)

// Report is the result of [Mirror.Full] and [Mirror.Reconcile]. It counts what this run has done, without the part of
// an earlier run that it has resumed, except in Listed.
type Report struct {
	Listed   int  // openids in the list, including those of an earlier run that was resumed
	Resumed  bool // whether an earlier run was resumed
	Added    int  // followers who were not in the table before
	Profiles int  // profiles that were read and stored
	Failed   int  // profiles that the platform did not return; the next Full reads them again
	Removed  int  // users who have left
	// Kept is the number of followers in the table who are missing from the list and were kept, because their profile
	// says that they follow or could not be read.
	Kept  int
	Calls int // number of API requests, including retries
}

// String returns the report in one line, without openids.
func (r Report) String() string {
	return fmt.Sprintf("%d listed, %d added, %d profiles read, %d failed, %d removed, %d kept, %d calls",
		r.Listed, r.Added, r.Profiles, r.Failed, r.Removed, r.Kept, r.Calls)
}

// LogValue returns the fields of the report as a group.
func (r Report) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("listed", r.Listed), slog.Bool("resumed", r.Resumed), slog.Int("added", r.Added),
		slog.Int("profiles", r.Profiles), slog.Int("failed", r.Failed), slog.Int("removed", r.Removed),
		slog.Int("kept", r.Kept), slog.Int("calls", r.Calls))
}

// Progress is the progress of a walk; see [Report] for the fields.
type Progress struct {
	Listed   int
	Profiles int
	Removed  int
}

// ErrSuspectList is matched by the error of a walk if the list has fewer openids than the platform's number of
// followers, by more than 1 % plus ten. The followers in the list are stored, and those who are missing from it are not
// removed. Run the walk again later.
var ErrSuspectList = errors.New("the list of followers is incomplete")

// ErrMassRemoval is matched by the error of a walk if more than ten followers, and more than half of those in the
// table, are missing from the list. The followers in the list are stored, and those who are missing from it are not
// removed. If they have really left, use [WithMassRemoval].
var ErrMassRemoval = errors.New("more than half of the followers would be removed")
