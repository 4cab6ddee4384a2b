package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// status is the result of a check.
type status string

const (
	ok      status = "ok"
	warn    status = "warn"
	fail    status = "FAIL"
	skipped status = "skipped"
)

// check is the outcome of one check.
type check struct {
	name    string
	status  status
	finding string
	remedy  string // empty if there is nothing to do
}

// diagnosis is the outcome of all checks.
type diagnosis struct {
	checks        []check
	calls, tokens int // requests sent: API calls and token requests
}

func (d *diagnosis) add(name string, s status, finding, remedy string) {
	d.checks = append(d.checks, check{name, s, finding, remedy})
}

// skip adds checks that could not be run.
func (d *diagnosis) skip(reason string, names ...string) {
	for _, name := range names {
		d.add(name, skipped, reason, "")
	}
}

// addError adds a check that failed with an error of the SDK.
func (d *diagnosis) addError(name string, err error) {
	s, finding := fail, err.Error()
	remedy := "check what is between this machine and WeChat: a proxy, a firewall or a gateway"
	if errors.Is(err, wechatuser.ErrTemporary) {
		s, remedy = warn, "this may be temporary: try again; if it persists, "+remedy
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		finding, remedy = explain(e), e.Remedy()
	}
	d.add(name, s, finding, remedy)
}

const (
	ridMark = ", rid " // stands before the rid of an error
	ridPage = "https://developers.weixin.qq.com/console/devtools/debug?tab=errorDiag"
)

// explain describes an error of the platform in English and Chinese.
func explain(e *wechatuser.Error) string {
	text := fmt.Sprintf("%s failed with errcode %d", e.API, e.Code)
	if meaning := e.Code.Meaning(); meaning != "" {
		text += fmt.Sprintf(": %s (%s)", meaning, e.Code.MeaningZH())
	} else {
		text += ": " + e.Message
	}
	if e.RID != "" {
		text += ridMark + e.RID
	}
	return text
}

func (d *diagnosis) count(s status) (n int) {
	for _, c := range d.checks {
		if c.status == s {
			n++
		}
	}
	return n
}

func (d *diagnosis) print(out io.Writer) {
	const line = "%-7s  %-33s %s\n"
	rids := ""
	for _, c := range d.checks {
		if strings.Contains(c.finding, ridMark) {
			rids = "\nWeChat explains a rid for seven days: " + ridPage + "\n"
		}
		fmt.Fprintf(out, line, c.status, c.name, c.finding)
		if c.remedy != "" {
			fmt.Fprintf(out, line, "", "", "-> "+c.remedy)
		}
	}
	fmt.Fprint(out, rids)
	fmt.Fprintf(out, "\nok %d, warn %d, FAIL %d, skipped %d. "+
		"Requests sent: API calls %d, token requests %d. Nothing was changed.\n",
		d.count(ok), d.count(warn), d.count(fail), d.count(skipped), d.calls, d.tokens)
}
