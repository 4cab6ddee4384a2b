package mirror

import (
	"context"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Store holds the table of followers. [SQLStore] uses SQLite, PostgreSQL or MySQL; [MemoryStore] is for tests. To keep
// the followers in another table, implement Store and test it with [mirrortest.Run].
//
// A store is used by many goroutines and processes at once. Each method must be atomic for each openid. After an error
// it may be called again with the same arguments. Openids are case-sensitive.
//
// [mirrortest.Run]: https://pkg.go.dev/github.com/wechatuser/wechatuser/mirror/mirrortest#Run
type Store interface {
	// Open prepares the store for an account: it creates and migrates tables. It returns an error if the store belongs
	// to another account. A [Mirror] calls it before it uses the store, until it has succeeded once.
	Open(ctx context.Context, appID string) error
	// Ticket returns a number that is larger than any number that it has returned before, in any process.
	Ticket(ctx context.Context) (int64, error)
	// Put stores the statements. It ignores a statement if the row of the openid has a larger ticket. A row has a
	// second ticket for its profile, and a statement with a profile replaces the profile unless that ticket is larger.
	// A statement that a user has left sets both tickets; one without a profile sets only the first. Put must compare
	// and store in one step. The statements of a call have different openids. If
	// the cursor of a saved walk is a user who has left, Put deletes the cursor, so that the walk resumes at the
	// beginning.
	Put(ctx context.Context, statements []Statement) error
	// Listed records that these openids are in the list of followers: it sets the ticket and the time of each row of a
	// follower whose ticket is smaller. It creates no rows. It returns as unknown the openids that have no row, or have
	// the row of a former follower with a smaller ticket; and as stale the followers whose profile is missing or was
	// read before l.StaleBefore.
	Listed(ctx context.Context, l Listing) (unknown, stale []string, err error)
	// Count returns the number of followers, and how many of them have a smaller ticket than the given one.
	Count(ctx context.Context, ticket int64) (followers, unlisted int, err error)
	// Unlisted returns up to limit openids of followers that have a smaller ticket than the given one. It returns them
	// in an order that the store chooses, and begins after the openid after, which is empty or the last one of the
	// previous call.
	Unlisted(ctx context.Context, ticket int64, after string, limit int) ([]string, error)
	// Purge deletes the rows of former followers that have a smaller ticket than the given one and a time, the At of
	// their statement, before the given one.
	Purge(ctx context.Context, ticket int64, before time.Time) error
	// LoadWalk returns the saved walk of a kind, which is "full" or "reconcile", or the zero Walk if there is none.
	LoadWalk(ctx context.Context, kind string) (Walk, error)
	// SaveWalk replaces the saved walk of a kind if that has the given ticket, or if there is none and ticket is 0.
	// Otherwise it does nothing and returns nil. It also does nothing if the cursor of w is a user who has left
	// meanwhile; the walk then resumes at the cursor before. The zero Walk deletes the saved one.
	SaveWalk(ctx context.Context, kind string, ticket int64, w Walk) error
}

// Statement is what a response of the platform says about a user.
type Statement struct {
	// Ticket is the number that was drawn before the request.
	Ticket int64
	// At is the time of the request, by the clock of the machine that made it. It is for information and for Purge; it
	// does not decide which statement is newer.
	At     time.Time
	OpenID string
	// LeftAt is when the user left, or when the mirror noticed it. It is zero for a follower. The store must delete all
	// data of a user who has left at once, except a hash of the openid, the times and the tickets.
	LeftAt time.Time
	// Profile is the profile of a follower, with the fields that the mirror keeps. If it is nil, the statement does not
	// tell the profile, and the store keeps the one that the row of a follower has.
	Profile *wechatuser.UserInfo
}

// Follows reports whether the statement says that the user follows the account.
func (s Statement) Follows() bool { return s.LeftAt.IsZero() }

// Listing is a part of the list of followers.
type Listing struct {
	Ticket      int64     // of the walk
	At          time.Time // when the walk began, by the clock of the machine that began it
	OpenIDs     []string  // without duplicates
	StaleBefore time.Time // profiles that were read before are stale; if zero, only missing ones are
}

// Walk is the progress of a walk over the list of all followers.
type Walk struct {
	Ticket  int64     // drawn before the first page
	Started time.Time // by the clock of the machine that began the walk
	Cursor  string    // the openid after which the walk continues; empty at the beginning
	Listed  int       // the number of openids up to the cursor
}
