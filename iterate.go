package wechatuser

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/paging"
)

// OpenIDs returns a list of these openids, as the input of a bulk job:
//
//	report, err := c.BulkTagging(ctx, vip, wechatuser.OpenIDs(openIDs...))
//
// The slice is not copied: do not change it while the list is in use.
func OpenIDs(ids ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// SelectOpenIDs returns the openids of those users that keep returns true for, as the input of a bulk job:
//
//	fromQRCode := func(u wechatuser.UserInfo) bool { return u.SubscribeScene == wechatuser.SceneQRCode }
//	users := c.BulkUserInfo(ctx, c.AllFans(ctx))
//	report, err := c.BulkTagging(ctx, vip, wechatuser.SelectOpenIDs(users, fromQRCode, nil))
//
// An [*OpenIDError] of the list, which means that one openid has no profile, is passed to skipped, or ignored if
// skipped is nil. Any other error is the last element of the list. If keep is nil, all users are kept. Both functions
// run in the loop's goroutine. The openids share no memory with the profiles.
func SelectOpenIDs(
	users iter.Seq2[UserInfo, error], keep func(UserInfo) bool, skipped func(*OpenIDError),
) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if users == nil {
			yield("", argumentError("SelectOpenIDs", "users", "nil: pass a list such as that of BulkUserInfo"))
			return
		}
		for user, err := range users {
			// An OpenIDError inside another error, such as that of a job, is not about an openid of this list.
			one, isOne := err.(*OpenIDError) //nolint:errorlint // see above
			switch {
			case isOne:
				if skipped != nil {
					skipped(one)
				}
			case err != nil:
				yield("", err)
				return
			case keep == nil || keep(user):
				if !yield(strings.Clone(user.OpenID), nil) {
					return
				}
			}
		}
	}
}

// AllFans returns the list of all followers, in the platform's order.
//
// It makes one call for each page of 10,000 openids and one more at the end, and none before the loop starts. It holds
// one page and those of [WithPrefetch] in memory. It can be ranged over more than once, and starts from the beginning
// each time.
//
// Only an empty page ends the list. If a page has no cursor, the list goes on after the last openid of the page. A list
// that would never end, because it repeats itself or is far longer than the platform's total, ends with an error.
//
// When the quota of a minute is used up, the list waits for the next minute, as long as its context allows.
// [WithPatience] makes it wait for the end of an outage too. When a call fails, the loop gets the error as its last
// element; [StartAfter] resumes the list. When the loop ends, a call in flight is canceled, and no goroutine is left.
// Users who follow or unfollow during the loop may be in the list or not.
//
// getFans, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html.
func (c *Client) AllFans(ctx context.Context, opts ...ListOption) iter.Seq2[string, error] {
	return c.all(ctx, "AllFans", list{&endpoints[getFans], -1, c.GetFans}, opts)
}

// AllTagFans returns the list of all followers with this tag. Otherwise it works like [Client.AllFans].
//
// Do not untag followers while a loop over them is running: the platform uses them as cursors. To untag all of them,
// pass an empty list to [Client.SyncTag].
//
// getTagFans, https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_gettagfans.html.
func (c *Client) AllTagFans(ctx context.Context, tagID int, opts ...ListOption) iter.Seq2[string, error] {
	return c.all(ctx, "AllTagFans", c.taggedFans(tagID), opts)
}

// AllBlacklist returns the list of all blocked users, in pages of 1,000. Otherwise it works like [Client.AllFans].
//
// getBlacklist, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getblacklist.html.
func (c *Client) AllBlacklist(ctx context.Context, opts ...ListOption) iter.Seq2[string, error] {
	return c.all(ctx, "AllBlacklist", c.blacklisted(), opts)
}

func (c *Client) taggedFans(tagID int) list {
	return list{&endpoints[getTagFans], tagID, func(ctx context.Context, cursor string) (*OpenIDPage, error) {
		return c.GetTagFans(ctx, tagID, cursor)
	}}
}

func (c *Client) blacklisted() list { return list{&endpoints[getBlacklist], -1, c.GetBlacklist} }

// all returns all openids of a list.
func (c *Client) all(ctx context.Context, name string, l list, opts []ListOption) iter.Seq2[string, error] {
	cfg, err := newJobConfig(ctx, name, opts)
	if err == nil {
		err = cfg.checkList()
	}
	return func(yield func(string, error) bool) {
		if err != nil {
			yield("", err)
			return
		}
		pages := paging.Prefetch(ctx, cfg.prefetch, func(ctx context.Context) iter.Seq2[[]string, error] {
			return newPolicy(c, l.tagID, cfg.patience).walk(ctx, l, cfg.after)
		})
		for page, err := range pages {
			for _, openID := range page {
				if err = backoff.ContextErr(ctx); err != nil {
					break
				}
				if !yield(openID, nil) {
					return
				}
			}
			if err != nil {
				yield("", listError(name, err))
				return
			}
		}
	}
}

// listError returns the error of a list as one of this package.
func listError(name string, err error) error {
	if ce := (*paging.CursorError)(nil); errors.As(err, &ce) {
		return fmt.Errorf("wechatuser: %s: the platform returned the cursor %q twice: the list would never end", name, ce.Cursor)
	}
	switch {
	case errors.Is(err, paging.ErrRepeated):
		return fmt.Errorf("wechatuser: %s: the platform returned a page twice: the list would never end", name)
	case errors.Is(err, paging.ErrTooLong):
		return fmt.Errorf("wechatuser: %s: the platform returned more than twice the openids that its total says: the list would never end", name)
	case errors.Is(err, guard.ErrGoexit):
		return fmt.Errorf("wechatuser: %s: the list broke off: %w", name, err)
	}
	return err
}
