package secrets

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/accounts"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// assertCleanValue checks a value printed in every way.
func assertCleanValue(t *testing.T, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%d", "%x", "%X", "%p"} {
		testutil.AssertClean(t, fmt.Sprintf(verb, v))
	}
	if data, err := json.Marshal(v); err == nil {
		testutil.AssertClean(t, string(data))
	}
	for _, handler := range []func(io.Writer, *slog.HandlerOptions) slog.Handler{
		func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) },
		func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log, nil)).Error("failed", "value", v)
		testutil.AssertClean(t, log.String())
	}
}

// assertCleanError does so for an error and each error in its chain, and looks into them without their methods.
func assertCleanError(t *testing.T, err error) {
	t.Helper()
	assertCleanValue(t, err)
	for _, text := range testutil.Reach(err) {
		testutil.AssertClean(t, text)
	}
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
	deepError  struct{ URL *url.URL }    // behind a pointer
	sentError  struct{ *http.Request }   // behind more pointers
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

func (*deepError) Error() string { return "request failed" }

func (*sentError) Error() string { return "request failed" }

func (e *loudError) Error() string { return fmt.Sprint(e.text()) }

func (e *stackError) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, e.Error())
	if f.Flag('+') {
		_, _ = io.WriteString(f, ": "+e.request)
	}
}

// echoes are the forms in which a text can quote a request.
var echoes = map[string]func(u string) string{
	"as it is":  func(u string) string { return u },
	"unescaped": unescaped,
	"JSON":      func(u string) string { quoted, _ := json.Marshal(unescaped(u)); return string(quoted) },
	"lower case": func(u string) string {
		return strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d").Replace(u)
	},
	"path":        func(u string) string { return url.PathEscape(unescaped(u)) },
	"query":       url.QueryEscape,
	"named":       perSecret(func(secret string) string { return "access_token=" + secret[:20] }),
	"end cut":     perSecret(func(secret string) string { return `{"x":"` + secret[:len(secret)-4] }),
	"start cut":   perSecret(func(secret string) string { return secret[4:] + `","y":` }),
	"first 8":     perSecret(func(secret string) string { return secret[:8] + "\n" }),
	"last 8":      perSecret(func(secret string) string { return secret[len(secret)-8:] + "\n" }),
	"the middle":  perSecret(func(secret string) string { return secret[9:17] + "\n" }),
	"upper case":  func(u string) string { return strings.ToUpper(unescaped(u)) },
	"lines":       func(u string) string { return joined(unescaped(u), 10, "\r\n") },
	"short lines": func(u string) string { return joined(unescaped(u), 3, "\n\t") },
	"joins":       func(u string) string { return joined(unescaped(u), 7, "\" +\n  \"") },
	"tags":        func(u string) string { return joined(unescaped(u), 9, "<wbr>") },
	"entities":    func(u string) string { return eachByte(unescaped(u), "&#%d;") },
	"hex entity":  func(u string) string { return eachByte(unescaped(u), "&#x%X;") },
	"percent":     func(u string) string { return eachByte(unescaped(u), "%%%02x") },
	"twice":       func(u string) string { return url.QueryEscape(eachByte(unescaped(u), "%%%02X")) },
	"backslashes": func(u string) string { return eachByte(unescaped(u), `\u%04x`) },
	"hex":         func(u string) string { return hex.EncodeToString([]byte(unescaped(u))) },
	"HEX":         func(u string) string { return fmt.Sprintf("%X", u) },
	"dump":        func(u string) string { return hex.Dump([]byte(unescaped(u))) },
	"bytes":       func(u string) string { return fmt.Sprint([]byte(unescaped(u))) },
	"base64":      func(u string) string { return base64.StdEncoding.EncodeToString([]byte(u)) },
	"base64, 1":   func(u string) string { return base64.StdEncoding.EncodeToString([]byte("-" + unescaped(u))) },
	"base64, 2":   func(u string) string { return base64.RawURLEncoding.EncodeToString([]byte("--" + unescaped(u))) },
	"base64, cut": func(u string) string { return base64.StdEncoding.EncodeToString([]byte(unescaped(u)))[7:] },
}

