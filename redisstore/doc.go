// Package redisstore shares the access token and the quota of an account among many processes, in Redis. With a
// [Deduplicator] the processes recognize repeats of the pushes that they receive.
//
//	rdb := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true,
//	})
//	store, err := redisstore.New(rdb)
//	limiter, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600))
//	c, err := wechatuser.New(appID, secret, wechatuser.WithTokenStore(store), wechatuser.WithLimiter(limiter))
//
// With a [Store] one process fetches a token from WeChat and the others read it from Redis: at a cold start, when a
// token expires, and after a token is revoked. An older token never replaces a newer one, and only the stale token
// itself is deleted. A process that dies while it holds the lock blocks the others no longer than the lease.
//
// [Store.Check] and [Limiter.Check] report what is wrong with Redis, such as a wrong password, and how to fix it.
//
// # When Redis is down
//
// No round trip takes longer than [WithTimeout] and [WithConnectTimeout] allow. After a failure Redis is not used for 1
// to 10 seconds, so that only the first call waits for the timeout. The store needs Redis only to replace a token. With
// stable tokens, the default, a client then continues without the store, since WeChat returns the same token to every
// process. With legacy tokens a refresh waits for Redis, and calls fail once the cached token is no longer valid, since
// a token fetched by one process invalidates the tokens of the others. With a [Limiter] each process keeps to the limit
// on its own, or calls fail: see [WithFallbackShare] and [WithFailClosed].
//
// # What is stored in Redis
//
// The token is stored under "wechatuser:token:stable:" or "wechatuser:token:legacy:" followed by the app ID. The same
// key with the suffix ":lock" holds the random name of the lock's holder; with the suffix ":forced" it holds the times
// of the last forced refreshes. No key and no value contains the app secret. While a token is valid, up to two hours,
// it is as good as a password: restrict read access to it, or use [WithEncryption]. A tracing hook of go-redis that
// records statements records tokens too; redisotel.WithDBStatement(false) disables that.
//
// A push is stored for minutes under "wechatuser:push:" followed by the app ID and a keyed hash. It contains no openid.
package redisstore
