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

// Whatever the platform, a proxy or a transport writes into an answer or an error, it is in no span and no metric.
func TestNothingLeaks(t *testing.T) {
	tel := newTelemetry()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
	openID, token := wechatusertest.OpenID(7), srv.AccessToken()
	everything := strings.Join([]string{openID, token, srv.Secret}, " ")

	answer := func(status int, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
	}
	behaviours := map[string]func(*http.Request) (*http.Response, error){
		"as it should":    srv.Transport().RoundTrip,
		"errmsg":          answer(200, fmt.Sprintf(`{"errcode":40003,"errmsg":"invalid openid %s rid: 66b5fb8f-5e3c0071-3d7f539a"}`, everything)),
		"unknown errcode": answer(200, fmt.Sprintf(`{"errcode":98765,"errmsg":"%s rid: %s"}`, everything, openID)),
		"some openids":    answer(200, fmt.Sprintf(`{"errcode":45171,"errmsg":"%s","fail_openid_list":[%q]}`, everything, openID)),
		"page":            answer(502, "<html>"+everything),
		"not the JSON":    answer(200, `{"user_info_list": "`+everything+`"}`),
		"error with URL": func(req *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(req.Body)
			return nil, fmt.Errorf("proxy: %s %s %s", req.URL, body, everything)
		},
	}
	for name, behave := range behaviours {
		for _, legacy := range []bool{false, true} {
			opts := []wechatuser.Option{
				wechatuser.WithRetry(wechatuser.RetryPolicy{MaxDelay: 1}),
				wechatuser.WithInterceptor(otelwechatuser.Interceptor(tel.options()...)),
				wechatuser.WithLimiter(otelwechatuser.Limiter(failsAtTimes(everything), tel.options()...)),
				wechatuser.WithTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Body == nil {
						req.Body = http.NoBody
					}
					return behave(req)
				})),
			}
			if legacy {
				opts = append(opts, wechatuser.WithLegacyToken())
			} else if name != "as it should" {
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
	require.Greater(t, len(tel.spans()), 7*len(behaviours))
	for _, present := range []string{"userInfo", "getAccessToken", "getStableAccessToken", "40003", "502", "66b5fb8f-5e3c0071-3d7f539a", "no_answer", "not_sent"} {
		assert.Contains(t, dump, present)
	}
	for what, sentinel := range map[string]string{"token": token, "secret": srv.Secret, "openid": openID, "app ID": srv.AppID, "access_token": "access_token="} {
		assert.NotContains(t, dump, sentinel, what)
	}
}

// failsAtTimes is a limiter whose every fifth wait fails with that text.
func failsAtTimes(text string) limiterFunc {
	n := 0
	return func(context.Context) error {
		if n++; n%5 == 0 {
			return errors.New(text)
		}
		return nil
	}
}
