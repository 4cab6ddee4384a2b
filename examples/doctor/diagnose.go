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
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// target is what to check.
type target struct {
	appID, secret string
	base          string                // base URL of the API
	plainHTTP     bool                  // accept a base of plain http that is not loopback
	timeout       time.Duration         // of each step
	store         wechatuser.TokenStore // nil if there is none

	// The defaults are those of this machine.
	now       func() time.Time
	lookup    func(ctx context.Context, host string) ([]string, error)
	transport *http.Transport
}

// Names of the checks that depend on the platform's response to the token request.
const (
	clockCheck      = "clock"
	credentialCheck = "app ID and secret"
	whitelistCheck  = "IP whitelist"
)

// diagnose runs all checks, the network first. It returns an error only if the arguments are invalid.
func diagnose(ctx context.Context, p target) (*diagnosis, error) {
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
	rec := &recorder{next: p.transport, now: p.now}
	opts := []wechatuser.Option{
		wechatuser.WithBaseURL(p.base), wechatuser.WithTransport(rec),
		wechatuser.WithTimeout(p.timeout), wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}),
		wechatuser.WithoutForcedRenewal(), // a forced one would invalidate the token of all other programs
	}
	if p.plainHTTP {
		opts = append(opts, wechatuser.WithPlainHTTP())
	}
	c, err := wechatuser.New(p.appID, p.secret, opts...)
	if err != nil {
		return nil, err
	}
	d := new(diagnosis)
	switch {
	case !d.network(ctx, p):
		d.skip("WeChat cannot be reached", clockCheck, credentialCheck, whitelistCheck, "quotas", "rights")
	case !d.credential(ctx, c, rec):
		d.skip("no access token", "quotas", "rights")
	default:
		remaining := d.quotas(ctx, c)
		d.rights(ctx, c, remaining)
	}
	d.tokenStore(ctx, p)
	d.calls, d.tokens = rec.calls, rec.tokens
	return d, nil
}

