package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// sample is a response body as published by someone; personal data in it has been replaced.
type sample struct {
	Endpoint string `json:"endpoint"` // path, "*" for any
	Kind     string `json:"kind"`     // "ok" or "error"
	Body     string `json:"body"`
	Source   string `json:"source"`
	Note     string `json:"note"`
}

func readSamples(t *testing.T) (samples []sample) {
	t.Helper()
	file, err := os.Open(filepath.Join(moduleRoot, "testdata", "samples.jsonl"))
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var s sample
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		samples = append(samples, s)
	}
	require.NoError(t, lines.Err())
	return samples
}

// sampleResults are the results for the samples, in order. An *Error is compared without its API; nil stands for a
// *ResponseError.
var sampleResults = []any{
	&wechatuser.UserInfo{
		Subscribe: 1, OpenID: "od7MKqoigCII5zwT-0ha598nuOi1", Language: "zh_CN", SubscribeTime: 1641364601,
		UnionID: "ov5iglPeitym3gKvNyThj_oGH6u2", TagIDList: []int{}, SubscribeScene: wechatuser.SceneSearch,
	},
	&wechatuser.UserInfo{OpenID: "o0AYnhQ2YqIniVpRbZmrl8GueFKm", Language: "zh_CN", TagIDList: []int{}},
	&wechatuser.UserInfo{
		Subscribe: 1, OpenID: "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", Language: "zh_CN", SubscribeTime: 1382694957,
		UnionID: " o6_bmasdasdsad6_2sgVt7hMZOPfL", TagIDList: []int{128, 2}, SubscribeScene: wechatuser.SceneQRCode,
		QRScene: 98765,
	},
	&wechatuser.UserInfo{
		Subscribe: 1, OpenID: "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", Nickname: "Band", Sex: 1, Language: "zh_CN",
		City: "广州", Province: "广东", Country: "中国", SubscribeTime: 1382694957,
		HeadImgURL: "http://wx.qlogo.cn/mmopen/g3MonUZtNHkdmzicIlibx6iaFqAc56vxLSUfpb6n5WKSYVY0ChQKkiaJSgQ1dZuTOgvLLrhJbERQQ4eMsv84eavHiaiceqxibJxCfHe/0",
	},
	&wechatuser.OpenIDPage{Total: 2, Count: 2, OpenIDs: []string{"OPENID1", "OPENID2"}, NextOpenID: "NEXT_OPENID"},
	&wechatuser.Tag{ID: 134, Name: "广东"},
	[]wechatuser.Tag{{ID: 2, Name: "星标组"}, {ID: 100, Name: "辽宁"}},
	&wechatuser.OpenIDPage{
		Count: 2, OpenIDs: []string{"ocYxcuAEy30bX0NXmGn4ypqx3tI0", "ocYxcuBt0mRugKZ7tGAHPnUaOW7Y"},
		NextOpenID: "ocYxcuBt0mRugKZ7tGAHPnUaOW7Y",
	},
	[]int{134, 2},
	&wechatuser.OpenIDPage{
		Total: 23000, Count: 1000, OpenIDs: []string{"OPENID1", "OPENID2"}, NextOpenID: "OPENID1000",
	},
	testutil.OKBody,
	wechatuser.Token{AccessToken: "ACCESS_TOKEN", ExpiresAt: testutil.BubbleToken.ExpiresAt},
	&wechatuser.APIQuota{
		DailyLimit: 500000, Remain: 500000,
		RateLimit:          wechatuser.RateLimit{Calls: 10000, Period: time.Minute},
		ComponentRateLimit: wechatuser.RateLimit{Calls: 1050000, Period: time.Minute},
	},
	&wechatuser.RIDInfo{
		InvokedAt: time.Unix(1635156704, 0), Cost: 30 * time.Millisecond, RequestURL: "access_token=***",
		ResponseBody: `{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 617682e0-09059ac5-34a8e2ea"}`,
		ClientIP:     "113.xx.70.51",
	},
	&wechatuser.Error{
		Code: 40032, Message: "invalid openid list size", Hint: "xlmeHJYfk-6Hx4LA", RID: "66f43076-700f44ff-0465cb1b",
	},
	&wechatuser.Error{Code: 40003, Message: "invalid openid", Hint: "lggEzMNre-I", RID: "5f8539c4-6220bb17-745f8a17"},
	&wechatuser.Error{
		Code: 45157, Message: "invalid tag name", Hint: "AfNFr0mre-4H1qbA", RID: "658ce562-2e1869db-200c6db8",
	},
	&wechatuser.Error{
		Code: 45159, Message: "invalid tag id", Hint: "uGiBx0mre-Mz7bhA", RID: "661f6f22-4e5022ac-04a408f4",
	},
	&wechatuser.Error{Code: 45171, Message: "some openid fail", FailedOpenIDs: []string{"openid_2"}},
	&wechatuser.Error{
		Code: 40001, RID: "654df33c-64386a2f-29857782",
		Message: "invalid credential, access_token is invalid or not latest, could get access_token by " +
			"getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
	},
	&wechatuser.Error{Code: 48001, Message: "api unauthorized", RID: "5f6865b5-5f35804e-757202fa"},
	&wechatuser.Error{Code: 48001, Message: "api unauthorized", RID: "634c0b3e-4e213ffb-5b22a862"},
	&wechatuser.Error{Code: 45009, Message: "reach max api daily quota limit", RID: "64eed8de-4cdaca9b-1be8f193"},
	&wechatuser.Error{
		Code: 45009, RID: "6965aef2-130b878a-1b55c042",
		Message: "reach max api daily quota limit, could get access_token by getStableAccessToken, more details at " +
			"https://mmbizurl.cn/s/JtxxFh33r",
	},
	&wechatuser.Error{Code: 40125, Message: "invalid appsecret", RID: "66b5fb8f-5e3c0071-3d7f539a"},
	&wechatuser.Error{
		Code: 40164, RID: "611740a4-27f9a8ba-065da01b",
		Message: "invalid ip 203.0.113.81 ipv6 ::ffff:203.0.113.81, not in whitelist",
	},
	&wechatuser.Error{Code: -1, Message: "system error", RID: "5f45fc68-0bf65df0-75a2c7cc"},
	&wechatuser.Error{Code: 63182, Message: "openid_list empty", Hint: "x_4U05591977"},
	&wechatuser.Error{Code: 40013, Message: "invalid appid"},
	nil, // typed by hand, without quotes
	&wechatuser.Error{
		Code: 76022, Message: "could not use this cgi_path, no permission", RID: "65d6c577-708584e7-7ebd8c0d",
	},
	&wechatuser.Error{Code: 63178, Message: "appid wrong", RID: "661ca488-5cbcbef4-4657ebd2"},
	nil, // printed by Python, in single quotes
}

