package wechatusertest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// response of the calls of a platform.
type platformResponse struct {
	Code           wechatuser.Code `json:"errcode"`
	Message        string          `json:"errmsg"`
	ComponentToken string          `json:"component_access_token"`
	AccessToken    string          `json:"authorizer_access_token"`
	RefreshToken   string          `json:"authorizer_refresh_token"`
	ExpiresIn      int             `json:"expires_in"`
	PreAuthCode    string          `json:"pre_auth_code"`
	Total          int             `json:"total_count"`
	List           []struct {
		AppID        string `json:"authorizer_appid"`
		RefreshToken string `json:"refresh_token"`
		Time         int64  `json:"auth_time"`
	} `json:"list"`
	Info *struct {
		platformResponse
		AppID string `json:"authorizer_appid"`
		Funcs []struct {
			Category struct {
				ID int `json:"id"`
			} `json:"funcscope_category"`
		} `json:"func_info"`
	} `json:"authorization_info"`
}

type platformCalls struct {
	t *testing.T
	*wechatusertest.Platform
}

func (p platformCalls) post(path, token string, body map[string]any) (out platformResponse) {
	p.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(p.t, err)
	return p.send("POST", "/cgi-bin/component/"+path+"?component_access_token="+token, bytes.NewReader(data))
}

func (p platformCalls) send(method, target string, body io.Reader) (out platformResponse) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://x"+target, body)
	require.NoError(p.t, err)
	resp, err := p.Transport().RoundTrip(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&out))
	return out
}

func (p platformCalls) component(ticket string) platformResponse {
	return p.post("api_component_token", "", map[string]any{
		"component_appid": p.AppID, "component_appsecret": p.Secret, "component_verify_ticket": ticket,
	})
}

func (p platformCalls) exchange(component, appID, refresh string) platformResponse {
	return p.post("api_authorizer_token", component, map[string]any{
		"component_appid": p.AppID, "authorizer_appid": appID, "authorizer_refresh_token": refresh,
	})
}

func (p platformCalls) query(component, code string) platformResponse {
	return p.post("api_query_auth", component, map[string]any{"component_appid": p.AppID, "authorization_code": code})
}

func (p platformCalls) list(component string, offset, count int) platformResponse {
	return p.post("api_get_authorizer_list", component,
		map[string]any{"component_appid": p.AppID, "offset": offset, "count": count})
}

func (p platformCalls) fans(token string) wechatuser.Code {
	return p.send("GET", "/cgi-bin/user/get?access_token="+token, nil).Code
}

// inPlatform runs a test with a platform and an account.
func inPlatform(
	t *testing.T, test func(t *testing.T, p platformCalls, account *wechatusertest.Server), opts ...wechatusertest.Option,
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := wechatusertest.NewPlatform(append(opts, wechatusertest.WithoutListener())...)
		test(t, platformCalls{t, p}, wechatusertest.NewServer(wechatusertest.WithoutListener()))
	})
}

func TestPlatformTokens(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, account *wechatusertest.Server) {
		component := p.component(p.Ticket())
		require.Zero(t, component.Code)
		assert.Equal(t, 7200, component.ExpiresIn)
		pre := p.post("api_create_preauthcode", component.ComponentToken, map[string]any{"component_appid": p.AppID})
		assert.Contains(t, pre.PreAuthCode, "preauthcode@@@")

		code := p.Authorize(account, 2, 15)
		assert.Empty(t, p.list(component.ComponentToken, 0, 500).List[0].RefreshToken, "the code is not exchanged yet")
		info := p.query(component.ComponentToken, code).Info
		require.NotNil(t, info)
		assert.Equal(t, account.AppID, info.AppID)
		assert.Equal(t, 7200, info.ExpiresIn)
		assert.Len(t, info.Funcs, 2)
		assert.Equal(t, wechatuser.CodeAuthCodeExpired, p.query(component.ComponentToken, code).Code, "once")
		assert.Zero(t, p.fans(info.AccessToken))
		assert.Equal(t, 1, account.Calls("getFans"), "the call is the account's")

		next := p.exchange(component.ComponentToken, account.AppID, info.RefreshToken)
		assert.Equal(t, info.RefreshToken, next.RefreshToken, "a refresh token stays")
		assert.NotEqual(t, info.AccessToken, next.AccessToken)
		assert.Zero(t, p.fans(info.AccessToken), "the old token is valid for 5 minutes")
		p.Advance(5 * time.Minute)
		assert.Equal(t, wechatuser.CodeInvalidCredential, p.fans(info.AccessToken))
		assert.Zero(t, p.fans(next.AccessToken))
		p.Advance(2 * time.Hour)
		assert.Equal(t, wechatuser.CodeAccessTokenExpired, p.fans(next.AccessToken))
		assert.Equal(t, wechatuser.CodeAccessTokenExpired, p.exchange(component.ComponentToken, account.AppID, "x").Code)
		assert.Equal(t, 2, p.Fetched(account.AppID))
	})
}

