package testutil

// Paths of the API calls.
const (
	PathUserInfo              = "/cgi-bin/user/info"
	PathBatchUserInfo         = "/cgi-bin/user/info/batchget"
	PathGetFans               = "/cgi-bin/user/get"
	PathUpdateRemark          = "/cgi-bin/user/info/updateremark"
	PathChangeOpenID          = "/cgi-bin/changeopenid"
	PathCreateTag             = "/cgi-bin/tags/create"
	PathGetTags               = "/cgi-bin/tags/get"
	PathUpdateTag             = "/cgi-bin/tags/update"
	PathDeleteTag             = "/cgi-bin/tags/delete"
	PathGetTagFans            = "/cgi-bin/user/tag/get"
	PathBatchTagging          = "/cgi-bin/tags/members/batchtagging"
	PathBatchUntagging        = "/cgi-bin/tags/members/batchuntagging"
	PathGetTagIDList          = "/cgi-bin/tags/getidlist"
	PathGetBlacklist          = "/cgi-bin/tags/members/getblacklist"
	PathBatchBlacklist        = "/cgi-bin/tags/members/batchblacklist"
	PathBatchUnblacklist      = "/cgi-bin/tags/members/batchunblacklist"
	PathClearQuota            = "/cgi-bin/clear_quota"
	PathClearQuotaByAppSecret = "/cgi-bin/clear_quota/v2"
	PathClearAPIQuota         = "/cgi-bin/openapi/quota/clear"
	PathGetAPIQuota           = "/cgi-bin/openapi/quota/get"
	PathGetRIDInfo            = "/cgi-bin/openapi/rid/get"
	PathGetAPIDomainIP        = "/cgi-bin/get_api_domain_ip"
	PathStableToken           = "/cgi-bin/stable_token"
	PathToken                 = "/cgi-bin/token"
)

// IsTokenPath reports whether a request to path is one for a token.
func IsTokenPath(path string) bool {
	return path == PathStableToken || path == PathToken
}
