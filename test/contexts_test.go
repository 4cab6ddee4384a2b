package test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// place is where a call can wait.
type place struct {
	name string
	// call starts to wait at once, for more than a second.
	call func(t *testing.T) func(context.Context) error
	// returnsEarly says that the call returns early if its wait would exceed the deadline.
	returnsEarly bool
	// ambiguous says that the error is the ambiguous one that the wait was for.
	ambiguous bool
}

const contextEnd = time.Second

// tags returns a getTags call, which most places use.
func tags(c *wechatuser.Client) func(context.Context) error {
	return func(ctx context.Context) error { return testutil.GetTags(ctx, c) }
}

// silence is a transport that never responds on one path.
type silence struct {
	paths string
	next  http.RoundTripper
}

func (s silence) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(s.paths, req.URL.Path) {
		return testutil.Hang(req)
	}
	return s.next.RoundTrip(req)
}

// overPipe returns a transport whose connections are pipes, served by serve.
func overPipe(t *testing.T, serve func(net.Conn)) *http.Transport {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			serve(server)
		}()
		return client, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// mute reads until the connection ends, and writes nothing.
func mute(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// halfway writes the first part of a response.
func halfway(conn net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = io.WriteString(conn, httpOK("Content-Length: 27")+testutil.OKBody[:5])
	}
	mute(conn)
}

// waitingInput is an input that ends with the error of its context.
func waitingInput(ctx context.Context, before ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range before {
			if !yield(id, nil) {
				return
			}
		}
		<-ctx.Done()
		yield("", ctx.Err())
	}
}

var verySlow = wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1 << 60})

