package wechatuser

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

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
// Such an openid costs up to 15 more calls, because a response with it cannot be trusted: profiles in it may have
// somebody else's UnionID. BulkUserInfo returns only UnionIDs that a response proves. It therefore asks twice for a
// batch that ends with a former follower, and for one in which only some followers have a UnionID; docs/bulk.md has the
// costs, and what cannot be detected. A profile that breaks the JSON of its batch is found and reported like a rejected
// openid.
//
// Any other error ends the loop. The errors that stop [Client.BulkTagging] end this list too, and it waits for the next
// minute in the same cases. It can be resumed after the last openid that the loop got.
//
// No call is made before the loop starts. When the loop ends, calls in flight are canceled and no goroutine is left.
// The input runs in the loop's goroutine. A few chunks of openids and profiles are held in memory. The list can be
// ranged over again if the input can.
//
// batchUserinfo, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html.
func (c *Client) BulkUserInfo(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[UserInfo, error] {
	return bulkRead[UserInfo]{
		ep: &endpoints[batchUserInfo],
		ask: func(ctx context.Context, n int, openID func(int) string, memory spares[UserInfo]) ([]UserInfo, error) {
			body := userListBody(n, func(i int) UserQuery { return UserQuery{OpenID: openID(i)} })
			res, err := c.askForUsers(ctx, request{body: body, items: n, check: noteSubscribe}, memory)
			switch {
			case err != nil:
				return nil, err
			case res.Incomplete:
				return nil, errNoSubscribe
			}
			return res.Users, nil
		},
		askOne: func(ctx context.Context, openID string) (*UserInfo, error) { return c.GetUserInfo(ctx, openID) },
		judge:  isSuspect,
		openID: func(u *UserInfo) string { return u.OpenID },
		failed: func(*OpenIDError) UserInfo { return UserInfo{} },
		err:    func(UserInfo) error { return nil },
		clone: func(u UserInfo) UserInfo {
			u.TagIDList, u.Extra = slices.Clone(u.TagIDList), maps.Clone(u.Extra)
			for name, value := range u.Extra {
				u.Extra[name] = slices.Clone(value)
			}
			return u
		},
	}.run(ctx, c, "BulkUserInfo", openIDs, opts)
}

// BulkChangeOpenID returns the new openids of any number of users after the account fromAppID was migrated to this one,
// in the order of the input, with one call for each 100 of them and 4 calls at a time.
//
// For an openid that has no new one the loop gets the old one in From and an [*OpenIDError], which is in Err too, and
// goes on. Otherwise it works like [Client.BulkUserInfo], but asks for nothing twice: these results are not known to be
// mixed up. See [Client.ChangeOpenID] for when the platform converts openids.
//
// changeOpenid, https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html.
func (c *Client) BulkChangeOpenID(ctx context.Context, fromAppID string, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[OpenIDChange, error] {
	return bulkRead[OpenIDChange]{
		ep: &endpoints[changeOpenID],
		ask: func(ctx context.Context, n int, openID func(int) string, memory spares[OpenIDChange]) ([]OpenIDChange, error) {
			openIDs := make([]string, n)
			for i := range openIDs {
				openIDs[i] = openID(i)
			}
			return c.changeOpenID(ctx, fromAppID, openIDs, true, memory)
		},
		openID: func(ch *OpenIDChange) string { return ch.From },
		failed: func(err *OpenIDError) OpenIDChange { return OpenIDChange{From: err.OpenID, Err: err} },
		err:    func(ch OpenIDChange) error { return ch.Err },
		clone:  func(ch OpenIDChange) OpenIDChange { return ch },
	}.run(ctx, c, "BulkChangeOpenID", openIDs, opts)
}

// bulkRead is a read that one call can make for some openids.
type bulkRead[R any] struct {
	ep *endpoint
	// ask asks about n openids. The results can be in the memory of earlier ones.
	ask func(ctx context.Context, n int, openID func(i int) string, memory spares[R]) ([]R, error)
	// judge reports whether the results may be mixed up, as [isSuspect] does, and askOne asks about one openid that was
	// in such a response. Both are nil if the endpoint is not known to mix up results.
	judge  func(results []R, inOrder bool, seen func(i int) *evidence) bool
	askOne func(ctx context.Context, openID string) (*R, error)
	openID func(*R) string
	failed func(*OpenIDError) R // what the loop gets along with such an error
	err    func(R) error        // the error that is part of a result
	clone  func(R) R            // a result that shares nothing with another one of the same openid
}

// run returns the results for all openids of the input.
func (r bulkRead[R]) run(
	ctx context.Context, c *Client, name string, openIDs iter.Seq2[string, error], opts []BulkOption,
) iter.Seq2[R, error] {
	cfg, err := newJobConfig(ctx, name, opts)
	if err == nil {
		err = cfg.checkChunkSize(r.ep)
	}
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
		p := newPolicy(c, -1, cfg.patience)
		memory := make(spares[R], 2*cfg.concurrency+1) // for as many chunks as a job holds at a time
		job := bulk.Job[found[R]]{
			Gate: p.gate, ChunkSize: cfg.sizeFor(r.ep), Concurrency: cfg.concurrency,
			Validate: func(openID string) error { return r.ep.checkOpenID("openid", openID) },
			Send: func(ctx, stopped context.Context, items []*bulk.Item[found[R]]) error {
				return makeCall(ctx, stopped, func(ctx context.Context) error { return r.send(ctx, p, items, memory) })
			},
			Classify: func(stopped context.Context, err error) bulk.Verdict {
				return p.classify(ctx, stopped, err)
			},
			Deliver: func(item *bulk.Item[found[R]]) bool {
				switch item.Status {
				case bulk.Pending:
					return false
				case bulk.Done:
					result := *item.Result.result
					if item.Delivered {
						result = r.clone(result)
					}
					if !item.Shared {
						item.Result.from.release(memory)
					}
					left = !yield(result, r.err(result))
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

// found is what is known about an openid.
type found[R any] struct {
	result *R
	from   *batch[R] // that has the result; nil if it is alone
	seen   evidence
	// mistrusted: a response with the openid could not be trusted, whatever the order of its openids.
	mistrusted bool
}

// batch is the results of one call.
type batch[R any] struct {
	results   []R
	delivered int
}

// release notes that a result was delivered, and will not be delivered again. After the last one the memory of the batch
// can be used for another one. Of what the results point at, nothing is used again.
func (b *batch[R]) release(memory spares[R]) {
	if b == nil {
		return
	}
	if b.delivered++; b.delivered == len(b.results) {
		memory.put(b.results)
	}
}

// maxBroken is how many openids in a row, each in a call of its own, may have a broken response. A broken profile is
// rare: more of them mean that something breaks all responses.
const maxBroken = 16

// send asks about the openids of some items and sets their results.
func (r bulkRead[R]) send(
	ctx context.Context, p *policy, items []*bulk.Item[found[R]], memory spares[R],
) error {
	// A single openid may belong to nobody; the call for one user tells.
	if one := items[0]; len(items) == 1 && one.Result.mistrusted && r.askOne != nil {
		result, err := r.askOne(ctx, one.ID)
		if err == nil {
			one.Result.result = result
		}
		return err
	}
	// Users who looked like followers go last: if the response is mixed up again, its end shows it.
	order := items
	if slices.ContainsFunc(items, func(item *bulk.Item[found[R]]) bool { return rank(item.Result.seen) > 0 }) {
		order = slices.Clone(items)
		slices.SortStableFunc(order, func(a, b *bulk.Item[found[R]]) int {
			return rank(a.Result.seen) - rank(b.Result.seen)
		})
	}
	results, err := r.ask(ctx, len(order), func(i int) string { return order[i].ID }, memory)
	var re *ResponseError
	if broken := errors.As(err, &re) && re.broken; !broken {
		p.broken.Store(0)
	} else if len(items) == 1 && p.broken.Add(1) > maxBroken {
		whole := *re
		whole.broken = false
		return &whole
	}
	if err != nil {
		return err
	}
	err = r.match(order, results)
	if errors.Is(err, errNotInResponse) || errors.Is(err, errMixedUp) {
		for _, item := range items {
			item.Result.mistrusted = true
		}
	}
	return err
}

func rank(seen evidence) int {
	if seen.asked && !seen.bare {
		return 1
	}
	return 0
}

// match sets the result of each item, by its openid: the platform guarantees no order.
func (r bulkRead[R]) match(items []*bulk.Item[found[R]], results []R) error {
	if len(results) != len(items) {
		return errNotInResponse
	}
	inOrder, askedBefore := true, true
	for i, item := range items {
		inOrder = inOrder && r.openID(&results[i]) == item.ID
		askedBefore = askedBefore && item.Result.seen.asked
	}
	if !inOrder {
		if items = r.inOrderOf(results, items); items == nil {
			return errNotInResponse
		}
	}
	seen := func(i int) *evidence { return &items[i].Result.seen }
	if r.judge != nil && r.judge(results, inOrder, seen) {
		if askedBefore {
			return errMixedUp
		}
		return errSuspect
	}
	b := &batch[R]{results: results}
	for i, item := range items {
		item.Result.result, item.Result.from = &results[i], b
	}
	return nil
}

// inOrderOf returns the items in the order of their results, and nil unless each has one result.
func (r bulkRead[R]) inOrderOf(results []R, items []*bulk.Item[found[R]]) []*bulk.Item[found[R]] {
	unmatched := make(map[string]*bulk.Item[found[R]], len(items))
	for _, item := range items {
		unmatched[item.ID] = item
	}
	sorted := make([]*bulk.Item[found[R]], len(items))
	for i := range results {
		openID := r.openID(&results[i])
		if sorted[i] = unmatched[openID]; sorted[i] == nil {
			return nil
		}
		delete(unmatched, openID)
	}
	return sorted
}
