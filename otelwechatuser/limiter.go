package otelwechatuser

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/wechatuser/wechatuser"
)

// Limiter returns a limiter that waits for l and records how long each wait takes. Pass it to [wechatuser.WithLimiter].
// It returns nil if l is nil.
//
// If l has a method Degraded() bool, as a limiter of redisstore has, waits during which it returns true are marked: the
// limit is then not shared.
func Limiter(l wechatuser.Limiter, opts ...Option) wechatuser.Limiter {
	if l == nil {
		return nil
	}
	c := configure(opts)
	degraded, _ := l.(interface{ Degraded() bool })
	return &limiter{
		inner:    l,
		degraded: degraded,
		attrs:    c.attrs,
		success:  newSet(c.attrs),
		waits: handleError(c.meter().Float64Histogram("wechat.client.limiter.wait_time",
			metric.WithUnit("s"), metric.WithDescription("How long calls waited for the limiter."),
			metric.WithExplicitBucketBoundaries(waitBuckets...))),
	}
}

// waitBuckets are the boundaries that the conventions recommend for the duration of calls, and 30 and 60 seconds: a
// caller that has used up the quota of a minute waits for the next minute.
var waitBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60}

type limiter struct {
	inner    wechatuser.Limiter
	degraded interface{ Degraded() bool } // nil if it cannot be known
	attrs    []attribute.KeyValue
	success  attribute.Set
	waits    metric.Float64Histogram
}

func (l *limiter) Wait(ctx context.Context) error {
	start := time.Now()
	err := l.inner.Wait(ctx)
	attrs := l.success
	var more []attribute.KeyValue
	if l.degraded != nil && l.degraded.Degraded() {
		more = append(more, attribute.Bool("wechat.limiter.degraded", true))
	}
	if err != nil {
		more = append(more, semconv.ErrorTypeKey.String(errorType(err)))
	}
	if len(more) > 0 {
		attrs = newSet(l.attrs, more...)
	}
	l.waits.Record(ctx, time.Since(start).Seconds(), metric.WithAttributeSet(attrs))
	return err
}
