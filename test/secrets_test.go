package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// assertClean fails if a text shows the beginning or end of the token or the secret, as text or in hex.
func assertClean(t *testing.T, text string) {
	t.Helper()
	hexed := hex.EncodeToString([]byte(testutil.Sentinel))
	for _, form := range []string{testutil.Sentinel, hexed, strings.ToUpper(hexed)} {
		assert.NotContains(t, text, form)
	}
}

// assertCleanValue checks a value printed in every way.
func assertCleanValue(t *testing.T, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%d", "%x", "%X", "%p"} {
		assertClean(t, fmt.Sprintf(verb, v))
	}
	if data, err := json.Marshal(v); err == nil {
		assertClean(t, string(data))
	}
	for _, handler := range []func(io.Writer, *slog.HandlerOptions) slog.Handler{
		func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) },
		func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log, nil)).Error("failed", "value", v)
		assertClean(t, log.String())
	}
}

// assertCleanError does so for an error and each error in its chain.
func assertCleanError(t *testing.T, err error) {
	t.Helper()
	assertCleanValue(t, err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			assertCleanError(t, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			assertCleanError(t, inner)
		}
	}
}

// Errors of a transport that show the request's URL, each in another way.
type (
	openError  struct{ Message string }  // in its text
	fieldError struct{ URL string }      // in a field
	valueError struct{ url string }      // in a field of a value
	quietError struct{ cause error }     // in what it wraps
	groupError struct{ causes []error }  // in one of several that it wraps
	stackError struct{ request string }  // with %+v
	deepError  struct{ req *url.URL }    // behind a pointer
	loudError  struct{ text func() any } // in a text that a function returns
)

func (e *openError) Error() string { return e.Message }

func (*fieldError) Error() string { return "request failed" }

func (valueError) Error() string { return "request failed" }

func (*quietError) Error() string { return "request failed" }

func (e *quietError) Unwrap() error { return e.cause }

func (*groupError) Error() string { return "requests failed" }

func (e *groupError) Unwrap() []error { return e.causes }

func (*stackError) Error() string { return "request failed" }

func (e *deepError) Error() string { return "request failed" }

func (e *loudError) Error() string { return fmt.Sprint(e.text()) }

func (e *stackError) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, e.Error())
	if f.Flag('+') {
		_, _ = io.WriteString(f, ": "+e.request)
	}
}

