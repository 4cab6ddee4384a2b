package wechatusertest

import (
	"fmt"
	"maps"
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

	contentType    string
	decodeEscapes  bool
	rawControl     bool
	lenientBatch   bool
	noTokenOverlap bool
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

// WithContentType sends another Content-Type, such as the "text/plain" that the platform has used for refusals.
func WithContentType(value string) Option { return func(c *config) { c.contentType = value } }

// WithDecodedEscapes reads \uXXXX in a remark as the character it stands for. By default the six characters are
// stored, and counted, as they are, which is what developers have seen the platform do.
func WithDecodedEscapes() Option { return func(c *config) { c.decodeEscapes = true } }

// WithRawControl writes control characters in strings as they are, which is not JSON. The platform has done so with
// text that was typed into its console.
func WithRawControl() Option { return func(c *config) { c.rawControl = true } }

// WithLenientBatch makes batchget leave out openids that it does not know, so that the answer is shorter than the
// question, as was reported in 2024. By default it refuses the call with 40003.
func WithLenientBatch() Option { return func(c *config) { c.lenientBatch = true } }

// WithoutTokenOverlap ends a legacy token at once when another one is fetched, in place of 5 minutes later.
func WithoutTokenOverlap() Option { return func(c *config) { c.noTokenOverlap = true } }

// setQuotas writes the enforced quotas into the routes.
func (c *config) setQuotas(routes map[string]*route) {
	if c.documentedQuota {
		for _, r := range routes {
			r.perDay, r.perMinute = r.endpoint.perDay, r.endpoint.perMinute
		}
	}
	for _, q := range c.quotas {
		r, ok := routes[q.path]
		if !ok {
			panic(fmt.Sprintf("wechatusertest: WithQuota: no API has the path %q", q.path))
		}
		r.perDay, r.perMinute = q.perDay, q.perMinute
	}
}
