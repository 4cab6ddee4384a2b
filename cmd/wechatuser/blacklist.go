package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

func (a *app) blacklistCommand() *cobra.Command {
	var f listFlags
	cmd := a.command(&cobra.Command{
		Use:     "blacklist",
		Short:   a.tr("List or count the blacklist; add, remove", "列出或统计黑名单；拉黑、取消拉黑"),
		Example: "  wechatuser blacklist --count\n  wechatuser blacklist add oABC…",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			if err := a.checkList(f); err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			return a.printList(f, func() (*wechatuser.OpenIDPage, error) { return c.GetBlacklist(ctx, "") },
				func(opts ...wechatuser.ListOption) iter.Seq2[string, error] { return c.AllBlacklist(ctx, opts...) })
		},
	})
	a.listFlags(cmd, &f)
	cmd.AddCommand(
		a.jobCommand(&cobra.Command{
			Use:     "add [OPENID…]",
			Short:   a.tr("Block followers", "拉黑用户"),
			Example: "  wechatuser blacklist add -f openids.txt",
		}, job{
			path: "/cgi-bin/tags/members/batchblacklist", batch: wechatuser.MaxBlacklistBatch,
			prepare: func(ctx context.Context, c *wechatuser.Client, _ []string) (describer, bulkJob, error) {
				describe := func(people string) string { return fmt.Sprintf(a.tr("Block %s.", "拉黑 %s。"), people) }
				return describe, func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
					return c.BulkBlacklist(ctx, ids, opts...)
				}, nil
			},
		}),
		a.jobCommand(&cobra.Command{
			Use:     "remove [OPENID…]",
			Short:   a.tr("Unblock users", "取消拉黑用户"),
			Example: "  wechatuser blacklist remove oABC…",
		}, job{
			path: "/cgi-bin/tags/members/batchunblacklist", batch: wechatuser.MaxBlacklistBatch,
			prepare: func(ctx context.Context, c *wechatuser.Client, _ []string) (describer, bulkJob, error) {
				describe := func(people string) string { return fmt.Sprintf(a.tr("Unblock %s.", "取消拉黑 %s。"), people) }
				return describe, func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
					return c.BulkUnblacklist(ctx, ids, opts...)
				}, nil
			},
		}),
	)
	return cmd
}
