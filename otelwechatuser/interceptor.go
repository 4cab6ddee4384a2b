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

// Interceptor records a span and the metrics of each API call; see the package documentation for what is in them. Give
// it to [wechatuser.WithInterceptor], before other interceptors whose time is to be part of the call's.
func Interceptor(opts ...Option) wechatuser.Interceptor {
	c := configure(opts)
	meter := c.meter()
	o := &observer{
		tracer:   c.tracer(),
		attrs:    c.attrs,
		duration: reported(rpcconv.NewClientCallDuration(meter)),
		requests: reported(meter.Int64Counter("wechat.client.requests",
			metric.WithUnit("{request}"), metric.WithDescription("HTTP requests sent or tried, repeats included."))),
		resends: reported(meter.Int64Counter("wechat.client.resends",
			metric.WithUnit("{request}"), metric.WithDescription("HTTP requests beyond the first one of a call."))),
	}
	return o.observe
}

type observer struct {
	tracer            trace.Tracer
	attrs             []attribute.KeyValue // the user's
	duration          rpcconv.ClientCallDuration
	requests, resends metric.Int64Counter
	prepared          sync.Map // wechatuser.Call to *endpoint
}

// endpoint is what all calls of one have in common, made once: a call that succeeds needs nothing else for metrics.
type endpoint struct {
	attrs   []attribute.KeyValue
	start   []trace.SpanStartOption
	add     []metric.AddOption
	success []metric.RecordOption
}

func (o *observer) prepare(call wechatuser.Call) *endpoint {
	if p, ok := o.prepared.Load(call); ok {
		return p.(*endpoint)
	}
	attrs := slices.Concat(o.attrs, []attribute.KeyValue{semconv.RPCSystemNameKey.String("wechat"), semconv.RPCMethod(call.API)})
	p, _ := o.prepared.LoadOrStore(call, &endpoint{
		attrs: attrs,
		start: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(append(slices.Clip(attrs),
				semconv.HTTPRequestMethodKey.String(call.Method),
				semconv.URLTemplate(call.Path), // no path has variables
			)...),
		},
		add:     []metric.AddOption{metric.WithAttributeSet(set(attrs))},
		success: []metric.RecordOption{metric.WithAttributeSet(set(attrs, outcomeOf(wechatuser.Result{}, nil)...))},
	})
	return p.(*endpoint)
}

// set copies, since attribute.NewSet sorts what it is given.
func set(attrs []attribute.KeyValue, more ...attribute.KeyValue) attribute.Set {
	return attribute.NewSet(slices.Concat(attrs, more)...)
}

func (o *observer) observe(ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error)) (wechatuser.Result, error) {
	p, start := o.prepare(call), time.Now()
	ctx, span := o.tracer.Start(ctx, call.API, p.start...)
	defer span.End() // after a panic too

	res, err := next(ctx)

	took := p.success
	if err != nil {
		took = []metric.RecordOption{metric.WithAttributeSet(set(p.attrs, outcomeOf(res, err)...))}
	}
	o.duration.Float64Histogram.Record(ctx, time.Since(start).Seconds(), took...)
	o.requests.Add(ctx, int64(res.Attempts), p.add...)
	if res.Attempts > 1 {
		o.resends.Add(ctx, int64(res.Attempts-1), p.add...)
	}
	if span.IsRecording() {
		span.SetAttributes(append(outcomeOf(res, err), details(res)...)...)
		if err != nil {
			span.SetStatus(codes.Error, statusText(err))
		}
	}
	return res, err
}

// outcomeOf is what spans and metrics have in common.
func outcomeOf(res wechatuser.Result, err error) (attrs []attribute.KeyValue) {
	if err == nil || res.Code != 0 {
		attrs = append(attrs, semconv.RPCResponseStatusCode(strconv.Itoa(int(res.Code))))
	}
	if err != nil {
		attrs = append(attrs, semconv.ErrorTypeKey.String(errorType(err)))
	}
	return attrs
}

// details are for spans only: there are too many rids for a metric.
func details(res wechatuser.Result) (attrs []attribute.KeyValue) {
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

// errorType is the class of an error, one of a few values and the platform's errcodes.
func errorType(err error) string {
	var (
		refusal   *wechatuser.Error
		response  *wechatuser.ResponseError
		transport *wechatuser.TransportError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &transport) && transport.Timeout():
		return "timeout"
	case errors.As(err, &refusal):
		return strconv.Itoa(int(refusal.Code))
	case errors.As(err, &response) && response.StatusCode/100 != 2:
		return strconv.Itoa(response.StatusCode)
	case response != nil:
		return "invalid_response"
	case transport != nil && transport.Attempts == 0:
		return "not_sent"
	case transport != nil:
		return "no_answer"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

// statusText is what the SDK itself knows of an error. The error's own text stays out of spans: what a platform, a proxy
// or a transport wrote into it can hold an openid.
func statusText(err error) string {
	if refusal := (*wechatuser.Error)(nil); errors.As(err, &refusal) {
		return refusal.Code.Meaning()
	}
	return ""
}
