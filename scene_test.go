package wechatuser_test

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
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// scene is one call to an account in memory, with a transport between the two that makes trouble for one path.
type scene struct {
	call   apiCall
	srv    *wechatusertest.Server
	client *wechatuser.Client

	path    string // that the trouble is on
	strike  strike // nil for none
	times   int    // that it strikes, below zero for always
	carried bool   // the platform carries the request out before it does

	elsewhere reply // what other API requests get, nil for the platform's answer

	mu            sync.Mutex
	calls, tokens int // requests that were tried
	struck        int // of these
	done          int // how often the platform carried the call out with success
	cleanUp       []func()
}

// strike is what becomes of a request in trouble.
type strike func(s *scene, req *http.Request) (*http.Response, error)

// sceneStart is when all accounts of scenes were made.
var sceneStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// newScene makes an account in which each call of apiCalls has something to do.
func newScene(t testing.TB, call apiCall, opts ...wechatuser.Option) *scene {
	t.Helper()
	s := &scene{call: call, path: call.path}
	s.srv = wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(testAppID, testSecret),
		wechatusertest.WithClock(func() time.Time { return sceneStart }),
		wechatusertest.WithMigration("wxOLD", map[string]string{alice: bob}),
	)
	s.srv.AddUsers(
		wechatuser.UserInfo{OpenID: alice}, wechatuser.UserInfo{OpenID: bob},
		wechatuser.UserInfo{OpenID: carol, TagIDList: []int{134}},
	)
	s.srv.Block(carol)
	direct := s.srv.Client()
	switch call.name {
	case "BatchUntagging":
		require.NoError(t, direct.BatchTagging(t.Context(), 134, []string{alice, bob}))
	case "BatchUnblacklist":
		s.srv.Block(alice)
	case "ClearQuota", "ClearQuotaByAppSecret", "ClearAPIQuota":
		_, err := direct.GetFans(t.Context(), "")
		require.NoError(t, err)
	case "GetRIDInfo":
		var e *wechatuser.Error
		require.ErrorAs(t, direct.UpdateRemark(t.Context(), "oNOBODY", ""), &e)
		s.call.do = func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetRIDInfo(ctx, e.RID) }
	}
	opts = append([]wechatuser.Option{wechatuser.WithTransport(s)}, opts...)
	if call.legacy {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	c, err := wechatuser.New(testAppID, testSecret, opts...)
	require.NoError(t, err)
	s.client = c
	return s
}

// end closes what the trouble needed.
func (s *scene) end() {
	for _, f := range s.cleanUp {
		f()
	}
}

func isTokenPath(path string) bool {
	return path == "/cgi-bin/stable_token" || path == "/cgi-bin/token"
}

func (s *scene) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	if isTokenPath(req.URL.Path) {
		s.tokens++
	} else {
		s.calls++
	}
	strikes := s.strike != nil && s.times != 0 && (req.URL.Path == s.path || isTokenPath(s.path) && isTokenPath(req.URL.Path))
	if strikes {
		s.times--
		s.struck++
	}
	s.mu.Unlock()
	switch {
	case strikes:
		return s.strike(s, req)
	case s.elsewhere != nil && !isTokenPath(req.URL.Path):
		return s.elsewhere(req)
	}
	body, err := s.carryOut(req)
	if err != nil {
		return nil, err
	}
	return says(body)(req)
}

// carryOut lets the platform carry the request out.
func (s *scene) carryOut(req *http.Request) (body string, err error) {
	resp, err := s.srv.Transport().RoundTrip(req)
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
	if answer.Code == 0 && req.URL.Path == s.call.path {
		s.mu.Lock()
		s.done++
		s.mu.Unlock()
	}
	return string(data), nil
}

// perhaps lets the platform carry the request out where the scene says so.
func (s *scene) perhaps(req *http.Request) error {
	if !s.carried {
		return nil
	}
	_, err := s.carryOut(req)
	return err
}

// accountState is what a call can change in an account.
type accountState struct {
	Users     []wechatuser.UserInfo
	Tags      []wechatuser.Tag
	Blacklist []string
	Used      string // of a quota
}

