package wechatuser_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// All forms in which the platform puts the rid into errmsg.
func TestMessageForms(t *testing.T) {
	for errmsg, want := range map[string]wechatuser.Error{
		"invalid appid": {Message: "invalid appid"},
		"invalid credential, access_token is invalid or not latest hint: [113faa02934469]": {
			Message: "invalid credential, access_token is invalid or not latest", Hint: "113faa02934469",
		},
		"invalid openid hints: [bhgb1FiCe-YPNS3!]":         {Message: "invalid openid", Hint: "bhgb1FiCe-YPNS3!"},
		"invalid openid hints: [iGF cB6aLRa-mATRvA!]":      {Message: "invalid openid", Hint: "iGF cB6aLRa-mATRvA!"},
		"invalid appid, hints: [ req_id: IgXGma08222015 ]": {Message: "invalid appid", Hint: "IgXGma08222015"},
		"api unauthorized rid: 634c0b3e-4e213ffb-5b22a862": {
			Message: "api unauthorized", RID: "634c0b3e-4e213ffb-5b22a862",
		},
		"invalid appsecret, rid: 66b5fb8f-5e3c0071-3d7f539a": {
			Message: "invalid appsecret", RID: "66b5fb8f-5e3c0071-3d7f539a",
		},
		"invalid remark name hint: [UhEbuMH0k-xzFleA] rid: 69afcb4e-196f5dd3-27af2c3a": {
			Message: "invalid remark name", Hint: "UhEbuMH0k-xzFleA", RID: "69afcb4e-196f5dd3-27af2c3a",
		},
		" rid: 65194e73-12345678-9abcdef0": {RID: "65194e73-12345678-9abcdef0"},
		"":                                 {},
	} {
		t.Run(errmsg, func(t *testing.T) {
			_, err := testutil.NewClient(t,
				testutil.Play(testutil.RespondJSON(`{"errcode":40013,"errmsg":"`+errmsg+`"}`))).GetTags(t.Context())
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e)
			want.API, want.Code, want.Attempts = "getTags", 40013, 1
			assert.Equal(t, want, *e)
		})
	}
}

func TestErrorTexts(t *testing.T) {
	remedy := ": " + wechatuser.CodeInvalidOpenID.Remedy()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{
			&wechatuser.Error{
				API: "userInfo", Code: 40003, Message: "invalid openid", RID: testutil.RID, Hint: "H", Attempts: 1,
			},
			"wechatuser: userInfo: 40003 invalid openid (rid " + testutil.RID + ")" + remedy,
		},
		{
			&wechatuser.Error{API: "userInfo", Code: 40003, Message: "no", Hint: "H", Attempts: 3},
			"wechatuser: userInfo: 40003 no (hint H) (after 3 attempts)" + remedy,
		},
		{&wechatuser.Error{API: "userInfo", Code: 40003}, "wechatuser: userInfo: 40003 invalid openid" + remedy},
		{&wechatuser.Error{API: "userInfo", Code: 12345}, "wechatuser: userInfo: 12345"},
		{&wechatuser.Error{API: "userInfo", Code: 12345, Message: "what"}, "wechatuser: userInfo: 12345 what"},
		{
			&wechatuser.Error{API: "a", Code: 12345, Message: "1\n2\r3\t4\x005\u20286\u20297\u00858\x7f9"},
			"wechatuser: a: 12345 1 2 3 4 5 6 7 8 9",
		},

		{&wechatuser.TransportError{API: "getFans", Attempts: 1, Err: io.EOF}, "wechatuser: getFans: no response: EOF"},
		{
			&wechatuser.TransportError{API: "getFans", Attempts: 2, Err: errors.New("a\nb")},
			"wechatuser: getFans: no response (after 2 attempts): a b",
		},

		{
			&wechatuser.ResponseError{
				API: "getFans", StatusCode: 502, ContentType: "text/html", Snippet: "<html>\n\"é",
				Err: errors.New("Bad Gateway"), Attempts: 3,
			},
			`wechatuser: getFans: not a response of the platform: HTTP status 502 text/html (after 3 attempts): Bad Gateway: "<html>\n\"é"`,
		},
		{
			&wechatuser.ResponseError{API: "getFans", StatusCode: 200},
			"wechatuser: getFans: not a response of the platform: HTTP status 200",
		},

		{
			&wechatuser.ArgumentError{API: "getFans", Field: "next_openid", Reason: "a\nb"},
			"wechatuser: getFans: next_openid: a b",
		},
		{&wechatuser.OpenIDError{OpenID: "o\n1", Err: errors.New("a\nb")}, `openid "o\n1": a b`},

		{wechatuser.ErrInvalidToken, "wechatuser: access token rejected"},
		{wechatuser.ErrCredential, "wechatuser: credential rejected"},
		{wechatuser.ErrRateLimited, "wechatuser: rate limited"},
		{wechatuser.ErrPermission, "wechatuser: no permission"},
		{wechatuser.ErrNotFollowing, "wechatuser: user does not follow"},
		{wechatuser.ErrInvalidArgument, "wechatuser: invalid argument"},
		{wechatuser.ErrTemporary, "wechatuser: temporary failure"},
		{wechatuser.ErrAmbiguous, "wechatuser: outcome unknown"},
	} {
		assert.Equal(t, tt.want, tt.err.Error())
	}
}

