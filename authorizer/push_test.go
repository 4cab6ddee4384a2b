package authorizer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The simulator pushes, the handler decrypts, and the platform does the rest.
func TestPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const token, key = "SENTINELtoken", "SENTINELkeySENTINELkeySENTINELkeySENTINEL01"
		w := newWorld(t, 0)
		p := w.process()
		handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
			AppID: platformAppID, Token: token, EncodingAESKey: key, MaxAge: 24 * time.Hour, // Advance moves one clock only
		}, p.Handle)
		require.NoError(t, err)
		w.wechat.SetPushes(wechatusertest.PushConfig{
			Handler: handler, Token: token, EncodingAESKey: key, Mode: wechatusertest.PushSafe,
		})
		defer w.wechat.Close()
		wait := func() {
			t.Helper()
			require.NoError(t, w.wechat.WaitPushes(t.Context()))
			for _, push := range w.wechat.Pushes() {
				require.Equal(t, wechatusertest.PushDelivered, push.Status, "%s: %s", push.Event, push.Error)
			}
		}
		w.wechat.Advance(10 * time.Minute)
		wait()
		account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3))
		w.accounts = append(w.accounts, account)
		w.wechat.Authorize(account)
		wait()
		call := func() error {
			_, err := w.client(p, 0).GetFans(t.Context(), "")
			return err
		}
		require.NoError(t, call())
		w.wechat.Authorize(account, 2)
		wait()
		require.NoError(t, call())
		w.wechat.Advance(2 * time.Hour)
		wait()
		require.NoError(t, call())
		assert.Equal(t, 3, w.wechat.Fetched(account.AppID))
		assert.Zero(t, w.wechat.Calls(pathList))
		w.wechat.Revoke(account.AppID)
		wait()
		require.ErrorIs(t, call(), wechatuser.CodeComponentUnauthorized)
		stored, err := w.store.LoadSecret(t.Context(), w.refreshKey(0))
		require.NoError(t, err)
		assert.Empty(t, stored)
		events := map[string]int{}
		for _, push := range w.wechat.Pushes() {
			events[push.Event]++
		}
		assert.Equal(t, map[string]int{
			"component_verify_ticket": 13, "authorized": 1, "updateauthorized": 1, "unauthorized": 1,
		}, events)
	})
}

func TestHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		p := w.process()
		handle := func(e wechatuserpush.Event) {
			t.Helper()
			require.NoError(t, p.Handle(t.Context(), e))
		}
		a, b := w.accounts[0].AppID, w.accounts[1].AppID
		handle(&wechatuserpush.VerifyTicket{AppID: platformAppID, Ticket: w.wechat.Ticket()})
		handle(&wechatuserpush.Authorized{AppID: platformAppID, AuthorizerAppID: a, AuthorizationCode: w.codes[0]})
		handle(&wechatuserpush.Authorized{AppID: platformAppID, AuthorizerAppID: a, AuthorizationCode: w.codes[0]})
		assert.Equal(t, 1, w.wechat.Fetched(a), "the repeat of a push changes nothing")
		_, err := p.ExchangeCode(t.Context(), w.codes[1])
		require.NoError(t, err)
		handle(&wechatuserpush.UpdateAuthorized{AppID: platformAppID, AuthorizerAppID: b, AuthorizationCode: w.codes[1]})
		handle(new(wechatuserpush.Raw))
		for i := range w.accounts {
			_, err := w.client(p, i).GetFans(t.Context(), "")
			require.NoError(t, err)
		}
		code := w.wechat.Authorize(w.accounts[1])
		w.wechat.DropAnswers(pathQueryAuth, 1)
		handle(&wechatuserpush.UpdateAuthorized{AppID: platformAppID, AuthorizerAppID: b, AuthorizationCode: code})
		assert.Zero(t, w.wechat.Calls(pathList), "the old token is valid by this process's clock")
		_, err = w.client(p, 1).GetFans(t.Context(), "")
		require.NoError(t, err)

		w.wechat.Revoke(a)
		handle(&wechatuserpush.Unauthorized{AppID: platformAppID, AuthorizerAppID: a})
		_, err = w.client(w.process(), 0).GetFans(t.Context(), "")
		require.ErrorIs(t, err, authorizer.ErrNotAuthorized)
		err = w.process().Handle(t.Context(), &wechatuserpush.Authorized{
			AppID: platformAppID, AuthorizerAppID: a, AuthorizationCode: "x",
		})
		require.ErrorIs(t, err, wechatuser.CodeAuthCodeExpired)
		err = p.Handle(t.Context(), &wechatuserpush.VerifyTicket{AppID: "wx1", Ticket: "x"})
		require.ErrorContains(t, err, "another platform")
	})
}
