package connections

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// connections is an account behind a proxy, with a client whose pool holds connections to it.
type connections struct {
	*testutil.Proxy
	*wechatuser.Client
	account *wechatusertest.Server

	warmUp   sync.WaitGroup // of the requests that wait for each other, so that each has a connection
	lost     atomic.Int32   // how many of the next requests are carried out and get no response
	mu       sync.Mutex
	attempts []int
}

const (
	vip          = 100 // ID of a tag
	warmUpHeader = "X-Warm-Up"
)

// newConnections returns a client that sends through rt, or through the default transport if it is nil.
func newConnections(t *testing.T, rt http.RoundTripper, opts ...wechatuser.Option) *connections {
	t.Helper()
	cs := &connections{
		account: wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000)),
	}
	t.Cleanup(cs.account.Close)
	require.Equal(t, vip, cs.account.AddTag("vip"))
	cs.Proxy = testutil.NewProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(warmUpHeader) != "" {
			cs.warmUp.Done()
			cs.warmUp.Wait()
			return
		}
		if cs.lost.Add(-1) >= 0 {
			cs.account.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		cs.account.ServeHTTP(w, r)
	}))
	opts = append(opts, wechatuser.WithBaseURL(cs.Proxy.URL), wechatuser.WithInterceptor(cs.record))
	if rt != nil {
		opts = append(opts, wechatuser.WithTransport(rt))
	}
	var err error
	cs.Client, err = wechatuser.New(cs.account.AppID, cs.account.Secret, opts...)
	require.NoError(t, err)
	t.Cleanup(cs.HTTPClient().CloseIdleConnections)
	_, err = cs.Token(t.Context())
	require.NoError(t, err)
	return cs
}

func (cs *connections) record(ctx context.Context, _ wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
	res, err := next(ctx)
	cs.mu.Lock()
	cs.attempts = append(cs.attempts, res.Attempts)
	cs.mu.Unlock()
	return res, err
}

// forget fills the pool with n connections, of which the proxy then knows none.
func (cs *connections) forget(t *testing.T, n int, f testutil.Forgets) {
	t.Helper()
	cs.fill(t, n)
	cs.attempts = nil
	require.GreaterOrEqual(t, cs.Forget(f), n)
}

// fill replaces the connections of the pool by n new ones.
func (cs *connections) fill(t *testing.T, n int) {
	t.Helper()
	cs.HTTPClient().CloseIdleConnections()
	cs.warmUp.Add(n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cs.Proxy.URL, nil)
			if assert.NoError(t, err) {
				req.Header.Set(warmUpHeader, "1")
				resp, err := cs.HTTPClient().Do(req)
				if assert.NoError(t, err) {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	wg.Wait()
}

// noIdleCloser is a transport as middleware wraps it: it does not close idle connections.
type noIdleCloser struct{ http.RoundTripper }

// transports are the transports that a client may have.
var transports = map[string]func(*testing.T) http.RoundTripper{
	"the default": func(*testing.T) http.RoundTripper { return nil },
	"a user's": func(t *testing.T) http.RoundTripper {
		rt := &http.Transport{MaxIdleConnsPerHost: 64}
		t.Cleanup(rt.CloseIdleConnections)
		return rt
	},
	"middleware": func(t *testing.T) http.RoundTripper {
		rt := &http.Transport{MaxIdleConnsPerHost: 64}
		t.Cleanup(rt.CloseIdleConnections)
		return noIdleCloser{rt}
	},
}

// swallowTimeout returns a timeout for attempts where connections swallow: real time, as the sockets are real, and so
// long that no good connection reaches it, however busy the machine is.
func swallowTimeout(t *testing.T, rt http.RoundTripper) time.Duration {
	t.Helper()
	cs := newConnections(t, rt)
	start := time.Now()
	cs.fill(t, 64)
	return max(2*time.Second, 50*time.Since(start))
}

// No call fails because pooled connections are dead, whether they reset, close or swallow, however many they are; and
// the second attempt has a new connection.
func TestDeadConnections(t *testing.T) {
	t.Parallel()
	for name, newTransport := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range []testutil.Forgets{testutil.Resets, testutil.Closes, testutil.Swallows} {
				t.Run(f.String(), func(t *testing.T) {
					sizes, calls := []int{1, 2, 3, 8, 64}, map[string]apiCall{"GET": testutil.GetTags, "POST": tagOne}
					var opts []wechatuser.Option
					if f == testutil.Swallows {
						if name == "middleware" {
							t.Skip("nothing tells such a connection from one that is good, and it can't be dropped")
						}
						opts = append(opts, wechatuser.WithTimeout(swallowTimeout(t, newTransport(t))))
						if !testutil.Full() { // each takes a second
							sizes = sizes[4:]
							delete(calls, "GET")
						}
					}
					for method, call := range calls {
						for _, n := range sizes {
							// A new pool each time: net/http may still be dialing for calls that are done already, and
							// put such a connection into the pool after the others were dropped.
							cs := newConnections(t, newTransport(t), opts...)
							cs.forget(t, n, f)
							for _, err := range seq.RunConcurrently(n, func(int) error {
								return call(t.Context(), cs.Client)
							}) {
								require.NoError(t, err, "%s, %d at the same time", method, n)
							}
							assert.LessOrEqual(t, slices.Max(cs.attempts), 2, "%s, %d at the same time", method, n)

							cs = newConnections(t, newTransport(t), opts...)
							cs.forget(t, n, f)
							for range n {
								require.NoError(t, call(t.Context(), cs.Client), "%s, one of %d", method, n)
							}
							assert.LessOrEqual(t, slices.Max(cs.attempts), 2, "%s, one of %d", method, n)
						}
					}
				})
			}
		})
	}
}

