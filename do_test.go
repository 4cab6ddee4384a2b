package wechatuser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const pathQRCode = "/cgi-bin/qrcode/create"

type qrCode struct {
	Ticket  string `json:"ticket"`
	Seconds int    `json:"expire_seconds"`
}

func TestDoOnTheWire(t *testing.T) {
	body := map[string]any{"action_name": "QR_STR_SCENE", "name": "大<&>\u2028"}
	const wrote = `{"action_name":"QR_STR_SCENE","name":"大<&>` + "\u2028" + `"}`
	for name, tt := range map[string]struct {
		req          wechatuser.Request
		method, body string
	}{
		"GET": {wechatuser.Request{Path: pathQRCode}, "GET", ""},
		"GET with arguments": {
			wechatuser.Request{Method: "GET", Path: pathQRCode, Query: url.Values{"lang": {"zh CN"}, "a": {"1", "2"}}},
			"GET", "",
		},
		"POST": {wechatuser.Request{Path: pathQRCode, Body: body}, "POST", wrote},
		"POST, with query": {
			wechatuser.Request{Method: "POST", Path: pathQRCode, Body: body, Query: url.Values{"next": {"/"}}},
			"POST",
			wrote,
		},
		"POST, no body": {wechatuser.Request{Method: "POST", Path: pathQRCode}, "POST", ""},
		"raw body":      {wechatuser.Request{Path: pathQRCode, Body: json.RawMessage(`{"a":1}`)}, "POST", `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
			require.NoError(t, testutil.NewClient(t, s).Do(t.Context(), tt.req, nil))
			require.Equal(t, 1, s.Count())
			got := s.Requests()[0]
			query := url.Values{"access_token": {testutil.Token}}
			for key, values := range tt.req.Query {
				query[key] = values
			}
			assert.Equal(t, tt.method, got.Method)
			assert.Equal(t, "api.weixin.qq.com", got.Host)
			assert.Equal(t, pathQRCode, got.Path)
			assert.Equal(t, query, got.Query)
			assert.Equal(t, tt.body, got.Body)
		})
	}
}

func TestDoDecodes(t *testing.T) {
	const body = `{"ticket":"T","expire_seconds":60}`
	png := "\x89PNG\r\n\x1a\n\x00{"
	var (
		code  qrCode
		ptr   *qrCode
		table map[string]any
		any_  any
		raw   json.RawMessage
		list  []int
		data  []byte
		full  = qrCode{Ticket: "old", Seconds: 1}
		text  string
	)
	for name, tt := range map[string]struct {
		body string
		out  any
		want any
	}{
		"struct":                 {body, &code, qrCode{"T", 60}},
		"pointer":                {body, &ptr, &qrCode{"T", 60}},
		"map":                    {body, &table, map[string]any{"ticket": "T", "expire_seconds": 60.0}},
		"any":                    {body, &any_, map[string]any{"ticket": "T", "expire_seconds": 60.0}},
		"RawMessage":             {" " + body + "\n", &raw, json.RawMessage(body)},
		"array":                  {`[1,2]`, &list, []int{1, 2}},
		"text":                   {`"a"`, &text, "a"},
		"bytes of JSON":          {body, &data, []byte(body)},
		"bytes of an image":      {png, &data, []byte(png)},
		"bytes that are no JSON": {`{\rtf1}`, &data, []byte(`{\rtf1}`)},
		"bytes of HTML":          {`<p>`, &data, []byte(`<p>`)},
		"what was there is lost": {`{"ticket":"new"}`, &full, qrCode{Ticket: "new"}},
		"errcode 0":              {`{"errcode":0,"errmsg":"ok","ticket":"T"}`, &code, qrCode{Ticket: "T"}},
		"control characters":     {"{\"ticket\":\"a\x01\n\"}", &code, qrCode{Ticket: "a\x01\n"}},
		"control, as RawMessage": {"{\"ticket\":\"a\x01\"}", &raw, json.RawMessage(`{"ticket":"a\u0001"}`)},
		"byte order mark":        {"\xef\xbb\xbf" + body, &code, qrCode{"T", 60}},
		"empty object":           {`{}`, &code, qrCode{}},
		"nothing wanted":         {body, nil, nil},
		"nothing wanted, empty":  {`{}`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.Play(testutil.Respond(200, tt.body, "Content-Type", "text/plain"))
			require.NoError(t, testutil.NewClient(t, s).Do(t.Context(), wechatuser.Request{Path: pathQRCode}, tt.out))
			switch out := tt.out.(type) {
			case *qrCode:
				assert.Equal(t, tt.want, *out)
			case **qrCode:
				assert.Equal(t, tt.want, *out)
			case *map[string]any:
				assert.Equal(t, tt.want, *out)
			case *any:
				assert.Equal(t, tt.want, *out)
			case *json.RawMessage:
				assert.Equal(t, tt.want, *out)
			case *[]int:
				assert.Equal(t, tt.want, *out)
			case *[]byte:
				assert.Equal(t, tt.want, *out)
			case *string:
				assert.Equal(t, tt.want, *out)
			}
		})
	}
}

// What is decoded shares no memory with the buffer of the response, which other responses use later.
func TestDoKeepsNoBuffer(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(`{"ticket":"first"}`), testutil.RespondJSON(`{"ticket":"XXXXX"}`))
	c := testutil.NewClient(t, s)
	var data []byte
	var raw json.RawMessage
	req := wechatuser.Request{Path: pathQRCode}
	require.NoError(t, c.Do(t.Context(), req, &data))
	for range 3 {
		require.NoError(t, c.Do(t.Context(), req, &raw))
	}
	assert.Equal(t, `{"ticket":"first"}`, string(data))
}

// An errcode is an error, whatever out is.
func TestDoErrcode(t *testing.T) {
	for name, out := range map[string]any{
		"nil": nil, "struct": &qrCode{Ticket: "old"}, "map": &map[string]any{}, "any": new(any), "bytes": &[]byte{1},
		"RawMessage": &json.RawMessage{1}, "array": &[]int{1},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := json.Marshal(out)
			s := testutil.Play(testutil.Respond(200,
				`{"errcode":48001,"errmsg":"api unauthorized rid: `+testutil.RID+`","ticket":7}`, "Content-Type",
				"image/jpg"))
			err := testutil.NewClient(t, s).Do(t.Context(),
				wechatuser.Request{API: "createQRCode", Path: pathQRCode, Idempotent: true}, out)
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "createQRCode", e.API)
			assert.Equal(t, testutil.RID, e.RID)
			require.ErrorIs(t, err, wechatuser.CodeAPIUnauthorized)
			require.ErrorIs(t, err, wechatuser.ErrPermission)
			assert.Equal(t, 1, s.Count())
			after, _ := json.Marshal(out)
			assert.Equal(t, string(before), string(after), "out was changed")
		})
	}
}

// A response that is JSON and does not fit would be the same again: it is an error at once, and shows no body.
func TestDoResponseThatDoesNotFit(t *testing.T) {
	for name, tt := range map[string]struct {
		body string
		out  any
		want string
	}{
		"text for a number": {
			`{"expire_seconds":"soon","ticket":"SECRETTICKET"}`, new(qrCode), "cannot unmarshal string",
		},
		"object for a list":    {`{"ticket":"SECRETTICKET"}`, new([]int), "cannot unmarshal object"},
		"list for nothing":     {`["SECRETTICKET"]`, nil, "it is not a JSON object"},
		"errcode of no number": {`{"errcode":"SECRETTICKET"}`, new(qrErrcode), "cannot unmarshal"},
		"a method that fails":  {`{"ticket":"SECRETTICKET"}`, new(picky), "not to my taste"},
	} {
		for _, idempotent := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := testutil.Play(testutil.RespondJSON(tt.body))
				err := testutil.NewClient(t, s).Do(t.Context(),
					wechatuser.Request{Path: pathQRCode, Idempotent: idempotent}, tt.out)
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re)
				assert.Contains(t, err.Error(),
					"wechatuser: /cgi-bin/qrcode/create: a response of another form: HTTP status 200")
				assert.ErrorContains(t, err, tt.want)
				assert.NotContains(t, err.Error(), "SECRETTICKET")
				assert.Empty(t, re.Snippet)
				assert.Equal(t, 1, s.Count())
				require.NotErrorIs(t, err, wechatuser.ErrTemporary)
				assert.Equal(t, !idempotent, errors.Is(err, wechatuser.ErrAmbiguous), "the platform has applied it")
			})
		}
	}
}

type qrErrcode struct {
	Errcode int `json:"errcode"`
}

type picky struct{}

func (*picky) UnmarshalJSON([]byte) error { return errors.New("not to my taste") }

// What is not the platform's is an error as in all other calls, and is retried only if that does no harm.
func TestDoRetries(t *testing.T) {
	var code qrCode
	for name, tt := range map[string]struct {
		reply              testutil.Reply
		out                any
		retried, unlimited bool // retried if Idempotent, retried in any case
	}{
		"HTML":               {testutil.Respond(200, "<html>SECRET", "Content-Type", "text/html"), &code, true, false},
		"HTML for nothing":   {testutil.Respond(200, "<html>"), nil, true, false},
		"cut off":            {testutil.RespondJSON(`{"ticket":`), &code, true, false},
		"empty":              {testutil.Respond(200, ""), &code, true, false},
		"empty bytes":        {testutil.Respond(200, ""), new([]byte), true, false},
		"empty for nothing":  {testutil.Respond(200, " "), nil, true, false},
		"null":               {testutil.RespondJSON(`null`), &code, true, false},
		"null as RawMessage": {testutil.RespondJSON(`null`), new(json.RawMessage), true, false},
		"not JSON":           {testutil.RespondJSON(`ok`), new(json.RawMessage), true, false},
		"502":                {testutil.Respond(502, "<html>"), &code, true, false},
		"502 as bytes":       {testutil.Respond(502, "image"), new([]byte), true, false},
		"404":                {testutil.Respond(404, "no"), new([]byte), false, false},
		"redirect":           {testutil.Respond(302, "", "Location", "https://example.com"), nil, false, false},
		"busy":               {testutil.RespondCode(-1), nil, true, false},
		"reset":              {testutil.Fail(testutil.ErrReset), nil, true, false},
		"daily quota":        {testutil.RespondCode(45009), nil, false, false},
		"never sent":         {testutil.Fail(&net.DNSError{Err: "no such host"}), nil, true, true},
		"concurrent tagging": {testutil.RespondCode(45169), nil, true, true},
		"too large":          {testutil.Respond(200, strings.Repeat(" ", 16<<20+1)), new([]byte), false, false},
		"some openids failed": {
			testutil.RespondJSON(`{"errcode":45171,"errmsg":"x","fail_openid_list":["o1"]}`), nil, false, false,
		},
	} {
		for _, idempotent := range []bool{false, true} {
			for _, method := range []string{"GET", "POST"} {
				if name == "too large" && (idempotent || method == "GET") {
					continue // 16 MiB each
				}
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := testutil.Play(tt.reply)
						req := wechatuser.Request{Method: method, Path: pathQRCode, Idempotent: idempotent}
						err := testutil.NewClient(t, s).Do(t.Context(), req, tt.out)
						require.Error(t, err)
						want := 1
						if tt.unlimited || tt.retried && idempotent {
							want = 3
						}
						assert.Equal(t, want, s.Count(), "%s, idempotent %t", method, idempotent)
						if tt.retried && !tt.unlimited {
							assert.Equal(t, !idempotent, errors.Is(err, wechatuser.ErrAmbiguous), "%v", err)
						} else {
							assert.Equal(t, name == "too large" && !idempotent, errors.Is(err, wechatuser.ErrAmbiguous),
								"%v", err)
						}
					})
				})
			}
		}
	}
}

// net/http sends a GET without a body again if a pooled connection breaks. It may not if that is not idempotent.
func TestDoAndRepetitionsByNetHTTP(t *testing.T) {
	for name, tt := range map[string]struct {
		call func(*wechatuser.Client) error
		once bool
	}{
		"GET": {func(c *wechatuser.Client) error {
			return c.Do(t.Context(), wechatuser.Request{Path: pathQRCode}, nil)
		}, true},
		"GET, idempotent": {func(c *wechatuser.Client) error {
			return c.Do(t.Context(), wechatuser.Request{Path: pathQRCode, Idempotent: true}, nil)
		}, false},
		"a call that reads": {func(c *wechatuser.Client) error { return testutil.GetTags(t.Context(), c) }, false},
	} {
		for _, opts := range [][]wechatuser.Option{nil, {testutil.NoRetry}} {
			c := testutil.NewClient(t, testutil.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
				assert.Equal(t, tt.once, r.Body != nil && r.GetBody == nil, name)
				assert.Empty(t, testutil.PeekBody(r), name)
				return testutil.RespondJSON(testutil.TagsBody)(r)
			}), opts...)
			require.NoError(t, tt.call(c), name)
		}
	}
}

// A request that must not be sent is found before anything is.
func TestDoArguments(t *testing.T) {
	var code qrCode
	badPaths := []string{
		"", "/", "cgi-bin/qrcode/create", "https://api.weixin.qq.com/cgi-bin/qrcode/create", "//example.com/x",
		"/cgi-bin//x",
		"/cgi-bin/x/", "/cgi-bin/../sns", "/cgi-bin/./x", "/..", "/cgi-bin/%2e%2e/x", "/cgi-bin/x?a=1", "/cgi-bin/x#a",
		"/cgi-bin/x;a",
		"/cgi-bin/x y", "/cgi-bin/x\n", "/cgi-bin/大", "/cgi-bin\\x", "/cgi-bin/x@host", "/cgi-bin/x:80",
		"/cgi-bin/access_token=T",
		"/sns/oauth2/access_token", "/sns/oauth2/Access-Token",
	}
	type test struct {
		field string
		req   wechatuser.Request
		out   any
	}
	var tests []test
	for _, path := range badPaths {
		tests = append(tests, test{"Path", wechatuser.Request{API: "x", Path: path}, nil})
	}
	for _, path := range []string{
		testutil.PathToken, testutil.PathStableToken, testutil.PathClearQuotaByAppSecret, "/cgi-bin/Token",
		"/CGI-BIN/stable_token",
	} {
		tests = append(tests, test{"Path", wechatuser.Request{Path: path}, nil})
	}
	for _, api := range []string{
		"getAccessToken", "getStableAccessToken", "GETACCESSTOKEN", "clearQuotaByAppSecret", "a b", "a\nb", "\xff",
	} {
		tests = append(tests, test{"API", wechatuser.Request{API: api, Path: pathQRCode}, nil})
	}
	for _, method := range []string{"get", "PUT", "DELETE", "HEAD", " GET"} {
		tests = append(tests, test{"Method", wechatuser.Request{Method: method, Path: pathQRCode}, nil})
	}
	for _, key := range []string{
		"access_token", "ACCESS_TOKEN", "Access_Token", "access-token", "accessToken", " access_token",
		"access_token[]", "component_access_token", "cloudbase_access_token",
	} {
		tests = append(tests, test{"Query", wechatuser.Request{Path: pathQRCode, Query: url.Values{key: {"T"}}}, nil})
	}
	tests = append(tests,
		test{"Body", wechatuser.Request{Method: "GET", Path: pathQRCode, Body: 1}, nil},
		test{"Body", wechatuser.Request{Path: pathQRCode, Body: make(chan int)}, nil},
	)
	for _, out := range []any{
		code, (*qrCode)(nil), 0, "",
		map[string]any{},
		[]byte{},
		json.RawMessage{},
		new(chan int), new(func()),
		new(complex64),
	} {
		tests = append(tests, test{"out", wechatuser.Request{Path: pathQRCode}, out})
	}
	s := testutil.Play(testutil.RespondJSON(testutil.OKBody))
	c := testutil.NewClient(t, s)
	for _, tt := range tests {
		err := c.Do(t.Context(), tt.req, tt.out)
		var ae *wechatuser.ArgumentError
		if assert.ErrorAs(t, err, &ae, "%+v %T", tt.req, tt.out) {
			assert.Equal(t, tt.field, ae.Field, "%+v", tt.req)
		}
	}
	assert.Zero(t, s.Count())
}

// Do goes through the same pipeline as all other calls: a rejected token is refreshed, interceptors and the limiter are
// told, and errors name the call.
func TestDoOnTheSimulator(t *testing.T) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	srv.Handle(pathQRCode, func(r wechatusertest.Request) any {
		return map[string]any{"ticket": r.Body["action_name"], "expire_seconds": 60}
	})
	var calls []wechatuser.Call
	waited := 0
	c := srv.Client(
		wechatuser.WithInterceptor(
			func(ctx context.Context, call wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
				calls = append(calls, call)
				return next(ctx)
			}),
		wechatuser.WithLimiter(waitFunc(func(context.Context) error { waited++; return nil })))
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)
	srv.ExpireTokens()
	calls, waited = nil, 0

	var code qrCode
	req := wechatuser.Request{
		API: "createQRCode", Path: pathQRCode, Body: map[string]string{"action_name": "QR_STR_SCENE"},
	}
	require.NoError(t, c.Do(t.Context(), req, &code))
	assert.Equal(t, qrCode{"QR_STR_SCENE", 60}, code)
	require.Len(t, calls, 2, "the call, and the token request inside it")
	assert.Equal(t, wechatuser.Call{API: "createQRCode", Method: "POST", Path: pathQRCode}, calls[0])
	assert.Equal(t, 1, waited)
	assert.Equal(t, 2, srv.Calls(pathQRCode), "the rejected attempt counts")

	srv.FailNext(pathQRCode, wechatuser.CodeSystemBusy, 1)
	require.ErrorIs(t, c.Do(t.Context(), req, &code), wechatuser.ErrAmbiguous)
	req.Idempotent = true
	srv.FailNext(pathQRCode, wechatuser.CodeSystemBusy, 1)
	require.NoError(t, c.Do(t.Context(), req, &code))
}

type waitFunc func(context.Context) error

func (f waitFunc) Wait(ctx context.Context) error { return f(ctx) }

// An interceptor may run a call twice at the same time. Each response is decoded on its own.
func TestDoTwiceAtOnce(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(`{"ticket":"T","expire_seconds":60}`))
	c := testutil.NewClient(t, s,
		wechatuser.WithInterceptor(
			func(ctx context.Context, _ wechatuser.Call, next testutil.Next) (wechatuser.Result, error) {
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = next(ctx) })
				defer wg.Wait()
				return next(ctx)
			}))
	var code qrCode
	require.NoError(t, c.Do(t.Context(), wechatuser.Request{Path: pathQRCode}, &code))
	assert.Equal(t, qrCode{"T", 60}, code)
	assert.Equal(t, 2, s.Count())
}

func TestDoWithHTTPMock(t *testing.T) {
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("GET", "https://api.weixin.qq.com/cgi-bin/media/get",
		httpmock.NewBytesResponder(200, []byte("image")))
	c := testutil.NewClient(t, mock, testutil.NoRetry)
	var image []byte
	require.NoError(t,
		c.Do(t.Context(), wechatuser.Request{Path: "/cgi-bin/media/get", Query: url.Values{"media_id": {"M"}}}, &image))
	assert.Equal(t, "image", string(image))

	err := c.Do(t.Context(), wechatuser.Request{Method: http.MethodPost, Path: "/cgi-bin/media/get"}, nil)
	require.ErrorContains(t, err, "wechatuser: /cgi-bin/media/get: no response to POST /cgi-bin/media/get")
	assert.ErrorContains(t, err, "no responder found")
}

// The token parameter of a third-party platform, and requests with credentials of their own.
func TestDoTokenParam(t *testing.T) {
	req := wechatuser.Request{Path: "/cgi-bin/component/api_x", TokenParam: "component_access_token"}
	s := testutil.Play(testutil.RespondJSON(testutil.OKBody), testutil.RespondJSON(testutil.OKBody))
	require.NoError(t, testutil.NewClient(t, s).Do(t.Context(), req, nil))
	require.NoError(t, testutil.NewClient(t, s).Do(t.Context(),
		wechatuser.Request{Path: req.Path, Body: struct{}{}, WithoutToken: true}, nil))
	require.Equal(t, 2, s.Count())
	assert.Equal(t, url.Values{"component_access_token": {testutil.Token}}, s.Requests()[0].Query)
	assert.Empty(t, s.Requests()[1].Query)

	for _, wrong := range []wechatuser.Request{
		{Path: req.Path, TokenParam: "token"},
		{Path: req.Path, TokenParam: "access_token&x"},
		{Path: req.Path, TokenParam: "access_token", WithoutToken: true},
	} {
		err := testutil.NewClient(t, s).Do(t.Context(), wrong, nil)
		assert.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
		assert.ErrorContains(t, err, "TokenParam")
	}
	assert.Equal(t, 2, s.Count(), "nothing more was sent")
}

// 40001 of a request without a token is about a credential in its body.
func TestDoWithoutTokenIsRejected(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(`{"errcode":40001,"errmsg":"invalid credential"}`))
	req := wechatuser.Request{Path: "/x", Body: struct{}{}, WithoutToken: true}
	err := testutil.NewClient(t, s).Do(t.Context(), req, nil)
	assert.ErrorIs(t, err, wechatuser.ErrCredential)
	assert.NotErrorIs(t, err, wechatuser.ErrInvalidToken)
	assert.Equal(t, 1, s.Count())
}

func TestDoShowsNoSecret(t *testing.T) {
	const secret, fresh = "SENTINEL-refresh-token", "SENTINEL-next-refresh-token"
	for name, respond := range map[string]func(*http.Request) (*http.Response, error){
		"errmsg":    testutil.RespondJSON(`{"errcode":61023,"errmsg":"refresh_token is invalid: ` + secret + `"}`),
		"cut body":  testutil.RespondJSON(`{"token":"` + fresh),
		"wrong":     testutil.RespondJSON(`{"expires_in":"` + fresh + `"}`),
		"HTML":      testutil.Respond(502, "<html><title>Bad</title>"+secret+fresh, "Content-Type", "text/html; x="+fresh),
		"transport": func(*http.Request) (*http.Response, error) { return nil, errors.New("sending " + secret) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				req := wechatuser.Request{
					Path: "/x", Body: map[string]string{"r": secret}, Secrets: []string{secret}, Idempotent: true,
				}
				err := testutil.NewClient(t, testutil.Play(respond)).Do(t.Context(), req, &struct {
					ExpiresIn int `json:"expires_in"`
				}{})
				require.Error(t, err)
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "SENTINEL")
			})
		})
	}
}

func TestRequestIsPrintedWithoutSecrets(t *testing.T) {
	const secret = "SENTINEL-refresh-token"
	req := wechatuser.Request{
		Path: "/x", Query: url.Values{"q": {secret}}, Body: map[string]string{"r": secret}, Secrets: []string{secret},
	}
	assert.Equal(t, "wechatuser.Request(POST /x)", req.String())
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("sending", "request", req)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q %x %v", req, req, req, req, req, req, &req), "SENTINEL")
	assert.NotContains(t, log.String(), "SENTINEL")
}