// network checks DNS, TCP and TLS in the order in which net/http uses them. It reports whether WeChat can be reached.
func (d *diagnosis) network(ctx context.Context, p target) bool {
	base, err := url.Parse(p.base)
	if err != nil {
		d.add("address", fail, "invalid base URL", "set -base to a URL such as https://host")
		return false
	}
	peer, peerName := base, "WeChat"
	if p.transport.Proxy != nil {
		proxy, err := p.transport.Proxy(&http.Request{URL: base})
		if err == nil && proxy != nil {
			peer, peerName = proxy, "the proxy"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	host := peer.Hostname()
	defaultPort := map[string]string{"http": "80", "socks5": "1080"}[peer.Scheme]
	addr := net.JoinHostPort(host, cmp.Or(peer.Port(), defaultPort, "443"))

	ips, err := p.lookup(ctx, host)
	if err != nil {
		d.add("DNS", fail, fmt.Sprintf("%s has no address: %v", host, err),
			"check the DNS resolver of this machine or container")
		d.skip("no address", "TCP", "TLS")
		return false
	}
	d.add("DNS", ok, fmt.Sprintf("%s resolves to %s", host, strings.Join(ips, ", ")), "")

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		d.add("TCP", fail, err.Error(),
			"allow this machine to connect to "+addr+": check firewalls, proxy settings and that the address is right")
		d.skip("no connection", "TLS")
		return false
	}
	defer conn.Close()
	d.add("TCP", ok, peerName+" accepts connections at "+addr, "")

	switch {
	case peer != base:
		d.skip("the proxy connects to WeChat; see the checks below", "TLS")
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
	tlsConn := tls.Client(conn, cfg)
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		d.add("TLS", fail, err.Error(), tlsRemedy(err))
		return false
	}
	cert := tlsConn.ConnectionState().PeerCertificates[0]
	finding := fmt.Sprintf("the certificate is valid until %s, issued by %s",
		cert.NotAfter.Format(time.DateOnly), cert.Issuer)
	if cert.NotAfter.Sub(p.now()) < 7*24*time.Hour {
		d.add("TLS", warn, finding, "if this is a gateway of your own, renew its certificate")
	} else {
		d.add("TLS", ok, finding, "")
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
		return "install the root certificates (the package ca-certificates); if a proxy intercepts TLS, add its root"
	case errors.As(err, &name):
		return "this is another server: check DNS, the hosts file and proxies"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "check this machine's clock first, then which server this is"
	}
	return "check which server this is: a firewall or a proxy may interrupt TLS"
}

// credential fetches the stable token. The response shows the clock skew, whether app ID and secret are right, and
// whether this machine is in the IP whitelist. It reports whether there is a token.
func (d *diagnosis) credential(ctx context.Context, c *wechatuser.Client, rec *recorder) bool {
	_, err := c.Token(ctx)
	d.clock(rec)
	if err == nil {
		d.add(credentialCheck, ok, "WeChat issues a token for "+c.AppID(), "")
		d.add(whitelistCheck, ok, "WeChat issues tokens to this machine; it may check the whitelist for other calls too", "")
		return true
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) && e.Code == wechatuser.CodeIPNotAllowed {
		d.skip("unknown until the whitelist is right", credentialCheck)
		finding, remedy := explain(e), e.Remedy()
		if ip := e.ClientIP(); ip.IsValid() {
			finding = fmt.Sprintf("WeChat sees this machine as %s. %s", ip, finding)
			remedy = fmt.Sprintf("add %s to the IP whitelist (IP白名单) in the console, https://developers.weixin.qq.com/platform "+
				"(我的业务, the account, 基础信息, 开发密钥), and wait some minutes; "+
				"if it is not this machine's address, it is that of your NAT or proxy", ip)
		}
		d.add(whitelistCheck, fail, finding, remedy)
		return false
	}
	d.addError(credentialCheck, err)
	d.skip("unknown without a token", whitelistCheck)
	return false
}

// Clock skew affects the expiry of shared tokens and the validity of certificates.
const (
	skewWarn = 30 * time.Second
	skewFail = 5 * time.Minute // with more, an expired shared token can look valid
)

func (d *diagnosis) clock(rec *recorder) {
	if !rec.dated {
		d.skip("no response had a date", clockCheck)
		return
	}
	const remedy = "synchronize the clock by NTP: shared tokens expire at an absolute time"
	off := rec.ahead.Round(time.Second)
	direction := "ahead of"
	if off < 0 {
		off, direction = -off, "behind"
	}
	finding := fmt.Sprintf("this machine's clock is %v %s WeChat's", off, direction)
	switch {
	case off >= skewFail:
		d.add(clockCheck, fail, finding, remedy)
	case off >= skewWarn:
		d.add(clockCheck, warn, finding, remedy)
	default:
		d.add(clockCheck, ok, finding, "")
	}
}

// meteredPaths are the APIs whose quotas a user of this SDK exhausts first.
var meteredPaths = []string{
	"/cgi-bin/stable_token", "/cgi-bin/user/get", "/cgi-bin/user/info", "/cgi-bin/user/info/batchget",
	"/cgi-bin/user/info/updateremark", "/cgi-bin/tags/members/batchtagging",
}

// quotas reports the remaining calls of the day, and returns them by path.
func (d *diagnosis) quotas(ctx context.Context, c *wechatuser.Client) map[string]int {
	remaining := make(map[string]int)
	for _, path := range meteredPaths {
		name := "quota " + strings.TrimPrefix(path, "/cgi-bin/")
		q, err := c.GetAPIQuota(ctx, path)
		switch {
		case err != nil:
			d.addError(name, err)
			continue
		case q.DailyLimit <= 0:
			d.add(name, skipped, "WeChat reports no limit", "")
			continue
		}
		remaining[path] = q.Remain
		finding := fmt.Sprintf("%d of %d calls left today", max(q.Remain, 0), q.DailyLimit)
		switch {
		case q.Remain <= 0:
			d.add(name, fail, finding, wechatuser.CodeDailyQuotaExceeded.Remedy())
		case q.Remain < q.DailyLimit/10:
			d.add(name, warn, finding, "less than a tenth: find out which program uses the quota")
		default:
			d.add(name, ok, finding, "")
		}
	}
	return remaining
}

// rights calls each API that only reads. Those that write need the same rights, and cannot be checked without a change.
func (d *diagnosis) rights(ctx context.Context, c *wechatuser.Client, remaining map[string]int) {
	var openID string
	for _, read := range []struct {
		api, path string
		follower  bool // needs the openid of a follower
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
		if n, known := remaining[read.path]; known && n <= 0 {
			d.skip("its quota is exhausted", name)
			continue
		}
		if read.follower && openID == "" {
			d.skip("no follower to check with", name)
			continue
		}
		if err := read.call(); err != nil {
			d.addError(name, err)
			continue
		}
		d.add(name, ok, "the account may call it", "")
	}
}

// tokenStore saves, loads and deletes a token under a key of its own, and briefly takes the lock of the real token. A
// store that can check itself, such as that of redisstore, says in words what is wrong.
func (d *diagnosis) tokenStore(ctx context.Context, p target) {
	if p.store == nil {
		d.skip("no store", "store", "lock")
		return
	}
	const remedy = "check the store's address, password and network; without it, each process fetches its own tokens"
	withTimeout := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, p.timeout)
		defer cancel()
		return f(ctx)
	}
	if checker, ok := p.store.(interface{ Check(context.Context) error }); ok {
		if err := withTimeout(checker.Check); err != nil {
			d.add("store", fail, err.Error(), remedy)
			d.skip("the store cannot be used", "lock")
			return
		}
	}
	key := "wechatuser:token:doctor:" + rand.Text()
	want := wechatuser.Token{AccessToken: rand.Text(), ExpiresAt: p.now().Add(time.Minute)}
	err := withTimeout(func(ctx context.Context) error {
		if err := p.store.Save(ctx, key, want); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		got, err := p.store.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if got.AccessToken != want.AccessToken {
			return errors.New("load returned another token than the one saved")
		}
		if err := p.store.Delete(ctx, key, want); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		return nil
	})
	if err != nil {
		d.add("store", fail, err.Error(), remedy)
	} else {
		d.add("store", ok, "a token was saved, loaded and deleted", "")
	}

	locker, isLocker := p.store.(wechatuser.TokenLocker)
	if !isLocker {
		d.add("lock", warn, "the store has no lock",
			"with legacy tokens, use a store that is a TokenLocker: concurrent refreshes invalidate each other's token")
		return
	}
	err = withTimeout(func(ctx context.Context) error {
		unlock, err := locker.Lock(ctx, "wechatuser:token:stable:"+p.appID)
		if err == nil {
			unlock()
		}
		return err
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.add("lock", fail, fmt.Sprintf("another process has held it for %v", p.timeout),
			"try again in half a minute, when the lease of a dead holder has expired; if it persists, a program does not "+
				"release the lock")
	case err != nil:
		d.add("lock", fail, err.Error(), remedy)
	default:
		d.add("lock", ok, "it was taken and released", "")
	}
}

// recorder counts requests, and measures the clock skew with the first response.
type recorder struct {
	next http.RoundTripper
	now  func() time.Time

	mu            sync.Mutex
	calls, tokens int
	dated         bool
	ahead         time.Duration // this machine's clock minus WeChat's
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.URL.Path == "/cgi-bin/stable_token" {
		r.tokens++
	} else {
		r.calls++
	}
	if err == nil && !r.dated {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			r.dated, r.ahead = true, r.now().Sub(date)
		}
	}
	return resp, err
}
