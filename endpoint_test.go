package wechatuser_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// apiCall is one call of a method that is one endpoint, with all that goes over the wire.
type apiCall struct {
	name    string // of the Go method, and what is special about this call after a slash
	api     string // official name
	method  string
	path    string
	query   url.Values // besides the access token
	body    string     // JSON, byte for byte; empty for none
	answer  string
	want    any // nil where the method gives only an error
	write   bool
	retry   retryRule
	ownAuth bool // sends no access token, but the app ID and secret
	legacy  bool // with WithLegacyToken
	do      func(context.Context, *wechatuser.Client) (any, error)
}

// retryRule says what a client does after an attempt of unknown outcome.
type retryRule int

const (
	retryAsIs   retryRule = iota // sends the same request
	retryLookUp                  // looks up whether the platform has applied it
	retryNever
)

// client makes a client for the call.
func (a apiCall) client(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	if !a.tokenCall() {
		return newClient(t, rt, opts...)
	}
	opts = append([]wechatuser.Option{wechatuser.WithTransport(rt)}, opts...)
	if a.legacy {
		opts = append(opts, wechatuser.WithLegacyToken())
	}
	c, err := wechatuser.New(testAppID, testSecret, opts...)
	require.NoError(t, err)
	return c
}

// tokenCall reports whether the call is for a token.
func (a apiCall) tokenCall() bool { return strings.HasSuffix(a.api, "AccessToken") }

// errOnly is for the calls that give only an error.
func errOnly(err error) (any, error) { return nil, err }

const pageBody = `{"total":3,"count":2,"data":{"openid":["` + alice + `","` + bob + `"]},"next_openid":"` + bob + `"}`

var fansPage = &wechatuser.OpenIDPage{Total: 3, Count: 2, OpenIDs: []string{alice, bob}, NextOpenID: bob}

const aliceBody = `{"subscribe":1,"openid":"` + alice + `","nickname":"A","sex":2,"language":"zh_CN","city":"广州",` +
	`"province":"广东","country":"中国","headimgurl":"https:\/\/wx.qlogo.cn\/0","subscribe_time":1641364601,"unionid":"uFAKE",` +
	`"remark":"r","groupid":100,"tagid_list":[100,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,"qr_scene_str":"s"}`

var aliceInfo = wechatuser.UserInfo{
	Subscribe: 1, OpenID: alice, Nickname: "A", Sex: 2, Language: "zh_CN", City: "广州",
	Province: "广东", Country: "中国", HeadImgURL: "https://wx.qlogo.cn/0", SubscribeTime: 1641364601, UnionID: "uFAKE",
	Remark: "r", GroupID: 100, TagIDList: []int{100, 2}, SubscribeScene: wechatuser.SceneQRCode, QRScene: 98765, QRSceneStr: "s",
}

const testRID = "617682e0-09059ac5-34a8e2ea"

