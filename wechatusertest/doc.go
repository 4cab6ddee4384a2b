// Package wechatusertest simulates a WeChat Official Account in memory, for tests.
//
// A [Server] serves the user-management API over HTTP. It enforces the platform's limits and returns its errcodes and
// its forms of errmsg.
//
//	func TestAllFans(t *testing.T) {
//		srv := wechatusertest.NewServer(wechatusertest.WithFans(25_000))
//		defer srv.Close()
//		srv.FailNext("/cgi-bin/user/get", wechatuser.CodeSystemBusy, 1)
//
//		n := 0
//		for _, err := range srv.Client().AllFans(t.Context()) {
//			if err != nil {
//				t.Fatal(err)
//			}
//			n++
//		}
//		if n != 25_000 {
//			t.Errorf("got %d followers", n)
//		}
//		if calls := srv.Calls("/cgi-bin/user/get"); calls != 5 {
//			t.Errorf("got %d calls, want the failed one, three pages and an empty page", calls)
//		}
//	}
//
// Wherever a path is expected, the official name of the API works too: "getFans" for "/cgi-bin/user/get".
//
// # Set up an account
//
// [WithFans] adds any number of synthetic followers; [OpenID] returns their openids. [Server.AddUsers] adds followers
// with a profile, [Server.AddTag] creates a tag, and [Server.Block] adds users to the blacklist. [Server.Follow],
// [Server.Unfollow], [Server.Tag], [Server.Untag], [Server.Unblock] and [Server.SetRemark] change the account later.
//
//	srv.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE1", Remark: "vip"})
//	tagID := srv.AddTag("beta", "oFAKE1", wechatusertest.OpenID(0))
//	srv.Block(wechatusertest.OpenID(1))
//
// [Server.Save] writes the account as JSON and [Server.Load] reads it. A million followers take less than 1 GB of
// memory.
//
// Options such as [WithIPWhitelist], [WithUnverified], [WithFrozenSecret], [WithQuota] and [WithMigration] make a
// different kind of account. [Server.Advance] moves its clock, so that tokens expire and quotas start over.
//
// # Simulate faults
//
// [Server.Fault] makes calls of a path fail: with an errcode, an HTTP status, a broken response or no response, before
// or after the call is carried out, a number of times, for some minutes or with a probability. It can also delay calls.
//
//	// The next call creates its tag, but the response is lost.
//	srv.Fault(wechatusertest.Fault{Path: "createTag", Kind: wechatusertest.FaultDropAnswer, Times: 1})
//
// Shorter forms are [Server.FailNext], [Server.FailNextHTTP], [Server.DropRequests], [Server.DropAnswers] and
// [Server.Delay]. [Server.FailOpenIDs] makes tagging fail for some openids, [Server.RefuseProfiles] makes profiles
// unavailable, and [Server.ExpireTokens] revokes the access tokens.
//
// [Server.Handle] responds to paths that the simulator does not know, such as those of [wechatuser.Client.Do].
//
// [Quirks] are odd behaviors of the platform that a client should tolerate. They are off by default; [Wild] turns on
// nearly all of them.
//
//	srv := wechatusertest.NewServer(wechatusertest.WithFans(500), wechatusertest.WithQuirks(wechatusertest.Wild(1)))
//
// Random decisions depend on a seed ([WithSeed]) and on the content of the call, so a concurrent program gets the same
// decisions on each run.
//
// # Pushes
//
// With [WithPushes] the account pushes an event, as the platform does, when users follow, leave or scan a QR code:
// [Server.Follow], [Server.FollowByScan], [Server.Unfollow], [Server.Scan]. Other methods push changes of
// authorizations and any other event. Pushes are signed, and encrypted unless the mode is [PushPlain]. They go to a URL
// or to a handler in the process, and are sent in the background.
//
//	srv := wechatusertest.NewServer(wechatusertest.WithPushes(wechatusertest.PushConfig{
//		Handler: handler, Token: token, EncodingAESKey: key, Mode: wechatusertest.PushSafe,
//	}))
//	defer srv.Close()
//	srv.Follow("oFAKE1")
//	err := srv.WaitPushes(t.Context()) // each has been answered, or given up after three attempts
//
// [Server.Pushes] returns the pushes with their results, and [Server.VerifyPushURL] does what the console does when a
// URL is saved. Some [Quirks] repeat and delay pushes. [Server.AddUsers], [WithFans] and [Server.Load] push nothing,
// and [Server.Save] saves no pushes.
//
// # Inspect the result
//
// [Server.User], [Server.OpenIDs], [Server.Tags], [Server.TagFans] and [Server.Blacklist] return the content of the
// account. [Snapshot.Diff] describes what has changed:
//
//	before := srv.Snapshot()
//	// run the code under test
//	fmt.Print(before.Diff(srv.Snapshot()))
//
// [Server.Calls] counts requests. [Server.Requests] returns the last ones with their errcode and rid, and
// [WithRequestHook] reports each as it is handled. [Server.FindUsers], [Server.Totals], [Server.Tokens],
// [Server.Quotas] and [Server.Faults] return what a web page or a command needs to display an account. None of these
// reveals a secret or a complete token.
//
// # Third-party platforms
//
// A [Platform] plays WeChat's side of a third-party platform (第三方平台) for any number of accounts: tickets, tokens,
// refresh tokens and the list of accounts. [Platform.Advance] moves its clock and pushes a ticket every 10 minutes.
//
//	platform := wechatusertest.NewPlatform()
//	code := platform.Authorize(srv)
//	platform.OnTicket(func(ticket string) { … })
//
// # Run without a socket
//
// A Server is an [http.Handler], so programs in any language can be tested against it. [Server.Transport] serves
// requests in the process. With [WithoutListener] a server starts no goroutine, as package testing/synctest requires;
// the account's clock is then that of the synctest bubble.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
//		srv.Delay("*", time.Minute) // takes no real time
//		_, err := srv.Client().GetTags(t.Context())
//		if err == nil {
//			t.Error("want a timeout")
//		}
//	})
//
// The package has its own code for the platform's JSON and shares none with the client, so an error in one of them
// becomes visible.
//
// # What is known
//
// The following is in the platform's documentation or in responses that developers have published:
//
//   - Errors have HTTP status 200. The Content-Type is "application/json; encoding=utf-8", and "/" is written as "\/".
//     Errors and successful writes have errcode and errmsg, successful reads do not. errmsg ends with "hint" and "rid";
//     the rid contains the time.
//   - The page size of user/get. A page begins after the openid of its cursor. The last page has a next_openid. An
//     empty page has no "data".
//   - The limits of each call and their errcodes. The length of tag names and remarks is counted in bytes. \uXXXX in a
//     remark is stored as these six characters. Tag ids start at 100. "tagId" in place of "tagid" fails with 45159.
//   - Profiles have no name, sex and place. The profile of a former follower is shorter.
//   - 40164 is returned for all calls, with the client's address. User management by an unverified account fails with
//     48001.
//   - Errors of the access token have a rid and no hint, and "/" is plain in errmsg; 40001 names getStableAccessToken.
//     A wrong app ID fails with 40013 before the grant type is checked.
//   - Stable and legacy access tokens do not affect each other. Stable tokens overlap by 5 minutes, and can be
//     refreshed by force 20 times a day, at intervals of 30 seconds. Each legacy token replaces the previous one.
//   - Signature, encryption, modes and XML of pushes, and the verification of the URL. Follows without a QR code have
//     an empty EventKey. A push is repeated if there is no response within five seconds, at most three times. A
//     response is empty, "success" or a reply, which must be encrypted in [PushSafe] mode.
//
// # What is assumed
//
// No source is known for the following, so the platform may differ:
//
//   - Checks are made in this order: method, token, verified account, quota, body, fields, state; for token requests:
//     app ID, grant type, secret, frozen secret, address. The address of other calls is checked after the token. An
//     unknown path fails with 40066 before all other checks.
//   - A token that this account never issued fails with 40001, or with 40014 if it has characters that no token has.
//   - A missing field fails with 44002, a missing tagid with 45159. A missing list counts as empty (40032), and so does
//     a missing tag name (45157). A value of the wrong JSON type, such as a tagid in quotes, fails with 47001, and a
//     body over 1 MiB with 45002.
//   - An unknown openid fails with 40003. An openid known to be another account's ([ForeignOpenID], or an old openid of
//     [WithMigration]) fails with 49003 in calls for tags and the blacklist, and with 40003 elsewhere.
//   - An invalid openid in a list fails the whole call, and nothing is applied.
//   - For a former follower, setting a remark fails with 43004, adding a tag with 50005, and blocking with 40003.
//     Removing a tag and unblocking succeed. Unfollowing removes all tags; remark, block and position in the list
//     remain.
//   - A remark of exactly 30 bytes is allowed, and an empty one clears it. \uXXXX in a tag name is decoded.
//   - Blocked followers remain in user/get. Pages of user/tag/get have 10,000 openids. Those of getblacklist have
//     1,000, as the documentation says today; it said 10,000 in the past. All lists are in the order of the first
//     follow, and no openid appears twice.
//   - groupid is the id of the first tag. The star tag counts towards the 20 tags of a user, but not towards the 100 of
//     an account.
//   - A batchget with a duplicate openid returns two profiles.
//   - How often a quirk occurs: developers have reported quirks, but not their frequency.
//   - The 21st forced refresh of a day fails with 45009, and so does the 51st openapi/quota/clear of a month. Days and
//     months begin at midnight in Beijing.
//   - At a third-party platform: the order of the checks is that of account calls. The token before the newest one is
//     valid for 5 minutes. Authorizing again ends the tokens at once. getAuthorizerList has no refresh token of an
//     account until its first authorization_code is exchanged. A call after the authorization was withdrawn fails with
//     61003, and after the password was changed with 42007. 61004 is for requests with the app secret, 40164 for others.
//   - callback/check returns one reachable address. An unknown action fails with 40202, an unknown operator with 40203.
//     The texts of 40066, 40202 and 40203 are invented.
//   - "Three times" counts all attempts of a push. They begin five seconds apart, whether the one before got a wrong
//     response or none, and each has its own timestamp and nonce. "success" must be the whole body. FromUserName of
//     changes of authorizations is that of the platform, and so is the openid in the URL.
//
// # What is left out
//
// The calls for groups (/cgi-bin/groups/…), which tags have replaced, and everything other than users, tags, the
// blacklist, tokens, quotas and IP addresses: these paths fail with 40066, unless [Server.Handle] has them. Plain HTTP
// does not fail with 43003. Of third-party platforms there is what tokens take, and nothing else.
package wechatusertest
