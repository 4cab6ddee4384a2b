package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// tagRef is a tag as the user has named it: a number is an ID, and anything else is a name.
type tagRef struct {
	text   string
	byName bool // even if it is a number
}

func (r tagRef) isID() bool {
	return !r.byName && r.text != "" && strings.Trim(r.text, "0123456789") == ""
}

// byNameFlag adds the flag for a tag whose name is a number.
func (a *app) byNameFlag(cmd *cobra.Command, byName *bool) {
	cmd.Flags().BoolVar(byName, "name", false, a.tr("TAG is a name, even if it is a number", "TAG 即使是数字，也视为标签名而不是 ID"))
}

// checkTag checks a name of a tag; if the tag is to be created, like the SDK.
func (a *app) checkTag(ctx context.Context, r tagRef, mayBeNew bool) error {
	switch {
	case r.text == "":
		return usageError(a.tr("the name of the tag is empty", "标签名为空"))
	case mayBeNew && !r.isID():
		return checkTagName(ctx, r.text)
	}
	return nil
}

// findTag returns a tag. If there is no tag with a name, the error is a [*noTagError], since such a tag can be created.
func (a *app) findTag(ctx context.Context, c *wechatuser.Client, r tagRef) (wechatuser.Tag, error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	tags, err := c.GetTags(ctx)
	if err != nil {
		return wechatuser.Tag{}, err
	}
	named := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return t.Name == r.text })
	if r.isID() {
		for _, t := range tags {
			if strconv.Itoa(t.ID) == r.text {
				return t, nil
			}
		}
		text := fmt.Sprintf(a.tr("no tag has the ID %s; see: wechatuser tags", "没有 ID 为 %s 的标签；查看全部标签：wechatuser tags"), r.text)
		if named >= 0 {
			text += fmt.Sprintf(a.tr("; for the tag named %q, add --name", "；如需使用名为 %q 的标签，请加 --name"), r.text)
		} else {
			text += a.tr("; if it is a name, add --name", "；如果它是标签名，请加 --name")
		}
		return wechatuser.Tag{}, errors.New(text)
	}
	if named >= 0 {
		return tags[named], nil
	}
	return wechatuser.Tag{}, &noTagError{
		fmt.Sprintf(a.tr("no tag %q; see: wechatuser tags", "没有标签 %q；查看全部标签：wechatuser tags"), r.text)}
}

// noTagError is the error for a name that no tag has.
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
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			tags, err := c.GetTags(ctx)
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
			if err := checkTagName(cmd.Context(), args[0]); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			text := fmt.Sprintf(a.tr("Create the tag %q if it does not exist.", "创建标签 %q（已存在则不变）。"), args[0])
			p := plan{text, "/cgi-bin/tags/create", oneCall}
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

// tagChange is a change of one tag, named by the first argument.
type tagChange struct {
	path     string
	check    func(ctx context.Context, args []string) error
	describe func(t wechatuser.Tag, args []string) string
	change   func(ctx context.Context, c *wechatuser.Client, t wechatuser.Tag, args []string) (wechatuser.Tag, error)
}

// tagChangeCommand completes the command of a change of one tag.
func (a *app) tagChangeCommand(cmd *cobra.Command, change tagChange) *cobra.Command {
	var byName bool
	a.byNameFlag(cmd, &byName)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, ref := cmd.Context(), tagRef{args[0], byName}
		if err := a.checkTag(ctx, ref, false); err != nil {
			return err
		}
		if change.check != nil {
			if err := change.check(ctx, args); err != nil {
				return err
			}
		}
		c, err := a.client(ctx)
		if err != nil {
			return err
		}
		tag, err := a.findTag(ctx, c, ref)
		if err != nil {
			return err
		}
		if err := a.confirm(ctx, c, plan{change.describe(tag, args), change.path, oneCall}); err != nil {
			return err
		}
		tag, err = change.change(ctx, c, tag, args)
		if err == nil && a.json {
			err = a.printJSON(tag)
		}
		return err
	}
	return a.command(cmd)
}

func (a *app) renameTagCommand() *cobra.Command {
	return a.tagChangeCommand(&cobra.Command{
		Use:     "rename TAG NAME",
		Short:   a.tr("Rename a tag", "修改标签名"),
		Example: "  wechatuser tags rename vip gold\n  wechatuser tags rename 100 gold             # " + a.tr("by its ID", "按 ID"),
		Args:    cobra.ExactArgs(2),
	}, tagChange{
		path:  "/cgi-bin/tags/update",
		check: func(ctx context.Context, args []string) error { return checkTagName(ctx, args[1]) },
		describe: func(t wechatuser.Tag, args []string) string {
			return fmt.Sprintf(a.tr("Rename the tag %q (%d) to %q.", "将标签 %q（%d）改名为 %q。"), t.Name, t.ID, args[1])
		},
		change: func(ctx context.Context, c *wechatuser.Client, t wechatuser.Tag, args []string) (wechatuser.Tag, error) {
			err := c.UpdateTag(ctx, t.ID, args[1])
			t.Name = args[1]
			return t, err
		},
	})
}

