// Package wechatuserpush receives what WeChat pushes to a server: that somebody has followed the account or left it,
// and all other messages and events.
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
// The handler verifies the URL when it is set in the console, checks and decrypts each push, and calls the function
// once for a push and its repeats. docs/pushes.md is a guide, from the console to several processes behind a proxy.
//
// # What is genuine
//
// A push is accepted if its signature and its time stamp are right, if it is encrypted with the account's
// EncodingAESKey, or the previous one, and if it is meant for its AppID. Anything else is refused: plain text, unless
// [Config.AllowPlain] is set; other than XML in UTF-8; compressed; longer than [Config.MaxBody]; with a DOCTYPE. The
// sender does not learn why. The log does, at most once a minute for each reason, and shows no openid, key or token.
//
// # Repeats
//
// The platform sends a push again if it gets no success within 5 seconds, three times in all. A repeat of a push that
// is done is answered without calling the function. A repeat that arrives while the function runs waits for its result.
// If the function has failed, the repeat calls it again. So the function should do in one transaction what must not be
// done twice, and leave to a queue what takes longer than [Config.Timeout].
//
// Several processes need a [Deduplicator] to recognize each other's repeats, such as that of module redisstore. It
// stores hashes, and no openid.
//
// # Third-party platforms
//
// With the AppID, Token and EncodingAESKey of a third-party platform, the handler serves both of its URLs: the one for
// its authorizations, with [VerifyTicket] and others, and the one for the pushes of the accounts, where ToUserName
// tells which account it is.
//
// https://developers.weixin.qq.com/doc/service/guide/dev/push/
package wechatuserpush
