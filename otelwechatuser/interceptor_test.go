package otelwechatuser_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const tagsPath = "/cgi-bin/tags/get"

func TestSuccess(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.account()
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)

	span := tel.span(t, "getTags")
	assert.Equal(t, trace.SpanKindClient, span.SpanKind)
	assert.Equal(t, codes.Unset, span.Status.Code)
	assert.Empty(t, span.Events)
	assert.Equal(t, map[string]string{
		"rpc.system.name": "wechat", "rpc.method": "getTags", "rpc.response.status_code": "0",
		"http.request.method": "GET", "url.template": tagsPath, "http.response.status_code": "200",
		"server.address": "127.0.0.1",
	}, attrs(span.Attributes))
	assert.Equal(t, "github.com/wechatuser/wechatuser/otelwechatuser", span.InstrumentationScope.Name)
	assert.Equal(t, wechatuser.Version, span.InstrumentationScope.Version)
	assert.Equal(t, semconv.SchemaURL, span.InstrumentationScope.SchemaURL)

	assert.Equal(t, "s", tel.metric(t, "rpc.client.call.duration").Unit)
	point := tel.duration(t, "getTags")
	assert.Equal(t, map[string]string{
		"rpc.system.name": "wechat", "rpc.method": "getTags", "rpc.response.status_code": "0",
	}, setAttrs(point.Attributes))
	assert.EqualValues(t, 1, point.Count)
	assert.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, point.Bounds)
	assert.Equal(t, map[string]int{"getStableAccessToken": 1, "getTags": 1}, tel.counts(t, "wechat.client.requests"))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestFailures(t *testing.T) {
	fails := func(code wechatuser.Code) func(*wechatusertest.Server) {
		return func(srv *wechatusertest.Server) { srv.FailNext(tagsPath, code, 3) }
	}
	answers := func(status int, body string) func(*wechatusertest.Server) {
		return func(srv *wechatusertest.Server) { srv.FailNextHTTP(tagsPath, status, body, 3) }
	}
	unreachable := wechatuser.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("no route")
	}))
	source := func(err error) wechatuser.Option {
		return wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			return wechatuser.Token{}, err
		}))
	}
	limiter := func(err error) wechatuser.Option {
		return wechatuser.WithLimiter(limiterFunc(func(context.Context) error { return err }))
	}
	for name, tt := range map[string]struct {
		arrange                   func(*wechatusertest.Server)
		opts                      []wechatuser.Option
		errorType, code, httpCode string
		status                    string
		requests                  int
	}{
		"errcode":           {arrange: fails(wechatuser.CodeAPIUnauthorized), errorType: "48001", code: "48001", httpCode: "200", status: wechatuser.CodeAPIUnauthorized.Meaning(), requests: 1},
		"unknown errcode":   {arrange: fails(98765), errorType: "98765", code: "98765", httpCode: "200", requests: 1},
		"busy three times":  {arrange: fails(wechatuser.CodeSystemBusy), errorType: "-1", code: "-1", httpCode: "200", status: wechatuser.CodeSystemBusy.Meaning(), requests: 3},
		"gateway":           {arrange: answers(502, "<html>"), errorType: "502", httpCode: "502", requests: 3},
		"redirect":          {arrange: answers(302, ""), errorType: "302", httpCode: "302", requests: 1},
		"not JSON":          {arrange: answers(200, "<html>"), errorType: "invalid_response", httpCode: "200", requests: 3},
		"no answer":         {arrange: func(srv *wechatusertest.Server) { srv.DropAnswers(tagsPath, 3) }, errorType: "no_answer", requests: 3},
		"no way there":      {opts: []wechatuser.Option{unreachable, wechatuser.WithTokenSource(wechatuser.StaticTokenSource("x"))}, errorType: "no_answer", requests: 3},
		"attempts time out": {arrange: func(srv *wechatusertest.Server) { srv.Delay(tagsPath, time.Hour) }, errorType: "timeout", requests: 3},
		"limiter":           {opts: []wechatuser.Option{limiter(errors.New("full"))}, errorType: "not_sent"},
		"limiter's end":     {opts: []wechatuser.Option{limiter(context.DeadlineExceeded)}, errorType: "timeout"},
		"token source":      {opts: []wechatuser.Option{source(errors.New("down"))}, errorType: "_OTHER"},
		"token's errcode":   {opts: []wechatuser.Option{source(&wechatuser.Error{Code: wechatuser.CodeIPNotAllowed})}, errorType: "40164", status: wechatuser.CodeIPNotAllowed.Meaning()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tel := newTelemetry()
				srv, c := tel.account(tt.opts...)
				if tt.arrange != nil {
					tt.arrange(srv)
				}
				_, err := c.GetTags(t.Context())
				require.Error(t, err)

				span := tel.span(t, "getTags")
				got := attrs(span.Attributes)
				assert.Equal(t, tt.errorType, got["error.type"])
				assert.Equal(t, tt.code, got["rpc.response.status_code"])
				assert.Equal(t, tt.httpCode, got["http.response.status_code"])
				assert.Equal(t, codes.Error, span.Status.Code)
				assert.Equal(t, tt.status, span.Status.Description)
				assert.Empty(t, span.Events)

				point := setAttrs(tel.duration(t, "getTags").Attributes)
				assert.Equal(t, tt.errorType, point["error.type"])
				assert.Equal(t, tt.code, point["rpc.response.status_code"])
				assert.Equal(t, tt.requests, tel.counts(t, "wechat.client.requests")["getTags"])
			})
		})
	}
}

