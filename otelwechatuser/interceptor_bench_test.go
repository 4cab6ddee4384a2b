package otelwechatuser_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
)

// BenchmarkInterceptor measures the overhead of a successful call.
func BenchmarkInterceptor(b *testing.B) {
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	for _, bm := range []struct {
		name    string
		tracers trace.TracerProvider
		meters  metric.MeterProvider
	}{
		{"noop", tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()},
		{"metrics", tracenoop.NewTracerProvider(), meters},
		{"unsampled", sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), meters},
		{"sampled", sdktrace.NewTracerProvider(), meters},
	} {
		b.Run(bm.name, func(b *testing.B) {
			observe := otelwechatuser.Interceptor(
				otelwechatuser.WithTracerProvider(bm.tracers), otelwechatuser.WithMeterProvider(bm.meters))
			call := wechatuser.Call{API: "getTags", Method: "GET", Path: "/cgi-bin/tags/get"}
			next := func(context.Context) (wechatuser.Result, error) {
				return wechatuser.Result{StatusCode: 200, Attempts: 1}, nil
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := observe(context.Background(), call, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
