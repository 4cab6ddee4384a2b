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

// confirm prints a plan with the calls that it takes and that are left today, and asks whether to go on.
func (a *app) confirm(ctx context.Context, c *wechatuser.Client, p plan) error {
	fmt.Fprintln(a.err, p.text)
	left, limit, err := remaining(ctx, c, p.path)
	calls := a.count(p.calls, "API call", "API calls", "次接口调用")
	switch {
	case err == nil:
		fmt.Fprintf(a.err, a.tr("It takes %s; %d of %d are left today.\n", "需要 %s；当日额度 %[3]d 次，剩余 %[2]d 次。\n"), calls, left, limit)
	case errors.Is(err, wechatuser.ErrCredential):
		return err
	default:
		fmt.Fprintf(a.err, a.tr("It takes %s; how many are left today is not known: %v\n", "需要 %s；无法查询当日剩余额度：%v\n"), calls, err)
	}
	if err == nil && p.calls > left && !a.anyway {
		return &exitError{exitDeclined, errors.New(a.tr(
			"nothing was changed: today's quota is too small; wait until midnight (UTC+8), or use --over-quota to stop where it ends",
			"未做任何修改：当日额度不足；请等到次日零点，或使用 --over-quota，额度用尽时停止，之后可继续"))}
	}
	if a.yes || a.settings.sandbox && a.settings.state == "" {
		return nil
	}
	if !isTerminal(a.in) {
		return &exitError{exitDeclined, errors.New(a.tr(
			"nothing was changed: use --yes to go on without a question", "未做任何修改：如需不经询问直接执行，请使用 --yes"))}
	}
	if !a.ask(a.tr("Go on?", "是否继续？")) {
		return &exitError{exitDeclined, errors.New(a.tr("nothing was changed", "未做任何修改"))}
	}
	return nil
}

// remaining returns how many calls of an endpoint are left today.
func remaining(ctx context.Context, c *wechatuser.Client, path string) (left, limit int, err error) {
	quota, err := c.GetAPIQuota(ctx, path)
	if err != nil {
		return 0, 0, err
	}
	return quota.Remain, quota.DailyLimit, nil
}

// calls returns how many calls a number of openids take.
func calls(openIDs, batch int) int { return (openIDs + batch - 1) / batch }
