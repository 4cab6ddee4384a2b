package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
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

// optionErrors returns the errors that an error of New joins.
func optionErrors(t *testing.T, err error) (all []*wechatuser.ArgumentError) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%T", err)
	for _, err := range joined.Unwrap() {
		var ae *wechatuser.ArgumentError
		require.ErrorAs(t, err, &ae)
		assert.Equal(t, "New", ae.API)
		all = append(all, ae)
	}
	return all
}

func TestBadOptions(t *testing.T) {
	var (
		noTransport *http.Transport
		noFunc      testutil.RoundTripFunc
		noLimiter   *limiter
		noSource    *countingSource
		noSourceFn  wechatuser.TokenSourceFunc
		noStore     *storeThatIsNil
	)
	tests := []struct {
		name string
		opt  wechatuser.Option
		want string // of the message
	}{
		{"nil option", nil, "wechatuser: New: opts: option 1 is nil"},
		{"nil client", wechatuser.WithHTTPClient(nil), "WithHTTPClient: nil client"},
		{"nil transport", wechatuser.WithTransport(nil), "WithTransport: nil transport"},
		{"nil pointer as transport", wechatuser.WithTransport(noTransport), "WithTransport: nil transport"},
		{"nil function as transport", wechatuser.WithTransport(noFunc), "WithTransport: nil transport"},
		{"nil source", wechatuser.WithTokenSource(nil), "WithTokenSource: nil source"},
		{"nil pointer as source", wechatuser.WithTokenSource(noSource), "WithTokenSource: nil source"},
		{"nil function as source", wechatuser.WithTokenSource(noSourceFn), "WithTokenSource: nil source"},
		{"nil store", wechatuser.WithTokenStore(nil), "WithTokenStore: nil store"},
		{"nil pointer as store", wechatuser.WithTokenStore(noStore), "WithTokenStore: nil store"},
		{"nil limiter", wechatuser.WithLimiter(nil), "WithLimiter: nil limiter"},
		{"nil pointer as limiter", wechatuser.WithLimiter(noLimiter), "WithLimiter: nil limiter"},
		{"empty hook", wechatuser.WithTokenHook(wechatuser.TokenHook{}), "WithTokenHook: a hook without functions"},
		{"nil interceptor", wechatuser.WithInterceptor(watch(nil), nil), "WithInterceptor: interceptor 2 is nil"},
		{"nil logger", wechatuser.WithLogger(nil), "WithLogger: nil logger"},
		{"no timeout", wechatuser.WithTimeout(0), "WithTimeout: 0s is not a timeout"},
		{"timeout below zero", wechatuser.WithTimeout(-1), "WithTimeout: -1ns is not a timeout"},
		{
			"attempts below zero", wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: -1}),
			"WithRetry: a field of the policy is negative",
		},
		{
			"delay below zero", wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: -1}),
			"WithRetry: a field of the policy is negative",
		},
		{
			"maximum below zero", wechatuser.WithRetry(wechatuser.RetryPolicy{MaxDelay: -1}),
			"WithRetry: a field of the policy is negative",
		},
		{
			"delay above the maximum", wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 2, MaxDelay: 1}),
			"WithRetry: MinDelay 2ns is above MaxDelay 1ns",
		},
		{"no user agent", wechatuser.WithUserAgent(""), "WithUserAgent: "},
		{"blank user agent", wechatuser.WithUserAgent("  "), "WithUserAgent: "},
		{"user agent of two lines", wechatuser.WithUserAgent("a\r\nHost: x"), "WithUserAgent: "},
		{"user agent in Chinese", wechatuser.WithUserAgent("商店"), "WithUserAgent: "},
		{"no address", wechatuser.WithBaseURL(""), "WithBaseURL: empty address"},
		{"blank address", wechatuser.WithBaseURL(" "), "WithBaseURL: not an absolute URL"},
		{"host alone", wechatuser.WithBaseURL("api.weixin.qq.com"), "WithBaseURL: not an absolute URL"},
		{"scheme alone", wechatuser.WithBaseURL("https://"), "WithBaseURL: not an absolute URL"},
		{"port alone", wechatuser.WithBaseURL("https://:443"), "WithBaseURL: not an absolute URL"},
		{"opaque", wechatuser.WithBaseURL("https:api.weixin.qq.com"), "WithBaseURL: not an absolute URL"},
		{"bad port", wechatuser.WithBaseURL("https://a:b"), "WithBaseURL: not an absolute URL"},
		{
			"plain http", wechatuser.WithBaseURL("http://api.weixin.qq.com"),
			"WithBaseURL: api.weixin.qq.com: plain http shows the access token",
		},
		{
			"plain http to a look-alike", wechatuser.WithBaseURL("http://127.0.0.1.example.com"),
			"plain http shows the access token",
		},
		{
			"plain http to a neighbour", wechatuser.WithBaseURL("http://192.168.0.1"),
			"plain http shows the access token",
		},
		{
			"ftp", wechatuser.WithBaseURL("ftp://api.weixin.qq.com"),
			"WithBaseURL: api.weixin.qq.com: the scheme must be https",
		},
		{
			"password", wechatuser.WithBaseURL("https://me:" + testutil.Sentinel + "@api.weixin.qq.com"),
			"WithBaseURL: api.weixin.qq.com: leave out user",
		},
		{
			"password in what is no URL",
			wechatuser.WithBaseURL("https://me:" + testutil.Sentinel + "@api.weixin.qq.com:%zz"),
			"WithBaseURL: not an absolute URL",
		},
		{
			"query", wechatuser.WithBaseURL("https://api.weixin.qq.com?key=" + testutil.Sentinel),
			"WithBaseURL: api.weixin.qq.com: leave out user",
		},
		{
			"empty query", wechatuser.WithBaseURL("https://api.weixin.qq.com?"),
			"WithBaseURL: api.weixin.qq.com: leave out user",
		},
		{
			"fragment", wechatuser.WithBaseURL("https://api.weixin.qq.com#" + testutil.Sentinel),
			"WithBaseURL: api.weixin.qq.com: leave out user",
		},
		{
			"bad fallback",
			wechatuser.WithBaseURL("https://a.example.com", "https://b.example.com", "http://c.example.com"),
			"WithBaseURL: c.example.com: plain http",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := wechatuser.New(testutil.AppID, testutil.Secret, tt.opt)
			assert.Nil(t, c)
			require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)
			require.Len(t, optionErrors(t, err), 1)
			assert.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), testutil.Sentinel)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

