package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// blacklistName is the argument of sync that means the blacklist instead of a tag.
const blacklistName = "blacklist"

// syncTarget is the list that sync makes equal to a file: the followers of a tag, or the blacklist.
type syncTarget struct {
	what             string // for messages
	adding, removing string // paths of its calls
	batch            int
	size             int  // current number
	missing          bool // a tag that does not exist yet
	add, remove      []string
	unchanged        int
	run              func(context.Context, openIDSeq, ...wechatuser.SyncOption) (*wechatuser.SyncReport, error)
}

func (a *app) syncCommand() *cobra.Command {
	var keep, force, dryRun, byName bool
	cmd := a.command(&cobra.Command{
		Use:   "sync TAG|blacklist FILE",
		Short: a.tr("Make a tag or the blacklist match a file", "使标签或黑名单与文件一致"),
		Long: a.tr(`Make the followers of a tag, or the blacklist, match a file of openids: who is missing is added, who is not in the
file is removed. The plan is shown first. Nobody is removed if adding was stopped, and more than half of a list is
removed only with --force.`,
			`使标签下的用户或黑名单与 openid 文件一致：缺少的加入，文件中没有的移除。执行前先显示计划。
加入过程中断时不会移除任何用户；移除超过一半的用户必须加 --force。`),
		Example: `  wechatuser sync vip members.txt --dry-run
  wechatuser sync vip members.txt
  wechatuser sync blacklist blocked.csv --yes`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, ref := cmd.Context(), tagRef{args[0], byName}
			if err := a.checkTag(ctx, ref, true); err != nil {
				return err
			}
			list, err := a.readOpenIDs(nil, args[1])
			if err != nil {
				return err
			}
			calls, count := countCalls()
			c, err := a.client(ctx, count)
			if err != nil {
				return err
			}
			bar := a.newWait(a.tr("Comparing", "正在比较"), calls)
			t, err := a.compare(ctx, c, ref, list, keep)
			bar.finish()
			if err != nil {
				return a.beforeChange(err)
			}
			if a.json && dryRun {
				return a.printJSON(map[string]any{
					"to_add": orEmpty(t.add), "to_remove": orEmpty(t.remove), "unchanged": t.unchanged, "members": t.size,
				})
			}
			a.printSyncPlan(t, list, keep)
			switch {
			case !t.missing && len(t.add)+len(t.remove) == 0:
				fmt.Fprintln(a.err, a.tr("Nothing to do.", "无需修改。"))
				if a.json {
					return a.printSyncReport(&wechatuser.SyncReport{Unchanged: t.unchanged}, nil, nil, list)
				}
				return nil
			case dryRun:
				fmt.Fprintln(a.err, a.tr("Dry run, nothing was changed.", "仅为预览，未做任何修改。"))
				return nil
			case 2*len(t.remove) > t.size && !force:
				return a.declined(fmt.Sprintf(a.tr("%d of %d would be removed, more than half; use --force if that is right",
					"将移除 %[2]d 个中的 %[1]d 个，超过一半；确认无误请加 --force"), len(t.remove), t.size))
			}
			if err := a.confirmSync(ctx, c, t); err != nil {
				return err
			}
			return a.runSync(ctx, c, t, args[0], list, keep)
		},
	})
	flags := cmd.Flags()
	flags.BoolVar(&keep, "keep", false, a.tr("remove nobody", "不移除任何用户"))
	flags.BoolVar(&force, "force", false, a.tr("allow removing more than half", "允许移除超过一半的用户"))
	a.byNameFlag(cmd, &byName)
	flags.BoolVar(&dryRun, "dry-run", false, a.tr("show the plan, change nothing", "只显示计划，不做修改"))
	return cmd
}

// beforeChange returns an error that occurred before the first change. After an interrupt it adds how to continue.
func (a *app) beforeChange(err error) error {
	if !a.isInterrupted() {
		return err
	}
	return &hintError{err, a.tr("Nothing was changed. To go on, run it again.", "未做任何修改。重新执行即可继续。")}
}