func (s *scene) state(t testing.TB) accountState {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		s.srv.URL+"/cgi-bin/openapi/quota/get?access_token="+s.srv.AccessToken(), strings.NewReader(`{"cgi_path":"/cgi-bin/user/get"}`))
	require.NoError(t, err)
	used, err := s.carryOut(req)
	require.NoError(t, err)
	if s.call.name == "GetFans" {
		used = "" // which is what the call itself uses
	}
	return accountState{s.srv.Users(), s.srv.Tags(), s.srv.Blacklist(), used}
}

// instead answers in the platform's place.
func instead(r reply) strike {
	return func(s *scene, req *http.Request) (*http.Response, error) {
		if err := s.perhaps(req); err != nil {
			return nil, err
		}
		return r(req)
	}
}

// altered changes the platform's answer.
func altered(f func(body string) reply) strike {
	return func(s *scene, req *http.Request) (*http.Response, error) {
		body, err := s.carryOut(req)
		if err != nil {
			return nil, err
		}
		return f(body)(req)
	}
}

// socket is a server that reads a request, writes these bytes, and ends the connection.
type socket struct {
	answer string
	reset  bool          // ends it with a reset
	unread bool          // when it has read no more than the first byte
	before chan struct{} // ends it when this is closed, nil for at once
}

// strike makes the socket the other end of a real connection.
func (k socket) strike(s *scene, req *http.Request) (*http.Response, error) {
	return s.overTCP(req, "http", func(conn *net.TCPConn) error {
		if k.reset {
			if err := conn.SetLinger(0); err != nil {
				return err
			}
		}
		if k.unread {
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
		again, err := http.NewRequestWithContext(context.Background(), got.Method, s.srv.URL+got.RequestURI, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if err := s.perhaps(again); err != nil {
			return err
		}
		_, err = io.WriteString(conn, k.answer)
		if k.before != nil {
			<-k.before
		}
		return err
	})
}

// overTCP sends the request to a server that serves one connection.
func (s *scene) overTCP(req *http.Request, scheme string, serve func(*net.TCPConn) error) (*http.Response, error) {
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
	s.cleanUp = append(s.cleanUp, func() {
		ln.Close()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			panic(fmt.Sprintf("the test's server: %v", err))
		}
	})
	return s.direct(req, scheme, ln.Addr().String(), &http.Transport{})
}

// direct sends a request to another address, on a connection of its own.
func (s *scene) direct(req *http.Request, scheme, host string, transport *http.Transport) (*http.Response, error) {
	transport.DisableKeepAlives = true
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = cmp.Or(scheme, req.URL.Scheme), cmp.Or(host, req.URL.Host)
	return transport.RoundTrip(req)
}

// described is an error in the words of a Go program that asks what it is: its type, and the classes it matches.
func described(err error) string {
	if err == nil {
		return "ok"
	}
	var (
		words []string
		e     *wechatuser.Error
		te    *wechatuser.TransportError
		re    *wechatuser.ResponseError
	)
	switch {
	case errors.As(err, &e):
		words = append(words, "Error")
	case errors.As(err, &te):
		words = append(words, "TransportError")
	case errors.As(err, &re):
		words = append(words, "ResponseError")
	default:
		words = append(words, reflect.TypeOf(err).String())
	}
	for _, class := range []struct {
		name string
		err  error
	}{
		{"ErrInvalidToken", wechatuser.ErrInvalidToken},
		{"ErrCredential", wechatuser.ErrCredential},
		{"ErrRateLimited", wechatuser.ErrRateLimited},
		{"ErrPermission", wechatuser.ErrPermission},
		{"ErrNotFollowing", wechatuser.ErrNotFollowing},
		{"ErrInvalidArgument", wechatuser.ErrInvalidArgument},
		{"ErrTemporary", wechatuser.ErrTemporary},
		{"ErrAmbiguous", wechatuser.ErrAmbiguous},
	} {
		if errors.Is(err, class.err) {
			words = append(words, class.name)
		}
	}
	return strings.Join(words, " ")
}
