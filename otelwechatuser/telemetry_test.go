package otelwechatuser_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// telemetry records all spans and metrics in memory.
type telemetry struct {
	tracers  *sdktrace.TracerProvider
	meters   *sdkmetric.MeterProvider
	recorder *tracetest.SpanRecorder
	reader   *sdkmetric.ManualReader
}

func newTelemetry() *telemetry {
	recorder, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	return &telemetry{
		tracers:  sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)),
		meters:   sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		recorder: recorder, reader: reader,
	}
}

func (tel *telemetry) options(more ...otelwechatuser.Option) []otelwechatuser.Option {
	return append(more, otelwechatuser.WithTracerProvider(tel.tracers), otelwechatuser.WithMeterProvider(tel.meters))
}

// newClient returns a simulated account and a client for it with the interceptor, which retries without delay.
func (tel *telemetry) newClient(opts ...wechatuser.Option) (*wechatusertest.Server, *wechatuser.Client) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
	return srv, srv.Client(append([]wechatuser.Option{
		wechatuser.WithRetry(wechatuser.RetryPolicy{MaxDelay: 1}),
		wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options()...)),
	}, opts...)...)
}

// spans returns the ended spans, in the order in which they ended.
func (tel *telemetry) spans() tracetest.SpanStubs {
	return tracetest.SpanStubsFromReadOnlySpans(tel.recorder.Ended())
}

// span returns the last span of an API.
func (tel *telemetry) span(t *testing.T, api string) tracetest.SpanStub {
	t.Helper()
	var last tracetest.SpanStub
	for _, s := range tel.spans() {
		if s.Name == api {
			last = s
		}
	}
	require.Equal(t, api, last.Name, "no such span")
	return last
}

func (tel *telemetry) collect(t *testing.T) metricdata.ResourceMetrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, tel.reader.Collect(t.Context(), &rm))
	return rm
}

func (tel *telemetry) metric(t *testing.T, name string) metricdata.Metrics {
	t.Helper()
	for _, scope := range tel.collect(t).ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				return m
			}
		}
	}
	require.Fail(t, "no such metric", name)
	return metricdata.Metrics{}
}

// counts returns the values of a counter by API.
func (tel *telemetry) counts(t *testing.T, name string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, p := range tel.metric(t, name).Data.(metricdata.Sum[int64]).DataPoints {
		api, _ := p.Attributes.Value("rpc.method")
		counts[api.AsString()] += int(p.Value)
	}
	return counts
}

// histogram returns the data points of a histogram.
func (tel *telemetry) histogram(t *testing.T, name string) []metricdata.HistogramDataPoint[float64] {
	t.Helper()
	return tel.metric(t, name).Data.(metricdata.Histogram[float64]).DataPoints
}

// dump returns everything that would be exported.
func (tel *telemetry) dump(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"spans": tel.spans(), "metrics": tel.collect(t)})
	require.NoError(t, err)
	return string(text)
}

// attrs returns attributes as strings by key.
func attrs(kvs []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

func setAttrs(set attribute.Set) map[string]string { return attrs(set.ToSlice()) }
