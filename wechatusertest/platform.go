package wechatusertest

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Platform simulates WeChat's side of a third-party platform (第三方平台), the calls under /cgi-bin/component/. It is a
// [Server] whose app ID and secret are those of the platform. Faults, delays, the whitelist, the clock and the log of
// requests work as with any Server. It is safe for concurrent use.
//
// Accounts authorize it with [Platform.Authorize]. Calls with the token of an account can be sent to the account's
// Server or to the Platform; WeChat has one address for both.
type Platform struct {
	*Server

	// guarded by the lock of Server
	start          time.Time
	tickets        map[string]time.Time // when each was pushed
	lastTicket     string
	pushed         int // tickets so far
	onTicket       []func(ticket string)
	authorizations []*authorization // the oldest first
	byAppID        map[string]*authorization
	byToken        map[string]*authorizerToken
	codes          map[string]*authorizationCode
}

// authorization is that of one account.
type authorization struct {
	account     *Server
	at          time.Time
	refresh     string
	exchanged   bool // its code was exchanged, so that the list has its refresh token
	permissions []int
	unconfirmed bool            // its function category
	ended       wechatuser.Code // why it ended, 0 if it did not
	tokens      []*token        // the newest last
	fetched     int             // tokens so far
}

type authorizerToken struct {
	*token
	of *authorization
}

type authorizationCode struct {
	of      *authorization
	expires time.Time
}

const (
	componentPath = "/cgi-bin/component/"

	defaultPlatformAppID  = "wxfa4e0000000c0c0e"
	defaultPlatformSecret = "c0c0e5ec7e7fa4e5ec7e7fa4e5ec7e7f"

	ticketInterval   = 10 * time.Minute
	ticketLife       = 12 * time.Hour
	codeLife         = time.Hour
	maxListed        = 500
	authorizerTokens = 4 // kept for an account; older ones are unknown

	codeArgsLimit wechatuser.Code = 40170
)

// WithRotatingRefreshTokens makes each use of a refresh token replace it, which is stricter than WeChat: it replaces
// one only when the account authorizes the platform again. For [NewPlatform].
func WithRotatingRefreshTokens() Option { return func(c *config) { c.rotateRefresh = true } }

// NewPlatform starts a platform, as [NewServer] does. The options of NewServer apply, [WithAccount] sets app ID and
// secret of the platform, and [WithIPWhitelist] also limits calls with the tokens of accounts. With [WithPushes] it
// pushes tickets, and the authorizations that accounts grant, change and withdraw.
func NewPlatform(opts ...Option) *Platform {
	s := newServer(append([]Option{WithAccount(defaultPlatformAppID, defaultPlatformSecret)}, opts...))
	p := &Platform{
		Server: s, start: s.now(), tickets: make(map[string]time.Time), byAppID: make(map[string]*authorization),
		byToken: make(map[string]*authorizerToken), codes: make(map[string]*authorizationCode),
	}
	s.isComponent = true
	for name, e := range map[string]endpoint{
		"api_component_token":     {api: "getComponentAccessToken", serve: p.componentToken},
		"api_start_push_ticket":   {api: "startPushTicket", serve: p.startPushTicket},
		"api_create_preauthcode":  {api: "getPreAuthCode", serve: p.withToken(p.preAuthCode)},
		"api_query_auth":          {api: "queryAuthInfo", serve: p.withToken(p.queryAuth)},
		"api_authorizer_token":    {api: "getAuthorizerAccessToken", serve: p.withToken(p.authorizerToken)},
		"api_get_authorizer_list": {api: "getAuthorizerList", serve: p.withToken(p.authorizerList)},
	} {
		e.method, e.noToken, e.open = http.MethodPost, true, true
		s.routes[componentPath+name] = &route{endpoint: &e, path: componentPath + name}
	}
	s.serve(p)
	if s.target != nil {
		p.Ticket()
	}
	return p
}

// ServeHTTP implements [http.Handler].
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) { serveHTTP(p.handle, w, r) }