var classes = []error{
	wechatuser.ErrInvalidToken, wechatuser.ErrCredential, wechatuser.ErrRateLimited, wechatuser.ErrPermission,
	wechatuser.ErrNotFollowing, wechatuser.ErrInvalidArgument, wechatuser.ErrTemporary, wechatuser.ErrAmbiguous,
}

func TestClassesOfErrors(t *testing.T) {
	response := func(status int) error { return &wechatuser.ResponseError{StatusCode: status} }
	for _, tt := range []struct {
		err  error
		want []error
	}{
		{&wechatuser.Error{API: "userInfo", Code: 40001}, []error{wechatuser.ErrInvalidToken}},
		{&wechatuser.Error{API: "getStableAccessToken", Code: 40001}, []error{wechatuser.ErrCredential}},
		{&wechatuser.Error{API: "getAccessToken", Code: 40001}, []error{wechatuser.ErrCredential}},
		{&wechatuser.Error{Code: 45011}, []error{wechatuser.ErrRateLimited, wechatuser.ErrTemporary}},
		{&wechatuser.Error{Code: 40164}, []error{wechatuser.ErrCredential, wechatuser.ErrPermission}},
		{&wechatuser.Error{Code: -1}, []error{wechatuser.ErrTemporary}},
		{&wechatuser.Error{Code: 12345}, nil},
		{&wechatuser.TransportError{Err: io.EOF}, []error{wechatuser.ErrTemporary}},
		{&wechatuser.TransportError{Err: context.DeadlineExceeded}, []error{wechatuser.ErrTemporary}},
		{&wechatuser.TransportError{Err: fmt.Errorf("waiting: %w", context.Canceled)}, nil},
		{response(200), []error{wechatuser.ErrTemporary}},
		{response(302), nil},
		{response(404), nil},
		{response(408), []error{wechatuser.ErrTemporary}},
		{response(429), []error{wechatuser.ErrTemporary, wechatuser.ErrRateLimited}},
		{response(503), []error{wechatuser.ErrTemporary}},
		{&wechatuser.ArgumentError{}, []error{wechatuser.ErrInvalidArgument}},
		{&wechatuser.OpenIDError{Err: &wechatuser.Error{Code: 43004}}, []error{wechatuser.ErrNotFollowing}},
		{io.EOF, nil},
	} {
		for _, err := range []error{tt.err, fmt.Errorf("wrapped: %w", tt.err)} {
			var got []error
			for _, class := range classes {
				if errors.Is(err, class) {
					got = append(got, class)
				}
			}
			assert.ElementsMatch(t, tt.want, got, "%#v", tt.err)
		}
	}
}

