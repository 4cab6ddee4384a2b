package mirror

import (
	"context"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Store holds the table of followers. [SQLStore] is one for SQLite, PostgreSQL and MySQL, [MemoryStore] one for tests.
// To keep the followers in a table of your own, implement it and run [mirrortest.Run] on it.
//
// A store is used by many goroutines and processes at once. Each method must be atomic for each openid, and may be
// called again with the same arguments after an error. Openids are case-sensitive.
//
// [mirrortest.Run]: https://pkg.go.dev/github.com/wechatuser/wechatuser/mirror/mirrortest#Run
type Store interface {
	// Open prepares the store for an account: it creates and migrates tables. It fails if the store belongs to another
	// account. A [Mirror] calls it before its first use of the store, and not again after it has succeeded.
	Open(ctx context.Context, appID string) error
	// Ticket returns a number that is larger than all that it has returned before, to any process.
	Ticket(ctx context.Context) (int64, error)
	// Put stores each statement, unless the row of its openid has a larger ticket. A profile has a ticket of its own in
	// the row, and is stored unless that is larger: a list says later that the user follows, and not what the profile
	// is. That a user has left sets both tickets. Put must compare and store in one step. No two statements of a call
	// have the same openid. A walk whose place is a user who has left loses it, and resumes at the beginning.
	Put(ctx context.Context, statements []Statement) error
	// Listed notes that these openids are in a list of followers: a row of a follower with a smaller ticket gets this
	// ticket and time. It returns those openids that have no such row and need one, which excludes those whose row has
	// a larger ticket and says that they have left. It also returns the followers whose profile is missing or was read
	// before staleBefore.
	Listed(ctx context.Context, l Listing) (unknown, stale []string, err error)
	// Count returns the number of followers, and of those among them whose ticket is smaller than this one.
	Count(ctx context.Context, ticket int64) (followers, unlisted int, err error)
	// Unlisted returns up to limit followers whose ticket is smaller than this one, in an order of the store's own,
	// after an openid that it has returned before; the first ones if that is empty.
	Unlisted(ctx context.Context, ticket int64, after string, limit int) ([]string, error)
	// Purge deletes the rows of former followers whose ticket is smaller than this one, and whose time is before this
	// one.
	Purge(ctx context.Context, ticket int64, before time.Time) error
	// LoadWalk returns how far the walk of a kind, "full" or "reconcile", has come; a zero Walk if there is none.
	LoadWalk(ctx context.Context, kind string) (Walk, error)
	// SaveWalk replaces the walk of a kind if its ticket is this one, 0 for none. Otherwise it does nothing, and so it
	// does if the place is a user who has left meanwhile: then the walk resumes at the place before.
	SaveWalk(ctx context.Context, kind string, ticket int64, w Walk) error
}

// Statement is what the platform has said about a user.
type Statement struct {
	// Ticket is the number that was drawn before the platform was asked.
	Ticket int64
	// At is when that was, by the clock of this machine. It is for people and for Purge; it decides nothing.
	At     time.Time
	OpenID string
	// LeftAt is when the user left, or when that was noticed; zero for a follower. The store must delete everything of
	// a former follower at once, except a hash of the openid, the times and the ticket.
	LeftAt time.Time
	// Profile is the profile of a follower, with the fields that the mirror keeps. If it is nil, nothing is said about
	// the profile: that of a row which says that the user follows stays as it is.
	Profile *wechatuser.UserInfo
}

// Follows reports whether the statement is that the user follows the account.
func (s Statement) Follows() bool { return s.LeftAt.IsZero() }

// Listing is a part of a list of followers.
type Listing struct {
	Ticket      int64     // of the walk
	At          time.Time // when the walk began, by the clock of the machine that began it
	OpenIDs     []string  // without duplicates
	StaleBefore time.Time // zero if only missing profiles are of interest
}

// Walk is how far a walk over the list of all followers has come.
type Walk struct {
	Ticket  int64
	Started time.Time
	Place   string // the openid after which the walk continues
	Listed  int    // the number of openids up to that place
}
