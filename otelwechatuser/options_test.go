package otelwechatuser_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestWithAttributesAndWithAppID(t *testing.T) {
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
		onSpan, onMetric := attrs(tel.span(t, api).Attributes), setAttrs(tel.duration(t, api).Attributes)
		for _, got := range []map[string]string{onSpan, onMetric} {
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
