package otelwechatuser_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	tokenPath = "/cgi-bin/stable_token"
	refreshed = "wechat.client.token.refresh.duration"
)

// withHook returns the option of the hook.
func (tel *telemetry) withHook(opts ...otelwechatuser.Option) wechatuser.Option {
	return wechatuser.WithTokenHook(otelwechatuser.TokenHook(tel.options(opts...)...))
}

// gauge returns the value of a gauge, and whether there is one.
func (tel *telemetry) gauge(t *testing.T, name string) (float64, bool) {
	t.Helper()
	for _, scope := range tel.collect(t).ScopeMetrics {
		for _, m := range scope.Metrics {
			if points, ok := m.Data.(metricdata.Gauge[float64]); ok && m.Name == name {
				require.Len(t, points.DataPoints, 1)
				return points.DataPoints[0].Value, true
			}
		}
	}
	return 0, false
}

// sum returns the sum of a counter.
func (tel *telemetry) sum(t *testing.T, name string) (n int) {
	t.Helper()
	for _, p := range tel.metric(t, name).Data.(metricdata.Sum[int64]).DataPoints {
		n += int(p.Value)
	}
	return n
}

func TestSpanOfARefresh(t *testing.T) {
	tel := newTelemetry()
	srv, c := tel.newClient(tel.withHook(otelwechatuser.WithAppID("wxFAKE000000000000")))
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)

	call, span, fetch := tel.span(t, "getTags"), tel.span(t, "refresh access token"), tel.span(t, "getStableAccessToken")
	assert.Equal(t, call.SpanContext.SpanID(), span.Parent.SpanID())
	assert.Equal(t, span.SpanContext.SpanID(), fetch.Parent.SpanID())
	assert.Empty(t, call.Links, "it is the parent")
	assert.Equal(t, codes.Unset, span.Status.Code)
	assert.Equal(t, map[string]string{
		"wechat.app_id": "wxFAKE000000000000", "wechat.token.reason": "cold", "wechat.token.source": "wechat",
		"wechat.token.forced": "false",
	}, attrs(span.Attributes))

	srv.ExpireTokens()
	srv.FailNext(tokenPath, wechatuser.CodeIPNotAllowed, 1)
	_, err = c.GetTags(t.Context())
	require.Error(t, err)
	span = tel.span(t, "refresh access token")
	assert.Equal(t, codes.Error, span.Status.Code)
	assert.Equal(t, wechatuser.CodeIPNotAllowed.Meaning(), span.Status.Description)
	got := attrs(span.Attributes)
	assert.Equal(t, "rejected", got["wechat.token.reason"])
	assert.Equal(t, "40164", got["error.type"])
	assert.Equal(t, "credential", got["wechat.error.class"])
}

// Calls that wait for a refresh that another call has started are linked to it.
func TestWaitingCallsAreLinkedToTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		srv, c := tel.newClient(tel.withHook())
		srv.Delay(tokenPath, 3*time.Second)
		for range 5 {
			go func() { _, _ = c.GetTags(t.Context()) }()
		}
		time.Sleep(time.Minute)

		refresh := tel.span(t, "refresh access token")
		linked := 0
		for _, span := range tel.spans() {
			switch {
			case span.Name != "getTags":
			case span.SpanContext.SpanID() == refresh.Parent.SpanID():
				assert.Empty(t, span.Links)
			default:
				linked++
				require.Len(t, span.Links, 1)
				assert.Equal(t, refresh.SpanContext.SpanID(), span.Links[0].SpanContext.SpanID())
			}
		}
		assert.Equal(t, 4, linked)
		waits := tel.histogram(t, "wechat.client.token.wait_time")
		require.Len(t, waits, 1)
		assert.EqualValues(t, 5, waits[0].Count)
		assert.InDelta(t, 15, waits[0].Sum, 1e-9)
	})
}

func TestMetricsOfRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		srv, c := tel.newClient(tel.withHook())
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		_, err = c.RefreshToken(t.Context())
		require.NoError(t, err)
		srv.ExpireTokens()
		srv.FailNext(tokenPath, wechatuser.CodeSystemBusy, 3)
		_, err = c.GetTags(t.Context())
		require.Error(t, err)

		var got []map[string]string
		for _, p := range tel.histogram(t, refreshed) {
			assert.EqualValues(t, 1, p.Count)
			got = append(got, setAttrs(p.Attributes))
		}
		assert.ElementsMatch(t, []map[string]string{
			{"wechat.token.reason": "cold", "wechat.token.source": "wechat"},
			{"wechat.token.reason": "forced", "wechat.token.source": "wechat"},
			{
				"wechat.token.reason": "rejected", "wechat.token.source": "wechat", "error.type": "-1",
				"wechat.error.class": "temporary",
			},
		}, got)
		assert.Equal(t, 1, tel.sum(t, "wechat.client.token.forced_refreshes"))
	})
}

func TestAgeOfTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		_, c := tel.newClient(tel.withHook())
		_, ok := tel.gauge(t, "wechat.client.token.age")
		assert.False(t, ok, "there is no token yet")
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		time.Sleep(30 * time.Minute)
		age, _ := tel.gauge(t, "wechat.client.token.age")
		assert.InDelta(t, 1800, age, 1e-6)
		remaining, _ := tel.gauge(t, "wechat.client.token.remaining_time")
		assert.InDelta(t, 5400, remaining, 1e-6)
	})
}