// Transport returns a transport that serves requests to any host in the process, without a socket.
func (p *Platform) Transport() http.RoundTripper { return transport{p.handle} }

// handle handles a request, which is the account's if it has the token of one.
func (p *Platform) handle(r *http.Request) (*response, error) {
	if !strings.HasPrefix(r.URL.Path, componentPath) {
		p.mu.Lock()
		t := p.byToken[r.URL.Query().Get("access_token")]
		p.mu.Unlock()
		if t != nil {
			return t.of.account.handle(r)
		}
	}
	return p.Server.handle(r)
}

// Ticket returns the latest component_verify_ticket. There is a new one every 10 minutes, and each is valid for 12
// hours.
func (p *Platform) Ticket() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ticket()
}

func (p *Platform) ticket() string {
	if n := int(p.now().Sub(p.start)/ticketInterval) + 1; n > p.pushed || p.lastTicket == "" {
		p.pushed = n
		p.lastTicket = "ticket@@@" + p.randomText(86, len(tokenAlphabet))
		p.tickets[p.lastTicket] = p.now()
		p.pushInfo("component_verify_ticket", pushField{"ComponentVerifyTicket", p.lastTicket})
	}
	return p.lastTicket
}

// pushInfo pushes an event of the platform, if there is a URL for pushes. p.mu is held.
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
func (p *Platform) pushInfo(infoType string, fields ...pushField) {
	w := new(xmlWriter)
	w.lit("<xml>")
	w.text("AppId", p.AppID)
	w.number("CreateTime", p.now().Unix())
	w.text("InfoType", infoType)
	for _, f := range fields {
		w.text(f.name, f.value)
	}
	w.lit("</xml>")
	p.push(pushEvent{event: infoType, xml: string(w.b)})
}

// OnTicket calls push with the latest ticket, and with each new one while [Platform.Advance] moves the clock.
func (p *Platform) OnTicket(push func(ticket string)) {
	p.mu.Lock()
	p.onTicket = append(p.onTicket, push)
	ticket := p.ticket()
	p.mu.Unlock()
	push(ticket)
}

// Advance moves the clock of the platform and of the accounts that have authorized it. It pushes a ticket for each 10
// minutes, see [Platform.OnTicket].
func (p *Platform) Advance(d time.Duration) {
	for d > 0 {
		p.mu.Lock()
		step := min(d, ticketInterval-p.now().Sub(p.start)%ticketInterval)
		p.mu.Unlock()
		p.Server.Advance(step)
		d -= step
		p.mu.Lock()
		before := p.lastTicket
		ticket, push := p.ticket(), slices.Clone(p.onTicket)
		accounts := slices.Clone(p.authorizations)
		p.mu.Unlock()
		for _, a := range accounts {
			a.account.Advance(step)
		}
		if ticket == before {
			continue
		}
		for _, f := range push {
			f(ticket)
		}
	}
}

// Authorize makes an account authorize the platform with these permission sets (权限集), or with all if there are none.
// It returns the authorization_code, which is valid for an hour and once. If the account had authorized the platform
// before, its access tokens and its refresh token are revoked.
func (p *Platform) Authorize(account *Server, permissions ...int) (code string) {
	account.mu.Lock()
	account.platform = p
	account.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	now, infoType := p.now(), "updateauthorized"
	a := p.byAppID[account.AppID]
	if a == nil || a.ended != 0 {
		infoType = "authorized"
	}
	if a == nil {
		a = &authorization{account: account}
		p.byAppID[account.AppID] = a
		p.authorizations = append(p.authorizations, a)
	}
	for _, t := range a.tokens {
		t.revoke(now)
	}
	a.at, a.permissions, a.ended, a.refresh = now, slices.Clone(permissions), 0, p.newRefreshToken()
	code = "queryauthcode@@@" + p.randomText(86, len(tokenAlphabet))
	p.codes[code] = &authorizationCode{a, now.Add(codeLife)}
	p.pushInfo(infoType, pushField{"AuthorizerAppid", account.AppID}, pushField{"AuthorizationCode", code},
		pushField{"AuthorizationCodeExpiredTime", strconv.Itoa(int(codeLife / time.Second))})
	return code
}