// The Go client of the tests has a token already, so that the rows but the last three are one request each.
var apiCalls = []apiCall{
	{
		name: "GetUserInfo", api: "userInfo", method: "GET", path: "/cgi-bin/user/info",
		query: url.Values{"openid": {alice}}, answer: aliceBody, want: &aliceInfo,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetUserInfo(ctx, alice, nil, wechatuser.WithLang(""))
		},
	},
	{
		name: "GetUserInfo/WithLang", api: "userInfo", method: "GET", path: "/cgi-bin/user/info",
		query: url.Values{"openid": {alice}, "lang": {"zh_TW"}}, answer: aliceBody, want: &aliceInfo,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetUserInfo(ctx, alice, wechatuser.WithLang(wechatuser.LangZhTW))
		},
	},
	{
		name: "BatchUserInfo", api: "batchUserinfo", method: "POST", path: "/cgi-bin/user/info/batchget",
		body:   `{"user_list":[{"openid":"` + alice + `"},{"openid":"` + bob + `","lang":"en"}]}`,
		answer: `{"user_info_list":[` + aliceBody + `,{"subscribe":0,"openid":"` + bob + `","tagid_list":[]}]}`,
		want:   []wechatuser.UserInfo{aliceInfo, {OpenID: bob, TagIDList: []int{}}},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: alice}, {OpenID: bob, Lang: wechatuser.LangEN}})
		},
	},
	{
		name: "GetFans", api: "getFans", method: "GET", path: "/cgi-bin/user/get",
		query: url.Values{"next_openid": {carol}}, answer: pageBody, want: fansPage,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetFans(ctx, carol) },
	},
	{
		name: "GetFans/first page", api: "getFans", method: "GET", path: "/cgi-bin/user/get",
		answer: `{"total":0,"count":0,"next_openid":""}`, want: &wechatuser.OpenIDPage{},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetFans(ctx, "") },
	},
	{
		name: "UpdateRemark", api: "updateRemark", method: "POST", path: "/cgi-bin/user/info/updateremark", write: true,
		body: `{"openid":"` + alice + `","remark":"大客户"}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.UpdateRemark(ctx, alice, "大客户"))
		},
	},
	{
		name: "UpdateRemark/none", api: "updateRemark", method: "POST", path: "/cgi-bin/user/info/updateremark", write: true,
		body: `{"openid":"` + alice + `","remark":""}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.UpdateRemark(ctx, alice, ""))
		},
	},
	{
		name: "ChangeOpenID", api: "changeOpenid", method: "POST", path: "/cgi-bin/changeopenid",
		body: `{"from_appid":"wxOLD","openid_list":["` + alice + `"]}`,
		answer: `{"errcode":0,"errmsg":"ok","result_list":[{"ori_openid":"` + alice + `","new_openid":"` + bob +
			`","err_msg":"ok"}]}`,
		want: []wechatuser.OpenIDChange{{From: alice, To: bob}},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.ChangeOpenID(ctx, "wxOLD", []string{alice})
		},
	},

	{
		name: "CreateTag", api: "createTag", method: "POST", path: "/cgi-bin/tags/create", write: true, retry: retryLookUp,
		body: `{"tag":{"name":"广东"}}`, answer: `{"tag":{"id":134,"name":"广东"}}`, want: &wechatuser.Tag{ID: 134, Name: "广东"},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.CreateTag(ctx, "广东") },
	},
	{
		name: "GetTags", api: "getTags", method: "GET", path: "/cgi-bin/tags/get",
		answer: tagsBody, want: []wechatuser.Tag{{ID: 2, Name: "星标组"}, {ID: 100, Name: "vip", Count: 12}},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTags(ctx) },
	},
	{
		name: "UpdateTag", api: "updateTag", method: "POST", path: "/cgi-bin/tags/update", write: true,
		body: `{"tag":{"id":134,"name":"A&B <vip>"}}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.UpdateTag(ctx, 134, "A&B <vip>"))
		},
	},
	{
		name: "DeleteTag", api: "deleteTag", method: "POST", path: "/cgi-bin/tags/delete", write: true, retry: retryLookUp,
		body: `{"tag":{"id":134}}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return errOnly(c.DeleteTag(ctx, 134)) },
	},
	{
		name: "GetTagFans", api: "getTagFans", method: "POST", path: "/cgi-bin/user/tag/get",
		body:   `{"tagid":134,"next_openid":"` + carol + `"}`,
		answer: `{"count":2,"data":{"openid":["` + alice + `","` + bob + `"]},"next_openid":"` + bob + `"}`,
		want:   &wechatuser.OpenIDPage{Count: 2, OpenIDs: []string{alice, bob}, NextOpenID: bob},
		do:     func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTagFans(ctx, 134, carol) },
	},
	{
		name: "BatchTagging", api: "batchTagging", method: "POST", path: "/cgi-bin/tags/members/batchtagging", write: true,
		body: `{"openid_list":["` + alice + `","` + bob + `"],"tagid":134}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.BatchTagging(ctx, 134, []string{alice, bob}))
		},
	},
	{
		name: "BatchUntagging", api: "batchUntagging", method: "POST", path: "/cgi-bin/tags/members/batchuntagging", write: true,
		body: `{"openid_list":["` + alice + `","` + bob + `"],"tagid":134}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.BatchUntagging(ctx, 134, []string{alice, bob}))
		},
	},
	{
		name: "GetTagIDList", api: "getTagidList", method: "POST", path: "/cgi-bin/tags/getidlist",
		body: `{"openid":"` + alice + `"}`, answer: `{"tagid_list":[134,2]}`, want: []int{134, 2},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTagIDList(ctx, alice) },
	},

	{
		name: "GetBlacklist", api: "getBlacklist", method: "POST", path: "/cgi-bin/tags/members/getblacklist",
		body: `{"begin_openid":"` + carol + `"}`, answer: pageBody, want: fansPage,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetBlacklist(ctx, carol) },
	},
	{
		name: "BatchBlacklist", api: "batchBlacklist", method: "POST", path: "/cgi-bin/tags/members/batchblacklist", write: true,
		body: `{"openid_list":["` + alice + `","` + bob + `"]}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.BatchBlacklist(ctx, []string{alice, bob}))
		},
	},
	{
		name: "BatchUnblacklist", api: "batchUnblacklist", method: "POST", path: "/cgi-bin/tags/members/batchunblacklist", write: true,
		body: `{"openid_list":["` + alice + `"]}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.BatchUnblacklist(ctx, []string{alice}))
		},
	},

	{
		name: "ClearQuota", api: "clearQuota", method: "POST", path: "/cgi-bin/clear_quota", write: true, retry: retryNever,
		body: `{"appid":"` + testAppID + `"}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return errOnly(c.ClearQuota(ctx)) },
	},
	{
		name: "ClearQuotaByAppSecret", api: "clearQuotaByAppSecret", method: "POST", path: "/cgi-bin/clear_quota/v2",
		write: true, retry: retryNever, ownAuth: true,
		query: url.Values{"appid": {testAppID}, "appsecret": {testSecret}},
		body:  `{"appid":"` + testAppID + `","appsecret":"` + testSecret + `"}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.ClearQuotaByAppSecret(ctx))
		},
	},
	{
		name: "ClearAPIQuota", api: "clearApiQuota", method: "POST", path: "/cgi-bin/openapi/quota/clear", write: true, retry: retryNever,
		body: `{"cgi_path":"/cgi-bin/user/get"}`, answer: okBody,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return errOnly(c.ClearAPIQuota(ctx, "/cgi-bin/user/get"))
		},
	},
	{
		name: "GetAPIQuota", api: "getApiQuota", method: "POST", path: "/cgi-bin/openapi/quota/get",
		body: `{"cgi_path":"/cgi-bin/user/get"}`,
		answer: `{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500,"used":3,"remain":497},` +
			`"rate_limit":{"call_count":10,"refresh_second":60},"component_rate_limit":{"call_count":20,"refresh_second":30}}`,
		want: &wechatuser.APIQuota{
			DailyLimit: 500, Used: 3, Remain: 497,
			RateLimit:          wechatuser.RateLimit{Calls: 10, Period: time.Minute},
			ComponentRateLimit: wechatuser.RateLimit{Calls: 20, Period: 30 * time.Second},
		},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetAPIQuota(ctx, "/cgi-bin/user/get")
		},
	},
	{
		name: "GetRIDInfo", api: "getRidInfo", method: "POST", path: "/cgi-bin/openapi/rid/get",
		body: `{"rid":"` + testRID + `"}`,
		answer: `{"errcode":0,"errmsg":"ok","request":{"invoke_time":1635156704,"cost_in_ms":30,"request_url":"next_openid=",` +
			`"request_body":"b","response_body":"{\"errcode\":45009}","client_ip":"203.0.113.7"}}`,
		want: &wechatuser.RIDInfo{
			InvokedAt: time.Unix(1635156704, 0), Cost: 30 * time.Millisecond, RequestURL: "next_openid=",
			RequestBody: "b", ResponseBody: `{"errcode":45009}`, ClientIP: "203.0.113.7",
		},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetRIDInfo(ctx, testRID) },
	},
	{
		name: "GetAPIDomainIP", api: "getApiDomainIp", method: "GET", path: "/cgi-bin/get_api_domain_ip",
		answer: `{"ip_list":["203.0.113.1","203.0.113.0\/24"]}`, want: []string{"203.0.113.1", "203.0.113.0/24"},
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetAPIDomainIP(ctx) },
	},

	{
		name: "Token/WithLegacyToken", api: "getAccessToken", method: "GET", path: "/cgi-bin/token", ownAuth: true, legacy: true,
		query:  url.Values{"grant_type": {"client_credential"}, "appid": {testAppID}, "secret": {testSecret}},
		answer: tokenBody, want: bubbleToken,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.Token(ctx) },
	},
	{
		name: "Token", api: "getStableAccessToken", method: "POST", path: "/cgi-bin/stable_token", ownAuth: true,
		body:   `{"grant_type":"client_credential","appid":"` + testAppID + `","secret":"` + testSecret + `","force_refresh":false}`,
		answer: tokenBody, want: bubbleToken,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.Token(ctx) },
	},
	{
		name: "RefreshToken", api: "getStableAccessToken", method: "POST", path: "/cgi-bin/stable_token", ownAuth: true, retry: retryNever,
		body:   `{"grant_type":"client_credential","appid":"` + testAppID + `","secret":"` + testSecret + `","force_refresh":true}`,
		answer: tokenBody, want: bubbleToken,
		do: func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.RefreshToken(ctx) },
	},
}