// echoes are the forms in which a text can quote a URL.
var echoes = []func(u string) string{
	func(u string) string { return u },
	unescaped,
	func(u string) string { quoted, _ := json.Marshal(unescaped(u)); return string(quoted) },
	func(u string) string { return strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d").Replace(u) },
	func(u string) string { return url.PathEscape(unescaped(u)) },
	func(string) string { return "access_token=" + testutil.Token[:20] }, // cut
}

func unescaped(u string) string {
	plain, _ := url.QueryUnescape(u)
	return plain
}

// faults returns transports that fail in all ways, with the secrets in the error or the response.
func faults(t *testing.T) map[string]http.RoundTripper {
	t.Helper()
	fail := func(err func(*http.Request) error) http.RoundTripper {
		return testutil.Play(func(req *http.Request) (*http.Response, error) { return nil, err(req) })
	}
	all := map[string]http.RoundTripper{
		"text":  fail(func(r *http.Request) error { return errors.New("GET " + r.URL.String() + " failed") }),
		"field": fail(func(r *http.Request) error { return &fieldError{r.URL.String()} }),
		"value": fail(func(r *http.Request) error { return valueError{r.URL.String()} }),
		"quiet": fail(func(r *http.Request) error { return &quietError{errors.New(r.URL.String())} }),
		"quiet of quiet": fail(func(r *http.Request) error {
			return fmt.Errorf("a: %w", &quietError{&quietError{&fieldError{r.URL.String()}}})
		}),
		"group":   fail(func(r *http.Request) error { return &groupError{[]error{nil, io.EOF, errors.New(r.URL.String())}} }),
		"stack":   fail(func(r *http.Request) error { return &stackError{r.URL.String()} }),
		"deep":    fail(func(r *http.Request) error { return &deepError{r.URL} }),
		"loud":    fail(func(r *http.Request) error { return &loudError{func() any { return r.URL }} }),
		"wrapped": fail(func(r *http.Request) error { return fmt.Errorf("proxy: %w", &openError{r.URL.String()}) }),
		"joined":  fail(func(r *http.Request) error { return errors.Join(io.EOF, &openError{r.URL.String()}) }),
		"url.Error": fail(func(r *http.Request) error {
			return &url.Error{Op: "Get", URL: r.URL.String(), Err: context.DeadlineExceeded}
		}),
		"url.Error inside": fail(func(r *http.Request) error {
			return fmt.Errorf("retried: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: io.EOF})
		}),
		"DNS":     fail(func(*http.Request) error { return &net.DNSError{Err: "no such host", Name: "api.weixin.qq.com"} }),
		"body":    fail(func(r *http.Request) error { return fmt.Errorf("cannot send %q", bodyOf(r)) }),
		"timeout": testutil.Play(testutil.Hang),
		"redirect": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(302, "", "Location", "https://example.com/?from="+url.QueryEscape(r.URL.String()))(r)
		}),
		"redirect to nowhere": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(307, "", "Location", "https://[::1/%zz?"+r.URL.RawQuery)(r)
		}),
		"header": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(403, "", "Content-Type", "text/html; url="+r.URL.String(), "Retry-After", r.URL.String(), "Server", r.URL.String())(r)
		}),
		"status text": testutil.Play(func(r *http.Request) (*http.Response, error) {
			resp, err := testutil.Respond(403, "")(r)
			resp.Status = "403 " + r.URL.String()
			return resp, err
		}),
		"body that fails": testutil.Play(func(r *http.Request) (*http.Response, error) {
			resp, err := testutil.RespondJSON(testutil.OKBody)(r)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.OKBody[:5]), failingReader{&quietError{errors.New(r.URL.String())}}))
			return resp, err
		}),
		"new token, cut":         testutil.Play(testutil.RespondJSON(testutil.TokenBody[:len(testutil.TokenBody)-1])),
		"new token with 500":     testutil.Play(testutil.Respond(500, testutil.TokenBody)),
		"new token in HTML":      testutil.Play(testutil.Respond(200, "<pre>"+testutil.TokenBody)),
		"new token, wrong type":  testutil.Play(testutil.RespondJSON(`{"access_token":"` + testutil.Token + `","expires_in":"soon"}`)),
		"new token, no lifetime": testutil.Play(testutil.RespondJSON(`{"access_token":"` + testutil.Token + `"}`)),
		"new token as text":      testutil.Play(testutil.RespondJSON(`"` + testutil.Token + `"`)),
		"new token in an array":  testutil.Play(testutil.RespondJSON(`[` + testutil.TokenBody + `]`)),
		"httpmock":               httpmock.NewMockTransport(),
	}
	for i, echoed := range echoes {
		echo := func(format string) testutil.Reply {
			return func(r *http.Request) (*http.Response, error) {
				quoted, _ := json.Marshal(echoed(r.URL.String()) + " " + bodyOf(r))
				return testutil.Respond(200, fmt.Sprintf(format, strings.ReplaceAll(string(quoted[1:len(quoted)-1]), "/", `\/`)))(r)
			}
		}
		all[fmt.Sprint("errmsg ", i)] = testutil.Play(echo(`{"errcode":48001,"errmsg":"%s"}`))
		all[fmt.Sprint("hint ", i)] = testutil.Play(echo(`{"errcode":48001,"errmsg":"no hint: [%s]"}`))
		all[fmt.Sprint("list ", i)] = testutil.Play(echo(`{"errcode":45171,"errmsg":"some","fail_openid_list":["%s"]}`))
		all[fmt.Sprint("JSON ", i)] = testutil.Play(echo(`{"message":"%s"}`))
		all[fmt.Sprint("page ", i)] = testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(502, "<p>"+echoed(r.URL.String())+"</p>"+bodyOf(r))(r)
		})
	}
	nearMiss := httpmock.NewMockTransport()
	nearMiss.RegisterResponder("DELETE", `=~^https://api\.weixin\.qq\.com/`, httpmock.NewStringResponder(200, testutil.OKBody))
	all["httpmock, near miss"] = nearMiss
	return all
}

