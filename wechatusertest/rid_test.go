package wechatusertest_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ridOf(t *testing.T, errmsg string) string {
	t.Helper()
	_, rid, found := strings.Cut(errmsg, " rid: ")
	require.True(t, found, errmsg)
	return rid
}

func (a account) ridInfo(rid string) string {
	return a.post("/cgi-bin/openapi/rid/get", fmt.Sprintf(`{"rid":%q}`, rid))
}

// The first group of a rid is the time of the request, and so is invoke_time. The token is redacted.
// https://developers.weixin.qq.com/doc/service/openApi/get_rid_info.html
func TestRIDInfo(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const body = `{"openid":"malformed","remark":"x"}`
	resp := a.post("/cgi-bin/user/info/updateremark", body)
	rid := ridOf(t, assertCode(t, 40003, resp))
	seconds, err := strconv.ParseInt(rid[:8], 16, 64)
	require.NoError(t, err)
	assert.Equal(t, start.Unix(), seconds)
	a.Advance(time.Hour)
	assert.Equal(t, fmt.Sprintf(`{"errcode":0,"errmsg":"ok","request":{"invoke_time":%d,"cost_in_ms":0,`+
		`"request_url":"access_token=%sxxxx","request_body":%q,"response_body":%q,"client_ip":"192.0.2.1"}}`,
		start.Unix(), a.AccessToken()[:6], body, resp), a.ridInfo(rid))
	other := ridOf(t, assertCode(t, 40003, a.post("/cgi-bin/user/info/updateremark", body)))
	assert.NotEqual(t, rid[8:], other[8:])
}

// https://developers.weixin.qq.com/doc/service/api/apimanage/api_getridinfo.html
func TestRIDInfoErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	assertCode(t, 76001, a.ridInfo("00000000-00000000-00000000"))
	assertCode(t, 76002, a.ridInfo("nonsense"))
	assertCode(t, 76002, a.post("/cgi-bin/openapi/rid/get", `{}`))
	assertCode(t, 47001, a.post("/cgi-bin/openapi/rid/get", `{"rid":1}`))

	rid := ridOf(t, assertCode(t, 41009, a.get("/cgi-bin/user/info")))
	a.Advance(7 * 24 * time.Hour)
	assert.Contains(t, a.ridInfo(rid), `"errcode":0`)
	a.Advance(time.Second)
	assertCode(t, 76001, a.ridInfo(rid))
}

func TestRIDInfoKeepsTheLastThousand(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	rid := ridOf(t, assertCode(t, 41009, a.get("/cgi-bin/user/info")))
	for range 999 {
		a.get("/cgi-bin/user/info")
	}
	assert.Contains(t, a.ridInfo(rid), `"errcode":0`)
	a.get("/cgi-bin/user/info")
	assertCode(t, 76001, a.ridInfo(rid))
}
