package testutil

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// APICall is a call of one method that sends one request, with all that goes over the wire.
type APICall struct {
	Name     string // of the Go method; after a slash, what is special about this call
	API      string // official name
	Method   string
	Path     string
	Query    url.Values // besides the access token
	Body     string     // JSON, byte for byte; empty for none
	Response string
	Want     any // nil if the method returns only an error
	Write    bool
	Retry    RetryRule // after an attempt of unknown outcome
	OwnAuth  bool      // sends the app ID and secret in place of a token
	Legacy   bool      // with WithLegacyToken
	Do       func(context.Context, *wechatuser.Client) (any, error)
}

// RetryRule says what a client does after an attempt of unknown outcome.
type RetryRule int

// Rules for retries.
const (
	RetryAsIs   RetryRule = iota // sends the same request
	RetryLookUp                  // looks up whether the platform has applied it
	RetryNever
)

// NewClient returns a client for the call that sends through rt. Unless the call is for a token, it has one already.
func (a APICall) NewClient(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	if !a.IsTokenCall() {
		return NewClient(t, rt, opts...)
	}
	return NewTokenClient(t, rt, slices.Concat(opts, a.Options())...)
}

// Options are the options without which a client cannot make the call.
func (a APICall) Options() []wechatuser.Option {
	if a.Legacy {
		return []wechatuser.Option{wechatuser.WithLegacyToken()}
	}
	return nil
}

// IsTokenCall reports whether the call is for a token.
func (a APICall) IsTokenCall() bool { return strings.HasSuffix(a.API, "AccessToken") }

// ErrOnly adapts a method that returns only an error to [APICall].
func ErrOnly(err error) (any, error) { return nil, err }

// pageBody is a page with the openids of Alice and Bob.
const pageBody = `{"total":3,"count":2,"data":{"openid":["` + Alice + `","` + Bob + `"]},"next_openid":"` + Bob + `"}`

// fansPage is what pageBody decodes to.
var fansPage = &wechatuser.OpenIDPage{Total: 3, Count: 2, OpenIDs: []string{Alice, Bob}, NextOpenID: Bob}