type apiCall func(context.Context, *wechatuser.Client) error

func tagOne(ctx context.Context, c *wechatuser.Client) error {
	return c.BatchTagging(ctx, vip, []string{wechatusertest.OpenID(1)})
}

// Bulk jobs on dead connections are complete, and nobody's outcome is unknown.
func TestBulkJobsOnDeadConnections(t *testing.T) {
	t.Parallel()
	for _, f := range []testutil.Forgets{testutil.Resets, testutil.Closes, testutil.Swallows} {
		for name, newTransport := range transports {
			if name == "the default" || name == "middleware" && f == testutil.Swallows {
				continue // its pool is shared with other tests; as above
			}
			t.Run(fmt.Sprint(f, " ", name), func(t *testing.T) {
				t.Parallel()
				var opts []wechatuser.Option
				if f == testutil.Swallows {
					opts = append(opts, wechatuser.WithTimeout(swallowTimeout(t, newTransport(t))))
				}
				cs := newConnections(t, newTransport(t), opts...)
				all := wechatuser.OpenIDs(cs.account.OpenIDs()...)
				cs.forget(t, 64, f)
				report, err := cs.BulkTagging(t.Context(), vip, all, wechatuser.WithConcurrency(8))
				require.NoError(t, err)
				assert.Equal(t, 1000, report.Applied)
				assert.Len(t, cs.account.TagFans(vip), 1000)
				assert.LessOrEqual(t, slices.Max(cs.attempts), 2)

				cs.forget(t, 64, f)
				profiles := 0
				for _, err := range cs.BulkUserInfo(t.Context(), all, wechatuser.WithConcurrency(8)) {
					require.NoError(t, err)
					profiles++
				}
				assert.Equal(t, 1000, profiles)
				assert.LessOrEqual(t, slices.Max(cs.attempts), 2)
			})
		}
	}
}

// A call that must not be retried fails on a dead connection, and is sent once. The next one has a new connection.
func TestCallsThatAreNeverRetriedOnDeadConnections(t *testing.T) {
	t.Parallel()
	cs := newConnections(t, transports["a user's"](t))
	cs.forget(t, 64, testutil.Resets)
	require.ErrorIs(t, cs.ClearQuota(t.Context()), wechatuser.ErrAmbiguous)
	assert.Equal(t, []int{1}, cs.attempts)
	assert.Zero(t, cs.account.Calls(testutil.PathClearQuota))
	require.NoError(t, cs.ClearQuota(t.Context()))

	single := newConnections(t, transports["a user's"](t), testutil.NoRetry)
	single.forget(t, 64, testutil.Resets)
	require.ErrorIs(t, tagOne(t.Context(), single.Client), wechatuser.ErrAmbiguous)
	require.NoError(t, tagOne(t.Context(), single.Client))

	wrapped := newConnections(t, transports["middleware"](t), testutil.NoRetry)
	wrapped.forget(t, 1, testutil.Resets)
	require.ErrorIs(t, tagOne(t.Context(), wrapped.Client), wechatuser.ErrAmbiguous,
		"net/http does not repeat it either")
}

// A connection that broke says nothing about its host, so no other host is tried.
func TestDeadConnectionsStartNoCooldown(t *testing.T) {
	t.Parallel()
	other := newConnections(t, transports["a user's"](t))
	cs := newConnections(t, transports["a user's"](t))
	both, err := wechatuser.New(cs.account.AppID, cs.account.Secret, wechatuser.WithHTTPClient(cs.HTTPClient()),
		wechatuser.WithBaseURL(cs.Proxy.URL, other.Proxy.URL))
	require.NoError(t, err)
	require.NoError(t, testutil.GetTags(t.Context(), both))
	for range 2 {
		cs.forget(t, 8, testutil.Resets)
		require.NoError(t, tagOne(t.Context(), both))
	}
	assert.Equal(t, 2, cs.account.Calls(testutil.PathBatchTagging))
	assert.Zero(t, other.account.Calls("*"))
}

// The platform applied a request and the connection broke before the response: net/http retries by itself, and the
// method still knows that what the second response says may come from the first request.
func TestRequestsThatNetHTTPRetries(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]apiCall{
		"CreateTag": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.CreateTag(ctx, "new")
			return err
		},
		"DeleteTag": func(ctx context.Context, c *wechatuser.Client) error { return c.DeleteTag(ctx, vip) },
	} {
		t.Run(name, func(t *testing.T) {
			cs := newConnections(t, transports["middleware"](t))
			require.NoError(t, testutil.GetTags(t.Context(), cs.Client))
			cs.attempts = nil
			cs.lost.Store(1)
			require.NoError(t, call(t.Context(), cs.Client))
			assert.Equal(t, 1, cs.attempts[0], "net/http retried")
		})
	}
	cs := newConnections(t, transports["middleware"](t))
	require.NoError(t, testutil.GetTags(t.Context(), cs.Client))
	cs.lost.Store(1)
	cs.account.Fault(wechatusertest.Fault{
		Path: "*", Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeDailyQuotaExceeded, After: 1, Times: 1,
	})
	err := tagOne(t.Context(), cs.Client)
	require.ErrorIs(t, err, wechatuser.ErrRateLimited)
	require.ErrorIs(t, err, wechatuser.ErrAmbiguous, "the first request may have been applied")
}
