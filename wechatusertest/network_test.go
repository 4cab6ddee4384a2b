package wechatusertest_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser"
)

// https://developers.weixin.qq.com/doc/service/api/base/api_getapidomainip.html
// https://developers.weixin.qq.com/doc/service/api/base/api_getcallbackip.html
func TestIPLists(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	assert.Equal(t, `{"ip_list":["192.0.2.0\/25","198.51.100.7","203.0.113.0\/24"]}`, a.get("/cgi-bin/getcallbackip"))
	got := decode[struct {
		IPs []string `json:"ip_list"`
	}](t, a.get("/cgi-bin/get_api_domain_ip"))
	assert.NotEmpty(t, got.IPs)
	for _, text := range got.IPs {
		ip, err := netip.ParseAddr(text)
		assert.True(t, err == nil && netip.MustParsePrefix("203.0.113.0/24").Contains(ip), "%s is a reserved address",
			text)
	}
}

// https://developers.weixin.qq.com/doc/service/api/base/api_callbackcheck.html
// "time" is in the sample of https://developers.weixin.qq.com/doc/service/Basic_Information/Network_Detection.html
func TestCallbackCheck(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/callback/check"
	a := newAccount(t)
	check := func(action, operator string) string {
		return a.post(path, fmt.Sprintf(`{"action":%q,"check_operator":%q}`, action, operator))
	}
	const dns = `"dns":[{"ip":"198.51.100.80","real_operator":"UNICOM"}]`
	ping := func(operator string) string {
		return `"ping":[{"ip":"198.51.100.80","from_operator":"` + operator +
			`","package_loss":"0%","time":"23.079ms"}]`
	}
	assert.Equal(t, "{"+dns+"}", check("dns", "CAP"))
	assert.Equal(t, "{"+ping("CHINANET")+"}", check("ping", "CHINANET"))
	assert.Equal(t, "{"+dns+","+ping("UNICOM")+"}", check("all", "DEFAULT"))

	assert.Regexp(t, `^invalid check action rid: `, assertCode(t, 40202, check("traceroute", "CAP")))
	assertCode(t, 40202, a.post(path, `{"check_operator":"CAP"}`))
	assert.Regexp(t, `^invalid check operator rid: `, assertCode(t, 40203, check("all", "cap")))
	assertCode(t, 40203, a.post(path, `{"action":"all"}`))
	assertCode(t, 47001, a.post(path, `{"action":1,"check_operator":"CAP"}`))
	assertCode(t, 47001, a.post(path, `{"action":"all","check_operator":1}`))

	a.FailNext("callbackCheck", wechatuser.Code(40201), 1)
	msg := assertCode(t, 40201, check("all", "CAP"))
	assert.Regexp(t, `^invalid check url rid: `, msg, "an account without a callback URL")
}
