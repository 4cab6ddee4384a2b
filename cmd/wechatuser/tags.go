package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

func asOpenIDError(err error, one **wechatuser.OpenIDError) bool { return errors.As(err, one) }

// findTag returns a tag by its name or its ID.
func (a *app) findTag(ctx context.Context, c *wechatuser.Client, name string) (wechatuser.Tag, error) {
	tags, err := c.GetTags(ctx)
	if err != nil {
		return wechatuser.Tag{}, err
	}
	for _, t := range tags {
		if t.Name == name {
			return t, nil
		}
	}
	for _, t := range tags {
		if strconv.Itoa(t.ID) == name {
			return t, nil
		}
	}
	return wechatuser.Tag{}, &noTagError{
		fmt.Sprintf(a.tr("no tag %q; see: wechatuser tags", "没有标签 %q；查看全部标签：wechatuser tags"), name)}
}

// noTagError says that there is no such tag.
type noTagError struct{ text string }

func (e *noTagError) Error() string { return e.text }

func isNoTag(err error) bool {
	missing := (*noTagError)(nil)
	return errors.As(err, &missing)
}

func (a *app) tagsCommand() *cobra.Command {
	cmd := a.command(&cobra.Command{
		Use:   "tags",
		Short: a.tr("List tags; create, rename, delete, add, remove", "列出标签；创建、改名、删除，打标签、取消标签"),
		Example: `  wechatuser tags
  wechatuser tags add vip -f openids.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			tags, err := c.GetTags(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				if tags == nil {
					tags = []wechatuser.Tag{}
				}
				return a.printJSON(tags)
			}
			t := a.table("ID", a.tr("NAME", "名称"), a.tr("FOLLOWERS", "用户数"))
			for _, tag := range tags {
				t.row(strconv.Itoa(tag.ID), tag.Name, strconv.Itoa(tag.Count))
			}
			return t.flush()
		},
	})
	cmd.AddCommand(a.createTagCommand(), a.renameTagCommand(), a.deleteTagCommand(), a.addTagCommand(), a.removeTagCommand())
	return cmd
}

func (a *app) createTagCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:     "create NAME",
		Short:   a.tr("Create a tag, or find the one of this name", "创建标签；同名标签已存在时直接返回"),
		Example: "  wechatuser tags create vip",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			p := plan{fmt.Sprintf(a.tr("Create the tag %q if it does not exist.", "创建标签 %q（已存在则不变）。"), args[0]), "/cgi-bin/tags/create", 1}
			if err := a.confirm(cmd.Context(), c, p); err != nil {
				return err
			}
			tag, err := c.EnsureTag(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(tag)
			}
			_, err = fmt.Fprintln(a.out, tag.ID)
			return err
		},
	})
}

// onTag returns what runs a change of one tag, named by the first argument.
func (a *app) onTag(
	describe func(wechatuser.Tag, []string) string, path string,
	change func(context.Context, *wechatuser.Client, wechatuser.Tag, []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client(cmd.Context())
		if err != nil {
			return err
		}
		tag, err := a.findTag(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if err := a.confirm(cmd.Context(), c, plan{describe(tag, args), path, 1}); err != nil {
			return err
		}
		return change(cmd.Context(), c, tag, args)
	}
}

func (a *app) renameTagCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:     "rename TAG NAME",
		Short:   a.tr("Rename a tag", "修改标签名"),
		Example: "  wechatuser tags rename vip gold",
		Args:    cobra.ExactArgs(2),
		RunE: a.onTag(func(t wechatuser.Tag, args []string) string {
			return fmt.Sprintf(a.tr("Rename the tag %q (%d) to %q.", "将标签 %q（%d）改名为 %q。"), t.Name, t.ID, args[1])
		}, "/cgi-bin/tags/update", func(ctx context.Context, c *wechatuser.Client, t wechatuser.Tag, args []string) error {
			return c.UpdateTag(ctx, t.ID, args[1])
		}),
	})
}

func (a *app) deleteTagCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:     "delete TAG",
		Short:   a.tr("Delete a tag", "删除标签"),
		Example: "  wechatuser tags delete vip",
		Args:    cobra.ExactArgs(1),
		RunE: a.onTag(func(t wechatuser.Tag, _ []string) string {
			return fmt.Sprintf(a.tr("Delete the tag %q (%d), which %s have.", "删除标签 %q（%d），该标签下有 %s。"), t.Name, t.ID,
				a.count(t.Count, "follower", "followers", "个用户"))
		}, "/cgi-bin/tags/delete", func(ctx context.Context, c *wechatuser.Client, t wechatuser.Tag, _ []string) error {
			return c.DeleteTag(ctx, t.ID)
		}),
	})
}

func (a *app) addTagCommand() *cobra.Command {
	return a.jobCommand(&cobra.Command{
		Use:     "add TAG [OPENID…]",
		Short:   a.tr("Tag followers; the tag is created if it does not exist", "为用户打标签；标签不存在时自动创建"),
		Example: "  wechatuser tags add vip -f openids.txt",
		Args:    cobra.MinimumNArgs(1),
	}, a.tagJob())
}

// tagJob is the job that tags followers with the first argument.
func (a *app) tagJob() job {
	return job{
		words: 1, path: "/cgi-bin/tags/members/batchtagging", batch: wechatuser.MaxTaggingBatch,
		describe: func(args []string, people string) string {
			return fmt.Sprintf(a.tr("Tag %[2]s with %[1]q.", "为 %[2]s打上标签 %[1]q。"), args[0], people)
		},
		prepare: func(ctx context.Context, c *wechatuser.Client, args []string) (bulkJob, error) {
			tag, err := c.EnsureTag(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
				return c.BulkTagging(ctx, tag.ID, ids, opts...)
			}, nil
		},
	}
}

func (a *app) removeTagCommand() *cobra.Command {
	return a.jobCommand(&cobra.Command{
		Use:     "remove TAG [OPENID…]",
		Short:   a.tr("Untag followers", "取消用户的标签"),
		Example: "  wechatuser tags remove vip oABC…",
		Args:    cobra.MinimumNArgs(1),
	}, job{
		words: 1, path: "/cgi-bin/tags/members/batchuntagging", batch: wechatuser.MaxTaggingBatch,
		describe: func(args []string, people string) string {
			return fmt.Sprintf(a.tr("Remove the tag %[1]q from %[2]s.", "取消 %[2]s的标签 %[1]q。"), args[0], people)
		},
		prepare: func(ctx context.Context, c *wechatuser.Client, args []string) (bulkJob, error) {
			tag, err := a.findTag(ctx, c, args[0])
			if err != nil {
				return nil, err
			}
			return func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
				return c.BulkUntagging(ctx, tag.ID, ids, opts...)
			}, nil
		},
	})
}
