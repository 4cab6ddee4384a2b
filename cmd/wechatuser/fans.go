package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// listFlags holds the flags of commands that list openids.
type listFlags struct {
	count bool
	limit int
	after string
}

func (a *app) listFlags(cmd *cobra.Command, f *listFlags) {
	flags := cmd.Flags()
	flags.BoolVar(&f.count, "count", false, a.tr("print how many there are", "只输出数量"))
	flags.IntVar(&f.limit, "limit", 0, a.tr("print the first `n` only", "只输出前 `n` 个"))
	flags.StringVar(&f.after, "after", "", a.tr("begin after this `openid`", "从此 `openid` 之后开始"))
}

// checkList checks the flags of a list.
func (a *app) checkList(f listFlags) error {
	if f.limit < 0 {
		return usageError(a.tr("--limit must not be negative", "--limit 不能为负数"))
	}
	return a.checkAfter(f.after)
}

// hint adds to an error how to continue, if any openid was printed.
func (a *app) hint(err error, last string) error {
	if last == "" {
		return err
	}
	return &hintError{err, fmt.Sprintf(a.tr("To go on, add: --after %s", "如需继续，请添加：--after %s"), last)}
}

// page reads the first page of a list, which has the total.
type page func() (*wechatuser.OpenIDPage, error)

// printList prints a list of openids, one per line.
func (a *app) printList(f listFlags, first page, all func(...wechatuser.ListOption) iter.Seq2[string, error]) error {
	if f.count {
		p, err := first()
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]int{"total": p.Total})
		}
		_, err = fmt.Fprintln(a.out, p.Total)
		return err
	}
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	total := f.limit
	if total == 0 {
		total = -1
	}
	if total < 0 && f.after == "" && a.isTerminal(a.err) && !a.isTerminal(a.out) { // one call more, for the time left
		p, err := first()
		if err != nil {
			return err
		}
		total = p.Total
	}
	bar := a.listProgress(a.tr("Openids", "openid"), total)
	defer bar.finish()
	n, last := 0, ""
	for id, err := range untilInterrupted(a, all(wechatuser.StartAfter(f.after))) {
		if err != nil {
			return a.hint(err, last)
		}
		line := id
		if a.json {
			text, _ := json.Marshal(map[string]string{"openid": id}) // a string can be written
			line = string(text)
		}
		if _, err := out.WriteString(line + "\n"); err != nil {
			return err
		}
		if n++; n == f.limit {
			break
		}
		last = id
		bar.set(n)
	}
	return out.Flush()
}