// perSecret returns a form of each secret in a request.
func perSecret(form func(secret string) string) func(u string) string {
	return func(u string) (text string) {
		for _, secret := range []string{testutil.Token, testutil.Secret} {
			if strings.Contains(unescaped(u), secret) {
				text += form(secret)
			}
		}
		return text
	}
}

// joined splits a text after each n bytes.
func joined(text string, n int, sep string) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(text), n) {
		b.Write(part)
		b.WriteString(sep)
	}
	return b.String()
}

func eachByte(text, format string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, format, text[i])
	}
	return b.String()
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
		"group": fail(func(r *http.Request) error {
			return &groupError{[]error{nil, io.EOF, errors.New(r.URL.String())}}
		}),
		"stack": fail(func(r *http.Request) error { return &stackError{r.URL.String()} }),
		"deep":  fail(func(r *http.Request) error { return &deepError{r.URL} }),
		"sent":  fail(func(r *http.Request) error { return &sentError{r} }),
		"sent, in an OpError": fail(func(r *http.Request) error {
			return &net.OpError{Op: "read", Net: "tcp", Err: fmt.Errorf("%w: %w", io.EOF, &sentError{r})}
		}),
		"loud":    fail(func(r *http.Request) error { return &loudError{func() any { return r.URL }} }),
		"wrapped": fail(func(r *http.Request) error { return fmt.Errorf("proxy: %w", &openError{r.URL.String()}) }),
		"joined":  fail(func(r *http.Request) error { return errors.Join(io.EOF, &openError{r.URL.String()}) }),
		"url.Error": fail(func(r *http.Request) error {
			return &url.Error{Op: "Get", URL: r.URL.String(), Err: context.DeadlineExceeded}
		}),
		"url.Error inside": fail(func(r *http.Request) error {
			return fmt.Errorf("retried: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: io.EOF})
		}),
		"DNS": fail(func(*http.Request) error {
			return &net.DNSError{Err: "no such host", Name: "api.weixin.qq.com"}
		}),
		"body":    fail(func(r *http.Request) error { return fmt.Errorf("cannot send %q", bodyOf(r)) }),
		"timeout": testutil.Play(testutil.Hang),
		"redirect": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(302, "", "Location",
				"https://example.com/?from="+url.QueryEscape(r.URL.String()))(r)
		}),
		"redirect to nowhere": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(307, "", "Location", "https://[::1/%zz?"+r.URL.RawQuery)(r)
		}),
		"header": testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(403, "", "Content-Type", "text/html; url="+r.URL.String(), "Retry-After",
				r.URL.String(), "Server", r.URL.String())(r)
		}),
		"status text": testutil.Play(func(r *http.Request) (*http.Response, error) {
			resp, err := testutil.Respond(403, "")(r)
			resp.Status = "403 " + r.URL.String()
			return resp, err
		}),
		"body that fails": testutil.Play(func(r *http.Request) (*http.Response, error) {
			resp, err := testutil.RespondJSON(testutil.OKBody)(r)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.OKBody[:5]),
				failingReader{&quietError{errors.New(r.URL.String())}}))
			return resp, err
		}),
		"new token, cut":     testutil.Play(testutil.RespondJSON(testutil.TokenBody[:len(testutil.TokenBody)-1])),
		"new token with 500": testutil.Play(testutil.Respond(500, testutil.TokenBody)),
		"new token in HTML":  testutil.Play(testutil.Respond(200, "<pre>"+testutil.TokenBody)),
		"new token, wrong type": testutil.Play(
			testutil.RespondJSON(`{"access_token":"` + testutil.Token + `","expires_in":"soon"}`)),
		"new token, no lifetime": testutil.Play(testutil.RespondJSON(`{"access_token":"` + testutil.Token + `"}`)),
		"new token as text":      testutil.Play(testutil.RespondJSON(`"` + testutil.Token + `"`)),
		"new token as a form":    testutil.Play(testutil.Respond(200, "token="+url.QueryEscape(testutil.Token))),
		"new token as XML":       testutil.Play(testutil.Respond(200, "<token>"+testutil.Token+"</token>")),
		"new token in base64": testutil.Play(testutil.Respond(200,
			base64.StdEncoding.EncodeToString([]byte(testutil.TokenBody)))),
		"new token in a title": testutil.Play(testutil.Respond(500, "<title>\nof "+testutil.Token+"\n</title>")),
		"new token in a type": testutil.Play(testutil.Respond(500, "", "Content-Type",
			"text/plain; x="+testutil.Token)),
		"new token in an array": testutil.Play(testutil.RespondJSON(`[` + testutil.TokenBody + `]`)),
		"httpmock":              httpmock.NewMockTransport(),
	}
	for name, echoed := range echoes {
		echo := func(r *http.Request) string { return echoed(r.URL.String() + " " + bodyOf(r)) }
		inJSON := func(format string) http.RoundTripper {
			return testutil.Play(func(r *http.Request) (*http.Response, error) {
				quoted, _ := json.Marshal(echo(r))
				return testutil.Respond(200,
					fmt.Sprintf(format, strings.ReplaceAll(string(quoted[1:len(quoted)-1]), "/", `\/`)))(r)
			})
		}
		all["errmsg "+name] = inJSON(`{"errcode":48001,"errmsg":"%s"}`)
		all["page "+name] = testutil.Play(func(r *http.Request) (*http.Response, error) {
			return testutil.Respond(502, "<title>"+echo(r)+"</title><p>"+echo(r)+"</p>")(r)
		})
		all["error "+name] = fail(func(r *http.Request) error { return errors.New("sent " + echo(r)) })
		if testutil.Full() || strings.Contains("as it is, unescaped, joins, base64, 1", name) {
			all["hint "+name] = inJSON(`{"errcode":48001,"errmsg":"no hint: [%s]"}`)
			all["list "+name] = inJSON(`{"errcode":45171,"errmsg":"some","fail_openid_list":["%s"]}`)
			all["JSON "+name] = inJSON(`{"message":"%s"}`)
			all["change "+
				name] = inJSON(
				`{"errcode":0,"request":{"request_url":"%[1]s","request_body":"%[1]s","response_body":"%[1]s"},` +
					`"result_list":[{"ori_openid":"o","err_msg":"%[1]s"}]}`)
		}
	}
	nearMiss := httpmock.NewMockTransport()
	nearMiss.RegisterResponder("DELETE", `=~^https://api\.weixin\.qq\.com/`,
		httpmock.NewStringResponder(200, testutil.OKBody))
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

