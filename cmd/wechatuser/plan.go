package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/wechatuser/wechatuser"
)

// plan describes a change that a command is about to make.
type plan struct {
	text  string // what the change does
	path  string // the endpoint of its calls
	calls callRange
}

// callRange is the number of calls that a change makes.
type callRange struct {
	least int // if no openid is rejected
	most  int // if all are rejected; without retries
}

var oneCall = callRange{1, 1}

// callsFor returns the number of calls of a job for a number of openids. A job bisects a chunk with rejected openids,
// which takes up to 2n-1 calls for n openids.
func callsFor(openIDs, batch int) callRange {
	chunks := (openIDs + batch - 1) / batch
	return callRange{chunks, 2*openIDs - chunks}
}

// describeCalls describes the number of calls of a plan.
func (a *app) describeCalls(r callRange) string {
	text := a.count(r.least, "API call", "API calls", "次接口调用")
	if r.most > r.least {
		text += fmt.Sprintf(a.tr(" (at most %d if openids are rejected)", "（如有 openid 被拒绝，最多 %d 次）"), r.most)
	}
	return text
}

// confirm prints plans as showPlans does, and asks whether to continue.
func (a *app) confirm(ctx context.Context, c *wechatuser.Client, plans ...plan) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	if err := a.showPlans(ctx, c, plans...); err != nil {
		return err
	}
	switch {
	case a.yes, a.settings.sandbox && a.settings.state == "":
		return nil
	case !a.isTerminal(a.in):
		return a.declined(a.tr("to go on without confirmation, use --yes", "如需跳过确认直接执行，请使用 --yes"))
	case !a.ask(a.tr("Go on?", "是否继续？")):
		if a.isInterrupted() {
			fmt.Fprintln(a.err)
			return a.declined(a.tr("interrupted", "已中断"))
		}
		return a.declined(a.tr("you did not say yes", "未确认"))
	}
	return nil
}

// showPlans prints plans with the calls that they make and the calls that are left today. It refuses a plan if not even
// its least calls are left. If only its most calls are not left, it prints a warning, since that many are rarely needed;
// the job stops when the quota is used up.
func (a *app) showPlans(ctx context.Context, c *wechatuser.Client, plans ...plan) error {
	tooMany := false
	for _, p := range plans {
		fmt.Fprintln(a.err, p.text)
		quota, err := c.GetAPIQuota(ctx, p.path)
		n := a.describeCalls(p.calls)
		switch {
		case a.isInterrupted():
			return a.declined(a.tr("interrupted", "已中断"))
		case err == nil && quota.DailyLimit > 0:
			fmt.Fprintf(a.err, a.tr("It takes %s; %d of %d are left today.\n", "需要 %s；当日额度 %[3]d 次，剩余 %[2]d 次。\n"),
				n, quota.Remain, quota.DailyLimit)
			if p.calls.least > quota.Remain {
				tooMany = true
			} else if p.calls.most > quota.Remain {
				a.warn(a.tr("if many openids are rejected, today's quota may not be enough; the run then says how to go on",
					"如果大量 openid 被拒绝，当日额度会提前用尽；届时将停止，并给出继续的位置"))
			}
		case err == nil:
			fmt.Fprintf(a.err, a.tr("It takes %s; the platform reports no limit.\n", "需要 %s；平台未返回额度上限。\n"), n)
		case errors.Is(err, wechatuser.ErrCredential):
			return err
		default:
			fmt.Fprintf(a.err, a.tr("It takes %s; how many are left today is not known: %s\n", "需要 %s；无法查询当日剩余额度：%s\n"),
				n, a.explain(err))
		}
	}
	if tooMany && !a.anyway {
		return a.declined(a.tr("today's quota is too small: wait until midnight (UTC+8), or use --over-quota to stop where it ends",
			"当日额度不足：请等到次日零点（北京时间），或使用 --over-quota：额度用尽时停止，之后可继续"))
	}
	return nil
}

func (a *app) declined(reason string) error {
	return &exitError{exitDeclined, errors.New(a.tr("nothing was changed: ", "未做任何修改：") + reason)}
}
