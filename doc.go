// Package wechatuser is the user management of a WeChat Official Account (公众号): followers and their profiles,
// remarks, tags, the blacklist, and the access token that all of it needs.
//
// # Quick start
//
//	c, err := wechatuser.New(appID, secret)
//	if err != nil {
//		return err
//	}
//	for openID, err := range c.AllFans(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(openID)
//	}
//
// A [Client] belongs to one account. It is safe for concurrent use, has no setters and nothing to close; make one and
// keep it. [New] reads no environment, makes no request and logs nothing unless told to.
//
// There are two layers. A method with the name of an official interface makes one API call: [Client.GetUserInfo],
// [Client.BatchTagging], [Client.GetFans]. The methods All…, Bulk… and Sync… take any number of openids: they walk over
// pages, cut lists into calls of the platform's limit, isolate the openids that the platform refuses, and say what became
// of each. Lists are iter.Seq2[string, error], so that the two compose:
//
//	report, err := c.BulkTagging(ctx, vip, c.AllTagFans(ctx, old))
//
// # Tokens
//
// A client gets its access token from the stable token interface when the first call needs one, renews it five minutes
// before it ends, and once more when the platform refuses it (40001, 40014, 42001); the refused call is then repeated.
// Whatever the number of goroutines, there is one token request at a time, and a caller waits for it no longer than its
// own context allows. A wrong secret is remembered for up to a minute, and there are never more than 20 token requests
// a minute.
//
// [WithTokenStore] shares the token with other clients and processes, [WithTokenSource] takes it from elsewhere, and
// [WithLegacyToken] uses the older interface.
//
// # Errors
//
// All errors are pointers: [*Error] is a refusal by the platform, with its errcode and rid; [*TransportError] is no
// answer; [*ResponseError] is an answer that is not the platform's; [*ArgumentError] was found before anything was sent.
//
//	var e *wechatuser.Error
//	switch {
//	case errors.Is(err, wechatuser.CodeInvalidOpenID): // one errcode
//	case errors.Is(err, wechatuser.ErrRateLimited):    // a class of them
//	case errors.As(err, &e):
//		log.Printf("%s failed with %d, rid %s: %s", e.API, e.Code, e.RID, e.Code.Remedy())
//	}
//
// No error, log line or printed value of this package holds a token or the app secret.
//
// # Retries
//
// Three attempts are made unless [WithRetry] says otherwise, with random pauses of up to 200 ms, 400 ms and so on, and
// never past the deadline of the context. What is repeated:
//
//   - a request that never left (DNS, dial, TLS), at once if there is another address;
//   - no answer, HTTP 5xx, 408 or 429, an answer that is not the platform's, and errcode -1, except for
//     the calls that clear a quota;
//   - 45169, which refuses a user who is being tagged by somebody else; and of 45171 the openids that it lists.
//
// Nothing else is, a used-up quota (45009, 45011) least of all; lists and bulk jobs wait for the next minute of the latter.
// All repeated calls have the same effect twice as once, but for two, which clear up after themselves: see
// [Client.CreateTag] and [Client.DeleteTag]. An error of a write that may have been applied all the same matches
// [ErrAmbiguous]. The policy may change between releases in its details.
//
// # Testing
//
// The package wechatusertest is an account in memory, with the platform's limits and errors:
//
//	srv := wechatusertest.NewServer(wechatusertest.WithFans(1000))
//	defer srv.Close()
//	c := srv.Client()
//
// httpmock works in all its ways: with httpmock.Activate, with httpmock.ActivateNonDefault on [Client.HTTPClient] or on
// the client given to [WithHTTPClient], and with a mock transport given to [WithTransport], which suits parallel tests.
package wechatuser
