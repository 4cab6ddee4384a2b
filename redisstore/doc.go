// Package redisstore shares the access token and the quota of an account among many processes, in Redis.
//
//	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true,
//	})
//	store, err := redisstore.New(rdb)
//	limiter, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600))
//	c, err := wechatuser.New(appID, secret, wechatuser.WithTokenStore(store), wechatuser.WithLimiter(limiter))
//
// With a [Store] one process fetches a token from WeChat and the others read it: at a cold start, when a token expires,
// and after a token was revoked. An older token never replaces a newer one, a stale one is deleted only if it is still
// the stored one, and a process that dies while it holds the lock blocks the others no longer than the lease.
//
// [Store.Check] and [Limiter.Check] say in words what is wrong with Redis, for example a wrong password.
//
// # When Redis is down
//
// No round trip takes longer than [WithTimeout] and [WithConnectTimeout] allow. After a failure Redis is not used for 1
// to 10 seconds, so that not every call waits for the timeout. Calls need Redis only when their token is to be
// replaced. A client that uses stable tokens, which is the default, then continues without the store, since WeChat
// returns the same token to everyone. With legacy tokens a refresh waits for Redis, and calls fail once the cached
// token is no longer valid, since a token that one process fetches invalidates those of the others. A [Limiter] lets
// each process keep to the limit on its own, or fails: see [WithFallbackShare] and [WithFailClosed].
//
// # What is stored in Redis
//
// The token is stored under "wechatuser:token:stable:" or "wechatuser:token:legacy:" followed by the app ID. The same
// key followed by ":lock" holds the random name of the lock's holder, and followed by ":forced" the times of the last
// forced refreshes. No key and no value contains the app secret.
// For two hours the token is as good as a password: restrict read access to it, or use [WithEncryption]. A tracing
// hook of go-redis that records statements records tokens too; redisotel.WithDBStatement(false) disables that.
package redisstore
