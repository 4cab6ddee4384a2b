// Package otherlanguages runs unmodified SDKs of other languages against the simulator.
//
//	go test -C examples/otherlanguages .
package otherlanguages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is the output of a script: what its SDK has returned.
type result struct {
	Fans      [][]string // page by page
	Profile   wechatuser.UserInfo
	Profiles  []wechatuser.UserInfo
	Created   wechatuser.Tag
	Members   [][]string // page by page
	TagIDs    []int
	Tags      []wechatuser.Tag
	Blacklist []string
	Rejected  *sdkError // for the profile of an invalid openid
	Expired   *sdkError // of a call with the revoked token, if the SDK returns one
	Refreshed string    // the openid of the first profile after that
}

type sdkError struct {
	Code    wechatuser.Code
	Message string
}

func TestSDKs(t *testing.T) {
	node, modules := install(t)
	for _, tt := range []struct {
		script string
		shown  bool // whether the SDK returns the error of a revoked token
	}{
		{script: "co-wechat-api.js"},
		{script: "wechat-api.js", shown: true},
	} {
		t.Run(tt.script, func(t *testing.T) {
			srv := wechatusertest.NewServer(
				wechatusertest.WithoutListener(), wechatusertest.WithFans(25), wechatusertest.WithPageSize(10))
			got := run(t, srv, node, modules, tt.script)

			// What the SDK has returned.
			fans := srv.OpenIDs()
			require.Len(t, fans, 25)
			assert.Equal(t, slices.Collect(slices.Chunk(fans, 10)), got.Fans)
			require.Len(t, got.Profiles, 25)
			for i, profile := range got.Profiles {
				assert.Equal(t, fans[i], profile.OpenID)
			}
			assert.Equal(t, fans[0], got.Profile.OpenID)
			assert.Equal(t, `老客户/朋友 & "A"`, got.Profile.Remark)
			assert.Equal(t, "会员", got.Created.Name)
			assert.Equal(t, [][]string{fans[3:13], fans[13:15]}, got.Members)
			assert.Equal(t, []int{got.Created.ID}, got.TagIDs)
			assert.Contains(t, got.Tags, wechatuser.Tag{ID: got.Created.ID, Name: "金牌会员", Count: 12})
			assert.Equal(t, fans[1:2], got.Blacklist)
			require.NotNil(t, got.Rejected)
			assert.Equal(t, wechatuser.CodeInvalidOpenID, got.Rejected.Code)
			assert.Regexp(t, `^invalid openid.* rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, got.Rejected.Message)
			if require.Equal(t, tt.shown, got.Expired != nil); tt.shown {
				assert.Equal(t, wechatuser.CodeInvalidCredential, got.Expired.Code)
			}
			assert.Equal(t, fans[0], got.Refreshed)

			// The state of the account.
			user, ok := srv.User(fans[0])
			require.True(t, ok)
			assert.Equal(t, `老客户/朋友 & "A"`, user.Remark)
			assert.Equal(t, []wechatuser.Tag{{ID: got.Created.ID, Name: "金牌会员", Count: 12}}, srv.Tags())
			assert.Equal(t, fans[3:15], srv.TagFans(got.Created.ID))
			assert.Equal(t, fans[1:2], srv.Blacklist())

			// The number of calls.
			assert.Equal(t, 2, srv.Calls("/cgi-bin/token"), "one token at the start, and one after the revocation")
			assert.Equal(t, 4, srv.Calls("/cgi-bin/user/get"), "three pages and an empty one")
			assert.Equal(t, 1, srv.Calls("/cgi-bin/tags/delete"))
		})
	}
}

// run runs a script against the account and returns its output.
func run(t *testing.T, srv *wechatusertest.Server, node, modules, script string) result {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", srv)
	mux.HandleFunc("/expire", func(http.ResponseWriter, *http.Request) { srv.ExpireTokens() })
	listener := httptest.NewServer(mux)
	defer listener.Close()

	cmd := exec.CommandContext(t.Context(), node, script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules,
		"WECHAT_BASE_URL="+listener.URL, "WECHAT_APPID="+srv.AppID, "WECHAT_SECRET="+srv.Secret,
		"EXPIRE_URL="+listener.URL+"/expire")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, 5*time.Second
	require.NoError(t, cmd.Run(), stderr.String())
	var got result
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &got), stdout.String())
	return got
}