var places = []place{
	// The token.
	{name: "token of a new client", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewTokenClient(t, testutil.Play(testutil.Hang)))
	}},
	{name: "legacy token", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewTokenClient(t, testutil.Play(testutil.Hang), wechatuser.WithLegacyToken()))
	}},
	{name: "Token", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewTokenClient(t, testutil.Play(testutil.Hang))
		return func(ctx context.Context) error { _, err := c.Token(ctx); return err }
	}},
	{name: "RefreshToken", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewTokenClient(t, testutil.Play(testutil.Hang))
		return func(ctx context.Context) error { _, err := c.RefreshToken(ctx); return err }
	}},
	{name: "token after a rejection", call: func(t *testing.T) func(context.Context) error {
		acc := &testutil.TokenServer{}
		acc.TokenReply = func(testutil.TokenRequest) testutil.Reply {
			if len(acc.TokenRequests()) > 1 {
				return testutil.Hang
			}
			return nil
		}
		c := testutil.NewTokenClient(t, acc)
		require.NoError(t, testutil.GetTags(t.Context(), c))
		acc.Revoke()
		return tags(c)
	}},
	{name: "retries of a token request", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewTokenClient(t, testutil.Play(testutil.Respond(503, "", "Retry-After", "30"))))
	}},
	{name: "token source", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
			wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(
				func(ctx context.Context) (wechatuser.Token, error) {
					<-ctx.Done()
					return wechatuser.Token{}, ctx.Err()
				}))))
	}},
	{name: "token invalidator", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.RespondCode(40001)),
			wechatuser.WithTokenSource(slowInvalidator{})))
	}},

	// The store. Its operations are bounded by the timeout of the fetch; a caller ends before them.
	{name: "store: load", call: inStore("load", false)},
	{name: "store: lock", call: inStore("lock", false)},
	{name: "store: save", call: inStore("save", false)},
	{name: "store: delete", call: inStore("delete", false)},
	{name: "store that watches no context: load", call: inStore("load", true)},
	{name: "store that watches no context: lock", call: inStore("lock", true)},
	{name: "store that watches no context: save", call: inStore("save", true)},
	{name: "store that watches no context: delete", call: inStore("delete", true)},
	{name: "lock of another client", call: func(t *testing.T) func(context.Context) error {
		store := wechatuser.NewMemoryTokenStore()
		unlock, err := store.(wechatuser.TokenLocker).Lock(t.Context(), testutil.StableKey)
		require.NoError(t, err)
		t.Cleanup(unlock)
		return tags(testutil.NewTokenClient(t, &testutil.TokenServer{}, wechatuser.WithTokenStore(store)))
	}},

	// A call.
	{name: "limiter", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
			wechatuser.WithLimiter(closedLimiter{})))
	}},
	{name: "back-off", returnsEarly: true, call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.RespondCode(-1)), verySlow))
	}},
	{name: "back-off before another host", returnsEarly: true, call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.RespondCode(-1)), verySlow, testutil.ThreeHosts))
	}},
	{name: "Retry-After", returnsEarly: true, call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.Respond(503, "", "Retry-After", "30"))))
	}},
	{name: "transport", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(testutil.Hang)))
	}},
	{name: "body of a transport", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, testutil.Play(slowBody)))
	}},
	{name: "dial", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t,
			&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(time.Minute) // net/http passes a context that the caller does not cancel
				return nil, testutil.ErrRefused
			}}))
	}},
	{name: "TLS handshake", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, overPipe(t, mute)))
	}},
	{name: "request that the server does not read", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, overPipe(t, func(net.Conn) { time.Sleep(time.Minute) }), loopback))
	}},
	{name: "response", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, overPipe(t, mute), loopback))
	}},
	{name: "end of the response", call: func(t *testing.T) func(context.Context) error {
		return tags(testutil.NewClient(t, overPipe(t, halfway), loopback))
	}},
	{name: "a connection that is not free", call: func(t *testing.T) func(context.Context) error {
		transport := overPipe(t, mute)
		transport.MaxConnsPerHost = 1
		c := testutil.NewClient(t, transport, loopback)
		go func() { _ = testutil.GetTags(context.Background(), c) }()
		synctest.Wait()
		return tags(c)
	}},
	{name: "looking a tag up: CreateTag", ambiguous: true, call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t,
			testutil.ByPath{
				testutil.PathCreateTag: testutil.Play(testutil.Respond(503, "", "Retry-After", "61")),
				testutil.PathGetTags:   testutil.Play(testutil.Hang),
			})
		return func(ctx context.Context) error { _, err := c.CreateTag(ctx, "vip"); return err }
	}},
	{name: "looking a tag up: DeleteTag", ambiguous: true, call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t,
			testutil.ByPath{
				testutil.PathDeleteTag: testutil.Play(testutil.Respond(503, "", "Retry-After", "61")),
				testutil.PathGetTags:   testutil.Play(testutil.Hang),
			})
		return func(ctx context.Context) error { return c.DeleteTag(ctx, 134) }
	}},

	// Lists.
	{name: "AllFans: first page", call: inList(testutil.Hang)},
	{
		name: "AllFans: next page",
		call: inList(testutil.RespondPage(2, testutil.Bob, testutil.Alice, testutil.Bob), testutil.Hang),
	},
	{
		name: "AllFans: back-off", returnsEarly: true,
		call: inList(testutil.RespondPage(2, testutil.Bob, testutil.Alice, testutil.Bob),
			testutil.Respond(503, "", "Retry-After", "30")),
	},
	{name: "AllFans without prefetch", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t,
			testutil.Play(testutil.RespondPage(2, testutil.Bob, testutil.Alice, testutil.Bob), testutil.Hang))
		return func(ctx context.Context) error { return seq.LastError(c.AllFans(ctx, wechatuser.WithPrefetch(0))) }
	}},
	{
		name: "AllFans: minute's quota", returnsEarly: true,
		call: inList(testutil.RespondPage(2, testutil.Bob, testutil.Alice, testutil.Bob), testutil.RespondCode(45011)),
	},
	{
		name: "AllFans: too many token requests", returnsEarly: true,
		call: func(t *testing.T) func(context.Context) error {
			c := withoutTokenRequests(t)
			return func(ctx context.Context) error { return seq.LastError(c.AllFans(ctx)) }
		},
	},

	// Jobs.
	{name: "BulkTagging: call", call: inJob(testutil.Hang)},
	{name: "BulkTagging: minute's quota", returnsEarly: true, call: inJob(testutil.RespondCode(45011))},
	{
		name: "BulkTagging: another job with the same user", call: inJob(testutil.RespondCode(45169), verySlow),
		returnsEarly: true,
	},
	{name: "BulkTagging: Retry-After", call: inJob(testutil.Respond(503, "", "Retry-After", "30")), returnsEarly: true},
	{name: "BulkTagging: whether the tag exists", call: func(t *testing.T) func(context.Context) error {
		return tagging(testutil.NewClient(t,
			testutil.ByPath{
				testutil.PathBatchTagging: testutil.Play(testutil.RespondCode(45159)),
				testutil.PathGetTags:      testutil.Play(testutil.Hang),
			}), wechatuser.OpenIDs(testutil.Alice))
	}},
	{
		name: "BulkTagging: whether the tag exists, next minute", returnsEarly: true,
		call: func(t *testing.T) func(context.Context) error {
			return tagging(testutil.NewClient(t,
				testutil.ByPath{
					testutil.PathBatchTagging: testutil.Play(testutil.RespondCode(45159)),
					testutil.PathGetTags:      testutil.Play(testutil.RespondCode(45011)),
				}), wechatuser.OpenIDs(testutil.Alice))
		},
	},
	{name: "BulkTagging: token", call: func(t *testing.T) func(context.Context) error {
		return tagging(testutil.NewTokenClient(t, testutil.Play(testutil.Hang)), wechatuser.OpenIDs(testutil.Alice))
	}},
	{
		name: "BulkTagging: too many token requests", returnsEarly: true,
		call: func(t *testing.T) func(context.Context) error {
			return tagging(withoutTokenRequests(t), wechatuser.OpenIDs(testutil.Alice))
		},
	},
	{name: "BulkTagging: input", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.OKBody)))
		return func(ctx context.Context) error {
			return tagging(c, waitingInput(ctx, testutil.Alice, testutil.Bob))(ctx)
		}
	}},
	{name: "BulkTagging: a list as input", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, silence{testutil.PathGetFans, testutil.Play(testutil.RespondJSON(testutil.OKBody))})
		return func(ctx context.Context) error { return tagging(c, c.AllFans(ctx))(ctx) }
	}},
	{name: "BulkUserInfo: call", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(testutil.Hang))
		return func(ctx context.Context) error {
			return seq.LastError(c.BulkUserInfo(ctx, wechatuser.OpenIDs(testutil.Alice)))
		}
	}},
	{name: "BulkUserInfo: minute's quota", returnsEarly: true, call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondCode(45011)))
		return func(ctx context.Context) error {
			return seq.LastError(c.BulkUserInfo(ctx, wechatuser.OpenIDs(testutil.Alice)))
		}
	}},
	{name: "BulkUserInfo: input", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(`{"user_info_list":[]}`)))
		return func(ctx context.Context) error { return seq.LastError(c.BulkUserInfo(ctx, waitingInput(ctx))) }
	}},
	{
		name: "SyncTag: list",
		call: inSync(silence{testutil.PathGetTagFans, testutil.Play(testutil.RespondJSON(testutil.OKBody))}),
	},
	{
		name: "SyncTag: list, next minute", returnsEarly: true,
		call: inSync(testutil.ByPath{testutil.PathGetTagFans: testutil.Play(testutil.RespondCode(45011))}),
	},
	{
		name: "SyncTag: adding",
		call: inSync(silence{testutil.PathBatchTagging, testutil.Play(testutil.RespondPage(0, ""))}),
	},
	{name: "SyncTag: removing", call: inSync(silence{testutil.PathBatchUntagging, testutil.ByPath{
		testutil.PathGetTagFans:   testutil.Play(testutil.RespondPage(1, "", testutil.Carol)),
		testutil.PathBatchTagging: testutil.Play(testutil.RespondJSON(testutil.OKBody)),
	}})},
	{name: "SyncTag: input", call: func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.OKBody)))
		return func(ctx context.Context) error { _, err := c.SyncTag(ctx, 134, waitingInput(ctx)); return err }
	}},
}

