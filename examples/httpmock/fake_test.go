package welcome_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	welcome "github.com/wechatuser/wechatuser/examples/httpmock"
)

// The third way: a hand-written fake of the interface that the service declares. It is the shortest way to test the
// service's own logic, and does not depend on WeChat's behavior.

type fake struct {
	user   wechatuser.UserInfo
	tagged []string
	err    error // returned by BatchTagging
}

func (f *fake) GetUserInfo(context.Context, string, ...wechatuser.UserInfoOption) (*wechatuser.UserInfo, error) {
	user := f.user
	return &user, nil
}

func (f *fake) BatchTagging(_ context.Context, _ int, openIDs []string) error {
	f.tagged = append(f.tagged, openIDs...)
	return f.err
}

func (f *fake) UpdateRemark(context.Context, string, string) error { return nil }

func TestWelcomeWithFake(t *testing.T) {
	t.Parallel()
	f := &fake{user: wechatuser.UserInfo{OpenID: "oTEST_A", Subscribe: 1, SubscribeScene: wechatuser.SceneSearch}}

	user, err := (&welcome.Service{Followers: f, TagID: 134}).Welcome(t.Context(), "oTEST_A")

	require.NoError(t, err)
	assert.Equal(t, []string{"oTEST_A"}, f.tagged)
	assert.Empty(t, user.Remark, "only followers from a QR code get a remark")
}

// A fake can return the SDK's errors: they are plain values.
func TestTooManyTagsWithFake(t *testing.T) {
	t.Parallel()
	f := &fake{
		user: wechatuser.UserInfo{OpenID: "oTEST_A", Subscribe: 1},
		err:  &wechatuser.Error{API: "batchTagging", Code: wechatuser.CodeTooManyTagsOnUser},
	}

	_, err := (&welcome.Service{Followers: f, TagID: 134}).Welcome(t.Context(), "oTEST_A")

	assert.ErrorIs(t, err, wechatuser.CodeTooManyTagsOnUser)
}
