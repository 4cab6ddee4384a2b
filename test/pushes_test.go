package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The simulator sends pushes with code of its own, and wechatuserpush receives them with its own: an error in one of
// them fails these tests.

const (
	pushAppID  = "wxfa4e00000000fa4e"
	pushToken  = "fakePushToken"
	pushKey    = "fakeAESKey0fakeAESKey1fakeAESKey2fakeAESKey"
	newPushKey = "otherAESKeyotherAESKeyotherAESKeyotherAESKe"
)

// events collects the events that a handler has been called for.
type events struct {
	mu   sync.Mutex
	list []wechatuserpush.Event
	then func(e wechatuserpush.Event, nth int) error
}

func (e *events) handle(_ context.Context, event wechatuserpush.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
	if e.then != nil {
		return e.then(event, len(e.list))
	}
	return nil
}

func pushHandler(t *testing.T, got *events, change func(c *wechatuserpush.Config)) http.Handler {
	t.Helper()
	c := wechatuserpush.Config{AppID: pushAppID, Token: pushToken, EncodingAESKey: pushKey}
	if change != nil {
		change(&c)
	}
	handler, err := wechatuserpush.NewHandler(c, got.handle)
	require.NoError(t, err)
	return handler
}

func pushingServer(
	handler http.Handler, mode wechatusertest.PushMode, opts ...wechatusertest.Option,
) *wechatusertest.Server {
	return wechatusertest.NewServer(append([]wechatusertest.Option{
		wechatusertest.WithoutListener(),
		wechatusertest.WithPushes(wechatusertest.PushConfig{
			Handler: handler, Token: pushToken, EncodingAESKey: pushKey, Mode: mode,
		}),
	}, opts...)...)
}

func TestPushesReachTheHandler(t *testing.T) {
	t.Parallel()
	for _, mode := range []wechatusertest.PushMode{
		wechatusertest.PushPlain, wechatusertest.PushCompatible, wechatusertest.PushSafe,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, id := &events{}, wechatusertest.OpenID(0)
				srv := pushingServer(pushHandler(t, got, func(c *wechatuserpush.Config) {
					c.AllowPlain = mode == wechatusertest.PushPlain
				}), mode)
				require.NoError(t, srv.VerifyPushURL(t.Context()))

				srv.Follow(id)
				srv.Scan("shop", id)
				srv.Unfollow(id)
				time.Sleep(time.Second)
				srv.FollowByScan("123", id)
				srv.PushUserInfoModified(id)
				srv.PushAuthorizationRevoke("205", id)
				srv.PushAuthorizationCancellation(id)
				srv.PushEvent(id, "CLICK", "EventKey", "menu ]]> 1 & 2")
				require.NoError(t, srv.WaitPushes(t.Context()))

				for _, p := range srv.Pushes() {
					assert.Equal(t, wechatusertest.PushDelivered, p.Status, "%v", p)
				}
				require.Len(t, got.list, 8)
				for i, e := range got.list {
					h := e.PushHeader()
					assert.Equal(t, "gh_fa4e00000000", h.ToUserName)
					assert.Equal(t, "event", h.MsgType)
					assert.Equal(t, srv.Pushes()[i].Event, h.Event)
					assert.True(t, srv.Pushes()[i].Time.Equal(h.CreateTime))
					if i < 4 || i == 7 {
						assert.Equal(t, id, h.FromUserName)
					}
				}
				subscribe, ok := got.list[0].(*wechatuserpush.Subscribe)
				require.True(t, ok)
				assert.Empty(t, subscribe.Scene+subscribe.Ticket)
				scan, ok := got.list[1].(*wechatuserpush.Scan)
				require.True(t, ok)
				assert.Equal(t, "shop", scan.Scene)
				assert.NotEmpty(t, scan.Ticket)
				assert.IsType(t, &wechatuserpush.Unsubscribe{}, got.list[2])
				subscribe, ok = got.list[3].(*wechatuserpush.Subscribe)
				require.True(t, ok)
				assert.Equal(t, "123", subscribe.Scene)
				assert.NotEmpty(t, subscribe.Ticket)
				revoke, ok := got.list[5].(*wechatuserpush.AuthorizationRevoke)
				require.True(t, ok)
				assert.Equal(t, []string{id, "205", pushAppID}, []string{revoke.OpenID, revoke.RevokeInfo, revoke.AppID})
				cancellation, ok := got.list[6].(*wechatuserpush.AuthorizationCancellation)
				require.True(t, ok)
				assert.Equal(t, id, cancellation.OpenID)
				raw, ok := got.list[7].(*wechatuserpush.Raw)
				require.True(t, ok)
				assert.Contains(t, string(raw.XML), "EventKey")
			})
		})
	}
}

