package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/wechatuser/wechatuser"
)

// status is what came of a check.
type status string

const (
	ok      status = "ok"
	warn    status = "warn"
	fail    status = "FAIL"
	skipped status = "skipped"
)

// check is one thing that was looked at.
type check struct {
	name   string
	status status
	seen   string // what was found
	do     string // what to do about it, empty if nothing
}

// diagnosis is all that was looked at.
type diagnosis struct {
	checks        []check
	calls, tokens int // requests that were sent: API calls, and those for tokens
}

func (d *diagnosis) add(name string, s status, seen, do string) {
	d.checks = append(d.checks, check{name, s, seen, do})
}

// skip says of these checks that they could not be made.
func (d *diagnosis) skip(why string, names ...string) {
	for _, name := range names {
		d.add(name, skipped, why, "")
	}
}

// addError adds a check that failed with an error of the SDK.
func (d *diagnosis) addError(name string, err error) {
	s, seen, do := fail, err.Error(), "look at what stands between this machine and WeChat: a proxy, a firewall, a gateway"
	if errors.Is(err, wechatuser.ErrTemporary) {
		s, do = warn, "this may pass: try again; if it stays, "+do
	}
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		seen, do = explain(e), e.Code.Remedy()
	}
	d.add(name, s, seen, do)
}

// explain says in English and Chinese what a refusal means.
func explain(e *wechatuser.Error) string {
	text := fmt.Sprintf("%s is refused with %d", e.API, e.Code)
	if meaning := e.Code.Meaning(); meaning != "" {
		text += fmt.Sprintf(": %s (%s)", meaning, e.Code.MeaningZH())
	} else {
		text += ": " + e.Message
	}
	if e.RID != "" {
		text += ", rid " + e.RID
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
	for _, c := range d.checks {
		fmt.Fprintf(out, line, c.status, c.name, c.seen)
		if c.do != "" {
			fmt.Fprintf(out, line, "", "", "-> "+c.do)
		}
	}
	fmt.Fprintf(out, "\nok %d, warn %d, FAIL %d, skipped %d. Sent: API calls %d, token requests %d. Nothing was changed.\n",
		d.count(ok), d.count(warn), d.count(fail), d.count(skipped), d.calls, d.tokens)
}
