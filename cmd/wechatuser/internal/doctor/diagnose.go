// Package doctor finds out why calls to an Official Account fail from this machine, and what to do about it. It checks
// DNS, TCP and TLS, the clock, the app ID and secret, the IP whitelist, the quotas, the account's rights, and the store
// that shares the token, with one token request and 12 calls. It changes nothing: the stable token that it fetches is
// the one already in use, and legacy tokens are not affected.
package doctor

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

// Target is what to check.
type Target struct {
	AppID     string
	Secret    func(context.Context) (string, error)
	BaseURL   string                // of the API
	PlainHTTP bool                  // accept a base URL of plain http that is not loopback
	Timeout   time.Duration         // of each step
	Store     wechatuser.TokenStore // nil if there is none
	Options   []wechatuser.Option   // of the client, such as a user agent
	Chinese   bool                  // the language of the findings

	// The defaults are those of this machine. Tests replace them.
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

// Diagnose runs all checks, the network first. It returns an error if the target is invalid or ctx ends.
func Diagnose(ctx context.Context, p Target) (*Diagnosis, error) {
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
		wechatuser.WithBaseURL(p.BaseURL), wechatuser.WithTransport(rec), wechatuser.WithSecretSource(p.Secret),
		wechatuser.WithTimeout(p.Timeout), wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}),
		wechatuser.WithoutForcedRenewal(), // a forced one would invalidate the token of all other programs
	}
	if p.PlainHTTP {
		opts = append(opts, wechatuser.WithPlainHTTP())
	}
	c, err := wechatuser.New(p.AppID, "", append(opts, p.Options...)...)
	if err != nil {
		return nil, err
	}
	d := &Diagnosis{chinese: p.Chinese}
	switch {
	case !d.network(ctx, p):
		d.skip(d.tr("WeChat cannot be reached", "无法连接微信"), clockCheck, credentialCheck, whitelistCheck, "quotas", "rights")
	case !d.credential(ctx, c, p, rec):
		d.skip(d.tr("no access token", "没有 access_token"), "quotas", "rights")
	default:
		remaining := d.quotas(ctx, c)
		d.rights(ctx, c, remaining)
	}
	d.tokenStore(ctx, p)
	d.Calls, d.TokenRequests = rec.calls, rec.tokens
	return d, ctx.Err()
}

// network checks DNS, TCP and TLS in the order in which net/http uses them. It reports whether WeChat can be reached.
func (d *Diagnosis) network(ctx context.Context, p Target) bool {
	base, err := url.Parse(p.BaseURL)
	if err != nil {
		d.add("address", Fail, d.tr("invalid base URL", "接口地址无效"),
			d.tr("set it to a URL such as https://host", "请设置为 https://host 形式的地址"))
		return false
	}
	peer, peerName := base, d.tr("WeChat", "微信")
	if p.transport.Proxy != nil {
		proxy, err := p.transport.Proxy(&http.Request{URL: base})
		if err == nil && proxy != nil {
			peer, peerName = proxy, d.tr("the proxy", "代理")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	host := peer.Hostname()
	defaultPort := map[string]string{"http": "80", "socks5": "1080"}[peer.Scheme]
	addr := net.JoinHostPort(host, cmp.Or(peer.Port(), defaultPort, "443"))

	ips, err := p.lookup(ctx, host)
	if err != nil {
		d.add("DNS", Fail, fmt.Sprintf(d.tr("%s has no address: %v", "%s 没有解析到地址：%v"), host, d.said(err)),
			d.tr("check the DNS resolver of this machine or container", "检查本机或容器的 DNS 解析配置"))
		d.skip(d.tr("no address", "没有地址"), "TCP", "TLS")
		return false
	}
	d.add("DNS", OK, fmt.Sprintf(d.tr("%s resolves to %s", "%s 解析到 %s"), host, strings.Join(ips, ", ")), "")

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		d.add("TCP", Fail, d.said(err), fmt.Sprintf(d.tr(
			"allow this machine to connect to %s: check firewalls, proxy settings and that the address is right",
			"允许本机连接 %s：检查防火墙、代理设置，以及地址是否正确"), addr))
		d.skip(d.tr("no connection", "没有连接"), "TLS")
		return false
	}
	defer conn.Close()
	d.add("TCP", OK, fmt.Sprintf(d.tr("%s accepts connections at %s", "可以连接%s（%s）"), peerName, addr), "")

	switch {
	case peer != base:
		d.skip(d.tr("the proxy connects to WeChat; see the checks below", "由代理连接微信，见下面的检查"), "TLS")
		return true
	case base.Scheme == "http":
		d.skip(d.tr("plain http", "明文 http"), "TLS")
		return true
	}
	cfg := &tls.Config{}
	if p.transport.TLSClientConfig != nil {
		cfg = p.transport.TLSClientConfig.Clone()
	}
	cfg.ServerName, cfg.Time = host, p.now
	tlsConn := tls.Client(conn, cfg)
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		d.add("TLS", Fail, d.said(err), d.tlsRemedy(err))
		return false
	}
	cert := tlsConn.ConnectionState().PeerCertificates[0]
	finding := fmt.Sprintf(d.tr("the certificate is valid until %s, issued by %s", "证书有效期至 %s，颁发者 %s"),
		cert.NotAfter.Format(time.DateOnly), cert.Issuer)
	if cert.NotAfter.Sub(p.now()) < 7*24*time.Hour {
		d.add("TLS", Warn, finding,
			d.tr("if this is a gateway of your own, renew its certificate", "如果这是你自己的网关，请更新证书"))
	} else {
		d.add("TLS", OK, finding, "")
	}
	return true
}

