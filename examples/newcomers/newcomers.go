// Package newcomers is a nightly job that tags the users who started following yesterday. docs/testing.md explains its
// tests: with a fake, with httpmock, and with the simulator, its faults and its clock.
//
//	go test ./examples/newcomers
package newcomers

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Account is the part of the SDK that the job needs. *wechatuser.Client implements it.
type Account interface {
	EnsureTag(ctx context.Context, name string) (*wechatuser.Tag, error)
	AllFans(ctx context.Context, opts ...wechatuser.ListOption) iter.Seq2[string, error]
	BulkUserInfo(
		ctx context.Context, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption,
	) iter.Seq2[wechatuser.UserInfo, error]
	BulkTagging(
		ctx context.Context, tagID int, openIDs iter.Seq2[string, error], opts ...wechatuser.BulkOption,
	) (*wechatuser.BulkReport, error)
}

// Job adds Tag to newcomers.
type Job struct {
	Account Account
	Tag     string
}

// Result is the result of a run.
type Result struct {
	Tagged  int
	Refused []wechatuser.OpenIDError // rejected openids, each with its error
}

var beijing = time.FixedZone("Beijing", 8*60*60)

// Run tags the users who started following on the day before now, in Beijing time. Rejected openids are reported in the
// result and are not an error. After an error, run it again: tagging a user twice does no harm.
func (j Job) Run(ctx context.Context, now time.Time) (res Result, err error) {
	year, month, day := now.In(beijing).Date()
	from := time.Date(year, month, day-1, 0, 0, 0, 0, beijing)
	until := time.Date(year, month, day, 0, 0, 0, 0, beijing)

	tag, err := j.Account.EnsureTag(ctx, j.Tag)
	if err != nil {
		return res, err
	}
	isNew := func(user wechatuser.UserInfo) bool {
		at := user.SubscribedAt()
		return !at.Before(from) && at.Before(until)
	}
	refused := func(one *wechatuser.OpenIDError) { res.Refused = append(res.Refused, *one) }
	users := j.Account.BulkUserInfo(ctx, j.Account.AllFans(ctx))
	report, err := j.Account.BulkTagging(ctx, tag.ID, wechatuser.SelectOpenIDs(users, isNew, refused))
	res.Tagged, res.Refused = report.Applied, append(res.Refused, report.Failed...)

	var bulk *wechatuser.BulkError
	if errors.As(err, &bulk) && !bulk.Stopped() {
		err = nil // the job is complete, and res has the rejected openids
	}
	return res, err
}