func TestCancelledCalls(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.account()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.GetTags(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "canceled", attrs(tel.span(t, "getTags").Attributes)["error.type"])

	ctx, cancel = context.WithCancel(t.Context())
	tel = newTelemetry()
	_, c = tel.account(wechatuser.WithTokenSource(wechatuser.StaticTokenSource("x")),
		wechatuser.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, ctx.Err()
		})))
	_, err = c.GetTags(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "canceled", attrs(tel.span(t, "getTags").Attributes)["error.type"])
	assert.Equal(t, 1, tel.counts(t, "wechat.client.requests")["getTags"])
}

func TestRID(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.account()
	_, err := c.GetUserInfo(t.Context(), "oNobody")
	var refusal *wechatuser.Error
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, refusal.RID, attrs(tel.span(t, "userInfo").Attributes)["wechat.rid"])
	assert.NotContains(t, setAttrs(tel.duration(t, "userInfo").Attributes), "wechat.rid")
}

func TestRetry(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.account()
	srv.FailNext(tagsPath, wechatuser.CodeSystemBusy, 2)
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)

	span := tel.span(t, "getTags")
	got := attrs(span.Attributes)
	assert.Equal(t, "2", got["http.request.resend_count"])
	assert.Equal(t, "0", got["rpc.response.status_code"])
	assert.NotContains(t, got, "error.type")
	assert.Equal(t, codes.Unset, span.Status.Code)
	assert.Equal(t, 3, tel.counts(t, "wechat.client.requests")["getTags"])
	assert.Equal(t, map[string]int{"getTags": 2}, tel.counts(t, "wechat.client.resends"))
}

func TestRevokedToken(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.account()
	for range 2 {
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		srv.ExpireTokens()
	}
	var names []string
	for _, span := range tel.spans() {
		names = append(names, span.Name)
		assert.Equal(t, codes.Unset, span.Status.Code)
	}
	assert.Equal(t, []string{"getStableAccessToken", "getTags", "getStableAccessToken", "getTags"}, names)
	assert.Equal(t, "1", attrs(tel.span(t, "getTags").Attributes)["http.request.resend_count"])
	assert.Equal(t, map[string]int{"getStableAccessToken": 2, "getTags": 3}, tel.counts(t, "wechat.client.requests"))
	assert.EqualValues(t, 2, tel.duration(t, "getStableAccessToken").Count)
}

func TestRefusedCredential(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.account()
	srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeInvalidSecret, 1)
	_, err := c.GetTags(t.Context())
	require.ErrorIs(t, err, wechatuser.ErrCredential)

	token, call := attrs(tel.span(t, "getStableAccessToken").Attributes), attrs(tel.span(t, "getTags").Attributes)
	assert.Equal(t, "40125", token["error.type"])
	assert.Equal(t, "40125", call["error.type"])
	assert.Equal(t, "40125", token["rpc.response.status_code"])
	assert.NotContains(t, call, "rpc.response.status_code", "getTags was never answered")
}

func TestCallsOfAJobAreChildrenOfTheCallersSpan(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.account()
	ctx, job := tel.tracers.Tracer("test").Start(t.Context(), "job")
	report, err := c.BulkTagging(ctx, srv.AddTag("vip"), wechatuser.OpenIDs(srv.OpenIDs()...))
	require.NoError(t, err)
	job.End()

	calls := 0
	for _, span := range tel.spans() {
		switch span.Name {
		case "batchTagging":
			calls++
			assert.Equal(t, job.SpanContext().SpanID(), span.Parent.SpanID())
		case "getStableAccessToken":
			assert.Equal(t, job.SpanContext().TraceID(), span.SpanContext.TraceID(), "it was fetched for the job's first call")
		}
	}
	assert.Equal(t, 2, calls)
	assert.EqualValues(t, report.Calls, calls)
}

func TestDurationIsThatOfTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		srv, c := tel.account(wechatuser.WithLimiter(limiterFunc(func(context.Context) error {
			time.Sleep(3 * time.Second)
			return nil
		})))
		srv.Delay(tagsPath, 2*time.Second)
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		span := tel.span(t, "getTags")
		assert.Equal(t, 5*time.Second, span.EndTime.Sub(span.StartTime))
		assert.InDelta(t, 5, tel.duration(t, "getTags").Sum, 1e-9)
	})
}

