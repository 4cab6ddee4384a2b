package wechatusertest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"time"
)

// Option configures a [Server].
type Option func(*config)

type config struct {
	appID, secret string
	clock         func() time.Time
	fans          int
	noListener    bool
	pageSize      int // of all lists, 0 for the page sizes of the platform

	quotas          []quota
	documentedQuota bool

	fromAppID string
	migration map[string]string // from old to new openid

	quirks Quirks
	seed   uint64

	whitelist         []netip.Prefix // nil for any address
	whitelistOfTokens bool           // it concerns token requests only

	unverified   bool
	cloud        bool // in a container of cloud hosting
	cloudPaths   []string
	frozenSecret bool

	rotateRefresh bool
	pushes        *pushTarget // nil for none

	logSize int
	hook    func(Request)
}

type quota struct {
	path              string
	perDay, perMinute int
}

// The default account of a server.
const (
	defaultAppID  = "wxfa4e00000000fa4e"
	defaultSecret = "fa4e5ec7e7fa4e5ec7e7fa4e5ec7e7fa"
)

// WithFans adds n followers, [OpenID](0) to OpenID(n-1), who follow from the server's start.
func WithFans(n int) Option { return func(c *config) { c.fans = max(n, 0) } }

// WithAccount sets the app ID and secret of the account. Two servers with the same account issue the same tokens;
// servers with different accounts reject each other's.
func WithAccount(appID, secret string) Option {
	return func(c *config) { c.appID, c.secret = appID, secret }
}

// WithClock sets the account's clock, [time.Now] by default. [Server.Advance] adds to it. The server holds its lock
// while it calls now, so now must not call the server.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithoutListener makes [NewServer] open no socket and start no goroutine. Use it in tests with testing/synctest, and
// in programs that serve the [Server] as an http.Handler. [Server.Client] then uses [Server.Transport]. Only pushes
// start goroutines, which end with them: see [WithPushes].
func WithoutListener() Option { return func(c *config) { c.noListener = true } }

// WithPageSize limits the pages of all lists to n openids, so that a small account has many pages. By default pages
// have 10,000 openids, and 1,000 in the blacklist, as the platform's documentation says.
func WithPageSize(n int) Option { return func(c *config) { c.pageSize = max(n, 0) } }

// WithQuota limits the calls of a path per day and per minute; 0 means no limit. Further calls fail with 45009 (day) or
// 45011 (minute). By default no path is limited. [NewServer] panics if no API has the path.
func WithQuota(path string, perDay, perMinute int) Option {
	return func(c *config) { c.quotas = append(c.quotas, quota{path, perDay, perMinute}) }
}

// WithDocumentedQuotas limits the paths that have a documented quota: 500 calls per day for user/get, 500,000 for
// user/info, 10,000 for updateremark, 2,000 for token, and 500,000 for stable_token, which is also limited to 10,000
// per minute. [WithQuota] takes precedence over it.
func WithDocumentedQuotas() Option { return func(c *config) { c.documentedQuota = true } }

// WithMigration sets the account that was migrated to this one: changeopenid replaces each key of openIDs with its
// value. Without it, changeopenid fails with 63178. The new openids do not follow; use [Server.Follow] to add them.
func WithMigration(fromAppID string, openIDs map[string]string) Option {
	return func(c *config) { c.fromAppID, c.migration = fromAppID, maps.Clone(openIDs) }
}

// WithQuirks adds odd behaviors of the platform; [Wild] returns a set of them. It panics on a probability that is not
// from 0 to 1.
func WithQuirks(q Quirks) Option {
	return func(c *config) {
		q.check()
		c.quirks, c.seed = q, cmp.Or(q.Seed, c.seed)
	}
}

// WithSeed sets the seed of all random decisions, those of [Quirks] and of [Fault]. The same seed produces the same
// decisions.
//
// A decision about a call depends on the seed, on the content of the call, and on how many identical calls came before.
// It does not depend on other calls, so a concurrent program gets the same decisions on each run. Only After and Times
// of a Fault count calls in the order of their arrival.
func WithSeed(seed uint64) Option { return func(c *config) { c.seed = seed } }

// WithIPWhitelist limits all calls to clients with these addresses or prefixes, such as "203.0.113.7" or
// "203.0.113.0/24". Calls of others fail with 40164, whose errmsg has the client's address. Requests through
// [Server.Transport] come from 127.0.0.1. [NewServer] panics on an invalid address.
//
// https://developers.weixin.qq.com/doc/oplatform/developers/basic_func/ip_whitelist
func WithIPWhitelist(addresses ...string) Option { return ipWhitelist(addresses, false) }

// WithTokenIPWhitelist is [WithIPWhitelist] for token requests only. The platform checked only these in earlier years,
// and may still do so for some accounts: all 40164 errors that developers have published are of token requests.
func WithTokenIPWhitelist(addresses ...string) Option { return ipWhitelist(addresses, true) }

func ipWhitelist(addresses []string, ofTokens bool) Option {
	return func(c *config) {
		c.whitelistOfTokens = ofTokens
		c.whitelist = make([]netip.Prefix, len(addresses))
		for i, text := range addresses {
			c.whitelist[i] = parsePrefix(text)
		}
	}
}

func parsePrefix(text string) netip.Prefix {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		panic(fmt.Sprintf("wechatusertest: WithIPWhitelist: %q is neither an IP address nor a prefix", text))
	}
	return prefix
}

// WithUnverified makes the account an unverified one (未认证): user management fails with 48001. Token requests succeed.
func WithUnverified() Option { return func(c *config) { c.unverified = true } }

// WithCloudHosting simulates a container of WeChat cloud hosting (微信云托管) where these paths are allowed: calls of them
// need no token, and other calls without one fail with HTTP status 502. Calls may also have [Server.CloudToken] as
// their cloudbase_access_token; if the path is not allowed, they fail with 85107. Paths that the simulator does not
// know may be allowed too. A from_appid other than the account's fails with 48001.
func WithCloudHosting(paths ...string) Option {
	return func(c *config) { c.cloud, c.cloudPaths = true, append(c.cloudPaths, paths...) }
}

// WithFrozenSecret freezes the app secret: calls that need the secret fail with 40243.
func WithFrozenSecret() Option { return func(c *config) { c.frozenSecret = true } }

// WithRequestLog sets how many requests are kept for [Server.Requests], and how many pushes for [Server.Pushes]. The
// default is 1,000; 0 keeps none.
func WithRequestLog(n int) Option { return func(c *config) { c.logSize = max(n, 0) } }

// WithRequestHook calls hook once for each request, with the same value that [Server.Requests] returns. Use it to write
// a log, or to change the account between two requests.
//
// The server calls hook after it has handled the call, and waits for it before it sends the response. It also calls
// hook for a call that gets no response. The hook may call all methods of the server. If it sends a request to the
// server, it is called again. Concurrent requests call it concurrently and in any order, so it must be safe for
// concurrent use if the program under test sends such requests.
func WithRequestHook(hook func(Request)) Option { return func(c *config) { c.hook = hook } }

// setQuotas sets the enforced quotas of the routes.
func (c *config) setQuotas(routes map[string]*route) {
	if c.documentedQuota {
		for _, r := range routes {
			r.perDay, r.perMinute = r.endpoint.perDay, r.endpoint.perMinute
		}
	}
	for _, q := range c.quotas {
		r := routes[mustFindPath("WithQuota", q.path)]
		r.perDay, r.perMinute = q.perDay, q.perMinute
	}
}
