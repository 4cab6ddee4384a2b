package authorizer_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

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