// leftOut reports whether the race detector, which makes these tests ten times slower, sees no fault i. It sees every
// fourth one: what they have in common is where data races would be.
func leftOut(i int) bool { return testutil.RaceEnabled && i%4 != 0 }

func TestNoSecretLeaks(t *testing.T) {
	var calls []testutil.APICall // the first one takes every fault, the others a share
	for _, name := range []string{
		"GetTags", "ClearQuotaByAppSecret", "Token", "Token/WithLegacyToken",
		"RefreshToken", "UpdateRemark", "BatchTagging", "CreateTag", "GetRIDInfo", "ChangeOpenID",
	} {
		calls = append(calls, testutil.CallOf(t, name))
	}
	calls = append(calls, doCalls...)
	all := faults(t)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if leftOut(i) {
			continue
		}
		transport := all[name]
		for j, call := range calls {
			if !testutil.Full() && j >= 1 && i%len(calls) != j && !strings.HasPrefix(name, "new token") {
				continue
			}
			if strings.HasPrefix(name, "new token") && !call.IsTokenCall() {
				continue // only this code takes it
			}
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					c := call.NewClient(t, transport,
						wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2}),
						cleanHook(t),
						wechatuser.WithLogger(
							slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
						wechatuser.WithInterceptor(
							func(ctx context.Context, call wechatuser.Call,
								do testutil.Next,
							) (wechatuser.Result, error) {
								assertCleanValue(t, call)
								res, err := do(ctx)
								assertCleanValue(t, res)
								assertCleanError(t, err)
								return res, err
							}))
					got, err := call.Do(t.Context(), c)
					testutil.AssertClean(t, log.String())
					if err == nil { // a success for this call
						for _, text := range testutil.Reach(got) {
							testutil.AssertClean(t, text)
						}
						if changes, ok := got.([]wechatuser.OpenIDChange); ok {
							assertCleanError(t, changes[0].Err)
						}
						return
					}
					assertCleanError(t, err)
					assert.Positive(t, log.Len())
					assertCleanValue(t, c)
					assertCleanValue(t, *c)

					var (
						open  *openError
						field *fieldError
						value valueError
						stack *stackError
						deep  *deepError
						sent  *sentError
						ue    *url.Error
					)
					assert.NotErrorAs(t, err, &deep)
					assert.NotErrorAs(t, err, &sent)
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

// cleanHook checks what a hook is told.
func cleanHook(t *testing.T) wechatuser.Option {
	return wechatuser.WithTokenHook(wechatuser.TokenHook{
		Refreshed: func(_ context.Context, r wechatuser.TokenRefresh) {
			assertCleanValue(t, r)
			assertCleanError(t, r.Err)
		},
		StoreFailed: func(_ context.Context, f wechatuser.TokenStoreFailure) {
			assertCleanValue(t, f)
			assertCleanError(t, f.Err)
		},
		Waited: func(_ context.Context, w wechatuser.TokenWait) {
			assertCleanError(t, w.Err)
		},
	})
}

// doCalls are calls of an endpoint that has no method, with each kind of result.
var doCalls = []testutil.APICall{
	{Name: "Do", Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
		return nil, c.Do(ctx, wechatuser.Request{Path: "/cgi-bin/qrcode/create", Body: "x"}, nil)
	}},
	{Name: "Do of a struct", Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
		return nil,
			c.Do(ctx, wechatuser.Request{Path: "/cgi-bin/media/get", Idempotent: true}, &struct{ Message []int }{})
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
		testutil.CallOf(t, "ClearQuotaByAppSecret"), testutil.CallOf(t, "Token"),
		testutil.CallOf(t, "Token/WithLegacyToken"), testutil.CallOf(t, "RefreshToken"),
	}
	all := faults(t)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if leftOut(i) {
			continue
		}
		transport := all[name]
		for j, call := range calls {
			if !testutil.Full() && i%len(calls) != j || strings.HasPrefix(name, "new token") && !call.IsTokenCall() {
				continue
			}
			t.Run(call.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					c, err := wechatuser.New(testutil.AppID, "", append(call.Options(),
						wechatuser.WithTransport(transport), testutil.NoRetry,
						wechatuser.WithLogger(
							slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
						wechatuser.WithSecretSource(func(context.Context) (string, error) {
							return testutil.Secret, nil
						}),
					)...)
					require.NoError(t, err)
					if _, err = call.Do(t.Context(), c); err != nil {
						assertCleanError(t, err)
					}
					testutil.AssertClean(t, log.String())
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
	all := faults(t)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		transport := all[name]
		if strings.HasPrefix(name, "new token") || !testutil.Full() && i%3 != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c, err := wechatuser.New(testutil.AppID, "", wechatuser.WithTransport(transport),
					wechatuser.WithCloudToken(file), testutil.NoRetry,
					wechatuser.WithLogger(
						slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
				require.NoError(t, err)
				err = testutil.GetTags(t.Context(), c)
				require.Error(t, err)
				assertCleanError(t, err)
				testutil.AssertClean(t, log.String())
			})
		})
	}
}

