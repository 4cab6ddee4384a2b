package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// rule selects followers. A field with its zero value matches all of them.
type rule struct {
	since     time.Time
	scene, qr string
}

// knownScenes has the scenes that the SDK knows. The platform may have others.
var knownScenes = []wechatuser.SubscribeScene{
	wechatuser.SceneSearch, wechatuser.SceneAccountMigration, wechatuser.SceneProfileCard, wechatuser.SceneQRCode,
	wechatuser.SceneProfileLink, wechatuser.SceneProfileItem, wechatuser.ScenePaid, wechatuser.SceneWechatAdvertisement,
	wechatuser.SceneReprint, wechatuser.SceneLivestream, wechatuser.SceneChannels, wechatuser.SceneMiniProgram,
	wechatuser.SceneOthers,
}

func (r rule) selects(u wechatuser.UserInfo) bool {
	return u.Subscribed() && !u.SubscribedAt().Before(r.since) &&
		(r.scene == "" || string(u.SubscribeScene) == r.scene) && (r.qr == "" || u.QRSceneStr == r.qr)
}

func (a *app) campaignCommand() *cobra.Command {
	var r rule
	var days int
	var after string
	var dryRun, byName bool
	cmd := &cobra.Command{
		Use:   "campaign TAG",
		Short: a.tr("Tag the followers whom a rule selects", "为符合条件的用户打标签"),
		Long: a.tr(`Tag the followers whom a rule selects, such as those who followed through a QR code in the last 30 days. To find them,
all profiles are read, 100 per call. Followers who already have the tag are left unchanged.`,
			`为符合条件的用户打标签，例如最近 30 天内扫码关注的用户。需要读取全部用户信息（每次调用 100 个）；
已有该标签的用户不再处理。`),
		Example: `  wechatuser campaign new --days 30 --scene ADD_SCENE_QR_CODE --dry-run
  wechatuser campaign shop-7 --qr shop-7`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, ref := cmd.Context(), tagRef{args[0], byName}
			if err := errors.Join(a.checkTag(ctx, ref, true), a.checkAfter(after)); err != nil {
				return err
			}
			if days < 0 {
				return usageError(a.tr("--days must not be negative", "--days 不能为负数"))
			}
			if days > 0 {
				r.since = time.Now().AddDate(0, 0, -days)
			}
			if r.scene != "" && !slices.Contains(knownScenes, wechatuser.SubscribeScene(r.scene)) {
				a.warn(fmt.Sprintf(a.tr("the scene %s is unknown and may match nobody; known scenes: %s",
					"未知的渠道 %s，可能没有用户符合；已知渠道：%s"), r.scene, strings.Trim(fmt.Sprint(knownScenes), "[]")))
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			found, err := a.segment(ctx, c, ref, r, after)
			if err != nil {
				return a.beforeChange(err)
			}
			if dryRun {
				return a.printSegment(found)
			}
			fmt.Fprintf(a.err, a.tr("%d of %d followers match, %d of them have the tag already, %d have no profile.\n",
				"%[2]d 个用户中有 %[1]d 个符合条件，其中 %[3]d 个已有该标签；%[4]d 个没有用户信息。\n"),
				found.Selected, found.Read, found.Tagged, found.NoProfile)
			if len(found.ToTag) == 0 {
				fmt.Fprintln(a.err, a.tr("Nothing to do.", "无需修改。"))
				if a.json {
					return a.printReport(new(wechatuser.BulkReport), nil, &openIDs{}, "")
				}
				return nil
			}
			j := a.tagJob(&byName)
			return a.runJob(ctx, c, j, args, &openIDs{ids: found.ToTag}, after)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&days, "days", 0, a.tr("who followed in the last `n` days; 0: at any time", "最近 `n` 天内关注的用户；0 表示不限"))
	flags.StringVar(&r.scene, "scene", "", a.tr("who followed through this `scene`, such as ADD_SCENE_QR_CODE",
		"通过此`渠道`关注的用户，例如 ADD_SCENE_QR_CODE"))
	flags.StringVar(&r.qr, "qr", "", a.tr("who scanned the QR code with this scene `string`", "扫描带此场景`值`的二维码关注的用户"))
	a.afterFlag(cmd, &after)
	flags.BoolVar(&dryRun, "dry-run", false, a.tr("list who would be tagged, change nothing", "只列出将打标签的用户，不做修改"))
	a.byNameFlag(cmd, &byName)
	return a.command(cmd)
}

// segment holds the followers that a rule selects.
type segment struct {
	Read      int      `json:"read"`
	Selected  int      `json:"selected"`
	Tagged    int      `json:"already_tagged"`
	NoProfile int      `json:"no_profile"`
	ToTag     []string `json:"to_tag"` // in the order of the account's list, so that the last one tagged is a cursor
}

func (a *app) segment(ctx context.Context, c *wechatuser.Client, ref tagRef, r rule, after string) (*segment, error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	page, err := c.GetFans(ctx, "")
	if err != nil {
		return nil, err
	}
	tag, err := a.findTag(ctx, c, ref)
	if err != nil && !isNoTag(err) {
		return nil, err
	}
	found := &segment{ToTag: []string{}}
	bar := a.newProgress(a.tr("Profiles", "用户信息"), page.Total)
	defer bar.finish()
	keep := func(u wechatuser.UserInfo) bool {
		found.Read++
		bar.set(found.Read)
		if !r.selects(u) {
			return false
		}
		found.Selected++
		if tag.ID != 0 && slices.Contains(u.TagIDList, tag.ID) {
			found.Tagged++
			return false
		}
		return true
	}
	users := c.BulkUserInfo(ctx, untilInterrupted(a, c.AllFans(ctx, wechatuser.StartAfter(after))))
	for id, err := range wechatuser.SelectOpenIDs(users, keep, func(*wechatuser.OpenIDError) { found.NoProfile++ }) {
		if err != nil {
			return nil, err
		}
		found.ToTag = append(found.ToTag, id)
	}
	return found, nil
}

// printSegment prints the followers that a campaign would tag.
func (a *app) printSegment(found *segment) error {
	if a.json {
		return a.printJSON(found)
	}
	for _, id := range found.ToTag {
		fmt.Fprintln(a.out, id)
	}
	fmt.Fprintf(a.err, a.tr("Dry run: %d of %d followers match, %d of them have the tag already, %d have no profile.\n",
		"预览：%[2]d 个用户中有 %[1]d 个符合条件，其中 %[3]d 个已有该标签；%[4]d 个没有用户信息。\n"),
		found.Selected, found.Read, found.Tagged, found.NoProfile)
	return nil
}