func TestPlatformRotates(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, account *wechatusertest.Server) {
		component := p.component(p.Ticket()).ComponentToken
		first := p.query(component, p.Authorize(account)).Info
		second := p.exchange(component, account.AppID, first.RefreshToken)
		assert.NotEqual(t, first.RefreshToken, second.RefreshToken)
		assert.Equal(t, wechatuser.CodeInvalidCredential, p.fans(first.AccessToken), "ended at once")
		assert.Equal(t, wechatuser.CodeInvalidRefreshToken, p.exchange(component, account.AppID, first.RefreshToken).Code)
		list := p.list(component, 0, 500)
		assert.Equal(t, 1, list.Total)
		assert.Equal(t, second.RefreshToken, list.List[0].RefreshToken)
		assert.Equal(t, time.Now().Unix(), list.List[0].Time)
	}, wechatusertest.WithRotatingRefreshTokens(), wechatusertest.WithQuirks(wechatusertest.Quirks{NoTokenOverlap: true}))
}

func TestPlatformTickets(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, _ *wechatusertest.Server) {
		var tickets []string
		p.OnTicket(func(ticket string) { tickets = append(tickets, ticket) })
		p.Advance(9 * time.Minute)
		assert.Len(t, tickets, 1)
		p.Advance(2*time.Hour + time.Minute)
		assert.Len(t, tickets, 14)
		time.Sleep(10 * time.Minute)
		assert.NotContains(t, tickets, p.Ticket(), "time passes without Advance too")
		assert.Equal(t, p.Ticket(), p.Ticket())

		for _, ticket := range tickets {
			assert.Zero(t, p.component(ticket).Code)
		}
		assert.Equal(t, wechatuser.CodeInvalidTicket, p.component("x").Code)
		p.Advance(11 * time.Hour)
		assert.Equal(t, wechatuser.CodeTicketExpired, p.component(tickets[0]).Code)
		assert.Zero(t, p.component(tickets[13]).Code)
	})
}

func TestPlatformAuthorizationsEnd(t *testing.T) {
	for code, end := range map[wechatuser.Code]func(p *wechatusertest.Platform, account *wechatusertest.Server){
		61003: func(p *wechatusertest.Platform, a *wechatusertest.Server) { p.Revoke(a.AppID) },
		42007: func(p *wechatusertest.Platform, a *wechatusertest.Server) { p.ChangePassword(a.AppID) },
		61016: func(p *wechatusertest.Platform, a *wechatusertest.Server) { p.SetCategoryConfirmed(a.AppID, false) },
		40001: func(p *wechatusertest.Platform, a *wechatusertest.Server) { p.Authorize(a) },
	} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			inPlatform(t, func(t *testing.T, p platformCalls, account *wechatusertest.Server) {
				component := p.component(p.Ticket()).ComponentToken
				info := p.query(component, p.Authorize(account)).Info
				end(p.Platform, account)
				assert.Equal(t, code, p.fans(info.AccessToken))
				if code == wechatuser.CodeComponentUnauthorized || code == wechatuser.CodeAuthorizationVoided {
					assert.Equal(t, code, p.exchange(component, account.AppID, info.RefreshToken).Code)
				}
				if code == wechatuser.CodeComponentUnauthorized {
					assert.Empty(t, p.list(component, 0, 500).List)
				}
				p.SetCategoryConfirmed(account.AppID, true)
				assert.Zero(t, p.fans(p.query(component, p.Authorize(account)).Info.AccessToken), "authorized again")
				assert.NotEqual(t, info.RefreshToken, p.RefreshToken(account.AppID))
			})
		})
	}
}

func TestPlatformPermissions(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, account *wechatusertest.Server) {
		component := p.component(p.Ticket()).ComponentToken
		for _, sets := range [][]int{{}, {2}, {1, 100}} {
			assert.Zero(t, p.fans(p.query(component, p.Authorize(account, sets...)).Info.AccessToken))
		}
		token := p.query(component, p.Authorize(account, 1)).Info.AccessToken
		assert.Equal(t, wechatuser.CodeAPINotGranted, p.fans(token))
		assert.Zero(t, p.send("GET", "/cgi-bin/get_api_domain_ip?access_token="+token, nil).Code)
	})
}

