package test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// Each package checks for leaked goroutines.
func TestGoleakIsInEachPackage(t *testing.T) {
	dirs := map[string]bool{}
	require.NoError(t, filepath.WalkDir(moduleRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		// A package that stops servers after its tests looks for leaks itself, afterwards.
		found := bytes.Contains(text, []byte("goleak.VerifyTestMain(m")) || bytes.Contains(text, []byte("goleak.Find("))
		dirs[filepath.Dir(path)] = dirs[filepath.Dir(path)] || found
		return err
	}))
	assert.Greater(t, len(dirs), 5, "the check saw the packages")
	for dir, has := range dirs {
		assert.True(t, has, "no TestMain with goleak in %s", dir)
	}
}

// A client needs no Close: nothing of it stays when it is dropped.
func TestManyClientsLeaveNothing(t *testing.T) {
	const clients, most = 10_000, 8 << 20
	respond := func(req *http.Request) (*http.Response, error) {
		if testutil.IsTokenPath(req.URL.Path) {
			return testutil.RespondJSON(testutil.TokenBody)(req)
		}
		return testutil.RespondJSON(testutil.TagsBody)(req)
	}
	use := func(n int) {
		for range n {
			c := testutil.NewTokenClient(t, testutil.RoundTripFunc(respond))
			require.NoError(t, testutil.GetTags(t.Context(), c))
		}
	}
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	use(100) // what is created once
	goroutines, before := runtime.NumGoroutine(), heap()
	use(clients)
	grown := heap() - before
	assert.Less(t, grown, most)
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines+2) // the last goroutine of a fetch can still be ending
	t.Logf("%d clients left %d bytes", clients, grown)
}

// Clients share their connections, and CloseIdleConnections of one closes them all.
func TestManyClientsShareTheirConnections(t *testing.T) {
	const clients, calls, atATime = 200, 5, 8
	var (
		mu     sync.Mutex
		closed = sync.NewCond(&mu)
		opened int
		open   = map[net.Conn]bool{}
	)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if testutil.IsTokenPath(r.URL.Path) {
			_, _ = w.Write([]byte(testutil.TokenBody))
			return
		}
		_, _ = w.Write([]byte(testutil.TagsBody))
	}))
	srv.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch state {
		case http.StateNew:
			opened++
			open[conn] = true
		case http.StateClosed, http.StateHijacked:
			delete(open, conn)
			closed.Broadcast()
		}
	}
	srv.Start()
	defer srv.Close()

	var last *wechatuser.Client
	var wg sync.WaitGroup
	places := make(chan struct{}, atATime)
	for range clients {
		c, err := wechatuser.New(testutil.AppID, testutil.Secret, wechatuser.WithBaseURL(srv.URL))
		require.NoError(t, err)
		last = c
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			for range calls {
				assert.NoError(t, testutil.GetTags(t.Context(), c))
			}
		})
	}
	wg.Wait()
	mu.Lock()
	assert.Less(t, opened, clients, "fewer than one each")
	t.Logf("%d clients, %d requests, %d connections", clients, clients*(calls+1), opened)
	mu.Unlock()

	last.HTTPClient().CloseIdleConnections()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		mu.Lock()
		defer mu.Unlock()
		for len(open) > 0 {
			closed.Wait()
		}
	}()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		srv.CloseClientConnections()
		require.Fail(t, "connections are left")
	}
}

// A panic in the caller's code is passed on, shows no secret, and leaves nothing locked.
func TestPanicInATransportOrAnInterceptor(t *testing.T) {
	broken := true
	transport := testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if broken && !testutil.IsTokenPath(req.URL.Path) {
			panic("broken transport")
		}
		if testutil.IsTokenPath(req.URL.Path) {
			return testutil.RespondJSON(testutil.TokenBody)(req)
		}
		return testutil.RespondJSON(testutil.TagsBody)(req)
	})
	interceptor := func(ctx context.Context, _ wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
		res, err := do(ctx)
		if broken {
			panic("broken interceptor")
		}
		return res, err
	}
	for name, opts := range map[string][]wechatuser.Option{
		"broken transport": {wechatuser.WithTransport(transport)},
		"broken interceptor": {
			wechatuser.WithTransport(testutil.Play(testutil.RespondJSON(testutil.TagsBody))),
			wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)),
			wechatuser.WithInterceptor(interceptor),
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken = true
			c, err := wechatuser.New(testutil.AppID, testutil.Secret, opts...)
			require.NoError(t, err)
			func() {
				defer func() {
					v := recover()
					assert.Equal(t, name, v)
					testutil.AssertClean(t, fmt.Sprintf("%v\n%s", v, debug.Stack()))
				}()
				_ = testutil.GetTags(t.Context(), c)
				assert.Fail(t, "no panic")
			}()
			broken = false
			require.NoError(t, testutil.GetTags(t.Context(), c))
		})
	}
}

// crashes are panics in goroutines that the SDK has started, which end a program that does not recover from them.
var crashes = map[string]func(){
	"token fetch": func() {
		c, _ := wechatuser.New(testutil.AppID, testutil.Secret, wechatuser.WithTransport(testutil.RoundTripFunc(
			func(*http.Request) (*http.Response, error) { panic("broken transport") })))
		_, _ = c.Token(context.Background())
	},
	"bulk job": func() {
		c, _ := wechatuser.New(testutil.AppID, testutil.Secret,
			wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)),
			wechatuser.WithTransport(testutil.RoundTripFunc(func(*http.Request) (*http.Response, error) {
				panic("broken transport")
			})))
		_, _ = c.BulkTagging(context.Background(), 134, wechatuser.OpenIDs(testutil.Alice, testutil.Bob))
	},
}

// The stack trace of such a program shows no secret.
func TestCrashTraceHasNoSecret(t *testing.T) {
	t.Parallel()
	if crash := crashes[os.Getenv("WECHATUSER_TEST_CRASH")]; crash != nil {
		crash()
		return
	}
	for name := range crashes {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashTraceHasNoSecret$")
			cmd.Env = append(os.Environ(), "WECHATUSER_TEST_CRASH="+name, "GOTRACEBACK=all")
			trace, err := cmd.CombinedOutput()
			require.Error(t, err)
			assert.Contains(t, string(trace), "panic: broken transport")
			testutil.AssertClean(t, string(trace))
		})
	}
}
