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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// scene is one call to an account in memory, with a transport between the two that makes trouble for one path.
type Fixture struct {
	Call   APICall
	Server *wechatusertest.Server
	Client *wechatuser.Client

	Path       string   // that the trouble is on
	Inject     Injector // nil for none
	Times      int      // that it strikes, below zero for always
	ApplyFirst bool     // the platform carries the request out before it does

	Otherwise Reply // what other API requests get, nil for the platform's answer

	Mu                   sync.Mutex
	Calls, TokenRequests int // requests that were tried
	Injected             int // of these
	Applied              int // how often the platform carried the call out with success
	CleanUp              []func()
}

// strike is what becomes of a request in trouble.
type Injector func(s *Fixture, req *http.Request) (*http.Response, error)

// sceneStart is when all accounts of scenes were made.
var fixtureStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newScene makes an account in which each call of apiCalls has something to do.
func NewFixture(t testing.TB, call APICall, opts ...wechatuser.Option) *Fixture {
	t.Helper()
	s := &Fixture{Call: call, Path: call.Path}
	s.Server = wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(AppID, Secret),
		wechatusertest.WithClock(func() time.Time { return fixtureStart }),
		wechatusertest.WithMigration("wxOLD", map[string]string{Alice: Bob}),
	)
	s.Server.AddUsers(
		wechatuser.UserInfo{OpenID: Alice}, wechatuser.UserInfo{OpenID: Bob},
		wechatuser.UserInfo{OpenID: Carol, TagIDList: []int{134}},
	)
	s.Server.Block(Carol)
	direct := s.Server.Client()
	switch call.Name {
	case "BatchUntagging":
		require.NoError(t, direct.BatchTagging(t.Context(), 134, []string{Alice, Bob}))
	case "BatchUnblacklist":
		s.Server.Block(Alice)
	case "ClearQuota", "ClearQuotaByAppSecret", "ClearAPIQuota":
		_, err := direct.GetFans(t.Context(), "")
		require.NoError(t, err)
	case "GetRIDInfo":
		var e *wechatuser.Error
		require.ErrorAs(t, direct.UpdateRemark(t.Context(), "oNOBODY", ""), &e)
		s.Call.Do = func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetRIDInfo(ctx, e.RID) }
	}
	opts = append([]wechatuser.Option{wechatuser.WithTransport(s)}, opts...)
	if call.Legacy {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	c, err := wechatuser.New(AppID, Secret, opts...)
	require.NoError(t, err)
	s.Client = c
	return s
}

// end closes what the trouble needed.
func (s *Fixture) Close() {
	for _, f := range s.CleanUp {
		f()
	}
}

func (s *Fixture) RoundTrip(req *http.Request) (*http.Response, error) {
	s.Mu.Lock()
	if IsTokenPath(req.URL.Path) {
		s.TokenRequests++
	} else {
		s.Calls++
	}
	strikes := s.Inject != nil && s.Times != 0 && (req.URL.Path == s.Path || IsTokenPath(s.Path) && IsTokenPath(req.URL.Path))
	if strikes {
		s.Times--
		s.Injected++
	}
	s.Mu.Unlock()
	switch {
	case strikes:
		return s.Inject(s, req)
	case s.Otherwise != nil && !IsTokenPath(req.URL.Path):
		return s.Otherwise(req)
	}
	body, err := s.Apply(req)
	if err != nil {
		return nil, err
	}
	return RespondJSON(body)(req)
}

// carryOut lets the platform carry the request out.
func (s *Fixture) Apply(req *http.Request) (body string, err error) {
	resp, err := s.Server.Transport().RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var answer struct {
		Code int `json:"errcode"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", err
	}
	if answer.Code == 0 && req.URL.Path == s.Call.Path {
		s.Mu.Lock()
		s.Applied++
		s.Mu.Unlock()
	}
	return string(data), nil
}

// perhaps lets the platform carry the request out where the scene says so.
func (s *Fixture) applyIfWanted(req *http.Request) error {
	if !s.ApplyFirst {
		return nil
	}
	_, err := s.Apply(req)
	return err
}

// accountState is what a call can change in an account.
type AccountState struct {
	Users     []wechatuser.UserInfo
	Tags      []wechatuser.Tag
	Blacklist []string
	Used      string // of a quota
}

func (s *Fixture) State(t testing.TB) AccountState {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		s.Server.URL+"/cgi-bin/openapi/quota/get?access_token="+s.Server.AccessToken(), strings.NewReader(`{"cgi_path":"/cgi-bin/user/get"}`))
	require.NoError(t, err)
	used, err := s.Apply(req)
	require.NoError(t, err)
	if s.Call.Name == "GetFans" {
		used = "" // which is what the call itself uses
	}
	return AccountState{s.Server.Users(), s.Server.Tags(), s.Server.Blacklist(), used}
}

// instead answers in the platform's place.
func RespondInstead(r Reply) Injector {
	return func(s *Fixture, req *http.Request) (*http.Response, error) {
		if err := s.applyIfWanted(req); err != nil {
			return nil, err
		}
		return r(req)
	}
}

// altered changes the platform's answer.
func AlterResponse(f func(body string) Reply) Injector {
	return func(s *Fixture, req *http.Request) (*http.Response, error) {
		body, err := s.Apply(req)
		if err != nil {
			return nil, err
		}
		return f(body)(req)
	}
}

// socket is a server that reads a request, writes these bytes, and ends the connection.
type Socket struct {
	Response string
	Reset    bool          // ends it with a reset
	Unread   bool          // when it has read no more than the first byte
	Until    chan struct{} // ends it when this is closed, nil for at once
}

// strike makes the socket the other end of a real connection.
func (k Socket) Inject(s *Fixture, req *http.Request) (*http.Response, error) {
	return s.OverTCP(req, "http", func(conn *net.TCPConn) error {
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
		again, err := http.NewRequestWithContext(context.Background(), got.Method, s.Server.URL+got.RequestURI, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if err := s.applyIfWanted(again); err != nil {
			return err
		}
		_, err = io.WriteString(conn, k.Response)
		if k.Until != nil {
			<-k.Until
		}
		return err
	})
}

// overTCP sends the request to a server that serves one connection.
func (s *Fixture) OverTCP(req *http.Request, scheme string, serve func(*net.TCPConn) error) (*http.Response, error) {
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
	s.CleanUp = append(s.CleanUp, func() {
		ln.Close()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			panic(fmt.Sprintf("the test's server: %v", err))
		}
	})
	return s.SendTo(req, scheme, ln.Addr().String(), &http.Transport{})
}

// direct sends a request to another address, on a connection of its own.
func (s *Fixture) SendTo(req *http.Request, scheme, host string, transport *http.Transport) (*http.Response, error) {
	transport.DisableKeepAlives = true
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = cmp.Or(scheme, req.URL.Scheme), cmp.Or(host, req.URL.Host)
	return transport.RoundTrip(req)
}
