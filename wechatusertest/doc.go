// Package wechatusertest is a WeChat Official Account in memory, for tests.
//
// A [Server] answers the user-management API over HTTP as the platform does, with its limits, its errcodes and the
// forms of its errmsg.
//
//	srv := wechatusertest.NewServer(wechatusertest.WithFans(25_000))
//	defer srv.Close()
//	vip := srv.AddTag("vip", wechatusertest.OpenID(0))
//	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeSystemBusy, 1)
//
//	for openID, err := range srv.Client().AllFans(ctx) {
//		// 25,000 openids in three pages, the first of them at the second attempt
//	}
//	srv.Calls("/cgi-bin/user/get") // 5: the refused call, three pages, the empty one
//
// Where a path is asked for, the official name of the API will do: "getFans" for "/cgi-bin/user/get".
//
// # An account and its people
//
// Arrange an account with [WithFans], [Server.AddUsers], [Server.Follow], [Server.AddTag] and [Server.Block], or from a
// file with [Server.Load]; [Server.Save] writes one. [WithIPWhitelist], [WithUnverified], [WithFrozenSecret],
// [WithQuota] and [WithMigration] are its circumstances, [Server.Advance] is its clock. A million followers take less
// than a gigabyte.
//
// # What goes wrong
//
// [Server.Fault] makes calls of a path fail: with an errcode or HTTP status, late, without an answer, before or after
// they are carried out, so many times or with a probability. [Server.FailNext], [Server.FailNextHTTP],
// [Server.DropRequests] and [Server.DropAnswers] are short forms; [Server.Delay], [Server.FailOpenIDs],
// [Server.RefuseProfiles] and [Server.ExpireTokens] do the rest. [Quirks] are the platform's own odd ways: [Wild] has
// them all, [Strict] none. What is random is so by a seed ([WithSeed]), and belongs to the call, so that a concurrent
// program meets the same on each run.
//
// # What came of it
//
// [Server.User], [Server.OpenIDs], [Server.Tags], [Server.TagFans] and [Server.Blacklist] give the result, and
// [Snapshot.Diff] what has changed, in words. [Server.Calls] counts requests, [Server.Requests] has the last ones with
// their errcode and rid, and [WithRequestHook] gets each. [Server.FindUsers], [Server.Totals], [Server.Tokens],
// [Server.Quotas] and [Server.Faults] are for a page or a command that shows an account. None of them shows a secret, or
// a token in full.
//
// # Where it runs
//
// A Server is an [http.Handler], so that programs in any language can work against it, and [Server.Transport] serves
// without a socket. With [WithoutListener] there is no goroutine at all, as package testing/synctest needs it; the
// account's clock is then the bubble's.
//
// The package encodes and decodes with code of its own and shares none with the client: what one of them gets wrong,
// the other one notices.
//
// # What is known
//
// These follow the platform's documentation or its answers that developers have published:
//
//   - HTTP status 200 for refusals, Content-Type "application/json; encoding=utf-8", "/" written as "\/", errcode and
//     errmsg on refusals and on writes but not on reads, "rid" and "hint" at the end of errmsg, the time in the rid.
//   - Page sizes of user/get and getblacklist, cursors that exclude, a next_openid on the last page, no "data" on an
//     empty page.
//   - The limits of each call and their errcodes, tag names and remarks counted in bytes, \uXXXX in a remark stored as
//     these six characters, tag ids from 100 on, "tagId" answered with 45159.
//   - Profiles without name, sex and place; the short profile of somebody who has left.
//   - 40164 for tokens only, with the caller's address; 48001 for user management by an account that is not verified.
//   - Two kinds of access token that do not touch each other: the stable one, with its 5 minutes of overlap, 20 forced
//     renewals a day and 30 seconds between two; and the legacy one that each request replaces.
//
// # What is assumed
//
// Nobody has published what the platform does here, so that it may differ:
//
//   - The order of checks: method, token, verified account, quota, body, fields, state; app ID, secret, frozen secret
//     and address where a token is asked for. An unknown path is 40066, checked before all.
//   - A token that this account never gave out is 40001, and 40014 if it has characters that no token has.
//   - A missing field is 44002, a list that is missing is an empty one (40032), as is a tag's name (45157), a missing
//     tagid is 45159, a value of the wrong JSON type is 47001, a body over 1 MiB is 45002.
//   - An unknown openid is 40003. One that is known to be another account's ([ForeignOpenID], or the old openids of
//     [WithMigration]) is 49003 in calls for tags and the blacklist, and 40003 elsewhere.
//   - A wrong openid in a list fails the whole call and nothing is applied.
//   - Somebody who has left: 43004 for a remark, 50005 for a tag, 40003 for the blacklist. Taking a tag or the block
//     away succeeds. Tags end when somebody leaves; remark, block and place in the list stay.
//   - A remark of exactly 30 bytes is allowed, and the empty one clears it. \uXXXX in a tag's name is the character that it
//     stands for.
//   - Blocked followers stay in user/get. Pages of user/tag/get have 10,000 openids. All lists are in the order in
//     which people first followed, and none holds an openid twice.
//   - groupid is the first tag's id. The star tag counts towards the 20 tags of a user, but not the 100 of an account.
//   - An openid that is twice in a batchget has two profiles in the answer.
//   - How often a quirk shows: where developers have seen one, nobody has counted.
//   - The 21st forced renewal of a day is 45009, as is the 51st openapi/quota/clear of a month. Days and months change
//     at midnight in Beijing.
//   - callback/check finds one address, which answers; an unknown action is 40202, an unknown operator 40203. The texts of
//     40066, 40202 and 40203 are made up.
//
// # What is left out
//
// The calls for groups (/cgi-bin/groups/…), which tags have replaced, and all that is not about users, tags, the blacklist,
// tokens, quotas or addresses: these paths are 40066. Plain http is not refused with 43003, and there are no tokens of
// third-party platforms.
package wechatusertest
