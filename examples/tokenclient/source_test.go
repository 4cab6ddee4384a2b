package tokenclient_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/examples/tokenclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "SENTINEL-KEY"

// server responds with token-1, token-2…, each valid for an hour.
type server struct {
	requests atomic.Int32
	down     atomic.Bool
	delay    time.Duration
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.requests.Add(1)
	select {
	case <-time.After(s.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if s.down.Load() {
		return nil, errors.New("connection refused")
	}
	return response(http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","expires_in":3600}`, n)), nil
}

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func newSource(t *testing.T, rt http.RoundTripper) *tokenclient.Source {
	t.Helper()
	src, err := tokenclient.New("https://tokens.example.com/", key, rt)
	require.NoError(t, err)
	return src
}

func TestConcurrentCallsShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{delay: time.Second}
		src := newSource(t, s)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				token, err := src.Token(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, "token-1", token.AccessToken)
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, s.requests.Load())
	})
}

func TestTokenIsRefreshedBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		src := newSource(t, s)
		expect := func(want string) {
			t.Helper()
			token, err := src.Token(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, token.AccessToken)
		}
		expect("token-1")
		time.Sleep(57 * time.Minute)
		expect("token-1")
		time.Sleep(2 * time.Minute)
		expect("token-2")

		time.Sleep(59 * time.Minute)
		s.down.Store(true)
		expect("token-2")
		expect("token-2")
		assert.EqualValues(t, 3, s.requests.Load(), "not every call contacts an unavailable server")
		time.Sleep(59 * time.Second)
		expect("token-2")
		time.Sleep(2 * time.Second)
		_, err := src.Token(t.Context())
		assert.ErrorContains(t, err, "connection refused")
	})
}

func TestInvalidateIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{delay: time.Second}
		src := newSource(t, s)
		rejected, err := src.Token(t.Context())
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { assert.NoError(t, src.Invalidate(t.Context(), rejected)) })
		}
		wg.Wait()
		assert.EqualValues(t, 2, s.requests.Load(), "it is reported once")
		token, err := src.Token(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "token-2", token.AccessToken)
		assert.EqualValues(t, 2, s.requests.Load(), "the response was the next token")
	})
}