// A class matches no code and no other class.
func TestClassesAreDistinct(t *testing.T) {
	for i, a := range classes {
		for j, b := range classes {
			assert.Equal(t, i == j, errors.Is(a, b))
		}
		assert.NotErrorIs(t, wechatuser.Code(1<<i), a)
		assert.NotErrorIs(t, a, wechatuser.Code(1<<i))
	}
}

func TestCodesOfErrors(t *testing.T) {
	err := fmt.Errorf("wrapped: %w",
		&wechatuser.OpenIDError{OpenID: testutil.Alice, Err: &wechatuser.Error{Code: 40003}})
	require.ErrorIs(t, err, wechatuser.CodeInvalidOpenID)
	require.ErrorIs(t, err, wechatuser.Code(40003))
	require.NotErrorIs(t, err, wechatuser.CodeOpenIDMismatch)
	for _, err := range []error{
		&wechatuser.TransportError{Err: io.EOF}, &wechatuser.ResponseError{StatusCode: 500, Err: io.EOF},
		&wechatuser.ArgumentError{},
	} {
		require.NotErrorIs(t, err, wechatuser.Code(0))
		require.NotErrorIs(t, err, wechatuser.CodeSystemBusy)
	}
}

// The causes from net/http and net stay in the chain; only the URL around them is dropped.
func TestCausesOfATransportError(t *testing.T) {
	dns := &net.DNSError{Err: "no such host", Name: "api.weixin.qq.com", IsNotFound: true}
	for name, tt := range map[string]struct {
		err     error
		timeout bool
	}{
		"refused":     {testutil.ErrRefused, false},
		"DNS":         {&net.OpError{Op: "dial", Net: "tcp", Err: dns}, false},
		"DNS timeout": {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, true},
		"reset":       {testutil.ErrReset, false},
		"EOF":         {io.EOF, false},
		"certificate": {&tls.CertificateVerificationError{Err: errors.New("x509: unknown authority")}, false},
		"deadline":    {context.DeadlineExceeded, true},
		"URL in the error": {
			&url.Error{Op: "Get", URL: "https://x/?access_token=" + url.QueryEscape(testutil.Token), Err: io.EOF},
			false,
		},
		"URL of timeout": {
			fmt.Errorf("proxy: %w",
				&url.Error{
					Op: "Get", URL: "https://x/?access_token=" + url.QueryEscape(testutil.Token),
					Err: context.DeadlineExceeded,
				}), true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := testutil.GetTags(t.Context(),
				testutil.NewClient(t, testutil.Play(testutil.Fail(tt.err)), testutil.NoRetry))
			var te *wechatuser.TransportError
			require.ErrorAs(t, err, &te)
			assert.Equal(t, tt.timeout, te.Timeout())
			assert.Equal(t, tt.timeout, errors.Is(err, context.DeadlineExceeded) || name == "DNS timeout")

			root := tt.err
			for inner := root; inner != nil; inner = errors.Unwrap(inner) {
				root = inner
			}
			require.ErrorIs(t, err, root)
			var ne net.Error
			if errors.As(tt.err, &ne) && name != "URL in the error" {
				require.ErrorAs(t, err, &ne)
				assert.Equal(t, tt.timeout, ne.Timeout())
			}
			assert.NotContains(t, err.Error(), "://")
		})
	}
	err := testutil.GetTags(t.Context(),
		testutil.NewClient(t, testutil.Play(testutil.Fail(&net.OpError{Op: "dial", Err: dns})), testutil.NoRetry))
	var got *net.DNSError
	require.ErrorAs(t, err, &got)
	assert.Equal(t, dns, got)
}

// net/http returns only the cause of a canceled context; callers look for context.Canceled.
func TestCauseOfACancelledContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the shop has closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		err := testutil.GetTags(ctx,
			testutil.NewClient(t, testutil.Play(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			})))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		assert.EqualError(t, err,
			"wechatuser: getTags: no response to GET /cgi-bin/tags/get: context canceled: the shop has closed")

		s := testutil.Play(testutil.RespondJSON(testutil.TagsBody))
		err = testutil.GetTags(ctx, testutil.NewClient(t, s))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		assert.Zero(t, s.Count())
	})
}

