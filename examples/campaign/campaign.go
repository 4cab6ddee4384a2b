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

// campaign is one run of the program.
type campaign struct {
	wechat *wechatuser.Client
	tag    string
	rule   rule
	apply  bool
	after  string // cursor: the openid to continue after
	report string // file for the rejected openids
	out    io.Writer

	read, selected, tagged, noProfile int // followers: read, selected, selected and already tagged, without a profile
}

// rule selects followers. A zero field matches all of them.
type rule struct {
	since time.Time
	scene wechatuser.SubscribeScene
	qr    string
}

// scenes are the scenes that the SDK knows. The platform may have others.
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
		"%d of %d followers selected, %d of them already tagged; %d tagged, %d rejected; %d without a profile.\n",
		cp.selected, cp.read, cp.tagged, report.Applied, len(report.Failed), cp.noProfile)
	err = errors.Join(err, cp.writeRejected(report.Failed))
	if be := (*wechatuser.BulkError)(nil); errors.As(err, &be) && be.Stopped() {
		if after := cmp.Or(report.ResumeAfter, cp.after); after != "" {
			fmt.Fprintf(cp.out, "The job was stopped. To resume it, add: -after %s\n", after)
		}
	}
	return err
}

// dryRun counts the followers that run would tag, and tags nobody.
func (cp *campaign) dryRun(ctx context.Context) error {
	tags, err := cp.wechat.GetTags(ctx)
	if err != nil {
		return err
	}
	tagID := 0
	if i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return t.Name == cp.tag }); i >= 0 {
		tagID = tags[i].ID
	} else {
		fmt.Fprintf(cp.out, "The tag %q does not exist; -apply creates it.\n", cp.tag)
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
	fmt.Fprintf(cp.out, "%d of %d followers selected, %d of them already tagged; %d without a profile.\n",
		cp.selected, cp.read, cp.tagged, cp.noProfile)
	fmt.Fprintf(cp.out, "Dry run, nothing changed. With -apply: %d followers to tag, API calls: %d.\n", n, calls)
	return nil
}

// segment returns the selected followers who lack the tag, in the order of the account's list, so that the last one
// tagged is a cursor to resume from.
func (cp *campaign) segment(ctx context.Context, tagID int) iter.Seq2[string, error] {
	lacksTag := func(user wechatuser.UserInfo) bool {
		cp.read++
		if !cp.rule.selects(user) {
			return false
		}
		cp.selected++
		if slices.Contains(user.TagIDList, tagID) {
			cp.tagged++
			return false
		}
		return true
	}
	users := cp.wechat.BulkUserInfo(ctx, cp.wechat.AllFans(ctx, wechatuser.StartAfter(cp.after)))
	return wechatuser.SelectOpenIDs(users, lacksTag, func(*wechatuser.OpenIDError) { cp.noProfile++ })
}

// progress returns a function that prints a line every 1,000 followers.
func (cp *campaign) progress() func(wechatuser.Progress) {
	next := 1000
	return func(p wechatuser.Progress) {
		if p.Done >= next {
			fmt.Fprintf(cp.out, "%d done\n", p.Done)
			next = p.Done - p.Done%1000 + 1000
		}
	}
}

// writeRejected writes the followers who could not be tagged. A resumed run appends to the file of the previous one.
func (cp *campaign) writeRejected(failed []wechatuser.OpenIDError) (err error) {
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
		_ = w.Write([]string{"openid", "errcode", "meaning", "含义", "rid"}) // w.Error returns the error
	}
	for _, one := range failed {
		row := []string{one.OpenID, "", one.Err.Error(), "", ""}
		if e := (*wechatuser.Error)(nil); errors.As(one.Err, &e) {
			row = []string{one.OpenID, strconv.Itoa(int(e.Code)), e.Code.Meaning(), e.Code.MeaningZH(), e.RID}
		}
		_ = w.Write(row)
	}
	w.Flush()
	fmt.Fprintf(cp.out, "The rejected openids are in %s.\n", cp.report)
	return w.Error()
}
