package benchmarks

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
)

func TestMain(m *testing.M) {
	origin.Main()
	goleak.VerifyTestMain(m)
}

// serve starts a server process and stops it when the test ends.
func serve(tb testing.TB, cfg origin.Config) *origin.Process {
	tb.Helper()
	srv, err := origin.Start(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Error(err)
		}
	})
	return srv
}

// statsOf returns what the server has counted so far.
func statsOf(tb testing.TB, srv *origin.Process) origin.Stats {
	tb.Helper()
	stats, err := srv.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	return stats
}

// newClient returns a client with the default options, except for the base URL and opts.
func newClient(tb testing.TB, url string, opts ...wechatuser.Option) *wechatuser.Client {
	tb.Helper()
	c, err := wechatuser.New("wxappid", "secret", append([]wechatuser.Option{wechatuser.WithBaseURL(url)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.HTTPClient().CloseIdleConnections)
	return c
}

// newBare returns a client of bare net/http.
func newBare(tb testing.TB, url string) *bare.Client {
	c := bare.New(url)
	tb.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}