func (p *Platform) newRefreshToken() string {
	return "refreshtoken@@@" + p.randomText(43, len(tokenAlphabet))
}

// mustHave returns the authorization of an account. It panics if there is none. p.mu is held.
func (p *Platform) mustHave(method, appID string) *authorization {
	a := p.byAppID[appID]
	if a == nil {
		panic(fmt.Sprintf("wechatusertest: %s: %s has not authorized the platform", method, appID))
	}
	return a
}

// Revoke makes an account withdraw its authorization: its tokens fail with 61003.
func (p *Platform) Revoke(appID string) { p.end("Revoke", appID, wechatuser.CodeComponentUnauthorized) }

// ChangePassword makes the administrator of an account change the password: the tokens and the refresh token fail with
// 42007 until the account authorizes the platform again.
func (p *Platform) ChangePassword(appID string) {
	p.end("ChangePassword", appID, wechatuser.CodeAuthorizationVoided)
}

func (p *Platform) end(method, appID string, code wechatuser.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustHave(method, appID).ended = code
	if code == wechatuser.CodeComponentUnauthorized {
		p.pushInfo("unauthorized", pushField{"AuthorizerAppid", appID})
	}
}

// ReplaceRefreshToken replaces the refresh token of an account: the old one fails with 61023, and getAuthorizerList has
// the new one.
func (p *Platform) ReplaceRefreshToken(appID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustHave("ReplaceRefreshToken", appID).refresh = p.newRefreshToken()
}

// SetCategoryConfirmed says whether the function category of an account is confirmed, as it is by default. If not,
// calls with its tokens fail with 61016.
func (p *Platform) SetCategoryConfirmed(appID string, confirmed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mustHave("SetCategoryConfirmed", appID).unconfirmed = !confirmed
}

// ExpireAuthorizerTokens revokes the access tokens of all accounts: calls with them fail with 40001.
func (p *Platform) ExpireAuthorizerTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.byToken {
		t.revoke(p.now())
	}
}

// RefreshToken returns the refresh token of an account.
func (p *Platform) RefreshToken(appID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mustHave("RefreshToken", appID).refresh
}

// Fetched returns how many access tokens were issued to the platform for an account.
func (p *Platform) Fetched(appID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mustHave("Fetched", appID).fetched
}

// checkAuthorizerToken checks the token of an account's call. known is false if it is not one of this platform. The
// account's lock is held, and p's is not.
func (p *Platform) checkAuthorizerToken(appID, value string, c *call) (code wechatuser.Code, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, now := p.byToken[value], p.now()
	switch {
	case t == nil || t.of.account.AppID != appID:
		return 0, false
	case t.of.ended != 0:
		return t.of.ended, true
	case t.revokedAt(now):
		return wechatuser.CodeInvalidCredential, true
	case !t.validFor(now, 0):
		return wechatuser.CodeAccessTokenExpired, true
	case !p.ipAllowed(c.ip):
		return wechatuser.CodeIPNotAllowed, true
	case t.of.unconfirmed:
		return wechatuser.CodeAPICategoryUnconfirmed, true
	case !t.of.mayCall(c):
		return wechatuser.CodeAPINotGranted, true
	}
	return 0, true
}

// mayCall reports whether the account granted the permission set of a call. User management is in sets 2 and 100.
func (a *authorization) mayCall(c *call) bool {
	return len(a.permissions) == 0 || c.route == nil || c.route.open ||
		slices.Contains(a.permissions, 2) || slices.Contains(a.permissions, 100)
}

