// Package redisstore lets many processes share the access token and the quota of an account, on Redis.
//
//	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:6379"}, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(rdb)
//	limiter, err := redisstore.NewLimiter(rdb, "wechatuser:limit:"+appID, redisstore.PerMinute(600))
//	c, err := wechatuser.New(appID, secret, wechatuser.WithTokenStore(store), wechatuser.WithLimiter(limiter))
//
// With a [Store] one process asks WeChat for a token and the others read it, at a cold start, at renewals, and when a
// token was revoked. An older token never replaces a newer one, a stale one is dropped only while it is still there,
// and a process that dies while it has the lock blocks the others no longer than the lease.
//
// # When Redis is down
//
// No round trip takes longer than [WithTimeout] says, and after a failure Redis is left alone for 1 to 10 seconds, so
// that not each call pays. Calls need Redis only when their token is to be renewed. Then a client goes on without
// the store if it uses stable tokens, which is the default: WeChat gives the same token to all who ask. With legacy
// tokens a call fails when the cached token is no longer good, since a token fetched without the others ends theirs.
// A [Limiter] lets each process keep to the limit alone, or fails: see [WithFailClosed].
//
// # What is in Redis
//
// Under "wechatuser:token:stable:" or "wechatuser:token:legacy:" and the app ID is the token, and with ":lock" at the
// end the random name of the lock's holder. The app secret is in no key and no value. The token is as good as a password
// for two hours: keep others from reading it, or use [WithEncryption]. A tracing hook of go-redis that records statements
// records tokens too; redisotel.WithDBStatement(false) keeps it from that.
package redisstore
