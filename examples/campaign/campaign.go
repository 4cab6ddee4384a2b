package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/wechatuser/wechatuser"
)

// campaign is one run.
type campaign struct {
	wechat *wechatuser.Client
	tag    string
	rule   rule
	apply  bool
	after  string // openid
	report string // file
	out    io.Writer

	read, selected, has, unread int // followers: looked at, selected, of these with the tag, without a profile
}

// rule selects followers. What is zero selects all.
type rule struct {
	since time.Time
	scene wechatuser.SubscribeScene
	qr    string
}

// scenes are those that are known. The platform may have others.
var scenes = []wechatuser.SubscribeScene{
	wechatuser.SceneSearch, wechatuser.SceneAccountMigration, wechatuser.SceneProfileCard, wechatuser.SceneQRCode,
	wechatuser.SceneProfileLink, wechatuser.SceneProfileItem, wechatuser.ScenePaid, wechatuser.SceneWechatAdvertisement,
	wechatuser.SceneReprint, wechatuser.SceneLivestream, wechatuser.SceneChannels, wechatuser.SceneMiniProgram,
	wechatuser.SceneOthers,
}

func (r rule) selects(u wechatuser.UserInfo) bool {
	return u.Subscribed() && !u.SubscribedAt().Before(r.since) &&
		(r.scene == "" || u.SubscribeScene == r.scene) && (r.qr == "" || u.QRSceneStr == r.qr)
}

func (cp *campaign) run(ctx context.Context) error {
	if !cp.apply {
		return cp.dryRun(ctx)
	}
	tag, err := cp.wechat.EnsureTag(ctx, cp.tag)
	if err != nil {
		return err
	}
	report, err := cp.wechat.BulkTagging(ctx, tag.ID, cp.segment(ctx, tag.ID), wechatuser.WithProgress(cp.progress()))
	fmt.Fprintf(cp.out,
		"%d of %d followers are selected, %d of them had the tag before; %d were tagged and %d refused; %d have no profile.\n",
		cp.selected, cp.read, cp.has, report.Applied, len(report.Failed), cp.unread)
	err = errors.Join(err, cp.writeRefused(report.Failed))
	if be := (*wechatuser.BulkError)(nil); errors.As(err, &be) && be.Err != nil {
		if after := cmp.Or(report.ResumeAfter, cp.after); after != "" {
			fmt.Fprintf(cp.out, "It was stopped. To go on, add: -after %s\n", after)
		}
	}
	return err
}

// dryRun walks over the same segment, and tags nobody.
func (cp *campaign) dryRun(ctx context.Context) error {
	tags, err := cp.wechat.GetTags(ctx)
	if err != nil {
		return err
	}
	tagID := 0
	if i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return t.Name == cp.tag }); i >= 0 {
		tagID = tags[i].ID
	} else {
		fmt.Fprintf(cp.out, "There is no tag %q: -apply makes it.\n", cp.tag)
	}
	n := 0
	for openID, err := range cp.segment(ctx, tagID) {
		if err != nil {
			return err
		}
		if n++; n <= 3 {
			fmt.Fprintf(cp.out, "  %s\n", openID)
		}
	}
	if n > 3 {
		fmt.Fprintf(cp.out, "  and %d more\n", n-3)
	}
	calls := (n + wechatuser.MaxTaggingBatch - 1) / wechatuser.MaxTaggingBatch
	fmt.Fprintf(cp.out, "%d of %d followers are selected, %d of them have the tag; %d have no profile.\n",
		cp.selected, cp.read, cp.has, cp.unread)
	fmt.Fprintf(cp.out, "Nothing was changed. To tag them, give -apply: %d followers, calls: %d.\n", n, calls)
	return nil
}

// segment is the list of the selected followers who lack the tag, in the order of the account's list. That order makes
// the last of them a place to go on from.
func (cp *campaign) segment(ctx context.Context, tagID int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for user, err := range cp.wechat.BulkUserInfo(ctx, cp.wechat.AllFans(ctx, wechatuser.StartAfter(cp.after))) {
			if errors.As(err, new(*wechatuser.OpenIDError)) {
				cp.unread++
				continue
			}
			if err != nil {
				yield("", err)
				return
			}
			cp.read++
			if !cp.rule.selects(user) {
				continue
			}
			cp.selected++
			if slices.Contains(user.TagIDList, tagID) {
				cp.has++
				continue
			}
			if !yield(user.OpenID, nil) {
				return
			}
		}
	}
}

// progress prints a line for each thousand.
func (cp *campaign) progress() func(wechatuser.Progress) {
	next := 1000
	return func(p wechatuser.Progress) {
		if p.Done >= next {
			fmt.Fprintf(cp.out, "%d done\n", p.Done)
			next = p.Done - p.Done%1000 + 1000
		}
	}
}

// writeRefused writes those who could not be tagged, below those of the run that this one goes on with.
func (cp *campaign) writeRefused(failed []wechatuser.OpenIDError) (err error) {
	if len(failed) == 0 {
		return nil
	}
	mode := os.O_TRUNC
	if cp.after != "" {
		mode = os.O_APPEND
	}
	f, err := os.OpenFile(cp.report, os.O_CREATE|os.O_WRONLY|mode, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		_ = w.Write([]string{"openid", "errcode", "meaning", "含义", "rid"}) // Error tells
	}
	for _, one := range failed {
		row := []string{one.OpenID, "", one.Err.Error(), "", ""}
		if e := (*wechatuser.Error)(nil); errors.As(one.Err, &e) {
			row = []string{one.OpenID, strconv.Itoa(int(e.Code)), e.Code.Meaning(), e.Code.MeaningZH(), e.RID}
		}
		_ = w.Write(row)
	}
	w.Flush()
	fmt.Fprintf(cp.out, "Who was refused is in %s.\n", cp.report)
	return w.Error()
}