type storeThatIsNil struct{ wechatuser.TokenStore }

func TestBadCredentials(t *testing.T) {
	source := wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token))
	for name, tt := range map[string]struct {
		appID, secret string
		opts          []wechatuser.Option
		want          []string // fields
	}{
		"neither":               {"", "", nil, []string{"appID", "secret"}},
		"no app ID":             {"", testutil.Secret, nil, []string{"appID"}},
		"no secret":             {testutil.AppID, "", nil, []string{"secret"}},
		"space":                 {testutil.AppID + " ", testutil.Secret, nil, []string{"appID"}},
		"newline":               {testutil.AppID, testutil.Secret + "\n", nil, []string{"secret"}},
		"tab":                   {testutil.AppID, "\t" + testutil.Secret, nil, []string{"secret"}},
		"no-break space":        {testutil.AppID, testutil.Secret + "\u00a0", nil, []string{"secret"}},
		"zero-width space":      {"\u200b" + testutil.AppID, testutil.Secret, nil, []string{"appID"}},
		"source and no app ID":  {"", "", []wechatuser.Option{source}, []string{"appID"}},
		"source and bad secret": {testutil.AppID, "a b", []wechatuser.Option{source}, []string{"secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wechatuser.New(tt.appID, tt.secret, tt.opts...)
			require.Error(t, err)
			var fields []string
			for _, ae := range optionErrors(t, err) {
				fields = append(fields, ae.Field)
			}
			assert.Equal(t, tt.want, fields)
			assert.NotContains(t, err.Error(), testutil.Sentinel)
		})
	}
	_, err := wechatuser.New(testutil.AppID, "", source)
	assert.NoError(t, err, "a client with a token source needs no secret")
}

