package otelwechatuser_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The package documentation and README.md warn of otelhttp. If this test fails, otelhttp no longer records the query,
// and the warning has to be changed.
func TestOtelhttpRecordsToken(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	tel := newTelemetry()
	wrapped := otelhttp.NewTransport(srv.Transport(),
		otelhttp.WithTracerProvider(tel.tracers), otelhttp.WithMeterProvider(tel.meters))

	_, err := srv.Client(wechatuser.WithTransport(wrapped)).GetTags(t.Context())
	require.NoError(t, err)
	assert.Contains(t, tel.dump(t), "access_token="+srv.AccessToken())

	original := http.DefaultTransport
	http.DefaultTransport = wrapped
	defer func() { http.DefaultTransport = original }()
	c, err := wechatuser.New(srv.AppID, srv.Secret, wechatuser.WithLegacyToken())
	require.NoError(t, err)
	_, err = c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Contains(t, tel.dump(t), "secret="+srv.Secret)
}

func TestInterceptorWithUnwrappedTransportRecordsNoToken(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	tel := newTelemetry()
	original := http.DefaultTransport
	http.DefaultTransport = otelhttp.NewTransport(srv.Transport(), otelhttp.WithTracerProvider(tel.tracers))
	defer func() { http.DefaultTransport = original }()

	c, err := wechatuser.New(srv.AppID, srv.Secret,
		wechatuser.WithTransport(srv.Transport()),
		wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options()...)))
	require.NoError(t, err)
	_, err = c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Contains(t, tel.dump(t), "getTags")
	assert.NotContains(t, tel.dump(t), srv.AccessToken())
}
