package wechatuser

import "net/http"

// endpointID names a row of the endpoint table.
type endpointID int

const (
	userInfo endpointID = iota
	batchUserInfo
	getFans
	updateRemark
	changeOpenID

	createTag
	getTags
	updateTag
	deleteTag
	getTagFans
	batchTagging
	batchUntagging
	getTagIDList

	getBlacklist
	batchBlacklist
	batchUnblacklist

	clearQuota
	clearQuotaByAppSecret
	clearAPIQuota
	getAPIQuota
	getRIDInfo
	getAPIDomainIP

	accessToken
	stableToken
	forcedToken
)

// retryRule says whether a call may be retried after an attempt whose outcome is unknown: the request was sent, and no
// response of the platform arrived.
type retryRule int

const (
	retryAsIs    retryRule = iota // sent twice, the request has the same effect as once
	retryCleanUp                  // retried, and the method cleans up after the first attempt
	retryNever                    // each request uses up something that does not come back
)

// endpoint is everything that the SDK knows about an API call. Methods, retries, docs and tests read it from here.
type endpoint struct {
	api    string    // official English name, as in errors and logs
	title  string    // official Chinese name
	method string    // HTTP method
	path   string    // without query
	max    int       // openids in one call, 0 if it takes no list
	bulk   string    // the method for more than max
	write  bool      // changes the account
	retry  retryRule // after an unknown outcome
	noAuth bool      // sent without access_token
	page   string    // below docBase

	tokenParam string // the query parameter with the token; empty for access_token
}

// docURL returns the address of the platform's page about the endpoint.
func (e *endpoint) docURL() string { return docBase + e.page }

const docBase = "https://developers.weixin.qq.com/doc/service/api/"

const (
	// MaxUserInfoBatch is the number of openids that one BatchUserInfo or ChangeOpenID call takes.
	MaxUserInfoBatch = 100
	// MaxTaggingBatch is the number of openids that one BatchTagging or BatchUntagging call takes.
	MaxTaggingBatch = 50
	// MaxBlacklistBatch is the number of openids that one BatchBlacklist or BatchUnblacklist call takes.
	MaxBlacklistBatch = 20
)