func TestMetricsKnowTheSpan(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.account()
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	exemplars := tel.duration(t, "getTags").Exemplars
	require.Len(t, exemplars, 1)
	id := tel.span(t, "getTags").SpanContext.SpanID()
	assert.Equal(t, id[:], exemplars[0].SpanID)
}

func TestSpanEndsWhenACallPanics(t *testing.T) {
	tel := newTelemetry()
	observe := otelwechatuser.Interceptor(tel.options()...)
	assert.Panics(t, func() {
		_, _ = observe(t.Context(), wechatuser.Call{API: "getTags"}, func(context.Context) (wechatuser.Result, error) { panic("transport") })
	})
	assert.Len(t, tel.spans(), 1)
}

func TestResultAndErrorPassThrough(t *testing.T) {
	observe := otelwechatuser.Interceptor(newTelemetry().options()...)
	wantRes, wantErr := wechatuser.Result{StatusCode: 200, Code: -1, RID: "rid", Attempts: 2, Duration: 3}, errors.New("as it is")
	res, err := observe(t.Context(), wechatuser.Call{}, func(context.Context) (wechatuser.Result, error) { return wantRes, wantErr })
	assert.Equal(t, wantRes, res)
	assert.Same(t, wantErr, err)
}

func TestAttributesOfTheUser(t *testing.T) {
	tel := newTelemetry()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	observe := otelwechatuser.Interceptor(tel.options(nil,
		otelwechatuser.WithAppID(srv.AppID),
		otelwechatuser.WithAttributes(attribute.String("team", "crm"), attribute.String("rpc.method", "mine")))...)
	c := srv.Client(wechatuser.WithInterceptor(observe))
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	_, err = c.GetUserInfo(t.Context(), "oNobody")
	require.Error(t, err)
	for _, api := range []string{"getTags", "userInfo"} {
		for _, got := range []map[string]string{attrs(tel.span(t, api).Attributes), setAttrs(tel.duration(t, api).Attributes)} {
			assert.Equal(t, srv.AppID, got["wechat.app_id"])
			assert.Equal(t, "crm", got["team"])
			assert.Equal(t, api, got["rpc.method"])
		}
	}
}

func TestGlobalProvidersAreTheDefault(t *testing.T) {
	tel := newTelemetry()
	otel.SetTracerProvider(tel.tracers)
	otel.SetMeterProvider(tel.meters)
	defer otel.SetTracerProvider(tracenoop.NewTracerProvider())
	defer otel.SetMeterProvider(metricnoop.NewMeterProvider())
	observe := otelwechatuser.Interceptor(otelwechatuser.WithTracerProvider(nil), otelwechatuser.WithMeterProvider(nil))
	_, err := observe(t.Context(), wechatuser.Call{API: "getTags"}, func(context.Context) (wechatuser.Result, error) {
		return wechatuser.Result{Attempts: 1}, nil
	})
	require.NoError(t, err)
	tel.span(t, "getTags")
	assert.Equal(t, map[string]int{"getTags": 1}, tel.counts(t, "wechat.client.requests"))
}

func TestConcurrentCalls(t *testing.T) {
	const n = 50
	tel := newTelemetry()
	srv, c := tel.account(wechatuser.WithLimiter(otelwechatuser.Limiter(
		limiterFunc(func(ctx context.Context) error { return ctx.Err() }), tel.options()...)))
	srv.FailNext(tagsPath, wechatuser.CodeSystemBusy, n/2)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { _, _ = c.GetTags(t.Context()) })
		wg.Go(func() { _, _ = c.GetUserInfo(t.Context(), "oNobody") })
	}
	wg.Wait()
	requests := tel.counts(t, "wechat.client.requests")
	assert.Equal(t, srv.Calls(tagsPath), requests["getTags"])
	assert.Equal(t, n, requests["userInfo"])
	assert.Equal(t, 1, requests["getStableAccessToken"])
	assert.Len(t, tel.spans(), 2*n+1)
	waits := tel.histogram(t, "wechat.client.limiter.wait_time")
	require.Len(t, waits, 1)
	assert.EqualValues(t, 2*n, waits[0].Count)
}

// duration is the one data point of an API in the histogram of durations.
func (tel *telemetry) duration(t *testing.T, api string) metricdata.HistogramDataPoint[float64] {
	t.Helper()
	var found []metricdata.HistogramDataPoint[float64]
	for _, p := range tel.histogram(t, "rpc.client.call.duration") {
		if method, _ := p.Attributes.Value("rpc.method"); method.AsString() == api {
			found = append(found, p)
		}
	}
	require.Len(t, found, 1, "data points of %s", api)
	return found[0]
}
