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

	maxTokens = 1000 // that are remembered
)

// tokens are the access tokens of the account, of both kinds.
type tokens struct {
	issued map[string]*token
	order  []*token // the oldest first

	stable, legacy *token // the newest of each kind

	forced     counter // of the day
	lastForced time.Time
}

type token struct {
	value   string
	stable  bool
	expires time.Time
	revoked time.Time // from then on it is refused; zero for one that nothing has ended
}

func (t *token) revokedAt(now time.Time) bool { return !t.revoked.IsZero() && !now.Before(t.revoked) }

// usable reports whether a token is good for at least d.
func (t *token) usable(now time.Time, d time.Duration) bool {
	return t != nil && !t.revokedAt(now) && t.expires.Sub(now) > d
}

// revoke refuses the token from a time on, unless it is refused earlier.
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

// checkToken is what the platform says about the access_token of a call.
func (s *Server) checkToken(value string, now time.Time) wechatuser.Code {
	t, known := s.issued[value]
	switch {
	case value == "":
		return wechatuser.CodeAccessTokenMissing
	case known && t.revokedAt(now):
		return wechatuser.CodeInvalidCredential
	case known && !t.usable(now, 0):
		return wechatuser.CodeAccessTokenExpired
	case known:
		return 0
	case strings.Trim(value, tokenAlphabet) != "":
		return wechatuser.CodeInvalidAccessToken
	default:
		return wechatuser.CodeInvalidCredential
	}
}

// checkCredential is what both token endpoints check.
func (s *Server) checkCredential(c *call, appID, secret, grantType string) wechatuser.Code {
	switch {
	case appID == "":
		return wechatuser.CodeAppIDMissing
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

// legacyToken is GET /cgi-bin/token, where each token replaces the one before it.
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
	return c.giveToken(s.legacy)
}

// stableToken is POST /cgi-bin/stable_token.
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
	return c.giveToken(s.currentStable(c.now))
}

// currentStable is the newest stable token, or a new one when that has 5 minutes left.
func (s *Server) currentStable(now time.Time) *token {
	if !s.stable.usable(now, tokenOverlap) {
		s.stable = s.issueToken(true, now)
	}
	return s.stable
}

// forceStable ends all stable tokens, unless that was done a moment ago.
func (s *Server) forceStable(now time.Time) wechatuser.Code {
	if !s.lastForced.IsZero() && now.Sub(s.lastForced) < forcedPause {
		return 0
	}
	if s.forced.in(dayOf(now)) >= forcedPerDay {
		return wechatuser.CodeDailyQuotaExceeded
	}
	s.forced.n++
	s.lastForced = now
	for _, t := range s.order {
		if t.stable {
			t.revoke(now)
		}
	}
	return 0
}

func (c *call) giveToken(t *token) wechatuser.Code {
	left := int(t.expires.Sub(c.now) / time.Second)
	c.out.lit(`{"access_token":`).str(t.value).lit(`,"expires_in":`).int(left).lit(`}`)
	return 0
}

// ExpireTokens ends all access tokens at once, as another program that renews them would: calls with them are refused
// with 40001, and the next request for a token gets a new one. A token that ends by time, after [Server.Advance],
// is refused with 42001.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, t := range s.order {
		t.revoke(now)
	}
}

// AccessToken is the stable token of the account, for requests that a test sends by itself. It is not counted as a call.
func (s *Server) AccessToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentStable(s.now()).value
}