// endpoints is the table of all API calls.
var endpoints = [...]endpoint{
	userInfo:      {api: "userInfo", title: "获取用户基本信息", method: http.MethodGet, path: "/cgi-bin/user/info", page: "usermanage/userinfo/api_userinfo.html"},
	batchUserInfo: {api: "batchUserinfo", title: "批量获取用户基本信息", method: http.MethodPost, path: "/cgi-bin/user/info/batchget", max: MaxUserInfoBatch, bulk: "BulkUserInfo", page: "usermanage/userinfo/api_batchuserinfo.html"},
	getFans:       {api: "getFans", title: "获取关注用户列表", method: http.MethodGet, path: "/cgi-bin/user/get", page: "usermanage/userinfo/api_getfans.html"},
	updateRemark:  {api: "updateRemark", title: "设置用户备注名", method: http.MethodPost, path: "/cgi-bin/user/info/updateremark", write: true, page: "usermanage/userinfo/api_updateremark.html"},
	changeOpenID:  {api: "changeOpenid", title: "账号迁移 openid 转换", method: http.MethodPost, path: "/cgi-bin/changeopenid", max: MaxUserInfoBatch, bulk: "BulkChangeOpenID", page: "usermanage/changeopenid/api_changeopenid.html"},

	createTag:      {api: "createTag", title: "创建标签", method: http.MethodPost, path: "/cgi-bin/tags/create", write: true, retry: retryCleanUp, page: "usermanage/tag/api_createtag.html"},
	getTags:        {api: "getTags", title: "获取标签", method: http.MethodGet, path: "/cgi-bin/tags/get", page: "usermanage/tag/api_gettags.html"},
	updateTag:      {api: "updateTag", title: "编辑标签", method: http.MethodPost, path: "/cgi-bin/tags/update", write: true, page: "usermanage/tag/api_updatetag.html"},
	deleteTag:      {api: "deleteTag", title: "删除标签", method: http.MethodPost, path: "/cgi-bin/tags/delete", write: true, retry: retryCleanUp, page: "usermanage/tag/api_deletetag.html"},
	getTagFans:     {api: "getTagFans", title: "获取标签下粉丝列表", method: http.MethodPost, path: "/cgi-bin/user/tag/get", page: "usermanage/tag/api_gettagfans.html"},
	batchTagging:   {api: "batchTagging", title: "批量为用户打标签", method: http.MethodPost, path: "/cgi-bin/tags/members/batchtagging", max: MaxTaggingBatch, bulk: "BulkTagging", write: true, page: "usermanage/tag/api_batchtagging.html"},
	batchUntagging: {api: "batchUntagging", title: "批量为用户取消标签", method: http.MethodPost, path: "/cgi-bin/tags/members/batchuntagging", max: MaxTaggingBatch, bulk: "BulkUntagging", write: true, page: "usermanage/tag/api_batchuntagging.html"},
	getTagIDList:   {api: "getTagidList", title: "获取用户的标签列表", method: http.MethodPost, path: "/cgi-bin/tags/getidlist", page: "usermanage/tag/api_gettagidlist.html"},

	getBlacklist:     {api: "getBlacklist", title: "获取黑名单列表", method: http.MethodPost, path: "/cgi-bin/tags/members/getblacklist", page: "usermanage/userinfo/api_getblacklist.html"},
	batchBlacklist:   {api: "batchBlacklist", title: "拉黑用户", method: http.MethodPost, path: "/cgi-bin/tags/members/batchblacklist", max: MaxBlacklistBatch, bulk: "BulkBlacklist", write: true, page: "usermanage/userinfo/api_batchblacklist.html"},
	batchUnblacklist: {api: "batchUnblacklist", title: "取消拉黑用户", method: http.MethodPost, path: "/cgi-bin/tags/members/batchunblacklist", max: MaxBlacklistBatch, bulk: "BulkUnblacklist", write: true, page: "usermanage/userinfo/api_batchunblacklist.html"},

	clearQuota:            {api: "clearQuota", title: "重置 API 调用次数", method: http.MethodPost, path: "/cgi-bin/clear_quota", write: true, retry: retryNever, page: "apimanage/api_clearquota.html"},
	clearQuotaByAppSecret: {api: "clearQuotaByAppSecret", title: "使用 AppSecret 重置 API 调用次数", method: http.MethodPost, path: "/cgi-bin/clear_quota/v2", write: true, retry: retryNever, noAuth: true, page: "apimanage/api_clearquotabyappsecret.html"},
	clearAPIQuota:         {api: "clearApiQuota", title: "重置指定 API 调用次数", method: http.MethodPost, path: "/cgi-bin/openapi/quota/clear", write: true, retry: retryNever, page: "apimanage/api_clearapiquota.html"},
	getAPIQuota:           {api: "getApiQuota", title: "查询 API 调用额度", method: http.MethodPost, path: "/cgi-bin/openapi/quota/get", page: "apimanage/api_getapiquota.html"},
	getRIDInfo:            {api: "getRidInfo", title: "查询 rid 信息", method: http.MethodPost, path: "/cgi-bin/openapi/rid/get", page: "apimanage/api_getridinfo.html"},
	getAPIDomainIP:        {api: "getApiDomainIp", title: "获取微信 API 服务器 IP", method: http.MethodGet, path: "/cgi-bin/get_api_domain_ip", page: "base/api_getapidomainip.html"},

	accessToken: {api: "getAccessToken", title: "获取接口调用凭据", method: http.MethodGet, path: "/cgi-bin/token", noAuth: true, page: "base/api_getaccesstoken.html"},
	stableToken: {api: "getStableAccessToken", title: "获取稳定版接口调用凭据", method: http.MethodPost, path: "/cgi-bin/stable_token", noAuth: true, page: "base/api_getstableaccesstoken.html"},
	forcedToken: {api: "getStableAccessToken", title: "获取稳定版接口调用凭据", method: http.MethodPost, path: "/cgi-bin/stable_token", retry: retryNever, noAuth: true, page: "base/api_getstableaccesstoken.html"},
}