func TestSamples(t *testing.T) {
	samples := readSamples(t)
	require.Len(t, samples, len(sampleResults))
	for i, sample := range samples {
		t.Run(fmt.Sprintf("%d %s", i+1, sample.Endpoint), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := sampleCall(t, sample.Endpoint)
				if want, ok := sampleResults[i].(*wechatuser.UserInfo); ok {
					call.Do = func(ctx context.Context, c *wechatuser.Client) (any, error) {
						return c.GetUserInfo(ctx, want.OpenID)
					}
				}
				c := call.NewClient(t, testutil.Play(testutil.RespondJSON(sample.Body)),
					wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
				got, err := call.Do(t.Context(), c)

				switch want := sampleResults[i].(type) {
				case nil:
					var re *wechatuser.ResponseError
					require.ErrorAs(t, err, &re)
					assert.Equal(t, 200, re.StatusCode)
					assert.NotEmpty(t, re.Snippet)
				case *wechatuser.Error:
					assert.Equal(t, "error", sample.Kind)
					var e *wechatuser.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, call.API, e.API)
					assert.Equal(t, 1, e.Attempts)
					assert.Equal(t, want.Code, e.Code)
					assert.Equal(t, want.Message, e.Message)
					assert.Equal(t, want.RID, e.RID)
					assert.Equal(t, want.Hint, e.Hint)
					assert.ElementsMatch(t, want.FailedOpenIDs, e.FailedOpenIDs)
				case string:
					assert.Equal(t, "ok", sample.Kind)
					require.NoError(t, err)
				default:
					assert.Equal(t, "ok", sample.Kind)
					require.NoError(t, err)
					assert.Equal(t, want, got)
				}
			})
		})
	}
}

// sampleCall returns a call to the path of a sample.
func sampleCall(t *testing.T, path string) testutil.APICall {
	t.Helper()
	if path == "*" {
		path = testutil.PathGetTags
	}
	for _, call := range testutil.APICalls {
		if call.Path == path {
			if call.Name == "BatchTagging" {
				call.Do = func(ctx context.Context, c *wechatuser.Client) (any, error) {
					return testutil.ErrOnly(c.BatchTagging(ctx, 100, []string{"openid_1", "openid_2"}))
				}
			}
			return call
		}
	}
	require.Fail(t, "no call to "+path)
	return testutil.APICall{}
}
