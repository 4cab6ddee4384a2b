package otelwechatuser_test

import (
	"context"
	"fmt"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// limiterFunc is an adapter that makes a function a wechatuser.Limiter.
type limiterFunc func(context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

// The program has set its global providers and has a limiter, such as a rate.Limiter of golang.org/x/time/rate.
func Example() {
	var limiter wechatuser.Limiter = limiterFunc(func(context.Context) error { return nil })

	c, err := wechatuser.New("wxFAKE000000000000", "secret",
		wechatuser.WithInterceptor(otelwechatuser.Interceptor()),
		wechatuser.WithTokenHook(otelwechatuser.TokenHook()),
		wechatuser.WithLimiter(otelwechatuser.Limiter(limiter)),
	)
	fmt.Println(c, err)
	// Output: wechatuser.Client(wxFAKE000000000000) <nil>
}

// A span around a job is the parent of the spans of its calls.
func ExampleInterceptor_job() {
	exporter := tracetest.NewInMemoryExporter() // in place of an exporter for a collector
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))

	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(120))
	vip := srv.AddTag("vip")
	c := srv.Client(wechatuser.WithInterceptor(otelwechatuser.Interceptor(otelwechatuser.WithTracerProvider(tracers))))

	ctx, span := tracers.Tracer("crm").Start(context.Background(), "tag all fans")
	report, err := c.BulkTagging(ctx, vip, c.AllFans(ctx))
	span.End()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report)

	children := map[string]int{}
	for _, s := range exporter.GetSpans() {
		if s.Parent.SpanID() == span.SpanContext().SpanID() {
			children[s.Name]++
		}
	}
	fmt.Println("calls in the span:", children)
	// Output:
	// 120 of 120 applied, 0 failed, 3 calls
	// calls in the span: map[batchTagging:3 getFans:2]
}

// A program with two accounts distinguishes them by their app IDs.
func ExampleWithAppID() {
	for _, appID := range []string{"wxFAKE000000000001", "wxFAKE000000000002"} {
		c, err := wechatuser.New(appID, "secret",
			wechatuser.WithInterceptor(otelwechatuser.Interceptor(otelwechatuser.WithAppID(appID))))
		fmt.Println(c, err)
	}
	// Output:
	// wechatuser.Client(wxFAKE000000000001) <nil>
	// wechatuser.Client(wxFAKE000000000002) <nil>
}
