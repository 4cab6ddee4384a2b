// Package otelwechatuser records the API calls of a [wechatuser.Client] as OpenTelemetry spans and metrics.
//
//	c, err := wechatuser.New(appID, secret,
//		wechatuser.WithInterceptor(otelwechatuser.Interceptor()),
//		wechatuser.WithTokenHook(otelwechatuser.TokenHook()),
//		wechatuser.WithLimiter(otelwechatuser.Limiter(limiter)), // if there is a limiter
//	)
//
// It follows the semantic conventions for RPC clients, version 1.43.0. A span covers a call with all its attempts, the
// waits between them and the wait for the limiter. It is named after the API, such as "getFans", and is a child of the
// span in the call's context. So if you start a span around a bulk job or a list, it contains a span for each call.
// README.md lists all attributes and instruments.
//
// Token requests are calls too, named getStableAccessToken or getAccessToken, so their number is the number of fetches.
// A token is fetched once for all callers that wait for it; the span of the fetch is a child of the first caller's
// span. With [TokenHook] there is a span of the refresh between them, to which the spans of the other callers are
// linked.
//
// # What is not recorded
//
// No span and no metric contains a token, the app secret or an openid, whatever the platform or a proxy responds. Of an
// error, only the type, the errcode, the rid and the SDK's own explanation of the code are recorded; its text is not.
// The app ID is recorded only with [WithAppID]. Nothing is added to the requests: WeChat receives no trace ID.
//
// # Do not wrap the transport
//
// The platform requires the access token in the query of each URL, and the app secret in that of legacy token requests.
// Instrumentation of the HTTP transport records the whole URL: otelhttp.NewTransport writes it to the attribute
// url.full and has no option to omit the query. Whoever can read the traces then controls the account.
//
// Use the Interceptor instead, with a transport that is not wrapped. In a program that wraps http.DefaultTransport for
// other calls, pass an unwrapped transport to [wechatuser.WithTransport].
package otelwechatuser