// A source need not know when its token expires.
func TestAgeOfATokenOfASource(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient(tel.withHook(), wechatuser.WithTokenSource(wechatuser.StaticTokenSource("x")))
	_, err := c.Token(t.Context())
	require.NoError(t, err)
	_, ok := tel.gauge(t, "wechat.client.token.age")
	assert.True(t, ok)
	_, ok = tel.gauge(t, "wechat.client.token.remaining_time")
	assert.False(t, ok)
	assert.Equal(t, "source", setAttrs(tel.histogram(t, refreshed)[0].Attributes)["wechat.token.source"])
	assert.Empty(t, tel.spans())
}

// A program can make clients and drop them: a provider does not keep them.
func TestClientsAreNotKept(t *testing.T) {
	tel := newTelemetry()
	func() {
		_, c := tel.newClient(tel.withHook())
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		_, ok := tel.gauge(t, "wechat.client.token.age")
		require.True(t, ok)
		runtime.KeepAlive(c)
	}()
	for range 10 { // the recorder and the sync.Pools of the SDK let go after a few
		runtime.GC()
		if _, ok := tel.gauge(t, "wechat.client.token.age"); !ok {
			return
		}
	}
	assert.Fail(t, "the client is kept")
}

// brokenStore is a store whose operation fails.
type brokenStore struct {
	wechatuser.TokenStore
	lock bool
}

var errBroken = errors.New("broken")

func (s *brokenStore) Lock(context.Context, string) (func(), error) {
	if s.lock {
		return nil, errBroken
	}
	return func() {}, nil
}

func (s *brokenStore) Save(context.Context, string, wechatuser.Token) error { return errBroken }

func TestFailuresOfTheStore(t *testing.T) {
	tel := newTelemetry()
	_, c := tel.newClient(tel.withHook(),
		wechatuser.WithTokenStore(&brokenStore{wechatuser.NewMemoryTokenStore(), true}))
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	var got []string
	for _, p := range tel.metric(t, "wechat.client.token.store.failures").Data.(metricdata.Sum[int64]).DataPoints {
		assert.EqualValues(t, 1, p.Value)
		got = append(got, setAttrs(p.Attributes)["wechat.token.store.operation"])
	}
	assert.ElementsMatch(t, []string{"lock", "save"}, got)
}

// A client that is the token source of another one can have the same hook: each refresh has its own span.
func TestClientAsTheSourceOfAnother(t *testing.T) {
	tel := newTelemetry()
	hook := tel.withHook()
	srv, inner := tel.newClient(hook)
	c := srv.Client(hook, wechatuser.WithTokenSource(inner),
		wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options()...)))
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	var refreshes []tracetest.SpanStub
	for _, span := range tel.spans() {
		if span.Name == "refresh access token" {
			refreshes = append(refreshes, span)
		}
	}
	require.Len(t, refreshes, 1)
	assert.Equal(t, "wechat", attrs(refreshes[0].Attributes)["wechat.token.source"])
}

// The limiter of redisstore says when it works without Redis.
func TestDegradedLimiter(t *testing.T) {
	tel := newTelemetry()
	inner := &degradingLimiter{}
	limiter := otelwechatuser.Limiter(inner, tel.options()...)
	require.NoError(t, limiter.Wait(t.Context()))
	inner.degraded = true
	require.NoError(t, limiter.Wait(t.Context()))
	inner.err = errBroken
	require.Error(t, limiter.Wait(t.Context()))
	var got []map[string]string
	for _, p := range tel.histogram(t, "wechat.client.limiter.wait_time") {
		got = append(got, setAttrs(p.Attributes))
	}
	assert.ElementsMatch(t, []map[string]string{
		{}, {"wechat.limiter.degraded": "true"}, {"wechat.limiter.degraded": "true", "error.type": "_OTHER"},
	}, got)
}

type degradingLimiter struct {
	degraded bool
	err      error
}

func (l *degradingLimiter) Wait(context.Context) error { return l.err }
func (l *degradingLimiter) Degraded() bool             { return l.degraded }

func TestClassOfAnError(t *testing.T) {
	for code, class := range map[wechatuser.Code]string{
		wechatuser.CodeDailyQuotaExceeded: "rate_limited", wechatuser.CodeAPIUnauthorized: "permission",
		wechatuser.CodeSystemBusy: "temporary", wechatuser.CodeInvalidCredential: "invalid_token",
		wechatuser.CodeInvalidArgs: "invalid_argument", wechatuser.CodeRequireSubscribe: "not_following", 98765: "",
	} {
		tel := newTelemetry()
		srv, c := tel.newClient(tel.withHook())
		srv.FailNext(tagsPath, code, 3)
		_, err := c.GetTags(t.Context())
		require.Error(t, err)
		assert.Equal(t, class, attrs(tel.span(t, "getTags").Attributes)["wechat.error.class"], "%d", code)
		assert.Equal(t, class, setAttrs(tel.duration(t, "getTags").Attributes)["wechat.error.class"], "%d", code)
	}
	tel := newTelemetry()
	srv, c := tel.newClient()
	srv.DropAnswers("/cgi-bin/tags/members/batchtagging", 3)
	err := c.BatchTagging(t.Context(), srv.AddTag("vip"), srv.OpenIDs()[:1])
	require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
	assert.Equal(t, "ambiguous", attrs(tel.span(t, "batchTagging").Attributes)["wechat.error.class"])
}

// A refresh that is abandoned has timed out.
func TestAbandonedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := newTelemetry()
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
		c := srv.Client(tel.withHook(), wechatuser.WithSecretSource(func(context.Context) (string, error) {
			time.Sleep(time.Hour)
			return srv.Secret, nil
		}))
		_, err := c.GetTags(t.Context())
		require.Error(t, err)
		assert.Equal(t, "timeout", setAttrs(tel.histogram(t, refreshed)[0].Attributes)["error.type"])
		time.Sleep(time.Hour)
	})
}
