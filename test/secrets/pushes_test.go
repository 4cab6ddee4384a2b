package secrets

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Neither the Token and the EncodingAESKey of pushes nor the query of their URL is shown by the simulator, whatever the
// transport's error is.
func TestSecretsOfPushes(t *testing.T) {
	t.Parallel()
	const key = "SENTINELAESKeySENTINELAESKeySENTINELAESKey0"
	for name, fail := range map[string]func(r *http.Request) error{
		"in its text":      func(r *http.Request) error { return &openError{Message: "cannot reach " + r.URL.String()} },
		"unescaped":        func(r *http.Request) error { return &openError{Message: unescaped(r.URL.String())} },
		"in a field":       func(r *http.Request) error { return &fieldError{URL: r.URL.String()} },
		"behind a pointer": func(r *http.Request) error { return &sentError{r} },
		"url.Error":        func(r *http.Request) error { return &url.Error{Op: "Post", URL: r.URL.String(), Err: io.EOF} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := wechatusertest.PushConfig{
				URL: "https://push.test/?key=" + url.QueryEscape(testutil.Secret), Token: testutil.Token, EncodingAESKey: key,
				Mode: wechatusertest.PushSafe, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					return nil, fail(r)
				}),
			}
			srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithPushes(config))
			defer srv.Close()
			err := srv.VerifyPushURL(t.Context())
			require.Error(t, err)
			assertCleanError(t, err)
			assert.NotContains(t, err.Error(), "signature")
			srv.Follow("oFAKE1")
			srv.Advance(10 * time.Second)
			require.NoError(t, srv.WaitPushes(t.Context()))
			require.Equal(t, 1, srv.PushTotals().Failed)
			for _, shown := range []any{srv.Pushes(), srv.Pushes()[0], srv, srv.PushTotals(), &config} {
				assertCleanValue(t, shown)
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v", shown, shown, shown), key)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
				testutil.AssertClean(t, fmt.Sprintf(verb, config))
			}
			for _, p := range srv.Pushes() {
				testutil.AssertClean(t, p.Error)
				assert.NotContains(t, p.Error, "signature")
			}
		})
	}
}
