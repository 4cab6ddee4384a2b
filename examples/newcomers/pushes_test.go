package newcomers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const pushToken, pushKey = "fakePushToken", "fakeAESKey0fakeAESKey1fakeAESKey2fakeAESKey"

// newPushing returns an account that pushes to a handler, which tags newcomers at once.
func newPushing(t *testing.T, quirks wechatusertest.Quirks) (*wechatusertest.Server, int) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithQuirks(quirks))
	c, tagID := srv.Client(), srv.AddTag("new")
	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID: srv.AppID, Token: pushToken, EncodingAESKey: pushKey,
	}, func(ctx context.Context, event wechatuserpush.Event) error {
		if e, ok := event.(*wechatuserpush.Subscribe); ok {
			return c.BatchTagging(ctx, tagID, []string{e.FromUserName})
		}
		return nil
	})
	require.NoError(t, err)
	srv.SetPushes(wechatusertest.PushConfig{
		Handler: handler, Token: pushToken, EncodingAESKey: pushKey, Mode: wechatusertest.PushSafe,
	})
	return srv, tagID
}

// Pushes come twice, late and in another order.
func TestFollowersAreTaggedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, tagID := newPushing(t, wechatusertest.Quirks{
			RepeatedPushes: 0.2, ReorderedPushes: 0.2, PushDelay: time.Minute,
		})
		for i := range 100 {
			srv.FollowByScan("poster-1", wechatusertest.OpenID(i))
		}
		require.NoError(t, srv.WaitPushes(t.Context()))

		assert.Len(t, srv.TagFans(tagID), 100)
		assert.Equal(t, 100, srv.Calls("/cgi-bin/tags/members/batchtagging"), "repeats call nothing")
	})
}

// The function fails, so the platform pushes again after five seconds.
func TestFollowIsPushedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, tagID := newPushing(t, wechatusertest.Strict())
		srv.FailNext("/cgi-bin/tags/members/batchtagging", wechatuser.CodeAPIUnauthorized, 1)
		srv.Follow(wechatusertest.OpenID(0))
		require.NoError(t, srv.WaitPushes(t.Context()))

		assert.Len(t, srv.TagFans(tagID), 1)
		assert.Equal(t, 2, srv.Pushes()[0].Attempts)
		assert.Equal(t, wechatusertest.PushDelivered, srv.Pushes()[0].Status)
	})
}
