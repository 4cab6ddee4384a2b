package wechatuser

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEndpointTable(t *testing.T) {
	apis, paths := map[string]int{}, map[string]int{}
	for id, ep := range endpoints {
		t.Run(ep.api, func(t *testing.T) {
			assert.Regexp(t, `^[a-z][A-Za-z]+$`, ep.api)
			assert.NotEmpty(t, ep.title)
			assert.Contains(t, []string{"GET", "POST"}, ep.method)
			assert.Regexp(t, `^/cgi-bin(/[a-z_0-9]+)+$`, ep.path)

			page, err := url.Parse(ep.docURL())
			require.NoError(t, err)
			assert.Equal(t, "developers.weixin.qq.com", page.Host)
			assert.Equal(t, "https", page.Scheme)
			folder, name, _ := strings.Cut(strings.TrimPrefix(page.Path, "/doc/service/api/"), "/api_")
			assert.Contains(t, []string{"usermanage/userinfo", "usermanage/tag", "usermanage/changeopenid", "apimanage", "base"}, folder)
			assert.Equal(t, strings.ToLower(ep.api)+".html", name, "the platform names a page after its interface")

			if ep.max > 0 {
				_, ok := reflect.TypeFor[*Client]().MethodByName(ep.bulk)
				assert.True(t, ok, "the way around the limit is %q", ep.bulk)
			} else {
				assert.Empty(t, ep.bulk)
			}
			if strings.HasPrefix(ep.api, "clear") {
				assert.Equal(t, repeatNever, ep.repeat)
			}
			if ep.repeat != repeatAsIs {
				assert.True(t, ep.write || ep.noAuth, "reading is repeated")
			}
			if ep.method == "GET" {
				assert.False(t, ep.write)
			}
		})
		if endpointID(id) != forcedToken { // stableToken with another argument
			apis[ep.api]++
			paths[ep.path]++
		}
	}
	for name, n := range apis {
		assert.Equal(t, 1, n, name)
	}
	for path, n := range paths {
		assert.Equal(t, 1, n, path)
	}
	// 16 of the user management, 6 of its quotas and addresses, and 2 for tokens.
	assert.Len(t, apis, 24)
}

// A secret that is not taken for one is shown; a text that is taken for one can't be read.
func TestMaskParam(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"nothing":                          "nothing",
		"access_token":                     "access_token",
		"access_token=":                    "access_token=",
		"access_token= x":                  "access_token= x",
		"?access_token=a_B-9.~%2F%2B+/=&x": "?access_token=***&x",
		`"access_token=a"`:                 `"access_token=***"`,
		"access_token=a\naccess_token=b":   "access_token=***\naccess_token=***",
		"access_token=*** and":             "access_token=*** and",
	} {
		got := maskParam(text, "access_token=")
		assert.Equal(t, want, got)
		assert.Equal(t, got, maskParam(got, "access_token="), "once is enough")
	}
}

// The body of a call can be written for any argument; what could not would be an argument's fault.
func TestBodyThatCannotBeWritten(t *testing.T) {
	c, err := New("wxFAKE", "FAKE")
	require.NoError(t, err)
	_, err = call[okResponse](t.Context(), c, request{ep: &endpoints[updateRemark]}, func() {})
	var ae *ArgumentError
	require.ErrorAs(t, err, &ae)
	assert.Equal(t, "updateRemark", ae.API)
}
