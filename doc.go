// Package wechatuser manages the users of a WeChat Official Account (公众号): followers and their profiles, remarks,
// tags, the blacklist, and the access token that all calls need. An openid identifies a user within one account.
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
// A [Client] belongs to one account. It is immutable and safe for concurrent use. Create one per account and reuse it;
// it needs no Close. [New] reads no environment variable, makes no request, and logs only if [WithLogger] is given.
//
// There are two layers. A method with the name of an official interface makes one API call: [Client.GetUserInfo],
// [Client.BatchTagging], [Client.GetFans]. The methods All…, Bulk… and Sync… take any number of openids: they follow
// cursors, split lists into calls of the size that the platform allows, isolate the openids that it rejects, and report
// the outcome of each. Lists are iter.Seq2[string, error], so they compose:
//
//	report, err := c.BulkTagging(ctx, vip, c.AllTagFans(ctx, old))
//
// [Client.Do] calls any other endpoint of the platform, with the same token, retries, limits and errors.
//
// # Tokens
//
// A client fetches its access token from the stable token interface when the first call needs one, and refreshes it
// five minutes before it expires. When the platform rejects a token (40001, 40014, 42001), the client refreshes it and
// retries the call. Concurrent calls share one token request, and each waits for it no longer than its own context
// allows. After WeChat rejects the secret, the client sends no token request for up to a minute. It sends at most 20 of
// them a minute.
//
// [WithTokenStore] shares the token with other clients and processes, [WithTokenSource] takes it from elsewhere, and
// [WithLegacyToken] uses the older interface. [WithSecretSource] takes the app secret from a vault. In WeChat cloud
// hosting (微信云托管) a client needs neither a token nor the secret: see [WithCloudHosting].
//
// # Errors
//
// All error types are pointers. [*Error] is a response of the platform with an errcode, its error number, and a rid,
// its ID of the request. [*TransportError] is a call without a response. [*ResponseError] is a response that is not the
// platform's. [*ArgumentError] is a wrong argument that was found before anything was sent.
//
//	var e *wechatuser.Error
//	switch {
//	case errors.Is(err, wechatuser.CodeInvalidOpenID): // one errcode
//	case errors.Is(err, wechatuser.ErrRateLimited):    // a class of them
//	case errors.As(err, &e):
//		log.Printf("%s failed with %d, rid %s: %s", e.API, e.Code, e.RID, e.Code.Remedy())
//	}
//
// No error, log line or printed value of this package contains a token or the app secret.
//
// # Retries
//
// A call makes up to three attempts unless [WithRetry] says otherwise, with random pauses of up to 200 ms, 400 ms and
// so on. It does not wait past the deadline of its context. It retries
//
//   - a request that was not sent (DNS, dial, TLS), at once if there is another host;
//   - after no response, HTTP 5xx, 408 or 429, a response that is not the platform's, and errcode -1, but not a call
//     that clears a quota, [Client.RefreshToken], or a [Request] that is not Idempotent. If a reused connection broke,
//     it retries at once, on a new connection;
//   - after 45169, which means that another call is changing the tags of the same user;
//   - after 45171, with only the openids that the response lists as failed.
//
// It retries nothing else; in particular not when a quota is used up (45009, 45011), but lists and bulk jobs wait for
// the next minute after 45011. Every call that is retried has the same effect twice as once, except [Client.CreateTag]
// and [Client.DeleteTag], which handle that case themselves. If a write fails but may have been applied, its error
// matches [ErrAmbiguous]. Details of the policy may change between releases.
//
// # Testing
//
// The package wechatusertest simulates an account in memory, with the platform's limits and errors:
//
//	srv := wechatusertest.NewServer(wechatusertest.WithFans(1000))
//	defer srv.Close()
//	c := srv.Client()
//
// httpmock works in each of its modes: with httpmock.Activate, with httpmock.ActivateNonDefault on [Client.HTTPClient]
// or on the client given to [WithHTTPClient], and with a mock transport given to [WithTransport], which suits parallel
// tests. These are the requests to register, below https://api.weixin.qq.com; each but stable_token has a query:
//
//	GetUserInfo            GET  /cgi-bin/user/info
//	BatchUserInfo          POST /cgi-bin/user/info/batchget
//	GetFans                GET  /cgi-bin/user/get
//	UpdateRemark           POST /cgi-bin/user/info/updateremark
//	ChangeOpenID           POST /cgi-bin/changeopenid
//	CreateTag              POST /cgi-bin/tags/create
//	GetTags                GET  /cgi-bin/tags/get
//	UpdateTag              POST /cgi-bin/tags/update
//	DeleteTag              POST /cgi-bin/tags/delete
//	GetTagFans             POST /cgi-bin/user/tag/get
//	BatchTagging           POST /cgi-bin/tags/members/batchtagging
//	BatchUntagging         POST /cgi-bin/tags/members/batchuntagging
//	GetTagIDList           POST /cgi-bin/tags/getidlist
//	GetBlacklist           POST /cgi-bin/tags/members/getblacklist
//	BatchBlacklist         POST /cgi-bin/tags/members/batchblacklist
//	BatchUnblacklist       POST /cgi-bin/tags/members/batchunblacklist
//	ClearQuota             POST /cgi-bin/clear_quota
//	ClearQuotaByAppSecret  POST /cgi-bin/clear_quota/v2
//	ClearAPIQuota          POST /cgi-bin/openapi/quota/clear
//	GetAPIQuota            POST /cgi-bin/openapi/quota/get
//	GetRIDInfo             POST /cgi-bin/openapi/rid/get
//	GetAPIDomainIP         GET  /cgi-bin/get_api_domain_ip
//	Token, RefreshToken    POST /cgi-bin/stable_token
//	with WithLegacyToken   GET  /cgi-bin/token
package wechatuser
