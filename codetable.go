package wechatuser

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Error returns the number and what it means.
func (c Code) Error() string {
	s := fmt.Sprintf("wechatuser: errcode %d", int(c))
	if text := cmp.Or(c.Text(), c.Meaning()); text != "" {
		s += " " + text
	}
	return s
}

// Is reports whether target is a class of the code.
func (c Code) Is(target error) bool { return c.class().has(target) }

// Text returns the errmsg that the platform documents, without what it fills in, such as an IP address.
// It is empty if there is none.
func (c Code) Text() string { return codeTable[c].text }

// Meaning returns what happened, in English. It is empty for an unknown code, as are MeaningZH,
// Remedy and RemedyZH.
func (c Code) Meaning() string { return codeTable[c].en }

// MeaningZH returns what happened, in Chinese and in the platform's words where it has some.
func (c Code) MeaningZH() string { return codeTable[c].zh }

// Remedy returns what to do about it, in English.
func (c Code) Remedy() string { return codeTable[c].remedy }

// DocURL returns the platform's page that documents the code: the page of the call that it belongs to, or the table of
// all codes if many calls return it or it is not known.
func (c Code) DocURL() string {
	info := codeTable[c]
	if info.at != 0 {
		return endpoints[info.at].docURL()
	}
	return cmp.Or(info.doc, allCodesURL)
}

func (c Code) class() class { return codeTable[c].class }

// isPermanentTokenFailure reports whether a token endpoint that returns this code will do so again until a person acts.
func (c Code) isPermanentTokenFailure() bool {
	switch c {
	case CodeInvalidCredential, CodeAPIUnauthorized, CodeAccountLimited:
		return true // other calls get these codes for reasons other than the credential
	}
	return c.class()&classCredential != 0
}

// Codes returns the known codes in ascending order.
func Codes() []Code { return slices.Sorted(maps.Keys(codeTable)) }

const (
	allCodesURL       = "https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html"
	cloudURL          = "https://developers.weixin.qq.com/minigame/dev/wxcloudrun/src/guide/weixin/faq.html"
	componentTokenURL = "https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/ThirdParty/token/component_access_token.html"
	oldTagsURL        = "https://developers.weixin.qq.com/doc/offiaccount/User_Management/User_Tag_Management.html"
)

const (
	// console is where an account's secret, whitelist, APIs and quotas are. (Notices stayed on mp.weixin.qq.com.)
	console = "https://developers.weixin.qq.com/platform"

	remedyProxy     = "check that no proxy changes the request"
	remedyArguments = "check the arguments of the call"
	remedyEscapes   = `remove control characters from the text: JSON can only write them as \uxxxx`
	remedyLater     = "try again later"
	remedyNotices   = "read the account's notices on mp.weixin.qq.com"
	remedyAdmin     = "ask the account's administrator to confirm the call in WeChat, then try again"
	remedyOpenID    = "check that the openid belongs to this account"
	remedyAuthorize = "ask the account's administrator to authorize the third-party platform again"
	remedyTicket    = "check that the pushes to the event URL of the third-party platform arrive, one every 10 minutes, and " +
		"use the latest ticket"
	remedySkip = "leave the user out until they follow the account"
)