const tokenBody = `{"access_token":"` + testToken + `","expires_in":7200}`

// bubbleToken is the token of tokenBody in a synctest bubble, which begins at this time.
var bubbleToken = wechatuser.Token{
	AccessToken: testToken, ExpiresAt: time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC).Local(),
}

func TestEveryEndpoint(t *testing.T) {
	for _, call := range apiCalls {
		t.Run(call.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := play(says(call.answer))
				got, err := call.do(t.Context(), call.client(t, s))
				require.NoError(t, err)
				assert.Equal(t, call.want, got)

				require.Equal(t, 1, s.count())
				req := s.requests()[0]
				query := url.Values{}
				for name, values := range call.query {
					query[name] = values
				}
				if !call.ownAuth {
					query.Set("access_token", testToken)
				}
				assert.Equal(t, call.method, req.Method)
				assert.Equal(t, "api.weixin.qq.com", req.Host)
				assert.Equal(t, call.path, req.Path)
				assert.Equal(t, query, req.Query)
				assert.Equal(t, call.body, req.Body)
				assert.EqualValues(t, len(call.body), req.Length, "no chunked body")

				header := http.Header{"Accept": {"application/json"}, "User-Agent": {"wechatuser/" + wechatuser.Version}}
				if call.body != "" {
					header.Set("Content-Type", "application/json")
				}
				assert.Equal(t, header, req.Header)
			})
		})
	}
}

