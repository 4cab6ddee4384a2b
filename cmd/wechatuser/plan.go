package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/wechatuser/wechatuser"
)

// plan is a change that a command is about to make.
type plan struct {
	text  string // what it does
	path  string // the endpoint of its calls
	calls int
}

// confirm prints plans, with the calls that they take and that are left today, and asks whether to go on.
func (a *app) confirm(ctx context.Context, c *wechatuser.Client, plans ...plan) error {
	tooMany := false
	for _, p := range plans {
		fmt.Fprintln(a.err, p.text)
		quota, err := c.GetAPIQuota(ctx, p.path)
		n := a.count(p.calls, "API call", "API calls", "次接口调用")
		switch {
		case err == nil:
			fmt.Fprintf(a.err, a.tr("It takes %s; %d of %d are left today.\n", "需要 %s；当日额度 %[3]d 次，剩余 %[2]d 次。\n"),
				n, quota.Remain, quota.DailyLimit)
			tooMany = tooMany || p.calls > quota.Remain
		case errors.Is(err, wechatuser.ErrCredential):
			return err
		default:
			fmt.Fprintf(a.err, a.tr("It takes %s; how many are left today is not known: %s\n", "需要 %s；无法查询当日剩余额度：%s\n"),
				n, a.explain(err))
		}
	}
	switch {
	case a.isInterrupted():
		return a.declined(a.tr("interrupted", "已中断"))
	case tooMany && !a.anyway:
		return a.declined(a.tr("today's quota is too small: wait until midnight (UTC+8), or use --over-quota to stop where it ends",
			"当日额度不足：请等到次日零点，或使用 --over-quota，额度用尽时停止，之后可继续"))
	case a.yes, a.settings.sandbox && a.settings.state == "":
		return nil
	case !isTerminal(a.in):
		return a.declined(a.tr("to go on without a question, use --yes", "如需不经询问直接执行，请使用 --yes"))
	case !a.ask(a.tr("Go on?", "是否继续？")):
		if a.isInterrupted() {
			fmt.Fprintln(a.err)
			return a.declined(a.tr("interrupted", "已中断"))
		}
		return a.declined(a.tr("you did not say yes", "你没有确认"))
	}
	return nil
}

func (a *app) declined(reason string) error {
	return &exitError{exitDeclined, errors.New(a.tr("nothing was changed: ", "未做任何修改：") + reason)}
}

// calls returns how many calls a number of openids take.
func calls(openIDs, batch int) int { return (openIDs + batch - 1) / batch }