func (a *app) deleteTagCommand() *cobra.Command {
	return a.tagChangeCommand(&cobra.Command{
		Use:     "delete TAG",
		Short:   a.tr("Delete a tag", "删除标签"),
		Example: "  wechatuser tags delete vip",
		Args:    cobra.ExactArgs(1),
	}, tagChange{
		path: "/cgi-bin/tags/delete",
		describe: func(t wechatuser.Tag, _ []string) string {
			return fmt.Sprintf(a.tr("Delete the tag %q (%d), which %s have.", "删除标签 %q（%d），该标签下有 %s。"), t.Name, t.ID,
				a.count(t.Count, "follower", "followers", "个用户"))
		},
		change: func(ctx context.Context, c *wechatuser.Client, t wechatuser.Tag, _ []string) (wechatuser.Tag, error) {
			return t, c.DeleteTag(ctx, t.ID)
		},
	})
}

func (a *app) addTagCommand() *cobra.Command {
	var byName bool
	cmd := &cobra.Command{
		Use:   "add TAG [OPENID…]",
		Short: a.tr("Tag followers; the tag is created if it does not exist", "为用户打标签；标签不存在时自动创建"),
		Long: a.tr("Tag followers. TAG is a name, or the ID of a tag that exists. A tag is created if none has the name.",
			"为用户打标签。TAG 为标签名，或已有标签的 ID。没有此名称的标签时自动创建。"),
		Example: "  wechatuser tags add vip -f openids.txt",
		Args:    cobra.MinimumNArgs(1),
	}
	a.byNameFlag(cmd, &byName)
	return a.jobCommand(cmd, a.tagJob(&byName))
}

// tagJob is the job that tags followers with the first argument.
func (a *app) tagJob(byName *bool) job {
	return job{
		words: 1, path: "/cgi-bin/tags/members/batchtagging", batch: wechatuser.MaxTaggingBatch,
		check: func(ctx context.Context, args []string) error { return a.checkTag(ctx, tagRef{args[0], *byName}, true) },
		prepare: func(ctx context.Context, c *wechatuser.Client, args []string) (describer, bulkJob, error) {
			tag, err := a.findTag(ctx, c, tagRef{args[0], *byName})
			isNew := isNoTag(err)
			if err != nil && !isNew {
				return nil, nil, err
			}
			describe := func(people string) string {
				if isNew {
					return fmt.Sprintf(a.tr("Create the tag %[1]q, and tag %[2]s with it.", "创建标签 %[1]q，并为 %[2]s打上该标签。"), args[0], people)
				}
				return fmt.Sprintf(a.tr("Tag %[3]s with %[1]q (%[2]d).", "为 %[3]s打上标签 %[1]q（%[2]d）。"), tag.Name, tag.ID, people)
			}
			return describe, func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
				if isNew {
					created, err := c.EnsureTag(ctx, args[0])
					if err != nil {
						return nil, err
					}
					tag = *created
				}
				return c.BulkTagging(ctx, tag.ID, ids, opts...)
			}, nil
		},
	}
}

func (a *app) removeTagCommand() *cobra.Command {
	var byName bool
	cmd := &cobra.Command{
		Use:     "remove TAG [OPENID…]",
		Short:   a.tr("Untag followers", "取消用户的标签"),
		Example: "  wechatuser tags remove vip oABC…",
		Args:    cobra.MinimumNArgs(1),
	}
	a.byNameFlag(cmd, &byName)
	return a.jobCommand(cmd, job{
		words: 1, path: "/cgi-bin/tags/members/batchuntagging", batch: wechatuser.MaxTaggingBatch,
		check: func(ctx context.Context, args []string) error { return a.checkTag(ctx, tagRef{args[0], byName}, false) },
		prepare: func(ctx context.Context, c *wechatuser.Client, args []string) (describer, bulkJob, error) {
			tag, err := a.findTag(ctx, c, tagRef{args[0], byName})
			if err != nil {
				return nil, nil, err
			}
			describe := func(people string) string {
				return fmt.Sprintf(a.tr("Remove the tag %[1]q (%[2]d) from %[3]s.", "取消 %[3]s的标签 %[1]q（%[2]d）。"), tag.Name, tag.ID, people)
			}
			return describe, func(ids openIDSeq, opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error) {
				return c.BulkUntagging(ctx, tag.ID, ids, opts...)
			}, nil
		},
	})
}
