package wechatuser

// RemedyZH returns what to do about the code, in Chinese. It is empty for an unknown code.
func (c Code) RemedyZH() string { return remediesZH[c] }

const (
	zhConsole   = "微信开发者平台（" + console + "）"
	zhProxy     = "检查代理是否改动了请求"
	zhArguments = "检查调用参数"
	zhEscapes   = `去掉文本中的控制字符：它们在 JSON 中只能写成 \uxxxx`
	zhLater     = "稍后重试"
	zhNotices   = "登录 mp.weixin.qq.com 查看账号的站内通知"
	zhAdmin     = "请账号管理员在微信中确认本次调用，然后重试"
	zhOpenID    = "确认该 openid 属于本账号"
	zhSkip      = "先跳过该用户，待其关注后再处理"
	zhAuthorize = "请账号管理员重新授权该第三方平台"
	zhTicket    = "确认第三方平台的授权事件接收 URL 每 10 分钟能收到一次推送，并使用最新的 ticket"
	zhSource    = "确认 TokenSource 返回的是本账号的 access_token"
)

// remediesZH has the remedy of each code in codeTable.
var remediesZH = map[Code]string{
	CodeInvalidCredential:       "检查 AppSecret，并确认没有其他程序在刷新同一个 access_token",
	CodeInvalidGrantType:        zhProxy,
	CodeInvalidAppID:            "检查 AppID，注意大小写",
	CodeInvalidAccessToken:      zhSource,
	CodeInvalidSecret:           "检查 AppSecret；如已遗失，请在" + zhConsole + "重置",
	CodeIPNotAllowed:            "在" + zhConsole + "的「开发密钥」中，将错误信息里的 IP 加入 IP 白名单，几分钟后生效",
	CodeSecretFrozen:            "在" + zhConsole + "解冻 AppSecret，约 10 分钟后生效",
	CodeAccessTokenMissing:      "确认 TokenSource 返回了 access_token，并检查代理是否改动了请求",
	CodeAppIDMissing:            zhProxy,
	CodeSecretMissing:           zhProxy,
	CodeAccessTokenExpired:      "确认 TokenSource 会在 access_token 过期前刷新",
	CodeTokenForbidden:          zhNotices,
	CodeAccountFrozen:           zhNotices,
	CodeComponentAppID:          "改用公众号自己的 AppID，或通过 WithTokenSource 传入 authorizer_access_token",
	CodeConfirmUnhandled:        zhAdmin,
	CodeConfirmWait:             zhAdmin,
	CodeConfirmRequired:         zhAdmin,
	CodeConfirmPending:          zhAdmin,
	CodeConfirmPendingRetry:     zhAdmin,
	CodeIPRefusedForDay:         "联系账号管理员，并在 24 小时后重试",
	CodeIPRefusedForHour:        "联系账号管理员，并在 1 小时后重试",
	CodeInvalidCharset:          zhEscapes,
	CodeInvalidArgsSize:         zhArguments,
	CodeInvalidPackagingType:    zhProxy,
	CodeInvalidRequestSource:    "检查微信看到的客户端 IP，代理可能改变了该 IP",
	CodeInvalidArgs:             zhArguments,
	CodeInvalidURLPath:          "确认 WithBaseURL 不带路径，并检查代理是否改动了请求",
	CodeInvalidIDCDomain:        "在 WithBaseURL 中使用通用域名 api.weixin.qq.com",
	CodeRequireGET:              zhProxy,
	CodeRequirePOST:             zhProxy,
	CodeRequireHTTPS:            "在 WithBaseURL 中使用 https，并检查代理是否改动了协议",
	CodeEmptyPostData:           "检查调用参数，以及代理是否改动了请求",
	CodeEmptyList:               "至少传入一个 openid",
	CodeContentTooLong:          "缩短文本，或减少 openid 的数量",
	CodeDataFormat:              "检查调用参数，以及代理是否改动了请求",
	CodeUnicodeEscapes:          zhEscapes,
	CodeSystemBusy:              "稍后重试；账号迁移完成之前，ChangeOpenID 也会返回此错误码",
	CodeDailyQuotaExceeded:      "等到次日（北京时间），或调用 ClearQuota；如果超限的是获取 access_token 的接口，则调用 ClearQuotaByAppSecret",
	CodeMinuteQuotaExceeded:     "等到下一分钟再调用；批量任务会自动等待",
	CodeClearQuotaLimit:         "等到下个月，或用 ClearAPIQuota 清零单个接口的调用次数",
	CodeSystemBusy1:             zhLater,
	CodeSystemBusy2:             zhLater,
	CodeInvalidOpenID:           "确认该 openid 属于本账号，且该用户已关注",
	CodeInvalidOpenIDList:       "检查这些 openid，或改用 Bulk 方法，它会找出无效的 openid",
	CodeInvalidOpenIDListSize:   "减少 openid 的数量（至少保留一个），或改用 Bulk 方法",
	CodeInvalidRemark:           "换一个备注名，不超过 30 个字节，即 10 个汉字",
	CodeOpenIDMissing:           "传入 openid",
	CodeRequireSubscribe:        zhSkip,
	CodeUserNotFound:            zhOpenID,
	CodeOpenIDMismatch:          zhOpenID,
	CodeUserUnsubscribed:        zhSkip,
	CodeTooManyTags:             "用 DeleteTag 删除不再使用的标签",
	CodeTagHasTooManyFans:       "先用 BulkUntagging 取消部分粉丝的该标签，待粉丝数不超过 10 万后再删除",
	CodeSystemTag:               "改用由 CreateTag 创建的标签 ID",
	CodeTooManyTagsOnUser:       "用 BatchUntagging 先取消该用户的一个标签；GetTagIDList 可查询其已有的标签",
	CodeInvalidTagName:          "换一个标签名；GetTags 可查询已被占用的标签名",
	CodeTagNameTooLong:          "换一个标签名，不超过 30 个字节，即 10 个汉字",
	CodeInvalidTagID:            "用 GetTags 检查标签 ID；标签创建后的一段时间内仍可能返回此错误码",
	CodeConcurrentTagging:       "对同一 openid 打标签和取消标签，须依次调用，不要并发",
	CodeSomeOpenIDsFailed:       "稍后仅对失败的 openid 重新调用",
	CodeAPIUnauthorized:         "完成微信认证；账号已获得的接口权限可在" + zhConsole + "查看",
	CodeAPIForbidden:            zhNotices,
	CodeAppIDMismatch:           zhSource,
	CodeUserUnauthorized:        "请账号所有者授权使用该接口",
	CodeAccountLimited:          zhNotices,
	CodeUserUnexpected:          "在" + zhConsole + "确认该账号是否已获得此接口权限",
	CodeComponentUnauthorized:   "请账号管理员授权该第三方平台，并检查 AppID 是否正确",
	CodeClientIPNotRegistered:   "将本机的出口 IP 加入第三方平台或该账号的 IP 白名单",
	CodeAPINotGranted:           "请账号管理员将权限集 2 或 100 授权给第三方平台",
	CodeAuthorizationVoided:     zhAuthorize,
	CodeTicketExpired:           zhTicket,
	CodeInvalidTicket:           zhTicket,
	CodeAuthCodeExpired:         "使用最近一次推送或回调中的授权码，并保留 @@@ 及其前面的部分；如已失效，请账号管理员重新授权",
	CodeInvalidComponent:        "使用第三方平台的 AppID 和 AppSecret，而不是公众号的",
	CodeInvalidRefreshToken:     "通过 getAuthorizerList 重新获取（authorizer 包会自动完成）；如没有新的，" + zhAuthorize,
	CodeAPICategoryUnconfirmed:  "在第三方平台确认该权限集，并完成账号的微信认证",
	CodeMigrationInvalidAppID:   "检查原账号的 AppID，并确认迁移已完成",
	CodeMigrationTooManyOpenIDs: "减少 openid 的数量，或改用 BulkChangeOpenID",
	CodeMigrationNoOpenIDs:      "至少传入一个 openid",
	CodeMigrationUnrelated:      "检查原账号的 AppID，并使用新账号的 access_token",
	CodeCloudUnauthorized:       "确认 AppID 属于该公众号，且账号拥有该接口的权限",
	CodeCloudPathNotAllowed:     "在微信云托管控制台的云调用权限中添加该接口的路径，例如 /cgi-bin/user/get",
	CodeCloudSecretNotFound:     "提交工单，并附上环境 ID、AppID 和调用时间",
	CodeCloudTokenNotReady:      "几分钟后重试",
	CodeRIDNotFound:             "检查 rid；微信只保留 7 天",
	CodeInvalidRID:              "原样传入 Error 中的 rid",
	CodeRIDForbidden:            "用发起该调用的账号查询",
	CodeRIDExpired:              "在调用后 7 天内查询",
	CodePathNotFound:            "传入接口路径，以斜杠开头，不含域名和查询参数，例如 /cgi-bin/user/get",
	CodePathDenied:              "改为查询该账号有权调用的接口路径；不支持查询 /sns/ 下的路径",
}