// An error is one line, whatever text it quotes.
func TestErrorsAreSingleLine(t *testing.T) {
	lines := "a\nb\r\nc\u2028d\u2029e\u0085f"
	for name, reply := range map[string]testutil.Reply{
		"message":      testutil.RespondJSON(`{"errcode":48001,"errmsg":"` + lines + `"}`),
		"hint":         testutil.RespondJSON(`{"errcode":48001,"errmsg":"x hint: [` + lines + `]"}`),
		"body":         testutil.Respond(404, lines),
		"content type": testutil.Respond(404, "", "Content-Type", lines),
		"cause":        testutil.Fail(errors.New(lines)),
	} {
		t.Run(name, func(t *testing.T) {
			err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(reply), testutil.NoRetry))
			require.Error(t, err)
			assert.False(t, strings.ContainsAny(err.Error(), "\n\r\u2028\u2029\u0085"), err.Error())
			assert.Contains(t, err.Error(), "f", "the end is there")
		})
	}
}

func TestAttemptsAndTheLastErrcode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testutil.Play(testutil.RespondCode(-1), testutil.Fail(testutil.ErrReset),
			testutil.RespondJSON(`{"errcode":45011,"errmsg":"slower rid: `+testutil.RID+`"}`))
		_, err := testutil.NewClient(t, s).GetTags(t.Context())
		var e *wechatuser.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t,
			wechatuser.Error{API: "getTags", Code: 45011, Message: "slower", RID: testutil.RID, Attempts: 3}, *e)
		assert.ErrorContains(t, err, "(after 3 attempts)")
		assert.ErrorContains(t, err, wechatuser.CodeMinuteQuotaExceeded.Remedy(), "the error says when")
	})
}

// The first text is from a report:
// https://developers.weixin.qq.com/community/develop/doc/000e067cac4100bd739c10fe55b000.
func TestClientIP(t *testing.T) {
	for message, want := range map[string]string{
		"invalid ip 203.0.113.81 ipv6 ::ffff:203.0.113.81, not in whitelist": "203.0.113.81",
		"invalid ip 203.0.113.81, not in whitelist":                          "203.0.113.81",
		"invalid ip 2001:db8::7, not in whitelist":                           "2001:db8::7",
		"invalid ip ::ffff:203.0.113.81, not in whitelist":                   "203.0.113.81",
		"access clientip is not registered, requestIP: 203.0.113.81":         "203.0.113.81",
		"invalid ip, not in whitelist":                                       "invalid IP",
		"":                                                                   "invalid IP",
		"invalid openid":                                                     "invalid IP",
	} {
		assert.Equal(t, want,
			(&wechatuser.Error{Code: wechatuser.CodeIPNotAllowed, Message: message}).ClientIP().String(), message)
	}

	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithIPWhitelist("203.0.113.7"))
	_, err := srv.Client().GetTags(t.Context())
	var e *wechatuser.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "127.0.0.1", e.ClientIP().String())
}

// The remedy is one for the call that failed.
func TestRemediesOfTokenRequests(t *testing.T) {
	for _, api := range []string{"getStableAccessToken", "getAccessToken"} {
		quota := &wechatuser.Error{API: api, Code: wechatuser.CodeDailyQuotaExceeded}
		assert.Contains(t, quota.Error(), "ClearQuotaByAppSecret")
		secret := &wechatuser.Error{API: api, Code: wechatuser.CodeInvalidCredential}
		assert.NotContains(t, secret.Error(), "refreshes the same token")
	}
	assert.NotContains(t, (&wechatuser.Error{API: "getFans", Code: wechatuser.CodeDailyQuotaExceeded}).Error(),
		"ByAppSecret")
	assert.Contains(t, (&wechatuser.Error{API: "getFans", Code: wechatuser.CodeInvalidCredential}).Error(),
		"refreshes the same token")
}