// bodyOf returns the body of a request.
func bodyOf(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	data, _ := io.ReadAll(body)
	return string(data)
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestNoSecretLeaks(t *testing.T) {
	calls := []testutil.APICall{
		testutil.CallOf(t, "GetTags"), testutil.CallOf(t, "UpdateRemark"), testutil.CallOf(t, "BatchTagging"), testutil.CallOf(t, "CreateTag"), testutil.CallOf(t, "GetRIDInfo"),
		testutil.CallOf(t, "ClearQuotaByAppSecret"), testutil.CallOf(t, "Token"), testutil.CallOf(t, "Token/WithLegacyToken"), testutil.CallOf(t, "RefreshToken"),
	}
	calls = append(calls, doCalls...)
	for name, transport := range faults(t) {
		for _, call := range calls {
			if strings.HasPrefix(name, "new token") && !call.IsTokenCall() {
				continue // only this code takes it
			}
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					c := call.NewClient(t, transport,
						wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2}),
						wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
						wechatuser.WithInterceptor(func(ctx context.Context, call wechatuser.Call, do testutil.Next) (wechatuser.Result, error) {
							assertCleanValue(t, call)
							res, err := do(ctx)
							assertCleanValue(t, res)
							assertCleanError(t, err)
							return res, err
						}))
					got, err := call.Do(t.Context(), c)
					if err == nil { // a fault of token requests only
						assert.Equal(t, testutil.CallOf(t, "UpdateRemark").Want, got)
						return
					}
					assertCleanError(t, err)
					assertClean(t, log.String())
					assert.Positive(t, log.Len())
					assertCleanValue(t, c)
					assertCleanValue(t, *c)

					var (
						open  *openError
						field *fieldError
						value valueError
						stack *stackError
						ue    *url.Error
					)
					if call.IsTokenCall() && !call.Legacy {
						return // there is no secret in the URL
					}
					assert.NotErrorAs(t, err, &open)
					assert.NotErrorAs(t, err, &field)
					assert.NotErrorAs(t, err, &value)
					assert.NotErrorAs(t, err, &stack)
					assert.NotErrorAs(t, err, &ue)
				})
			})
		}
	}
}

// doCalls are calls of an endpoint that has no method, with each kind of result.
var doCalls = []testutil.APICall{
	{Name: "Do", Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
		return nil, c.Do(ctx, wechatuser.Request{Path: "/cgi-bin/qrcode/create", Body: "x"}, nil)
	}},
	{Name: "Do of a struct", Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
		return nil, c.Do(ctx, wechatuser.Request{Path: "/cgi-bin/media/get", Idempotent: true}, &struct{ Message []int }{})
	}},
	{Name: "Do of a type that shows what it gets", Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
		return nil, c.Do(ctx, wechatuser.Request{Path: "/cgi-bin/media/get"}, new(loudValue))
	}},
}

// loudValue fails with what it is to be decoded from.
type loudValue struct{}

func (*loudValue) UnmarshalJSON(data []byte) error { return &fieldError{unescaped(string(data))} }

// A secret that comes from a source is redacted in the errors of the request that has it, and is kept nowhere.
func TestNoSecretOfASourceLeaks(t *testing.T) {
	calls := []testutil.APICall{
		testutil.CallOf(t, "ClearQuotaByAppSecret"), testutil.CallOf(t, "Token"), testutil.CallOf(t, "Token/WithLegacyToken"), testutil.CallOf(t, "RefreshToken"),
	}
	for name, transport := range faults(t) {
		for _, call := range calls {
			if strings.HasPrefix(name, "new token") && !call.IsTokenCall() {
				continue
			}
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					opts := []wechatuser.Option{
						wechatuser.WithTransport(transport), testutil.NoRetry,
						wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
						wechatuser.WithSecretSource(func(context.Context) (string, error) { return testutil.Secret, nil }),
					}
					if call.Legacy {
						opts = append(opts, wechatuser.WithLegacyToken())
					}
					c, err := wechatuser.New(testutil.AppID, "", opts...)
					require.NoError(t, err)
					if _, err = call.Do(t.Context(), c); err != nil {
						assertCleanError(t, err)
					}
					assertClean(t, log.String())
					assertCleanValue(t, c)
					assertCleanValue(t, *c)
				})
			})
		}
	}
}

// The same for the token that cloud hosting writes into a file.
func TestNoCloudTokenLeaks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(testutil.Token), 0o600))
	for name, transport := range faults(t) {
		if strings.HasPrefix(name, "new token") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(transport), wechatuser.WithCloudToken(file), testutil.NoRetry,
					wechatuser.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
				require.NoError(t, err)
				err = testutil.GetTags(t.Context(), c)
				require.Error(t, err)
				assertCleanError(t, err)
				assertClean(t, log.String())
			})
		})
	}
}

// An error of a transport without a secret is kept as it is.
func TestErrorsWithoutSecretsAreKept(t *testing.T) {
	for _, cause := range []error{&openError{"proxy https://proxy.example.com refused"}, &quietError{&openError{"no"}}, &groupError{[]error{&openError{"no"}}}} {
		err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(testutil.Fail(cause)), testutil.NoRetry))
		var open *openError
		require.ErrorAs(t, err, &open)
		require.ErrorIs(t, err, cause)
	}
}

// A redacted error still matches with errors.Is, and tells whether it was a timeout.
func TestRedactedErrors(t *testing.T) {
	cause := fmt.Errorf("GET https://api.weixin.qq.com/x?access_token=%s&openid=%s: %w", url.QueryEscape(testutil.Token), testutil.Alice, testutil.ErrReset)
	err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(testutil.Fail(cause)), testutil.NoRetry))
	require.ErrorIs(t, err, testutil.ErrReset)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, io.EOF)
	assert.EqualError(t, err, "wechatuser: getTags: no response to GET /cgi-bin/tags/get: GET *** connection reset by peer")
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.False(t, ne.Timeout())

	cause = fmt.Errorf("GET /x?access_token=%s&lang=en: %w", url.QueryEscape(testutil.Token), &net.DNSError{IsTimeout: true})
	err = testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(testutil.Fail(cause)), testutil.NoRetry))
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	assert.ErrorContains(t, err, "GET /x?access_token=***&lang=en: lookup")
}

