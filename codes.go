package wechatuser

// Code is an errcode of the platform. It is an error, as syscall.Errno is, so that errors.Is finds it:
//
//	if errors.Is(err, wechatuser.CodeInvalidOpenID) {
//		// this openid is not a follower's
//	}
//
// A Code matches its classes too: errors.Is(CodeInvalidOpenID, ErrInvalidArgument) is true.
//
// The constants are the codes that the calls of this package are known to return. Any other code is passed through; it
// has no class and no texts.
type Code int

// The token and what it is made from.
const (
	CodeInvalidCredential   Code = 40001 // token wrong or not the newest; from a token endpoint: wrong app secret
	CodeInvalidGrantType    Code = 40002 // unknown grant_type
	CodeInvalidAppID        Code = 40013 // wrong app ID, or not the one of the token
	CodeInvalidAccessToken  Code = 40014 // malformed token
	CodeInvalidSecret       Code = 40125 // wrong app secret
	CodeIPNotAllowed        Code = 40164 // caller's IP address not in the whitelist
	CodeSecretFrozen        Code = 40243 // app secret frozen in the console
	CodeAccessTokenMissing  Code = 41001 // no access_token in the request
	CodeAppIDMissing        Code = 41002 // no appid in the request
	CodeSecretMissing       Code = 41004 // no secret in the request
	CodeAccessTokenExpired  Code = 42001 // token expired
	CodeTokenForbidden      Code = 50004 // account may not fetch tokens
	CodeAccountFrozen       Code = 50007 // account frozen
	CodeComponentAppID      Code = 61024 // app ID of a third-party platform, not of an account
	CodeConfirmUnhandled    Code = 89501 // an earlier confirmation request is not handled yet
	CodeConfirmWait         Code = 89502 // wait for the administrator
	CodeConfirmRequired     Code = 89503 // the administrator must confirm this call
	CodeConfirmPending      Code = 89504 // the administrator is being asked; wait
	CodeConfirmPendingRetry Code = 89505 // the administrator is being asked; try again later
	CodeIPRefusedForDay     Code = 89506 // the administrator blocked this IP address for 24 hours
	CodeIPRefusedForHour    Code = 89507 // the administrator blocked this IP address for one hour
)

// The request itself.
const (
	CodeInvalidCharset       Code = 40033 // \uxxxx escapes in the body
	CodeInvalidArgsSize      Code = 40035 // an argument of a wrong size
	CodeInvalidPackagingType Code = 40038 // wrong format of the request
	CodeInvalidRequestSource Code = 40090 // rejected because of the caller's IP address
	CodeInvalidArgs          Code = 40097 // wrong argument
	CodeInvalidURLPath       Code = 40184 // no such path
	CodeInvalidIDCDomain     Code = 40222 // wrong host
	CodeRequireGET           Code = 43001 // not sent with GET
	CodeRequirePOST          Code = 43002 // not sent with POST
	CodeRequireHTTPS         Code = 43003 // not sent over https
	CodeEmptyPostData        Code = 44002 // empty body, or a required field is missing
	CodeEmptyList            Code = 44005 // empty list
	CodeContentTooLong       Code = 45002 // content too long
	CodeDataFormat           Code = 47001 // the body cannot be parsed
	CodeUnicodeEscapes       Code = 47002 // \uxxxx escapes in the body
)

// The platform's load and quotas.
const (
	CodeSystemBusy          Code = -1        // system error or busy
	CodeDailyQuotaExceeded  Code = 45009     // the daily quota is used up
	CodeMinuteQuotaExceeded Code = 45011     // the quota of calls per minute is used up
	CodeClearQuotaLimit     Code = 48006     // all quota resets of the month are used up
	CodeSystemBusy1         Code = 268487001 // busy, from batchBlacklist
	CodeSystemBusy2         Code = 268487002 // busy, from getFans
)

// Users, remarks and the blacklist.
const (
	CodeInvalidOpenID         Code = 40003 // openid malformed, of another account, or not following
	CodeInvalidOpenIDList     Code = 40031 // a wrong openid in a list
	CodeInvalidOpenIDListSize Code = 40032 // too many openids in one call, or none
	CodeInvalidRemark         Code = 40092 // remark too long or not allowed
	CodeOpenIDMissing         Code = 41009 // no openid in the request
	CodeRequireSubscribe      Code = 43004 // user does not follow
	CodeUserNotFound          Code = 46004 // no such user
	CodeOpenIDMismatch        Code = 49003 // openid of another account
	CodeUserUnsubscribed      Code = 50005 // user does not follow
)

