// Package mirror keeps a table of an account's followers in your database up to date: with pushes when users follow and
// unfollow the account, and with the platform's list of followers when pushes were lost.
//
//	db, err := sql.Open("pgx", dsn)
//	store, err := mirror.NewSQLStore(db, mirror.PostgreSQL)
//	m, err := mirror.New(client, store)
//
//	report, err := m.Full(ctx)      // once: all followers, with their profiles
//	report, err = m.Reconcile(ctx)  // once a day: adds new followers, removes those who have left
//	handler, err := wechatuserpush.NewHandler(cfg, m.Apply) // whenever a user follows or unfollows
//
// [NewSQLStore] keeps the followers in SQLite, PostgreSQL or MySQL; for any other database, implement [Store].
// docs/mirror.md is a guide to a running table, and describes its columns.
//
// # How it stays correct
//
// Pushes arrive late, twice and in any order, several processes walk over the list of followers at the same time, and
// any process can be killed. These rules keep the table correct nevertheless:
//
//  1. A push only tells which user has changed. [Mirror.Apply] reads the user's profile from the platform and stores
//     it.
//  2. Before each request the mirror draws a ticket: a number from the store that is larger than all before. What the
//     response says has that ticket. A walk over the list has one ticket, drawn before its first page.
//  3. A row has the ticket of what it says. A response with a smaller ticket does not change it. The profile in a row
//     has its own ticket, because a list tells only that a user follows, and not what the profile is.
//
// So it matters when a request was made, and not when the response or the push arrived. The last change of a user
// causes a push, which causes a request after the change. Requests made before that one have a smaller ticket; later
// ones get the same response. If the push is lost, the next [Mirror.Reconcile] notices the change. The clocks of the
// platform and of your machines are not compared, so they may differ, and it does no harm that the times in pushes are
// whole seconds.
//
// There are two exceptions for a push that tells that a user has left. If the profile says that the user follows, but
// since a time before that of the push, the profile is out of date, and the user is removed; both times are the
// platform's. If the profile cannot be read, the user is removed too, and Apply returns an error, so that the platform
// repeats the push.
//
// The rows of users who have left are kept for a while, so that late responses do not add these users again; see below.
//
// # Who is removed
//
// A follower who is missing from the list is removed only if the profile also says that the user does not follow. No
// such follower is removed if the list broke off, or is shorter than the platform's number of followers
// ([ErrSuspectList]). More than half of the followers are removed only with [WithMassRemoval] ([ErrMassRemoval]).
//
// # What is kept about users who have left
//
// The platform requires an account to delete the data of a user who leaves. So the openid and the profile are deleted
// at once. The row keeps a hash of the openid, the time when the user left, the time when the platform was asked, and
// the ticket. [Mirror.Full] and [Mirror.Reconcile] delete the row after two days, unless [WithDepartures] keeps it for
// your statistics.
//
// https://developers.weixin.qq.com/doc/service/Account_Management/Wechat_Accreditation_Event_Push.html
package mirror
