package wechatuser

import (
	"context"
	"iter"
)

// BulkUserInfo gives the profiles of any number of users, in the order of the input, with a call for each 100 of them
// and 4 calls at a time.
//
// For an openid that the platform refuses, or has no answer for, the loop gets an [*OpenIDError] and goes on:
//
//	for user, err := range c.BulkUserInfo(ctx, c.AllFans(ctx)) {
//		var one *wechatuser.OpenIDError
//		if errors.As(err, &one) {
//			continue // or keep one.OpenID and one.Err
//		}
//		if err != nil {
//			return err // the end
//		}
//		// use user
//	}
//
// Such an openid costs up to 14 more calls, since the answer of a call with it is not to be trusted: it can give somebody
// else's UnionID. Any other error is the last thing that the loop gets. What stops the list is what stops
// [Client.BulkTagging], and it waits for the next minute as that does. It can be resumed after the last openid that came.
//
// No call is made before the loop begins. When the loop ends, calls under way are cancelled, and nothing is left running.
// The input runs in the loop's goroutine. What is in memory is a few chunks of openids and profiles. The list can be
// ranged over again if the input can.
//
// batchUserinfo, https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_batchuserinfo.html.
func (c *Client) BulkUserInfo(ctx context.Context, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[UserInfo, error] {
	return bulkRead(ctx, c, "BulkUserInfo", read[UserInfo]{
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
	}, openIDs, opts)
}

// BulkChangeOpenID gives the new openids of any number of users after the account fromAppID was migrated to this one, in
// the order of the input, with a call for each 100 of them and 4 calls at a time.
//
// For an openid that was not changed the loop gets the old one in From and an [*OpenIDError], which is in Err too, and
// goes on. Otherwise it is as [Client.BulkUserInfo]; see [Client.ChangeOpenID] for when the platform answers.
//
// changeOpenid, https://developers.weixin.qq.com/doc/service/api/usermanage/changeopenid/api_changeopenid.html.
func (c *Client) BulkChangeOpenID(ctx context.Context, fromAppID string, openIDs iter.Seq2[string, error], opts ...BulkOption) iter.Seq2[OpenIDChange, error] {
	return bulkRead(ctx, c, "BulkChangeOpenID", read[OpenIDChange]{
		ep: &endpoints[changeOpenID],
		ask: func(ctx context.Context, openIDs []string) ([]OpenIDChange, error) {
			return c.ChangeOpenID(ctx, fromAppID, openIDs)
		},
		openID: func(ch *OpenIDChange) string { return ch.From },
		failed: func(err *OpenIDError) OpenIDChange { return OpenIDChange{From: err.OpenID, Err: err} },
		err:    func(ch OpenIDChange) error { return ch.Err },
	}, openIDs, opts)
}

// read is a question that can be asked about some openids in one call.
type read[R any] struct {
	ep     *endpoint
	ask    func(ctx context.Context, openIDs []string) ([]R, error)
	openID func(*R) string
	failed func(*OpenIDError) R // what the loop gets beside such an error
	err    func(R) error        // what an answer itself says is wrong
}

// bulkRead is the list of the answers for all openids of the input.
func bulkRead[R any](ctx context.Context, c *Client, name string, r read[R], openIDs iter.Seq2[string, error], opts []BulkOption) iter.Seq2[R, error] {
	cfg := bulkDefaults
	err := configure(name, opts, func(o BulkOption) *ArgumentError { return o.applyBulk(&cfg) })
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
		j := &job[R]{
			pace: newPace(c, -1), ep: r.ep, cfg: cfg,
			send: func(ctx context.Context, slots []*slot[R]) error {
				answers, err := r.ask(ctx, openIDsOf(slots))
				if err != nil {
					return err
				}
				return r.match(slots, answers)
			},
			deliver: func(s *slot[R]) bool {
				switch s.fate {
				case undecided:
					return false
				case decided:
					left = !yield(s.result, r.err(s.result))
				default:
					err := &OpenIDError{OpenID: alone(s.openID), Err: s.err}
					left = !yield(r.failed(err), err)
				}
				return !left
			},
		}
		if err := j.run(ctx, openIDs); err != nil && !left {
			yield(none, err)
		}
	}
}

// match gives each slot its answer, by the openid in it. The platform promises no order.
func (r *read[R]) match(slots []*slot[R], answers []R) error {
	byID := make(map[string]*R, len(answers))
	for i := range answers {
		byID[r.openID(&answers[i])] = &answers[i]
	}
	for _, s := range slots {
		if byID[s.openID] == nil {
			return errMisaligned
		}
	}
	for _, s := range slots {
		s.result = *byID[s.openID]
		s.end(decided, nil)
	}
	return nil
}