func (d *Diagnosis) tlsRemedy(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return d.tr(
			"install the root certificates (the package ca-certificates); if a proxy intercepts TLS, add its root",
			"安装根证书（软件包 ca-certificates）；如果代理会解密 TLS，请添加其根证书")
	case errors.As(err, &name):
		return d.tr("this is another server: check DNS, the hosts file and proxies",
			"连接到了其他服务器：检查 DNS、hosts 文件和代理")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return d.tr("check this machine's clock first, then which server this is",
			"先检查本机时钟，再确认连接的是哪台服务器")
	}
	return d.tr("check which server this is: a firewall or a proxy may interrupt TLS",
		"确认连接的是哪台服务器：TLS 连接可能被防火墙或代理中断")
}

// credential fetches the stable token. The response shows the clock skew, whether app ID and secret are right, and
// whether this machine is in the IP whitelist. It reports whether there is a token.
func (d *Diagnosis) credential(ctx context.Context, c *wechatuser.Client, p Target, rec *recorder) bool {
	if secret, err := p.Secret(ctx); err != nil || secret == "" {
		d.noSecret(err)
		return false
	}
	_, err := c.Token(ctx)
	d.clock(rec)
	if err == nil {
		issued := fmt.Sprintf(d.tr("WeChat issues a token for %s", "微信为 %s 签发了 access_token"), c.AppID())
		d.add(credentialCheck, OK, issued, "")
		d.add(whitelistCheck, OK, d.tr(
			"WeChat issues tokens to this machine; it may check the whitelist for other calls too",
			"微信为本机签发了 access_token；调用其他接口时也可能校验白名单"), "")
		return true
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) && e.Code == wechatuser.CodeIPNotAllowed {
		d.skip(d.tr("unknown until the whitelist is right", "IP 白名单设置正确后才能检查"), credentialCheck)
		finding, remedy := d.explain(e), d.remedy(e)
		if ip := e.ClientIP(); ip.IsValid() {
			finding = fmt.Sprintf(d.tr("WeChat sees this machine as %s. %s", "微信看到的本机 IP 为 %s。%s"), ip, finding)
			remedy = fmt.Sprintf(d.tr(
				"add %s to the IP whitelist (IP白名单) in the console, https://developers.weixin.qq.com/platform "+
					"(我的业务, the account, 基础信息, 开发密钥), and wait some minutes; "+
					"if it is not this machine's address, it is that of your NAT or proxy",
				"在微信开发者平台 https://developers.weixin.qq.com/platform（我的业务，选择该公众号，基础信息，开发密钥）"+
					"将 %s 加入 IP 白名单，几分钟后生效；如果它不是本机的 IP，则是 NAT 或代理的出口 IP"), ip)
		}
		d.add(whitelistCheck, Fail, finding, remedy)
		d.Findings[len(d.Findings)-1].RID = e.RID
		return false
	}
	d.addError(credentialCheck, err)
	d.skip(d.tr("unknown without a token", "没有 access_token，无法判断"), whitelistCheck)
	return false
}

// Clock skew affects the expiry of shared tokens and the validity of certificates.
const (
	skewWarn = 30 * time.Second
	skewFail = 5 * time.Minute // with more, an expired shared token can look valid
)

func (d *Diagnosis) clock(rec *recorder) {
	if !rec.dated {
		d.skip(d.tr("no response had a date", "响应中没有时间"), clockCheck)
		return
	}
	remedy := d.tr("synchronize the clock by NTP: shared tokens expire at an absolute time",
		"通过 NTP 同步时钟：共享的 access_token 按绝对时间过期")
	off := rec.ahead.Round(time.Second)
	text := d.tr("this machine's clock is %v ahead of WeChat's", "本机时钟比微信快 %v")
	if off < 0 {
		off, text = -off, d.tr("this machine's clock is %v behind WeChat's", "本机时钟比微信慢 %v")
	}
	finding := fmt.Sprintf(text, off)
	switch {
	case off >= skewFail:
		d.add(clockCheck, Fail, finding, remedy)
	case off >= skewWarn:
		d.add(clockCheck, Warn, finding, remedy)
	default:
		d.add(clockCheck, OK, finding, "")
	}
}

