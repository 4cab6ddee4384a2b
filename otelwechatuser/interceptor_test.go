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
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const tagsPath = "/cgi-bin/tags/get"

func TestSuccessfulCall(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient()
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

func TestFailedCalls(t *testing.T) {
	fail := func(code wechatuser.Code) func(*wechatusertest.Server) {
		return func(srv *wechatusertest.Server) { srv.FailNext(tagsPath, code, 3) }
	}
	respond := func(status int, body string) func(*wechatusertest.Server) {
		return func(srv *wechatusertest.Server) { srv.FailNextHTTP(tagsPath, status, body, 3) }
	}
	unreachable := wechatuser.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("no route")
	}))
	drop := func(srv *wechatusertest.Server) { srv.DropAnswers(tagsPath, 3) }
	delay := func(srv *wechatusertest.Server) { srv.Delay(tagsPath, time.Hour) }
	static := wechatuser.WithTokenSource(wechatuser.StaticTokenSource("x"))
	source := func(err error) wechatuser.Option {
		return wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			return wechatuser.Token{}, err
		}))
	}
	limiter := func(err error) wechatuser.Option {
		return wechatuser.WithLimiter(limiterFunc(func(context.Context) error { return err }))
	}
	const (
		unauthorized = wechatuser.CodeAPIUnauthorized
		busy         = wechatuser.CodeSystemBusy
		wrongIP      = wechatuser.CodeIPNotAllowed
	)
	for name, tt := range map[string]struct {
		setup     func(*wechatusertest.Server)
		opts      []wechatuser.Option
		errorType string
		errcode   string
		status    string // of HTTP
		text      string // of the span status
		requests  int
	}{
		"errcode":            {fail(unauthorized), nil, "48001", "48001", "200", unauthorized.Meaning(), 1},
		"unknown errcode":    {fail(98765), nil, "98765", "98765", "200", "", 1},
		"busy three times":   {fail(busy), nil, "-1", "-1", "200", busy.Meaning(), 3},
		"gateway":            {respond(502, "<html>"), nil, "502", "", "502", "", 3},
		"redirect":           {respond(302, ""), nil, "302", "", "302", "", 1},
		"not JSON":           {respond(200, "<html>"), nil, "invalid_response", "", "200", "", 3},
		"no response":        {drop, nil, "no_answer", "", "", "", 3},
		"unreachable":        {nil, []wechatuser.Option{unreachable, static}, "no_answer", "", "", "", 3},
		"attempts time out":  {delay, nil, "timeout", "", "", "", 3},
		"limiter fails":      {nil, []wechatuser.Option{limiter(errors.New("full"))}, "not_sent", "", "", "", 0},
		"limiter times out":  {nil, []wechatuser.Option{limiter(context.DeadlineExceeded)}, "timeout", "", "", "", 0},
		"token source fails": {nil, []wechatuser.Option{source(errors.New("down"))}, "_OTHER", "", "", "", 0},
		"token source returns errcode": {
			nil, []wechatuser.Option{source(&wechatuser.Error{Code: wrongIP})}, "40164", "", "", wrongIP.Meaning(), 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tel := newTelemetry()
				srv, c := tel.newClient(tt.opts...)
				if tt.setup != nil {
					tt.setup(srv)
				}
				_, err := c.GetTags(t.Context())
				require.Error(t, err)

				span := tel.span(t, "getTags")
				got := attrs(span.Attributes)
				assert.Equal(t, tt.errorType, got["error.type"])
				assert.Equal(t, tt.errcode, got["rpc.response.status_code"])
				assert.Equal(t, tt.status, got["http.response.status_code"])
				assert.Equal(t, codes.Error, span.Status.Code)
				assert.Equal(t, tt.text, span.Status.Description)
				assert.Empty(t, span.Events)

				point := setAttrs(tel.duration(t, "getTags").Attributes)
				assert.Equal(t, tt.errorType, point["error.type"])
				assert.Equal(t, tt.errcode, point["rpc.response.status_code"])
				assert.Equal(t, tt.requests, tel.counts(t, "wechat.client.requests")["getTags"])
			})
		})
	}
}

