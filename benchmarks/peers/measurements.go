package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// measurement is a row of the table. Its function returns the text of a cell. server is the URL of a simulator with
// pageSize followers in another process.
type measurement struct {
	name string
	run  func(ctx context.Context, p peer, server string) (string, error)
}

var measurements = []measurement{
	{"version", version},
	{"token requests for 1,000 concurrent calls, no cached token", tokenRequestsAtStart},
	{"100 concurrent calls with a revoked token: token requests / failed calls", revokedToken},
	{"network down: the error contains the token", errorContainsToken},
	{"network down, no cached token: the error contains the app secret", errorContainsSecret},
	{"tagging 120 openids (at most 50 per call)", tagMany},
	{"goroutines left running by 100 clients after one call each", goroutinesLeft},
	{"third-party modules compiled in", thirdPartyModules},
	{"one profile: allocations, memory", profileAllocations},
	{"100 profiles: allocations, memory", batchAllocations},
	{"100 profiles, an escape in one: allocations, memory", escapeAllocations},
	{"a page of 10,000 openids: allocations, memory", pageAllocations},
}

const (
	pageSize    = 10_000
	profilePath = "/cgi-bin/user/info"
)

var tokenPaths = []string{"/cgi-bin/token", "/cgi-bin/stable_token"}

// tokenRequests returns the number of token requests that the server received, of both kinds.
func tokenRequests(srv *wechatusertest.Server) (n int) {
	for _, path := range tokenPaths {
		n += srv.Calls(path)
	}
	return n
}

// connect creates a client whose requests go to the server.
func connect(p peer, srv *wechatusertest.Server) (client, *redirect, error) {
	transport, err := newRedirect(srv.URL)
	if err != nil {
		return nil, nil, err
	}
	c, err := p.connect(account{srv.AppID, srv.Secret, &http.Client{Transport: transport}})
	return c, transport, err
}

// gate delays the responses to requests for closed paths until one second after the first request for the path, so that
// all concurrent calls send theirs before the first response. Later requests, and other paths, are not delayed.
type gate struct {
	mu     sync.Mutex
	closed map[string]bool
	opens  map[string]time.Time
}

func (g *gate) close(paths ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.opens = map[string]bool{}, map[string]time.Time{}
	for _, path := range paths {
		g.closed[path] = true
	}
}

// wait is a request hook that delays the response.
func (g *gate) wait(r wechatusertest.Request) {
	g.mu.Lock()
	if g.closed[r.Path] && g.opens[r.Path].IsZero() {
		g.opens[r.Path] = time.Now().Add(time.Second)
	}
	opens := g.opens[r.Path]
	g.mu.Unlock()
	time.Sleep(time.Until(opens))
}

// callConcurrently makes n concurrent calls and returns how many failed.
func callConcurrently(ctx context.Context, c client, n int) int {
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			if c.Profile(ctx, wechatusertest.OpenID(0)) != nil {
				failed.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(failed.Load())
}

// version returns the version of the module in this build.
func version(_ context.Context, p peer, _ string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("no build information")
	}
	for _, m := range info.Deps {
		if m.Path == p.module && m.Replace != nil {
			return "this checkout", nil
		}
		if m.Path == p.module {
			return m.Version, nil
		}
	}
	return "", fmt.Errorf("%s is not in the build", p.module)
}

func tokenRequestsAtStart(ctx context.Context, p peer, _ string) (string, error) {
	var g gate
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1), wechatusertest.WithRequestHook(g.wait))
	defer srv.Close()
	g.close(tokenPaths...)
	c, transport, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()

	failed := callConcurrently(ctx, c, 1_000)
	if failed > 0 {
		return fmt.Sprintf("%s, %d calls failed", thousands(tokenRequests(srv)), failed), nil
	}
	return thousands(tokenRequests(srv)), nil
}

func revokedToken(ctx context.Context, p peer, _ string) (string, error) {
	var g gate
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1), wechatusertest.WithRequestHook(g.wait))
	defer srv.Close()
	c, transport, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()
	if err := c.Profile(ctx, wechatusertest.OpenID(0)); err != nil {
		return "", err
	}

	before := tokenRequests(srv)
	srv.ExpireTokens()
	g.close(append(tokenPaths, profilePath)...)
	failed := callConcurrently(ctx, c, 100)
	return fmt.Sprintf("%d / %d", tokenRequests(srv)-before, failed), nil
}

func errorContainsToken(ctx context.Context, p peer, _ string) (string, error) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1))
	defer srv.Close()
	c, transport, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()
	if err := c.Profile(ctx, wechatusertest.OpenID(0)); err != nil {
		return "", err
	}
	token := transport.last.Load().Query().Get("access_token")
	if token == "" {
		return "", errors.New("the call had no token")
	}

	srv.Close()
	return errorContains(ctx, c, token)
}

