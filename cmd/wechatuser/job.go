package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

type (
	describer func(people string) string
	openIDSeq = iter.Seq2[string, error]
	bulkJob   func(openIDSeq, ...wechatuser.BulkOption) (*wechatuser.BulkReport, error)
)

// job is a command that changes any number of followers.
type job struct {
	words   int // number of arguments before the openids
	path    string
	batch   int
	check   func(ctx context.Context, args []string) error // of the arguments; nil if there is nothing to check
	prepare func(ctx context.Context, c *wechatuser.Client, args []string) (describer, bulkJob, error)
}

// jobCommand completes the command of a job: it reads the openids, asks for confirmation, runs the job and prints its
// report.
func (a *app) jobCommand(cmd *cobra.Command, j job) *cobra.Command {
	var file, after string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if j.check != nil {
			if err := j.check(ctx, args); err != nil {
				return err
			}
		}
		list, err := a.readOpenIDs(args[j.words:], file)
		if err != nil {
			return err
		}
		if err := a.skipTo(list, after); err != nil {
			return err
		}
		c, err := a.client(ctx)
		if err != nil {
			return err
		}
		return a.runJob(ctx, c, j, args, list, after)
	}
	a.openIDFlag(cmd, &file)
	a.afterFlag(cmd, &after)
	return a.command(cmd)
}

// afterFlag adds the flag with which a stopped run is continued.
func (a *app) afterFlag(cmd *cobra.Command, after *string) {
	cmd.Flags().StringVar(after, "after", "", a.tr("go on after this `openid`, as a stopped run said",
		"从此 `openid` 之后继续（停止时会给出）"))
}

// runJob asks for confirmation, runs a job and prints its report.
func (a *app) runJob(ctx context.Context, c *wechatuser.Client, j job, args []string, list *openIDs, after string) error {
	describe, work, err := j.prepare(ctx, c, args)
	if err != nil {
		return err
	}
	text := describe(a.count(len(list.ids), "follower", "followers", "个用户"))
	if err := a.confirm(ctx, c, plan{text, j.path, callsFor(len(list.ids), j.batch)}); err != nil {
		return err
	}
	bar := a.newProgress(a.tr("Openids", "openid"), len(list.ids))
	report, err := work(untilInterrupted(a, wechatuser.OpenIDs(list.ids...)),
		wechatuser.WithProgress(func(p wechatuser.Progress) { bar.set(p.Done) }))
	bar.finish()
	return a.printReport(report, err, list, after)
}

// skipTo drops the openids up to the one after which a stopped run continues.
func (a *app) skipTo(l *openIDs, after string) error {
	if after == "" {
		return nil
	}
	i := slices.Index(l.ids, after)
	if i < 0 {
		return usageError(fmt.Sprintf(a.tr("--after %s is not in %s", "--after 指定的 %s 不在列表中（%s）"), after, l.name))
	}
	l.ids = l.ids[i+1:]
	return nil
}

// rejectedJSON is a rejected openid in the JSON of a report.
type rejectedJSON struct {
	OpenID  string `json:"openid"`
	Errcode int    `json:"errcode,omitempty"`
	Error   string `json:"error"`
}

func (a *app) rejectedJSON(failed []wechatuser.OpenIDError) []rejectedJSON {
	rejected := []rejectedJSON{}
	for _, f := range failed {
		one := rejectedJSON{OpenID: f.OpenID, Error: a.explain(f.Err)}
		if e := (*wechatuser.Error)(nil); errors.As(f.Err, &e) {
			one.Errcode = int(e.Code)
		}
		rejected = append(rejected, one)
	}
	return rejected
}

