// Package authorizer provides the access tokens of accounts that have authorized a third-party platform (第三方平台).
//
// A [Platform] keeps its state in a [Store], which any number of processes can share: the component_verify_ticket that
// WeChat pushes, the component_access_token, and the access token and the refresh token of each account.
// [Platform.Source] returns the tokens of one account as a [wechatuser.TokenSource]:
//
//	platform, err := authorizer.New(platformAppID, platformSecret, store)
//	...
//	c, err := wechatuser.New(appID, "", wechatuser.WithTokenSource(platform.Source(appID)))
//
// The program that receives the pushes calls [Platform.SaveTicket] every ten minutes, and [Platform.ExchangeCode] when
// an account has authorized the platform.
//
// # Refresh tokens
//
// A token is refreshed once for all callers and all processes, under the lock of the store. A new refresh token is
// saved before the access token that came with it is used. If it cannot be saved, the process keeps it and saves it
// later. If the process is killed first, or the account has authorized the platform again, WeChat rejects the stored
// refresh token with 61023; the next process then reads the current one with getAuthorizerList, once, and at most 20
// times a day for an account.
//
// Use a [Store] that survives a restart. Otherwise each process reads the refresh tokens with getAuthorizerList.
package authorizer
