package wechatuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// SyncReport is the result of a Sync method.
type SyncReport struct {
	// Added is about users who are wanted and were not members.
	Added BulkReport
	// Removed is about users who were members and are not wanted.
	Removed BulkReport
	// ToAdd and ToRemove are the openids that a dry run would send to the platform, in the order of the input and of
	// the platform's list. They are empty without [WithDryRun].
	ToAdd, ToRemove []string
	// Unchanged is the number of users who were members and are wanted.
	Unchanged int
	// Calls is the number of API requests that were sent: those of Added and Removed, and those that read the list.
	Calls int
}

// String returns the report in one line, without openids.
func (r SyncReport) String() string {
	return fmt.Sprintf("added %d of %d, removed %d of %d, %d unchanged, %d calls",
		r.Added.Applied, r.Added.Total, r.Removed.Applied, r.Removed.Total, r.Unchanged, r.Calls)
}

// LogValue returns the numbers of the report, and no openid.
func (r SyncReport) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("added", r.Added), slog.Any("removed", r.Removed), slog.Int("to_add", len(r.ToAdd)),
		slog.Int("to_remove", len(r.ToRemove)), slog.Int("unchanged", r.Unchanged), slog.Int("calls", r.Calls))
}

// SyncTag makes the users of the input the only ones with the tag: it reads who has the tag, tags those who lack it,
// and then untags those who are not in the input. An empty input untags everybody.
//
// It reads the input to its end first; if the input fails, nothing is changed. The openids to keep, to add and to
// remove are held in memory, about 100 bytes each. An openid that the platform rejects, such as that of a former
// follower, is reported in Added, and the sync goes on. So is an openid with a space, a line break or an invisible
// character: it is not sent, but the user whose openid it is without that character is not removed.
//
// What stops [Client.BulkTagging] stops SyncTag too. It removes nobody if adding was stopped, or if it could not read a
// list to its end. To finish, run it again: it does what is left.
//
// It returns a report even if it returns an error. The error is an [*ArgumentError] if nothing was started, and
// otherwise a [*BulkError] or two of them joined.
//
// getTagFans, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html; see also
// [Client.BulkTagging] and [Client.BulkUntagging].
func (c *Client) SyncTag(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...SyncOption) (*SyncReport, error) {
	return c.sync(ctx, "SyncTag", c.tagging(batchTagging, tagID), c.tagging(batchUntagging, tagID), c.taggedFans(tagID), openIDs, opts)
}

// SyncBlacklist makes the users of the input the only ones who are blocked: it reads who is blocked, blocks those who
// are missing, and then unblocks those who are not in the input. Otherwise it works like [Client.SyncTag].
//
// getBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html; see also
// [Client.BulkBlacklist] and [Client.BulkUnblacklist].
func (c *Client) SyncBlacklist(ctx context.Context, openIDs iter.Seq2[string, error], opts ...SyncOption) (*SyncReport, error) {
	return c.sync(ctx, "SyncBlacklist", c.blacklisting(batchBlacklist), c.blacklisting(batchUnblacklist), c.blacklisted(), openIDs, opts)
}

// EnsureTag returns the tag with this name, and creates it if there is none. Programs that start at the same time all
// get the same tag. The name has 1 to 30 bytes of UTF-8. EnsureTag makes one call if the tag exists, two if it creates
// the tag, and three if another program creates it in the meantime.
//
// getTags, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettags.html; see also
// [Client.CreateTag], whose errors it returns.
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

// sync makes the members of a list the same as the input.
func (c *Client) sync(
	ctx context.Context, name string, add, remove bulkWrite, members list, openIDs iter.Seq2[string, error], opts []SyncOption,
) (*SyncReport, error) {
	report := new(SyncReport)
	cfg, err := newJobConfig(ctx, name, opts)
	if err == nil {
		err = add.check(cfg, openIDs)
	}
	if err != nil {
		return report, err
	}
	p := newPolicy(c, add.tagID, cfg.patience)
	missing, unwanted, err := c.compare(ctx, p, members, openIDs, report)
	if err != nil {
		return report, &BulkError{Report: &report.Added, Err: listError(name, err), job: name}
	}
	if cfg.keep {
		unwanted = nil
	}
	done, total := 0, len(missing)+len(unwanted)
	step := func(part string, w bulkWrite, openIDs []string, r *BulkReport, planned *[]string) error {
		cfg := cfg
		cfg.name = name + ": " + part
		before := done
		progress := func(n int, _ string) {
			done = before + n
			if cfg.progress != nil {
				cfg.progress(Progress{Done: done, Total: total})
			}
		}
		if cfg.dryRun {
			*planned = plan(w, openIDs, progress, r)
			return r.errorOf(cfg.name, backoff.ContextErr(ctx))
		}
		err := c.apply(ctx, cfg, w, p, OpenIDs(openIDs...), progress, r)
		report.Calls += r.Calls
		return err
	}
	err = step("adding", add, missing, &report.Added, &report.ToAdd)
	if stopped := (*BulkError)(nil); errors.As(err, &stopped) && stopped.Err != nil {
		return report, err
	}
	removeErr := step("removing", remove, unwanted, &report.Removed, &report.ToRemove)
	if err != nil && removeErr != nil {
		return report, fmt.Errorf("%w; %w", removeErr, err) // only the first can say that the sync was stopped
	}
	return report, cmp.Or(err, removeErr)
}

// plan returns the openids that would be sent, and reports those that would not.
func plan(w bulkWrite, openIDs []string, progress func(done int, cursor string), report *BulkReport) (planned []string) {
	for _, openID := range openIDs {
		if err := w.ep.checkOpenID("openid", openID); err != nil {
			report.Failed = append(report.Failed, OpenIDError{OpenID: strings.Clone(openID), Err: err})
		} else {
			planned = append(planned, openID)
		}
	}
	report.Total = len(openIDs)
	if report.Total > 0 {
		progress(report.Total, "")
	}
	return planned
}

// compare returns who is wanted and not a member, and who is a member and not wanted.
func (c *Client) compare(
	ctx context.Context, p *policy, members list, openIDs iter.Seq2[string, error], report *SyncReport,
) (missing, unwanted []string, err error) {
	type state uint8
	const (
		wanted state = iota + 1
		wantedMember
		unwantedMember
	)
	states := make(map[string]state)
	miswritten := make(map[string]bool) // openids that are in the input with something around them, such as "\r"
	for openID, err := range openIDs {
		if err == nil {
			err = backoff.ContextErr(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
		if states[openID] == 0 {
			openID = strings.Clone(openID) // one that is kept should not keep its page in memory
			states[openID] = wanted
			missing = append(missing, openID)
			if !isWord(openID) {
				miswritten[wordOf(openID)] = true
			}
		}
	}
	ctx, n := countCalls(ctx)
	defer func() { report.Calls = int(n.sent.Load()) }()
	for page, err := range p.walk(ctx, members, "") {
		if err != nil {
			return nil, nil, err
		}
		for _, openID := range page {
			switch known := states[openID]; {
			case known == wanted:
				states[openID] = wantedMember
				report.Unchanged++
			case known == 0 && !miswritten[openID]:
				openID = strings.Clone(openID)
				states[openID] = unwantedMember
				unwanted = append(unwanted, openID)
			}
		}
	}
	missing = slices.DeleteFunc(missing, func(openID string) bool { return states[openID] == wantedMember })
	return missing, unwanted, nil
}
