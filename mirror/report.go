package mirror

import (
	"errors"
	"fmt"
	"log/slog"
)

// Report is the result of [Mirror.Full] and [Mirror.Reconcile]. It counts what this run has done, and not what others
// have done meanwhile.
type Report struct {
	Listed   int  // openids in the list, those before a resumed place included
	Resumed  bool // an earlier run was continued
	Added    int  // users who were not in the table as followers
	Profiles int  // profiles that were read and stored
	Failed   int  // profiles that the platform did not return; the next Full tries again
	Removed  int  // users who have left
	// Kept is the number of followers in the table who were not in the list, and are kept, because their profile says
	// that they follow, or could not be read.
	Kept  int
	Calls int // API requests that were sent
}

// String returns the report in one line, without openids.
func (r Report) String() string {
	return fmt.Sprintf("%d listed, %d added, %d profiles read, %d failed, %d removed, %d kept, %d calls",
		r.Listed, r.Added, r.Profiles, r.Failed, r.Removed, r.Kept, r.Calls)
}

// LogValue returns the numbers of the report.
func (r Report) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("listed", r.Listed), slog.Bool("resumed", r.Resumed), slog.Int("added", r.Added),
		slog.Int("profiles", r.Profiles), slog.Int("failed", r.Failed), slog.Int("removed", r.Removed),
		slog.Int("kept", r.Kept), slog.Int("calls", r.Calls))
}

// Progress is how far a walk has come.
type Progress struct {
	Listed   int // openids of the list so far
	Profiles int // profiles that this run has read
	Removed  int
}

// ErrSuspectList is the error of a walk whose list had far fewer openids than the platform says that the account has
// followers. What the list has is stored, and nobody is removed. Run it again later.
var ErrSuspectList = errors.New("the list of followers is incomplete")

// ErrMassRemoval is the error of a walk that would remove more than half of the followers in the table. What the list
// has is stored, and nobody is removed. If it is right, use [WithMassRemoval].
var ErrMassRemoval = errors.New("more than half of the followers would be removed")
