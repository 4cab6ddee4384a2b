package wechatuser

import (
	"context"
	"net/url"
	"time"

	"github.com/wechatuser/wechatuser/internal/redact"
	"github.com/wechatuser/wechatuser/internal/wire"
)

// ClearQuota resets the daily counters of all APIs. The platform allows 10 resets a month, including those with
// ClearQuotaByAppSecret and in the console, and then returns [CodeClearQuotaLimit]. The call is never retried.
//
// clearQuota, POST /cgi-bin/clear_quota,
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquota.html.
func (c *Client) ClearQuota(ctx context.Context) error {
	_, err := call[okResponse](ctx, &c.caller, request{ep: &endpoints[clearQuota]}, struct {
		AppID string `json:"appid"`
	}{c.appID})
	return err
}

// ClearQuotaByAppSecret works like [Client.ClearQuota], but needs no access token: use it if the quota of the token
// endpoint is used up. After it succeeded, the next call may fetch a token at once. It is never retried.
//
// clearQuotaByAppSecret, POST /cgi-bin/clear_quota/v2,
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearquotabyappsecret.html.
func (c *Client) ClearQuotaByAppSecret(ctx context.Context) error {
	ep := &endpoints[clearQuotaByAppSecret]
	if err := checkContext(ep.api, ctx); err != nil {
		return err
	}
	switch {
	case c.cloud.tokenFree():
		return ep.argumentError("appsecret", "it does not go through cloud hosting: use ClearQuota")
	case c.secret() == "" && c.secretSource == nil:
		return ep.argumentError("appsecret", "the client was created without the secret: use ClearQuota")
	}
	return c.withSecret(ctx, ep.api, func(secret string) error {
		// One official page puts the arguments into the body, another one into the query.
		query := url.Values{"appid": {c.appID}, "appsecret": {secret}}
		_, err := call[okResponse](ctx, &c.caller, request{ep: ep, secret: secret, query: query.Encode()}, struct {
			AppID  string `json:"appid"`
			Secret string `json:"appsecret"`
		}{c.appID, secret})
		if err == nil {
			c.tokens.forget() // that the quota of the token endpoint is used up
		}
		return err
	})
}

// cgiPath is the body of the calls about the quota of one API.
type cgiPath struct {
	Path string `json:"cgi_path"`
}

// ClearAPIQuota resets the daily counter of one API, named by its path, such as "/cgi-bin/user/get". The platform
// allows 50 such resets a month. The call is never retried.
//
// clearApiQuota, POST /cgi-bin/openapi/quota/clear,
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_clearapiquota.html.
func (c *Client) ClearAPIQuota(ctx context.Context, path string) error {
	ep := &endpoints[clearAPIQuota]
	if err := ep.checkPath(path); err != nil {
		return err
	}
	_, err := call[okResponse](ctx, &c.caller, request{ep: ep}, cgiPath{path})
	return err
}

type quotaResponse struct {
	wire.Envelope
	Quota *struct {
		DailyLimit int `json:"daily_limit"`
		Used       int `json:"used"`
		Remain     int `json:"remain"`
	} `json:"quota"`
	RateLimit          rateLimit `json:"rate_limit"`
	ComponentRateLimit rateLimit `json:"component_rate_limit"`
}

type rateLimit struct {
	Calls   int `json:"call_count"`
	Seconds int `json:"refresh_second"`
}

func (l rateLimit) public() RateLimit {
	return RateLimit{Calls: l.Calls, Period: time.Duration(l.Seconds) * time.Second}
}

func (r *quotaResponse) missingField() string { return missingIf("quota", r.Quota == nil) }

// GetAPIQuota returns how much of the quota of one API is used. The API is named by its path, such as
// "/cgi-bin/user/get". The numbers can be out of date.
//
// getApiQuota, POST /cgi-bin/openapi/quota/get,
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getapiquota.html.
func (c *Client) GetAPIQuota(ctx context.Context, path string) (*APIQuota, error) {
	ep := &endpoints[getAPIQuota]
	if err := ep.checkPath(path); err != nil {
		return nil, err
	}
	res, err := call[quotaResponse](ctx, &c.caller, request{ep: ep}, cgiPath{path})
	if err != nil {
		return nil, err
	}
	return &APIQuota{
		DailyLimit: res.Quota.DailyLimit, Used: res.Quota.Used, Remain: res.Quota.Remain,
		RateLimit: res.RateLimit.public(), ComponentRateLimit: res.ComponentRateLimit.public(),
	}, nil
}

type ridResponse struct {
	wire.Envelope
	Request *struct {
		InvokeTime   int64  `json:"invoke_time"`
		CostMS       int64  `json:"cost_in_ms"`
		RequestURL   string `json:"request_url"`
		RequestBody  string `json:"request_body"`
		ResponseBody string `json:"response_body"`
		ClientIP     string `json:"client_ip"`
	} `json:"request"`
}

func (r *ridResponse) missingField() string { return missingIf("request", r.Request == nil) }

// redact redacts what the platform recorded: a request has a token or the secret, a response perhaps a new token.
func (r *ridResponse) redact(secrets redact.Redactor) {
	for _, text := range []*string{&r.Request.RequestURL, &r.Request.RequestBody, &r.Request.ResponseBody, &r.Request.ClientIP} {
		*text = secrets.Text(*text)
	}
}

// GetRIDInfo returns what the platform recorded about a failed call of the last 7 days, named by the RID of its
// [*Error]. Secrets in it are redacted.
//
// getRidInfo, POST /cgi-bin/openapi/rid/get,
// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getridinfo.html.
func (c *Client) GetRIDInfo(ctx context.Context, rid string) (*RIDInfo, error) {
	ep := &endpoints[getRIDInfo]
	if rid == "" || !isWord(rid) {
		return nil, ep.argumentError("rid", "%q is not a rid: pass the RID of an Error", rid)
	}
	res, err := call[ridResponse](ctx, &c.caller, request{ep: ep}, struct {
		RID string `json:"rid"`
	}{rid})
	if err != nil {
		return nil, err
	}
	r := res.Request
	return &RIDInfo{
		InvokedAt: time.Unix(r.InvokeTime, 0), Cost: time.Duration(r.CostMS) * time.Millisecond,
		RequestURL:   r.RequestURL,
		RequestBody:  r.RequestBody,
		ResponseBody: r.ResponseBody,
		ClientIP:     r.ClientIP,
	}, nil
}

type ipListResponse struct {
	wire.Envelope
	IPs []string `json:"ip_list"`
}

func (r *ipListResponse) missingField() string { return missingIf("ip_list", r.IPs == nil) }

// GetAPIDomainIP returns the IP addresses of the platform's API, for the rules of an outbound firewall. They change:
// call it once a day.
//
// getApiDomainIp, GET /cgi-bin/get_api_domain_ip,
// https://developers.weixin.qq.com/doc/service/api/base/api_getapidomainip.html.
func (c *Client) GetAPIDomainIP(ctx context.Context) ([]string, error) {
	res, err := call[ipListResponse](ctx, &c.caller, request{ep: &endpoints[getAPIDomainIP]}, nil)
	if err != nil {
		return nil, err
	}
	return res.IPs, nil
}
