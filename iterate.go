package wechatuser

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
)

// OpenIDs makes a list of these openids, as input of a bulk job:
//
//	report, err := c.BulkTagging(ctx, vip, wechatuser.OpenIDs(openIDs...))
//
// The slice is not copied: leave it as it is while the list is in use.
func OpenIDs(ids ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// ListOption is for what is optional in [Client.AllFans], [Client.AllTagFans] and [Client.AllBlacklist].
type ListOption interface {
	applyList(*listConfig) *ArgumentError
}

type listOption func(*listConfig) *ArgumentError

func (f listOption) applyList(cfg *listConfig) *ArgumentError { return f(cfg) }

type listConfig struct {
	after    string
	prefetch int
}

// StartAfter begins a list after this openid, to go on where an earlier walk ended: give it the last openid that the
// list gave. Empty means from the beginning. The platform does not say for how long an openid is a place in its list.
func StartAfter(openID string) ListOption {
	return listOption(func(cfg *listConfig) *ArgumentError {
		cfg.after = openID
		return nil
	})
}

// maxPrefetch is far beyond what can be of use, and a million openids in memory.
const maxPrefetch = 100

// WithPrefetch lets a list fetch up to this many pages, at most 100, while the loop is busy with the page before them.
// Defaults to 1. With 0 a page is fetched when the loop has come to its first openid, which saves a call where a loop
// ends early.
func WithPrefetch(pages int) ListOption {
	return listOption(func(cfg *listConfig) *ArgumentError {
		if pages < 0 || pages > maxPrefetch {
			return badOption("WithPrefetch", "%d pages: give 0 to %d", pages, maxPrefetch)
		}
		cfg.prefetch = pages
		return nil
	})
}

// AllFans is the list of all followers, in the platform's order.
//
// It makes a call for each page of 10,000 openids and one more for the end, none of them before the loop begins, and
// holds one page and those of [WithPrefetch]. It can be ranged over more than once, and starts afresh each time. When the
// minute's quota is used up it waits for the next minute, unless the context ends before. When a call fails for good the
// loop gets the error, once, and the list ends; [StartAfter] resumes it. When the loop ends, a call under way is
// cancelled, and nothing is left running. People who follow or leave meanwhile may be in the list or not.
//
// getFans, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html.
func (c *Client) AllFans(ctx context.Context, opts ...ListOption) iter.Seq2[string, error] {
	return walk(ctx, c, -1, "AllFans", opts, c.GetFans)
}

// AllTagFans is the list of all followers with this tag, otherwise as [Client.AllFans].
//
// Do not take the tag off the followers that a walk gives while it goes on, since it uses them to find its place. To
// take a tag off everybody, give [Client.SyncTag] an empty list.
//
// getTagFans, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html.
func (c *Client) AllTagFans(ctx context.Context, tagID int, opts ...ListOption) iter.Seq2[string, error] {
	return walk(ctx, c, tagID, "AllTagFans", opts, c.tagPages(tagID))
}

// AllBlacklist is the list of all blocked users, in pages of 1,000, otherwise as [Client.AllFans].
//
// getBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html.
func (c *Client) AllBlacklist(ctx context.Context, opts ...ListOption) iter.Seq2[string, error] {
	return walk(ctx, c, -1, "AllBlacklist", opts, c.GetBlacklist)
}

// pageFunc gives the page after a cursor.
type pageFunc func(ctx context.Context, cursor string) (*OpenIDPage, error)

func (c *Client) tagPages(tagID int) pageFunc {
	return func(ctx context.Context, cursor string) (*OpenIDPage, error) { return c.GetTagFans(ctx, tagID, cursor) }
}

// walk is the list that fetch gives the pages of.
func walk(ctx context.Context, c *Client, tagID int, name string, opts []ListOption, fetch pageFunc) iter.Seq2[string, error] {
	cfg := listConfig{prefetch: 1}
	err := configure(name, opts, func(o ListOption) *ArgumentError { return o.applyList(&cfg) })
	return func(yield func(string, error) bool) {
		if err != nil {
			yield("", err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // or else ctx would hold on to the pace of each walk
		for page, err := range ahead(ctx, cfg.prefetch, func(ctx context.Context) iter.Seq2[[]string, error] {
			p := newPace(c, tagID)
			p.begin(ctx)
			return pages(ctx, name, cfg.after, p.patiently(fetch))
		}) {
			for _, id := range page {
				if err = ended(ctx); err != nil {
					break
				}
				if !yield(id, nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

// pages goes from cursor to cursor until the list ends, which only an empty page or an empty cursor says: the total
// that the platform gives can be wrong, and the last page has a cursor as all others.
func pages(ctx context.Context, name, cursor string, fetch pageFunc) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		used := make(map[string]bool)
		for {
			page, err := fetch(ctx, cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page.OpenIDs) == 0 {
				return
			}
			used[alone(cursor)] = true
			next := page.NextOpenID
			again := next != "" && used[next]
			switch ids := withoutCursor(page.OpenIDs, cursor); {
			case len(ids) == 0 && again:
				return // nothing behind the cursor but the cursor itself
			case again:
				yield(nil, fmt.Errorf("wechatuser: %s: the platform gave the cursor %q twice: the list would never end", name, next))
				return
			case len(ids) > 0 && !yield(ids, nil):
				return
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}

// withoutCursor drops empty openids, and the cursor where the page begins with it.
func withoutCursor(ids []string, cursor string) []string {
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	if len(ids) > 0 && ids[0] == cursor {
		ids = ids[1:]
	}
	return ids
}

// ahead runs a sequence in a goroutine, up to n elements ahead of the loop, and in the loop itself where n is 0. When
// the loop ends it cancels the sequence and waits for it.
func ahead[T any](ctx context.Context, n int, sequence func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	if n == 0 {
		return sequence(ctx)
	}
	type element struct {
		value T
		err   error
	}
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var (
			running  sync.WaitGroup
			quit     = make(chan struct{})
			elements = make(chan element, n-1) // one more waits to be taken
		)
		defer running.Wait()
		defer close(quit)
		defer cancel()
		running.Go(func() {
			defer close(elements)
			for value, err := range sequence(ctx) {
				select {
				case elements <- element{value, err}:
				case <-quit: // not ctx.Done(): the caller is told that its context has ended
					return
				}
			}
		})
		for e := range elements {
			if !yield(e.value, e.err) {
				return
			}
		}
	}
}

// configure applies the options of a job or a list.
func configure[O any](name string, opts []O, apply func(O) *ArgumentError) error {
	for i, opt := range opts {
		bad := &ArgumentError{Field: "opts", Reason: fmt.Sprintf("option %d is nil", i+1)}
		if any(opt) != nil {
			bad = apply(opt)
		}
		if bad != nil {
			bad.API = name
			return bad
		}
	}
	return nil
}

func badOption(option, format string, args ...any) *ArgumentError {
	return &ArgumentError{Field: option, Reason: fmt.Sprintf(format, args...)}
}
