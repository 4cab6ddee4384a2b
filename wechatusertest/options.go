package wechatusertest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"time"
)

// Option changes what [NewServer] makes.
type Option func(*config)

type config struct {
	appID, secret string
	clock         func() time.Time
	fans          int
	noListener    bool
	pageSize      int // of all lists, 0 for the platform's

	quotas          []quota
	documentedQuota bool

	fromAppID string
	migration map[string]string // old openid to new

	quirks Quirks
	seed   uint64

	whitelist    []netip.Prefix // nil for any address
	unverified   bool
	frozenSecret bool

	logSize int
	hook    func(Request)
}

type quota struct {
	path              string
	perDay, perMinute int
}

// The account of a server without [WithAccount].
const (
	defaultAppID  = "wxfa4e00000000fa4e"
	defaultSecret = "fa4e5ec7e7fa4e5ec7e7fa4e5ec7e7fa"
)

// WithFans gives the account n followers, [OpenID](0) to OpenID(n-1), who follow since the server's start.
func WithFans(n int) Option { return func(c *config) { c.fans = max(n, 0) } }

// WithAccount sets the app ID and secret of the account. Two servers with the same account give out the same tokens;
// servers with different accounts refuse each other's.
func WithAccount(appID, secret string) Option {
	return func(c *config) { c.appID, c.secret = appID, secret }
}

// WithClock makes the account live by now in place of [time.Now]. [Server.Advance] goes on top of it. The clock is
// asked while the server is locked, so that it must not call the server.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithoutListener opens no socket and starts no goroutine, as tests under testing/synctest need it, and programs that
// serve the [Server] as an http.Handler of their own. [Server.Client] then uses [Server.Transport].
func WithoutListener() Option { return func(c *config) { c.noListener = true } }

// WithPageSize cuts all lists into pages of n openids, so that a small account has many pages. The platform's pages
// have 10,000, and 1,000 in the blacklist.
func WithPageSize(n int) Option { return func(c *config) { c.pageSize = max(n, 0) } }

// WithQuota limits the calls of a path, a day and a minute; 0 is no limit. Over it the server answers 45009 or 45011.
// No path is limited by default. [NewServer] panics if no API has the path.
func WithQuota(path string, perDay, perMinute int) Option {
	return func(c *config) { c.quotas = append(c.quotas, quota{path, perDay, perMinute}) }
}

// WithDocumentedQuotas limits the paths whose daily quota the platform documents: 500 a day for user/get, 500,000 for
// user/info, 10,000 for updateremark, 2,000 for token, 500,000 for stable_token and 10,000 of these a minute.
// [WithQuota] goes before it.
func WithDocumentedQuotas() Option { return func(c *config) { c.documentedQuota = true } }

// WithMigration says that another account was migrated to this one: changeopenid turns each key of openIDs into its
// value. Without it each call answers 63178. The new openids do not follow unless [Server.Follow] says so.
func WithMigration(fromAppID string, openIDs map[string]string) Option {
	return func(c *config) { c.fromAppID, c.migration = fromAppID, maps.Clone(openIDs) }
}

// WithQuirks makes the account as odd as the platform can be; [Wild] has it all. It panics on a number that is no
// probability.
func WithQuirks(q Quirks) Option {
	return func(c *config) {
		q.check()
		c.quirks, c.seed = q, cmp.Or(q.Seed, c.seed)
	}
}

// WithSeed makes everything that happens with a probability, of [Quirks] and of a [Fault], another but repeatable case.
//
// What happens to a call depends on the seed, on what the call asks, and on how often that was asked before: not on
// other calls, so that it is the same on each run of a concurrent program. Only After and Times of a Fault count calls as
// they come.
func WithSeed(seed uint64) Option { return func(c *config) { c.seed = seed } }

// WithIPWhitelist gives tokens only to callers with these addresses, such as "203.0.113.7" or "203.0.113.0/24"; others
// are refused with 40164, which names their address. [Server.Transport] calls from 127.0.0.1. [NewServer] panics on text
// that is no address.
func WithIPWhitelist(addresses ...string) Option {
	return func(c *config) {
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
		panic(fmt.Sprintf("wechatusertest: WithIPWhitelist: %q is no IP address and no prefix of some", text))
	}
	return prefix
}

// WithUnverified makes an account that was not verified (认证): user management is refused with 48001, tokens are given.
func WithUnverified() Option { return func(c *config) { c.unverified = true } }

// WithFrozenSecret makes an account whose app secret is frozen: what needs the secret is refused with 40243.
func WithFrozenSecret() Option { return func(c *config) { c.frozenSecret = true } }

// WithRequestLog keeps the last n requests for [Server.Requests], in place of 1,000; 0 keeps none.
func WithRequestLog(n int) Option { return func(c *config) { c.logSize = max(n, 0) } }

// WithRequestHook calls hook once for each request, with what [Server.Requests] tells of it, such as for a line of a log.
// It runs when the call has been carried out or refused, and before the answer goes out, which waits for it; a call without
// an answer has it too.
//
// The hook may use all methods of the server, so that it can change the account between two requests; a request that
// it sends to the server calls it again. Requests that end at the same time call it at the same time and in any order: it
// must be safe for concurrent use where the program under test sends several at once.
func WithRequestHook(hook func(Request)) Option { return func(c *config) { c.hook = hook } }

// setQuotas writes the enforced quotas into the routes.
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
