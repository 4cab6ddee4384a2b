package welcome_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	welcome "github.com/wechatuser/wechatuser/examples/httpmock"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The second way: the simulator holds an account, and the test asserts on its final state, whichever calls the service
// made. There are no bodies to write.

func TestWelcomeWithSimulator(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	srv.AddUsers(wechatuser.UserInfo{OpenID: "oTEST_A", SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7"})
	tag := srv.AddTag("新朋友")
	svc := &welcome.Service{Followers: srv.Client(), TagID: tag}

	_, err := svc.Welcome(t.Context(), "oTEST_A")

	require.NoError(t, err)
	user, found := srv.User("oTEST_A")
	require.True(t, found)
	assert.Equal(t, "扫码 shop-7", user.Remark)
	assert.Equal(t, []int{tag}, user.TagIDList)
}

func TestTokenRevokedWithSimulator(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1))
	tag := srv.AddTag("新朋友")
	svc := &welcome.Service{Followers: srv.Client(), TagID: tag}
	_, err := svc.Welcome(t.Context(), wechatusertest.OpenID(0))
	require.NoError(t, err)
	srv.ExpireTokens()

	_, err = svc.Welcome(t.Context(), wechatusertest.OpenID(0))

	require.NoError(t, err, "the client refreshes the token itself")
	assert.Equal(t, 2, srv.Calls("/cgi-bin/stable_token"))
}

func TestFormerFollowerWithSimulator(t *testing.T) {
	t.Parallel()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1))
	srv.Unfollow(wechatusertest.OpenID(0))
	svc := &welcome.Service{Followers: srv.Client()}
	rec := httptest.NewRecorder()

	target := "/welcome?openid=" + wechatusertest.OpenID(0)
	svc.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, nil))

	assert.Equal(t, http.StatusBadRequest, rec.Code)
	assert.Contains(t, rec.Body.String(), "not a follower")
}