// The requests of a third-party platform have a secret, a ticket, a code or a refresh token in the body.
func TestNoSecretOfAPlatformLeaks(t *testing.T) {
	all := faults(t)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if !testutil.Full() && i%6 != 0 || leftOut(i/6) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, hasToken := range []bool{false, true} {
					platformCallsAreClean(t, all[name], hasToken)
				}
			})
		})
	}
}

// platformCallsAreClean makes all calls of a platform, which has a token of its own or has to fetch one.
func platformCallsAreClean(t *testing.T, transport http.RoundTripper, hasToken bool) {
	t.Helper()
	store := authorizer.NewMemoryStore()
	require.NoError(t, store.SaveSecret(t.Context(), "wechatuser:refresh:wxPLATFORM:"+testutil.AppID, testutil.Token, 0))
	if hasToken {
		require.NoError(t, store.(wechatuser.TokenStore).Save(t.Context(), "wechatuser:token:component:wxPLATFORM",
			wechatuser.Token{AccessToken: testutil.Token, ExpiresAt: time.Now().Add(time.Hour)}))
	}
	var log bytes.Buffer
	p, err := authorizer.New("wxPLATFORM", testutil.Secret, store,
		authorizer.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		authorizer.WithClientOptions(wechatuser.WithTransport(transport), testutil.NoRetry))
	require.NoError(t, err)
	require.NoError(t, p.SaveTicket(t.Context(), testutil.Token))
	for _, call := range []func() (any, error){
		func() (any, error) { return p.Source(testutil.AppID).Token(t.Context()) },
		func() (any, error) { return p.ExchangeCode(t.Context(), testutil.Token) },
		func() (any, error) { return nil, p.StartTicketPush(t.Context()) },
		func() (any, error) { return p.Restore(t.Context()) },
		func() (any, error) {
			for a, err := range p.Authorizers(t.Context()) {
				return a, err
			}
			return nil, nil
		},
		func() (any, error) { // the address has a code that is valid once
			_, err := p.AuthorizationURL(t.Context(), "https://example.com")
			return nil, err
		},
	} {
		got, err := call()
		if _, isToken := got.(wechatuser.Token); !isToken {
			assertCleanValue(t, got)
		}
		if err != nil {
			assertCleanError(t, err)
		}
	}
	synctest.Wait() // log lines of refreshes
	testutil.AssertClean(t, log.String())
	assertCleanValue(t, p)
	assertCleanValue(t, p.Source(testutil.AppID))
	assertCleanValue(t, store)
}

