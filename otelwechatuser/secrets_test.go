package otelwechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/otelwechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// No span and no metric contains what the platform, a proxy or a transport writes into a response or an error.
func TestSecretsAreNotRecorded(t *testing.T) {
	tel := newTelemetry()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
	const rid = "66b5fb8f-5e3c0071-3d7f539a"
	openID, token := wechatusertest.OpenID(7), srv.AccessToken()
	everything := strings.Join([]string{openID, token, srv.Secret}, " ")

	respond := func(status int, format string, args ...any) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			body := io.NopCloser(strings.NewReader(fmt.Sprintf(format, args...)))
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: body}, nil
		}
	}
	transports := map[string]func(*http.Request) (*http.Response, error){
		"success":         srv.Transport().RoundTrip,
		"errmsg":          respond(200, `{"errcode":40003,"errmsg":"invalid openid %s rid: %s"}`, everything, rid),
		"unknown errcode": respond(200, `{"errcode":98765,"errmsg":"%s rid: %s"}`, everything, openID),
		"rejected openid": respond(200, `{"errcode":45171,"errmsg":%q,"fail_openid_list":[%q]}`, everything, openID),
		"gateway":         respond(502, "<html>%s", everything),
		"wrong JSON":      respond(200, `{"user_info_list": %q}`, everything),
		"error with URL": func(req *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(req.Body)
			return nil, fmt.Errorf("proxy: %s %s %s", req.URL, body, everything)
		},
	}
	for name, roundTrip := range transports {
		for _, legacy := range []bool{false, true} {
			opts := []wechatuser.Option{
				wechatuser.WithRetry(wechatuser.RetryPolicy{MaxDelay: 1}),
				wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options()...)),
				tel.withHook(),
				wechatuser.WithLimiter(otelwechatuser.Limiter(failEveryFifth(everything), tel.options()...)),
				wechatuser.WithTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Body == nil {
						req.Body = http.NoBody
					}
					return roundTrip(req)
				})),
			}
			if legacy {
				opts = append(opts, wechatuser.WithLegacyToken())
			} else if name != "success" {
				opts = append(opts, wechatuser.WithTokenSource(wechatuser.StaticTokenSource(token)))
			}
			c := srv.Client(opts...)
			ctx := t.Context()
			_, _ = c.GetUserInfo(ctx, openID)
			_, _ = c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: openID}})
			_ = c.UpdateRemark(ctx, openID, "remark")
			_ = c.BatchTagging(ctx, 100, []string{openID})
			_ = c.ClearQuotaByAppSecret(ctx)
			_, _ = c.Token(ctx)
			_, _ = c.GetFans(ctx, openID)
		}
	}

	dump := tel.dump(t)
	require.Greater(t, len(tel.spans()), 7*len(transports))
	for _, present := range []string{
		"userInfo", "getAccessToken", "getStableAccessToken", "refresh access token", "40003", "502", rid, "no_answer",
		"not_sent",
	} {
		assert.Contains(t, dump, present)
	}
	for what, sentinel := range map[string]string{
		"token": token, "secret": srv.Secret, "openid": openID, "app ID": srv.AppID, "query": "access_token=",
	} {
		assert.NotContains(t, dump, sentinel, what)
	}
}

// failEveryFifth returns a limiter whose every fifth Wait fails with that text.
func failEveryFifth(text string) limiterFunc {
	n := 0
	return func(context.Context) error {
		if n++; n%5 == 0 {
			return errors.New(text)
		}
		return nil
	}
}