func (a *app) fansCommand() *cobra.Command {
	var f listFlags
	var tag string
	var byName bool
	cmd := a.command(&cobra.Command{
		Use:   "fans",
		Short: a.tr("List or count followers", "列出或统计用户"),
		Long: a.tr("List the openids of all followers, or of those who have a tag, one per line.",
			"列出全部用户或某个标签下用户的 openid，每行一个。"),
		Example: `  wechatuser fans --count
  wechatuser fans --tag vip > vip.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			ref := tagRef{tag, byName}
			err := a.checkList(f)
			if cmd.Flags().Changed("tag") {
				err = errors.Join(err, a.checkTag(ctx, ref, false))
			}
			if err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			if tag == "" {
				return a.printList(f, func() (*wechatuser.OpenIDPage, error) { return c.GetFans(ctx, "") },
					func(opts ...wechatuser.ListOption) iter.Seq2[string, error] { return c.AllFans(ctx, opts...) })
			}
			t, err := a.findTag(ctx, c, ref)
			if err != nil {
				return err
			}
			return a.printList(f, func() (*wechatuser.OpenIDPage, error) { return &wechatuser.OpenIDPage{Total: t.Count}, nil },
				func(opts ...wechatuser.ListOption) iter.Seq2[string, error] { return c.AllTagFans(ctx, t.ID, opts...) })
		},
	})
	a.listFlags(cmd, &f)
	cmd.Flags().StringVar(&tag, "tag", "", a.tr("followers who have this tag, by `name` or ID", "只列出有此标签的用户（标签`名`或 ID）"))
	cmd.Flags().BoolVar(&byName, "name", false, a.tr("the value of --tag is a name, even if it is a number",
		"--tag 的值即使是数字，也视为标签名而不是 ID"))
	return cmd
}

func (a *app) userCommand() *cobra.Command {
	var file, after string
	cmd := a.command(&cobra.Command{
		Use:   "user OPENID…",
		Short: a.tr("Show profiles, set a remark", "查看用户信息，设置备注名"),
		Example: `  wechatuser user oABC…
  wechatuser fans --tag vip | wechatuser user -f - --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			list, err := a.readOpenIDs(args, file)
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
			bar := a.listProgress(a.tr("Profiles", "用户信息"), len(list.ids))
			defer bar.finish()
			return a.printUsers(c.BulkUserInfo(ctx, untilInterrupted(a, wechatuser.OpenIDs(list.ids...))), bar)
		},
	})
	a.openIDFlag(cmd, &file)
	a.afterFlag(cmd, &after)
	cmd.AddCommand(a.command(&cobra.Command{
		Use:     "remark OPENID TEXT",
		Short:   a.tr("Set the remark of a follower", "设置用户备注名"),
		Example: `  wechatuser user remark oABC… "Room 7"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if _, err := a.readOpenIDs(args[:1], ""); err != nil {
				return err
			}
			err := rehearse(ctx, func(ctx context.Context, c *wechatuser.Client) error { return c.UpdateRemark(ctx, args[0], args[1]) })
			if err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			p := plan{fmt.Sprintf(a.tr("Set the remark of %s to %q.", "将 %s 的备注名设为 %q。"), args[0], args[1]),
				"/cgi-bin/user/info/updateremark", oneCall}
			if err := a.confirm(ctx, c, p); err != nil {
				return err
			}
			if err := c.UpdateRemark(ctx, args[0], args[1]); err != nil || !a.json {
				return err
			}
			return a.printJSON(map[string]string{"openid": args[0], "remark": args[1]})
		},
	}))
	return cmd
}

// printUsers prints profiles as they arrive, and at the end the openids that the platform has rejected.
func (a *app) printUsers(users iter.Seq2[wechatuser.UserInfo, error], bar *progress) error {
	rejected, done, last := 0, 0, ""
	for user, err := range users {
		done++
		bar.set(done)
		if one := (*wechatuser.OpenIDError)(nil); errors.As(err, &one) {
			rejected++
			last = one.OpenID
			fmt.Fprintf(a.err, "%s: %s\n", visible(one.OpenID), visible(a.explain(one.Err)))
			continue
		}
		if err != nil {
			return a.hint(err, last)
		}
		last = user.OpenID
		if a.json {
			err = a.printJSON(user)
		} else {
			err = a.printUser(user)
		}
		if err != nil {
			return err
		}
	}
	if rejected > 0 {
		return &exitError{exitRejected, fmt.Errorf(a.tr("%d without a profile", "%d 个没有用户信息"), rejected)}
	}
	return nil
}

func (a *app) printUser(u wechatuser.UserInfo) error {
	fmt.Fprintln(a.out, u.OpenID)
	t := a.table()
	line := func(english, chinese, value string) {
		if value != "" {
			t.row("  "+a.tr(english, chinese), value)
		}
	}
	if !u.Subscribed() {
		line("follows", "关注", a.tr("no", "否"))
	} else {
		line("follows since", "关注时间", u.SubscribedAt().In(time.Local).Format("2006-01-02 15:04:05"))
	}
	line("unionid", "UnionID", u.UnionID)
	line("remark", "备注名", u.Remark)
	line("scene", "关注渠道", string(u.SubscribeScene))
	line("QR scene", "二维码场景", u.QRSceneStr)
	line("tag IDs", "标签 ID", strings.Trim(strings.ReplaceAll(fmt.Sprint(u.TagIDList), " ", ", "), "[]"))
	line("language", "语言", u.Language)
	if u.QRScene != 0 {
		line("QR scene ID", "二维码场景值", strconv.FormatInt(u.QRScene, 10))
	}
	return t.flush()
}
