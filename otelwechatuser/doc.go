// Package otelwechatuser records the calls of a [wechatuser.Client] as OpenTelemetry spans and metrics.
//
//	c, err := wechatuser.New(appID, secret,
//		wechatuser.WithInterceptor(otelwechatuser.Interceptor()),
//		wechatuser.WithLimiter(otelwechatuser.Limiter(limiter)), // if there is a limiter
//	)
//
// It follows the conventions for RPC clients, version 1.43.0: a span is a call with all its attempts, the waits between
// them and the wait for the limiter. It has the official name of the API, such as "getFans", and is a child of the span
// in the call's context. So a span of your own around a bulk job or a list holds a span for each of its calls. README.md
// lists all attributes and instruments.
//
// Requests for tokens are calls too, named getStableAccessToken or getAccessToken, so that renewals are counted there. A
// token is fetched for all callers who wait for it; the span of the request is a child of the first one's.
//
// # What is not recorded
//
// No token, no app secret and no openid is in any span or metric, whatever the platform or a proxy answers: of an error
// only its type, the errcode, the rid and what the SDK itself knows of the code are recorded, not its text. The app ID
// is recorded with [WithAppID] only. Nothing is added to the requests: WeChat sees no trace ID.
//
// # Do not wrap the transport
//
// The platform wants the access token in the query of each URL, and the app secret too where legacy tokens are fetched.
// Instrumentation that is put around the HTTP transport records the URL as a whole: otelhttp.NewTransport writes it into
// the attribute url.full, and has no option to leave the query out. Who can read the traces then has the account.
//
// Use the Interceptor instead, with a transport that is not wrapped. A program that has wrapped http.DefaultTransport
// for its other calls gives the SDK another one with [wechatuser.WithTransport].
package otelwechatuser
