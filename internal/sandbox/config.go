package sandbox

import (
	"errors"
	"flag"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Config is what the flags say.
type Config struct {
	JSON bool // print the address and the credentials as one line of JSON

	addr, appID, secret string
	fans, pageSize      int
	state               string
	latency             time.Duration
	seed                uint64
	quirks              wechatusertest.Quirks
	log                 bool
	push                wechatusertest.PushConfig // without the secrets of the environment
	options             []wechatusertest.Option   // for -whitelist and -quotas
	lang                language
}

// Flags adds the flags of a sandbox to a set, with their texts and all messages in English or Chinese.
func Flags(flags *flag.FlagSet, inChinese bool) *Config {
	c := &Config{lang: language(inChinese)}
	tr := c.lang.tr
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080",
		tr("`address` to listen on; port 0 picks a free port", "监听`地址`；端口为 0 时自动选择空闲端口"))
	flags.StringVar(&c.appID, "appid", "wx0000000000000000", tr("app `ID` of the account", "账号的 `AppID`"))
	flags.StringVar(&c.secret, "secret", strings.Repeat("0", 32), tr("app `secret` of the account", "账号的 `AppSecret`"))
	flags.IntVar(&c.fans, "fans", 1000,
		tr("`number` of followers, ignored if the state file exists", "用户`数`；状态文件已存在时忽略"))
	flags.StringVar(&c.state, "state", "", tr(
		"`file` with the account: loaded at the start if it exists, saved at the end",
		"保存账号的`文件`：存在则启动时加载，停止时保存"))
	flags.DurationVar(&c.latency, "latency", 0, tr("maximum latency of a call, such as 30ms", "接口调用的最大`延迟`，例如 30ms"))
	flags.Uint64Var(&c.seed, "seed", 0, tr(
		"`seed` of the random numbers, for what happens with a probability", "随机数`种子`，用于按概率发生的事件"))
	flags.IntVar(&c.pageSize, "pagesize", 0, tr(
		"`number` of openids per page of a list; 0 means that of the platform", "列表每页的 openid `数`；0 表示与平台相同"))
	c.pushFlags(flags)
	flags.BoolVar(&c.log, "log", false, tr("log each call to stderr", "把每次接口调用记录到 stderr"))
	flags.Func("quirks", tr(
		"`quirks` of the platform: strict, wild, or wild:7 for wild with seed 7 (default strict)",
		"平台的`异常行为`：strict、wild，或 wild:7（种子为 7 的 wild），默认 strict"),
		func(text string) (err error) {
			c.quirks, err = parseQuirks(text)
			return Localize(err, inChinese)
		})
	flags.Func("whitelist", tr("`addresses` that may make calls, such as 127.0.0.1,203.0.113.0/24",
		"IP 白名单`地址`，例如 127.0.0.1,203.0.113.0/24"),
		func(text string) error {
			for _, address := range strings.Split(text, ",") {
				_, err := netip.ParseAddr(address)
				_, prefixErr := netip.ParsePrefix(address)
				if err != nil && prefixErr != nil {
					return Localize(say("%q is neither an IP address nor a prefix", "%q 不是 IP 地址，也不是网段", address), inChinese)
				}
			}
			c.options = append(c.options, wechatusertest.WithIPWhitelist(strings.Split(text, ",")...))
			return nil
		})
	flags.Func("quotas", tr("documented, or `path=day[/minute],…` such as /cgi-bin/user/get=5",
		"documented（平台公布的额度），或 `路径=每日[/每分钟],…`，例如 /cgi-bin/user/get=5"),
		func(text string) error {
			options, err := parseQuotas(text)
			c.options = append(c.options, options...)
			return Localize(err, inChinese)
		})
	return c
}

// Check returns an error if the flags do not go together.
func (c *Config) Check() error {
	switch {
	case c.appID == "" || c.secret == "":
		return Localize(say("appid and secret must not be empty", "appid 和 secret 不能为空"), bool(c.lang))
	case !IsAddress(c.addr):
		return Localize(say("addr %q must be like 127.0.0.1:8080", "addr %q 的格式应为 127.0.0.1:8080", c.addr), bool(c.lang))
	case c.fans < 0 || c.pageSize < 0 || c.latency < 0:
		return Localize(say("fans, pagesize and latency must not be negative", "fans、pagesize 和 latency 不能为负数"),
			bool(c.lang))
	}
	if p := c.pushConfig(); p.URL != "" {
		return Localize(checkPushes(p), bool(c.lang))
	}
	return nil
}

// IsAddress reports whether a text is an address to listen on, with a port.
func IsAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	return err == nil && port != ""
}

func parseQuirks(text string) (wechatusertest.Quirks, error) {
	name, number, seeded := strings.Cut(text, ":")
	switch {
	case text == "strict":
		return wechatusertest.Strict(), nil
	case text == "wild":
		return wechatusertest.Wild(0), nil
	case name == "wild" && seeded:
		seed, err := strconv.ParseUint(number, 10, 64)
		return wechatusertest.Wild(seed), err
	}
	return wechatusertest.Quirks{}, say("it must be strict, wild or wild:seed", "只能是 strict、wild 或 wild:种子")
}

func parseQuotas(text string) ([]wechatusertest.Option, error) {
	if text == "documented" {
		return []wechatusertest.Option{wechatusertest.WithDocumentedQuotas()}, nil
	}
	var options []wechatusertest.Option
	for one := range strings.SplitSeq(text, ",") {
		path, numbers, found := strings.Cut(one, "=")
		day, minute, _ := strings.Cut(numbers, "/")
		perDay, err := strconv.Atoi(day)
		perMinute := 0
		if minute != "" && err == nil {
			perMinute, err = strconv.Atoi(minute)
		}
		if !found || err != nil || perDay < 0 || perMinute < 0 {
			return nil, say("%q must be like /cgi-bin/user/get=500 or /cgi-bin/user/get=500/60",
				"%q 的格式应为 /cgi-bin/user/get=500 或 /cgi-bin/user/get=500/60", one)
		}
		options = append(options, wechatusertest.WithQuota(path, perDay, perMinute))
	}
	return options, nil
}

// shownCalls is the number of calls on the page.
const shownCalls = 50

// account creates the account. It logs calls to stderr if the flags say so.
func (c *Config) account(stderr io.Writer) (account *wechatusertest.Server, err error) {
	if c.latency > 0 {
		c.quirks.Latency = c.latency
	}
	options := append(c.options, wechatusertest.WithSeed(c.seed),
		wechatusertest.WithoutListener(), wechatusertest.WithAccount(c.appID, c.secret),
		wechatusertest.WithFans(c.fans), wechatusertest.WithPageSize(c.pageSize),
		wechatusertest.WithQuirks(c.quirks), wechatusertest.WithRequestLog(shownCalls))
	if c.log {
		options = append(options, wechatusertest.WithRequestHook((&callLog{w: stderr, secret: c.secret}).write))
	}
	err = try(func() { account = wechatusertest.NewServer(options...) })
	return account, err
}

// try calls f and returns a panic of wechatusertest as an error. Such a panic reports an invalid argument, which here
// is the user's input.
func try(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case string:
			text := strings.TrimPrefix(p, "wechatusertest: ")
			if _, rest, found := strings.Cut(text, ": "); found { // drops the name of the Go function
				text = rest
			}
			err = errors.New(strings.TrimPrefix(text, "wechatuser: "))
		default:
			panic(p)
		}
	}()
	f()
	return nil
}