// Each mistake is reported, so that all can be fixed at once.
func TestAllOptionErrorsAreReported(t *testing.T) {
	_, err := wechatuser.New("", "a b",
		wechatuser.WithTimeout(0), nil, wechatuser.WithBaseURL("http://example.com"), wechatuser.WithTransport(nil),
		wechatuser.WithUserAgent(""))
	require.Error(t, err)
	var fields []string
	for _, ae := range optionErrors(t, err) {
		fields = append(fields, ae.Field)
	}
	assert.ElementsMatch(t,
		[]string{"appID", "secret", "WithTimeout", "opts", "WithBaseURL", "WithTransport", "WithUserAgent"}, fields)
	assert.Len(t, strings.Split(err.Error(), "\n"), len(fields), "one line each")
}

// Conflicting options are an error in either order.
func TestConflictingOptions(t *testing.T) {
	source := wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token))
	for name, opts := range map[string][]wechatuser.Option{
		"WithTokenSource":      {source, wechatuser.WithTokenStore(wechatuser.NewMemoryTokenStore())},
		"WithTokenSource ":     {source, wechatuser.WithLegacyToken()},
		"WithDisasterRecovery": {wechatuser.WithDisasterRecovery(), wechatuser.WithBaseURL("https://example.com")},
	} {
		for range 2 {
			_, err := wechatuser.New(testutil.AppID, testutil.Secret, opts...)
			require.Error(t, err)
			all := optionErrors(t, err)
			require.Len(t, all, 1)
			assert.Equal(t, strings.TrimSpace(name), all[0].Field)
			slices.Reverse(opts)
		}
	}
}

// The order of options does not matter.
func TestOrderOfOptionsDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unused := testutil.Play(testutil.RespondJSON("unused"))
		s := testutil.Play(testutil.Hang, testutil.RespondCode(-1))
		opts := []wechatuser.Option{
			wechatuser.WithTransport(s),
			wechatuser.WithHTTPClient(&http.Client{Transport: unused, Timeout: time.Hour}),
			wechatuser.WithTimeout(time.Second),
			wechatuser.WithBaseURL("https://a.example.com"),
			wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2, MinDelay: 1, MaxDelay: 1}),
			wechatuser.WithUserAgent("shop"),
			wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)),
		}
		for range 2 {
			s.Sent, s.Replies = nil, []testutil.Reply{testutil.Hang, testutil.RespondCode(-1)}
			c, err := wechatuser.New(testutil.AppID, testutil.Secret, opts...)
			require.NoError(t, err)
			start := time.Now()
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.CodeSystemBusy)
			assert.Equal(t, time.Second, time.Since(start))
			require.Equal(t, 2, s.Count())
			assert.Equal(t, "a.example.com", s.Requests()[1].Host)
			assert.Equal(t, "shop", s.Requests()[1].Header.Get("User-Agent"))
			assert.Zero(t, unused.Count())
			slices.Reverse(opts)
		}
	})
}

func TestTimeoutOfTheHTTPClient(t *testing.T) {
	for _, tt := range []struct {
		client  time.Duration
		opts    []wechatuser.Option
		timeout time.Duration
	}{
		{0, nil, 10 * time.Second},
		{3 * time.Second, nil, 3 * time.Second},
		{3 * time.Second, []wechatuser.Option{wechatuser.WithTimeout(20 * time.Second)}, 20 * time.Second},
		{-1, nil, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			hc := &http.Client{Transport: testutil.Play(testutil.Hang), Timeout: tt.client}
			c, err := wechatuser.New(testutil.AppID, testutil.Secret,
				append(tt.opts, testutil.NoRetry, wechatuser.WithHTTPClient(hc),
					wechatuser.WithTokenSource(wechatuser.StaticTokenSource(testutil.Token)))...)
			require.NoError(t, err)
			start := time.Now()
			require.ErrorIs(t, testutil.GetTags(t.Context(), c), context.DeadlineExceeded)
			assert.Equal(t, tt.timeout, time.Since(start))
		})
	}
}