// meteredPaths are the APIs whose quotas a user of this SDK exhausts first.
var meteredPaths = []string{
	"/cgi-bin/stable_token", "/cgi-bin/user/get", "/cgi-bin/user/info", "/cgi-bin/user/info/batchget",
	"/cgi-bin/user/info/updateremark", "/cgi-bin/tags/members/batchtagging",
}

// quotas reports the remaining calls of the day, and returns them by path.
func (d *Diagnosis) quotas(ctx context.Context, c *wechatuser.Client) map[string]int {
	remaining := make(map[string]int)
	for _, path := range meteredPaths {
		name := "quota " + strings.TrimPrefix(path, "/cgi-bin/")
		q, err := c.GetAPIQuota(ctx, path)
		switch {
		case err != nil:
			d.addError(name, err)
			continue
		case q.DailyLimit <= 0:
			d.add(name, Skipped, d.tr("WeChat reports no limit", "微信未返回额度上限"), "")
			continue
		}
		remaining[path] = q.Remain
		finding := fmt.Sprintf(d.tr("%d of %d calls left today", "当日剩余 %d 次，额度 %d 次"), max(q.Remain, 0), q.DailyLimit)
		switch {
		case q.Remain <= 0:
			d.add(name, Fail, finding, d.remedy(&wechatuser.Error{Code: wechatuser.CodeDailyQuotaExceeded}))
		case q.Remain < q.DailyLimit/10:
			d.add(name, Warn, finding, d.tr("less than a tenth: find out which program uses the quota",
				"剩余不足十分之一：请找出是哪个程序在消耗额度"))
		default:
			d.add(name, OK, finding, "")
		}
	}
	return remaining
}

// rights calls each API that only reads. Those that write need the same rights, and cannot be checked without a change.
func (d *Diagnosis) rights(ctx context.Context, c *wechatuser.Client, remaining map[string]int) {
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
			d.skip(d.tr("its quota is exhausted", "额度已用尽"), name)
			continue
		}
		if read.follower && openID == "" {
			d.skip(d.tr("no follower to check with", "没有可用于检查的用户"), name)
			continue
		}
		if err := read.call(); err != nil {
			d.addError(name, err)
			continue
		}
		d.add(name, OK, d.tr("the account may call it", "账号有权调用"), "")
	}
}

// tokenStore saves, loads and deletes a token under a key of its own, and briefly takes the lock of the real token. A
// store that can check itself, such as that of redisstore, says in words what is wrong.
func (d *Diagnosis) tokenStore(ctx context.Context, p Target) {
	if p.Store == nil {
		d.skip(d.tr("no store", "没有使用存储"), "store", "lock")
		return
	}
	remedy := d.tr("check the store's address, password and network; without it, each process fetches its own tokens",
		"检查存储的地址、密码和网络；没有存储时，每个进程各自获取 access_token")
	withTimeout := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		return f(ctx)
	}
	if checker, ok := p.Store.(interface{ Check(context.Context) error }); ok {
		if err := withTimeout(checker.Check); err != nil {
			d.add("store", Fail, d.said(err), remedy)
			d.skip(d.tr("the store cannot be used", "存储不可用"), "lock")
			return
		}
	}
	key := "wechatuser:token:doctor:" + rand.Text()
	want := wechatuser.Token{AccessToken: rand.Text(), ExpiresAt: p.now().Add(time.Minute)}
	err := withTimeout(func(ctx context.Context) error {
		if err := p.Store.Save(ctx, key, want); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		got, err := p.Store.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if got.AccessToken != want.AccessToken {
			return errors.New("load returned another token than the one saved")
		}
		if err := p.Store.Delete(ctx, key, want); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		return nil
	})
	if err != nil {
		d.add("store", Fail, d.said(err), remedy)
	} else {
		d.add("store", OK, d.tr("a token was saved, loaded and deleted", "已成功保存、读取并删除一个 token"), "")
	}

	locker, isLocker := p.Store.(wechatuser.TokenLocker)
	if !isLocker {
		d.add("lock", Warn, d.tr("the store has no lock", "存储不支持锁"),
			d.tr("with legacy tokens, use a store that is a TokenLocker: concurrent refreshes invalidate each other's token",
				"使用普通 access_token 时，请使用支持锁的存储（TokenLocker）：同时刷新会使彼此的 token 失效"))
		return
	}
	err = withTimeout(func(ctx context.Context) error {
		unlock, err := locker.Lock(ctx, "wechatuser:token:stable:"+p.AppID)
		if err == nil {
			unlock()
		}
		return err
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.add("lock", Fail, fmt.Sprintf(d.tr("another process has held it for %v", "其他进程已持有 %v"), p.Timeout),
			d.tr("try again in half a minute, when the lease of a dead holder has expired; if it persists, a program "+
				"does not release the lock",
				"半分钟后重试：届时已退出的持有者的租约已过期；如仍如此，说明有程序没有释放锁"))
	case err != nil:
		d.add("lock", Fail, d.said(err), remedy)
	default:
		d.add("lock", OK, d.tr("it was taken and released", "已成功加锁并释放"), "")
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