// An error of the standard library stays what it is, and so can be told apart with errors.As. Of another one, which can
// hold anything, the text stays, and what errors.Is says of it.
func TestErrorsOfATransport(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, cause := range []error{
		refused, &openError{"proxy https://proxy.example.com refused"}, &quietError{refused},
		&groupError{[]error{io.EOF, refused}},
		&url.Error{Op: "Get", URL: "https://example.com", Err: refused},
	} {
		err := testutil.GetTags(t.Context(),
			testutil.NewClient(t, testutil.Play(testutil.Fail(cause)), testutil.NoRetry))
		if ue := (*url.Error)(nil); !errors.As(cause, &ue) { // which is taken off
			require.ErrorIs(t, err, cause)
		}
		var (
			open *openError
			op   *net.OpError
			no   syscall.Errno
		)
		require.NotErrorAs(t, err, &open)
		assert.Equal(t, !errors.As(cause, &open), errors.As(err, &op))
		assert.Equal(t, errors.Is(cause, syscall.ECONNREFUSED), errors.As(err, &no))
	}
	_, err := testutil.NewClient(t, testutil.Play(testutil.Fail(&openError{"no way to https://proxy.example.com/x"})),
		testutil.NoRetry).GetTags(t.Context())
	require.EqualError(t, err,
		"wechatuser: getTags: no response to GET /cgi-bin/tags/get: no way to https://proxy.example.com/x")
}

// What a program itself puts into a call is no error from elsewhere, and comes back as it is.
func TestErrorsOfTheCallerAreKept(t *testing.T) {
	own := &openError{"enough"}
	same := func(t *testing.T, err error) {
		t.Helper()
		var open *openError
		require.ErrorAs(t, err, &open)
		assert.Same(t, own, open)
	}
	limited := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
		wechatuser.WithLimiter(limiterFunc(func(context.Context) error { return own })))
	same(t, testutil.GetTags(t.Context(), limited))
	intercepted := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
		wechatuser.WithInterceptor(func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
			return wechatuser.Result{}, own
		}))
	same(t, testutil.GetTags(t.Context(), intercepted))

	synctest.Test(t, func(t *testing.T) {
		for _, fail := range []testutil.Reply{
			testutil.Hang,
			func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, &quietError{context.Cause(r.Context())}
			},
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(own) })
			err := testutil.GetTags(ctx, testutil.NewClient(t, testutil.Play(fail)))
			require.ErrorIs(t, err, context.Canceled)
			if !errors.Is(err, own) {
				continue // net/http has left it out
			}
			same(t, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(own)
		for _, opt := range []wechatuser.Option{
			wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(func(ctx context.Context) (wechatuser.Token, error) {
				return wechatuser.Token{}, fmt.Errorf("get: %w", context.Cause(ctx))
			})),
			wechatuser.WithLegacyToken(),
		} {
			same(t, testutil.GetTags(ctx, testutil.NewTokenClient(t, testutil.Play(testutil.Hang), opt)))
		}
	})
}