func TestBaseURL(t *testing.T) {
	for given, want := range map[string]string{
		"https://proxy.example.com":            "proxy.example.com/cgi-bin/tags/get",
		" https://proxy.example.com/ ":         "proxy.example.com/cgi-bin/tags/get",
		"https://proxy.example.com:8443/wx//":  "proxy.example.com:8443/wx/cgi-bin/tags/get",
		"HTTPS://Proxy.Example.com/a%20b":      "Proxy.Example.com/a b/cgi-bin/tags/get",
		"http://127.0.0.1:8080":                "127.0.0.1:8080/cgi-bin/tags/get",
		"http://127.9.9.9":                     "127.9.9.9/cgi-bin/tags/get",
		"http://[::1]:8080":                    "[::1]:8080/cgi-bin/tags/get",
		"http://localhost":                     "localhost/cgi-bin/tags/get",
		wechatuser.BaseURL:                     "api.weixin.qq.com/cgi-bin/tags/get",
		"https://proxy.example.com/{openid}/x": "proxy.example.com/{openid}/x/cgi-bin/tags/get",
	} {
		s := testutil.Play(testutil.RespondJSON(testutil.TagsBody))
		require.NoError(t, testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithBaseURL(given))),
			given)
		assert.Equal(t, want, s.Requests()[0].Host+s.Requests()[0].Path)
	}
}

// New sends no request, starts no goroutine, and copies its arguments.
func TestNew(t *testing.T) {
	s := testutil.Play(testutil.RespondJSON(testutil.TokenBody))
	c := testutil.NewTokenClient(t, s)
	assert.Zero(t, s.Count())
	assert.Equal(t, testutil.AppID, c.AppID())

	chain := []wechatuser.Interceptor{watch(nil)}
	opt := wechatuser.WithInterceptor(chain...)
	c = testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)), opt)
	chain[0] = func(context.Context, wechatuser.Call, testutil.Next) (wechatuser.Result, error) {
		return wechatuser.Result{}, errors.New("changed later")
	}
	require.NoError(t, testutil.GetTags(t.Context(), c))
}

// An option can be used for several clients.
func TestOptionsAreShared(t *testing.T) {
	var calls []string
	opt := wechatuser.WithInterceptor(watch(&calls))
	a, b := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)), opt),
		testutil.NewClient(t, testutil.Play(testutil.RespondJSON(testutil.TagsBody)), opt, opt)
	require.NoError(t, testutil.GetTags(t.Context(), a))
	assert.Len(t, calls, 1)
	require.NoError(t, testutil.GetTags(t.Context(), b))
	assert.Len(t, calls, 3)
}

func TestPrintedClientHasNoSecret(t *testing.T) {
	c := testutil.NewClient(t, httpmock.NewMockTransport())
	want := "wechatuser.Client(" + testutil.AppID + ")"
	assert.Equal(t, want, c.String())
	assert.Equal(t, want, c.LogValue().String())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		assert.Equal(t, want, fmt.Sprintf(verb, c), verb)
		assert.NotContains(t, fmt.Sprintf(verb, *c), testutil.Sentinel, "a copy")
		assert.NotContains(t, fmt.Sprintf(verb, struct{ C any }{*c}), testutil.Sentinel, "a copy in a struct")
	}
	var line strings.Builder
	slog.New(slog.NewTextHandler(&line, nil)).Info("made", "client", c)
	assert.Contains(t, line.String(), want)

	for _, none := range []*wechatuser.Client{nil, {}} {
		assert.Equal(t, "wechatuser.Client(nil)", none.String())
		assert.Equal(t, "wechatuser.Client(nil)", fmt.Sprint(none))
	}
}
