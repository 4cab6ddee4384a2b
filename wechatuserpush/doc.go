// Package wechatuserpush receives the pushes of a WeChat Official Account (消息与事件推送): the requests in which WeChat
// tells an account's server that a user has followed or unfollowed the account, sent it a message, and so on.
//
//	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
//		AppID: appID, Token: token, EncodingAESKey: key, Logger: slog.Default(),
//	}, func(ctx context.Context, event wechatuserpush.Event) error {
//		switch event := event.(type) {
//		case *wechatuserpush.Subscribe:
//			return follow(ctx, event.FromUserName)
//		case *wechatuserpush.Unsubscribe:
//			return forget(ctx, event.FromUserName)
//		}
//		return nil
//	})
//	mux.Handle("/wechat", handler)
//
// The handler responds to the request that verifies the URL when it is saved in the console. It checks and decrypts
// each push and calls the function with the event, but not again for a repeat of a push that was handled.
// docs/pushes.md is a guide, from the console to several processes behind a proxy.
//
// # Which pushes are accepted
//
// A push is accepted if its signature and its timestamp are right, if it is encrypted with the account's
// EncodingAESKey or the previous one, and if it is meant for the account's AppID. Everything else is refused: plain
// text, unless [Config.AllowPlain] is set; bodies that are not XML in UTF-8, are compressed or are longer than
// [Config.MaxBody]; XML with a DOCTYPE. The sender is not told the reason. The log has it, at most once a minute for
// each reason, without any openid, key or token.
//
// # Repeats
//
// The platform makes up to three attempts to deliver a push: it sends the push again if it gets no success within 5
// seconds. The handler responds to a repeat of a push that was handled without calling the function. A repeat that
// arrives while the function runs waits for its result. If the function has failed, it is called again for the repeat.
// So make changes that must not be made twice in one transaction, and leave work that takes longer than
// [Config.Timeout] to a queue.
//
// Several processes need a [Deduplicator] to recognize each other's repeats, such as the one of module redisstore. It
// stores hashes and no openid.
//
// # Third-party platforms
//
// With the AppID, Token and EncodingAESKey of a third-party platform, one handler serves both of its URLs: the one for
// events about authorizations, such as [VerifyTicket], and the one for the pushes of the authorized accounts, where
// ToUserName identifies the account.
//
// https://developers.weixin.qq.com/doc/service/guide/dev/push/
package wechatuserpush
