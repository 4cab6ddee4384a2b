package otelwechatuser

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/wechatuser/wechatuser"
)

// TokenHook returns a hook that records what happens to the access token: a span and metrics for each refresh, how old
// the token is, failures of the token store, and how long calls waited. Pass it to [wechatuser.WithTokenHook].
//
// The span of a call that waited for a refresh is linked to the span of the refresh, unless it is its parent. If
// [Interceptor] is used too, that is the span of the call; otherwise it is the span in the context of the call.
//
// Use one hook for each client, with [WithAppID] if there is more than one: the age of the token is that of one client.
// It is no longer recorded once the client is garbage.
func TokenHook(opts ...Option) wechatuser.TokenHook {
	c := configure(opts)
	meter := c.meter()
	seconds := func(name, description string) metric.Float64Histogram {
		return handleError(meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(waitBuckets...)))
	}
	t := &tokens{
		tracer: c.tracer(),
		attrs:  c.attrs,
		refreshes: seconds("wechat.client.token.refresh.duration",
			"How long refreshes of the access token took."),
		waits: seconds("wechat.client.token.wait_time", "How long calls waited for a refresh of the access token."),
		forced: handleError(meter.Int64Counter("wechat.client.token.forced_refreshes",
			metric.WithUnit("{refresh}"), metric.WithDescription("Forced refreshes, of which WeChat allows 20 a day."))),
		failures: handleError(meter.Int64Counter("wechat.client.token.store.failures",
			metric.WithUnit("{failure}"), metric.WithDescription("Failed operations of the token store."))),
	}
	t.observe(meter)
	return wechatuser.TokenHook{
		Refreshing: t.refreshing, Refreshed: t.refreshed, StoreFailed: t.storeFailed, Waited: t.waited,
	}
}

type tokens struct {
	tracer           trace.Tracer
	attrs            []attribute.KeyValue // of WithAttributes
	refreshes, waits metric.Float64Histogram
	forced, failures metric.Int64Counter
	current          atomic.Pointer[times] // nil before the first token
}

// times are those of the current token.
type times struct{ obtained, expires time.Time }

// observe registers the gauges. The meter must not keep the client: a program can have many, and drop them.
func (t *tokens) observe(meter metric.Meter) {
	gauge := func(name, description string) metric.Float64ObservableGauge {
		return handleError(meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description)))
	}
	age := gauge("wechat.client.token.age", "Time since the client last obtained an access token.")
	remaining := gauge("wechat.client.token.remaining_time", "Time until the access token expires, negative afterwards.")
	ref, attrs := weak.Make(t), metric.WithAttributeSet(newSet(t.attrs))
	registration := handleError(meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t := ref.Value()
		if t == nil {
			return nil
		}
		current := t.current.Load()
		if current == nil {
			return nil
		}
		o.ObserveFloat64(age, time.Since(current.obtained).Seconds(), attrs)
		if !current.expires.IsZero() {
			o.ObserveFloat64(remaining, time.Until(current.expires).Seconds(), attrs)
		}
		return nil
	}, age, remaining))
	if registration != nil {
		runtime.AddCleanup(t, func(r metric.Registration) { _ = r.Unregister() }, registration)
	}
}

// refresh is a refresh with a span. Its context has it under its tokens.
type refresh struct {
	span   trace.Span
	parent trace.SpanID
}

type refreshKey struct{ *tokens }

func (t *tokens) refreshOf(ctx context.Context) *refresh {
	r, _ := ctx.Value(refreshKey{t}).(*refresh)
	return r
}

func (t *tokens) refreshing(ctx context.Context, r wechatuser.TokenRefresh) context.Context {
	parent := trace.SpanContextFromContext(ctx).SpanID()
	ctx, span := t.tracer.Start(ctx, "refresh access token",
		trace.WithAttributes(append(slices.Clip(t.attrs), reasonKey.String(r.Reason))...))
	return context.WithValue(ctx, refreshKey{t}, &refresh{span, parent})
}

const (
	reasonKey    = attribute.Key("wechat.token.reason")
	sourceKey    = attribute.Key("wechat.token.source")
	forcedKey    = attribute.Key("wechat.token.forced")
	operationKey = attribute.Key("wechat.token.store.operation")
)

func (t *tokens) refreshed(ctx context.Context, r wechatuser.TokenRefresh) {
	if r.Err == nil {
		t.current.Store(&times{time.Now(), r.ExpiresAt})
	}
	attrs := append(errorAttrs(r.Err), reasonKey.String(r.Reason), sourceKey.String(r.From))
	t.refreshes.Record(ctx, r.Duration.Seconds(), metric.WithAttributeSet(newSet(t.attrs, attrs...)))
	if r.Forced {
		t.forced.Add(ctx, 1, metric.WithAttributeSet(newSet(t.attrs)))
	}
	span := t.refreshOf(ctx)
	if span == nil || r.From == wechatuser.TokenFromSource { // the span is that of another refresh, around this one
		return
	}
	span.span.SetAttributes(append(attrs, forcedKey.Bool(r.Forced))...)
	if r.Err != nil {
		span.span.SetStatus(codes.Error, statusText(r.Err))
	}
	span.span.End()
}

func (t *tokens) storeFailed(ctx context.Context, f wechatuser.TokenStoreFailure) {
	t.failures.Add(ctx, 1, metric.WithAttributeSet(newSet(t.attrs, operationKey.String(f.Operation))))
}

func (t *tokens) waited(ctx context.Context, w wechatuser.TokenWait) {
	t.waits.Record(ctx, w.Duration.Seconds(), metric.WithAttributeSet(newSet(t.attrs, errorAttrs(w.Err)...)))
	span, of := trace.SpanFromContext(ctx), t.refreshOf(w.Refresh)
	if of != nil && span.IsRecording() && span.SpanContext().SpanID() != of.parent {
		span.AddLink(trace.Link{SpanContext: of.span.SpanContext()})
	}
}