// errorContains makes a call that fails and returns whether its error contains the secret, as "yes" or "no".
func errorContains(ctx context.Context, c client, secret string) (string, error) {
	err := c.Profile(ctx, wechatusertest.OpenID(0))
	if err == nil {
		return "", errors.New("the call succeeded without a server")
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
		return "yes", nil
	}
	return "no", nil
}

func errorContainsSecret(ctx context.Context, p peer, _ string) (string, error) {
	srv := wechatusertest.NewServer()
	srv.Close()
	c, _, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	return errorContains(ctx, c, srv.Secret)
}

func tagMany(ctx context.Context, p peer, _ string) (string, error) {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(120))
	defer srv.Close()
	tagID := srv.AddTag("vip")
	c, transport, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()

	outcome := "no error"
	if err := c.Tag(ctx, tagID, srv.OpenIDs()); err != nil {
		outcome = "an error"
	}
	calls := srv.Calls("/cgi-bin/tags/members/batchtagging")
	return fmt.Sprintf("calls: %d, tagged: %d, %s", calls, len(srv.TagFans(tagID)), outcome), nil
}

func goroutinesLeft(ctx context.Context, p peer, _ string) (string, error) {
	before := runtime.NumGoroutine()
	err := func() error {
		srv := wechatusertest.NewServer(wechatusertest.WithFans(1))
		defer srv.Close()
		for range 100 {
			c, transport, err := connect(p, srv)
			if err != nil {
				return err
			}
			err = c.Profile(ctx, wechatusertest.OpenID(0))
			transport.CloseIdleConnections()
			if err != nil {
				return err
			}
		}
		return nil
	}()
	// The goroutines of closed connections take a moment to end.
	for deadline := time.Now().Add(time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Sprint(max(0, runtime.NumGoroutine()-before)), err
}

func thirdPartyModules(ctx context.Context, p peer, _ string) (string, error) {
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, p.pkgs...)
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return "", err
	}
	modules := map[string]bool{}
	for _, path := range strings.Fields(string(out)) {
		modules[path] = true
	}
	delete(modules, p.module)
	return fmt.Sprint(len(modules)), nil
}

func profileAllocations(ctx context.Context, p peer, server string) (string, error) {
	return allocations(p, server, 500, func(c client) error {
		return c.Profile(ctx, wechatusertest.OpenID(0))
	})
}

// batchSize is the number of profiles in a call.
const batchSize = 100

func batchAllocations(ctx context.Context, p peer, server string) (string, error) {
	return profilesAllocations(ctx, p, server, 0)
}

// escapeAllocations reads profiles of which one has a remark with escapes, which is set first.
func escapeAllocations(ctx context.Context, p peer, server string) (string, error) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener()) // has the app ID and secret of the other one
	c, err := wechatuser.New(srv.AppID, srv.Secret, wechatuser.WithBaseURL(server))
	if err != nil {
		return "", err
	}
	defer c.HTTPClient().CloseIdleConnections()
	if err := c.UpdateRemark(ctx, wechatusertest.OpenID(pageSize-batchSize), `channel/7 "vip"`); err != nil {
		return "", err
	}
	return profilesAllocations(ctx, p, server, pageSize-batchSize)
}

func profilesAllocations(ctx context.Context, p peer, server string, first int) (string, error) {
	openIDs := make([]string, batchSize)
	for i := range openIDs {
		openIDs[i] = wechatusertest.OpenID(first + i)
	}
	return allocations(p, server, 100, func(c client) error {
		n, err := c.Profiles(ctx, openIDs)
		if err == nil && n != batchSize {
			err = fmt.Errorf("%d profiles", n)
		}
		return err
	})
}

func pageAllocations(ctx context.Context, p peer, server string) (string, error) {
	return allocations(p, server, 20, func(c client) error {
		n, err := c.Page(ctx)
		if err == nil && n != pageSize {
			err = fmt.Errorf("the page has %d openids", n)
		}
		return err
	})
}

// allocations returns the average allocations and memory of a call over the given number of runs. They include net/http
// and the redirection.
func allocations(p peer, server string, runs int, call func(client) error) (string, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))                   // as testing.AllocsPerRun does
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener()) // has the app ID and secret of the other one
	srv.URL = server
	c, transport, err := connect(p, srv)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()
	var before, after runtime.MemStats
	for i := range runs + 10 {
		if i == 10 { // the token is cached, the connection open, the pools filled
			runtime.ReadMemStats(&before)
		}
		if err := call(c); err != nil {
			return "", err
		}
	}
	runtime.ReadMemStats(&after)
	n := uint64(runs)
	return fmt.Sprintf("%s, %.1f kB", thousands(int((after.Mallocs-before.Mallocs)/n)),
		float64((after.TotalAlloc-before.TotalAlloc)/n)/1e3), nil
}

// thousands formats n, which must be below a million, with a comma.
func thousands(n int) string {
	if n < 1_000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1_000, n%1_000)
}
