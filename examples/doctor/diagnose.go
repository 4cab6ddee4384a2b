package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// patient is what to look at. The zero values from now on are the machine's own.
type patient struct {
	appID, secret string
	base          string
	timeout       time.Duration         // for each step
	store         wechatuser.TokenStore // nil for none

	now       func() time.Time
	lookup    func(ctx context.Context, host string) ([]string, error)
	transport *http.Transport
}

// The names of the checks that stand for the platform's answers.
const (
	clockCheck      = "clock"
	credentialCheck = "app ID and secret"
	whitelistCheck  = "IP whitelist"
)

// diagnose looks at everything, the network first. Its error is about the arguments.
func diagnose(ctx context.Context, p patient) (*diagnosis, error) {
	if p.now == nil {
		p.now = time.Now
	}
	if p.lookup == nil {
		p.lookup = net.DefaultResolver.LookupHost
	}
	if p.transport == nil {
		p.transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	defer p.transport.CloseIdleConnections()
	watch := &watcher{next: p.transport, now: p.now}
	c, err := wechatuser.New(p.appID, p.secret, wechatuser.WithBaseURL(p.base), wechatuser.WithTransport(watch),
		wechatuser.WithTimeout(p.timeout), wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}),
		wechatuser.WithoutForcedRenewal()) // which would end the token of everybody else
	if err != nil {
		return nil, err
	}
	d := new(diagnosis)
	switch {
	case !d.network(ctx, p):
		d.skip("WeChat can't be reached", clockCheck, credentialCheck, whitelistCheck, "quotas", "rights")
	case !d.credential(ctx, c, watch):
		d.skip("there is no access token", "quotas", "rights")
	default:
		left := d.quotas(ctx, c)
		d.rights(ctx, c, left)
	}
	d.tokenStore(ctx, p)
	d.calls, d.tokens = watch.calls, watch.tokens
	return d, nil
}

// network looks at DNS, TCP and TLS one after the other, as net/http would go through them.
func (d *diagnosis) network(ctx context.Context, p patient) bool {
	base, err := url.Parse(p.base)
	if err != nil {
		d.add("address", fail, "it can't be read", "give -base as https://host")
		return false
	}
	hop, what := base, "WeChat"
	if p.transport.Proxy != nil {
		proxy, err := p.transport.Proxy(&http.Request{URL: base})
		if err == nil && proxy != nil {
			hop, what = proxy, "the proxy"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	host := hop.Hostname()
	addr := net.JoinHostPort(host, cmp.Or(hop.Port(), map[string]string{"http": "80", "socks5": "1080"}[hop.Scheme], "443"))

	ips, err := p.lookup(ctx, host)
	if err != nil {
		d.add("DNS", fail, fmt.Sprintf("%s has no address: %v", host, err),
			"check this machine's resolver; in a container, the container's")
		d.skip("there is no address", "TCP", "TLS")
		return false
	}
	d.add("DNS", ok, fmt.Sprintf("%s is %s", host, strings.Join(ips, ", ")), "")

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		d.add("TCP", fail, err.Error(),
			"let this machine connect to "+addr+": a firewall or a proxy setting forbids it, or nobody listens there")
		d.skip("there is no connection", "TLS")
		return false
	}
	defer conn.Close()
	d.add("TCP", ok, what+" takes connections at "+addr, "")

	switch {
	case hop != base:
		d.skip("the proxy connects to WeChat; the answers below tell", "TLS")
		return true
	case base.Scheme == "http":
		d.skip("plain http", "TLS")
		return true
	}
	cfg := &tls.Config{}
	if p.transport.TLSClientConfig != nil {
		cfg = p.transport.TLSClientConfig.Clone()
	}
	cfg.ServerName, cfg.Time = host, p.now
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		d.add("TLS", fail, err.Error(), tlsRemedy(err))
		return false
	}
	cert := secured.ConnectionState().PeerCertificates[0]
	seen := fmt.Sprintf("the certificate is good until %s, from %s", cert.NotAfter.Format(time.DateOnly), cert.Issuer)
	if cert.NotAfter.Sub(p.now()) < 7*24*time.Hour {
		d.add("TLS", warn, seen, "if a gateway of your own answers here, renew its certificate")
	} else {
		d.add("TLS", ok, seen, "")
	}
	return true
}

