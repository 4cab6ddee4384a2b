package wechatusertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	vip := a.AddTag("vip")
	assert.Empty(t, a.Requests())
	token := a.AccessToken()
	a.post(taggingPath, tagging(vip, ids(2)...))
	a.Advance(time.Minute)
	msg := assertCode(t, 40003, a.get("/cgi-bin/user/info", "openid", "oFAKEnobody"))
	a.FailNextHTTP("/cgi-bin/tags/get", 502, "", 1)
	a.get("/cgi-bin/tags/get")
	a.do(http.MethodGet, "/cgi-bin/nothing", nil, "")
	a.stable(false)

	masked := url.Values{"access_token": {token[:6] + "xxxx"}}
	all := a.Requests()
	require.Len(t, all, 5)
	assert.Equal(t, wechatusertest.Request{
		Time: start, API: "batchTagging", Method: http.MethodPost, Path: taggingPath, Query: masked,
		Body: map[string]any{
			"openid_list": []any{wechatusertest.OpenID(0), wechatusertest.OpenID(1)}, "tagid": 100.0,
		},
		ClientIP: "192.0.2.1", Status: 200,
	}, all[0])
	assert.Equal(t, wechatusertest.Request{
		Time: start.Add(time.Minute), API: "userInfo", Method: http.MethodGet, Path: "/cgi-bin/user/info",
		Query:    url.Values{"access_token": masked["access_token"], "openid": {"oFAKEnobody"}},
		ClientIP: "192.0.2.1", Status: 200, Errcode: wechatuser.CodeInvalidOpenID, RID: ridOf(t, msg),
	}, all[1])
	assert.Equal(t, []any{"getTags", 502, wechatusertest.FaultHTTP}, []any{all[2].API, all[2].Status, all[2].Fault})
	assert.Equal(t, []any{"", "/cgi-bin/nothing", wechatuser.Code(40066)},
		[]any{all[3].API, all[3].Path, all[3].Errcode})
	assert.Equal(t, "xxxx", all[4].Body["secret"])

	assert.Equal(t, all[:1], a.Requests(taggingPath))
	assert.Equal(t, all[:4], a.Requests("*"))
	assert.Equal(t, all[1:3], a.Requests("/cgi-bin/user/info", "/cgi-bin/tags/get"))

	encoded, err := json.Marshal(all)
	require.NoError(t, err)
	var decoded []wechatusertest.Request
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	assert.Equal(t, all, decoded)
	assert.Equal(t, all, a.Requests(), "Requests returns copies")
}

// Calls without a response are logged too: one whose connection ended, and one that was canceled during a delay.
func TestRequestsWithoutResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
		send := func(timeout time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost,
				srv.URL+"/cgi-bin/tags/create?access_token="+srv.AccessToken(), strings.NewReader(`{"tag":{}}`))
			require.NoError(t, err)
			_, err = srv.Transport().RoundTrip(req) //nolint:bodyclose // there is none
			return err
		}
		srv.DropAnswers("*", 1)
		require.ErrorIs(t, send(time.Second), io.ErrUnexpectedEOF)
		srv.Delay("*", time.Hour)
		require.ErrorIs(t, send(time.Second), context.DeadlineExceeded)

		got := srv.Requests()
		require.Len(t, got, 2)
		assert.Equal(t, []any{0, wechatuser.CodeInvalidTagName, wechatusertest.FaultDropAnswer},
			[]any{got[0].Status, got[0].Errcode, got[0].Fault})
		assert.Equal(t, []any{0, wechatuser.Code(0), time.Second},
			[]any{got[1].Status, got[1].Errcode, got[1].Duration})
	})
}

// The simulator and the client have the same names, methods and paths.
func TestRequestsHaveTheNamesOfTheClient(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	var names []string
	type next = func(context.Context) (wechatuser.Result, error)
	record := func(ctx context.Context, call wechatuser.Call, next next) (wechatuser.Result, error) {
		names = append(names, call.API+" "+call.Method+" "+call.Path)
		return next(ctx)
	}
	c := a.Client(wechatuser.WithInterceptor(record))
	ctx, id := t.Context(), wechatusertest.OpenID(0)
	_, _ = c.GetUserInfo(ctx, id)
	_, _ = c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: id}})
	_, _ = c.GetFans(ctx, "")
	_ = c.UpdateRemark(ctx, id, "x")
	_, _ = c.ChangeOpenID(ctx, "wx", []string{id})
	tag, err := c.CreateTag(ctx, "vip")
	require.NoError(t, err)
	_, _ = c.GetTags(ctx)
	_ = c.UpdateTag(ctx, tag.ID, "new")
	_ = c.BatchTagging(ctx, tag.ID, []string{id})
	_, _ = c.GetTagFans(ctx, tag.ID, "")
	_, _ = c.GetTagIDList(ctx, id)
	_ = c.BatchUntagging(ctx, tag.ID, []string{id})
	_ = c.DeleteTag(ctx, tag.ID)
	_, _ = c.GetBlacklist(ctx, "")
	_ = c.BatchBlacklist(ctx, []string{id})
	_ = c.BatchUnblacklist(ctx, []string{id})
	var got []string
	for _, r := range a.Requests() {
		got = append(got, r.API+" "+r.Method+" "+r.Path)
	}
	assert.Len(t, got, 17, "all calls of user management, and the token request")
	assert.ElementsMatch(t, names, got)
}

func TestRequestLogIsBounded(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{0: 0, 3: 3, 100: 10} {
		a := newAccount(t, wechatusertest.WithRequestLog(n))
		for i := range 10 {
			a.get("/cgi-bin/user/info", "openid", fmt.Sprint(i))
		}
		got := a.Requests()
		require.Len(t, got, want)
		for i, r := range got {
			assert.Equal(t, fmt.Sprint(10-want+i), r.Query.Get("openid"), "oldest first")
		}
		assert.Equal(t, 10, a.Calls("*"))
	}
	a := newAccount(t)
	a.post("/cgi-bin/tags/create", `{"x":"`+strings.Repeat("x", 17<<10)+`"}`)
	assert.Nil(t, a.Requests()[0].Body)
}

// The hook gets the same requests as Requests returns, and can call the server.
func TestRequestHook(t *testing.T) {
	t.Parallel()
	var (
		mu  sync.Mutex
		got []wechatusertest.Request
		srv *wechatusertest.Server
	)
	hook := func(r wechatusertest.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
		srv.Calls("*")
	}
	srv = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithRequestHook(hook))
	_, err := srv.Client().GetTags(t.Context())
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, got, 2)
	assert.Equal(t, srv.Requests(), got)
}