// Tags.
const (
	CodeTooManyTags       Code = 45056 // the account has 100 tags
	CodeTagHasTooManyFans Code = 45057 // more than 100,000 followers with this tag
	CodeSystemTag         Code = 45058 // tags 0, 1 and 2 cannot be changed
	CodeTooManyTagsOnUser Code = 45059 // a user has 20 tags
	CodeInvalidTagName    Code = 45157 // tag name taken or not allowed
	CodeTagNameTooLong    Code = 45158 // tag name longer than 30 bytes
	CodeInvalidTagID      Code = 45159 // no such tag
	CodeConcurrentTagging Code = 45169 // two calls changed the tags of one openid at the same time
	CodeSomeOpenIDsFailed Code = 45171 // all processed except the openids in fail_openid_list
)

// Rights of the account, and of a third-party platform that acts for it.
const (
	CodeAPIUnauthorized        Code = 48001 // the account does not have this API
	CodeAPIForbidden           Code = 48004 // API blocked after irregularities
	CodeAppIDMismatch          Code = 49001 // app ID is not that of the token
	CodeUserUnauthorized       Code = 50001 // API not authorized by the user
	CodeAccountLimited         Code = 50002 // account frozen, closed or blocked
	CodeUserUnexpected         Code = 50003 // perhaps not in a whitelist
	CodeComponentUnauthorized  Code = 61003 // account did not authorize the platform
	CodeClientIPNotRegistered  Code = 61004 // caller's IP address not registered
	CodeAPINotGranted          Code = 61007 // API not granted to the platform
	CodeAPICategoryUnconfirmed Code = 61016 // permission set of the API not confirmed
)

// The tokens of a third-party platform (第三方平台).
const (
	CodeAuthorizationVoided Code = 42007 // password of the account changed: it has to authorize again
	CodeTicketExpired       Code = 61005 // component_verify_ticket older than 12 hours
	CodeInvalidTicket       Code = 61006 // component_verify_ticket wrong
	CodeAuthCodeExpired     Code = 61010 // authorization_code used or expired
	CodeInvalidComponent    Code = 61011 // app ID is not that of a platform
	CodeInvalidRefreshToken Code = 61023 // authorizer_refresh_token replaced or wrong
)

// The migration from another account.
const (
	CodeMigrationInvalidAppID   Code = 63178 // from_appid wrong, or not migrated yet
	CodeMigrationTooManyOpenIDs Code = 63179 // more than 100 openids
	CodeMigrationNoOpenIDs      Code = 63182 // no openids
	CodeMigrationUnrelated      Code = 63183 // no migration from that account
)

// Cloud hosting (微信云托管).
const (
	CodeCloudUnauthorized   Code = 85105 // the account does not have this API
	CodeCloudPathNotAllowed Code = 85107 // path not allowed in the console
	CodeCloudSecretNotFound Code = 85112 // the service of cloud hosting is broken
	CodeCloudTokenNotReady  Code = 85113 // the service of cloud hosting is not ready yet
)

// Information about quotas and about earlier requests.
const (
	CodeRIDNotFound  Code = 76001 // no such rid, or older than 7 days
	CodeInvalidRID   Code = 76002 // rid empty or malformed
	CodeRIDForbidden Code = 76003 // rid of another account
	CodeRIDExpired   Code = 76004 // rid older than 7 days
	CodePathNotFound Code = 76021 // no such API path
	CodePathDenied   Code = 76022 // API path not open to this account
)

// class is a set of error classes, one bit each; see [ErrInvalidToken] and those after it.
type class uint16

const (
	classInvalidToken class = 1 << iota
	classCredential
	classRateLimited
	classPermission
	classNotFollowing
	classInvalidArgument
	classTemporary
	classAmbiguous
	classUnproven
)

// has reports whether target is a class that is in the set.
func (c class) has(target error) bool {
	t, ok := target.(class)
	return ok && c&t != 0
}

var classNames = map[class]string{
	classInvalidToken:    "access token rejected",
	classCredential:      "credential rejected",
	classRateLimited:     "rate limited",
	classPermission:      "no permission",
	classNotFollowing:    "user does not follow",
	classInvalidArgument: "invalid argument",
	classTemporary:       "temporary failure",
	classAmbiguous:       "outcome unknown",
	classUnproven:        "profiles may be mixed up",
}

// Error names the class.
func (c class) Error() string { return "wechatuser: " + classNames[c] }