func tlsRemedy(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "install the system's root certificates (the package ca-certificates); if a proxy opens TLS here, add its root"
	case errors.As(err, &name):
		return "somebody else answers here: check DNS, the hosts file and proxies"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "check this machine's clock first, then who answers here"
	}
	return "check who answers here: a firewall or a proxy may break TLS off"
}

// credential asks for the stable token. The answer tells how the clocks differ, whether app ID and secret are right, and
// whether this machine is in the whitelist.
func (d *diagnosis) credential(ctx context.Context, c *wechatuser.Client, watch *watcher) bool {
	_, err := c.Token(ctx)
	d.clock(watch)
	if err == nil {
		d.add(credentialCheck, ok, "WeChat gives a token for "+c.AppID(), "")
		d.add(whitelistCheck, ok, "WeChat gives tokens to this machine", "")
		return true
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) && e.Code == wechatuser.CodeIPNotAllowed {
		d.skip("not known before the whitelist is right", credentialCheck)
		seen, do := explain(e), e.Code.Remedy()
		if ip := refusedIP.FindStringSubmatch(e.Message); ip != nil {
			seen = fmt.Sprintf("WeChat sees this machine as %s. %s", ip[1], seen)
			do = fmt.Sprintf("add %s to the IP whitelist (IP白名单) in the console, https://mp.weixin.qq.com; "+
				"it is the address of your NAT or proxy if it is not this machine's", ip[1])
		}
		d.add(whitelistCheck, fail, seen, do)
		return false
	}
	d.addError(credentialCheck, err)
	d.skip("not known before there is a token", whitelistCheck)
	return false
}

// refusedIP finds the address in the text of 40164.
var refusedIP = regexp.MustCompile(`invalid ip ([0-9a-fA-F.:]+)`)

// What a wrong clock breaks: the times of a token that machines share, and the dates of certificates.
const (
	skewToNote   = 30 * time.Second
	skewToRepair = 5 * time.Minute // from here on a shared token can look fresh after its end
)

func (d *diagnosis) clock(watch *watcher) {
	if !watch.dated {
		d.skip("no answer told the time", clockCheck)
		return
	}
	const do = "set the clock by NTP: tokens that machines share have an absolute end"
	off := watch.ahead.Round(time.Second)
	direction := "ahead of"
	if off < 0 {
		off, direction = -off, "behind"
	}
	seen := fmt.Sprintf("this machine's clock is %v %s WeChat's", off, direction)
	switch {
	case off >= skewToRepair:
		d.add(clockCheck, fail, seen, do)
	case off >= skewToNote:
		d.add(clockCheck, warn, seen, do)
	default:
		d.add(clockCheck, ok, seen, "")
	}
}

// The calls whose quota a user of this SDK runs out of first.
var meteredPaths = []string{
	"/cgi-bin/stable_token", "/cgi-bin/user/get", "/cgi-bin/user/info", "/cgi-bin/user/info/batchget",
	"/cgi-bin/user/info/updateremark", "/cgi-bin/tags/members/batchtagging",
}

// quotas tells what is left of the day's calls, and gives it by path.
func (d *diagnosis) quotas(ctx context.Context, c *wechatuser.Client) map[string]int {
	left := make(map[string]int)
	for _, path := range meteredPaths {
		name := "quota " + strings.TrimPrefix(path, "/cgi-bin/")
		q, err := c.GetAPIQuota(ctx, path)
		switch {
		case err != nil:
			d.addError(name, err)
			continue
		case q.DailyLimit <= 0:
			d.add(name, skipped, "WeChat names no limit", "")
			continue
		}
		left[path] = q.Remain
		seen := fmt.Sprintf("%d of %d calls are left today", max(q.Remain, 0), q.DailyLimit)
		switch {
		case q.Remain <= 0:
			d.add(name, fail, seen, wechatuser.CodeDailyQuotaExceeded.Remedy())
		case q.Remain < q.DailyLimit/10:
			d.add(name, warn, seen, "less than a tenth: find out which program makes so many")
		default:
			d.add(name, ok, seen, "")
		}
	}
	return left
}

