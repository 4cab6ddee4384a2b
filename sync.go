package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// SyncOption is for what is optional in [Client.SyncTag] and [Client.SyncBlacklist]. Each [BulkOption] is one.
type SyncOption interface {
	applySync(*syncConfig) *ArgumentError
}

type syncOption func(*syncConfig)

func (f syncOption) applySync(cfg *syncConfig) *ArgumentError {
	f(cfg)
	return nil
}

type syncConfig struct {
	bulkConfig
	dryRun, keep bool
}

// WithDryRun changes nothing: ToAdd and ToRemove of the report say what would be done, and Applied is 0.
func WithDryRun() SyncOption { return syncOption(func(cfg *syncConfig) { cfg.dryRun = true }) }

// WithoutRemoval adds only. Those who are there and are not wanted stay, and are in no number of the report.
func WithoutRemoval() SyncOption { return syncOption(func(cfg *syncConfig) { cfg.keep = true }) }

// SyncReport says what a Sync method did.
type SyncReport struct {
	// Added is about those who were wanted and not there.
	Added BulkReport
	// Removed is about those who were there and not wanted.
	Removed BulkReport
	// ToAdd and ToRemove are, after [WithDryRun] and only then, who would be sent to the platform, in the order of the
	// input and of the platform's list.
	ToAdd, ToRemove []string
	// Unchanged is how many were there and wanted.
	Unchanged int
	// Calls is the number of API requests that were sent: those of Added and Removed, and those that read the list.
	Calls int
}

// String is the report in one line, without openids.
func (r SyncReport) String() string {
	return fmt.Sprintf("added %d of %d, removed %d of %d, %d unchanged, %d calls",
		r.Added.Applied, r.Added.Total, r.Removed.Applied, r.Removed.Total, r.Unchanged, r.Calls)
}

// SyncTag makes exactly these followers have the tag: it reads who has it, tags those who lack it, and then untags those
// who are not wanted. An empty input takes the tag off everybody.
//
// The input is read to its end first; if it fails, nothing is changed. Who is wanted and who is to be removed is held in
// memory, about 100 bytes for an openid. An openid that the platform refuses to tag, such as that of somebody who has
// left, is named in Added, and the rest goes on. What stops [Client.BulkTagging] stops this too, and nobody is removed
// after adding was stopped. To finish, run it again: it does what is left.
//
// The report comes with each error too, which is an [*ArgumentError] if nothing was begun and otherwise a [*BulkError],
// or two of them joined.
//
// getTagFans, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html; see also
// [Client.BulkTagging] and [Client.BulkUntagging].
func (c *Client) SyncTag(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...SyncOption) (*SyncReport, error) {
	return c.sync(ctx, "SyncTag", c.tagging(batchTagging, tagID), c.tagging(batchUntagging, tagID), c.tagPages(tagID), openIDs, opts)
}

// SyncBlacklist makes exactly these users blocked: it reads who is, blocks those who are not, and then unblocks those
// who are not wanted. Otherwise it is as [Client.SyncTag].
//
// getBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html; see also
// [Client.BulkBlacklist] and [Client.BulkUnblacklist].
func (c *Client) SyncBlacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...SyncOption) (*SyncReport, error) {
	return c.sync(ctx, "SyncBlacklist", c.blacklisting(batchBlacklist), c.blacklisting(batchUnblacklist), c.GetBlacklist, openIDs, opts)
}

// EnsureTag gives the tag of this name, and makes it if there is none, so that programs which start at the same time all
// get the same tag. The name has 1 to 30 bytes of UTF-8. It costs one call, two to make the tag, and one more where
// somebody else made it in between.
//
// getTags, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html; see also
// [Client.CreateTag], whose errors it gives.
func (c *Client) EnsureTag(ctx context.Context, name string) (*Tag, error) {
	if err := endpoints[createTag].checkTagName(name); err != nil {
		return nil, err
	}
	named := func(t Tag) bool { return t.Name == name }
	if tag, err := c.findTag(ctx, named); tag != nil || err != nil {
		return tag, err
	}
	tag, err := c.CreateTag(ctx, name)
	if errors.Is(err, CodeInvalidTagName) {
		if there, findErr := c.findTag(ctx, named); there != nil && findErr == nil {
			return there, nil
		}
	}
	return tag, err
}

// sync makes what list gives the same as the input.
func (c *Client) sync(ctx context.Context, name string, add, remove write, list pageFunc, openIDs iter.Seq2[string, error], opts []SyncOption) (*SyncReport, error) {
	report := new(SyncReport)
	cfg := syncConfig{bulkConfig: bulkDefaults}
	err := configure(name, opts, func(o SyncOption) *ArgumentError { return o.applySync(&cfg) })
	if err == nil {
		err = add.check(name, openIDs)
	}
	if err != nil {
		return report, err
	}
	p := newPace(c, add.tagID)
	lacking, extra, err := c.compare(ctx, name, p, list, openIDs, report)
	if err != nil {
		return report, &BulkError{Report: &report.Added, Err: err, job: name}
	}
	if cfg.keep {
		extra = nil
	}
	cfg.total = len(lacking) + len(extra)
	if show := cfg.progress; show != nil {
		cfg.progress = func(p Progress) { show(Progress{Done: p.Done, Total: p.Total}) }
	}
	if cfg.dryRun {
		cfg.concurrency = 1 // which keeps the order
	}
	step := func(part string, w write, ids []string, r *BulkReport, planned *[]string) error {
		if cfg.dryRun {
			w.send = func(_ context.Context, ids []string) error {
				*planned = append(*planned, ids...)
				return nil
			}
		}
		err := c.apply(ctx, name+": "+part, w, p, OpenIDs(ids...), cfg.bulkConfig, r)
		cfg.doneBefore = r.Total
		report.Calls += r.Calls
		if cfg.dryRun {
			r.Applied = 0
		}
		return err
	}
	err = step("adding", add, lacking, &report.Added, &report.ToAdd)
	if stopped := (*BulkError)(nil); errors.As(err, &stopped) && stopped.Err != nil {
		return report, err
	}
	removeErr := step("removing", remove, extra, &report.Removed, &report.ToRemove)
	if err != nil && removeErr != nil {
		return report, fmt.Errorf("%w; %w", removeErr, err) // only the first can say that the sync was stopped
	}
	return report, cmp.Or(err, removeErr)
}

// compare finds out who is wanted and not there, and who is there and not wanted.
func (c *Client) compare(ctx context.Context, name string, p *pace, list pageFunc, openIDs iter.Seq2[string, error], report *SyncReport) (lacking, extra []string, err error) {
	type place uint8
	const (
		wanted place = iota + 1
		unchanged
		unwanted
	)
	places := make(map[string]place)
	for id, err := range openIDs {
		if err == nil {
			err = ended(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
		if places[id] == 0 {
			places[id] = wanted
			lacking = append(lacking, id)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, sent := countCalls(ctx)
	defer func() { report.Calls = int(sent.Load()) }()
	p.begin(ctx)
	for page, err := range pages(ctx, name, "", p.patiently(list)) {
		if err != nil {
			return nil, nil, err
		}
		for _, id := range page {
			switch places[id] {
			case wanted:
				places[id] = unchanged
				report.Unchanged++
			case 0:
				places[id] = unwanted
				extra = append(extra, id)
			}
		}
	}
	lacking = slices.DeleteFunc(lacking, func(id string) bool { return places[id] == unchanged })
	return lacking, extra, nil
}