// issueTo issues an access token for an account. The one before it is valid for another five minutes. p.mu is held.
func (p *Platform) issueTo(a *authorization, now time.Time) *token {
	if n := len(a.tokens); n > 0 {
		end := now
		if !p.cfg.quirks.NoTokenOverlap {
			end = end.Add(tokenOverlap)
		}
		a.tokens[n-1].revoke(end)
	}
	t := &token{value: "104_" + p.randomText(138, len(tokenAlphabet)), expires: now.Add(tokenLifetime)}
	p.byToken[t.value] = &authorizerToken{t, a}
	a.tokens = append(a.tokens, t)
	if len(a.tokens) > authorizerTokens {
		delete(p.byToken, a.tokens[0].value)
		a.tokens = a.tokens[1:]
	}
	a.fetched++
	return t
}

// writeTokens writes the tokens of an account, without the braces around them.
func (c *call) writeTokens(t *token, refresh string) {
	left := int(t.expires.Sub(c.now) / time.Second)
	c.out.lit(`"authorizer_access_token":`).str(t.value).lit(`,"expires_in":`).int(left).
		lit(`,"authorizer_refresh_token":`).str(refresh)
}

// componentToken serves POST api_component_token.
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/ThirdParty/token/component_access_token.html
func (p *Platform) componentToken(_ *Server, c *call) wechatuser.Code {
	var appID, secret, ticket string
	if !c.fields.get("component_appid", &appID) || !c.fields.get("component_appsecret", &secret) ||
		!c.fields.get("component_verify_ticket", &ticket) {
		return wechatuser.CodeDataFormat
	}
	if code := p.checkComponent(c, appID, secret); code != 0 {
		return code
	}
	switch at, known := p.tickets[ticket]; {
	case !known:
		return wechatuser.CodeInvalidTicket
	case c.now.Sub(at) >= ticketLife:
		return wechatuser.CodeTicketExpired
	}
	if p.legacy != nil {
		end := c.now
		if !p.cfg.quirks.NoTokenOverlap {
			end = end.Add(tokenOverlap)
		}
		p.legacy.revoke(end)
	}
	p.legacy = p.issueToken(false, c.now)
	left := int(p.legacy.expires.Sub(c.now) / time.Second)
	c.out.lit(`{"component_access_token":`).str(p.legacy.value).lit(`,"expires_in":`).int(left).lit(`}`)
	return 0
}

func (p *Platform) checkComponent(c *call, appID, secret string) wechatuser.Code {
	switch {
	case appID != p.AppID:
		return wechatuser.CodeInvalidComponent
	case secret == "":
		return wechatuser.CodeSecretMissing
	case secret != p.Secret:
		return wechatuser.CodeInvalidSecret
	case !p.ipAllowed(c.ip):
		return wechatuser.CodeClientIPNotRegistered
	}
	return 0
}

// startPushTicket serves POST api_start_push_ticket.
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_startpushticket.html
func (p *Platform) startPushTicket(_ *Server, c *call) wechatuser.Code {
	var appID, secret string
	if !c.fields.get("component_appid", &appID) || !c.fields.get("component_secret", &secret) {
		return wechatuser.CodeDataFormat
	}
	return p.checkComponent(c, appID, secret)
}

// withToken returns a handler that checks the component_access_token, the address and the app ID first.
func (p *Platform) withToken(serve func(c *call) wechatuser.Code) func(*Server, *call) wechatuser.Code {
	return func(_ *Server, c *call) wechatuser.Code {
		token := cmp.Or(c.query.Get("component_access_token"), c.query.Get("access_token"))
		if code := p.checkToken(token, c.now); code != 0 {
			return code
		}
		if !p.ipAllowed(c.ip) {
			return wechatuser.CodeIPNotAllowed
		}
		var appID string
		if !c.fields.get("component_appid", &appID) {
			return wechatuser.CodeDataFormat
		}
		if appID != p.AppID {
			return wechatuser.CodeInvalidAppID
		}
		return serve(c)
	}
}

