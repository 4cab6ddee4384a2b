package wechatusertest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const qrPath = "/cgi-bin/qrcode/create"

func TestHandle(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	var answer any
	a.Handle(qrPath, func(wechatusertest.Request) any { return answer })
	for name, tt := range map[string]struct {
		answer any
		want   string
	}{
		"nothing": {nil, ok},
		"map":     {map[string]any{"url": "http://a/?b&c"}, `{"url":"http://a/?b&c"}`},
		"struct":  {struct{ Ticket string }{"T"}, `{"Ticket":"T"}`},
		"list":    {[]int{1}, `[1]`},
		"bytes":   {[]byte("{not JSON"), "{not JSON"},
		"empty":   {[]byte{}, ""},
	} {
		answer = tt.answer
		assert.Equal(t, tt.want, a.post(qrPath, `{"a":1}`), name)
	}
	for name, err := range map[string]error{
		"code": wechatuser.CodeSystemBusy, "error": &wechatuser.Error{Code: -1},
		"wrapped": errors.Join(wechatuser.CodeSystemBusy),
	} {
		answer = err
		assert.Contains(t, assertCode(t, -1, a.post(qrPath, "")), "system error rid: ", name)
	}
	answer = []byte("\x89PNG\r\n\x1a\n")
	w := a.do(http.MethodGet, qrPath, map[string][]string{"access_token": {a.AccessToken()}}, "")
	assert.Equal(t, "image/png", w.Header().Get("Content-Type"))

	answer = errors.New("gone")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://x"+qrPath+"?access_token="+a.AccessToken(), nil)
	require.NoError(t, err)
	_, err = a.Transport().RoundTrip(req) //nolint:bodyclose // there is none
	require.EqualError(t, err, "wechatusertest: no response: gone")

	answer = make(chan int)
	assert.Panics(t, func() { a.get(qrPath) })
	answer = nil
	assert.Equal(t, ok, a.get(qrPath), "the lock was released")
}

// The simulator checks the token and the quota first, applies faults, and counts.
func TestHandleComesAfterTheChecks(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithQuota("getTags", 2, 0))
	assertCode(t, 40066, a.get(qrPath))
	calls := 0
	count := func(r wechatusertest.Request) any {
		calls++
		assert.Equal(t, a.Calls(r.Path), calls+1, "it may call the server")
		assert.NotContains(t, r.Query.Get("access_token"), a.AccessToken())
		assert.Equal(t, map[string]any{"scene": "s", "secret": "xxxx"}, r.Body)
		return nil
	}
	a.Handle(qrPath, count)
	assertCode(t, 41001, a.do(http.MethodPost, qrPath, nil, "").Body.String())
	assert.Zero(t, calls)
	assert.Equal(t, ok, a.post(qrPath, `{"scene":"s","secret":"S"}`))
	assert.Equal(t, 1, calls)
	a.FailNext(qrPath, wechatuser.CodeSystemBusy, 1)
	assertCode(t, -1, a.get(qrPath))
	assert.Equal(t, 1, calls)
	assert.Equal(t, 3, a.Calls(qrPath))
	assert.Len(t, a.Requests(qrPath), 4, "one came before")
	assert.Equal(t, qrPath, a.Requests(qrPath)[1].API)

	// A path that the simulator knows.
	a.Handle("/cgi-bin/tags/get", func(wechatusertest.Request) any { return map[string]any{"tags": []int{}} })
	assertCode(t, 43001, a.post("/cgi-bin/tags/get", "{}"))
	assert.Equal(t, `{"tags":[]}`, a.get("/cgi-bin/tags/get"))
	assert.Equal(t, `{"tags":[]}`, a.get("/cgi-bin/tags/get"))
	assertCode(t, 45009, a.get("/cgi-bin/tags/get"))
	a.Handle("/cgi-bin/tags/delete", func(wechatusertest.Request) any { return nil })
	assertCode(t, 43002, a.get("/cgi-bin/tags/delete"))
	assert.Equal(t, ok, a.post("/cgi-bin/tags/delete", `{"tag":{"id":9}}`))

	// Undone.
	a.Handle(qrPath, nil)
	a.Handle(qrPath, nil)
	assertCode(t, 40066, a.get(qrPath))
	a.Handle("/cgi-bin/tags/delete", nil)
	assertCode(t, 45159, a.post("/cgi-bin/tags/delete", `{"tag":{"id":9}}`))

	for _, path := range []string{"", "qrcode", "/cgi-bin/token", "/cgi-bin/stable_token"} {
		assert.Panics(t, func() { a.Handle(path, count) }, path)
	}
}

// Faults of the response apply to any answer, whatever its form.
func TestHandleAndFaultsOfTheResponse(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.Handle(qrPath, func(wechatusertest.Request) any { return []byte("an image") })
	send := func(kind wechatusertest.FaultKind) (string, error) {
		a.Fault(wechatusertest.Fault{Path: qrPath, Kind: kind, Times: 1, Body: "{garbage"})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			"http://x"+qrPath+"?access_token="+a.AccessToken(), nil)
		require.NoError(t, err)
		resp, err := a.Transport().RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	_, err := send(wechatusertest.FaultDropAnswer)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	body, err := send(wechatusertest.FaultCutBody)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, "an i", body)
	body, err = send(wechatusertest.FaultGarbage)
	require.NoError(t, err)
	assert.Equal(t, "{garbage", body)
}

// https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/weixin/faq.html
func TestCloudHosting(t *testing.T) {
	t.Parallel()
	assert.Empty(t, newAccount(t).CloudToken())
	a := newAccount(t, wechatusertest.WithCloudHosting("/cgi-bin/tags/get"))
	call := func(path string, pairs ...string) (int, string) {
		query := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			query[pairs[i]] = []string{pairs[i+1]}
		}
		w := a.do(http.MethodGet, path, query, "")
		return w.Code, w.Body.String()
	}
	const tags, fans = "/cgi-bin/tags/get", "/cgi-bin/user/get"
	for name, tt := range map[string]struct {
		path  string
		pairs []string
		code  int // HTTP status, or errcode
	}{
		"no token":              {tags, nil, 200},
		"not allowed":           {fans, nil, 502},
		"of this account":       {tags, []string{"from_appid", a.AppID}, 200},
		"of another account":    {tags, []string{"from_appid", "wxOTHER"}, 48001},
		"cloud token":           {tags, []string{"cloudbase_access_token", a.CloudToken()}, 200},
		"cloud token elsewhere": {fans, []string{"cloudbase_access_token", a.CloudToken()}, 85107},
		"wrong cloud token":     {tags, []string{"cloudbase_access_token", "x"}, 40001},
		"access token":          {fans, []string{"access_token", a.AccessToken()}, 200},
		"wrong access token":    {tags, []string{"access_token", strings.Repeat("x", 20)}, 40001},
	} {
		status, body := call(tt.path, tt.pairs...)
		if tt.code > 1000 {
			assertCode(t, tt.code, body)
			continue
		}
		assert.Equal(t, tt.code, status, name)
		assert.NotContains(t, body, "errcode", name)
	}
}