// codeTable is all that the SDK knows about the codes.
var codeTable = map[Code]struct {
	text   string // as documented, empty if it is not
	en     string
	zh     string // as documented, where it is
	remedy string // follows a colon
	class  class
	at     endpointID // the endpoint whose page documents it; 0 for another page, since userInfo's documents none
	doc    string     // that other page; empty for the table of all codes
}{
	CodeInvalidCredential: {
		text:   "invalid credential, access_token is invalid or not latest",
		en:     "the access token is wrong or not the newest; for a token request: the app secret is wrong",
		zh:     "获取 access_token 时 AppSecret 错误，或者 access_token 无效",
		remedy: "check the app secret, and that no other program refreshes the same token",
		class:  classInvalidToken,
	},
	CodeInvalidGrantType: {
		text:   "invalid grant_type",
		en:     "the grant type is not client_credential",
		zh:     "不合法的凭证类型",
		remedy: remedyProxy,
		class:  classCredential,
		at:     accessToken,
	},
	CodeInvalidAppID: {
		text:   "invalid appid",
		en:     "the app ID is wrong, or is not the one that the access token belongs to",
		zh:     "不合法的 AppID，请检查 AppID 的正确性，避免异常字符，注意大小写",
		remedy: "check the app ID, upper and lower case included",
		class:  classCredential,
		at:     accessToken,
	},
	CodeInvalidAccessToken: {
		text:   "invalid access_token",
		en:     "the access token is malformed, or is not a token of this account",
		zh:     "不合法的 access_token，请比对其有效性（如是否过期），或查看是否正在为恰当的公众号调用接口",
		remedy: "check that the token source returns tokens of this account",
		class:  classInvalidToken,
	},
	CodeInvalidSecret: {
		text:   "invalid appsecret",
		en:     "the app secret is wrong or was reset",
		zh:     "不合法的 AppSecret",
		remedy: "check the app secret; if it is lost, reset it in the console, " + console,
		class:  classCredential,
		at:     accessToken,
	},
	CodeIPNotAllowed: {
		text:   "invalid ip, not in whitelist",
		en:     "the IP address that the platform sees is not in the account's whitelist",
		zh:     "调用接口的 IP 地址不在白名单中",
		remedy: "add the address in the message to the IP whitelist in the console, " + console + "; it takes minutes",
		class:  classCredential | classPermission,
		at:     accessToken,
	},
	CodeSecretFrozen: {
		en:     "the app secret is frozen",
		zh:     "AppSecret 已被冻结，请登录平台解冻后再次调用",
		remedy: "unfreeze the app secret in the console, " + console + ", which takes about 10 minutes",
		class:  classCredential,
		at:     accessToken,
	},
	CodeAccessTokenMissing: {
		text:   "access_token missing",
		en:     "the request has no access token",
		zh:     "缺少 access_token 参数",
		remedy: "check that the token source returns a token and that no proxy changes the request",
		class:  classInvalidToken,
	},
	CodeAppIDMissing: {
		text:   "appid missing",
		en:     "the request has no app ID, or is not JSON",
		zh:     "缺少 appid 参数",
		remedy: remedyProxy,
		class:  classCredential,
		at:     stableToken,
	},
	CodeSecretMissing: {
		text:   "appsecret missing",
		en:     "the request has no app secret",
		zh:     "缺少 secret 参数",
		remedy: remedyProxy,
		class:  classCredential,
		at:     accessToken,
	},
	CodeAccessTokenExpired: {
		text:   "access_token expired",
		en:     "the access token has expired",
		zh:     "access_token 超时，请检查 access_token 的有效期",
		remedy: "check that the token source refreshes its tokens in time",
		class:  classInvalidToken,
	},
	CodeTokenForbidden: {
		text:   "user not allow to use accesstoken, maybe for punishment",
		en:     "the account may not fetch tokens, perhaps as a penalty",
		zh:     "禁止使用 token 接口",
		remedy: remedyNotices,
		class:  classCredential,
		at:     accessToken,
	},
	CodeAccountFrozen: {
		en:     "the account is frozen",
		zh:     "账号已冻结",
		remedy: remedyNotices,
		class:  classCredential,
		at:     accessToken,
	},
	CodeComponentAppID: {
		text:   "must use api(api_component_token) to get token for component acct",
		en:     "the app ID is that of a third-party platform, which gets its token from another API",
		zh:     "该 AppID 属于第三方平台，须通过 api_component_token 接口获取 token",
		remedy: "use the account's app ID, or pass the account's authorizer token with WithTokenSource",
		class:  classCredential,
	},
	CodeConfirmUnhandled: {
		en:     "the account has an unanswered confirmation request",
		zh:     "有未处理的确认请求，请稍候重试",
		remedy: remedyAdmin,
		class:  classCredential,
	},
	CodeConfirmWait: {
		en:     "the account's administrator has not confirmed the call yet",
		zh:     "请耐心等待管理员确认",
		remedy: remedyAdmin,
		class:  classCredential,
	},
	CodeConfirmRequired: {
		en:     "the account's administrator must confirm the call",
		zh:     "此次调用需要管理员确认，请耐心等候",
		remedy: remedyAdmin,
		class:  classCredential,
		at:     stableToken,
	},
	CodeConfirmPending: {
		en:     "the account's administrator is being asked to confirm the call",
		zh:     "正在等管理员确认，请耐心等待",
		remedy: remedyAdmin,
		class:  classCredential,
	},
	CodeConfirmPendingRetry: {
		en:     "the account's administrator is being asked to confirm the call",
		zh:     "正在等管理员确认，请稍候重试",
		remedy: remedyAdmin,
		class:  classCredential,
	},
	CodeIPRefusedForDay: {
		en:     "the account's administrator blocked this IP address for 24 hours",
		zh:     "该 IP 调用请求已被管理员拒绝，请 24 小时后再试",
		remedy: "talk to the account's administrator and try again after 24 hours",
		class:  classCredential,
		at:     stableToken,
	},
	CodeIPRefusedForHour: {
		en:     "the account's administrator blocked this IP address for one hour",
		zh:     "该 IP 调用请求已被管理员拒绝，请 1 小时后再试",
		remedy: "talk to the account's administrator and try again after one hour",
		class:  classCredential,
		at:     stableToken,
	},

	CodeInvalidCharset: {
		text:   `invalid charset. please check your request, if include \uxxxx will create fail!`,
		en:     `the request has characters that are not allowed, such as \uxxxx escapes`,
		zh:     `不合法的请求字符，不能包含 \uxxxx 格式的字符`,
		remedy: remedyEscapes,
		class:  classInvalidArgument,
	},
	CodeInvalidArgsSize: {
		text:   "invalid args size",
		en:     "an argument is too long, too short or missing",
		zh:     "不合法的参数",
		remedy: remedyArguments,
		class:  classInvalidArgument,
	},
	CodeInvalidPackagingType: {
		text:   "invalid packaging type",
		en:     "the request has a wrong format",
		zh:     "不合法的请求格式",
		remedy: remedyProxy,
		class:  classInvalidArgument,
	},
	CodeInvalidRequestSource: {
		text:   "invalid request source (bad client ip)",
		en:     "the platform rejects requests from the caller's IP address",
		zh:     "请求来源不合法（客户端 IP 有误）",
		remedy: "check the IP address that the platform sees; a proxy may have changed it",
		class:  classPermission,
	},
	CodeInvalidArgs: {
		text:   "invalid args",
		en:     "an argument is wrong",
		zh:     "参数错误",
		remedy: remedyArguments,
		class:  classInvalidArgument,
	},
	CodeInvalidURLPath: {
		text:   "invalid url path",
		en:     "the platform has no such path",
		zh:     "请求的 URL 路径不合法",
		remedy: "check that WithBaseURL has no path and that no proxy changes the request",
		class:  classInvalidArgument,
	},
	CodeInvalidIDCDomain: {
		text:   "invalid request idc domain",
		en:     "the host does not serve this request",
		zh:     "请求的机房域名不合法",
		remedy: "use the general host, api.weixin.qq.com, in WithBaseURL",
		class:  classInvalidArgument,
	},
	CodeRequireGET: {
		text:   "require GET method",
		en:     "the call needs GET",
		zh:     "需要 GET 请求",
		remedy: remedyProxy,
		class:  classInvalidArgument,
	},
	CodeRequirePOST: {
		text:   "require POST method",
		en:     "the call needs POST",
		zh:     "需要 POST 请求",
		remedy: remedyProxy,
		class:  classInvalidArgument,
	},
	CodeRequireHTTPS: {
		text:   "require https",
		en:     "the call needs https",
		zh:     "需要 HTTPS 请求",
		remedy: "use https in WithBaseURL, and check that no proxy changes it",
		class:  classInvalidArgument,
	},
	CodeEmptyPostData: {
		text:   "empty post data",
		en:     "the request has no body, or lacks a required field",
		zh:     "POST 的数据包为空，或传递的参数为空",
		remedy: "check the arguments of the call, and that no proxy changes the request",
		class:  classInvalidArgument,
	},
	CodeEmptyList: {
		text:   "empty list size",
		en:     "a list in the request is empty",
		zh:     "空白的列表",
		remedy: "send at least one openid",
		class:  classInvalidArgument,
	},
	CodeContentTooLong: {
		text:   "content size out of limit",
		en:     "the content of the request is too long",
		zh:     "消息内容超过限制",
		remedy: "send a shorter text or fewer openids",
		class:  classInvalidArgument,
	},
	CodeDataFormat: {
		text:   "data format error",
		en:     "the platform could not parse the request, or an argument has the wrong form",
		zh:     "解析 JSON/XML 内容错误，或参数格式错误",
		remedy: "check the arguments of the call, and that no proxy changes the request",
		class:  classInvalidArgument,
	},
	CodeUnicodeEscapes: {
		text:   `data format error, do NOT use json unicode encode (\uxxxx\uxxxx), please use utf8 encoded text!`,
		en:     `the request has \uxxxx escapes where the platform wants UTF-8`,
		zh:     `数据格式错误：请勿使用 \uxxxx 形式的 JSON Unicode 转义，应直接使用 UTF-8 文本`,
		remedy: remedyEscapes,
		class:  classInvalidArgument,
	},

	CodeSystemBusy: {
		text:   "system error",
		en:     "the platform failed or is busy",
		zh:     "系统繁忙，此时请开发者稍候再试",
		remedy: "try again later; ChangeOpenID returns this too before the migration is complete",
		class:  classTemporary,
	},
	CodeDailyQuotaExceeded: {
		text:   "reach max api daily quota limit",
		en:     "the daily quota of this API is used up",
		zh:     "接口调用超过每日限制",
		remedy: "wait for the next day (Beijing time), or call ClearQuota",
		class:  classRateLimited,
	},
	CodeMinuteQuotaExceeded: {
		text:   "api minute-quota reach limit, must slower, retry next minute",
		en:     "the quota of calls per minute of this API is used up",
		zh:     "API 调用太频繁，请稍候再试",
		remedy: "wait for the next minute; bulk jobs do so by themselves",
		class:  classRateLimited | classTemporary,
	},
	CodeClearQuotaLimit: {
		text:   "forbid to clear quota because of reaching the limit",
		en:     "the quota was cleared 10 times this month, the maximum",
		zh:     "API 禁止清零调用次数，因为清零次数达到上限",
		remedy: "wait for the next month, or clear the quota of one API with ClearAPIQuota",
		class:  classRateLimited,
		at:     clearQuota,
	},
	CodeSystemBusy1: {
		en:     "the platform is busy",
		zh:     "系统繁忙，请稍后重试",
		remedy: remedyLater,
		class:  classTemporary,
		at:     batchBlacklist,
	},
	CodeSystemBusy2: {
		en:     "the platform is busy",
		zh:     "系统繁忙，请稍后重试",
		remedy: remedyLater,
		class:  classTemporary,
		at:     getFans,
	},

	CodeInvalidOpenID: {
		text:   "invalid openid",
		en:     "the openid is malformed, belongs to another account, or its user does not follow this one",
		zh:     "不合法的 OpenID，请确认该用户是否已关注公众号，或是否是其他公众号的 OpenID",
		remedy: "check that the openid belongs to this account and that its user follows it",
		class:  classInvalidArgument,
	},
	CodeInvalidOpenIDList: {
		text:   "invalid openid list",
		en:     "an openid of the list is wrong",
		zh:     "不合法的 openid 列表",
		remedy: "check the openids, or use the Bulk method, which isolates the wrong ones",
		class:  classInvalidArgument,
	},
	CodeInvalidOpenIDListSize: {
		text:   "invalid openid list size",
		en:     "the list of openids is empty or too long",
		zh:     "不合法的 openid 列表长度",
		remedy: "send fewer openids, but at least one, or use the Bulk method",
		class:  classInvalidArgument,
	},
	CodeInvalidRemark: {
		text:   "invalid remark name",
		en:     "the remark is too long or not allowed",
		zh:     "备注名不合法",
		remedy: "choose a remark of at most 30 bytes, which is 10 Chinese characters",
		class:  classInvalidArgument,
		at:     updateRemark,
	},
	CodeOpenIDMissing: {
		text:   "missing openid",
		en:     "the request has no openid",
		zh:     "缺少 openid",
		remedy: "send an openid",
		class:  classInvalidArgument,
	},
	CodeRequireSubscribe: {
		text:   "require subscribe",
		en:     "the user does not follow the account",
		zh:     "需要接收者关注",
		remedy: remedySkip,
		class:  classNotFollowing,
		at:     updateRemark,
	},
	CodeUserNotFound: {
		text:   "user no exist",
		en:     "there is no such user",
		zh:     "不存在的用户",
		remedy: remedyOpenID,
		class:  classInvalidArgument,
	},
	CodeOpenIDMismatch: {
		text:   "not match openid with appid",
		en:     "the openid belongs to another account",
		zh:     "传入的 openid 不属于此 AppID",
		remedy: remedyOpenID,
		class:  classInvalidArgument,
	},
	CodeUserUnsubscribed: {
		text:   "user is unsubscribed",
		en:     "the user does not follow the account",
		zh:     "用户未关注公众号",
		remedy: remedySkip,
		class:  classNotFollowing,
		at:     batchTagging,
	},

	CodeTooManyTags: {
		text:   "too many tag now, no need to add new",
		en:     "the account has 100 tags, the maximum",
		zh:     "创建的标签数过多，请注意不能超过 100 个",
		remedy: "delete a tag that is no longer needed with DeleteTag",
		at:     createTag,
	},
	CodeTagHasTooManyFans: {
		text:   "can't delete the tag that has too many fans",
		en:     "a tag of more than 100,000 followers cannot be deleted",
		zh:     "该标签下粉丝数超过 10w，不允许直接删除",
		remedy: "untag followers with BulkUntagging until at most 100,000 have it, then delete it",
		doc:    oldTagsURL,
	},
	CodeSystemTag: {
		text:   "can't modify sys tag",
		en:     "tags 0, 1 and 2 are the platform's own and cannot be changed",
		zh:     "不能修改 0/1/2 这三个系统默认保留的标签",
		remedy: "use the ID of a tag that CreateTag returned",
		class:  classInvalidArgument,
		at:     updateTag,
	},
	CodeTooManyTagsOnUser: {
		text:   "can not tagging one user too much",
		en:     "a user has 20 tags, the maximum",
		zh:     "有粉丝身上的标签数已经超过限制，即超过 20 个",
		remedy: "remove one of the user's tags with BatchUntagging; GetTagIDList returns them",
		at:     batchTagging,
	},
	CodeInvalidTagName: {
		text:   "invalid tag name",
		en:     "the tag name is taken by another tag or not allowed",
		zh:     "标签名非法，请注意不能和其他标签重名",
		remedy: "choose another name; GetTags returns those that are taken",
		class:  classInvalidArgument,
		at:     createTag,
	},
	CodeTagNameTooLong: {
		text:   "tag name too long",
		en:     "the tag name is longer than 30 bytes",
		zh:     "标签名长度超过 30 个字节",
		remedy: "choose a name of at most 30 bytes, which is 10 Chinese characters",
		class:  classInvalidArgument,
		at:     createTag,
	},
	CodeInvalidTagID: {
		text:   "invalid tag id",
		en:     "there is no such tag",
		zh:     "非法的 tag_id",
		remedy: "check the ID with GetTags; for a while after CreateTag it may be rejected",
		class:  classInvalidArgument,
		at:     batchTagging,
	},
	CodeConcurrentTagging: {
		text:   "openid much req",
		en:     "two calls changed the tags of the same openid at the same time",
		zh:     "同一 openid 并发打标签或取消标签",
		remedy: "change the tags of one openid in one call at a time",
		class:  classTemporary,
		at:     batchTagging,
	},
	CodeSomeOpenIDsFailed: {
		text:   "some openid fail",
		en:     "some of the openids were not processed, the others were",
		zh:     "部分 openid 处理失败",
		remedy: "call again later for those that failed",
		class:  classTemporary,
		at:     batchTagging,
	},

	CodeAPIUnauthorized: {
		text:   "api unauthorized",
		en:     "the account does not have this API",
		zh:     "API 功能未授权，请确认公众号已获得该接口",
		remedy: "get the account verified; the console, " + console + ", shows which APIs it has",
		class:  classPermission,
	},
	CodeAPIForbidden: {
		text:   "api forbidden for irregularities, view detail on mp.weixin.qq.com",
		en:     "the platform blocked this API for the account because of irregularities",
		zh:     "API 接口被封禁，请登录 mp.weixin.qq.com 查看详情",
		remedy: remedyNotices,
		class:  classPermission,
	},
	CodeAppIDMismatch: {
		text:   "not same appid with appid of access_token",
		en:     "the app ID is not the one that the access token belongs to",
		zh:     "传入的 appid 与 access_token 所属的 appid 不一致",
		remedy: "check that the token source returns tokens of this account",
		class:  classInvalidArgument,
	},
	CodeUserUnauthorized: {
		text:   "api unauthorized or user unauthorized",
		en:     "the API or its use was not authorized",
		zh:     "用户未授权该 API",
		remedy: "ask the owner of the account to authorize this API",
		class:  classPermission,
	},
	CodeAccountLimited: {
		text:   "user limited",
		en:     "the account is frozen, closed, or blocked after a violation",
		zh:     "用户受限，可能是用户账号被冻结或注销，或违规后接口被封禁",
		remedy: remedyNotices,
		class:  classPermission,
	},
	CodeUserUnexpected: {
		text:   "user unexpected, maybe not in white list",
		en:     "the account may not use this API, perhaps because it is not in a whitelist",
		zh:     "用户异常，可能不在白名单中",
		remedy: "check in the console, " + console + ", whether the account has this API",
		class:  classPermission,
	},
	CodeComponentUnauthorized: {
		text:   "component is not authorized by this account",
		en:     "the account has not authorized the third-party platform",
		zh:     "账号未授权给该第三方平台",
		remedy: "ask the account's administrator to authorize the third-party platform, and check that the app ID is right",
		class:  classPermission,
	},
	CodeClientIPNotRegistered: {
		text:   "access clientip is not registered",
		en:     "the caller's IP address is not registered",
		zh:     "来源 IP 未登记",
		remedy: "add this machine's IP address to the whitelist of the third-party platform, or of the account",
		class:  classPermission,
	},
	CodeAPINotGranted: {
		text:   "api is unauthorized to component",
		en:     "the account has not granted this API to the third-party platform",
		zh:     "接口未授权给第三方平台",
		remedy: "ask the account's administrator to grant permission set 2 or 100",
		class:  classPermission,
	},
	CodeAPICategoryUnconfirmed: {
		text:   "function category of API need be confirmed by component",
		en:     "the permission set of this API is not confirmed, or the account is not verified",
		zh:     "该接口所属的权限集需由第三方平台确认，或账号未认证",
		remedy: "confirm the permission set at the third-party platform, and get the account verified",
		class:  classPermission,
	},

	CodeAuthorizationVoided: {
		text:   "access_token and refreshtoken exception",
		en:     "the account's password was changed, which ends its authorization of the third-party platform",
		zh:     "用户修改微信密码，accesstoken 和 refreshtoken 失效，需要重新授权",
		remedy: remedyAuthorize,
		class:  classCredential,
	},
	CodeTicketExpired: {
		text:   "component ticket is expired",
		en:     "the component_verify_ticket is older than 12 hours",
		zh:     "component_verify_ticket 已过期",
		remedy: remedyTicket,
		class:  classCredential,
		doc:    componentTokenURL,
	},
	CodeInvalidTicket: {
		text:   "component ticket is invalid",
		en:     "the component_verify_ticket is not one that WeChat pushed to this third-party platform",
		zh:     "component_verify_ticket 无效",
		remedy: remedyTicket,
		class:  classCredential,
		doc:    componentTokenURL,
	},
	CodeAuthCodeExpired: {
		text: "code is expired",
		en:   "the authorization_code was used before, or is an hour old",
		zh:   "授权码已使用或已过期",
		remedy: "take the authorization_code of the latest push or callback, complete with what is before its @@@; " +
			"if there is none, ask the account's administrator to authorize again",
		class: classInvalidArgument,
		doc:   "https://developers.weixin.qq.com/community/develop/doc/0002cec7a6c6b81e0befa61b956400",
	},
	CodeInvalidComponent: {
		text:   "invalid component",
		en:     "the app ID is not that of a third-party platform",
		zh:     "该 AppID 不是第三方平台的 AppID",
		remedy: "use the app ID and the app secret of the third-party platform, not those of an account",
		class:  classCredential,
		doc:    componentTokenURL,
	},
	CodeInvalidRefreshToken: {
		text:   "refresh_token is invalid",
		en:     "the authorizer_refresh_token is wrong, or was replaced when the account authorized again",
		zh:     "authorizer_refresh_token 无效，或已因重新授权而失效",
		remedy: "read it again with getAuthorizerList, as package authorizer does; if there is no other, " + remedyAuthorize,
		class:  classCredential,
		doc:    "https://developers.weixin.qq.com/doc/knowledge/07e2d7fc2d6a1edf.html",
	},

	CodeMigrationInvalidAppID: {
		text:   "appid wrong",
		en:     "the old account's app ID is wrong, or its migration is not complete",
		zh:     "from_appid 有误，或账号迁移尚未完成",
		remedy: "check the old account's app ID, and that the migration is complete",
		class:  classInvalidArgument,
		at:     changeOpenID,
	},
	CodeMigrationTooManyOpenIDs: {
		text:   "openid num limit",
		en:     "the list has more than 100 openids",
		zh:     "openid 数量超过限制，每次不能超过 100 个",
		remedy: "send fewer openids, or use BulkChangeOpenID",
		class:  classInvalidArgument,
	},
	CodeMigrationNoOpenIDs: {
		text:   "openid_list empty",
		en:     "the list of openids is empty",
		zh:     "openid_list 为空",
		remedy: "send at least one openid",
		class:  classInvalidArgument,
		at:     changeOpenID,
	},
	CodeMigrationUnrelated: {
		en:     "there is no migration from that account to this one",
		zh:     "appid 没有迁移关系",
		remedy: "check the old account's app ID, and use the new account's token",
		class:  classInvalidArgument,
		at:     changeOpenID,
	},

	CodeCloudUnauthorized: {
		text:   "not authorized",
		en:     "in cloud hosting: the account does not have this API, or did not authorize it",
		zh:     "缺少接口权限",
		remedy: "check that the app ID is that of the Official Account, and that the account has the API",
		class:  classPermission,
		doc:    cloudURL,
	},
	CodeCloudPathNotAllowed: {
		en:     "the path is not allowed in the console of cloud hosting",
		zh:     "URL 不在白名单内，请前往「微信云托管控制台-服务管理-云调用-微信令牌」配置",
		remedy: "add the path of the API in the console of cloud hosting, such as /cgi-bin/user/get",
		class:  classPermission,
		doc:    cloudURL,
	},
	CodeCloudSecretNotFound: {
		text:   "cloudbase_secret not found",
		en:     "the service of cloud hosting that adds the token is broken",
		zh:     "链路异常，请提交工单",
		remedy: "open a support ticket with the environment ID, the app ID and the time of the call",
		doc:    cloudURL,
	},
	CodeCloudTokenNotReady: {
		text:   "cloudbase_token is not ready yet, please try again later",
		en:     "the service of cloud hosting that adds the token has not started yet",
		zh:     "云调用服务尚未初始化，请等待数分钟后重试",
		remedy: "try again in a few minutes",
		class:  classTemporary,
		doc:    cloudURL,
	},

	CodeRIDNotFound: {
		text:   "rid not found",
		en:     "there is no such rid, or it is older than 7 days",
		zh:     "rid 不存在，或已超过 7 天",
		remedy: "check the rid; the platform keeps it for 7 days",
		class:  classInvalidArgument,
		at:     getRIDInfo,
	},
	CodeInvalidRID: {
		text:   "rid is error",
		en:     "the rid is empty or malformed",
		zh:     "rid 为空或者格式错误",
		remedy: "pass the RID of an Error unchanged",
		class:  classInvalidArgument,
		at:     getRIDInfo,
	},
	CodeRIDForbidden: {
		text:   "could not query this rid,no permission",
		en:     "the rid belongs to a call of another account",
		zh:     "无权查询该 rid，该 rid 属于其他账号的调用",
		remedy: "use a client of the account that made the call",
		class:  classPermission,
		at:     getRIDInfo,
	},
	CodeRIDExpired: {
		text:   "rid time is error",
		en:     "the rid is older than 7 days",
		zh:     "rid 已过期，仅支持 7 天内的 rid",
		remedy: "look up a rid within 7 days of the call",
		class:  classInvalidArgument,
		at:     getRIDInfo,
	},
	CodePathNotFound: {
		text:   "cgi_path not found, please check",
		en:     "the platform has no API with this path",
		zh:     "cgi_path 不存在，请检查",
		remedy: "send the path with its leading slash, without host and query, such as /cgi-bin/user/get",
		class:  classInvalidArgument,
		at:     getAPIQuota,
	},
	CodePathDenied: {
		text:   "could not use this cgi_path,no permission",
		en:     "the account may not look up this path",
		zh:     "无权查询该 cgi_path",
		remedy: "use a path that this account may call; paths below /sns/ cannot be looked up",
		class:  classPermission,
		at:     getAPIQuota,
	},
}
