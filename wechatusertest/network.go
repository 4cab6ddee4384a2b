package wechatusertest

import (
	"slices"

	"github.com/wechatuser/wechatuser"
)

// getAPIDomainIP serves GET /cgi-bin/get_api_domain_ip. The addresses here and below are reserved for documentation.
// https://developers.weixin.qq.com/doc/service/api/base/api_getapidomainip.html
func (s *Server) getAPIDomainIP(c *call) wechatuser.Code {
	c.out.lit(`{"ip_list":`).strs([]string{"203.0.113.10", "203.0.113.11", "203.0.113.12"}).lit(`}`)
	return 0
}

// getCallbackIP serves GET /cgi-bin/getcallbackip.
// https://developers.weixin.qq.com/doc/service/api/base/api_getcallbackip.html
func (s *Server) getCallbackIP(c *call) wechatuser.Code {
	c.out.lit(`{"ip_list":`).strs([]string{"192.0.2.0/25", "198.51.100.7", "203.0.113.0/24"}).lit(`}`)
	return 0
}

// callbackCheck serves POST /cgi-bin/callback/check. It returns one reachable address.
// https://developers.weixin.qq.com/doc/service/api/base/api_callbackcheck.html
func (s *Server) callbackCheck(c *call) wechatuser.Code {
	var action, operator string
	switch {
	case !c.fields.get("action", &action) || !c.fields.get("check_operator", &operator):
		return wechatuser.CodeDataFormat
	case !slices.Contains([]string{"dns", "ping", "all"}, action):
		return codeInvalidAction
	case !slices.Contains([]string{"CHINANET", "UNICOM", "CAP", "DEFAULT"}, operator):
		return codeInvalidOperator
	}
	const ip, own = "198.51.100.80", "UNICOM"
	if operator == "DEFAULT" { // the operator of the address
		operator = own
	}
	dns := func() { c.out.lit(`"dns":[{"ip":`).str(ip).lit(`,"real_operator":`).str(own).lit(`}]`) }
	ping := func() {
		c.out.lit(`"ping":[{"ip":`).str(ip).lit(`,"from_operator":`).str(operator).
			lit(`,"package_loss":"0%","time":"23.079ms"}]`)
	}
	c.out.lit(`{`)
	switch action {
	case "dns":
		dns()
	case "ping":
		ping()
	default:
		dns()
		c.out.lit(`,`)
		ping()
	}
	c.out.lit(`}`)
	return 0
}
