package wechatuser

import (
	"context"
	"iter"

	"github.com/wechatuser/wechatuser/internal/bulk"
)

// BulkUserInfo returns the profiles of any number of users, in the order of the input, with one call for each 100 of
// them and 4 calls at a time.
//
// For an openid that the platform rejects, or has no result for, the loop gets an [*OpenIDError] and goes on:
//
//	for user, err := range c.BulkUserInfo(ctx, c.AllFans(ctx)) {
//		var one *wechatuser.OpenIDError
//		if errors.As(err, &one) {
//			continue // or keep one.OpenID and one.Err
//		}
//		if err != nil {
//			return err // the last element
//		}
//		// use user
//	}
//
// Such an openid costs up to 14 more calls, because the response of a call with it cannot be trusted: it may have
// somebody else's UnionID. Any other error ends the loop. The list is stopped by the same errors as
// [Client.BulkTagging], and waits for the next minute in the same cases. It can be resumed after the last openid that
// the loop got.
//
// No call is made before the loop starts. When the loop ends, calls in flight are canceled and no goroutine is left.
// The input runs in the loop's goroutine. A few chunks of openids and profiles are held in memory. The list can be
// ranged over again if the input can.
//
// batchUserinfo, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html.
func (c *Client) BulkUserInfo(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[UserInfo, error] {
	return bulkRead[UserInfo]{
		ep: &endpoints[batchUserInfo],
		ask: func(ctx context.Context, openIDs []string) ([]UserInfo, error) {
			users := make([]UserQuery, len(openIDs))
			for i, id := range openIDs {
				users[i].OpenID = id
			}
			return c.BatchUserInfo(ctx, users)
		},
		openID: func(u *UserInfo) string { return u.OpenID },
		failed: func(*OpenIDError) UserInfo { return UserInfo{} },
		err:    func(UserInfo) error { return nil },
	}.run(ctx, c, "BulkUserInfo", openIDs, opts)
}

// BulkChangeOpenID returns the new openids of any number of users after the account fromAppID was migrated to this one,
// in the order of the input, with one call for each 100 of them and 4 calls at a time.
//
// For an openid that has no new one the loop gets the old one in From and an [*OpenIDError], which is in Err too, and
// goes on. Otherwise it works like [Client.BulkUserInfo]; see [Client.ChangeOpenID] for when the platform converts
// openids.
//
// changeOpenid, https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html.
func (c *Client) BulkChangeOpenID(ctx context.Context, fromAppID string, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[OpenIDChange, error] {
	return bulkRead[OpenIDChange]{
		ep: &endpoints[changeOpenID],
		ask: func(ctx context.Context, openIDs []string) ([]OpenIDChange, error) {
			return c.ChangeOpenID(ctx, fromAppID, openIDs)
		},
		openID: func(ch *OpenIDChange) string { return ch.From },
		failed: func(err *OpenIDError) OpenIDChange { return OpenIDChange{From: err.OpenID, Err: err} },
		err:    func(ch OpenIDChange) error { return ch.Err },
	}.run(ctx, c, "BulkChangeOpenID", openIDs, opts)
}

// bulkRead is a question that one call can ask about some openids.
type bulkRead[R any] struct {
	ep     *endpoint
	ask    func(ctx context.Context, openIDs []string) ([]R, error)
	openID func(*R) string
	failed func(*OpenIDError) R // what the loop gets along with such an error
	err    func(R) error        // the error that is part of a result
}

// run returns the results for all openids of the input.
func (r bulkRead[R]) run(
	ctx context.Context, c *Client, name string, openIDs iter.Seq2[string, error], opts []BulkOption,
) iter.Seq2[R, error] {
	cfg, err := newJobConfig(ctx, name, opts)
	if err == nil && openIDs == nil {
		err = nilInput(name)
	}
	return func(yield func(R, error) bool) {
		var none R
		if err != nil {
			yield(none, err)
			return
		}
		left := false
		p := newPolicy(c, -1)
		job := bulk.Job[R]{
			Gate: p.gate, ChunkSize: r.ep.max, Concurrency: cfg.concurrency,
			Validate: func(openID string) error { return r.ep.checkOpenID("openid", openID) },
			Send: func(ctx context.Context, items []*bulk.Item[R]) error {
				results, err := r.ask(ctx, openIDsOf(items))
				if err != nil {
					return err
				}
				return r.match(items, results)
			},
			Classify: func(stopped context.Context, err error) bulk.Verdict {
				return p.classify(ctx, stopped, err)
			},
			Deliver: func(item *bulk.Item[R]) bool {
				switch item.Status {
				case bulk.Pending:
					return false
				case bulk.Done:
					left = !yield(item.Result, r.err(item.Result))
				case bulk.Rejected, bulk.Invalid, bulk.Unknown:
					err := itemError(item)
					left = !yield(r.failed(&err), &err)
				}
				return !left
			},
		}
		if show := cfg.progress; show != nil {
			job.Progress = func(done int, cursor string) { show(Progress{Done: done, Total: -1, ResumeAfter: cursor}) }
		}
		if err := job.Run(ctx, openIDs); err != nil && !left {
			yield(none, err)
		}
	}
}

// match sets the result of each item, by its openid: the platform guarantees no order.
func (r bulkRead[R]) match(items []*bulk.Item[R], results []R) error {
	byID := make(map[string]*R, len(results))
	for i := range results {
		byID[r.openID(&results[i])] = &results[i]
	}
	for _, item := range items {
		if byID[item.ID] == nil {
			return errNotInResponse
		}
	}
	for _, item := range items {
		item.Result = *byID[item.ID]
	}
	return nil
}
