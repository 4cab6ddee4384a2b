// Package mirror keeps a table of an account's followers in a database of yours, and keeps it true: with pushes as
// followers come and go, and with a look at the platform's list for the pushes that were lost.
//
//	db, err := sql.Open("pgx", dsn)
//	store, err := mirror.NewSQLStore(db, mirror.PostgreSQL)
//	m, err := mirror.New(client, store)
//
//	report, err := m.Full(ctx)      // once: everybody, with profiles
//	report, err = m.Reconcile(ctx)  // once a day: who is new, who has gone
//	handler, err := wechatuserpush.NewHandler(cfg, m.Apply)
//
// A [Store] is a table in SQLite, PostgreSQL or MySQL ([NewSQLStore]), or one of your own. docs/mirror.md is a guide
// from nothing to a running table, with its columns.
//
// # What wins
//
// Pushes arrive late, twice and in any order, several processes walk over the list at the same time, and any of them
// can be killed. These rules make the table right all the same:
//
//  1. A push only says whom to ask about. [Mirror.Apply] asks the platform for that user and stores what it says.
//  2. Before the platform is asked anything, a ticket is drawn: a number from the store that is larger than all before.
//     The answer has that ticket. All of a walk over the list has the ticket from before its first page.
//  3. Each row has the ticket of what it says. An answer with a smaller ticket is dropped. The profile in a row has a
//     ticket of its own, because a list only says that the user follows.
//
// So what counts is when the question was asked, not when the answer or the push arrived. A user's last change causes a
// push, which causes a question after that change; what was asked before it has a smaller ticket, and what was asked
// after it has the same answer. If the push is lost, the next [Mirror.Reconcile] asks. No clock is compared with
// another one: the platform's and those of your machines may differ, and it does not matter that the times of pushes
// are whole seconds.
//
// There is one exception: a profile that says that the user has followed since a time before the push says that the
// user has left is out of date, and the push is right. Both times are the platform's. And if the platform cannot be
// asked about a user who has left, the push is believed, and Apply returns an error, so that the platform repeats it.
//
// To drop answers about users who have left, their rows have to stay for a while; see below.
//
// # Who is removed
//
// Nobody is removed because a list broke off, or is shorter than the platform says ([ErrSuspectList]), and more than
// half of the followers only with [WithMassRemoval]. Who is not in a complete list is asked about: a user is removed if
// the profile says so too.
//
// # What is kept of those who left
//
// The platform requires an account to delete what it keeps of a user who leaves. So the openid and the profile are
// deleted at once. What stays in the row is a hash of the openid, when the user left, when the row was written, and the
// ticket. After two days [Mirror.Full] and [Mirror.Reconcile] delete that too, unless [WithDepartures] keeps it for
// your statistics.
//
// https://developers.weixin.qq.com/doc/service/Account_Management/Wechat_Accreditation_Event_Push.html
package mirror
