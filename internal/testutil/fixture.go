package testutil

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Fixture is one API call to a simulated account, and the transport between them, which injects faults on one path.
type Fixture struct {
	Call   APICall
	Server *wechatusertest.Server
	Client *wechatuser.Client

	Path       string   // of the requests to inject into
	Inject     Injector // called for such a request, nil for no fault
	Times      int      // to inject, below zero for always
	ApplyFirst bool     // let the platform apply the request before the fault

	Otherwise Reply // to other API requests, nil for the platform's response

	mu                   sync.Mutex
	Calls, TokenRequests int // requests so far: of API calls, and for tokens
	Injected             int // faults so far
	Applied              int // how often the platform applied the call
	CleanUp              []func()
}

// Injector handles a request in place of the platform.
type Injector func(fx *Fixture, req *http.Request) (*http.Response, error)

// fixtureStart is the time at which the accounts of fixtures stand still.
var fixtureStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// NewFixture returns a fixture for a call, with an account in which each of [APICalls] has an effect.
func NewFixture(t testing.TB, call APICall, opts ...wechatuser.Option) *Fixture {
	t.Helper()
	fx := &Fixture{Call: call, Path: call.Path}
	fx.Server = wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(AppID, Secret),
		wechatusertest.WithClock(func() time.Time { return fixtureStart }),
		wechatusertest.WithMigration("wxOLD", map[string]string{Alice: Bob}),
	)
	fx.Server.AddUsers(
		wechatuser.UserInfo{OpenID: Alice}, wechatuser.UserInfo{OpenID: Bob},
		wechatuser.UserInfo{OpenID: Carol, TagIDList: []int{134}},
	)
	fx.Server.Block(Carol)
	direct := fx.Server.Client()
	switch call.Name {
	case "BatchUntagging":
		require.NoError(t, direct.BatchTagging(t.Context(), 134, []string{Alice, Bob}))
	case "BatchUnblacklist":
		fx.Server.Block(Alice)
	case "ClearQuota", "ClearQuotaByAppSecret", "ClearAPIQuota":
		_, err := direct.GetFans(t.Context(), "")
		require.NoError(t, err)
	case "GetRIDInfo":
		var e *wechatuser.Error
		require.ErrorAs(t, direct.UpdateRemark(t.Context(), "oNOBODY", ""), &e)
		fx.Call.Do = func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetRIDInfo(ctx, e.RID) }
	}
	fx.Client = NewTokenClient(t, fx, slices.Concat(opts, call.Options())...)
	return fx
}

// StopFaults ends the injection of faults.
func (fx *Fixture) StopFaults() {
	fx.mu.Lock()
	defer fx.mu.Unlock()
	fx.Times = 0
}

// Close ends the servers that faults have started.
func (fx *Fixture) Close() {
	for _, f := range fx.CleanUp {
		f()
	}
}

// RoundTrip implements [http.RoundTripper].
func (fx *Fixture) RoundTrip(req *http.Request) (*http.Response, error) {
	fx.mu.Lock()
	if IsTokenPath(req.URL.Path) {
		fx.TokenRequests++
	} else {
		fx.Calls++
	}
	inject := fx.Inject != nil && fx.Times != 0 && (req.URL.Path == fx.Path || IsTokenPath(fx.Path) &&
		IsTokenPath(req.URL.Path))
	if inject {
		fx.Times--
		fx.Injected++
	}
	fx.mu.Unlock()
	switch {
	case inject:
		return fx.Inject(fx, req)
	case fx.Otherwise != nil && !IsTokenPath(req.URL.Path):
		return fx.Otherwise(req)
	}
	body, err := fx.Apply(req)
	if err != nil {
		return nil, err
	}
	return RespondJSON(body)(req)
}

