package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/chinese"
)

// Status is the result of a check.
type Status string

// The results of a check.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Skipped Status = "skipped"
)

// Finding is the outcome of one check.
type Finding struct {
	Check  string `json:"check"` // its name, the same in all languages
	Status Status `json:"status"`
	Text   string `json:"finding"`
	Remedy string `json:"remedy,omitempty"` // empty if there is nothing to do
	RID    string `json:"rid,omitempty"`    // of the error in Text
}

// Diagnosis is the outcome of all checks.
type Diagnosis struct {
	Findings      []Finding
	Calls         int // API calls sent
	TokenRequests int // token requests sent

	chinese bool
}

// Count returns the number of checks with a result.
func (d *Diagnosis) Count(s Status) (n int) {
	for _, f := range d.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Label returns the name of a check in the language of the diagnosis.
func (d *Diagnosis) Label(check string) string {
	if !d.chinese {
		return check
	}
	if path, ok := strings.CutPrefix(check, "quota "); ok {
		return "额度 " + path
	}
	if api, ok := strings.CutPrefix(check, "right "); ok {
		return "权限 " + api
	}
	return cmp.Or(map[string]string{
		"address": "地址", clockCheck: "时钟", credentialCheck: "AppID 和 AppSecret", whitelistCheck: "IP 白名单",
		"quotas": "额度", "rights": "权限", "store": "存储", "lock": "锁",
	}[check], check)
}

// tr returns the text in the language of the diagnosis.
func (d *Diagnosis) tr(english, chinese string) string {
	if d.chinese {
		return chinese
	}
	return english
}

func (d *Diagnosis) add(check string, s Status, text, remedy string) {
	d.Findings = append(d.Findings, Finding{Check: check, Status: s, Text: text, Remedy: remedy})
}

// skip adds checks that could not be run.
func (d *Diagnosis) skip(reason string, checks ...string) {
	for _, check := range checks {
		d.add(check, Skipped, reason, "")
	}
}

// noSecret adds the checks for an app secret that its source does not return.
func (d *Diagnosis) noSecret(err error) {
	text := d.tr("the app secret is empty", "AppSecret 为空")
	if err != nil {
		text = fmt.Sprintf(d.tr("the app secret cannot be read: %v", "无法读取 AppSecret：%v"), d.said(err))
	}
	d.skip(d.tr("unknown without a token", "没有 access_token，无法判断"), clockCheck)
	d.add(credentialCheck, Fail, text, d.tr("check the command or the file that the secret comes from",
		"检查提供 AppSecret 的命令或文件"))
	d.skip(d.tr("unknown without a token", "没有 access_token，无法判断"), whitelistCheck)
}

// addError adds a check that failed with an error of the SDK.
func (d *Diagnosis) addError(check string, err error) {
	s, text, rid := Fail, d.said(err), ""
	remedy := d.tr("check what is between this machine and WeChat: a proxy, a firewall or a gateway",
		"检查本机与微信之间的代理、防火墙或网关")
	if errors.Is(err, wechatuser.ErrTemporary) {
		s, remedy = Warn, d.tr("this may be temporary: try again; if it persists, ", "可能是暂时的，请重试；如仍如此，请")+remedy
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		text, remedy, rid = d.explain(e), d.remedy(e), e.RID
	}
	d.Findings = append(d.Findings, Finding{check, s, text, remedy, rid})
}

// said returns the text of an error, in Chinese with the original text.
func (d *Diagnosis) said(err error) string {
	if d.chinese {
		if text, cause := chinese.Explain(err); cause != nil {
			return strings.Replace(err.Error(), cause.Error(), text, 1)
		}
	}
	return err.Error()
}

// explain describes an error of the platform. The English text has the Chinese meaning too, which the platform's pages
// have.
func (d *Diagnosis) explain(e *wechatuser.Error) string {
	text := fmt.Sprintf(d.tr("%s failed with errcode %d", "%s 失败，错误码 %d"), e.API, e.Code)
	switch {
	case e.Code.Meaning() == "":
		text += d.tr(": ", "：") + e.Message
	case d.chinese:
		text += "：" + e.Code.MeaningZH()
	default:
		text += fmt.Sprintf(": %s (%s)", e.Code.Meaning(), e.Code.MeaningZH())
	}
	if e.RID != "" {
		text += d.tr(", rid ", "，rid ") + e.RID
	}
	return text
}

// remedy returns what to do about an error of the platform.
func (d *Diagnosis) remedy(e *wechatuser.Error) string {
	if zh := e.Code.RemedyZH(); d.chinese && zh != "" {
		return zh
	}
	return e.Remedy()
}
