package otelwechatuser

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wechatuser/wechatuser"
)

// Option changes what [Interceptor] or [Limiter] records. The order of options does not matter.
type Option func(*config)

type config struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
	attrs   []attribute.KeyValue
}

// WithTracerProvider sends spans to tp. Defaults to the global provider, also for nil.
func WithTracerProvider(tp trace.TracerProvider) Option {
	return func(c *config) {
		if tp != nil {
			c.tracers = tp
		}
	}
}

// WithMeterProvider sends metrics to mp. Defaults to the global provider, also for nil.
func WithMeterProvider(mp metric.MeterProvider) Option {
	return func(c *config) {
		if mp != nil {
			c.meters = mp
		}
	}
}

// WithAttributes adds attributes to all spans and metrics. They can't replace those of this package. What is in them is
// exported as it is, and each set of values is a time series of its own.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attrs = append(c.attrs, attrs...) }
}

// WithAppID adds the app ID as "wechat.app_id" to all spans and metrics, for a program with more than one account.
// An app ID is no secret.
func WithAppID(appID string) Option {
	return WithAttributes(attribute.String("wechat.app_id", appID))
}

func configure(opts []Option) *config {
	c := &config{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider()}
	for _, opt := range opts {
		if opt != nil {
			opt(c)
		}
	}
	return c
}

// scope is the name of the instrumentation scope.
const scope = "github.com/wechatuser/wechatuser/otelwechatuser"

func (c *config) tracer() trace.Tracer {
	return c.tracers.Tracer(scope, trace.WithInstrumentationVersion(wechatuser.Version), trace.WithSchemaURL(semconv.SchemaURL))
}

func (c *config) meter() metric.Meter {
	return c.meters.Meter(scope, metric.WithInstrumentationVersion(wechatuser.Version), metric.WithSchemaURL(semconv.SchemaURL))
}

// reported passes an instrument on, and what is wrong with it to OpenTelemetry's error handler: a program must not fail
// because it can't be measured.
func reported[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}