func TestCancelledCalls(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.GetTags(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "canceled", attrs(tel.span(t, "getTags").Attributes)["error.type"])

	ctx, cancel = context.WithCancel(t.Context())
	tel = newTelemetry()
	_, c = tel.newClient(wechatuser.WithTokenSource(wechatuser.StaticTokenSource("x")),
		wechatuser.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, ctx.Err()
		})))
	_, err = c.GetTags(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "canceled", attrs(tel.span(t, "getTags").Attributes)["error.type"])
	assert.Equal(t, 1, tel.counts(t, "wechat.client.requests")["getTags"])
}

func TestRIDIsRecordedOnSpansOnly(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient()
	_, err := c.GetUserInfo(t.Context(), "oNobody")
	var apiErr *wechatuser.Error
	require.ErrorAs(t, err, &apiErr)
	assert.Equal(t, apiErr.RID, attrs(tel.span(t, "userInfo").Attributes)["wechat.rid"])
	assert.NotContains(t, setAttrs(tel.duration(t, "userInfo").Attributes), "wechat.rid")
}

func TestRetriedCall(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.newClient()
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
	srv, c := tel.newClient()
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

func TestRejectedCredential(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.newClient()
	srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeInvalidSecret, 1)
	_, err := c.GetTags(t.Context())
	require.ErrorIs(t, err, wechatuser.ErrCredential)

	token, call := attrs(tel.span(t, "getStableAccessToken").Attributes), attrs(tel.span(t, "getTags").Attributes)
	assert.Equal(t, "40125", token["error.type"])
	assert.Equal(t, "40125", call["error.type"])
	assert.Equal(t, "40125", token["rpc.response.status_code"])
	assert.NotContains(t, call, "rpc.response.status_code", "no request for getTags was sent")
}

func TestSpansOfJobAreChildrenOfCallersSpan(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.newClient()
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
			assert.Equal(t, job.SpanContext().TraceID(), span.SpanContext.TraceID(),
				"the token was fetched for the first call of the job")
		}
	}
	assert.Equal(t, 2, calls)
	assert.EqualValues(t, report.Calls, calls)
}

func TestDurationEqualsThatOfTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		srv, c := tel.newClient(wechatuser.WithLimiter(limiterFunc(func(context.Context) error {
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

func TestExemplarsReferToTheSpan(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient()
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	exemplars := tel.duration(t, "getTags").Exemplars
	require.Len(t, exemplars, 1)
	id := tel.span(t, "getTags").SpanContext.SpanID()
	assert.Equal(t, id[:], exemplars[0].SpanID)
}

func TestSpanEndsIfCallPanics(t *testing.T) {
	tel := newTelemetry()
	observe := otelwechatuser.Interceptor(tel.options()...)
	assert.Panics(t, func() {
		_, _ = observe(t.Context(), wechatuser.Call{API: "getTags"}, func(context.Context) (wechatuser.Result, error) {
			panic("transport")
		})
	})
	assert.Len(t, tel.spans(), 1)
}

func TestResultAndErrorAreReturnedUnchanged(t *testing.T) {
	observe := otelwechatuser.Interceptor(newTelemetry().options()...)
	wantRes := wechatuser.Result{StatusCode: 200, Code: -1, RID: "rid", Attempts: 2, Duration: 3}
	wantErr := errors.New("unchanged")
	res, err := observe(t.Context(), wechatuser.Call{}, func(context.Context) (wechatuser.Result, error) {
		return wantRes, wantErr
	})
	assert.Equal(t, wantRes, res)
	assert.Same(t, wantErr, err)
}

func TestConcurrentCalls(t *testing.T) {
	const n = 50
	tel := newTelemetry()
	srv, c := tel.newClient(wechatuser.WithLimiter(otelwechatuser.Limiter(
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

// duration returns the only data point of an API in the histogram of durations.
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
