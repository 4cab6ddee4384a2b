package sandbox

import (
	"cmp"
	"context"
	"flag"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// The environment variables of the secrets of pushes, which are then not in the list of processes.
const (
	pushTokenEnv  = "WECHAT_PUSH_TOKEN"
	pushAESKeyEnv = "WECHAT_PUSH_AES_KEY"
)

// pushConcurrency is the number of pushes that are sent at a time.
const pushConcurrency = 4

var pushModes = []wechatusertest.PushMode{
	wechatusertest.PushPlain, wechatusertest.PushCompatible, wechatusertest.PushSafe,
}

// pushFlags adds the flags of pushes.
func (c *Config) pushFlags(flags *flag.FlagSet) {
	tr := c.lang.tr
	flags.StringVar(&c.push.URL, "push-url", "", tr(
		"callback `URL` that receives a push when users follow or leave", "接收事件推送的服务器地址（`URL`），例如用户关注或取消关注时"))
	flags.StringVar(&c.push.Token, "push-token", "", tr(
		"`token` that signs pushes; better set "+pushTokenEnv, "推送签名用的 `Token`，建议改用环境变量 "+pushTokenEnv))
	flags.StringVar(&c.push.EncodingAESKey, "push-aes-key", "", tr(
		"EncodingAESKey that encrypts pushes, 43 `letters` and digits; better set "+pushAESKeyEnv,
		"加密推送的 `EncodingAESKey`（43 个字母或数字），建议改用环境变量 "+pushAESKeyEnv))
	flags.Func("push-mode", tr("`mode` of pushes: plain, compatible or safe (default safe with a key, plain without)",
		"推送的加解密`方式`：plain（明文）、compatible（兼容）或 safe（安全），默认有密钥时为 safe，否则为 plain"),
		func(text string) error {
			c.push.Mode = wechatusertest.PushMode(text)
			if !slices.Contains(pushModes, c.push.Mode) {
				return Localize(errPushMode, bool(c.lang))
			}
			return nil
		})
}

var errPushMode = say("it must be plain, compatible or safe", "只能是 plain、compatible 或 safe")

// pushConfig returns where pushes are sent, with the secrets of the environment; the URL is empty for nowhere.
func (c *Config) pushConfig() wechatusertest.PushConfig {
	p := c.push
	if p.URL == "" {
		return p
	}
	p.Token = cmp.Or(p.Token, os.Getenv(pushTokenEnv))
	p.EncodingAESKey = cmp.Or(p.EncodingAESKey, os.Getenv(pushAESKeyEnv))
	return withPushDefaults(p)
}

func withPushDefaults(p wechatusertest.PushConfig) wechatusertest.PushConfig {
	p.Concurrency = pushConcurrency
	if p.Mode == "" && p.EncodingAESKey != "" {
		p.Mode = wechatusertest.PushSafe
	}
	return p
}

// checkPushes returns why pushes cannot be sent. The messages have no secret.
func checkPushes(p wechatusertest.PushConfig) error {
	err := p.Check()
	if err == nil {
		return nil
	}
	zh := err.Error()
	u, parseErr := url.Parse(p.URL)
	switch {
	case parseErr != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		zh = "推送的 URL 必须以 http:// 或 https:// 开头"
	case p.Token == "":
		zh = "推送需要 Token"
	case p.Mode != "" && !slices.Contains(pushModes, p.Mode):
		return errPushMode
	case p.Mode != wechatusertest.PushPlain:
		zh = "EncodingAESKey 必须为 43 个字母或数字"
	}
	return message{en: err.Error(), zh: zh, err: err}
}

// setPushes changes where pushes are sent.
func (s *sandbox) setPushes(p wechatusertest.PushConfig) {
	s.account.SetPushes(p)
	s.push.Store(&p)
}

// currentPushes returns where pushes are sent; the URL is empty for nowhere.
func (s *sandbox) currentPushes() wechatusertest.PushConfig {
	if p := s.push.Load(); p != nil {
		return *p
	}
	return wechatusertest.PushConfig{}
}

// pushURL saves where pushes are sent and verifies it. Fields that are empty keep their value.
func (s *sandbox) pushURL(form url.Values) (done message, part string, err error) {
	p := s.currentPushes()
	field := func(name, old string) string { return cmp.Or(strings.TrimSpace(form.Get(name)), old) }
	p.URL, p.Token = field("url", p.URL), field("token", p.Token)
	p.EncodingAESKey = field("aeskey", p.EncodingAESKey)
	p.Mode = wechatusertest.PushMode(field("mode", string(p.Mode)))
	p = withPushDefaults(p)
	if err := checkPushes(p); err != nil {
		return done, "", err
	}
	s.setPushes(p)
	ctx, cancel := context.WithTimeout(context.Background(), 2*pushPatience)
	defer cancel()
	if err := s.account.VerifyPushURL(ctx); err != nil {
		reason := strings.TrimPrefix(err.Error(), "wechatusertest: VerifyPushURL: ")
		return done, "", say("saved, but the URL could not be verified: %s", "已保存，但 URL 验证失败：%s", reason)
	}
	return say("Saved and verified the URL of pushes.", "推送的 URL 已保存并通过验证。"), partPushes, nil
}

// pushPatience is how long the platform waits for a response.
const pushPatience = 5 * time.Second

const partPushes = "pushes"

// pushEvents are the events of the form, with what its field "value" is.
var pushEvents = []pushKind{
	{"subscribe", say("follow, scene of a QR code if any", "关注，可填二维码场景值")},
	{"unsubscribe", say("unfollow", "取消关注")},
	{"SCAN", say("a follower scans a QR code, scene", "已关注用户扫码，场景值")},
	{"CLICK", say("menu, EventKey", "点击菜单，EventKey")},
	{"user_info_modified", say("risky profile removed", "用户资料变更")},
	{"user_authorization_revoke", say("authorization revoked, RevokeInfo 201–207", "撤回授权，RevokeInfo 201–207")},
	{"user_authorization_cancellation", say("WeChat account closed", "用户完成注销")},
}

type pushKind struct {
	Event string
	means message
}

// In returns what the event means.
func (k pushKind) In(lang string) string { return k.means.in(language(lang == chinese.tag())) }

// pushEvent makes something happen to a user that the account pushes.
func (s *sandbox) pushEvent(form url.Values) (done message, part string, err error) {
	if s.currentPushes().URL == "" {
		return done, "", say("set the URL of pushes first", "请先设置推送的 URL")
	}
	id, value := strings.TrimSpace(form.Get("openid")), strings.TrimSpace(form.Get("value"))
	event := form.Get("event")
	user, known := s.account.User(id)
	switch {
	case !openIDPattern.MatchString(id):
		return done, "", say("%q is not an openid: use letters, digits, - and _ only",
			"%q 不是 openid：只能包含字母、数字、- 和 _", id)
	case event == "subscribe" && user.Subscribed():
		return done, "", say("%s follows already", "%s 已关注", id)
	case (event == "unsubscribe" || event == "SCAN") && !(known && user.Subscribed()):
		return done, "", say("%s is not a follower", "%s 没有关注", id)
	case (event == "SCAN" || event == "user_authorization_revoke") && value == "":
		return done, "", say("enter a value", "请填写值")
	}
	a := s.account
	switch event {
	case "subscribe":
		if value == "" {
			a.Follow(id)
		} else {
			a.FollowByScan(value, id)
		}
	case "unsubscribe":
		a.Unfollow(id)
	case "SCAN":
		err = try(func() { a.Scan(value, id) }) // a call may have changed the user meanwhile
	case "CLICK":
		a.PushEvent(id, event, "EventKey", value)
	case "user_info_modified":
		a.PushUserInfoModified(id)
	case "user_authorization_revoke":
		a.PushAuthorizationRevoke(value, id)
	case "user_authorization_cancellation":
		a.PushAuthorizationCancellation(id)
	default:
		err = say("unknown event %q", "未知的事件 %q", event)
	}
	return say("Pushed: %s of %s.", "已推送：%s（%s）。", event, id), partPushes, err
}

// pushes is the part of the page about pushes.
type pushes struct {
	To     string // without a query, empty for nowhere
	Mode   wechatusertest.PushMode
	HasKey bool
	Modes  []wechatusertest.PushMode
	Events []pushKind
	Totals wechatusertest.PushTotals
	Last   []pushed // newest first
}

type pushed struct {
	Time string
	wechatusertest.Push
}

// pushPart returns the part of the page about pushes.
func (s *sandbox) pushPart() pushes {
	c := s.currentPushes()
	p := pushes{
		Mode: cmp.Or(c.Mode, wechatusertest.PushPlain), HasKey: c.EncodingAESKey != "", Modes: pushModes,
		Events: pushEvents, Totals: s.account.PushTotals(),
	}
	if u, err := url.Parse(c.URL); err == nil && u.Host != "" {
		p.To = u.Scheme + "://" + u.Host + u.EscapedPath()
	}
	for _, one := range slices.Backward(s.account.Pushes()) {
		p.Last = append(p.Last, pushed{one.Time.In(beijing).Format(time.TimeOnly), one})
	}
	return p
}

// modeName returns the name of a mode.
func modeName(m wechatusertest.PushMode, l language) string {
	zh := map[wechatusertest.PushMode]string{
		wechatusertest.PushPlain: "明文模式", wechatusertest.PushCompatible: "兼容模式", wechatusertest.PushSafe: "安全模式",
	}
	return l.tr(string(m), cmp.Or(zh[m], string(m)))
}

// statusName returns the name of a status.
func statusName(s wechatusertest.PushStatus, l language) string {
	zh := map[wechatusertest.PushStatus]string{
		wechatusertest.PushPending: "等待中", wechatusertest.PushDelivered: "已送达",
		wechatusertest.PushFailed: "失败", wechatusertest.PushDropped: "已丢弃",
	}
	return l.tr(string(s), cmp.Or(zh[s], string(s)))
}