// printReport prints the report of a job, and how to continue if it was stopped.
func (a *app) printReport(report *wechatuser.BulkReport, err error, list *openIDs, after string) error {
	be := (*wechatuser.BulkError)(nil)
	if err != nil && !errors.As(err, &be) {
		return err
	}
	stopped := be != nil && be.Stopped()
	resume := ""
	if stopped {
		resume = cmp.Or(report.ResumeAfter, after)
	}
	rejected, unknown := splitFailed(report.Failed)
	left := len(list.ids) - report.Total
	if a.json {
		printErr := a.printJSON(map[string]any{
			"applied": report.Applied, "rejected": a.rejectedJSON(rejected), "unknown": a.rejectedJSON(unknown), "not_reached": left,
			"calls": report.Calls, "stopped": stopped, "after": resume,
		})
		return errors.Join(printErr, a.short(err, be))
	}
	fmt.Fprintf(a.out, a.tr("%d done, %d rejected%s. API calls: %d.\n", "成功 %d 个，被拒绝 %d 个%s。接口调用 %d 次。\n"),
		report.Applied, len(rejected), a.unsettled(len(unknown), left), report.Calls)
	a.printRejected(a.out, a.tr("rejected", "个被拒绝"), rejected, list)
	a.printUnknown(unknown, list)
	if stopped {
		if resume == "" {
			fmt.Fprintln(a.out, a.tr("Stopped. To go on, run it again; what is done already stays done.",
				"已停止。重新执行即可继续，已完成的不受影响。"))
		} else {
			fmt.Fprintf(a.out, a.tr("Stopped. To go on, add: --after %s\n", "已停止。如需继续，请添加：--after %s\n"), resume)
		}
	}
	return a.short(err, be)
}

// unsettled describes how many openids have an unknown outcome and how many were not reached, if any.
func (a *app) unsettled(unknown, left int) (text string) {
	if unknown > 0 {
		text += fmt.Sprintf(a.tr(", %d unknown", "，结果未知 %d 个"), unknown)
	}
	if left > 0 {
		text += fmt.Sprintf(a.tr(", %d not reached", "，未处理 %d 个"), left)
	}
	return text
}

// printUnknown prints the openids for which it is unknown whether the change was made.
func (a *app) printUnknown(unknown []wechatuser.OpenIDError, list *openIDs) {
	if len(unknown) == 0 {
		return
	}
	a.printRejected(a.out, a.tr("unknown", "个结果未知"), unknown, list)
	fmt.Fprintln(a.out, a.tr("Unknown: no response says whether it was done. To do it again does no harm.",
		"结果未知：没有收到明确的响应，不确定是否已执行；可放心重复执行。"))
}

// short returns the error of a job without the openids that the report has already named.
func (a *app) short(err error, be *wechatuser.BulkError) error {
	switch {
	case be == nil:
		return err
	case be.Stopped():
		return &exitError{exitStopped, be.Err}
	default:
		text := a.tr("some openids were rejected", "部分 openid 被拒绝")
		if slices.ContainsFunc(be.Report.Failed, func(f wechatuser.OpenIDError) bool { return isUnknown(f.Err) }) {
			text = a.tr("not all openids are done", "部分 openid 未成功")
		}
		return &exitError{exitRejected, errors.New(text)}
	}
}

// printRejected prints the rejected openids, grouped by errcode.
func (a *app) printRejected(out io.Writer, what string, failed []wechatuser.OpenIDError, list *openIDs) {
	type reason struct {
		code wechatuser.Code // 0 if the error is not from the platform
		text string
	}
	groups := make(map[reason][]string)
	for _, f := range failed {
		key := reason{text: a.explain(f.Err)}
		if e := (*wechatuser.Error)(nil); errors.As(f.Err, &e) {
			key = reason{e.Code, fmt.Sprintf("%d, %s: %s", e.Code, e.Code.Meaning(), e.Code.Remedy())}
			if a.chinese {
				key.text = fmt.Sprintf("%d，%s：%s", e.Code, e.Code.MeaningZH(), e.Code.RemedyZH())
			}
		}
		id := visible(f.OpenID)
		if line := list.lines[id]; line > 0 {
			id += fmt.Sprintf(a.tr("  line %d", "  第 %d 行"), line)
		}
		groups[key] = append(groups[key], id)
	}
	byCode := func(x, y reason) int { return cmp.Or(cmp.Compare(x.code, y.code), cmp.Compare(x.text, y.text)) }
	for _, key := range slices.SortedFunc(maps.Keys(groups), byCode) {
		fmt.Fprintf(out, a.tr("%d %s: %s\n  %s\n", "%d %s：%s\n  %s\n"),
			len(groups[key]), what, visible(key.text), strings.Join(groups[key], "\n  "))
	}
}