// compare determines what a sync would change.
func (a *app) compare(
	ctx context.Context, c *wechatuser.Client, ref tagRef, list *openIDs, keep bool,
) (*syncTarget, error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	t := &syncTarget{}
	if ref.text == blacklistName && !ref.byName {
		t.what = a.tr("The blacklist", "黑名单")
		t.adding, t.removing = "/cgi-bin/tags/members/batchblacklist", "/cgi-bin/tags/members/batchunblacklist"
		t.batch, t.run = wechatuser.MaxBlacklistBatch, c.SyncBlacklist
	} else {
		t.what = fmt.Sprintf(a.tr("The tag %q", "标签 %q "), ref.text)
		t.adding, t.removing = "/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging"
		t.batch = wechatuser.MaxTaggingBatch
		tag, err := a.findTag(ctx, c, ref)
		if isNoTag(err) {
			t.missing, t.add = true, list.ids
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		t.run = syncTag(c, tag.ID)
	}
	report, err := t.run(ctx, untilInterrupted(a, wechatuser.OpenIDs(list.ids...)), wechatuser.WithDryRun())
	if err != nil {
		return nil, err
	}
	t.size, t.unchanged = report.Unchanged+len(report.ToRemove), report.Unchanged
	if t.add = report.ToAdd; !keep {
		t.remove = report.ToRemove
	}
	return t, nil
}

func syncTag(
	c *wechatuser.Client, tagID int,
) func(context.Context, openIDSeq, ...wechatuser.SyncOption) (*wechatuser.SyncReport, error) {
	return func(ctx context.Context, ids openIDSeq, opts ...wechatuser.SyncOption) (*wechatuser.SyncReport, error) {
		return c.SyncTag(ctx, tagID, ids, opts...)
	}
}

// printSyncPlan prints what a sync would change.
func (a *app) printSyncPlan(t *syncTarget, list *openIDs, keep bool) {
	w := a.err
	fmt.Fprintf(w, a.tr("%s has %s", "%s：共 %s"), visible(list.name), a.count(len(list.ids), "openid", "openids", "个 openid"))
	if list.duplicates > 0 {
		fmt.Fprintf(w, a.tr(" and %d duplicates", "，另有 %d 个重复"), list.duplicates)
	}
	if t.missing {
		fmt.Fprintf(w, a.tr(". %s does not exist and is created.\n", "。%s不存在，将自动创建。\n"), t.what)
	} else {
		fmt.Fprintf(w, a.tr(". %s has %s.\n", "。%s现有 %s。\n"), t.what, a.count(t.size, "member", "members", "个用户"))
	}
	line := func(what string, n int, ids []string) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s %6d  %s", padRight(what, 10), n, strings.Join(a.firstN(ids, 3), ", ")), " "))
	}
	line(a.tr("to add", "加入"), len(t.add), t.add)
	line(a.tr("to remove", "移除"), len(t.remove), t.remove)
	line(a.tr("unchanged", "不变"), t.unchanged, nil)
	if keep {
		line(a.tr("kept", "保留"), t.size-t.unchanged, nil)
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// confirmSync asks for confirmation of the calls that add and, if there are any, of those that remove.
func (a *app) confirmSync(ctx context.Context, c *wechatuser.Client, t *syncTarget) error {
	var plans []plan
	if len(t.add) > 0 {
		text := fmt.Sprintf(a.tr("Add %d.", "加入 %d 个。"), len(t.add))
		plans = append(plans, plan{text, t.adding, callsFor(len(t.add), t.batch)})
	}
	if len(t.remove) > 0 {
		text := fmt.Sprintf(a.tr("Remove %d.", "移除 %d 个。"), len(t.remove))
		plans = append(plans, plan{text, t.removing, callsFor(len(t.remove), t.batch)})
	}
	return a.confirm(ctx, c, plans...)
}

func (a *app) runSync(
	ctx context.Context, c *wechatuser.Client, t *syncTarget, name string, list *openIDs, keep bool,
) error {
	if t.missing {
		tag, err := c.EnsureTag(ctx, name)
		if err != nil {
			return err
		}
		t.run = syncTag(c, tag.ID)
	}
	bar := a.newProgress(a.tr("Openids", "openid"), len(t.add)+len(t.remove))
	opts := []wechatuser.SyncOption{wechatuser.WithProgress(func(p wechatuser.Progress) { bar.set(p.Done) })}
	if keep {
		opts = append(opts, wechatuser.WithoutRemoval())
	}
	report, err := t.run(ctx, untilInterrupted(a, wechatuser.OpenIDs(list.ids...)), opts...)
	bar.finish()
	be := (*wechatuser.BulkError)(nil)
	if err != nil && !errors.As(err, &be) {
		return err
	}
	return a.printSyncReport(report, err, be, list)
}

func (a *app) printSyncReport(report *wechatuser.SyncReport, err error, be *wechatuser.BulkError, list *openIDs) error {
	added, addUnknown := splitFailed(report.Added.Failed)
	removed, removeUnknown := splitFailed(report.Removed.Failed)
	rejected, unknown := slices.Concat(added, removed), slices.Concat(addUnknown, removeUnknown)
	if a.json {
		printErr := a.printJSON(map[string]any{
			"added": report.Added.Applied, "removed": report.Removed.Applied, "unchanged": report.Unchanged,
			"rejected": a.rejectedJSON(rejected), "unknown": a.rejectedJSON(unknown), "calls": report.Calls,
			"stopped": be != nil && be.Stopped(),
		})
		return errors.Join(printErr, a.short(err, be))
	}
	fmt.Fprintf(a.out, a.tr("%d added, %d removed, %d unchanged, %d rejected%s. API calls: %d.\n",
		"加入 %d 个，移除 %d 个，不变 %d 个，被拒绝 %d 个%s。接口调用 %d 次。\n"), report.Added.Applied, report.Removed.Applied,
		report.Unchanged, len(rejected), a.unsettled(len(unknown), 0), report.Calls)
	a.printRejected(a.out, a.tr("could not be added", "个无法加入"), added, list)
	a.printRejected(a.out, a.tr("could not be removed", "个无法移除"), removed, list)
	a.printUnknown(unknown, list)
	if be != nil && be.Stopped() {
		fmt.Fprintln(a.out, a.tr("Stopped. Run it again to do the rest.", "已停止。重新执行即可完成剩余部分。"))
	}
	return a.short(err, be)
}