type limiterFunc func(context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

// A sealed error is still the error that it was for errors.Is, and tells whether it was a timeout.
func TestRedactedErrors(t *testing.T) {
	cause := fmt.Errorf("GET https://api.weixin.qq.com/x?access_token=%s&openid=%s: %w",
		url.QueryEscape(testutil.Token), testutil.Alice, testutil.ErrReset)
	err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(testutil.Fail(cause)), testutil.NoRetry))
	require.ErrorIs(t, err, testutil.ErrReset)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, io.EOF)
	assert.EqualError(t, err,
		"wechatuser: getTags: no response to GET /cgi-bin/tags/get: GET *** connection reset by peer")
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.False(t, ne.Timeout())

	cause = fmt.Errorf("GET /x?access_token=%s&lang=en: %w", url.QueryEscape(testutil.Token),
		&net.DNSError{IsTimeout: true})
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

	body = `{"errcode":0,"request":{"request_url":"from ` + testutil.Token[:9] + `","response_body":"{\"access_token\":\"97_NEW\",\"expires_in\":7200}"}}`
	info, err = testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).GetRIDInfo(t.Context(), testutil.RID)
	require.NoError(t, err)
	assert.Equal(t, "from ***", info.RequestURL, "the token of the call itself")
	assert.Equal(t, `{"access_token":"***","expires_in":7200}`, info.ResponseBody, "a token that nobody knows")
	assertCleanValue(t, info)
}

// The errors of a token source can contain a token.
func TestErrorsOfATokenSource(t *testing.T) {
	hidden := &sentError{&http.Request{URL: &url.URL{RawQuery: testutil.Token + testutil.Secret}}}
	known := wechatuser.Token{AccessToken: testutil.Token}
	for name, source := range map[string]*failingSource{
		"Token":           {tokenErr: &quietError{errors.New(testutil.Secret)}},
		"Token and error": {tokenErr: errors.New("got " + testutil.Token[3:]), token: known},
		"Token, deep":     {tokenErr: hidden},
		"Invalidate":      {token: known, invalidateErr: fmt.Errorf("DEL %s: %w", testutil.Token[3:], io.EOF)},
		"deep":            {token: known, invalidateErr: hidden},
		"the next Token":  {token: known, nextErr: errors.New("still " + testutil.Token[3:])},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			err := testutil.GetTags(t.Context(),
				testutil.NewClient(t, testutil.Play(testutil.RespondCode(40001)), wechatuser.WithTokenSource(source), cleanHook(t),
					wechatuser.WithLogger(
						slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))))
			require.ErrorContains(t, err, "token source")
			assertCleanError(t, err)
			testutil.AssertClean(t, log.String())
			var sent *sentError
			require.NotErrorAs(t, err, &sent)
			for _, cause := range []error{source.tokenErr, source.invalidateErr, source.nextErr} {
				if cause != nil {
					require.ErrorIs(t, err, cause)
				}
			}
		})
	}
}

type failingSource struct {
	token                            wechatuser.Token
	tokenErr, invalidateErr, nextErr error
}

func (s *failingSource) Token(context.Context) (wechatuser.Token, error) { return s.token, s.tokenErr }

func (s *failingSource) Invalidate(context.Context, wechatuser.Token) error {
	if s.nextErr != nil {
		s.token, s.tokenErr = wechatuser.Token{}, s.nextErr
	}
	return s.invalidateErr
}

