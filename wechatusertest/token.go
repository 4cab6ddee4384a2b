package wechatusertest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
)

const (
	tokenLifetime = 2 * time.Hour
	tokenOverlap  = 5 * time.Minute

	forcedPerDay = 20
	forcedPause  = 30 * time.Second

	maxTokens = 1000 // kept by the server
)

// tokens holds the access tokens of the account, of both kinds.
type tokens struct {
	issued map[string]*token
	order  []*token // oldest first

	stable, legacy *token // the newest of each kind

	forced     counter // per day
	lastForced time.Time
}

type token struct {
	value   string
	stable  bool
	expires time.Time
	revoked time.Time // rejected from this time on; zero if not revoked
}

func (t *token) revokedAt(now time.Time) bool { return !t.revoked.IsZero() && !now.Before(t.revoked) }

// validFor reports whether a token is valid for longer than d.
func (t *token) validFor(now time.Time, d time.Duration) bool {
	return t != nil && !t.revokedAt(now) && t.expires.Sub(now) > d
}

// revoke revokes the token from a time on. It does not postpone an earlier revocation.
func (t *token) revoke(at time.Time) {
	if t.revoked.IsZero() || at.Before(t.revoked) {
		t.revoked = at
	}
}

func (s *Server) issueToken(stable bool, now time.Time) *token {
	t := &token{
		value:   "103_" + s.randomText(148, len(tokenAlphabet)),
		stable:  stable,
		expires: now.Add(tokenLifetime),
	}
	if s.issued == nil {
		s.issued = make(map[string]*token)
	}
	s.issued[t.value] = t
	s.order = append(s.order, t)
	if len(s.order) > maxTokens {
		delete(s.issued, s.order[0].value)
		s.order = s.order[1:]
	}
	return t
}

// checkToken returns the errcode for the access_token of a call, 0 if it is valid.
func (s *Server) checkToken(value string, now time.Time) wechatuser.Code {
	t, known := s.issued[value]
	switch {
	case value == "":
		return wechatuser.CodeAccessTokenMissing
	case known && t.revokedAt(now):
		return wechatuser.CodeInvalidCredential
	case known && !t.validFor(now, 0):
		return wechatuser.CodeAccessTokenExpired
	case known:
		return 0
	case strings.Trim(value, tokenAlphabet) != "":
		return wechatuser.CodeInvalidAccessToken
	default:
		return wechatuser.CodeInvalidCredential
	}
}

// checkCredential makes the checks of both token endpoints.
func (s *Server) checkCredential(c *call, appID, secret, grantType string) wechatuser.Code {
	switch {
	case appID == "":
		return wechatuser.CodeAppIDMissing
	case appID != s.cfg.appID:
		return wechatuser.CodeInvalidAppID
	case s.isComponent:
		return wechatuser.CodeComponentAppID
	case grantType != "client_credential":
		return wechatuser.CodeInvalidGrantType
	}
	if code := s.checkSecret(appID, secret); code != 0 {
		return code
	}
	if !s.ipAllowed(c.ip) {
		return wechatuser.CodeIPNotAllowed
	}
	return 0
}

func (s *Server) ipAllowed(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	return s.cfg.whitelist == nil || err == nil &&
		slices.ContainsFunc(s.cfg.whitelist, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

func (s *Server) checkSecret(appID, secret string) wechatuser.Code {
	switch {
	case appID == "":
		return wechatuser.CodeAppIDMissing
	case secret == "":
		return wechatuser.CodeSecretMissing
	case appID != s.cfg.appID:
		return wechatuser.CodeInvalidAppID
	case secret != s.cfg.secret:
		return wechatuser.CodeInvalidSecret
	case s.cfg.frozenSecret:
		return wechatuser.CodeSecretFrozen
	}
	return 0
}

// legacyToken serves GET /cgi-bin/token. Each token replaces the previous one.
// https://developers.weixin.qq.com/doc/service/api/base/api_getaccesstoken.html
func (s *Server) legacyToken(c *call) wechatuser.Code {
	code := s.checkCredential(c, c.query.Get("appid"), c.query.Get("secret"), c.query.Get("grant_type"))
	if code != 0 {
		return code
	}
	if s.legacy != nil {
		end := c.now
		if !s.cfg.quirks.NoTokenOverlap {
			end = end.Add(tokenOverlap)
		}
		s.legacy.revoke(end)
	}
	s.legacy = s.issueToken(false, c.now)
	return c.writeToken(s.legacy)
}

// stableToken serves POST /cgi-bin/stable_token.
// https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html
func (s *Server) stableToken(c *call) wechatuser.Code {
	var (
		appID, secret, grantType string
		force                    bool
	)
	if !c.fields.get("appid", &appID) || !c.fields.get("secret", &secret) ||
		!c.fields.get("grant_type", &grantType) || !c.fields.get("force_refresh", &force) {
		return wechatuser.CodeDataFormat
	}
	if code := s.checkCredential(c, appID, secret, grantType); code != 0 {
		return code
	}
	if force {
		if code := s.forceStable(c.now); code != 0 {
			return code
		}
	}
	return c.writeToken(s.currentStable(c.now))
}

// currentStable returns the newest stable token, or a new one if that has at most 5 minutes left.
func (s *Server) currentStable(now time.Time) *token {
	if !s.stable.validFor(now, tokenOverlap) {
		s.stable = s.issueToken(true, now)
	}
	return s.stable
}

// forceStable revokes all stable tokens, unless it did so less than 30 seconds ago. With the quirk TokenOutlivesForce
// the newest one remains valid until the next time.
func (s *Server) forceStable(now time.Time) wechatuser.Code {
	if !s.lastForced.IsZero() && now.Sub(s.lastForced) < forcedPause {
		return 0
	}
	if s.forced.count(dayOf(now)) >= forcedPerDay {
		return wechatuser.CodeDailyQuotaExceeded
	}
	s.forced.n++
	s.lastForced = now
	for _, t := range s.order {
		if t.stable && (t != s.stable || !s.cfg.quirks.TokenOutlivesForce) {
			t.revoke(now)
		}
	}
	s.stable = nil
	return 0
}

func (c *call) writeToken(t *token) wechatuser.Code {
	left := int(t.expires.Sub(c.now) / time.Second)
	c.out.lit(`{"access_token":`).str(t.value).lit(`,"expires_in":`).int(left).lit(`}`)
	return 0
}

// ExpireTokens revokes all access tokens, as happens when another program refreshes the token: calls with them fail
// with 40001, and the next token request returns a new one. To let a token expire by time (42001), use
// [Server.Advance].
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, t := range s.order {
		t.revoke(now)
	}
}

// AccessToken returns the stable token of the account, for requests that a test sends without a client. It does not
// count as a call.
func (s *Server) AccessToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentStable(s.now()).value
}
