package wechatusertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestFailNext(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 2)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeMinuteQuotaExceeded, 1)
	msg := assertCode(t, -1, a.get("/cgi-bin/tags/get"))
	assert.Contains(t, msg, "system error hint: [")
	assert.NotContains(t, a.get("/cgi-bin/user/get"), "errcode", "other paths are not affected")
	assertCode(t, -1, a.get("/cgi-bin/tags/get"))
	assertCode(t, 45011, a.get("/cgi-bin/tags/get"))
	assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode")
	assert.Equal(t, 4, a.Calls("/cgi-bin/tags/get"), "failed calls are counted")

	a.FailNext("/cgi-bin/tags/create", wechatuser.CodeSystemBusy, 1)
	a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`)
	assert.Empty(t, a.Tags(), "the call was not carried out")

	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 9)
	a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 0)
	assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode", "0 removes the fault")
}

func TestFailNextOnAllPaths(t *testing.T) {
	t.Parallel()
	for _, anyPath := range []string{"", "*"} {
		a := newAccount(t)
		a.FailNext(anyPath, wechatuser.CodeAPIUnauthorized, 2)
		a.FailNext("/cgi-bin/tags/get", wechatuser.CodeSystemBusy, 1)
		assert.NotContains(t, a.stable(false), "errcode", "token requests are not affected")
		assert.NotContains(t, a.legacy(), "errcode")
		assertCode(t, -1, a.get("/cgi-bin/tags/get"))
		assertCode(t, 48001, a.get("/cgi-bin/tags/get"))
		assertCode(t, 48001, a.get("/cgi-bin/user/get"))
		assert.NotContains(t, a.get("/cgi-bin/tags/get"), "errcode")
		assert.Equal(t, 4, a.Calls(anyPath))
	}
	a := newAccount(t)
	a.FailNext("/cgi-bin/stable_token", wechatuser.CodeIPNotAllowed, 1)
	a.FailNext("/cgi-bin/token", wechatuser.CodeInvalidSecret, 1)
	msg := assertCode(t, 40164, a.stable(false))
	assert.Contains(t, msg, "invalid ip 192.0.2.1 ipv6 ::ffff:192.0.2.1, not in whitelist rid: ")
	assertCode(t, 40125, a.legacy())
	assert.Equal(t, []int{1, 1}, []int{a.Calls("/cgi-bin/stable_token"), a.Calls("/cgi-bin/token")})
	assert.Zero(t, a.Calls("*"))
}

// A fault without effect, or one that would break the server, is a mistake in the test.
func TestInvalidFaultPanics(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	assert.PanicsWithValue(t, "wechatusertest: FailNext: a fault with an errcode needs a Code",
		func() { a.FailNext("*", 0, 1) })
	assert.PanicsWithValue(t,
		"wechatusertest: FailNextHTTP: a fault with an HTTP status needs a Status from 200 to 599, not 0",
		func() { a.FailNextHTTP("*", 0, "", 1) })
	assert.PanicsWithValue(t, "wechatusertest: RefuseProfiles: the code must not be 0",
		func() { a.RefuseProfiles(0, "oFAKE") })
	assert.Empty(t, a.Faults())
}

// After does not count calls hit by an earlier fault.
func TestFaultsApplyInOrder(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuirks(wechatusertest.Quirks{SystemBusy: 1}))
	a.Fault(wechatusertest.Fault{Kind: wechatusertest.FaultErrcode, Code: 48001, Times: 2})
	a.Fault(wechatusertest.Fault{Kind: wechatusertest.FaultErrcode, Code: 48004, After: 1, Times: 1})
	for _, want := range []int{48001, 48001, -1, 48004, -1} {
		assertCode(t, want, a.get("/cgi-bin/tags/get"))
	}
}

// 45171 lists the openids that were not processed. All others were.
func TestFailOpenIDs(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(3))
	vip := a.AddTag("vip")
	a.FailOpenIDs(2, wechatusertest.OpenID(1))
	body := a.post(taggingPath, tagging(vip, ids(3)...))
	assert.Contains(t, assertCode(t, 45171, body), "some openid fail hint: [")
	assert.Contains(t, body, `,"fail_openid_list":`+array(wechatusertest.OpenID(1))+`}`)
	assert.Equal(t, []string{wechatusertest.OpenID(0), wechatusertest.OpenID(2)}, a.TagFans(vip))

	assert.Equal(t, ok, a.post(untaggingPath, tagging(vip, wechatusertest.OpenID(2))),
		"a call without these openids succeeds and is not counted")
	assertCode(t, 45171, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(1))))
	assert.Equal(t, ok, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(1))))
	assert.Equal(t, ids(2), a.TagFans(vip))

	a.FailOpenIDs(1, wechatusertest.OpenID(2))
	a.FailOpenIDs(0)
	a.FailNext(taggingPath, wechatuser.CodeSomeOpenIDsFailed, 1)
	body = a.post(taggingPath, tagging(vip, wechatusertest.OpenID(2)))
	assert.Contains(t, body, `,"fail_openid_list":`+array(wechatusertest.OpenID(2))+`}`)
	assert.Equal(t, ids(2), a.TagFans(vip))
	assert.Equal(t, ok, a.post(taggingPath, tagging(vip, wechatusertest.OpenID(2))))
}

// A single unavailable profile fails the whole batch, and a bulk job finds out which one it is.
func TestRefuseProfiles(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(100))
	one := wechatusertest.OpenID(42)
	a.RefuseProfiles(wechatuser.CodeOpenIDMismatch, one, "oFAKEnobody")
	assertCode(t, 49003, a.get("/cgi-bin/user/info", "openid", one))
	assertCode(t, 49003, a.get("/cgi-bin/user/info", "openid", "oFAKEnobody"))
	assertCode(t, 49003, a.post("/cgi-bin/user/info/batchget", userList(ids(100)...)))
	assert.NotContains(t, a.get("/cgi-bin/user/info", "openid", wechatusertest.OpenID(41)), "errcode")
	assert.Equal(t, ids(100), a.OpenIDs(), "the user still follows")

	read := 0
	for _, err := range a.Client().BulkUserInfo(t.Context(), wechatuser.OpenIDs(ids(100)...)) {
		var failed *wechatuser.OpenIDError
		if errors.As(err, &failed) {
			assert.Equal(t, one, failed.OpenID)
			require.ErrorIs(t, err, wechatuser.CodeOpenIDMismatch)
			continue
		}
		require.NoError(t, err)
		read++
	}
	assert.Equal(t, 99, read)

	a.RefuseProfiles(wechatuser.CodeOpenIDMismatch)
	assert.NotContains(t, a.get("/cgi-bin/user/info", "openid", one), "errcode")
	a.RefuseProfiles(wechatuser.CodeOpenIDMismatch, one)
	a.ClearFaults()
	assert.NotContains(t, a.get("/cgi-bin/user/info", "openid", one), "errcode")
}

func TestFailNextHTTP(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.FailNextHTTP("/cgi-bin/tags/get", http.StatusBadGateway, "<html>502 Bad Gateway</html>", 1)
	w := a.do(http.MethodGet, "/cgi-bin/tags/get", nil, "")
	assert.Equal(t, http.StatusBadGateway, w.Code)
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "<html>502 Bad Gateway</html>", w.Body.String())
	assertCode(t, 41001, a.do(http.MethodGet, "/cgi-bin/tags/get", nil, "").Body.String())
}

func TestDrops(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer()
	defer srv.Close()
	socket := &http.Transport{}
	defer socket.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"socket": socket, "process": srv.Transport()} {
		hc := &http.Client{Transport: rt}
		send := func(body string) error {
			resp, err := hc.Post(srv.URL+"/cgi-bin/tags/create?access_token="+srv.AccessToken(),
				"application/json", strings.NewReader(body))
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				assert.NoError(t, resp.Body.Close())
			}
			return err
		}
		tags, calls := len(srv.Tags()), srv.Calls("*")
		require.NoError(t, send("{}"), "so that the next request reuses the connection")
		srv.DropRequests("/cgi-bin/tags/create", 1)
		require.ErrorIs(t, send(`{"tag":{"name":"dropped `+name+`"}}`), io.ErrUnexpectedEOF)
		assert.Len(t, srv.Tags(), tags)
		srv.DropAnswers("*", 1)
		require.ErrorIs(t, send(`{"tag":{"name":"`+name+`"}}`), io.ErrUnexpectedEOF)
		assert.Len(t, srv.Tags(), tags+1, "it was carried out")
		assert.Equal(t, calls+3, srv.Calls("*"))
	}

	// net/http retries a GET if a reused connection ends without a byte. It must not do so here.
	get := func() error {
		resp, err := (&http.Client{Transport: socket}).Get(srv.URL + "/cgi-bin/user/get")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			assert.NoError(t, resp.Body.Close())
		}
		return err
	}
	require.NoError(t, get())
	srv.DropAnswers("/cgi-bin/user/get", 1)
	require.ErrorIs(t, get(), io.ErrUnexpectedEOF)
	assert.Equal(t, 2, srv.Calls("/cgi-bin/user/get"))
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener()), t}
		took := func(path string) time.Duration {
			begin := time.Now()
			a.do(http.MethodGet, path, nil, "")
			return time.Since(begin)
		}
		a.Delay("*", time.Second)
		a.Delay("/cgi-bin/tags/get", time.Minute)
		assert.Equal(t, time.Minute, took("/cgi-bin/tags/get"))
		assert.Equal(t, time.Minute, took("/cgi-bin/tags/get"))
		assert.Equal(t, time.Second, took("/cgi-bin/user/get"))
		assert.Zero(t, took("/cgi-bin/token"))
		a.Delay("", 0)
		a.Delay("/cgi-bin/token", time.Hour)
		assert.Zero(t, took("/cgi-bin/user/get"))
		assert.Equal(t, time.Hour, took("/cgi-bin/token"))
	})
}

func TestDelayEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
		srv.Delay("/cgi-bin/tags/create", time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost,
			srv.URL+"/cgi-bin/tags/create?access_token="+srv.AccessToken(), strings.NewReader(`{"tag":{"name":"vip"}}`))
		require.NoError(t, err)
		begin := time.Now()
		_, err = srv.Transport().RoundTrip(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Empty(t, srv.Tags(), "it was not carried out")
		assert.Equal(t, 1, srv.Calls("/cgi-bin/tags/create"))
	})
}

func TestFault(t *testing.T) {
	t.Parallel()
	const tags, users = "/cgi-bin/tags/get", "/cgi-bin/user/get"
	a := newAccount(t)
	errcode := func(path string) int {
		var resp struct{ Errcode int }
		require.NoError(t, json.Unmarshal([]byte(a.get(path)), &resp))
		return resp.Errcode
	}
	busy := wechatusertest.Fault{Path: tags, Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy}

	second := busy
	second.After, second.Times = 1, 2
	a.Fault(second)
	assert.Equal(t, []int{0, -1, -1, 0}, []int{errcode(tags), errcode(tags), errcode(tags), errcode(tags)})
	assert.Empty(t, a.Faults())

	endless := busy
	endless.Path, endless.Code = "*", wechatuser.CodeAPIForbidden
	a.Fault(endless)
	busy.Times = 2
	a.Fault(busy)
	assert.Equal(t, []int{-1, 48004}, []int{errcode(tags), errcode(users)}, "faults of the path take precedence")
	busy.Times = 1
	assert.Equal(t, []wechatusertest.Fault{endless, busy}, a.Faults())
	a.Delay(tags, time.Hour)
	a.FailOpenIDs(1, "oFAKE")
	a.ClearFaults()
	assert.Equal(t, []int{0, 0}, []int{errcode(tags), errcode(users)})
	assert.Empty(t, a.Faults())
}

// The kinds of faults look the same in the process and over a socket.
func TestFaultKinds(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer()
	defer srv.Close()
	socket := &http.Transport{}
	defer socket.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"socket": socket, "process": srv.Transport()} {
		send := func(tag string, f wechatusertest.Fault) (status int, body string, err error) {
			f.Path, f.Times = "*", 1
			srv.Fault(f)
			resp, err := (&http.Client{Transport: rt}).Post(srv.URL+"/cgi-bin/tags/create?access_token="+
				srv.AccessToken(),
				"application/json", strings.NewReader(fmt.Sprintf(`{"tag":{"name":%q}}`, name+tag)))
			if err != nil {
				return 0, "", err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b), err
		}
		tags := len(srv.Tags())

		status, body, err := send("a", wechatusertest.Fault{Kind: wechatusertest.FaultCutBody})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, 200, status)
		assert.Regexp(t, `^\{"tag":\{"id":\d+`, body)
		assert.NotContains(t, body, "}")

		_, body, err = send("b", wechatusertest.Fault{Kind: wechatusertest.FaultGarbage})
		require.NoError(t, err)
		assert.False(t, json.Valid([]byte(body)))
		_, body, err = send("c", wechatusertest.Fault{Kind: wechatusertest.FaultGarbage, Body: "null"})
		require.NoError(t, err)
		assert.Equal(t, "null", body)
		_, body, err = send("d", wechatusertest.Fault{Kind: wechatusertest.FaultDelay, Delay: 1})
		require.NoError(t, err)
		assert.Contains(t, body, name+"d")
		assert.Len(t, srv.Tags(), tags+4, "all calls were carried out")

		status, body, err = send("e",
			wechatusertest.Fault{Kind: wechatusertest.FaultHTTP, Status: 429, Body: "slow down"})
		require.NoError(t, err)
		assert.Equal(t, []any{429, "slow down"}, []any{status, body})
		assert.Len(t, srv.Tags(), tags+4)
	}
}

func TestFaultDelayAddsToDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener()), t}
		a.Delay("*", time.Second)
		a.Fault(wechatusertest.Fault{Kind: wechatusertest.FaultErrcode, Code: -1, Delay: time.Minute, Times: 1})
		begin := time.Now()
		assertCode(t, -1, a.get("/cgi-bin/tags/get"))
		assert.Equal(t, time.Minute+time.Second, time.Since(begin))
	})
}

func TestFaultProbability(t *testing.T) {
	t.Parallel()
	calls := func(seed uint64) string {
		a := newAccount(t, wechatusertest.WithSeed(seed))
		a.Fault(wechatusertest.Fault{Kind: wechatusertest.FaultErrcode, Code: -1, Probability: 0.3, Times: 20})
		var marks strings.Builder
		for range 200 {
			if strings.Contains(a.get("/cgi-bin/tags/get"), "errcode") {
				marks.WriteString("x")
			} else {
				marks.WriteString(".")
			}
		}
		return marks.String()
	}
	assert.Equal(t, 20, strings.Count(calls(1), "x"))
	assert.Equal(t, calls(1), calls(1))
	assert.NotEqual(t, calls(1), calls(2))
}

// The platform fails some calls with -1 for minutes: reports of 2023-11 and 2024-08 speak of ten minutes and of hours.
func TestFaultThatLasts(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.Fault(wechatusertest.Fault{Path: "getTags", Kind: wechatusertest.FaultErrcode, Code: -1, For: 10 * time.Minute})
	a.Advance(time.Hour)
	assertCode(t, -1, a.get("/cgi-bin/tags/get"))
	a.Advance(10*time.Minute - time.Second)
	assertCode(t, -1, a.get("/cgi-bin/tags/get"))
	assert.Len(t, a.Faults(), 1)
	a.Advance(time.Second)
	assert.Empty(t, a.Faults())
	assert.Contains(t, a.get("/cgi-bin/tags/get"), "tags")
}

func TestFaultCheck(t *testing.T) {
	t.Parallel()
	const kind = wechatusertest.FaultDropAnswer
	for want, f := range map[string]wechatusertest.Fault{
		`unknown kind of fault ""`:                                {},
		"a fault with an errcode needs a Code":                    {Kind: wechatusertest.FaultErrcode},
		"a fault with a delay needs a Delay":                      {Kind: wechatusertest.FaultDelay},
		"needs a Status from 200 to 599, not 0":                   {Kind: wechatusertest.FaultHTTP},
		"the Probability of a fault must be from 0 to 1, not 1.5": {Kind: kind, Probability: 1.5},
		"a fault's After, Times, Delay and For must not be":       {Kind: kind, For: -1},
		`the nearest one is "/cgi-bin/user/tag/get"`:              {Kind: kind, Path: "/cgi-bin/user/tags/get"},
		`the nearest one is "/cgi-bin/openapi/rid/get"`:           {Kind: kind, Path: "/openapi/rid/get"},
	} {
		require.ErrorContains(t, f.Check(), want)
		assert.Panics(t, func() { newAccount(t).Fault(f) })
	}
}

func TestFaultString(t *testing.T) {
	t.Parallel()
	f := wechatusertest.Fault{
		Kind: wechatusertest.FaultErrcode, Path: "/cgi-bin/user/get", Code: -1,
		Times: 3, Probability: 0.5, After: 2, Delay: time.Second, For: time.Minute,
	}
	require.NoError(t, f.Check())
	assert.Equal(t,
		"errcode -1 after 1s to 3 calls of /cgi-bin/user/get for 1m0s, skipping the first 2, with probability 0.5",
		f.String())
	assert.Equal(t, "http 502 to all calls", wechatusertest.Fault{Kind: wechatusertest.FaultHTTP, Status: 502}.String())
}