// Apply lets the platform apply the request, and returns the body of its response.
func (fx *Fixture) Apply(req *http.Request) (body string, err error) {
	resp, err := fx.Server.Transport().RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var response struct {
		Code int `json:"errcode"`
	}
	if err := json.Unmarshal(data, &response); err != nil {
		return "", err
	}
	if response.Code == 0 && req.URL.Path == fx.Call.Path {
		fx.mu.Lock()
		fx.Applied++
		fx.mu.Unlock()
	}
	return string(data), nil
}

// applyIfWanted applies the request if ApplyFirst is set.
func (fx *Fixture) applyIfWanted(req *http.Request) error {
	if !fx.ApplyFirst {
		return nil
	}
	_, err := fx.Apply(req)
	return err
}

// AccountState is all that an API call can change in an account.
type AccountState struct {
	Users     []wechatuser.UserInfo
	Tags      []wechatuser.Tag
	Blacklist []string
	Used      string // response of getApiQuota
}

// State returns the current state of the account.
func (fx *Fixture) State(t testing.TB) AccountState {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		fx.Server.URL+"/cgi-bin/openapi/quota/get?access_token="+fx.Server.AccessToken(),
		strings.NewReader(`{"cgi_path":"/cgi-bin/user/get"}`))
	require.NoError(t, err)
	used, err := fx.Apply(req)
	require.NoError(t, err)
	if fx.Call.Name == "GetFans" {
		used = "" // the call itself uses this quota
	}
	return AccountState{fx.Server.Users(), fx.Server.Tags(), fx.Server.Blacklist(), used}
}

// RespondInstead returns an injector that replies in place of the platform.
func RespondInstead(r Reply) Injector {
	return func(fx *Fixture, req *http.Request) (*http.Response, error) {
		if err := fx.applyIfWanted(req); err != nil {
			return nil, err
		}
		return r(req)
	}
}

// AlterResponse returns an injector that changes the platform's response.
func AlterResponse(f func(body string) Reply) Injector {
	return func(fx *Fixture, req *http.Request) (*http.Response, error) {
		body, err := fx.Apply(req)
		if err != nil {
			return nil, err
		}
		return f(body)(req)
	}
}

// Socket is a TCP server that reads one request, writes Response as it is, and closes the connection.
type Socket struct {
	Response string
	Reset    bool          // close with a TCP reset
	Unread   bool          // close after the first byte of the request
	Until    chan struct{} // close when this channel is closed, nil for at once
}

// Inject sends the request to the socket over a real connection.
func (k Socket) Inject(fx *Fixture, req *http.Request) (*http.Response, error) {
	return fx.OverTCP(req, "http", func(conn *net.TCPConn) error {
		if k.Reset {
			if err := conn.SetLinger(0); err != nil {
				return err
			}
		}
		if k.Unread {
			_, err := conn.Read(make([]byte, 1))
			return err
		}
		got, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(got.Body)
		if err != nil {
			return err
		}
		again, err := http.NewRequestWithContext(context.Background(), got.Method, fx.Server.URL+got.RequestURI,
			bytes.NewReader(body))
		if err != nil {
			return err
		}
		if err := fx.applyIfWanted(again); err != nil {
			return err
		}
		_, err = io.WriteString(conn, k.Response)
		if k.Until != nil {
			<-k.Until
		}
		return err
	})
}

// OverTCP sends the request to a TCP server that serves one connection.
func (fx *Fixture) OverTCP(req *http.Request, scheme string, serve func(*net.TCPConn) error) (*http.Response, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = serve(conn.(*net.TCPConn))
			conn.Close()
		}
		served <- err
	}()
	fx.CleanUp = append(fx.CleanUp, func() {
		ln.Close()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			panic(fmt.Sprintf("the test's server: %v", err))
		}
	})
	return fx.SendTo(req, scheme, ln.Addr().String(), &http.Transport{})
}

// SendTo sends a request to another address, on a connection of its own.
func (fx *Fixture) SendTo(req *http.Request, scheme, host string, transport *http.Transport) (*http.Response, error) {
	transport.DisableKeepAlives = true
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = cmp.Or(scheme, req.URL.Scheme), cmp.Or(host, req.URL.Host)
	return transport.RoundTrip(req)
}