// What net/http makes of a request can only be seen at the other end of a socket.
func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte(okBody))
	})
	c := newClient(t, srv.Client().Transport, wechatuser.WithBaseURL(srv.URL+"/proxy/"), wechatuser.WithUserAgent("shop/2.0 (test)"))
	require.NoError(t, c.UpdateTag(t.Context(), 100, "大<&>"))

	assert.Equal(t, "/proxy/cgi-bin/tags/update?access_token="+url.QueryEscape(testToken), got.RequestURI)
	body := `{"tag":{"id":100,"name":"大<&>"}}`
	assert.Equal(t, http.Header{
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"Content-Length":  {strconv.Itoa(len(body))},
		"Content-Type":    {"application/json"},
		"User-Agent":      {"shop/2.0 (test)"},
	}, got.Header)
	assert.Empty(t, got.TransferEncoding)
}

// The methods that are no endpoint of their own.
var otherMethods = []string{
	"AppID", "HTTPClient", "String", "GoString", "Format", "LogValue",
	"AllFans", "AllTagFans", "AllBlacklist",
	"BulkUserInfo", "BulkChangeOpenID", "BulkTagging", "BulkUntagging", "BulkBlacklist", "BulkUnblacklist",
	"SyncTag", "SyncBlacklist", "EnsureTag",
}

func TestEveryMethodAndEndpointHasACall(t *testing.T) {
	methods, apis := map[string]bool{}, map[string]bool{}
	for _, call := range apiCalls {
		name, _, _ := strings.Cut(call.name, "/")
		methods[name], apis[call.api] = true, true
	}
	for _, name := range otherMethods {
		methods[name] = true
	}
	typ := reflect.TypeFor[*wechatuser.Client]()
	for i := range typ.NumMethod() {
		assert.Contains(t, methods, typ.Method(i).Name)
	}
	for _, api := range wechatuser.EndpointAPIs() {
		assert.Contains(t, apis, api)
	}
	assert.Len(t, apis, len(wechatuser.EndpointAPIs()))
}

// The suites in folder test see the endpoint table through the calls.
func TestCallsAgreeWithTheEndpointTable(t *testing.T) {
	rows := map[string]wechatuser.Endpoint{}
	for _, row := range wechatuser.Endpoints() {
		if row.Force {
			row.API = "RefreshToken"
		}
		rows[row.API] = row
	}
	seen := map[string]bool{}
	for _, call := range apiCalls {
		api := call.api
		if call.name == "RefreshToken" {
			api = call.name
		}
		seen[api] = true
		assert.Equal(t, rows[api], wechatuser.Endpoint{
			API: api, Path: call.path, Write: call.write, NoAuth: call.ownAuth,
			Never: call.retry == retryNever, ClearsUp: call.retry == retryLookUp, Force: call.name == "RefreshToken",
		}, call.name)
	}
	assert.Len(t, seen, len(rows))
}

// UserInfo keeps the platform's names, so that it can be stored and read again.
func TestUserInfoRoundTrip(t *testing.T) {
	data, err := json.Marshal(aliceInfo)
	require.NoError(t, err)
	assert.JSONEq(t, aliceBody, string(data))

	var got wechatuser.UserInfo
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, aliceInfo, got)
}
