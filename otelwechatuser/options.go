package otelwechatuser

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wechatuser/wechatuser"
)

// Option configures [Interceptor], [Limiter] or [TokenHook]. The order of options is irrelevant.
type Option func(*config)

type config struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
	attrs   []attribute.KeyValue
}

// WithTracerProvider sets the provider of the tracer. Without it, or with nil, the global provider is used.
func WithTracerProvider(tp trace.TracerProvider) Option {
	return func(c *config) {
		if tp != nil {
			c.tracers = tp
		}
	}
}

// WithMeterProvider sets the provider of the meter. Without it, or with nil, the global provider is used.
func WithMeterProvider(mp metric.MeterProvider) Option {
	return func(c *config) {
		if mp != nil {
			c.meters = mp
		}
	}
}

// WithAttributes adds attributes to all spans and metrics. They do not replace attributes of this package. Values are
// exported unredacted, and each combination of values is a separate time series.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) { c.attrs = append(c.attrs, attrs...) }
}

// WithAppID adds the app ID to all spans and metrics as "wechat.app_id", for programs with more than one account. An
// app ID is not a secret.
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
	return c.tracers.Tracer(scope,
		trace.WithInstrumentationVersion(wechatuser.Version), trace.WithSchemaURL(semconv.SchemaURL))
}

func (c *config) meter() metric.Meter {
	return c.meters.Meter(scope,
		metric.WithInstrumentationVersion(wechatuser.Version), metric.WithSchemaURL(semconv.SchemaURL))
}

// handleError returns the instrument and passes the error, if any, to OpenTelemetry's error handler: a program must not
// fail because of its telemetry.
func handleError[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}
