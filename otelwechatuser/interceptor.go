package otelwechatuser

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	"go.opentelemetry.io/otel/trace"

	"github.com/wechatuser/wechatuser"
)

// Interceptor returns an interceptor that records a span and metrics for each API call; see the package documentation
// for what they contain. Pass it to [wechatuser.WithInterceptor] before the interceptors whose time should be included.
func Interceptor(opts ...Option) wechatuser.Interceptor {
	c := configure(opts)
	meter := c.meter()
	o := &observer{
		tracer:   c.tracer(),
		attrs:    c.attrs,
		duration: handleError(rpcconv.NewClientCallDuration(meter)),
		requests: handleError(meter.Int64Counter("wechat.client.requests",
			metric.WithUnit("{request}"), metric.WithDescription("HTTP requests sent or tried, including retries."))),
		retries: handleError(meter.Int64Counter("wechat.client.resends",
			metric.WithUnit("{request}"), metric.WithDescription("HTTP requests after the first one of a call."))),
	}
	return o.observe
}

type observer struct {
	tracer            trace.Tracer
	attrs             []attribute.KeyValue // of WithAttributes
	duration          rpcconv.ClientCallDuration
	requests, retries metric.Int64Counter
	endpoints         sync.Map // wechatuser.Call to *endpoint
}

// endpoint holds the options that all calls of an endpoint share. success is for calls without an error.
type endpoint struct {
	attrs   []attribute.KeyValue
	start   []trace.SpanStartOption
	add     []metric.AddOption
	success []metric.RecordOption
}

// endpoint returns the endpoint of a call. It creates it at the first call.
func (o *observer) endpoint(call wechatuser.Call) *endpoint {
	if ep, ok := o.endpoints.Load(call); ok {
		return ep.(*endpoint)
	}
	attrs := slices.Concat(o.attrs, []attribute.KeyValue{
		semconv.RPCSystemNameKey.String("wechat"), semconv.RPCMethod(call.API),
	})
	ep, _ := o.endpoints.LoadOrStore(call, &endpoint{
		attrs: attrs,
		start: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(append(slices.Clip(attrs),
				semconv.HTTPRequestMethodKey.String(call.Method),
				semconv.URLTemplate(call.Path), // paths have no variables
			)...),
		},
		add:     []metric.AddOption{metric.WithAttributeSet(newSet(attrs))},
		success: []metric.RecordOption{metric.WithAttributeSet(newSet(attrs, outcomeAttrs(wechatuser.Result{}, nil)...))},
	})
	return ep.(*endpoint)
}

// newSet returns a set of attributes. It copies them, since attribute.NewSet sorts its argument.
func newSet(attrs []attribute.KeyValue, more ...attribute.KeyValue) attribute.Set {
	return attribute.NewSet(slices.Concat(attrs, more)...)
}

// observe is the interceptor.
func (o *observer) observe(
	ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
) (wechatuser.Result, error) {
	ep, start := o.endpoint(call), time.Now()
	ctx, span := o.tracer.Start(ctx, call.API, ep.start...)
	defer span.End() // also after a panic

	res, err := next(ctx)

	record := ep.success
	if err != nil {
		record = []metric.RecordOption{metric.WithAttributeSet(newSet(ep.attrs, outcomeAttrs(res, err)...))}
	}
	o.duration.Float64Histogram.Record(ctx, time.Since(start).Seconds(), record...)
	o.requests.Add(ctx, int64(res.Attempts), ep.add...)
	if res.Attempts > 1 {
		o.retries.Add(ctx, int64(res.Attempts-1), ep.add...)
	}
	if span.IsRecording() {
		span.SetAttributes(append(outcomeAttrs(res, err), spanAttrs(res)...)...)
		if err != nil {
			span.SetStatus(codes.Error, statusText(err))
		}
	}
	return res, err
}

// outcomeAttrs returns the attributes of the outcome of a call, for both spans and metrics.
func outcomeAttrs(res wechatuser.Result, err error) (attrs []attribute.KeyValue) {
	if err == nil || res.Code != 0 {
		attrs = append(attrs, semconv.RPCResponseStatusCode(strconv.Itoa(int(res.Code))))
	}
	return append(attrs, errorAttrs(err)...)
}

// errorAttrs returns the attributes of an error, none if it is nil.
func errorAttrs(err error) (attrs []attribute.KeyValue) {
	if err == nil {
		return nil
	}
	attrs = append(attrs, semconv.ErrorTypeKey.String(errorType(err)))
	if class := errorClass(err); class != "" {
		attrs = append(attrs, attribute.String("wechat.error.class", class))
	}
	return attrs
}

// classes are the names of the classes of errors. An error that matches two of them has the first one: that it was
// perhaps applied, or what a person has to do, says more than that it may go away.
var classes = []struct {
	class error
	name  string
}{
	{wechatuser.ErrAmbiguous, "ambiguous"},
	{wechatuser.ErrUnproven, "unproven"},
	{wechatuser.ErrCredential, "credential"},
	{wechatuser.ErrPermission, "permission"},
	{wechatuser.ErrRateLimited, "rate_limited"},
	{wechatuser.ErrInvalidToken, "invalid_token"},
	{wechatuser.ErrNotFollowing, "not_following"},
	{wechatuser.ErrInvalidArgument, "invalid_argument"},
	{wechatuser.ErrTemporary, "temporary"},
}

// errorClass returns the name of the class of an error, or an empty string if it has none.
func errorClass(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.class) {
			return c.name
		}
	}
	return ""
}

// spanAttrs returns the attributes that only spans have. In a metric, each rid would be a separate time series.
func spanAttrs(res wechatuser.Result) (attrs []attribute.KeyValue) {
	if host, err := url.Parse(res.Host); err == nil && host.Hostname() != "" {
		attrs = append(attrs, semconv.ServerAddress(host.Hostname()))
	}
	if res.StatusCode != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(res.StatusCode))
	}
	if res.Attempts > 1 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(res.Attempts-1))
	}
	if res.RID != "" {
		attrs = append(attrs, attribute.String("wechat.rid", res.RID))
	}
	return attrs
}

// errorType returns the value of error.type: an errcode, an HTTP status, or one of a few fixed words.
func errorType(err error) string {
	var (
		apiErr    *wechatuser.Error
		response  *wechatuser.ResponseError
		transport *wechatuser.TransportError
		timeout   interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &apiErr):
		return strconv.Itoa(int(apiErr.Code))
	case errors.As(err, &response) && response.StatusCode/100 != 2:
		return strconv.Itoa(response.StatusCode)
	case response != nil:
		return "invalid_response"
	case errors.As(err, &transport) && transport.Attempts == 0:
		return "not_sent"
	case transport != nil:
		return "no_answer"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

// statusText returns the SDK's own explanation of an errcode, or an empty string. The text of the error is not
// recorded: it may quote the platform, a proxy or a transport, and so contain an openid.
func statusText(err error) string {
	if apiErr := (*wechatuser.Error)(nil); errors.As(err, &apiErr) {
		return apiErr.Code.Meaning()
	}
	return ""
}