// A function that fails is called again for the next attempt, and one that succeeds is not.
func TestHandlerIsCalledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := &events{then: func(_ wechatuserpush.Event, nth int) error {
			if nth < 3 {
				return errors.New("not now")
			}
			return nil
		}}
		srv := pushingServer(pushHandler(t, got, nil), wechatusertest.PushSafe)
		srv.Follow("oFAKE1")
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Len(t, got.list, 3)
		assert.Equal(t, wechatusertest.PushTotals{Delivered: 1, Attempts: 3}, srv.PushTotals())
	})
}

// A handler with other secrets, or in another mode, refuses each push.
func TestHandlerRefusesOthers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *wechatuserpush.Config){
		"token":  func(c *wechatuserpush.Config) { c.Token = "otherToken" },
		"key":    func(c *wechatuserpush.Config) { c.EncodingAESKey = newPushKey },
		"app ID": func(c *wechatuserpush.Config) { c.AppID = "wxother" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := &events{}
				srv := pushingServer(pushHandler(t, got, change), wechatusertest.PushSafe)
				srv.Follow("oFAKE1")
				require.NoError(t, srv.WaitPushes(t.Context()))
				assert.Empty(t, got.list)
				assert.Equal(t, "HTTP status 403", srv.Pushes()[0].Error)
				assert.Equal(t, name == "token", srv.VerifyPushURL(t.Context()) != nil)
			})
		})
	}
	got := &events{}
	srv := pushingServer(pushHandler(t, got, nil), wechatusertest.PushPlain)
	defer srv.Close()
	srv.Follow("oFAKE1")
	srv.Advance(10 * time.Second)
	require.NoError(t, srv.WaitPushes(t.Context()))
	assert.Empty(t, got.list, "a handler for encrypted pushes accepts no plain ones")
}

// On a bad day, with repeats, delays and a change of the AES key, the function is called once for each event.
func TestHandlerOnABadDay(t *testing.T) {
	t.Parallel()
	n := 1000
	if testutil.Full() {
		n = 10_000
	}
	synctest.Test(t, func(t *testing.T) {
		calls := map[string]int{}
		got := &events{then: func(e wechatuserpush.Event, _ int) error {
			h := e.PushHeader()
			calls[fmt.Sprintln(h.FromUserName, h.Event, h.CreateTime.Unix())]++
			return nil
		}}
		handler := pushHandler(t, got, func(c *wechatuserpush.Config) {
			c.EncodingAESKey, c.PreviousEncodingAESKey = newPushKey, pushKey
		})
		quirks := wechatusertest.Wild(5)
		quirks.PushDelay = 20 * time.Second
		srv := pushingServer(handler, wechatusertest.PushSafe, wechatusertest.WithQuirks(quirks))
		ids := make([]string, n)
		for i := range ids {
			ids[i] = wechatusertest.OpenID(i)
		}
		srv.ChangeAESKey(newPushKey)
		srv.Follow(ids...)
		time.Sleep(time.Second)
		srv.Unfollow(ids...)
		require.NoError(t, srv.WaitPushes(t.Context()))

		totals := srv.PushTotals()
		assert.Zero(t, totals.Failed)
		assert.Greater(t, totals.Delivered, 2*n, "some were repeated")
		assert.Len(t, calls, 2*n)
		assert.Len(t, got.list, 2*n)
	})
}