// rights makes each call that reads. One that writes needs the same rights, and can't be tried without a change.
func (d *diagnosis) rights(ctx context.Context, c *wechatuser.Client, left map[string]int) {
	var openID string
	for _, read := range []struct {
		api, path string
		one       bool // asks about a follower
		call      func() error
	}{
		{"getFans", "/cgi-bin/user/get", false, func() error {
			page, err := c.GetFans(ctx, "")
			if err == nil && len(page.OpenIDs) > 0 {
				openID = page.OpenIDs[0]
			}
			return err
		}},
		{"userInfo", "/cgi-bin/user/info", true, func() error {
			_, err := c.GetUserInfo(ctx, openID)
			return err
		}},
		{"batchUserinfo", "/cgi-bin/user/info/batchget", true, func() error {
			_, err := c.BatchUserInfo(ctx, []wechatuser.UserQuery{{OpenID: openID}})
			return err
		}},
		{"getTagidList", "", true, func() error {
			_, err := c.GetTagIDList(ctx, openID)
			return err
		}},
		{"getTags", "", false, func() error {
			_, err := c.GetTags(ctx)
			return err
		}},
		{"getBlacklist", "", false, func() error {
			_, err := c.GetBlacklist(ctx, "")
			return err
		}},
	} {
		name := "right " + read.api
		if n, known := left[read.path]; known && n <= 0 {
			d.skip("its quota is used up", name)
			continue
		}
		if read.one && openID == "" {
			d.skip("no follower is known to ask about", name)
			continue
		}
		if err := read.call(); err != nil {
			d.addError(name, err)
			continue
		}
		d.add(name, ok, "the account may call it", "")
	}
}

// tokenStore writes, reads and removes a token that nobody uses, and takes the lock of the real one for a moment.
func (d *diagnosis) tokenStore(ctx context.Context, p patient) {
	if p.store == nil {
		d.skip("there is none", "store", "lock")
		return
	}
	const down = "check the store's address, password and network; without it each process asks for tokens by itself"
	within := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, p.timeout)
		defer cancel()
		return f(ctx)
	}
	key := "wechatuser:doctor:" + rand.Text()
	want := wechatuser.Token{AccessToken: rand.Text(), ExpiresAt: p.now().Add(time.Minute)}
	err := within(func(ctx context.Context) error {
		if err := p.store.Save(ctx, key, want); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		got, err := p.store.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if got.AccessToken != want.AccessToken {
			return errors.New("what was saved does not come back")
		}
		if err := p.store.Delete(ctx, key, want); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		return nil
	})
	if err != nil {
		d.add("store", fail, err.Error(), down)
	} else {
		d.add("store", ok, "a token was saved, loaded and deleted", "")
	}

	locker, isLocker := p.store.(wechatuser.TokenLocker)
	if !isLocker {
		d.add("lock", warn, "the store has no lock",
			"with the legacy token, use a store that is a TokenLocker: two renewals at once end each other's token")
		return
	}
	err = within(func(ctx context.Context) error {
		unlock, err := locker.Lock(ctx, "wechatuser:token:stable:"+p.appID)
		if err == nil {
			unlock()
		}
		return err
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.add("lock", fail, fmt.Sprintf("somebody has held it for %v", p.timeout),
			"try again in half a minute, when the lease of a dead holder is over; if it stays, a program takes the lock and keeps it")
	case err != nil:
		d.add("lock", fail, err.Error(), down)
	default:
		d.add("lock", ok, "it was taken and given back", "")
	}
}

// watcher counts requests, and compares the clock of the first answer with this machine's.
type watcher struct {
	next http.RoundTripper
	now  func() time.Time

	mu            sync.Mutex
	calls, tokens int
	dated         bool
	ahead         time.Duration // of this machine
}

func (w *watcher) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	w.mu.Lock()
	defer w.mu.Unlock()
	if req.URL.Path == "/cgi-bin/stable_token" {
		w.tokens++
	} else {
		w.calls++
	}
	if err == nil && !w.dated {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			w.dated, w.ahead = true, w.now().Sub(date)
		}
	}
	return resp, err
}