// A source can be another client, whose errors keep their type, code and classes.
func TestErrorsOfAClientThatIsATokenSource(t *testing.T) {
	for _, cause := range []error{
		&wechatuser.Error{
			API: "a", Code: 40125, Message: "m " + testutil.Secret, RID: testutil.Secret, Hint: testutil.Secret,
		},
		&wechatuser.TransportError{API: "a", Err: &deepError{&url.URL{RawQuery: testutil.Token}}},
		&wechatuser.ResponseError{
			API: "a", StatusCode: 502, ContentType: testutil.Secret, Snippet: testutil.Secret[5:],
			Err: errors.New(testutil.Secret),
		},
		&wechatuser.ArgumentError{API: "a", Field: testutil.Secret, Reason: testutil.Secret},
		wechatuser.CodeSystemBusy, wechatuser.ErrCredential,
	} {
		c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)), wechatuser.WithTokenSource(
			&failingSource{
				token: wechatuser.Token{AccessToken: testutil.Token}, tokenErr: fmt.Errorf("other: %w", cause),
			}))
		err := testutil.GetTags(t.Context(), c)
		assertCleanError(t, err)
		require.ErrorIs(t, err, cause)
		assert.Equal(t, testutil.Describe(fmt.Errorf("%w", cause)), testutil.Describe(err), "%T", cause)
		for _, class := range []error{
			wechatuser.ErrTemporary, wechatuser.ErrCredential, wechatuser.ErrInvalidArgument,
		} {
			assert.Equal(t, errors.Is(cause, class), errors.Is(err, class))
		}
	}

	synctest.Test(t, func(t *testing.T) {
		busy := testutil.NewTokenClient(t, testutil.Play(testutil.RespondCode(-1)), testutil.NoRetry)
		var limited error
		for limited == nil || !errors.Is(limited, wechatuser.ErrRateLimited) {
			_, limited = busy.Token(t.Context())
		}
		c := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)),
			wechatuser.WithTokenSource(wechatuser.TokenSourceFunc(busy.Token)))
		err := testutil.GetTags(t.Context(), c)
		require.ErrorIs(t, err, wechatuser.ErrRateLimited)
		require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
		start := time.Now()
		_, err = c.BulkTagging(t.Context(), 100, wechatuser.OpenIDs(testutil.Alice))
		require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
		assert.GreaterOrEqual(t, time.Since(start), time.Second,
			"a job waits for the limit, which it finds in the error")
	})
}

// So can a store.
func TestErrorsOfATokenStore(t *testing.T) {
	for family, opts := range testutil.TokenModes {
		for _, op := range []string{"load", "lock", "save", "delete", "allow forced"} {
			if op == "allow forced" && family == "legacy" {
				continue // nothing is forced
			}
			t.Run(family+"/"+op, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hidden := &sentError{&http.Request{URL: &url.URL{RawQuery: testutil.Token + testutil.Secret}}}
					store := &failingStore{TokenStore: wechatuser.NewMemoryTokenStore(), op: op, err: hidden}
					var log bytes.Buffer
					s := testutil.ByPath{
						testutil.PathStableToken: testutil.Play(testutil.RespondJSON(testutil.TokenBody)),
						testutil.PathToken:       testutil.Play(testutil.RespondJSON(testutil.TokenBody)),
						testutil.PathGetTags:     testutil.Play(testutil.RespondCode(40001)),
					}
					c := testutil.NewTokenClient(t, s, append([]wechatuser.Option{
						wechatuser.WithTokenStore(store), cleanHook(t),
						wechatuser.WithLogger(
							slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
					}, opts...)...)
					err := testutil.GetTags(t.Context(), c)
					require.Error(t, err)
					assertCleanError(t, err)
					testutil.AssertClean(t, log.String())
					assert.Contains(t, log.String()+err.Error(), "***", "the store has failed")
				})
			})
		}
	}
}

type failingStore struct {
	wechatuser.TokenStore
	op    string
	err   error
	token string // which the client knows
}

func (s *failingStore) fail(op string) error {
	if op == s.op {
		return fmt.Errorf("%s %s: %w", s.token, testutil.Secret[4:], s.err)
	}
	return nil
}

func (s *failingStore) Load(ctx context.Context, key string) (wechatuser.Token, error) {
	if s.op == "load" {
		s.token = testutil.Token[4:]
		return wechatuser.Token{AccessToken: testutil.Token}, s.fail("load")
	}
	return s.TokenStore.Load(ctx, key)
}

func (s *failingStore) Save(ctx context.Context, key string, t wechatuser.Token) error {
	s.token = testutil.Token[4:]
	return cmp.Or(s.fail("save"), s.TokenStore.Save(ctx, key, t))
}