var loopback = wechatuser.WithBaseURL("http://127.0.0.1")

type slowInvalidator struct{}

func (slowInvalidator) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: testutil.Token}, nil
}

func (slowInvalidator) Invalidate(ctx context.Context, _ wechatuser.Token) error {
	<-ctx.Done()
	return ctx.Err()
}

type closedLimiter struct{}

func (closedLimiter) Wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// inStore waits in an operation of the store; in one that ignores its context, for an hour.
func inStore(op string, deaf bool) func(*testing.T) func(context.Context) error {
	return func(t *testing.T) func(context.Context) error {
		acc, store := &testutil.TokenServer{}, testutil.NewSpyStore()
		c := testutil.NewTokenClient(t, acc, wechatuser.WithTokenStore(store))
		if op == "delete" {
			require.NoError(t, testutil.GetTags(t.Context(), c))
			acc.Revoke()
		}
		store.Before = func(ctx context.Context, now string) error {
			switch {
			case !strings.HasPrefix(now, op):
				return nil
			case deaf:
				time.Sleep(time.Hour)
				return nil
			default:
				<-ctx.Done()
				return ctx.Err()
			}
		}
		return tags(c)
	}
}

// withoutTokenRequests returns a client that is at its limit of token requests.
func withoutTokenRequests(t *testing.T) *wechatuser.Client {
	t.Helper()
	c := testutil.NewTokenClient(t, testutil.Play(testutil.Fail(testutil.ErrReset)), testutil.NoRetry)
	for range 10 {
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), testutil.ErrReset)
	}
	return c
}

func inList(replies ...testutil.Reply) func(*testing.T) func(context.Context) error {
	return func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, testutil.Play(replies...))
		return func(ctx context.Context) error { return seq.LastError(c.AllFans(ctx)) }
	}
}

func tagging(c *wechatuser.Client, input iter.Seq2[string, error]) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.BulkTagging(ctx, 134, input)
		return err
	}
}

