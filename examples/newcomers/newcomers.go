// Package newcomers is a nightly job: it gives a tag to those who followed yesterday. docs/testing.md tests it.
package newcomers

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Account is what the job needs of WeChat. A *wechatuser.Client has it.
type Account interface {
	EnsureTag(ctx context.Context, name string) (*wechatuser.Tag, error)
	AllFans(ctx context.Context, opts ...wechatuser.ListOption) iter.Seq2[string, error]
	BulkUserInfo(ctx context.Context, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption) iter.Seq2[wechatuser.UserInfo, error]
	BulkTagging(ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption) (*wechatuser.BulkReport, error)
}

// Job gives Tag to newcomers.
type Job struct {
	Account Account
	Tag     string
}

// Result is what became of a day's newcomers.
type Result struct {
	Tagged  int
	Refused []wechatuser.OpenIDError // each with its reason
}

var beijing = time.FixedZone("Beijing", 8*60*60)

// Run tags those who followed on the day before now, in Beijing. Openids that the platform refuses are no error. After an
// error, run it again: to tag somebody twice does no harm.
func (j Job) Run(ctx context.Context, now time.Time) (res Result, err error) {
	year, month, day := now.In(beijing).Date()
	from := time.Date(year, month, day-1, 0, 0, 0, 0, beijing)
	until := time.Date(year, month, day, 0, 0, 0, 0, beijing)

	tag, err := j.Account.EnsureTag(ctx, j.Tag)
	if err != nil {
		return res, err
	}
	report, err := j.Account.BulkTagging(ctx, tag.ID, func(yield func(string, error) bool) {
		for user, err := range j.Account.BulkUserInfo(ctx, j.Account.AllFans(ctx)) {
			at := user.SubscribedAt()
			var one *wechatuser.OpenIDError
			switch {
			case errors.As(err, &one):
				res.Refused = append(res.Refused, *one)
			case err != nil || !at.Before(from) && at.Before(until):
				if !yield(user.OpenID, err) {
					return
				}
			}
		}
	})
	res.Tagged, res.Refused = report.Applied, append(res.Refused, report.Failed...)

	var bulk *wechatuser.BulkError
	if errors.As(err, &bulk) && bulk.Err == nil {
		err = nil // the job ran to its end, and res names who was refused
	}
	return res, err
}