func (s *failingStore) Delete(ctx context.Context, key string, stale wechatuser.Token) error {
	return cmp.Or(s.fail("delete"), s.TokenStore.Delete(ctx, key, stale))
}

func (s *failingStore) Lock(context.Context, string) (func(), error) {
	return func() {}, s.fail("lock")
}

func (s *failingStore) AllowForced(context.Context, string) (bool, error) {
	return true, s.fail("allow forced")
}

// Jobs and lists return the errors of calls in reports of their own.
func TestNoSecretLeaksFromJobs(t *testing.T) {
	for name, transport := range faults(t) {
		if !testutil.Full() &&
			!slices.Contains([]string{
				"sent", "text", "page joins", "errmsg base64, 1", "error bytes", "url.Error inside",
			}, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testutil.NewClient(t, transport, testutil.NoRetry)
				ids := wechatuser.OpenIDs(testutil.Alice, testutil.Bob)
				report, err := c.BulkTagging(t.Context(), 100, ids)
				assertCleanError(t, err)
				assertCleanValue(t, report)
				if !strings.HasPrefix(name, "change ") { // which is a success for all calls but ChangeOpenID
					require.Error(t, err)
				}
				_, err = c.SyncTag(t.Context(), 100, ids)
				assertCleanError(t, err)
				for _, err := range c.BulkUserInfo(t.Context(), ids) {
					assertCleanError(t, err)
				}
				for _, err := range c.AllFans(t.Context()) {
					assertCleanError(t, err)
				}
			})
		})
	}
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
		"timeout": {
			"http://127.0.0.1:1",
			&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(2 * time.Millisecond)
				return nil, io.EOF
			}},
		},
	} {
		for _, call := range []testutil.APICall{
			testutil.CallOf(t, "GetTags"), testutil.CallOf(t, "ClearQuotaByAppSecret"),
			testutil.CallOf(t, "Token/WithLegacyToken"),
		} {
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

// Settings, a registry, and the errors and log lines of a lookup that returns settings and an error.
func TestNoSecretOfARegistryLeaks(t *testing.T) {
	account := accounts.Account{
		AppID: testutil.AppID, Secret: testutil.Secret, TokenSource: wechatuser.StaticTokenSource(testutil.Token),
	}
	// fmt shows the fields of a struct with %p, whatever its methods; go vet finds that. A pointer is safe with it too.
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		testutil.AssertClean(t, fmt.Sprintf(verb, account))
	}
	assertCleanValue(t, &account)
	assertCleanValue(t, []accounts.Account{account})
	assertCleanValue(t, map[string]any{"account": account})

	for name, lookupErr := range map[string]error{
		"none":    nil,
		"text":    fmt.Errorf("row {%s}: %w", testutil.Secret, io.EOF),
		"unknown": fmt.Errorf("%w: %s", accounts.ErrUnknownAccount, testutil.Secret[3:]),
		"deep":    &sentError{&http.Request{URL: &url.URL{RawQuery: testutil.Secret}}},
		"quiet":   &quietError{errors.New(testutil.Secret)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var (
					log  bytes.Buffer
					fail error
				)
				r, err := accounts.New(func(context.Context, string) (accounts.Account, error) { return account, fail },
					accounts.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				require.NoError(t, err)
				_, err = r.Client(t.Context(), "a")
				require.NoError(t, err)
				fail = lookupErr
				err = r.Refresh(t.Context(), "a")
				require.Equal(t, lookupErr != nil, err != nil)
				require.ErrorIs(t, err, lookupErr)
				if err != nil {
					assertCleanError(t, err)
				}
				assertCleanValue(t, r)
				assertCleanValue(t, struct{ Registry *accounts.Registry }{r})
				synctest.Wait() // for the log
				testutil.AssertClean(t, log.String())
			})
		})
	}

	wrong := account
	wrong.AppID = "wx 1"
	r, err := accounts.New(func(context.Context, string) (accounts.Account, error) { return wrong, nil })
	require.NoError(t, err)
	_, err = r.Client(t.Context(), "a")
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
	assertCleanError(t, err)
}