func inJob(r testutil.Reply, opts ...wechatuser.Option) func(*testing.T) func(context.Context) error {
	return func(t *testing.T) func(context.Context) error {
		return tagging(testutil.NewClient(t, testutil.Play(r), opts...), wechatuser.OpenIDs(testutil.OpenIDs(170)...))
	}
}

func inSync(rt http.RoundTripper) func(*testing.T) func(context.Context) error {
	return func(t *testing.T) func(context.Context) error {
		c := testutil.NewClient(t, rt)
		return func(ctx context.Context) error {
			_, err := c.SyncTag(ctx, 134, wechatuser.OpenIDs(testutil.Alice))
			return err
		}
	}
}

// Every wait ends with the context, at that very moment, and leaves nothing behind.
func TestEveryWaitEndsWithTheContext(t *testing.T) {
	why := errors.New("the shop has closed")
	for _, p := range places {
		for name, with := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(contextEnd, cancel)
				return ctx, cancel
			},
			"cancel with a cause": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(ctx)
				time.AfterFunc(contextEnd, func() { cancel(why) })
				return ctx, func() { cancel(nil) }
			},
			"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, contextEnd)
			},
		} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					call := p.call(t)
					ctx, cancel := with(context.Background())
					defer cancel()
					start := time.Now()
					err := call(ctx)
					took := time.Since(start)
					switch {
					case p.returnsEarly && name == "deadline":
						require.Error(t, err)
						assert.LessOrEqual(t, took, contextEnd)
					case p.ambiguous:
						require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
						assert.Equal(t, contextEnd, took)
					default:
						require.ErrorIs(t, err, ctx.Err())
						assert.Equal(t, contextEnd, took)
					}
					time.Sleep(2 * time.Hour) // what outlives a call, such as a token fetch, has ended by then
				})
			})
		}
	}
}

// The same on real connections: the context ends once the server has reached its state, and so does the call.
func TestWaitsOnSocketsEndWithTheContext(t *testing.T) {
	listen := func(t *testing.T, serve func(net.Conn, func())) (addr string, reached chan struct{}) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		reached, served := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(served)
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serve(conn, func() { close(reached) })
			mute(conn) // until the client hangs up
			conn.Close()
		}()
		t.Cleanup(func() {
			ln.Close()
			<-served
		})
		return ln.Addr().String(), reached
	}
	for name, tt := range map[string]struct {
		scheme    string
		serve     func(conn net.Conn, reached func())
		ambiguous bool
	}{
		"TLS handshake": {"https://", func(conn net.Conn, reached func()) {
			_, _ = conn.Read(make([]byte, 1))
			reached()
		}, false},
		"response": {"http://", func(conn net.Conn, reached func()) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			reached()
		}, true},
		"body": {"http://", func(conn net.Conn, reached func()) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, httpOK("Content-Length: 27")+testutil.OKBody[:5])
			reached()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			addr, reached := listen(t, tt.serve)
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			c := testutil.NewClient(t, transport, wechatuser.WithBaseURL(tt.scheme+addr),
				wechatuser.WithTimeout(time.Hour))
			err := endedBy(t, reached, func(ctx context.Context) error {
				return c.UpdateRemark(ctx, testutil.Alice, "r")
			})
			assert.Equal(t, tt.ambiguous, errors.Is(err, wechatuser.ErrAmbiguous), err)
		})
	}
	t.Run("DNS", func(t *testing.T) {
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer server.Close()
		reached := make(chan struct{})
		go func() {
			_, _, _ = server.ReadFrom(make([]byte, 1))
			close(reached)
		}()
		// net/http continues to dial after the caller has returned, until the dialer times out.
		giveUp, cancel := context.WithCancel(t.Context())
		defer cancel()
		resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(giveUp, "udp", server.LocalAddr().String())
			if err == nil {
				context.AfterFunc(giveUp, func() { conn.Close() })
			}
			return conn, err
		}}
		dialed := make(chan struct{})
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			defer close(dialed)
			return (&net.Dialer{Resolver: resolver}).DialContext(ctx, network, addr)
		}
		c := testutil.NewClient(t, &http.Transport{DialContext: dial}, wechatuser.WithTimeout(time.Hour))
		err = endedBy(t, reached, func(ctx context.Context) error { return c.UpdateRemark(ctx, testutil.Alice, "r") })
		assert.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
		cancel()
		<-dialed
	})
}

// endedBy makes a call, cancels its context once reached is closed, and returns its error. The test fails if the call
// does not return.
func endedBy(t *testing.T, reached <-chan struct{}, call func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	safety := time.After(10 * time.Second)
	for {
		select {
		case <-reached:
			reached = nil
			cancel()
		case err := <-done:
			require.Nil(t, reached, "it ended before its context: %v", err)
			require.ErrorIs(t, err, context.Canceled)
			return err
		case <-safety:
			require.Fail(t, "it hangs")
		}
	}
}