// preAuthCode serves POST api_create_preauthcode.
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getpreauthcode
func (p *Platform) preAuthCode(c *call) wechatuser.Code {
	code := "preauthcode@@@" + p.randomText(64, len(tokenAlphabet))
	c.out.lit(`{"pre_auth_code":`).str(code).lit(`,"expires_in":1800}`)
	return 0
}

// queryAuth serves POST api_query_auth.
// https://developers.weixin.qq.com/doc/oplatform/OpenApiDoc/thirdparty/ticket-token/api_query_auth.html
func (p *Platform) queryAuth(c *call) wechatuser.Code {
	var code string
	if !c.fields.get("authorization_code", &code) {
		return wechatuser.CodeDataFormat
	}
	entry := p.codes[code]
	if entry == nil || !c.now.Before(entry.expires) {
		return wechatuser.CodeAuthCodeExpired
	}
	delete(p.codes, code)
	a := entry.of
	if a.ended != 0 {
		return a.ended
	}
	a.exchanged = true
	c.out.lit(`{"authorization_info":{"authorizer_appid":`).str(a.account.AppID).lit(`,`)
	c.writeTokens(p.issueTo(a, c.now), a.refresh)
	c.out.lit(`,"func_info":[`)
	for i, id := range a.permissions {
		if i > 0 {
			c.out.lit(`,`)
		}
		c.out.lit(`{"funcscope_category":{"id":`).int(id).lit(`}}`)
	}
	c.out.lit(`]}}`)
	return 0
}

// authorizerToken serves POST api_authorizer_token.
// https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html
func (p *Platform) authorizerToken(c *call) wechatuser.Code {
	var appID, refresh string
	if !c.fields.get("authorizer_appid", &appID) || !c.fields.get("authorizer_refresh_token", &refresh) {
		return wechatuser.CodeDataFormat
	}
	a := p.byAppID[appID]
	switch {
	case a == nil:
		return wechatuser.CodeComponentUnauthorized
	case a.ended != 0:
		return a.ended
	case refresh != a.refresh:
		return wechatuser.CodeInvalidRefreshToken
	}
	if p.cfg.rotateRefresh {
		a.refresh = p.newRefreshToken()
	}
	c.out.lit(`{`)
	c.writeTokens(p.issueTo(a, c.now), a.refresh)
	c.out.lit(`}`)
	return 0
}

// authorizerList serves POST api_get_authorizer_list.
// https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerlist.html
func (p *Platform) authorizerList(c *call) wechatuser.Code {
	var offset, count int
	switch {
	case !c.fields.get("offset", &offset) || !c.fields.get("count", &count) || offset < 0 || count < 0:
		return wechatuser.CodeDataFormat
	case count > maxListed:
		return codeArgsLimit
	}
	var listed []*authorization
	for _, a := range p.authorizations {
		if a.ended != wechatuser.CodeComponentUnauthorized {
			listed = append(listed, a)
		}
	}
	total := len(listed)
	listed = listed[min(offset, total):min(offset+count, total)]
	c.out.lit(`{"total_count":`).int(total).lit(`,"list":[`)
	for i, a := range listed {
		if i > 0 {
			c.out.lit(`,`)
		}
		refresh := a.refresh
		if !a.exchanged {
			refresh = ""
		}
		c.out.lit(`{"authorizer_appid":`).str(a.account.AppID).lit(`,"refresh_token":`).str(refresh).
			lit(`,"auth_time":`).int64(a.at.Unix()).lit(`}`)
	}
	c.out.lit(`]}`)
	return 0
}

// String returns the app ID and the address of the platform, and no secret.
func (p *Platform) String() string {
	if p == nil {
		return "wechatusertest.Platform(nil)"
	}
	return "wechatusertest.Platform(" + p.AppID + " at " + p.URL + ")"
}

// Format writes String for all verbs, so that none of them shows the secret.
func (p *Platform) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue returns String as a log value.
func (p *Platform) LogValue() slog.Value { return slog.StringValue(p.String()) }