func TestPlatformChecks(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, account *wechatusertest.Server) {
		fields := func(appID, secret, ticket any) map[string]any {
			return map[string]any{"component_appid": appID, "component_appsecret": secret, "component_verify_ticket": ticket}
		}
		for code, body := range map[wechatuser.Code]map[string]any{
			61011: fields("wx1", p.Secret, p.Ticket()), 40125: fields(p.AppID, "x", p.Ticket()),
			41004: fields(p.AppID, "", p.Ticket()), 47001: fields(p.AppID, p.Secret, 1),
		} {
			assert.Equal(t, code, p.post("api_component_token", "", body).Code)
		}
		component := p.component(p.Ticket()).ComponentToken
		assert.Equal(t, wechatuser.Code(41001), p.list("", 0, 1).Code)
		assert.Equal(t, wechatuser.Code(40001), p.list("x", 0, 1).Code)
		assert.Equal(t, wechatuser.Code(40170), p.list(component, 0, 501).Code)
		assert.Equal(t, wechatuser.Code(47001), p.list(component, -1, 1).Code)
		assert.Equal(t, wechatuser.Code(40013),
			p.post("api_query_auth", component, map[string]any{"component_appid": "wx1"}).Code)
		assert.Equal(t, wechatuser.Code(61003), p.exchange(component, "wx1", "x").Code, "never authorized")
		code := p.Authorize(account)
		p.Advance(time.Hour)
		assert.Equal(t, wechatuser.Code(61010), p.query(component, code).Code)
		assert.Equal(t, wechatuser.Code(43002), p.send("GET", "/cgi-bin/component/api_query_auth", nil).Code)
		assert.Equal(t, wechatuser.Code(40001), p.fans("x"), "a token of nobody")
		assert.Equal(t, wechatuser.CodeComponentAppID, p.send("GET",
			"/cgi-bin/token?grant_type=client_credential&appid="+p.AppID+"&secret="+p.Secret, nil).Code)
		start := map[string]any{"component_appid": p.AppID, "component_secret": p.Secret}
		assert.Zero(t, p.post("api_start_push_ticket", "", start).Code)

		assert.PanicsWithValue(t, "wechatusertest: Revoke: wx1 has not authorized the platform", func() { p.Revoke("wx1") })
	})
}

// The whitelist of the platform counts for the calls of an account, and not that of the account.
func TestPlatformWhitelist(t *testing.T) {
	inPlatform(t, func(t *testing.T, p platformCalls, _ *wechatusertest.Server) {
		assert.Equal(t, wechatuser.CodeClientIPNotRegistered, p.component(p.Ticket()).Code)
		assert.Contains(t, p.component(p.Ticket()).Message, "requestIP: 127.0.0.1")
	}, wechatusertest.WithIPWhitelist("203.0.113.7"))
	inPlatform(t, func(t *testing.T, p platformCalls, _ *wechatusertest.Server) {
		account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithIPWhitelist("203.0.113.7"))
		token := p.query(p.component(p.Ticket()).ComponentToken, p.Authorize(account)).Info.AccessToken
		assert.Zero(t, p.fans(token))
	})
}

// A platform and its accounts behind one socket; the log has no secret.
func TestPlatformOverASocket(t *testing.T) {
	p := wechatusertest.NewPlatform()
	defer p.Close()
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(2))
	calls := platformCalls{t, p}
	token := calls.query(calls.component(p.Ticket()).ComponentToken, p.Authorize(account)).Info.AccessToken
	calls.exchange(calls.component(p.Ticket()).ComponentToken, account.AppID, p.RefreshToken(account.AppID))
	c, err := wechatuser.New(account.AppID, "", wechatuser.WithBaseURL(p.URL),
		wechatuser.WithTokenSource(wechatuser.StaticTokenSource(token)))
	require.NoError(t, err)
	fans, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, 2, fans.Total)
	c.HTTPClient().CloseIdleConnections()

	text := fmt.Sprintf("%+v", p.Requests())
	for _, secret := range []string{p.Secret, p.Ticket(), p.RefreshToken(account.AppID), "queryauthcode@@@"} {
		assert.NotContains(t, text, secret)
	}
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", p, p, p), p.Secret)
	assert.True(t, strings.HasPrefix(p.String(), "wechatusertest.Platform("))
}