// APICalls has at least one call of each endpoint. With a client of [APICall.NewClient] each sends one request.
var APICalls = []APICall{
	{
		Name: "GetUserInfo", API: "userInfo", Method: "GET", Path: PathUserInfo,
		Query: url.Values{"openid": {Alice}}, Response: AliceBody, Want: &AliceInfo,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetUserInfo(ctx, Alice, nil, wechatuser.WithLang(""))
		},
	},
	{
		Name: "GetUserInfo/WithLang", API: "userInfo", Method: "GET", Path: PathUserInfo,
		Query: url.Values{"openid": {Alice}, "lang": {"zh_TW"}}, Response: AliceBody, Want: &AliceInfo,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetUserInfo(ctx, Alice, wechatuser.WithLang(wechatuser.LangZhTW))
		},
	},
	{
		Name: "BatchUserInfo", API: "batchUserinfo", Method: "POST", Path: PathBatchUserInfo,
		Body:     `{"user_list":[{"openid":"` + Bob + `","lang":"en"},{"openid":"` + Alice + `"}]}`,
		Response: `{"user_info_list":[{"subscribe":0,"openid":"` + Bob + `","tagid_list":[]},` + AliceBody + `]}`,
		Want:     []wechatuser.UserInfo{{OpenID: Bob, TagIDList: []int{}}, AliceInfo},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: Bob, Lang: wechatuser.LangEN}, {OpenID: Alice}})
		},
	},
	{
		Name: "GetFans", API: "getFans", Method: "GET", Path: PathGetFans,
		Query: url.Values{"next_openid": {Carol}}, Response: pageBody, Want: fansPage,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetFans(ctx, Carol) },
	},
	{
		Name: "GetFans/first page", API: "getFans", Method: "GET", Path: PathGetFans,
		Response: `{"total":0,"count":0,"next_openid":""}`, Want: &wechatuser.OpenIDPage{},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetFans(ctx, "") },
	},
	{
		Name: "UpdateRemark", API: "updateRemark", Method: "POST", Path: PathUpdateRemark, Write: true,
		Body: `{"openid":"` + Alice + `","remark":"大客户"}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.UpdateRemark(ctx, Alice, "大客户"))
		},
	},
	{
		Name: "UpdateRemark/none", API: "updateRemark", Method: "POST", Path: PathUpdateRemark, Write: true,
		Body: `{"openid":"` + Alice + `","remark":""}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.UpdateRemark(ctx, Alice, ""))
		},
	},
	{
		Name: "ChangeOpenID", API: "changeOpenid", Method: "POST", Path: PathChangeOpenID,
		Body: `{"from_appid":"wxOLD","openid_list":["` + Alice + `"]}`,
		Response: `{"errcode":0,"errmsg":"ok","result_list":[{"ori_openid":"` + Alice + `","new_openid":"` + Bob +
			`","err_msg":"ok"}]}`,
		Want: []wechatuser.OpenIDChange{{From: Alice, To: Bob}},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.ChangeOpenID(ctx, "wxOLD", []string{Alice})
		},
	},

	{
		Name: "CreateTag", API: "createTag", Method: "POST", Path: PathCreateTag, Write: true, Retry: RetryLookUp,
		Body: `{"tag":{"name":"广东"}}`, Response: `{"tag":{"id":134,"name":"广东"}}`,
		Want: &wechatuser.Tag{ID: 134, Name: "广东"},
		Do:   func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.CreateTag(ctx, "广东") },
	},
	{
		Name: "GetTags", API: "getTags", Method: "GET", Path: PathGetTags,
		Response: TagsBody, Want: []wechatuser.Tag{{ID: 2, Name: "星标组"}, {ID: 100, Name: "vip", Count: 12}},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTags(ctx) },
	},
	{
		Name: "UpdateTag", API: "updateTag", Method: "POST", Path: PathUpdateTag, Write: true,
		Body: `{"tag":{"id":134,"name":"A&B <vip>"}}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.UpdateTag(ctx, 134, "A&B <vip>"))
		},
	},
	{
		Name: "DeleteTag", API: "deleteTag", Method: "POST", Path: PathDeleteTag, Write: true, Retry: RetryLookUp,
		Body: `{"tag":{"id":134}}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return ErrOnly(c.DeleteTag(ctx, 134)) },
	},
	{
		Name: "GetTagFans", API: "getTagFans", Method: "POST", Path: PathGetTagFans,
		Body:     `{"tagid":134,"next_openid":"` + Carol + `"}`,
		Response: `{"count":2,"data":{"openid":["` + Alice + `","` + Bob + `"]},"next_openid":"` + Bob + `"}`,
		Want:     &wechatuser.OpenIDPage{Count: 2, OpenIDs: []string{Alice, Bob}, NextOpenID: Bob},
		Do:       func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTagFans(ctx, 134, Carol) },
	},
	{
		Name: "BatchTagging", API: "batchTagging", Method: "POST", Path: PathBatchTagging, Write: true,
		Body: `{"openid_list":["` + Alice + `","` + Bob + `"],"tagid":134}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.BatchTagging(ctx, 134, []string{Alice, Bob}))
		},
	},
	{
		Name: "BatchUntagging", API: "batchUntagging", Method: "POST", Path: PathBatchUntagging, Write: true,
		Body: `{"openid_list":["` + Alice + `","` + Bob + `"],"tagid":134}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.BatchUntagging(ctx, 134, []string{Alice, Bob}))
		},
	},
	{
		Name: "GetTagIDList", API: "getTagidList", Method: "POST", Path: PathGetTagIDList,
		Body: `{"openid":"` + Alice + `"}`, Response: `{"tagid_list":[134,2]}`, Want: []int{134, 2},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTagIDList(ctx, Alice) },
	},

	{
		Name: "GetBlacklist", API: "getBlacklist", Method: "POST", Path: PathGetBlacklist,
		Body: `{"begin_openid":"` + Carol + `"}`, Response: pageBody, Want: fansPage,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetBlacklist(ctx, Carol) },
	},
	{
		Name: "BatchBlacklist", API: "batchBlacklist", Method: "POST", Path: PathBatchBlacklist, Write: true,
		Body: `{"openid_list":["` + Alice + `","` + Bob + `"]}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.BatchBlacklist(ctx, []string{Alice, Bob}))
		},
	},
	{
		Name: "BatchUnblacklist", API: "batchUnblacklist", Method: "POST", Path: PathBatchUnblacklist, Write: true,
		Body: `{"openid_list":["` + Alice + `"]}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.BatchUnblacklist(ctx, []string{Alice}))
		},
	},

	{
		Name: "ClearQuota", API: "clearQuota", Method: "POST", Path: PathClearQuota, Write: true, Retry: RetryNever,
		Body: `{"appid":"` + AppID + `"}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return ErrOnly(c.ClearQuota(ctx)) },
	},
	{
		Name: "ClearQuotaByAppSecret", API: "clearQuotaByAppSecret", Method: "POST", Path: PathClearQuotaByAppSecret,
		Write: true, Retry: RetryNever, OwnAuth: true,
		Query: url.Values{"appid": {AppID}, "appsecret": {Secret}},
		Body:  `{"appid":"` + AppID + `","appsecret":"` + Secret + `"}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.ClearQuotaByAppSecret(ctx))
		},
	},
	{
		Name: "ClearAPIQuota", API: "clearApiQuota", Method: "POST", Path: PathClearAPIQuota, Write: true,
		Retry: RetryNever,
		Body:  `{"cgi_path":"/cgi-bin/user/get"}`, Response: OKBody,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return ErrOnly(c.ClearAPIQuota(ctx, PathGetFans))
		},
	},
	{
		Name: "GetAPIQuota", API: "getApiQuota", Method: "POST", Path: PathGetAPIQuota,
		Body: `{"cgi_path":"/cgi-bin/user/get"}`,
		Response: `{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500,"used":3,"remain":497},` +
			`"rate_limit":{"call_count":10,"refresh_second":60},"component_rate_limit":{"call_count":20,"refresh_second":30}}`,
		Want: &wechatuser.APIQuota{
			DailyLimit: 500, Used: 3, Remain: 497,
			RateLimit:          wechatuser.RateLimit{Calls: 10, Period: time.Minute},
			ComponentRateLimit: wechatuser.RateLimit{Calls: 20, Period: 30 * time.Second},
		},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetAPIQuota(ctx, PathGetFans)
		},
	},
	{
		Name: "GetRIDInfo", API: "getRidInfo", Method: "POST", Path: PathGetRIDInfo,
		Body: `{"rid":"` + RID + `"}`,
		Response: `{"errcode":0,"errmsg":"ok","request":{"invoke_time":1635156704,"cost_in_ms":30,"request_url":"next_openid=",` +
			`"request_body":"b","response_body":"{\"errcode\":45009}","client_ip":"203.0.113.7"}}`,
		Want: &wechatuser.RIDInfo{
			InvokedAt: time.Unix(1635156704, 0), Cost: 30 * time.Millisecond, RequestURL: "next_openid=",
			RequestBody: "b", ResponseBody: `{"errcode":45009}`, ClientIP: "203.0.113.7",
		},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetRIDInfo(ctx, RID) },
	},
	{
		Name: "GetAPIDomainIP", API: "getApiDomainIp", Method: "GET", Path: PathGetAPIDomainIP,
		Response: `{"ip_list":["203.0.113.1","203.0.113.0\/24"]}`, Want: []string{"203.0.113.1", "203.0.113.0/24"},
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetAPIDomainIP(ctx) },
	},

	{
		Name: "Token/WithLegacyToken", API: "getAccessToken", Method: "GET", Path: PathToken, OwnAuth: true,
		Legacy:   true,
		Query:    url.Values{"grant_type": {"client_credential"}, "appid": {AppID}, "secret": {Secret}},
		Response: TokenBody, Want: BubbleToken,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.Token(ctx) },
	},
	{
		Name: "Token", API: "getStableAccessToken", Method: "POST", Path: PathStableToken, OwnAuth: true,
		Body:     `{"grant_type":"client_credential","appid":"` + AppID + `","secret":"` + Secret + `","force_refresh":false}`,
		Response: TokenBody, Want: BubbleToken,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.Token(ctx) },
	},
	{
		Name: "RefreshToken", API: "getStableAccessToken", Method: "POST", Path: PathStableToken, OwnAuth: true,
		Retry:    RetryNever,
		Body:     `{"grant_type":"client_credential","appid":"` + AppID + `","secret":"` + Secret + `","force_refresh":true}`,
		Response: TokenBody, Want: BubbleToken,
		Do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.RefreshToken(ctx) },
	},
}

// GetTags makes a call that may be retried as it is.
func GetTags(ctx context.Context, c *wechatuser.Client) error {
	_, err := c.GetTags(ctx)
	return err
}

// NeverRetried are the calls that must not be retried once they may have reached the platform.
var NeverRetried = []string{"ClearQuota", "ClearQuotaByAppSecret", "ClearAPIQuota", "RefreshToken"}

// CallOf returns the call of a method.
func CallOf(t *testing.T, method string) APICall {
	t.Helper()
	for _, call := range APICalls {
		if call.Name == method {
			return call
		}
	}
	require.Fail(t, "no call of "+method)
	return APICall{}
}