// The token of another program is a secret too.
func TestSecretsOfOthersInAResponse(t *testing.T) {
	for body, want := range map[string]string{
		"see /x?access_token=70_OTHER-token&openid=o1 there":  "see /x?access_token=***&openid=o1 there",
		`see "/x?appid=wx&secret=OTHER%2B"!`:                  `see "/x?appid=wx&secret=***"!`,
		"(access_token=***)(access_token=A)(access_token=)":   "(access_token=***)(access_token=***)(access_token=)",
		"appsecret=A&secret=B access_token=C&access_token=D.": "appsecret=***&secret=*** access_token=***&access_token=***",
	} {
		_, err := testutil.NewClient(t, testutil.Play(testutil.Respond(404, body))).GetTags(t.Context())
		var re *wechatuser.ResponseError
		require.ErrorAs(t, err, &re)
		assert.Equal(t, want, re.Snippet)
	}
}

// The platform's record of a request contains the token of the request.
func TestRIDInfoIsRedacted(t *testing.T) {
	body := `{"errcode":0,"request":{"request_url":"access_token=50_OTHER&lang=en","request_body":"{\"secret\":\"` + testutil.Secret +
		`\"}","response_body":"appsecret=` + url.QueryEscape(testutil.Secret) + `"}}`
	info, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).GetRIDInfo(t.Context(), testutil.RID)
	require.NoError(t, err)
	assert.Equal(t, "access_token=***&lang=en", info.RequestURL)
	assert.Equal(t, `{"secret":"***"}`, info.RequestBody)
	assert.Equal(t, "appsecret=***", info.ResponseBody)
	assertCleanValue(t, info)
}

// The errors of a token source can contain a token.
func TestErrorsOfATokenSource(t *testing.T) {
	for name, source := range map[string]wechatuser.TokenSource{
		"Token": wechatuser.TokenSourceFunc(func(context.Context) (wechatuser.Token, error) {
			return wechatuser.Token{}, &quietError{errors.New(testutil.Secret)}
		}),
		"Invalidate": sourceThatFails{},
	} {
		t.Run(name, func(t *testing.T) {
			err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(testutil.RespondCode(40001)), wechatuser.WithTokenSource(source)))
			require.Error(t, err)
			assertCleanError(t, err)
		})
	}
}

type sourceThatFails struct{}

func (sourceThatFails) Token(context.Context) (wechatuser.Token, error) {
	return wechatuser.Token{AccessToken: testutil.Token}, nil
}

func (sourceThatFails) Invalidate(_ context.Context, rejected wechatuser.Token) error {
	return fmt.Errorf("DEL %s: %w", rejected.AccessToken, io.EOF)
}

// The same with real connections.
func TestNoSecretLeaksFromSockets(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = testutil.DiscardLog
	tlsServer.StartTLS()
	defer tlsServer.Close()
	hijacks := testutil.NewSocketServer(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%s\r\n\r\n", r.RequestURI, r.RequestURI)
	})
	proxy, err := url.Parse("http://me:" + url.QueryEscape(testutil.Secret) + "@" + hijacks.Listener.Addr().String())
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		base      string
		transport *http.Transport
	}{
		"certificate":  {tlsServer.URL, &http.Transport{}},
		"bad response": {hijacks.URL, &http.Transport{}},
		"proxy":        {"https://api.example.com", &http.Transport{Proxy: http.ProxyURL(proxy)}},
		"refused":      {"http://127.0.0.1:1", &http.Transport{}},
		"timeout": {"http://127.0.0.1:1", &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(2 * time.Millisecond)
			return nil, io.EOF
		}}},
	} {
		for _, call := range []testutil.APICall{testutil.CallOf(t, "GetTags"), testutil.CallOf(t, "ClearQuotaByAppSecret"), testutil.CallOf(t, "Token/WithLegacyToken")} {
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				defer tt.transport.CloseIdleConnections()
				opts := []wechatuser.Option{wechatuser.WithBaseURL(tt.base), testutil.NoRetry}
				if name == "timeout" {
					opts = append(opts, wechatuser.WithTimeout(time.Millisecond))
				}
				_, err := call.Do(t.Context(), call.NewClient(t, tt.transport, opts...))
				require.Error(t, err)
				assertCleanError(t, err)
			})
		}
	}
}
